"""Every bad argument is refused by name before anything is written."""

import re

import normkernels as nk
import numpy as np
import pytest
from conftest import Guarded, normal, same_bits
from normkernels import helpers

F32, F64 = np.float32, np.float64
SHAPE = (2, 3, 4)
X, DY = normal(SHAPE, F32), normal(SHAPE, F32, seed=1)
ROW, CHANNEL = normal((3, 4), F32, seed=2), normal((3,), F32, seed=3)
PER_ROW, PER_PLANE = np.full((2, 1), 2, F32), np.full((2, 3), 2, F32)
LRN = {"alpha": 0.5, "beta": 0.75, "bias": 1.0, "order": "NCHW"}

# A good call of each operator: the arguments that go by position, in order, and the others.
CALLS = {
    "layer_norm": ({"x": X, "gamma": ROW, "beta": ROW}, {"axis": 1, "epsilon": 1e-5}),
    "layer_norm_backward": (
        {"dy": DY, "x": X, "mean": PER_ROW, "sigma": PER_ROW, "gamma": ROW},
        {"axis": 1},
    ),
    "instance_norm": (
        {"x": X, "scale": CHANNEL, "bias": CHANNEL},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "instance_norm_backward": (
        {"dy": DY, "x": X, "scale": CHANNEL, "mean": PER_PLANE, "inv_std": PER_PLANE},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "instance_norm_with_gradient": (
        {"x": X, "scale": CHANNEL, "bias": CHANNEL, "dy": DY},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "local_response_norm": ({"x": X, "size": 3}, LRN),
    "local_response_norm_backward": (
        {"dy": DY, "x": X, "size": 3},
        {"y": X, "scale": abs(X), **LRN},
    ),
}
GRADIENT = "instance_norm_with_gradient"  # which has two large outputs
MAY_BE_OUT = {
    "layer_norm": {"x"},
    "layer_norm_backward": {"dy", "x"},
    "instance_norm": {"x"},
    "instance_norm_backward": {"dy", "x"},
    "local_response_norm": set(),
    "local_response_norm_backward": set(),
}
ARGUMENTS = {name: {**positional, **keywords} for name, (positional, keywords) in CALLS.items()}


def call(name, **changes):
    """The good call with some arguments changed; its outputs as a list."""
    positional, keywords = CALLS[name]
    positional = [changes.pop(key, value) for key, value in positional.items()]
    result = getattr(nk, name)(*positional, **{**keywords, **changes})
    return [result] if isinstance(result, np.ndarray) else list(result)


def all_same(actual, expected):
    return all(same_bits(a, b) for a, b in zip(actual, expected, strict=True))


def that_take(argument):
    return [name for name in CALLS if argument in ARGUMENTS[name]]


EVERY_ARRAY = [
    (name, argument)
    for name, arguments in ARGUMENTS.items()
    for argument, value in arguments.items()
    if isinstance(value, np.ndarray)
]
each_operator = pytest.mark.parametrize("name", CALLS)
each_with_one_out = pytest.mark.parametrize("name", MAY_BE_OUT)
each_array = pytest.mark.parametrize(("name", "argument"), EVERY_ARRAY)
each_array_but_x = pytest.mark.parametrize(
    ("name", "argument"), [pair for pair in EVERY_ARRAY if pair[1] != "x"]
)


def assert_refused(name, error, argument, was="", **changes):
    """`error`, with a message that names the function and the argument, and nothing written."""
    guarded = [Guarded(SHAPE, F32) for _ in range(2)]
    out = tuple(g.array for g in guarded) if name == GRADIENT else guarded[0].array
    with pytest.raises(error, match=rf"^{name}: {argument} .*{was}.*, must "):
        call(name, out=out, **changes)
    assert all(g.is_untouched() for g in guarded)


# ---- Bad input


@each_array
@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?", "c8", "c16", "f2", "O", "U3"])
def test_dtypes_that_are_not_float32_or_float64(name, argument, dtype):
    bad = np.ones(ARGUMENTS[name][argument].shape, dtype)
    assert_refused(name, TypeError, argument, f"dtype {bad.dtype}", **{argument: bad})


@each_array_but_x
def test_dtypes_that_differ(name, argument):
    bad = ARGUMENTS[name][argument].astype(F64)
    assert_refused(name, TypeError, argument, "dtype float64", **{argument: bad})


@each_array
@pytest.mark.parametrize(
    "bad", ["text", 3.5, {}, object(), [[1.0, 2.0]]], ids=lambda v: type(v).__name__
)
def test_what_is_no_array(name, argument, bad):
    """A list neither: to read it would be a copy, of a dtype that nobody chose."""
    assert_refused(name, TypeError, argument, f"of type {type(bad).__name__}", **{argument: bad})


class OnAnotherDevice:
    """Speaks DLPack, of memory that is not the CPU's."""

    def __dlpack__(self, **keywords):
        raise BufferError("not on the CPU")

    def __dlpack_device__(self):
        return (2, 0)


@each_array
def test_dlpack_from_another_device(name, argument):
    assert_refused(name, TypeError, argument, "OnAnotherDevice", **{argument: OnAnotherDevice()})


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, a) for name, a in EVERY_ARRAY if a in {"x", "dy"}]
    + [("layer_norm_backward", "mean"), ("layer_norm_backward", "sigma")],
)
def test_none_for_what_is_required(name, argument):
    assert_refused(name, TypeError, argument, "None", **{argument: None})


