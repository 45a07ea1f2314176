"""Every bad argument is refused by name before anything is written."""

import re

import normkernels as nk
import numpy as np
import pytest
from conftest import normal
from good_calls import (
    ARGUMENTS,
    CHANNEL,
    DY,
    EVERY_ARRAY,
    F32,
    PER_PLANE,
    PER_ROW,
    ROW,
    X,
    all_same,
    assert_refused,
    call,
    each_array,
    each_array_but_x,
    each_operator,
    that_take,
)
from normkernels import helpers

# ---- Bad input


@each_array
@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?", "c8", "c16", "g", "O", "U3"])
def test_dtypes_that_no_array_may_have(name, argument, dtype):
    bad = np.ones(ARGUMENTS[name][argument].shape, dtype)
    assert_refused(name, TypeError, argument, f"dtype {bad.dtype}", **{argument: bad})


@each_array_but_x
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_dtypes_that_differ(name, argument, dtype):
    bad = ARGUMENTS[name][argument].astype(dtype)
    assert_refused(name, TypeError, argument, f"dtype {dtype}", **{argument: bad})


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
    [(name, a) for name, a in EVERY_ARRAY if a in {"x", "dy", "residual"}]
    + [("layer_norm_backward", "mean"), ("layer_norm_backward", "sigma")],
)
def test_none_for_what_is_required(name, argument):
    assert_refused(name, TypeError, argument, "None", **{argument: None})


@each_array_but_x
def test_one_element_more(name, argument):
    shape = ARGUMENTS[name][argument].shape
    bad = np.ones((*shape[:-1], shape[-1] + 1), F32)
    assert_refused(name, ValueError, argument, re.escape(str(bad.shape)), **{argument: bad})


@pytest.mark.parametrize(
    ("name", "argument"), [p for p in EVERY_ARRAY if p[1] in {"dy", "y", "residual"}]
)
def test_as_many_elements_of_another_shape(name, argument):
    bad = np.ones((4, 3, 2), F32)
    assert_refused(name, ValueError, argument, re.escape("(4, 3, 2)"), **{argument: bad})


@each_operator
def test_ranks(name):
    of_others = {"instance": (0, 1), "group": (0, 1), "local": (0, 1, 2, 6)}
    for rank in of_others.get(name.split("_")[0], (0,)):
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
    """An axis after the batch, which is the default of most, is what a single vector lacks."""
    one, each = normal((4,), F32), np.ones(1, F32)
    others = {"dy": one, "residual": one, "mean": each, "sigma": each, "rstd": each}
    others = {key: value for key, value in others.items() if key in ARGUMENTS[name]}
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


@pytest.mark.parametrize("name", that_take("groups"))
def test_groups(name):
    for bad in (0, -1, 2, 4, -(2**70), 2**70):
        assert_refused(name, ValueError, "groups", str(bad), groups=bad)
    for bad in (None, 1.0, "1", [1]):
        assert_refused(name, TypeError, "groups", groups=bad)


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
@pytest.mark.parametrize("name", that_take("inv_std"))
def test_half_of_the_saved_statistics(name, argument):
    assert_refused(name, ValueError, argument, "None", **{argument: None})


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
        (
            (x.astype(int),),
            {},
            "layer_norm: x has dtype int64, must be float32, float64, float16 or bfloat16",
        ),
        (
            (x, np.ones(4, int)),
            {},
            "layer_norm: gamma has dtype int64, must be float32, the dtype of x",
        ),
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
