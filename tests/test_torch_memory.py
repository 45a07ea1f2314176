"""Where tensors lie: memory formats, views, out=, and what is refused."""

import pytest

torch = pytest.importorskip("torch")

import normkernels as nk  # noqa: E402
import normkernels.torch as nkt  # noqa: E402
from normkernels.torch import norms  # noqa: E402
from normkernels.torch.arrays import on_tensors  # noqa: E402
from torch_cases import DTYPES, IDS, normal  # noqa: E402

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=IDS)
W = normal(6, dtype=torch.float32, seed=1)
OF_IMAGES = {
    "group_norm": lambda x, **kw: nkt.group_norm(x, 2, W, W, **kw),
    "instance_norm": lambda x, **kw: nkt.instance_norm(x, weight=W, bias=W, **kw),
    "local_response_norm": lambda x, **kw: nkt.local_response_norm(x, 5, 0.1, **kw),
    "even window": lambda x, **kw: nkt.local_response_norm(x, 4, 0.1, **kw),
    "layer_norm_2d": lambda x, **kw: nkt.layer_norm_2d(x, W, W, **kw),
}
OF_ROWS = {
    "layer_norm": lambda x, **kw: nkt.layer_norm(x, x.shape[-1:], **kw),
    "rms_norm": lambda x, **kw: nkt.rms_norm(x, x.shape[-1:], **kw),
    "layer_norm, two dimensions": lambda x, **kw: nkt.layer_norm(x, x.shape[-2:], **kw),
}
ALL = OF_IMAGES | OF_ROWS
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
VIEWS = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "cropped": lambda x: torch.nn.functional.pad(x, (1, 2, 2, 1))[..., 2:-1, 1:-2],
    "cropped channels_last": lambda x: torch.nn.functional.pad(
        x.contiguous(memory_format=torch.channels_last), (1, 2, 2, 1)
    )[..., 2:-1, 1:-2],
    "steps": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "transposed": lambda x: x.mT.contiguous().mT,
    "batch last": lambda x: x.movedim(0, -1).contiguous().movedim(-1, 0),
}