@each_array_but_x
def test_one_element_more(name, argument):
    shape = ARGUMENTS[name][argument].shape
    bad = np.ones((*shape[:-1], shape[-1] + 1), F32)
    assert_refused(name, ValueError, argument, re.escape(str(bad.shape)), **{argument: bad})


@pytest.mark.parametrize(("name", "argument"), [p for p in EVERY_ARRAY if p[1] in {"dy", "y"}])
def test_as_many_elements_of_another_shape(name, argument):
    bad = np.ones((4, 3, 2), F32)
    assert_refused(name, ValueError, argument, re.escape("(4, 3, 2)"), **{argument: bad})


@each_operator
def test_ranks(name):
    for rank in {"layer": (0,), "insta": (0, 1), "local": (0, 1, 2, 6)}[name[:5]]:
        bad = np.ones((2,) * rank, F32)
        assert_refused(name, ValueError, "x", f"rank {rank}", x=bad)


@pytest.mark.parametrize("name", that_take("axis"))
def test_axis(name):
    for bad in (3, -4, 2**70, -(2**70)):
        assert_refused(name, ValueError, "axis", str(bad), axis=bad)
    for bad in (1.0, "1", None, [1]):
        assert_refused(name, TypeError, "axis", type(bad).__name__ if bad else "None", axis=bad)


@pytest.mark.parametrize("name", that_take("axis"))
def test_a_vector_has_no_second_axis(name):
    """The default is the axis after the batch, which a single vector does not have."""
    one, each = normal((4,), F32), np.ones(1, F32)
    others = {"dy": one, "mean": each, "sigma": each} if "dy" in ARGUMENTS[name] else {}
    expected = rf"^{name}: axis is 1, must be between -1 and 0 for an x of rank 1$"
    with pytest.raises(ValueError, match=expected):
        call(name, x=one, **others)


@pytest.mark.parametrize("name", that_take("order"))
def test_order(name):
    for bad in ("NCWH", "", "Nchw", "NCHW "):
        assert_refused(name, ValueError, "order", f"'{bad}'", order=bad)
    for bad in (None, 1, b"NCHW"):
        assert_refused(name, TypeError, "order", order=bad)


@pytest.mark.parametrize("name", that_take("epsilon"))
def test_epsilon(name):
    for bad in (-1e-5, -np.inf, np.inf, np.nan):
        assert_refused(name, ValueError, "epsilon", str(bad), epsilon=bad)
    for bad in (None, "1e-5", 1j):
        assert_refused(name, TypeError, "epsilon", epsilon=bad)


@pytest.mark.parametrize("name", that_take("size"))
def test_size(name):
    for bad in (0, -1, -(2**70), 2**70):
        assert_refused(name, ValueError, "size", str(bad), size=bad)
    for bad in (None, 3.0, "3"):
        assert_refused(name, TypeError, "size", size=bad)


@pytest.mark.parametrize("argument", ["alpha", "beta", "bias"])
@pytest.mark.parametrize("name", that_take("alpha"))
def test_scalars_of_local_response_norm(name, argument):
    for bad in (np.nan, np.inf, -np.inf):
        assert_refused(name, ValueError, argument, str(bad), **{argument: bad})
    for bad in (None, "1", 1j):
        assert_refused(name, TypeError, argument, **{argument: bad})


