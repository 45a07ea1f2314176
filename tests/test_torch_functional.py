"""The functions with torch's signatures, beside torch's own in float64."""

import pytest

torch = pytest.importorskip("torch")

import ml_dtypes  # noqa: E402
import normkernels as nk  # noqa: E402
import normkernels.torch as nkt  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch_cases import DTYPES, HALVES, IDS, normal  # noqa: E402

each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=IDS)
SHAPE, C = (3, 6, 4, 5), 6

# Ours and torch's, of x and parameters of C elements.
FUNCTIONS = {
    "layer_norm": (
        lambda x, w, b: nkt.layer_norm(x, x.shape[2:]),
        lambda x, w, b: F.layer_norm(x, x.shape[2:]),
    ),
    "layer_norm, one dimension": (
        lambda x, w, b: nkt.layer_norm(x.mT, (4,), w[:4], b[:4]),
        lambda x, w, b: F.layer_norm(x.mT, (4,), w[:4], b[:4]),
    ),
    "layer_norm_2d": (
        nkt.layer_norm_2d,
        lambda x, w, b: F.layer_norm(x.movedim(1, -1), (C,), w, b, 1e-6).movedim(-1, 1),
    ),
    "rms_norm": (
        lambda x, w, b: nkt.rms_norm(x, (5,), w[:5], 1e-6),
        lambda x, w, b: F.rms_norm(x, (5,), w[:5], 1e-6),
    ),
    "rms_norm, eps": (
        lambda x, w, b: nkt.rms_norm(x, x.shape[2:], eps=0.1),
        lambda x, w, b: F.rms_norm(x, x.shape[2:], eps=0.1),
    ),
    "group_norm": (
        lambda x, w, b: nkt.group_norm(x, 2, w, b),
        lambda x, w, b: F.group_norm(x, 2, w, b),
    ),
    "instance_norm": (
        lambda x, w, b: nkt.instance_norm(x, weight=w, bias=b),
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
    ),
    "local_response_norm": (
        lambda x, w, b: nkt.local_response_norm(x, 3, 0.1, 0.75, 1.5),
        lambda x, w, b: F.local_response_norm(x, 3, 0.1, 0.75, 1.5),
    ),
    "even window": (
        lambda x, w, b: nkt.local_response_norm(x, 4, 0.1),
        lambda x, w, b: F.local_response_norm(x, 4, 0.1),
    ),
    "add_layer_norm": (
        lambda x, w, b: sum(nkt.add_layer_norm(x, 2 * x, (5,), w[:5], b[:5], add_bias=b[1:])),
        lambda x, w, b: F.layer_norm(3 * x + b[1:], (5,), w[:5], b[:5]) + 3 * x + b[1:],
    ),
    "add_rms_norm": (
        lambda x, w, b: sum(nkt.add_rms_norm(x, 2 * x, (5,), w[:5], 0.1)),
        lambda x, w, b: F.rms_norm(3 * x, (5,), w[:5], 0.1) + 3 * x,
    ),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def inputs(dtype, mean=0.0):
    return (
        normal(*SHAPE, dtype=dtype, mean=mean),
        normal(C, dtype=dtype, seed=1),
        normal(C, dtype=dtype, seed=2),
    )


def with_gradients(f, *args, dtype):
    """The result, and the gradients of all inputs that have one from a dy that `dtype` can hold."""
    args = [a.detach().clone().requires_grad_() for a in args]
    y = f(*args)
    y.backward(normal(*y.shape, dtype=dtype, seed=7).to(y.dtype))
    return [y.detach(), *(a.grad for a in args if a.grad is not None)]


def errors(found, exact):
    return [
        ((a.double() - e).abs().max() / e.abs().max()).item()
        for a, e in zip(found, exact, strict=True)
    ]


@each_dtype
@each_function
def test_values_and_gradients(name, dtype):
    ours, theirs = FUNCTIONS[name]
    args = inputs(dtype)
    exact = with_gradients(theirs, *(a.double() for a in args), dtype=dtype)
    found = with_gradients(ours, *args, dtype=dtype)
    assert all(a.dtype == dtype for a in found)
    # The 4 rounding errors that are promised, and as many of torch's, in float64 of the same size.
    assert max(errors(found, exact)) < 8 * torch.finfo(dtype).eps / 2


@each_function
def test_as_exact_as_torch_or_more_so(name):
    """Outputs and gradients of float32 data, where it matters far from 0, beside float64."""
    ours, theirs = FUNCTIONS[name]
    mean = 0.0 if "rms" in name or "window" in name or "response" in name else 1e3
    dtype = torch.float32
    args = inputs(dtype, mean)
    exact = with_gradients(theirs, *(a.double() for a in args), dtype=dtype)
    found, of_torch = (with_gradients(f, *args, dtype=dtype) for f in (ours, theirs))
    # Below the 4 rounding errors that are promised, which is better is chance.
    rounding = torch.finfo(dtype).eps / 2
    for a, b in zip(errors(found, exact), errors(of_torch, exact), strict=True):
        assert a <= max(b, 4 * rounding)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_float32_parameters_beside_halves(dtype):
    x, w, b = inputs(dtype)
    wide_w, wide_b = (t.float().requires_grad_() for t in (w, b))
    y = nkt.group_norm(x.requires_grad_(), 2, wide_w, wide_b)
    y.float().sum().backward()
    assert (y.dtype, x.grad.dtype) == (dtype, dtype)
    assert wide_w.grad.dtype == wide_b.grad.dtype == torch.float32
    assert torch.equal(y, nkt.group_norm(x, 2, w, b))


@each_dtype
def test_the_bits_are_those_of_the_functions_on_arrays(dtype):
    x, w, b = inputs(dtype)

    def array(t):
        if dtype is torch.bfloat16:
            return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return t.numpy()

    y = nkt.layer_norm(x.flatten(2).mT, (C,), w, b)
    expected = nk.layer_norm(
        array(x).reshape(3, C, 20).transpose(0, 2, 1), array(w), array(b), axis=-1
    )
    assert array(y).tobytes() == expected.tobytes()


def test_default_eps_of_rms_norm_is_torchs():
    for dtype in DTYPES:
        x = normal(4, 64, dtype=dtype) * 1e-3
        torch.testing.assert_close(nkt.rms_norm(x, (64,)), F.rms_norm(x, (64,)))


def test_running_statistics():
    x, w, b = inputs(torch.float32)
    ours, theirs = ((torch.zeros(C), torch.ones(C)) for _ in range(2))
    for _ in range(3):
        y = nkt.instance_norm(x, *ours, w, b, momentum=0.3)
        expected = F.instance_norm(x, *theirs, w, b, momentum=0.3)
        torch.testing.assert_close((y, ours), (expected, theirs))
    y = nkt.instance_norm(x, *ours, w, b, use_input_stats=False)
    torch.testing.assert_close(y, F.instance_norm(x, *theirs, w, b, use_input_stats=False))
    with pytest.raises(ValueError, match="use_input_stats is False, must be True without running"):
        nkt.instance_norm(x, use_input_stats=False)


def test_a_weight_changed_before_the_backward_is_an_error():
    """Where torch's instance norm, unlike its other norms, has a copy."""
    x, w, _ = (t.requires_grad_() for t in inputs(torch.float32))
    y = nkt.instance_norm(x, weight=w)
    with torch.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_more_than_five_dimensions():
    x = normal(2, 6, 2, 2, 2, 2)
    torch.testing.assert_close(nkt.local_response_norm(x, 4), F.local_response_norm(x, 4))
    out = torch.empty_like(x)
    assert nkt.local_response_norm(x, 4, out=out) is out
    assert torch.equal(out, nkt.local_response_norm(x, 4))


def test_sums_of_two_dtypes_have_the_wider_one():
    x, residual = normal(3, 5, dtype=torch.bfloat16), normal(3, 5, dtype=torch.float32, seed=1)
    y, total = nkt.add_layer_norm(x, residual, (5,))
    assert torch.equal(total, x + residual)
    assert torch.equal(y, nkt.layer_norm(total, (5,)))


@each_function
@pytest.mark.parametrize("shape", [(0, 6, 4, 5), (2, 6, 0, 5)], ids=str)
def test_empty(name, shape):
    if shape[2] == 0 and "one dimension" in name:
        shape = (2, 6, 4, 0)
    x = torch.zeros(shape, requires_grad=True)
    w, b = (torch.zeros(C, requires_grad=True) for _ in range(2))
    y = FUNCTIONS[name][0](x, w, b)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert w.grad is None or not w.grad.any()


@each_function
def test_meta_tensors(name):
    ours, theirs = FUNCTIONS[name]
    args = [a.to("meta") for a in inputs(torch.float32)]
    y, expected = ours(*args), theirs(*args)
    assert (y.device, y.shape, y.dtype) == (expected.device, expected.shape, expected.dtype)
