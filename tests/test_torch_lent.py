"""Tensors that torch lends to the compiled module: they give what their arrays give."""

import gc
import weakref

import pytest

torch = pytest.importorskip("torch")

import normkernels as nk  # noqa: E402
import normkernels.torch as nkt  # noqa: E402
from conftest import has_array_of_nothing  # noqa: E402
from normkernels.torch import arrays  # noqa: E402
from normkernels.torch.arrays import on_tensors  # noqa: E402
from scenes import run  # noqa: E402
from torch_cases import DTYPES, IDS, normal  # noqa: E402

LENDS = hasattr(torch.Tensor, "__dlpack_c_exchange_api__")
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=IDS)

BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
LAYOUTS = {
    "dense": lambda t: t,
    "transposed": lambda t: t.mT.contiguous().mT,
    "steps": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "from the middle": lambda t: torch.cat([t, t])[t.shape[0] :],
    "expanded": lambda t: t[:1].expand_as(t),
    "empty": lambda t: t[:0],
    "parameter": lambda t: torch.nn.Parameter(t.clone()),
    "channels_last": lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1),
}


def calls(x, parameter):
    """Of each function on x; `parameter` makes a tensor of a shape."""
    w, channels = parameter(x.shape[-1]), parameter(x.shape[1])
    last = {"axis": -1}
    return [
        (nk.layer_norm, (x, w, w), last),
        (nk.layer_norm, (x, w), last | {"return_stats": True}),
        (nk.rms_norm, (x, w), last | {"return_stats": True}),
        (nk.add_layer_norm, (x, x, w, w), last),
        (nk.add_rms_norm, (x, x, w), last),
        (nk.instance_norm, (x, channels, channels), {}),
        (nk.group_norm, (x, 2, channels, channels), {"return_stats": True}),
        (nk.local_response_norm, (x, 3), {}),
    ]


def through_arrays(function):
    """The function on tensors that arrays.py's two conversions make of one on arrays."""

    def call(*args, out, **options):
        def converted(t):
            return arrays.array(t) if isinstance(t, torch.Tensor) else t

        results = function(*map(converted, args), **options, out=arrays.array(out))
        if isinstance(results, tuple):
            return tuple(map(arrays.tensor, results))
        return arrays.tensor(results)

    return call


def assert_same(given, expected):
    if isinstance(given, torch.Tensor):
        given, expected = (given,), (expected,)
    assert len(given) == len(expected)
    for g, e in zip(given, expected, strict=True):
        assert type(g) is torch.Tensor
        assert not g.requires_grad
        assert (g.dtype, g.shape) == (e.dtype, e.shape)
        assert torch.equal(*(t.view(BITS[t.dtype.itemsize]) for t in (g, e)))


@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_results_are_those_of_arrays(layout, dtype):
    x = LAYOUTS[layout](normal(3, 4, 6, dtype=dtype))
    for of_parameters in {dtype, torch.float32} if dtype.itemsize == 2 else {dtype}:
        for spread in (LAYOUTS["dense"], LAYOUTS["steps"]):
            made = calls(x, lambda n: spread(normal(n, dtype=of_parameters)))  # noqa: B023
            for function, args, options in made:
                outs = torch.empty_like(x), torch.empty_like(x)
                given, expected = (
                    way(function)(*args, **options, out=out)
                    for way, out in zip((on_tensors, through_arrays), outs, strict=True)
                )
                assert any(t is outs[0] for t in (given if isinstance(given, tuple) else (given,)))
                assert_same(given, expected)
                if x.is_contiguous():
                    assert_same(on_tensors(function)(*args, **options), expected)


@each_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_gradients_are_those_of_arrays(layout, dtype):
    x, w = LAYOUTS[layout](normal(3, 4, 6, dtype=dtype)), normal(6, dtype=dtype)
    dy = normal(3, 4, 6, dtype=dtype, seed=2)[: x.shape[0]]
    _, *statistics = on_tensors(nk.layer_norm)(
        x, out=torch.empty_like(x), axis=-1, return_stats=True
    )
    given, expected = (
        way(nk.layer_norm_backward)(dy, x, *statistics, w, axis=-1, out=torch.empty_like(x))
        for way in (on_tensors, through_arrays)
    )
    assert_same(given, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_of_a_call_is_kept(layout):
    x, w = LAYOUTS[layout](normal(3, 4, 6)).detach(), normal(6)
    storage = x.untyped_storage().data_ptr()
    y = nkt.layer_norm(x, (6,), w)
    kept = [weakref.ref(t) for t in (x, w)]
    expected = y.clone()
    del x, w
    gc.collect()
    assert [reference() for reference in kept] == [None, None]
    assert y.untyped_storage().data_ptr() != storage
    assert torch.equal(y, expected)


@pytest.mark.skipif(not LENDS, reason="this torch lends no tensors to C code")
def test_a_tensor_that_was_lent_may_grow():
    """NumPy's arrays forbid it, for good."""
    x = normal(3, 4)
    nkt.layer_norm(x, (4,))
    assert x.resize_(30, 40).shape == (30, 40)


class Derived(torch.Tensor):
    pass


def unusual():
    """What is not lent, and whether it has an array."""
    x = normal(3, 4)
    z = torch.complex(x, x)
    return {
        "meta": (x.to("meta"), False),
        "sparse": (x.to_sparse(), False),
        "opaque": (x.float().to_mkldnn(), False),
        "negative": (torch._neg_view(x), False),
        "negative part": (z.conj().imag, False),
        "zero": (torch._efficientzerotensor((3, 4), dtype=x.dtype), False),
        "an array": (x.numpy(), False),
        "a list": ([[1.0]], False),
        "derived": (x.as_subclass(Derived), True),
        "derived bfloat16": (x.bfloat16().as_subclass(Derived), True),
        "float8": (x.to(torch.float8_e4m3fn), False),
    }


@pytest.mark.parametrize("kind", unusual())
def test_what_is_not_lent_is_read_as_its_array_is(kind):
    t, has_array = unusual()[kind]
    if kind == "zero" and has_array_of_nothing(torch):
        pytest.skip("this torch does not refuse it")
    if has_array:
        outs = torch.empty(t.shape, dtype=t.dtype), torch.empty(t.shape, dtype=t.dtype)
        on_tensors(nk.layer_norm)(t, out=outs[0])
        through_arrays(nk.layer_norm)(t, out=outs[1])
        assert_same(*outs)
        return
    with pytest.raises(Exception) as expected:  # noqa: PT011, torch's own, of several classes
        arrays.array(t)
    x = normal(3, 4)
    for args, options in (((t,), {}), ((x, t), {}), ((x,), {"out": t})):
        with pytest.raises(type(expected.value)) as caught:
            on_tensors(nk.layer_norm)(*args, **options)
        assert str(caught.value) == str(expected.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool, torch.complex64])
