"""Chunks a cache-sized block at a time, in float64, with NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Slices: TypeAlias = tuple[slice, ...]

# 512 KiB in float64, an L2's worth. With a quarter of it, NumPy's calls take as long as their work;
# with more, the few arrays of a formula leave a core's share of L3.
ELEMENTS = 1 << 16

# NumPy's inner loops are as long as what all operands share at the end. Three channels that come
# last would make them three elements long: 5 times the time.
LOOP = 512

# What is repeated for that stays below a sixteenth of the chunk.
FEW = 16


def blocks(shape: tuple[int, ...]) -> Iterator[Slices]:
    """Slices that cut an array of this shape into blocks of about ELEMENTS, in index order."""
    axis, inner = len(shape), 1
    while axis and inner * shape[axis - 1] <= ELEMENTS:
        axis -= 1
        inner *= shape[axis]
    rest = (slice(None),) * (len(shape) - axis)
    if axis == 0:
        yield rest
        return
    step = max(1, ELEMENTS // inner)
    for index in np.ndindex(shape[: axis - 1]):
        outer = tuple(slice(i, i + 1) for i in index)
        for start in range(0, shape[axis - 1], step):
            yield (*outer, slice(start, start + step), *rest)


def part(array: Array, at: Slices) -> Array:
    """The view of an array that broadcasts to the block."""
    return array[tuple(slice(None) if n == 1 else s for n, s in zip(array.shape, at, strict=True))]


def operand(a: Array, shape: tuple[int, ...]) -> Array:
    """A small array that broadcasts to `shape`, in float64; what is short at its end, repeated."""
    axis = len(shape)
    while axis and math.prod(shape[axis:]) < LOOP:
        axis -= 1
    wide = (*a.shape[:axis], *shape[axis:])
    if all(n == 1 for n in a.shape[axis:]) or FEW * math.prod(wide) > math.prod(shape):
        wide = a.shape
    return np.ascontiguousarray(np.broadcast_to(a, wide), dtype=np.float64)


def store(out: Array, value: Array) -> None:
    """Rounds float64 values to a chunk's type; to half types by way of float32, as kernels do."""
    out[...] = value if out.itemsize >= 4 else value.astype(np.float32)
