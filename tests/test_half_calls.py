"""How the functions take float16 and bfloat16: which dtypes go together, what is refused and how,
and what else is loaded and held for it."""

import re
import sys

import ml_dtypes
import normkernels as nk
import numpy as np
import pytest
from conftest import HALVES, Guarded, normal, ordered, same_bits
from good_calls import (
    CALLS,
    EVERY_ARRAY,
    GRADIENT,
    MAY_BE_OUT,
    SHAPE,
    all_same,
    each_array,
    each_array_but_x,
    each_operator,
)
from half import (
    F32,
    FIRST,
    SECOND,
    STATISTICS,
    check,
    each_half,
    good_arguments,
    named_results,
    wanted,
)
from normkernels import helpers
from scenes import run
from test_arrays import KINDS

PARAMETERS = {*FIRST, *SECOND}


def role(name, argument):
    """LRN's scale has x's shape."""
    if argument in STATISTICS:
        return "statistic"
    return "parameter" if argument in PARAMETERS and not name.startswith("local") else "large"


def results(name, arguments):
    return list(named_results(name, arguments).values())


# ---- Which dtypes go together


@each_half
@each_operator
def test_good_calls(name, half):
    check(name, good_arguments(name, half))


@each_half
@pytest.mark.parametrize(
    ("name", "argument"), [pair for pair in EVERY_ARRAY if role(*pair) != "large"]
)
def test_statistics_and_each_parameter_in_float32(name, argument, half):
    good = good_arguments(name, half)
    check(name, {**good, argument: good[argument].astype(F32)})


@each_half
@each_array_but_x
def test_each_array_in_another_dtype(name, argument, half):
    (other,) = (dtype for dtype in HALVES if dtype is not half)
    good = good_arguments(name, half)
    x = np.dtype(half).name
    also, must = {
        "statistic": (half, f"be float32, as x is {x}"),
        "parameter": (np.int8, f"be {x} or float32, as x is {x}"),
        "large": (F32, f"be {x}, the dtype of x"),
    }[role(name, argument)]
    for dtype in (also, other, np.float64, np.int16, np.uint16, ml_dtypes.float8_e5m2):
        bad = good[argument].astype(dtype)
        with pytest.raises(TypeError) as caught:
            named_results(name, {**good, argument: bad})
        assert str(caught.value) == f"{name}: {argument} has dtype {bad.dtype}, must {must}"


@each_operator
@pytest.mark.parametrize("dtype", ["int4", "float8_e4m3fn", "float6_e2m3fn"])
def test_other_dtypes_of_ml_dtypes(name, dtype):
    if not hasattr(ml_dtypes, dtype):
        pytest.skip(f"this ml_dtypes has no {dtype}")
    x = np.zeros(SHAPE, getattr(ml_dtypes, dtype))
    message = f"^{name}: x has dtype {dtype}, must be float32, float64, float16 or bfloat16$"
    with pytest.raises(TypeError, match=message):
        named_results(name, {**good_arguments(name, np.float16), "x": x})


def test_what_only_has_the_size_of_bfloat16():
    for x in (np.zeros((2, 3), "V2"), np.zeros((2, 3), [("bfloat16", "u2")])):
        with pytest.raises(TypeError, match=r"^layer_norm: x has dtype .*, must be float32, float"):
            nk.layer_norm(x)


@each_half
def test_the_steps_have_no_half_types(half):
    x, table = np.ones((2, 3, 4), half), np.ones((2, 3), half)
    for message, step in {
        "compute_sigma_and_fused_params: mean": lambda: nk.compute_sigma_and_fused_params(x, x),
        "compute_internal_gradients: x": lambda: nk.compute_internal_gradients(x, x),
        "compute_fused_params: mean": lambda: nk.compute_fused_params(x, x, x, x, 3),
        "gamma_beta_backward: dyx": lambda: nk.gamma_beta_backward(x, x, x, x),
        "helpers.compute_moments: x": lambda: helpers.compute_moments(x),
        "helpers.instance_norm_forward: x": lambda: helpers.instance_norm_forward(x, table, table),
        "helpers.layer_norm_forward: x": lambda: helpers.layer_norm_forward(x, x, x),
    }.items():
        with pytest.raises(TypeError) as caught:
            step()
        was = f"has dtype {np.dtype(half).name}, must be float32 or float64"
        assert str(caught.value) == f"{message} {was}"


# ---- Where inputs and outputs are


@each_half
@each_array
@pytest.mark.parametrize(
    "kind", ["Fortran", "strided", "reversed", "byte-swapped", "misaligned", "read-only"]
)
def test_arrays_of_every_kind(name, argument, kind, half):
    good = good_arguments(name, half)
    array = KINDS[kind](good[argument])
    actual = named_results(name, {**good, argument: array})
    assert all_same(actual.values(), results(name, good))
    assert all(a.dtype.isnative for a in actual.values())


def outs_of(name, arrays):
    return {"out": tuple(arrays) if name == GRADIENT else arrays[0]}


@each_half
@each_operator
def test_out(name, half):
    good = good_arguments(name, half)
    expected = results(name, good)
    for offset in (0, 1, 3):
        guarded = [Guarded(SHAPE, half, offset + i) for i in range(2)]
        outs = [g.array for g in guarded][: 1 + (name == GRADIENT)]
        actual = results(name, {**good, **outs_of(name, outs)})
        assert all(a is out for a, out in zip(actual, outs, strict=False))
        assert all_same(actual, expected)
        assert all(g.margins_are_intact() for g in guarded)


