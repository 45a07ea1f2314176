"""Arguments are checked while the graph is built, most of them by the NumPy function itself.

It is called with stand-ins that have the types and ranks of the real arrays and no elements. What
it refuses is refused in its own words, and the dtypes of what it returns are those of the results.
What is about extents and chunks is checked here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np


def check_array(function: str, name: str, x: Any) -> None:
    """A large argument is a dask array."""
    if not isinstance(x, da.Array):
        raise TypeError(
            f"{function}: {name} is of type {type(x).__name__}, must be a dask.array.Array"
        )


def check_known(function: str, x: da.Array, axes: Sequence[int]) -> None:
    """The chunks of x have known sizes along these dimensions."""
    for axis in axes:
        if math.isnan(x.shape[axis]):
            raise ValueError(
                f"{function}: x has chunks of unknown size along dimension {axis}, must have known "
                "ones there; x.compute_chunk_sizes() finds them"
            )


def viewed(function: str, name: str, value: Any, *, unknown: bool = False) -> Any:
    """A small argument as an array: Dask's, or NumPy's view of what it can view.

    None stays, and what is no array, or has a mask, for the NumPy function to refuse. `unknown`:
    whether chunks of unknown size are for `spread` to look at, as beside an x that has some.
    """
    if not unknown and isinstance(value, da.Array) and any(math.isnan(n) for n in value.shape):
        raise ValueError(
            f"{function}: {name} has chunks of unknown size, must have known ones; "
            f"{name}.compute_chunk_sizes() finds them"
        )
    if value is None or isinstance(value, (da.Array, np.ndarray)):
        return value
    if hasattr(value, "__array__"):
        return np.asarray(value)
    return np.from_dlpack(value) if hasattr(value, "__dlpack__") else value


def stand_in(value: Any, shape: Any) -> Any:
    """An array of the value's type and of this shape; None stays."""
    if isinstance(value, da.Array):
        return np.empty_like(value._meta, shape=shape)
    return np.empty_like(value, shape=shape) if isinstance(value, np.ndarray) else value


def same_shape(function: str, name: str, dy: da.Array, x: da.Array) -> da.Array:
    """A dy, called `name`, in the chunks of x, whose shape it must have."""
    equal = len(dy.shape) == len(x.shape) and all(
        a == b or (math.isnan(a) and math.isnan(b) and dy.numblocks[i] == x.numblocks[i])
        for i, (a, b) in enumerate(zip(dy.shape, x.shape, strict=True))
    )
    if not equal:
        raise ValueError(
            f"{function}: {name} has shape {dy.shape}, must have {x.shape}, the shape of x"
        )
    known = not any(math.isnan(n) for n in x.shape)
    return dy.rechunk(x.chunks) if known else dy


def checked_pair(function: str, dy: Any, x: Any) -> tuple[da.Array, da.Array]:
    """Dask arrays of one shape, dy in the chunks of x."""
    check_array(function, "dy", dy)
    check_array(function, "x", x)
    return same_shape(function, "dy", dy, x), x


def spread(
    function: str, name: str, value: Any, x: da.Array, axes: Sequence[int]
) -> da.Array | None:
    """A small argument with x's rank, and along `axes` with its extents and chunks.

    Its elements count in the order of x.shape.
    """
    if value is None:
        return None
    shape = tuple(n if axis in axes else 1 for axis, n in enumerate(x.shape))
    if any(math.isnan(n) for n in shape):
        return _in_place(function, name, value, x, shape)
    chunks = tuple(c if axis in axes else (1,) for axis, c in enumerate(x.chunks))
    if math.prod(value.shape) != math.prod(shape):
        raise ValueError(
            f"{function}: {name} has {math.prod(value.shape)} elements (shape {value.shape}), must "
            f"have {math.prod(shape)}, the extents {tuple(x.shape[axis] for axis in axes)} of x "
            f"along dimensions {tuple(axes)}"
        )
    if isinstance(value, np.ndarray):
        return da.from_array(np.ascontiguousarray(value).reshape(shape), chunks=chunks)
    return value.reshape(shape).rechunk(chunks)


def _in_place(
    function: str, name: str, value: Any, x: da.Array, shape: tuple[float, ...]
) -> da.Array:
    """A statistic of an unknown number of rows: in the chunks of x's forward, not cut anew."""
    if isinstance(value, da.Array):
        of_rank = (..., *[None] * (x.ndim - value.ndim))
        value = value[of_rank]
        if all(
            value.numblocks[axis] == x.numblocks[axis] and math.isnan(value.shape[axis])
            if math.isnan(n)
            else value.shape[axis] == n
            for axis, n in enumerate(shape)
        ):
            known = {i: x.chunks[i] for i, n in enumerate(shape) if n > 1}
            return value.rechunk(known)
    raise ValueError(
        f"{function}: {name} has shape {value.shape}, must be what the forward of x returned, as x "
        "has chunks of unknown size; x.compute_chunk_sizes() finds them"
    )


def wide_gamma(x: Any, gamma: Any, shape: tuple[int, ...]) -> Any:
    """gamma, with which a chunk's dgamma and dbeta are not rounded to a half type yet."""
    if x.itemsize >= 4:
        return gamma
    return np.ones(shape, np.float32) if gamma is None else gamma.astype(np.float32)