@each_operator
def test_num_threads(name):
    for bad in (-1, -(2**70)):
        assert_refused(name, ValueError, "num_threads", str(bad), num_threads=bad)
    for bad in (1.5, "2"):
        assert_refused(name, TypeError, "num_threads", num_threads=bad)
    expected = call(name)
    for good in (None, 0, 1, np.int64(2), 1024, 1025, 2**31, 2**70):
        assert all_same(call(name, num_threads=good), expected)


@pytest.mark.parametrize("argument", ["mean", "inv_std"])
def test_half_of_the_saved_statistics(argument):
    assert_refused("instance_norm_backward", ValueError, argument, "None", **{argument: None})


def test_messages_say_it_all():
    """Function, argument, what it was, what it must be."""
    x = normal((3, 4), F32)
    for arguments, keywords, message in [
        (
            (x, np.ones(5, F32)),
            {},
            "layer_norm: gamma has 5 elements (shape (5,)), must have 4, the product of "
            "x.shape[1:] = (4,)",
        ),
        ((x,), {"axis": 3}, "layer_norm: axis is 3, must be between -2 and 1 for an x of rank 2"),
        ((x,), {"epsilon": np.nan}, "layer_norm: epsilon is nan, must be finite and >= 0"),
        ((x.astype(int),), {}, "layer_norm: x has dtype int64, must be float32 or float64"),
    ]:
        with pytest.raises((TypeError, ValueError)) as caught:
            nk.layer_norm(*arguments, **keywords)
        assert str(caught.value) == message
    with pytest.raises(
        ValueError, match=r"^instance_norm: order is 'NCWH', must be 'NCHW' or 'NHWC'$"
    ):
        nk.instance_norm(x, order="NCWH")
    with pytest.raises(ValueError, match=r"^local_response_norm: size is 0, must be at least 1$"):
        nk.local_response_norm(X, 0)


# ---- out


def bad_outs():
    good = np.zeros(SHAPE, F32)
    misaligned = np.zeros(good.nbytes + 1, np.uint8)[1:].view(F32).reshape(SHAPE)
    read_only = good.copy()
    read_only.flags.writeable = False
    return {
        "list": (TypeError, good.tolist()),
        "float64": (TypeError, good.astype(F64)),
        "byte-swapped": (TypeError, good.astype(good.dtype.newbyteorder())),
        "shape": (ValueError, good.reshape(2, 4, 3)),
        "rank": (ValueError, good.reshape(1, *SHAPE)),
        "size": (ValueError, np.zeros((2, 3, 5), F32)),
        "strided": (ValueError, np.zeros((2, 3, 8), F32)[:, :, ::2]),
        "reversed": (ValueError, good[::-1]),
        "Fortran": (ValueError, np.asfortranarray(good)),
        "misaligned": (ValueError, misaligned),
        "read-only": (ValueError, read_only),
    }


@each_operator
@pytest.mark.parametrize("kind", bad_outs())
def test_out(name, kind):
    error, out = bad_outs()[kind]
    before = np.array(out)
    if name == GRADIENT:
        good = Guarded(SHAPE, F32)
        for i, pair in enumerate([(out, good.array), (good.array, out)]):
            with pytest.raises(error, match=rf"^{name}: out\[{i}\] .*, must "):
                call(name, out=pair)
            assert good.is_untouched()
    else:
        with pytest.raises(error, match=rf"^{name}: out .*, must "):
            call(name, out=out)
    assert np.array_equal(before, out)


@pytest.mark.parametrize("bad", [X, (X,), (X, X, X), "ab", 1], ids=lambda v: type(v).__name__)
def test_out_must_be_a_pair(bad):
    with pytest.raises(TypeError, match=rf"^{GRADIENT}: out.* must "):
        call(GRADIENT, out=bad)


def overlapping(name, argument):
    """The argument one element before the array that is to be out, in the same memory."""
    value = ARGUMENTS[name][argument]
    memory = np.zeros(X.size + 1, F32)
    shared = memory[: value.size].reshape(value.shape)
    shared[...] = value
    return memory, shared, memory[1:].reshape(SHAPE)


@each_array
def test_out_that_overlaps_an_input(name, argument):
    memory, shared, out = overlapping(name, argument)
    before = memory.copy()
    other = np.zeros_like(X)
    for pair in ((out, other), (other, out)) if name == GRADIENT else (out,):
        with pytest.raises(ValueError, match=rf"^{name}: .*shares memory"):
            call(name, out=pair, **{argument: shared})
        assert same_bits(memory, before)
    assert not other.any()


