"""The graph of a norm's gradients: one task a chunk, or two where chunks cut what is normalised.

dgamma and dbeta are summed over chunks in a fixed tree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from . import gradient
from .forward import statistics_of
from .graph import chunkwise, empty, merged, several, tree
from .norm import Norm, ones_along
from .recompute import again
from .statistics import STATISTICS

F64 = np.dtype(np.float64)


def backward(
    kernel: Callable[..., Any],
    norm: Norm,
    x: da.Array,
    dy: da.Array,
    *,
    given: Callable[..., Any] | None,
    saved: list[da.Array | None],
    gamma: da.Array | None,
    dtypes: list[Any],
    recompute: bool | None,
) -> list[da.Array]:
    """dx, dgamma and dbeta, of the given dtypes, the latter vectors of the elements of norm.affine.

    kernel  (x, dy, *saved, gamma) of a chunk that holds all it needs: dx, and dgamma and dbeta of
            the chunk, of x's rank, in float32 or float64
    given   makes STATISTICS of what a forward saved; None: they are computed again
    saved   what the forward saved, with the dimensions of x: sigma or 1 / sigma first
    """
    summed = tuple(axis for axis in range(x.ndim) if axis not in norm.affine)
    chunks = [x.chunks, ones_along(x, summed), ones_along(x, summed)]
    if norm.is_whole(x):
        of_chunk, arrays = kernel, [x, dy, *saved, gamma]
    else:
        first = saved[0]
        if given is None or first is None:
            s = statistics_of(norm, again(x, recompute, "moments"))
        else:
            s = chunkwise(given, saved, first.chunks, STATISTICS)
        passed = [again(a, recompute, "sums") for a in (x, dy)]
        sums = _sums(norm, [*passed, s, gamma])
        of_chunk, arrays = _of_cut_chunk(norm, x, summed), [x, dy, s, sums, gamma]
    dx, *parts = several(of_chunk, arrays, zip(chunks, [dtypes[0], F64, F64], strict=True))
    return [dx, *(_total(p, summed, dtype) for p, dtype in zip(parts, dtypes[1:], strict=True))]


def _sums(norm: Norm, arrays: list[da.Array | None]) -> da.Array:
    """The first task of each chunk, and their tree."""
    x = arrays[0]
    assert x is not None
    of_chunks = chunkwise(
        partial(gradient.sums, axes=norm.axes), arrays, ones_along(x, norm.axes), gradient.SUMS
    )
    return merged("gradient-sums", gradient.add, of_chunks, norm)


def _of_cut_chunk(norm: Norm, x: da.Array, summed: tuple[int, ...]) -> Callable[..., Any]:
    """The second task of each chunk."""
    return partial(
        gradient.gradients,
        summed=summed,
        count=norm.count(x),
        unit=float(np.finfo(F64 if x.dtype == F64 else np.float32).eps) / 2,
        centred=norm.centred,
    )


def _total(parts: da.Array, summed: tuple[int, ...], dtype: Any) -> da.Array:
    """The parts of dgamma or dbeta added, rounded, without the dimensions that were summed."""
    total = tree("parameter-gradient", gradient.add, parts, summed)
    rounded = da.map_blocks(
        partial(gradient.rounded, dtype=dtype), total, dtype=dtype, meta=empty(dtype, total.ndim)
    )
    return rounded.squeeze(summed)
