"""The modules: torch's in all but the kernels. Training with them."""

import copy
import io
import threading

import pytest

torch = pytest.importorskip("torch")

import normkernels.torch as nkt  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch_cases import normal  # noqa: E402

F32 = torch.float32
# Constructor arguments and an input.
MODULES = {
    "LayerNorm": [
        ((5,), {}, (3, 4, 5)),
        (((4, 5),), {"eps": 1e-3, "bias": False}, (3, 4, 5)),
        ((5,), {"elementwise_affine": False}, (5,)),
    ],
    "RMSNorm": [
        ((5,), {}, (3, 4, 5)),
        (((4, 5), 1e-3), {}, (2, 4, 5)),
        ((5, None, False), {}, (5,)),
    ],
    "GroupNorm": [((2, 6), {}, (3, 6, 4)), ((3, 6, 1e-3, False), {}, (2, 6))],
    "InstanceNorm1d": [((6,), {}, (3, 6, 4)), ((6,), {"affine": True}, (6, 4))],
    "InstanceNorm2d": [
        ((6,), {}, (3, 6, 4, 5)),
        ((6,), {"affine": True, "track_running_stats": True}, (3, 6, 4, 5)),
        ((6, 1e-3, None), {"track_running_stats": True}, (6, 4, 5)),
    ],
    "InstanceNorm3d": [((6,), {"affine": True}, (2, 6, 3, 4, 5)), ((6,), {}, (6, 3, 4, 5))],
    "LocalResponseNorm": [((4,), {}, (2, 6, 3)), ((5, 1e-2, 0.5, 2.0), {}, (2, 6, 3, 3))],
}
CASES = [(name, *case) for name, cases in MODULES.items() for case in cases]


@pytest.mark.parametrize(("name", "args", "options", "shape"), CASES, ids=str)
def test_modules_are_torchs(name, args, options, shape):
    ours, theirs = getattr(nkt, name)(*args, **options), getattr(nn, name)(*args, **options)
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, type(theirs))
    for p in theirs.parameters():
        nn.init.normal_(p)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = normal(*shape, dtype=F32)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(list(ours.state_dict().values()), list(theirs.state_dict().values()))


def test_layer_norm_2d():
    norm = nkt.LayerNorm2d(6)
    # Which of these are said depends on the version of torch.
    assert repr(norm) == repr(nn.LayerNorm(6, eps=1e-6)).replace("LayerNorm", "LayerNorm2d")
    x = normal(2, 6, 4, 5, dtype=F32)
    expected = nn.functional.layer_norm(x.movedim(1, -1), (6,), eps=1e-6).movedim(-1, 1)
    torch.testing.assert_close(norm(x), expected)
    with pytest.raises(ValueError, match=r"input has shape .* must have 6 channels in dimension 1"):
        norm(x.movedim(1, -1))


def test_modules_are_saved_and_copied():
    net = nn.Sequential(nkt.LayerNorm(5), nkt.RMSNorm(5))
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    x = normal(3, 5, dtype=F32)
    for other in (torch.load(file, weights_only=False), copy.deepcopy(net)):
        assert torch.equal(other(x), net(x))


class Net(nn.Module):
    """A small convolutional net with all the norms of images."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nkt.InstanceNorm2d(8, affine=True, track_running_stats=True),
            nn.ReLU(),
            nkt.LocalResponseNorm(4, 0.1),
            nn.Conv2d(8, 8, 3, padding=1),
            nkt.GroupNorm(2, 8),
            nn.ReLU(),
            nkt.LayerNorm2d(8),
        )
        self.last = nn.Sequential(
            nn.Flatten(), nkt.LayerNorm(8 * 64), nn.Linear(8 * 64, 32), nkt.RMSNorm(32)
        )

    def forward(self, x):
        return self.last(self.first(x))


def trained(threads, steps=3):
    """The weights of a net after training it on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for step in range(steps):
            x, target = normal(32, 1, 8, 8, dtype=F32, seed=step), torch.arange(32)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), target).backward()
            optimizer.step()
        return net.state_dict()
    finally:
        torch.set_num_threads(before)


def norm_gradients(threads):
    """Results and gradients of the norms alone, of arrays that are worth several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = normal(16, 8, 64, 64, dtype=F32, grad=True)
        w, add_bias = (normal(64, dtype=F32, seed=i, grad=True) for i in (1, 2))
        y, total = nkt.add_layer_norm(x, x.detach(), (64,), w, add_bias=add_bias)
        z = nkt.group_norm(nkt.local_response_norm(nkt.rms_norm(y, (64,), w), 5), 2) * total
        return torch.autograd.grad((z * x.detach()).sum(), (x, w, add_bias))
    finally:
        torch.set_num_threads(before)


def test_the_same_bits_on_any_number_of_threads():
    for one, other in zip(norm_gradients(1), norm_gradients(2), strict=True):
        assert torch.equal(one, other)


def test_training_is_the_same_on_any_number_of_threads(monkeypatch):
    # The gradients of oneDNN's convolutions are sums in an order that depends on threads.
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    one, two = trained(1), trained(2)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_autocast():
    net = nn.Sequential(nn.Linear(16, 16), nkt.LayerNorm(16), nn.Linear(16, 16), nkt.RMSNorm(16))
    x = normal(4, 16, dtype=F32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
        z, total = nkt.add_layer_norm(y, x, (16,))
    assert (y.dtype, z.dtype, total.dtype) == (torch.bfloat16, F32, F32)
    y.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype is F32 for p in net.parameters())
    torch.testing.assert_close(y.float(), net(x), rtol=0.05, atol=0.05)


def test_without_gradients():
    norm, x = nkt.LayerNorm(5), normal(3, 5, dtype=F32)
    expected = norm(x).detach()
    with torch.no_grad():
        assert torch.equal(norm(x), expected)
        assert not norm(x).requires_grad
    with torch.inference_mode():
        y = norm(x)
        assert torch.equal(y, expected)
        assert y.is_inference()
        assert torch.equal(norm(y), norm(expected))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant):
    net = nn.Sequential(nkt.LayerNorm(5), nn.Linear(5, 5), nkt.RMSNorm(5))
    x = normal(3, 5, dtype=F32, grad=True)
    (expected,) = torch.autograd.grad(net(x).sin().sum(), x)
    checkpoint(net, x, use_reentrant=reentrant).sin().sum().backward()
    assert torch.equal(x.grad, expected)


def test_used_twice():
    norm, x = nkt.LayerNorm(5).double(), normal(3, 5, grad=True)
    theirs = nn.LayerNorm(5).double()
    ours = torch.autograd.grad(norm(norm(x) * x).sin().sum(), (x, norm.weight))[0]
    expected = torch.autograd.grad(theirs(theirs(x) * x).sin().sum(), (x, theirs.weight))[0]
    torch.testing.assert_close(ours, expected)


def test_a_gradient_penalty():
    """A first-order gradient with a graph has the kernel's bits."""
    norm, x = nkt.LayerNorm(5), normal(3, 5, dtype=F32, grad=True)
    (plain,) = torch.autograd.grad(norm(x).sin().sum(), x)
    (dx,) = torch.autograd.grad(norm(x).sin().sum(), x, create_graph=True)
    assert torch.equal(dx, plain)
    dx.square().sum().backward()
    assert norm.weight.grad is not None


def test_threads_of_python():
    norm, x = nkt.LayerNorm(64), normal(256, 64, dtype=F32)
    expected, results = norm(x), []

    def work():
        for _ in range(20):
            y = norm(x)
            y.sum().backward()
            results.append(torch.equal(y, expected))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert len(results) == 80
    assert all(results)
