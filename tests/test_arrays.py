"""Every good array is read as what it is, whatever its strides, byte order and place, and empty
arrays are arrays."""

import itertools

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import ordered, same_bits
from good_calls import ARGUMENTS, EVERY_ARRAY, SHAPE, all_same, call, each_array, each_operator
from normkernels import helpers
from reference import STATISTICS, assert_within

# ---- Arrays of every kind


class Exchanged:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **keywords):
        return self._array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def strided(a):
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    raw[...] = a
    return raw


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


KINDS = {
    "Fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "transposed": lambda a: a.T.copy().T,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "read-only": read_only,
    "buffer": memoryview,
    "DLPack": lambda a: Exchanged(a.copy()),
    "DLPack, strided": lambda a: Exchanged(strided(a)),
}


@each_array
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind(name, argument, kind):
    expected = call(name)
    array = KINDS[kind](ARGUMENTS[name][argument])
    actual = call(name, **{argument: array})
    assert all_same(actual, expected)
    assert all(a.dtype.isnative for a in actual)
    keeps_order = argument == "x" and isinstance(array, np.ndarray)
    for a in actual:
        like = np.empty_like(array if keeps_order and a.shape == SHAPE else a, order="K")
        assert a.strides == like.strides
        assert a.flags.c_contiguous or a.shape == SHAPE


@each_operator
def test_inputs_are_not_written(name):
    arrays = {a: ARGUMENTS[n][a].copy() for n, a in EVERY_ARRAY if n == name}
    call(name, **arrays)
    assert all(same_bits(array, ARGUMENTS[name][a]) for a, array in arrays.items())


# ---- Empty arrays


def empty_shapes(ranks):
    """Every shape of extents 0 and 2 with a 0 in it."""
    return [s for rank in ranks for s in itertools.product((0, 2), repeat=rank) if 0 in s]


@pytest.mark.parametrize("shape", empty_shapes((1, 2, 3)), ids=str)
def test_norms_of_rows_of_nothing(isa, dtype, shape):
    x = np.zeros(shape, dtype)
    for axis in range(-len(shape), len(shape)):
        cols = shape[axis % len(shape) :]
        gamma = np.ones(cols, dtype)
        actual = nk.layer_norm(x, gamma, gamma, axis=axis, epsilon=0.25, return_stats=True)
        exact = reference.layer_norm(x, gamma, gamma, axis=axis, epsilon=0.25)
        for a, e in zip(actual, exact, strict=True):
            assert_within(a, e, STATISTICS)
        gradients = [nk.layer_norm_backward(x, x, *actual[1:], gamma, axis=axis)]
        rms = nk.rms_norm(x, gamma, gamma, axis=axis, epsilon=0.25, return_stats=True)
        exact = reference.rms_norm(x, gamma, gamma, axis=axis, epsilon=0.25)
        for a, e in zip(rms, exact, strict=True):
            assert_within(a, e, STATISTICS)
        gradients += [nk.rms_norm_backward(x, x, r, gamma, axis=axis) for r in (rms.rstd, None)]
        for gradient in gradients:
            assert gradient.dx.shape == shape
            for a in gradient[1:]:
                assert a.shape == cols
                assert not a.any()
        for add, norm in ((nk.add_layer_norm, actual), (nk.add_rms_norm, rms)):
            of_sum = add(x, x, gamma, axis=axis, epsilon=0.25, return_stats=True)
            assert of_sum.y.shape == of_sum.total.shape == shape
            assert all(map(same_bits, of_sum[2:], norm[1:]))


@pytest.mark.parametrize("shape", empty_shapes((2, 3, 4)), ids=str)
def test_instance_norm_of_nothing(isa, dtype, order, shape):
    x = ordered(np.zeros(shape, dtype), order)
    scale = np.ones(shape[1], dtype)
    options = {"order": order, "epsilon": 0.25}
    actual = nk.instance_norm(x, scale, scale, return_stats=True, **options)
    exact = reference.instance_norm(x, scale, scale, **options)
    for a, e in zip(actual, exact, strict=True):
        assert_within(a, e, STATISTICS)
    both = nk.instance_norm_with_gradient(x, scale, scale, x, **options)
    assert both.y.shape == x.shape
    for saved in (actual[1:], (None, None)):
        for gradient in (nk.instance_norm_backward(x, x, scale, *saved, **options), both[1:]):
            assert gradient[0].shape == x.shape
            for a in gradient[1:]:
                assert a.shape == (shape[1],)
                assert not a.any()


@pytest.mark.parametrize("shape", empty_shapes((2, 4, 3)), ids=str)
def test_group_norm_of_nothing(isa, dtype, order, shape):
    x = ordered(np.zeros(shape, dtype), order)
    scale = np.ones(shape[1], dtype)
    options = {"order": order, "epsilon": 0.25}
    actual = nk.group_norm(x, 2, scale, scale, return_stats=True, **options)
    exact = reference.group_norm(x, 2, scale, scale, **options)
    for a, e in zip(actual, exact, strict=True):
        assert_within(a, e, STATISTICS)
    for saved in (actual[1:], (None, None)):
        dx, *gradients = nk.group_norm_backward(x, x, 2, scale, *saved, **options)
        assert dx.shape == x.shape
        for a in gradients:
            assert a.shape == (shape[1],)
            assert not a.any()


@pytest.mark.parametrize("shape", empty_shapes((3, 4)), ids=str)
def test_local_response_norm_of_nothing(isa, dtype, order, shape):
    x = ordered(np.zeros(shape, dtype), order)
    for size in (1, 4):
        y, scale = nk.local_response_norm(x, size, order=order, return_scale=True)
        dx = nk.local_response_norm_backward(x, x, size, y=y, scale=scale, order=order)
        assert y.shape == scale.shape == dx.shape == x.shape


def test_steps_of_nothing(isa, dtype, order):
    none, two = np.zeros((0, 3), dtype), np.ones(3, dtype)
    assert all(not a.any() for a in helpers.gamma_beta_backward(none, none, none, none))
    assert [a.shape for a in helpers.compute_fused_params(none, none, two, two)] == [(0, 3)] * 2
    x = ordered(np.zeros((2, 3, 0), dtype), order)
    assert all(not a.any() for a in helpers.compute_internal_gradients(x, x, order=order))
    x = np.zeros((0, 4), dtype)
    each_row = np.zeros((0, 1), dtype)
    dgamma, dbeta = nk.gamma_beta_backward(x, x, each_row, each_row)
    assert dgamma.size == dbeta.size == 4
    assert not dgamma.any()
    assert not dbeta.any()
    assert [a.shape for a in nk.compute_internal_gradients(x, x)] == [(0, 4), (0, 1), (0, 1)]
