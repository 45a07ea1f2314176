"""replace_norms and restore_norms on modules made here: torch's, look-alikes, and rules."""

import copy
import io

import pytest

torch = pytest.importorskip("torch")

import normkernels.torch as nkt  # noqa: E402
from torch import nn  # noqa: E402
from torch_cases import normal  # noqa: E402

F32 = torch.float32


class LikeLlama(nn.Module):
    """RMS norm as many libraries write it; the names say which."""

    offset = 0.0

    def __init__(self, n, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(n))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        wide = hidden_states.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.offset + self.weight) * wide.to(hidden_states.dtype)


class SomeRMSNorm(LikeLlama):
    pass


class FromOneRMSNorm(LikeLlama):
    offset = 1.0

    def forward(self, x):
        return super().forward(x).to(x.dtype)


class HalfWeightRMSNorm(LikeLlama):
    def forward(self, x):
        return 0.5 * super().forward(x)


class EpsilonOutsideRMSNorm(LikeLlama):
    def forward(self, x):
        return self.weight * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + self.variance_epsilon)


class GatedRMSNorm(LikeLlama):
    def forward(self, x, gate):
        return super().forward(x * gate)


class BufferedRMSNorm(LikeLlama):
    def __init__(self, n):
        super().__init__(n)
        self.register_buffer("scale", torch.ones(n))


class ChannelsNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class MatrixNorm(nn.LayerNorm):
    def __init__(self):
        super().__init__((3, 4))


class WeightlessRMSNorm(nn.Module):
    def forward(self, x):
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(
            [
                nn.LayerNorm(6),
                nn.RMSNorm(6),
                nn.GroupNorm(2, 6),
                nn.InstanceNorm1d(6),
                nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
                nn.InstanceNorm3d(6),
                nn.LocalResponseNorm(3),
                SomeRMSNorm(6),
                FromOneRMSNorm(6),
                ChannelsNorm(6),
            ]
        )
        self.shared = self.norms[0]
        self.rest = nn.Sequential(nn.BatchNorm2d(6), nn.Linear(6, 6), GatedRMSNorm(6))


SHAPES = [(2, 6)] * 3 + [(2, 6, 4), (2, 6, 3, 4), (2, 6, 2, 3, 4), (2, 6, 3)] + [(2, 5, 6)] * 2
SHAPES += [(2, 6, 3, 4)]


def test_every_norm_of_a_model():
    model = Model()
    before = {name: (id(p), p.clone()) for name, p in model.state_dict(keep_vars=True).items()}
    ids, text = [id(m) for m in model.modules()], repr(model)
    classes = [type(m) for m in model.norms]
    copies = zip(copy.deepcopy(model).norms, SHAPES, strict=True)
    expected = [module(normal(*shape, dtype=F32)) for module, shape in copies]
    report = nkt.replace_norms(model)
    assert [id(m) for m in model.modules()] == ids
    assert repr(model) == text
    state = model.state_dict(keep_vars=True)
    assert {name: id(p) for name, p in state.items()} == {k: v[0] for k, v in before.items()}
    assert list(report.changed.values()) == classes
    assert report.left == {
        "rest.0": (nn.BatchNorm2d, "there is no rule for it"),
        "rest.2": (GatedRMSNorm, "it computes something else"),
    }
    for module, kind, shape, y in zip(model.norms, classes, SHAPES, expected, strict=True):
        assert type(module) is not kind
        assert isinstance(module, kind)
        torch.testing.assert_close(module(normal(*shape, dtype=F32)), y)
    assert all(isinstance(m, getattr(nkt, type(m).__name__)) for m in model.norms[:7])
    assert not nkt.replace_norms(model).changed
    assert nkt.restore_norms(model) == list(report.changed)
    assert [type(m) for m in model.norms] == classes
    assert not nkt.restore_norms(model)
    assert not any("normkernels" in key for m in model.modules() for key in m.__dict__)


def test_the_report_is_readable():
    assert str(nkt.replace_norms(Model())) == "\n".join(
        [
            "replaced 10",
            "  1 ChannelsNorm",
            "  1 FromOneRMSNorm",
            "  1 GroupNorm",
            "  1 InstanceNorm1d",
            "  1 InstanceNorm2d",
            "  1 InstanceNorm3d",
            "  1 LayerNorm",
            "  1 LocalResponseNorm",
            "  1 RMSNorm",
            "  1 SomeRMSNorm",
            "left 2",
            "  1 BatchNorm2d: there is no rule for it",
            "  1 GatedRMSNorm: it computes something else",
        ]
    )
    assert str(nkt.replace_norms(nn.Linear(2, 2))) == "replaced 0"


def with_own_forward():
    norm = nn.LayerNorm(6)
    norm.forward = lambda x: x
    return norm