@each_half
@pytest.mark.parametrize("name", [name for name in CALLS if MAY_BE_OUT.get(name)])
def test_in_place(name, half):
    good = good_arguments(name, half)
    expected = results(name, good)
    for argument in MAY_BE_OUT[name]:
        place = good[argument].copy()
        actual = results(name, {**good, argument: place, "out": place})
        assert actual[0] is place
        assert all_same(actual, expected)


@each_half
@each_operator
def test_out_of_another_dtype(name, half):
    good = good_arguments(name, half)
    x = np.dtype(half).name
    (other,) = (dtype for dtype in HALVES if dtype is not half)
    swapped = np.dtype(half).newbyteorder()
    for dtype in (F32, np.float64, np.uint16, other, swapped):
        memory = np.zeros(SHAPE, dtype)
        outs = outs_of(name, [memory, memory])
        message = rf"^{name}: out.* has dtype {np.dtype(dtype)}, must be {x}, the dtype of x$"
        with pytest.raises(TypeError, match=message):
            named_results(name, {**good, **outs})
        assert not memory.view(np.uint8).any()


@each_half
def test_misaligned_out(half):
    out = KINDS["misaligned"](np.zeros(SHAPE, half))
    with pytest.raises(ValueError, match=r"^layer_norm: out is misaligned, must be aligned"):
        nk.layer_norm(np.ones(SHAPE, half), out=out)


@each_half
def test_any_axis_and_rank(half):
    x = normal((3, 4, 5, 6), half)
    for axis in range(-4, 4):
        check("layer_norm", {"x": x, "axis": axis, "return_stats": True})
    gamma = normal((4, 6), F32, 1)
    y = nk.layer_norm(x, gamma, axes=(3, 1))
    dense = np.ascontiguousarray(x.transpose(0, 2, 1, 3))
    assert same_bits(y, nk.layer_norm(dense, gamma, axis=2).transpose(0, 2, 1, 3))
    check("layer_norm", {"x": x[0, 0, 0], "axis": 0})
    for order in ("NCHW", "NHWC"):
        check("instance_norm", {"x": ordered(x, order), "order": order.lower()})
        check("instance_norm", {"x": x[0, 0], "order": order})


@each_half
def test_gradients_without_parameters_have_the_dtype_of_x(half):
    x = normal(SHAPE, half)
    bias = np.zeros(3, F32)
    assert [a.dtype for a in nk.instance_norm_backward(x, x)[1:]] == [half, half]
    assert [a.dtype for a in nk.instance_norm_with_gradient(x, None, None, x)[2:]] == [half, half]
    assert [a.dtype for a in nk.instance_norm_with_gradient(x, None, bias, x)[2:]] == [half, F32]
    assert [a.dtype for a in nk.instance_norm_with_gradient(x, bias, None, x)[2:]] == [F32, F32]
    for scale in (None, bias, bias.astype(half)):
        both = nk.instance_norm_with_gradient(x, scale, None, x)[1:]
        assert all_same(both, nk.instance_norm_backward(x, x, scale))


# ---- What is loaded and held for it


WITHOUT = """
import sys

sys.modules["ml_dtypes"] = None  # to import it is an error
import numpy as np, normkernels as nk

x = np.arange(12).reshape(3, 4).astype(np.float16)
gamma = np.ones(4, np.float32)
y, mean, _ = nk.layer_norm(x, gamma, return_stats=True)
assert (y.dtype, mean.dtype) == (np.float16, np.float32)
assert np.array_equal(y, nk.layer_norm(x.astype(np.float32)).astype(np.float16))
try:
    nk.layer_norm(x.view(np.uint16))
except TypeError as error:
    print(error)
"""


def test_without_ml_dtypes():
    words = run(WITHOUT, prelude="")
    assert " ".join(words).endswith("dtype uint16, must be float32, float64, float16 or bfloat16")


def test_ml_dtypes_is_not_imported():
    scene = "import normkernels, sys; print(*[m for m in sys.modules if m.startswith('ml_dtypes')])"
    assert run(scene, prelude="") == []


@each_half
@each_operator
def test_references_are_given_back(name, half):
    good = good_arguments(name, half)
    out = np.zeros(SHAPE, half)
    values = {**good, **outs_of(name, [out, np.zeros(SHAPE, half)])}
    swapped = good["x"].astype(np.dtype(half).newbyteorder())
    bad = np.zeros(SHAPE, ml_dtypes.float8_e5m2)
    watched = [*good.values(), out, swapped, bad, np.dtype(half), bad.dtype, swapped.dtype]

    def calls():
        named_results(name, values)
        named_results(name, {**good, "x": swapped})
        for wrong in ({"x": bad}, outs_of(name, [bad, bad])):
            with pytest.raises(TypeError):
                named_results(name, {**good, **wrong})

    def change():
        before = [sys.getrefcount(value) for value in watched]
        for _ in range(100):
            calls()
        return [sys.getrefcount(value) - then for value, then in zip(watched, before, strict=True)]

    # As in test_calls.py: others hold the dtypes, too.
    leaked = np.abs([change() for _ in range(3)]).min(axis=0) >= 100
    assert not leaked.any()


def test_the_docstrings_name_the_dtypes():
    for name in CALLS:
        assert re.search(r"float32, float64, float16 or\s+bfloat16", getattr(nk, name).__doc__), (
            name
        )


@each_half
def test_wanted_dtypes(half):
    """Of the tests' own rule: what the manual says of one call with all of them."""
    fields = wanted(GRADIENT, good_arguments(GRADIENT, half))
    assert {field: value.dtype for field, value in fields.items()} == dict.fromkeys(fields, half)