@each_array
def test_out_that_overlaps_an_input_that_must_be_copied(name, argument):
    memory, shared, out = overlapping(name, argument)
    swapped = shared.view(shared.dtype.newbyteorder())
    before = memory.copy()
    for pair in ((out, np.zeros_like(X)),) if name == GRADIENT else (out,):
        with pytest.raises(ValueError, match=rf"^{name}: .*shares memory"):
            call(name, out=pair, **{argument: swapped})
    assert same_bits(memory, before)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, a)
        for name, a in EVERY_ARRAY
        if name in MAY_BE_OUT and ARGUMENTS[name][a].shape == SHAPE
    ],
)
def test_out_that_is_an_input(name, argument):
    expected = call(name)
    array = ARGUMENTS[name][argument].copy()
    if argument in MAY_BE_OUT[name]:
        actual = call(name, out=array, **{argument: array})
        assert actual[0] is array
        assert all_same(actual, expected)
    else:
        with pytest.raises(ValueError, match=rf"^{name}: out shares memory"):
            call(name, out=array, **{argument: array})
        assert same_bits(array, ARGUMENTS[name][argument])


def test_out_of_both_at_once():
    """y may be x and dx may be dy, not the other way round, nor one array both."""
    x, dy, free = X.copy(), DY.copy(), np.zeros_like(X)
    for pair in ((dy, free), (free, x), (free, free), (dy, x)):
        with pytest.raises(ValueError, match=rf"^{GRADIENT}: out\[[01]\] shares memory"):
            call(GRADIENT, x=x, dy=dy, out=pair)
        assert same_bits(x, X)
        assert same_bits(dy, DY)
        assert not free.any()
    expected = call(GRADIENT)
    actual = call(GRADIENT, x=x, dy=dy, out=[x, dy])
    assert actual[0] is x
    assert actual[1] is dy
    assert all_same(actual, expected)


# ---- The steps


@pytest.mark.parametrize(
    ("step", "arguments", "keywords", "error", "argument"),
    [
        (nk.compute_sigma_and_fused_params, (ROW, CHANNEL), {}, ValueError, "var"),
        (nk.compute_sigma_and_fused_params, (ROW, ROW), {"epsilon": -1}, ValueError, "epsilon"),
        (nk.compute_internal_gradients, (DY, X, CHANNEL), {}, ValueError, "gamma"),
        (nk.compute_internal_gradients, (ROW, X), {}, ValueError, "dy"),
        (nk.compute_fused_params, (ROW, ROW, ROW, CHANNEL, 4), {}, ValueError, "db"),
        (nk.compute_fused_params, (ROW, ROW, ROW, ROW, -1), {}, ValueError, "n"),
        (nk.compute_fused_params, (ROW, ROW, ROW, ROW, 1.5), {}, TypeError, "n"),
        (nk.gamma_beta_backward, (DY, X, ROW, PER_ROW), {}, ValueError, "rstd"),
        (nk.gamma_beta_backward, (DY, X, PER_ROW, PER_ROW), {"axis": 3}, ValueError, "axis"),
        (helpers.layer_norm_forward, (X, PER_ROW, ROW), {}, ValueError, "bias"),
        (helpers.layer_norm_backward, (DY, X, None, PER_ROW, PER_ROW, ROW), {}, ValueError, "bias"),
        (helpers.compute_moments, (X,), {"order": "CHWN"}, ValueError, "order"),
        (helpers.compute_moments, (CHANNEL,), {}, ValueError, "x"),
        (
            helpers.compute_fused_params,
            (PER_PLANE, PER_PLANE, ROW, CHANNEL),
            {},
            ValueError,
            "gamma",
        ),
        (helpers.compute_internal_gradients, (ROW, X), {}, ValueError, "dy"),
        (helpers.instance_norm_forward, (X, PER_PLANE, PER_ROW), {}, ValueError, "bias"),
        (helpers.instance_norm_forward, (X.astype(int), PER_PLANE, PER_PLANE), {}, TypeError, "x"),
        (
            helpers.gamma_beta_backward,
            (PER_PLANE, PER_ROW, PER_PLANE, PER_PLANE),
            {},
            ValueError,
            "db",
        ),
    ],
)
def test_bad_input_of_the_steps(step, arguments, keywords, error, argument):
    with pytest.raises(error, match=rf"^(helpers\.)?{step.__name__}: {argument} .*, must "):
        step(*arguments, **keywords)
