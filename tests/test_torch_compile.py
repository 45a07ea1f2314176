"""torch.compile and torch.export: whole graphs, with our operators in them."""

import pytest

torch = pytest.importorskip("torch")

import normkernels.torch as nkt  # noqa: E402
from torch import nn  # noqa: E402
from torch_cases import normal  # noqa: E402

F32 = torch.float32
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Net(nn.Module):
    """Every operator once."""

    def __init__(self):
        super().__init__()
        self.layer = nkt.LayerNorm(4)
        self.channels = nkt.LayerNorm2d(6)
        self.group = nkt.GroupNorm(3, 6)
        self.instance = nkt.InstanceNorm2d(6, affine=True, track_running_stats=True)
        self.response = nkt.LocalResponseNorm(4, 0.1)
        self.rms = nkt.RMSNorm(4)

    def forward(self, x):
        y = self.response(self.instance(self.group(self.channels(self.layer(x)))))
        y, total = nkt.add_layer_norm(y.relu(), x, (4,))
        z, total = nkt.add_rms_norm(y, total, (4,), self.rms.weight)
        return self.rms(z) + total


OPERATORS = (
    *("layer_norm", "rms_norm", "group_norm", "local_response_norm"),
    *("add_layer_norm", "add_rms_norm"),
)


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(backend):
    eager, net = Net(), Net()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    dense = normal(2, 6, 5, 4, dtype=F32)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = dense.detach().contiguous(memory_format=memory_format).requires_grad_()
        expected, found = eager(x), compiled(x)
        torch.testing.assert_close(found, expected)
        assert found.stride() == expected.stride()
        expected = torch.autograd.grad(expected.sin().sum(), (x, eager.group.weight))
        found = torch.autograd.grad(found.sin().sum(), (x, net.group.weight))
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(net.instance.running_var, eager.instance.running_var)


@pytest.mark.parametrize("strict", [False, True])
def test_export(strict):
    net, x = Net().eval(), normal(2, 6, 5, 4, dtype=F32)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(net, (x,), dynamic_shapes=batch, strict=strict)
    targets = {str(node.target) for node in program.graph.nodes}
    # In evaluation, with running statistics, instance norm is torch's.
    assert {f"normkernels.{name}.default" for name in OPERATORS} <= targets
    more = torch.cat([x, 2 * x, -x])
    torch.testing.assert_close(program.module()(more), net(more))


def test_dynamic_rows():
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: nkt.layer_norm(x, x.shape[1:]), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    for rows, n in ((3, 5), (4, 7), (9, 64)):
        x = normal(rows, n, dtype=F32)
        assert torch.equal(compiled(x), nkt.layer_norm(x, (n,)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")  # that it is deprecated
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of the checks of shapes
def test_jit_trace_records_the_operator():
    x = normal(3, 5, dtype=F32)
    with torch.no_grad():
        traced = torch.jit.trace(nkt.LayerNorm(5), x)
    assert "normkernels::layer_norm" in str(traced.graph)
    assert torch.equal(traced(x + 1), nkt.LayerNorm(5)(x + 1))
