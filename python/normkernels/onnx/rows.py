"""Scale and B of layer and RMS norm in every shape that ONNX allows: what can be broadcast to X.

The kernels have one gamma and one beta for all rows. Of what is the same for all rows these are
made; what differs from row to row, which is rare, is left to NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]  # also of bfloat16, which is no type of NumPy's own


def is_half(a: Array) -> bool:
    """Whether its elements are float16 or bfloat16."""
    return a.dtype.itemsize == 2


def rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` in `dtype`: what is too large for it is infinite there."""
    with np.errstate(over="ignore"):
        return a.astype(dtype, copy=False)


def matrix(x: Array, axis: int) -> Array:
    """One row of x after the other."""
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def as_rows(x: Array, parameters: Sequence[Array], axis: int) -> list[Array] | None:
    """The parameters as gamma and beta; None if one of them differs from row to row."""
    axis %= x.ndim
    rows = []
    for a in parameters:
        padded = (1,) * (x.ndim - a.ndim) + a.shape
        if set(padded[:axis]) - {1}:
            return None
        rows.append(np.broadcast_to(a.reshape(padded[axis:]), x.shape[axis:]))
    return rows


def apply(y: Array, scale: Array, b: Array | None = None) -> None:
    """y * scale + b, into y: of half types computed in float32 and rounded once."""
    wide = y.astype(np.float32) if is_half(y) else y
    with np.errstate(over="ignore", invalid="ignore"):  # as in the kernels
        np.multiply(wide, scale, out=wide)
        if b is not None:
            np.add(wide, b, out=wide)
    if wide is not y:
        y[...] = rounded(wide, y.dtype)


def summed(a: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of a parameter of this shape, from that of what it was broadcast to."""
    padded = (1,) * a.ndim + shape
    axes = tuple(i for i in range(a.ndim) if padded[len(shape) + i] != a.shape[i])
    return (a.sum(axes, dtype=np.float64).astype(a.dtype) if axes else a).reshape(shape)
