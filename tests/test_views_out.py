"""What a view may be written to: shared memory is seen exactly, and a refusal comes first."""

import normkernels as nk
import numpy as np
import pytest
from conftest import normal, same_bits
from good_calls import F32, MAY_BE_OUT, X, all_same, call, each_operator
from numpy.lib.stride_tricks import as_strided
from views import BOTH, OPERATORS, out_option, parameters, results

SHAPE = X.shape
WIDE = (*SHAPE[:-1], 2 * SHAPE[-1])
SHARED = "shares memory with another argument, must (be .* itself or )?share none$"


def pair(name, out):
    """`out` in each place in turn, with something good beside it."""
    good = np.zeros(SHAPE, F32)
    return [(out, good), (good, out)] if name == BOTH else [out]


def refused(name, out, memory, message, **changes):
    before = memory.copy()
    for i, given in enumerate(pair(name, out)):
        where = rf"out\[{i}\]" if name == BOTH else "out"
        with pytest.raises(ValueError, match=f"^{name}: {where} {message}"):
            call(name, out=given, **changes)
        assert same_bits(memory, before)


# ---- An output that names an element twice


@each_operator
@pytest.mark.parametrize("strides", [(48, 16, 0), (0, 16, 4), (16, 16, 4), (4, 4, 4), (48, 12, -4)])
def test_out_that_names_an_element_twice(name, strides):
    memory = np.zeros(200, F32)
    out = as_strided(memory[50:], SHAPE, strides)
    text = ", ".join(map(str, strides))
    message = rf"has strides \({text}\) and shape \(2, 3, 4\), must name no element twice$"
    refused(name, out, memory, message)


def test_strides_of_one_place_do_not_matter():
    x = normal((1, 5, 1), F32)
    out = as_strided(np.zeros(9, F32), (1, 5, 1), (0, 8, 4))
    assert same_bits(nk.layer_norm(x, axes=1, out=out), nk.layer_norm(x, axes=1))
    one = as_strided(normal((3, 4), F32), (1, 3, 1, 4), (3, 16, 7, 4))
    assert same_bits(nk.layer_norm(one, axis=-1), nk.layer_norm(one.copy(), axis=-1))


# ---- Shared memory


@each_operator
def test_halves_that_interleave(name):
    for wide, halves in [
        (WIDE, (np.s_[..., :4], np.s_[..., 4:])),
        (WIDE, (np.s_[..., ::2], np.s_[..., 1::2])),
        ((4, 3, 4), (np.s_[::2], np.s_[::-2])),
    ]:
        memory = np.zeros(wide, F32)
        x, out = (memory[half] for half in halves)
        x[...] = X
        other = np.zeros(SHAPE, F32)
        given = (out, other) if name == BOTH else out
        expected = call(name)
        assert all_same(call(name, x=x, out=given), expected)
        assert same_bits(x, X)


@each_operator
def test_views_that_meet_in_one_element(name):
    memory = np.zeros(WIDE, F32)
    x = memory[..., :4]
    x[...] = X
    for out in (memory[..., 3:7], memory[..., 3::-1], memory[:, ::-1, :4], memory[..., 1:8:2]):
        refused(name, out, memory, SHARED, x=x)


@pytest.mark.parametrize(
    ("name", "argument"), [(name, a) for name in OPERATORS for a in OPERATORS[name].large]
)
def test_the_same_view(name, argument):
    memory = np.zeros(WIDE, F32)
    view = memory[..., 1::2]
    view[...] = abs(X)
    expected = call(name, **{argument: view})
    if name == BOTH:
        outs = [view if argument == a else np.zeros(SHAPE, F32) for a in ("x", "dy")]
        assert all_same(call(name, **{argument: view}, out=outs), expected)
    elif argument in MAY_BE_OUT[name]:
        assert all_same(call(name, **{argument: view}, out=view), expected)
    else:
        refused(name, view, memory, SHARED, **{argument: view})


@each_operator
def test_an_input_that_must_be_copied_is_compared_by_its_range(name):
    """The C function never sees it: what lies between its first and its last byte is out."""
    memory = np.zeros(WIDE, F32)
    x, out = memory[..., :4], memory[..., 4:]
    x[...] = X
    swapped = x.view(x.dtype.newbyteorder())
    refused(name, out, memory, SHARED, x=swapped)


# ---- What is copied, and that nothing comes of it


def odd_strides(a):
    """Rows 6 bytes further apart than their elements take."""
    step = a.itemsize * a.shape[-1] + a.itemsize // 2
    raw = np.zeros(a.size // a.shape[-1] * step, np.uint8)
    strides = [step * (a.strides[k] // a.strides[-2]) for k in range(a.ndim - 1)]
    view = as_strided(
        raw.view(np.uint8)[: a.itemsize].view(a.dtype), a.shape, (*strides, a.itemsize)
    )
    view[...] = a
    return view


COPIED = {
    "byte-swapped Fortran": lambda a: np.asfortranarray(a).astype(a.dtype.newbyteorder()),
    "odd strides": odd_strides,
    "field": lambda a: np.rec.fromarrays([a, np.zeros(a.shape, "i2")], names="a,b").a,
}


@each_operator
@pytest.mark.parametrize("kind", COPIED)
def test_views_that_are_copied(name, kind):
    for argument in OPERATORS[name].large:
        values = abs(X) + 1
        expected = call(name, **{argument: values})
        view = COPIED[kind](values)
        actual = call(name, **{argument: view})
        assert all_same(actual, expected)
        if argument == "x":
            assert actual[0].strides == np.empty_like(view).strides


@each_operator
def test_out_of_odd_strides(name):
    out = odd_strides(np.zeros(SHAPE, F32))
    for given in pair(name, out):
        with pytest.raises(ValueError, match=rf"^{name}: out.* is misaligned, must be aligned"):
            call(name, out=given)


# ---- Strides too large to be true


@pytest.mark.parametrize("name", ["layer_norm", "instance_norm", "local_response_norm"])
def test_strides_that_reach_beyond_memory(name):
    """Named is the array whose strides they are."""
    shape = (4, 3, 4)
    far = as_strided(np.zeros(48, F32), shape, (2**63 - 4, 16, 4))
    values = np.zeros(shape, F32)
    order = {} if name == "layer_norm" else {"order": "NCHW"}
    options = parameters(name, values, axes=(1, 2), **order)
    with pytest.raises(ValueError, match=f"^{name}: x: an extent is negative, or an array would"):
        results(name, {"x": far}, **options, out=values)
    with pytest.raises(ValueError, match=f"^{name}: out: an extent is negative, or an array would"):
        results(name, {"x": values}, **options, **out_option(name, [far]))
