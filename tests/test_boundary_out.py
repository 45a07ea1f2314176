"""What out= may be: everything else is refused by name before anything is written."""

import numpy as np
import pytest
from conftest import Guarded, same_bits
from good_calls import (
    ARGUMENTS,
    DY,
    EVERY_ARRAY,
    F32,
    F64,
    GRADIENT,
    MAY_BE_OUT,
    SHAPE,
    X,
    all_same,
    call,
    each_array,
    each_operator,
)
from numpy.lib.stride_tricks import as_strided


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
        "repeated": (ValueError, as_strided(np.zeros(12, F32), SHAPE, (16, 4, 4))),
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