class Spied:
    """Counts the calls that reach the function and notes their `order`."""

    def __init__(self, function):
        self.function, self.orders, self.strides = function, [], []

    def __call__(self, *args, **kwargs):
        self.orders.append(kwargs.get("order"))
        self.strides.append(args[0].stride())
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("rank", FORMATS)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_channels_last_comes_out_channels_last(name, rank):
    x = normal(2, 6, *(3, 4, 5)[: rank - 2], dtype=torch.float32)
    last = x.contiguous(memory_format=FORMATS[rank]).requires_grad_()
    y = OF_IMAGES[name](last)
    assert y.is_contiguous(memory_format=FORMATS[rank])
    (dx,) = torch.autograd.grad(y.sin().sum(), last)
    assert dx.is_contiguous(memory_format=FORMATS[rank])
    x.requires_grad_()
    expected = OF_IMAGES[name](x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(dx, *torch.autograd.grad(expected.sin().sum(), x))


def test_channels_last_run_the_kernels_of_nhwc_on_a_view():
    from normkernels.torch import kernels  # noqa: PLC0415

    functions = nk.group_norm, nk.group_norm_backward
    spies = [Spied(on_tensors(function)) for function in functions]
    norm = kernels.Norm(*spies, ("mean", "inv_std"), kernels.GROUPS)
    forward, backward = kernels.image_kernels(norm)
    x = normal(2, 6, 3, 4, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    _, mean, inv_std = forward(x, None, None, 2, 1e-5)
    backward(x, x, mean, inv_std, None, 2, 1e-5)
    assert [s.orders for s in spies] == [["NHWC"], ["NHWC"]]
    assert [s.strides for s in spies] == [[(72, 24, 6, 1)]] * 2


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ALL)
def test_views(name, view):
    dense = normal(3, 6, 4, 5, dtype=torch.float32)
    x = VIEWS[view](dense).requires_grad_()
    y = ALL[name](x)
    assert y.stride() == torch.empty_like(x).stride()
    (dx,) = torch.autograd.grad(y, x, torch.ones(1).expand_as(y))
    assert dx.stride() == torch.empty_like(x).stride()
    dense.requires_grad_()
    expected = ALL[name](dense)
    torch.testing.assert_close(y, expected)
    (expected,) = torch.autograd.grad(expected, dense, torch.ones_like(dense))
    torch.testing.assert_close(dx, expected)


@each_dtype
@pytest.mark.parametrize("name", ALL)
def test_out(name, dtype):
    x = normal(3, 6, 4, 5).to(dtype)
    if name not in OF_ROWS and dtype is torch.float64:
        x = x.float()
    for view in (lambda t: t, *VIEWS.values()):
        source, out = view(x), view(torch.zeros_like(x))
        assert ALL[name](source, out=out) is out
        assert torch.equal(out, ALL[name](source))


def test_out_may_be_the_input():
    x = normal(3, 5)
    expected = nkt.layer_norm(x, (5,))
    assert torch.equal(nkt.layer_norm(x, (5,), out=x), expected)
    with pytest.raises(ValueError, match="out shares memory"):
        nkt.local_response_norm(x[None], 3, out=x[None])


def test_there_is_no_gradient_through_out():
    x, out = normal(3, 5, grad=True), torch.empty(3, 5, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="layer_norm: out was given, must not be where"):
        nkt.layer_norm(x, (5,), out=out)
    with torch.no_grad():
        nkt.layer_norm(x, (5,), out=out)
    assert torch.equal(out, nkt.layer_norm(x, (5,)))


@pytest.mark.parametrize("name", ALL)
def test_out_is_modified_in_the_eyes_of_torch(name):
    """So that a gradient that needs what was there says so, instead of being another one."""
    z = normal(3, 6, 4, 5, dtype=torch.float32, grad=True)
    for view in (lambda t: t, *VIEWS.values()):
        saved = z.exp()
        ALL[name](view(z.detach()), out=saved.detach())
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            saved.sum().backward()
        ALL[name](view(z.detach())[:1], out=saved.detach()[:1])
        assert saved._version == 2


def test_an_out_that_was_refused_is_not_modified():
    out = torch.empty(3, 5)
    with pytest.raises(ValueError, match="eps is -1"):
        nkt.layer_norm(torch.ones(3, 5), (5,), eps=-1.0, out=out)
    assert out._version == 0


def error_cases():
    x, x4, w, half = normal(3, 5), normal(2, 6, 3, 3), normal(4), torch.ones(5).bfloat16()
    return {
        "layer_norm: normalized_shape is empty": lambda: nkt.layer_norm(x, ()),
        "layer_norm: input has shape (3, 5), must end with normalized_shape (4,)": lambda: (
            nkt.layer_norm(x, (4,))
        ),
        "rms_norm: input has shape (), must end": lambda: nkt.rms_norm(x[0, 0], (1,)),
        "layer_norm: weight has shape (4,), must have (5,)": lambda: nkt.layer_norm(x, (5,), w),
        "rms_norm: weight has shape (4,), must have (3, 5)": lambda: nkt.rms_norm(x, (3, 5), w),
        "layer_norm_2d: bias has shape (4,), must have (6,)": lambda: nkt.layer_norm_2d(
            x4, None, w
        ),
        "group_norm: num_groups is 4, must divide the 6": lambda: nkt.group_norm(x4, 4),
        "group_norm: num_groups is 0, must divide the 6": lambda: nkt.group_norm(x4, 0),
        "group_norm: input has shape (3,), must have 2": lambda: nkt.group_norm(x[:, 0], 1),
        "instance_norm: running_mean has shape (4,)": lambda: nkt.instance_norm(x4, w, w),
        "instance_norm: input has shape (3, 5), must have more": lambda: nkt.instance_norm(x),
        "local_response_norm: input has shape (3, 5), must have 3": lambda: nkt.local_response_norm(
            x, 3
        ),
        "local_response_norm: size is 0": lambda: nkt.local_response_norm(x4, 0),
        "add_layer_norm: residual has shape (3, 4), must have that of x, (3, 5)": lambda: (
            nkt.add_layer_norm(x, x[:, :4], (5,))
        ),
        "add_rms_norm: add_bias has shape (4,)": lambda: nkt.add_rms_norm(x, x, (5,), add_bias=w),
        "layer_norm: x is a ndarray, must": lambda: norms.layer_norm(x.numpy(), None, w, [1], 0.1),
        "layer_norm: input is a ndarray, must be a tensor": lambda: nkt.layer_norm(x.numpy(), (5,)),
        "layer_norm: weight is a list, must be a tensor": lambda: nkt.layer_norm(x, (2,), [1, 1]),
        "layer_norm: bias is a ndarray, must be a tensor": lambda: nkt.layer_norm(
            x, (5,), None, x[0].numpy()
        ),
        "layer_norm: weight is a list, must be": lambda: nkt.layer_norm(x, (5,), [1], out=x),
        "layer_norm: out is a list, must be a tensor": lambda: nkt.layer_norm(x, (5,), out=[1]),
        "group_norm: input is a list, must be a tensor": lambda: nkt.group_norm([1], 1),
        "group_norm: bias is a list, must be a tensor": lambda: nkt.group_norm(x, 1, None, [1]),
        "add_rms_norm: residual is a list, must be": lambda: nkt.add_rms_norm(x, [1], (5,)),
        "layer_norm: normalized_shape is 5, must be a tuple of": lambda: nkt.layer_norm(x, 5),
        "rms_norm: normalized_shape is (5.0,), must be a tuple of": lambda: nkt.rms_norm(x, (5.0,)),
        "layer_norm: eps is -1.0, must": lambda: nkt.layer_norm(x, (5,), eps=-1.0),
        "layer_norm: eps is -2.0, must": lambda: nkt.layer_norm(x, (5,), eps=-2.0, out=x),
        "layer_norm: eps is -3.0, must": lambda: nkt.layer_norm(
            x.clone().requires_grad_(), (5,), eps=-3.0
        ),
        "layer_norm: eps is of type str, must": lambda: nkt.layer_norm(x, (5,), eps="1"),
        "group_norm: num_groups is of type float, must be": lambda: nkt.group_norm(x4, 2.0),
        "local_response_norm: k is nan, must": lambda: nkt.local_response_norm(
            x4, 3, k=float("nan")
        ),
        "local_response_norm: beta is nan, must": lambda: nkt.local_response_norm(
            x4, 3, beta=float("nan")
        ),
        "layer_norm: input has dtype int64": lambda: nkt.layer_norm(x.long(), (5,)),
        "layer_norm: weight has dtype float32, must be float64, the dtype of input": lambda: (
            nkt.layer_norm(x, (5,), torch.ones(5))
        ),
        "group_norm: weight has dtype float32": lambda: nkt.group_norm(x, 1, torch.ones(5)),
        "rms_norm: weight has dtype bfloat16": lambda: nkt.rms_norm(x, (5,), half),
        "add_layer_norm: add_bias has dtype bfloat16": lambda: nkt.add_layer_norm(
            x, x, (5,), add_bias=half
        ),
        "layer_norm: out has shape (3, 4)": lambda: nkt.layer_norm(x, (5,), out=x[:, :4]),
    }


@pytest.mark.parametrize("message", error_cases())
def test_errors_name_the_argument(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        error_cases()[message]()
    assert str(caught.value).startswith(message)


class Elsewhere(torch.Tensor):
    """A tensor that says to be on a device that this machine need not have."""

    device, is_cpu = torch.device("cuda:0"), False


def test_other_devices_are_named():
    x = torch.ones(3, 5).as_subclass(Elsewhere)
    with pytest.raises(ValueError, match="layer_norm: input is on cuda:0, must be on the CPU"):
        nkt.layer_norm(x, (5,))
    with pytest.raises(ValueError, match="group_norm: weight is on cuda:0, must be on the CPU"):
        nkt.group_norm(torch.ones(3, 5), 1, x[0])


@pytest.mark.parametrize("grad", [False, True])
def test_meta_beside_the_cpu_is_refused(grad):
    """torch's dispatcher asks for a result of the right shape then, which holds anything."""
    x, w = torch.ones(3, 5, requires_grad=grad), torch.ones(5)
    cases = {
        "rms_norm: weight is on meta, must be on the CPU, as input": lambda: nkt.RMSNorm(
            5, device="meta"
        )(x),
        "layer_norm: bias is on cpu, must be on meta, as input": lambda: nkt.layer_norm(
            x.to("meta"), (5,), w.to("meta"), w
        ),
        "add_rms_norm: residual is on meta, must be on the CPU, as x": lambda: nkt.add_rms_norm(
            x, x.to("meta"), (5,)
        ),
        "layer_norm: out is on meta, must be on the CPU, as input": lambda: nkt.layer_norm(
            x.detach(), (5,), out=x.to("meta").detach()
        ),
        "group_norm: weight is on meta, must be on the CPU, as input": lambda: nkt.group_norm(
            x.detach(), 1, w.to("meta"), out=torch.empty(3, 5)
        ),
        "layer_norm: gamma is on meta, must be on the CPU, as x": lambda: (
            torch.ops.normkernels.layer_norm(x, w.to("meta"), None, [-1], 1e-5)
        ),
    }
    for message, call in cases.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_nested_tensors_are_refused(name, layout):
    images = [torch.randn(n, 4, 5) for n in (6, 6)]
    nested = torch.nested.nested_tensor(images, layout=layout)
    if name in OF_ROWS and layout is torch.strided:
        call = lambda: nkt.layer_norm(nested, (5,))  # noqa: E731, its shape cannot be asked for
    else:
        call = lambda: ALL[name](nested)  # noqa: E731
    with pytest.raises(TypeError, match="input is a nested tensor, must be an ordinary one"):
        call()


def test_what_the_error_of_nested_tensors_says_is_possible():
    rows = [normal(n, 5) for n in (2, 3)]
    nested = torch.nested.nested_tensor(rows, layout=torch.jagged)
    y = nkt.layer_norm(nested.values(), (5,))
    found = torch.nested.nested_tensor_from_jagged(y, nested.offsets())
    for a, x in zip(found.unbind(), rows, strict=True):
        assert torch.equal(a, nkt.layer_norm(x, (5,)))


def test_sparse_tensors_are_refused_by_torch():
    with pytest.raises(NotImplementedError, match="Sparse"):
        nkt.layer_norm(torch.ones(3, 5).to_sparse(), (5,))
