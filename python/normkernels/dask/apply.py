"""The second task of a chunk whose rows are cut: normalised by statistics of all of them.

    xhat = (scale * x - centre) * rstd        y = xhat * gamma + beta

in float64 whatever x is, a block at a time, and rounded once. For float32 and half types every
operation is then as good as exact. float64 itself takes what x - centre loses, the mean's low part
and rstd's along in one sum, so that four roundings are left: of (x - centre) * rstd, of that sum,
of the product with gamma, and of the sum with beta. Reads x once, writes y once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .blocks import Slices, blocks, operand, part, store

Array: TypeAlias = NDArray[Any]


class Standardise:
    """xhat, in float64, of the blocks of one chunk.

    x  The chunk.
    s  Its statistics.STATISTICS, which broadcast to it.
    """

    def __init__(self, x: Array, s: Array) -> None:
        """Nothing is computed yet."""
        self.x = x
        self.centre, self.centre_low, self.rstd, self.rstd_low, self.scale = (
            operand(s[name], x.shape)
            for name in ("centre", "centre_low", "rstd", "rstd_low", "scale")
        )
        self.scaled = bool((self.scale != 1).any())

    def __call__(self, at: Slices) -> Array:
        """A new array, for the block at these slices."""
        if self.x.dtype == np.float64:
            return self._in_float64(at)
        d: Array = part(self.x, at).astype(np.float64)
        d -= part(self.centre, at)
        d -= part(self.centre_low, at)
        d *= part(self.rstd, at)
        return d

    def _in_float64(self, at: Slices) -> Array:
        x, centre, rstd = part(self.x, at), part(self.centre, at), part(self.rstd, at)
        if self.scaled:
            x = x * part(self.scale, at)
        d: Array = x - centre
        # What that lost, as two_sum in pairs.py: (x - (d + t)) + (t - centre), t = x - d.
        t = x - d
        low = d + t
        np.subtract(x, low, out=low)
        t -= centre
        low += t
        low -= part(self.centre_low, at)
        low *= rstd
        np.multiply(d, part(self.rstd_low, at), out=t)
        low += t
        d *= rstd
        d += low
        return d


def normalised(x: Array, s: Array, gamma: Array | None, beta: Array | None, *, dtype: Any) -> Array:
    """y of a chunk of x; statistics, gamma and beta broadcast to it."""
    y = np.empty(x.shape, dtype)
    xhat = Standardise(x, s)
    factor, shift = (None if a is None else operand(a, x.shape) for a in (gamma, beta))
    # What is infinite or NaN stays in its row, and y may be beyond the range of its type: no reason
    # to warn, as kernels do not.
    with np.errstate(all="ignore"):
        for at in blocks(x.shape):
            value = xhat(at)
            if factor is not None:
                value *= part(factor, at)
            if shift is not None:
                value += part(shift, at)
            store(part(y, at), value)
    return y