def test_other_dtypes_are_refused_by_name(dtype):
    name = str(dtype).removeprefix("torch.")
    for x in (torch.ones(3, 4, dtype=dtype), torch.ones(0, 4, dtype=dtype)):
        with pytest.raises(TypeError, match=f"x has dtype {name}, must be float32, float64, "):
            on_tensors(nk.layer_norm)(x)


def test_what_requires_a_gradient_is_read_where_gradients_are_off():
    x, w = normal(3, 4, grad=True), torch.nn.Parameter(normal(4))
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            y = nkt.layer_norm(x, (4,), w)
        assert not y.requires_grad
        assert torch.equal(y, nkt.layer_norm(x, (4,), w))


def test_functions_on_arrays_take_tensors_as_before():
    x = normal(3, 4, dtype=torch.float32)
    assert type(nk.layer_norm(x)).__name__ == "ndarray"
    with pytest.raises(TypeError, match="x is of type Parameter and cannot be viewed as a CPU ar"):
        nk.layer_norm(torch.nn.Parameter(x))
    with pytest.raises(TypeError, match="negative bit"):
        nk.layer_norm(torch._neg_view(x))


LENDERS = """
import ctypes, sys, torch

class Api(ctypes.Structure):
    "The head of DLPack's struct, and as many functions, of which none is there."
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("previous", ctypes.c_void_p),
        ("functions", ctypes.c_void_p * 5),
    )

NAMES = b"dlpack_exchange_api", b"another"

def capsule(api, name):
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(api), name, None)

attribute = "__dlpack_c_exchange_api__"
newer, incomplete = Api(2, 0), Api(1, 3)
if sys.argv[1] == "as it is":
    pass
elif sys.argv[1] == "none":
    if hasattr(torch.Tensor, attribute):
        delattr(torch.Tensor, attribute)
elif sys.argv[1] == "a newer version":
    setattr(torch.Tensor, attribute, capsule(newer, NAMES[0]))
elif sys.argv[1] == "a newer version beside this one":
    if hasattr(torch.Tensor, attribute):
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        newer.previous = pointer(getattr(torch.Tensor, attribute), NAMES[0])
    setattr(torch.Tensor, attribute, capsule(newer, NAMES[0]))
elif sys.argv[1] == "one that does not lend":
    setattr(torch.Tensor, attribute, capsule(incomplete, NAMES[0]))
elif sys.argv[1] == "another capsule":
    setattr(torch.Tensor, attribute, capsule(incomplete, NAMES[1]))
else:
    raise AssertionError

import normkernels.torch as nkt

torch.manual_seed(0)
x, w = torch.randn(8, 4, 6, requires_grad=True), torch.randn(4, requires_grad=True)
for t in (x, x.bfloat16(), x.half(), x.mT.contiguous().mT, x[:0]):
    for y in (
        nkt.layer_norm(t, t.shape[-2:]),
        nkt.group_norm(t, 2, w.to(t.dtype), w.to(t.dtype)),
        nkt.local_response_norm(t, 3),
        nkt.local_response_norm(t, 4),
        *nkt.add_rms_norm(t, t, t.shape[-1:]),
    ):
        (y.double() ** 3).sum().backward(retain_graph=True)
        print(x.grad.double().sum().item().hex(), w.grad is None or w.grad.sum().item().hex())
out = torch.empty_like(x)
with torch.no_grad():
    assert nkt.layer_norm(x, (6,), out=out) is out
    print(out.double().sum().item().hex())
    try:
        nkt.layer_norm(x, (6,), w[:1].expand(6).numpy(), out=out)
    except TypeError as error:
        assert str(error) == "layer_norm: weight is a ndarray, must be a tensor"
    else:
        raise AssertionError
"""


@pytest.mark.parametrize(
    "lender",
    [
        *("none", "a newer version", "a newer version beside this one"),
        *("one that does not lend", "another capsule"),
    ],
)
def test_whatever_torch_lends_results_are_the_same(lender):
    assert run(LENDERS, lender, prelude="") == run(LENDERS, "as it is", prelude="")