def with_complex_weight():
    norm = nn.LayerNorm(6)
    norm.weight = nn.Parameter(torch.ones(6, dtype=torch.complex64))
    return norm


STAY = {
    "it computes something else": [
        *(HalfWeightRMSNorm(6), GatedRMSNorm(6), EpsilonOutsideRMSNorm(6, 1e-2)),
    ],
    "it has other parameters than a weight and a bias": [BufferedRMSNorm(6), WeightlessRMSNorm()],
    "its parameters are no vectors of one length": [MatrixNorm()],
    "its forward is an attribute of its own": [with_own_forward()],
    "its weight has dtype torch.complex64": [with_complex_weight()],
}


@pytest.mark.parametrize(("reason", "module"), [(r, m) for r, ms in STAY.items() for m in ms])
def test_what_stays_says_why(reason, module):
    kind = type(module)
    report = nkt.replace_norms(module)
    assert report.left == {"": (kind, reason)}
    assert type(module) is kind


def test_whole_layers_are_no_norms():
    class NormLayer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

    report = nkt.replace_norms(NormLayer())
    assert (report.changed, report.left) == ({}, {})


def test_trying_a_look_alike_leaves_no_trace():
    norm = SomeRMSNorm(6)
    weight, calls = norm.weight.clone(), []
    norm.register_forward_hook(lambda *_: calls.append(1))
    random = torch.get_rng_state()
    nkt.replace_norms(norm)
    assert torch.equal(norm.weight, weight)
    assert torch.equal(torch.get_rng_state(), random)
    assert not calls
    norm(normal(3, 6, dtype=F32))
    assert calls


@pytest.mark.parametrize("kind", [SomeRMSNorm, FromOneRMSNorm])
@pytest.mark.parametrize(("of_weight", "of_x"), [(F32, torch.bfloat16), (torch.float16,) * 2])
def test_dtypes_of_results_are_those_of_the_look_alike(kind, of_weight, of_x):
    norm, x = kind(6).to(of_weight), normal(3, 6, dtype=of_x)
    expected = norm(x)
    nkt.replace_norms(norm)
    torch.testing.assert_close(norm(x), expected, rtol=0.02, atol=0.02)


def square(self, x):
    return x * x


class Renamed(nn.LayerNorm):
    pass


def test_rules_of_ones_own():
    model = nn.Sequential(nn.LayerNorm(6), nn.Identity(), nn.RMSNorm(6), nn.GroupNorm(2, 6))
    rules = {
        nn.Identity: lambda module: square,
        nn.LayerNorm: lambda module: Renamed,
        nn.RMSNorm: lambda module: f"it has eps {module.eps}",
    }
    report = nkt.replace_norms(model, rules)
    assert type(model[0]) is Renamed
    x = normal(3, 6, dtype=F32)
    assert torch.equal(model[1](x), x * x)
    assert report.left == {"2": (nn.RMSNorm, "it has eps None")}
    assert isinstance(model[3], nkt.GroupNorm)
    assert nkt.restore_norms(model) == ["0", "1", "3"]


def test_wrong_rules():
    for found, message in (
        (nn.Linear, "the rule for LayerNorm returned Linear, must return a subclass of LayerNorm"),
        (None, "the rule for LayerNorm returned None, must return a class, a function or a str"),
    ):
        with pytest.raises(TypeError, match=f"replace_norms: {message}"):
            nkt.replace_norms(nn.LayerNorm(6), {nn.LayerNorm: lambda _, found=found: found})


def test_replaced_models_are_copied_saved_and_loaded():
    model = nn.Sequential(SomeRMSNorm(6), nn.Linear(6, 6), nn.LayerNorm(6))
    nkt.replace_norms(model)
    x, file = normal(3, 6, dtype=F32), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(other(x), model(x))
        assert other[0].weight is not model[0].weight
        assert nkt.restore_norms(other) == ["0", "2"]
        assert type(other[0]) is SomeRMSNorm
    plain = nn.Sequential(SomeRMSNorm(6), nn.Linear(6, 6), nn.LayerNorm(6))
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(x), model(x))


def test_optimizers_go_on():
    model = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6))
    optimizer = torch.optim.Adam(model.parameters())
    nkt.replace_norms(model)
    before = model[1].weight.clone()
    model(normal(3, 6, dtype=F32)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[1].weight, before)


def test_models_without_memory():
    with torch.device("meta"):
        model = nn.Sequential(nn.LayerNorm(6), SomeRMSNorm(6))
    assert len(nkt.replace_norms(model).changed) == 2
    model.to_empty(device="cpu")
    assert model(normal(3, 6, dtype=F32)).shape == (3, 6)


def test_modules_of_ours_stay_as_they_are():
    model = nn.Sequential(nkt.LayerNorm(6), nkt.LayerNorm2d(6))
    assert str(nkt.replace_norms(model)) == "replaced 0"
    assert not nkt.restore_norms(model)
