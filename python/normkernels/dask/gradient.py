"""The two tasks of a chunk for the gradients of rows that are cut.

With xhat = (x - mean) * rstd and g = dy * gamma, of n elements that share a mean:

    dx = rstd * (g - sum(g) / n - xhat * sum(g * xhat) / n)
    dgamma = sum of dy * xhat,  dbeta = sum of dy

The first task sums g, g * xhat and xhat over its part of the rows; the sums of all parts are merged
in a fixed tree; the second writes dx and sums its part of dgamma and dbeta. A saved mean has been
rounded, which shows as a mean of xhat that is not 0. What rounding explains is taken out of xhat,
as the kernels do (csrc/norm/factors.h). All in float64, a block at a time; each task reads dy and x
once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .apply import Standardise
from .blocks import blocks, operand, part, store

Array: TypeAlias = NDArray[Any]

SUMS = np.dtype([(name, np.float64) for name in ("g", "gx", "xhat")])


def add(a: Array, b: Array) -> Array:
    """Sums of two parts, or arrays of no fields, added."""
    if a.dtype.names is None:
        return np.add(a, b)
    total = np.empty_like(a)
    for name in a.dtype.names:
        total[name] = a[name] + b[name]
    return total


def _none_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape))


def sums(x: Array, dy: Array, s: Array, gamma: Array | None, *, axes: tuple[int, ...]) -> Array:
    """Of a chunk: SUMS over `axes`, which stay with one element."""
    total = np.zeros(_none_of(x.shape, axes), SUMS)
    of_g, of_gx, of_xhat = (total[name] for name in ("g", "gx", "xhat"))
    standardise = Standardise(x, s)
    factor = None if gamma is None else operand(gamma, x.shape)
    with np.errstate(all="ignore"):
        for at in blocks(x.shape):
            xhat, g = standardise(at), part(dy, at).astype(np.float64)
            if factor is not None:
                g *= part(factor, at)
            part(of_g, at)[...] += g.sum(axes, keepdims=True)
            part(of_xhat, at)[...] += xhat.sum(axes, keepdims=True)
            xhat *= g
            part(of_gx, at)[...] += xhat.sum(axes, keepdims=True)
    return total


def explained(s: Array, all_sums: Array, count: int, unit: float, centred: bool) -> Array:
    """By how much xhat is off since the mean was rounded: its mean, if rounding explains that."""
    if not centred:
        return np.zeros(s.shape)
    off: Array = all_sums["xhat"] / count
    most = 32 * unit * (np.abs(s["centre"] * s["rstd"]) + 1)
    return np.where(np.abs(off) <= most, off, 0.0)


def gradients(
    x: Array,
    dy: Array,
    s: Array,
    all_sums: Array,
    gamma: Array | None,
    *,
    summed: tuple[int, ...],
    count: int,
    unit: float,
    centred: bool,
) -> tuple[Array, Array, Array]:
    """Of a chunk: dx, and its part of dgamma and dbeta in float64, over the axes `summed`."""
    dx = np.empty(x.shape, x.dtype)
    dgamma, dbeta = np.zeros((2, *_none_of(x.shape, summed)))
    standardise = Standardise(x, s)
    factor = None if gamma is None else operand(gamma, x.shape)
    with np.errstate(all="ignore"):
        taken = explained(s, all_sums, count, unit, centred)
        mean_g = all_sums["g"] / count if centred else np.zeros(s.shape)
        mean_gx = (all_sums["gx"] - taken * all_sums["g"]) / count
        # 0 for a constant row whose sigma is 0.
        inverse = np.where(np.isinf(s["inverse"]), 0.0, s["inverse"])
        off, mean_g, mean_gx, inverse = (
            operand(a, x.shape) for a in (taken, mean_g, mean_gx, inverse)
        )
        for at in blocks(x.shape):
            xhat, g = standardise(at), part(dy, at).astype(np.float64)
            xhat -= part(off, at)
            part(dgamma, at)[...] += (g * xhat).sum(summed, keepdims=True)
            part(dbeta, at)[...] += g.sum(summed, keepdims=True)
            if factor is not None:
                g *= part(factor, at)
            xhat *= part(mean_gx, at)
            g -= part(mean_g, at)
            g -= xhat
            g *= part(inverse, at)
            store(part(dx, at), g)
    return dx, dgamma, dbeta


def rounded(total: Array, *, dtype: Any) -> Array:
    """dgamma or dbeta, summed, as it is returned."""
    out = np.empty(total.shape, dtype)
    with np.errstate(over="ignore"):
        store(out, total)
    return out
