"""What axes= may be, and what is said of everything else before anything is written."""

import inspect
import re

import normkernels as nk
import numpy as np
import pytest
from conftest import Guarded, same_bits
from good_calls import ARGUMENTS, F32, SHAPE, X
from views import LAYER_NORMS

each_layer_norm = pytest.mark.parametrize("name", LAYER_NORMS)


def call(name, axes, **changes):
    arguments = {k: v for k, v in ARGUMENTS[name].items() if k != "axis"}
    return getattr(nk, name)(**{**arguments, "axes": axes, **changes})


def refused(name, error, message, axes, **changes):
    out = Guarded(SHAPE, F32)
    with pytest.raises(error, match=f"^{name}: {re.escape(message)}$"):
        call(name, axes, out=out.array, **changes)
    assert out.is_untouched()


BETWEEN = "must be between -3 and 2 for an x of rank 3"
ONCE = "must name each dimension of an x of rank 3 once"
KIND = "must be an integer or a sequence of integers"


@each_layer_norm
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((), "axes is empty, must name a dimension"),
        ([], "axes is empty, must name a dimension"),
        (3, f"axes is 3, {BETWEEN}"),
        (-4, f"axes is -4, {BETWEEN}"),
        ((0, 3), f"axes is (0, 3), {BETWEEN}"),
        ([-4], f"axes is (-4,), {BETWEEN}"),
        ((1, 2**70), f"axes is (1, {2**70}), {BETWEEN}"),
        (-(2**70), f"axes is {-(2**70)}, {BETWEEN}"),
        ((1, 1), f"axes is (1, 1), {ONCE}"),
        ((1, -2), f"axes is (1, -2), {ONCE}"),
        ([0, 1, 2, 0], f"axes is (0, 1, 2, 0), {ONCE}"),
        ((1,) * 65, "axes has 65 elements, must name each dimension once"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values(name, axes, message):
    refused(name, ValueError, message, axes)


@each_layer_norm
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (1.0, f"axes is of type float, {KIND}"),
        ("1", f"axes is of type str, {KIND}"),
        (b"\1", f"axes is of type bytes, {KIND}"),
        ({1}, f"axes is of type set, {KIND}"),
        ({1: 2}, f"axes is of type dict, {KIND}"),
        (object(), f"axes is of type object, {KIND}"),
        ((1, None), "axes[1] is None, must be an integer"),
        ([1.0], "axes[0] is of type float, must be an integer"),
        (np.array([1.0]), "axes[0] is of type numpy.float64, must be an integer"),
        (((1,), 2), "axes[0] is of type tuple, must be an integer"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_types(name, axes, message):
    refused(name, TypeError, message, axes)


@each_layer_norm
def test_axes_or_axis(name):
    message = "axes is (1, 2) and axis is 0, must be given without axis: give one of them"
    refused(name, ValueError, message, (1, 2), axis=0)
    default = inspect.signature(getattr(nk, name)).parameters["axis"].default
    assert same_bits(call(name, (1, 2), axis=default)[1], call(name, (1, 2))[1])
    assert same_bits(call(name, None, axis=1)[1], call(name, (1, 2))[1])


def test_a_number_has_no_axes():
    with pytest.raises(ValueError, match=r"^layer_norm: x has rank 0 \(shape \(\)\), must have"):
        nk.layer_norm(np.float32(1), axes=0)


@each_layer_norm
def test_sizes_of_parameters(name):
    gamma = np.ones(5, F32)
    message = (
        "gamma has 5 elements (shape (5,)), must have 8, the product of x's extents in axes"
        " = (2, 4)"
    )
    each = np.ones(3, F32)
    others = {"beta": None, "bias": None, "mean": each, "sigma": each, "rstd": each}
    others = {key: value for key, value in others.items() if key in ARGUMENTS[name]}
    refused(name, ValueError, message, (2, 0), gamma=gamma, **others)


def test_sizes_of_statistics():
    message = (
        "sigma has 8 elements (shape (8,)), must have 3, the product of x's other extents = (3,)"
    )
    arrays = {"mean": np.ones((1, 3, 1), F32), "sigma": np.ones(8, F32), "gamma": None}
    refused("layer_norm_backward", ValueError, message, (2, 0), **arrays)


class Index:
    def __init__(self, value, run=lambda: None):
        self.value, self.run = value, run

    def __index__(self):
        self.run()
        return self.value


class Axes:
    """A sequence by its items alone."""

    def __init__(self, *axes):
        self.axes = axes

    def __len__(self):
        return len(self.axes)

    def __getitem__(self, i):
        return self.axes[i]


def test_objects_that_are_axes():
    expected = nk.layer_norm(X, axes=(0, 2))
    for axes in (Axes(0, 2), Axes(Index(-1), Index(0)), [Index(0), 2], np.array([2, 0], "u1")):
        assert same_bits(nk.layer_norm(X, axes=axes), expected)
    assert same_bits(nk.layer_norm(X, axes=Index(1)), nk.layer_norm(X, axes=(1,)))


def test_a_list_that_changes_while_it_is_converted():
    axes = []
    axes += [Index(0, axes.clear), 2]
    assert same_bits(nk.layer_norm(X, axes=axes), nk.layer_norm(X, axes=(0, 2)))
    assert not axes


def test_errors_of_the_caller_come_out():
    def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        nk.layer_norm(X, axes=[0, Index(1, fail)])
    with pytest.raises(KeyError, match="mine"):
        nk.layer_norm(X, axes=Index(1, fail))
