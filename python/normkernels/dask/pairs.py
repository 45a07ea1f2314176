"""Numbers in twice the precision of float64, as unevaluated sums high + low, elementwise.

For statistics, of which there are few: what is rounded once in them is right to 1 u. Knuth's
two-sum and Dekker's product, as in csrc/sums/wide.h, but that NumPy has no fma.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class Pair(NamedTuple):
    """high + low, low being at most half a unit in high's last place."""

    high: Array
    low: Array


def two_sum(a: Array, b: Array) -> Pair:
    """a + b and what rounding it loses, exactly."""
    s = a + b
    t = s - a
    return Pair(s, (a - (s - t)) + (b - t))


def _halves(a: Array) -> tuple[Array, Array]:
    t = a * 134217729.0  # 2^27 + 1
    high = t - (t - a)
    return high, a - high


def two_product(a: Array, b: Array) -> Pair:
    """a * b and what rounding it loses, exactly, where nothing leaves float64's range."""
    p = a * b
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    return Pair(p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)


def _corrected(high: Array, low: Array) -> Pair:
    # What is infinite, or was divided by zero, has no digits to correct.
    return Pair(high, np.where(np.isfinite(low), low, 0.0))


def add(a: Pair, b: Pair) -> Pair:
    """A sum, of terms of one sign."""
    s, e = _corrected(*two_sum(a.high, b.high))
    return _corrected(*two_sum(s, e + (a.low + b.low)))


def square(a: Pair) -> Pair:
    """A product with itself."""
    p, e = two_product(a.high, a.high)
    return _corrected(p, e + 2 * a.high * a.low)


def quotient(a: Pair, n: Array) -> Pair:
    """A / n, for whole numbers n."""
    q = a.high / n
    p, e = two_product(q, n)
    return _corrected(q, (((a.high - p) - e) + a.low) / n)


def square_root(a: Pair) -> Pair:
    """One Newton step from the rounded root."""
    s = np.sqrt(a.high)
    p, e = two_product(s, s)
    return _corrected(s, (((a.high - p) - e) + a.low) / (2 * s))


def reciprocal(a: Pair) -> Pair:
    """One Newton step from the rounded quotient."""
    r = 1 / a.high
    p, e = two_product(r, a.high)
    return _corrected(r, r * (((1 - p) - e) - r * a.low))
