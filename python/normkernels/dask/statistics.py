"""From moments, or from what a caller saved, to what x is centred and scaled by.

    xhat = (scale * x - centre - centre_low) * (rstd + rstd_low)

scale is a power of two that takes float64 data at the ends of the exponent range to where nothing
of this leaves it, and 1 for all else; centre, rstd and their low parts are those of scale * x.
mean, sigma and inverse = 1 / sigma are x's own, to be returned; dx is in units of inverse. RMS
norm's centre is 0. Where sigma is 0, x is constant and rstd is 0, so that xhat is 0.

Exponents are kept apart from numbers about 1 until all is known: epsilon * scale**2 has no room in
float64 beside the variance of scale * x, nor has sigma of scale * x, where sigma itself has.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import pairs
from .pairs import Pair

Array: TypeAlias = NDArray[Any]

# 1 / sigma between two to the power of minus this and of this needs no scale. More than epsilon's
# root, so that float32 and half types never do.
ORDINARY_EXPONENTS = 600

NO_EXPONENT = -5000  # of 0: below all others

STATISTICS = np.dtype(
    [
        (name, np.float64)
        for name in (
            *("scale", "centre", "centre_low", "rstd", "rstd_low"),
            *("mean", "sigma", "inverse"),
        )
    ]
)


def from_moments(moments: Array, *, epsilon: float, centred: bool) -> Array:
    """The statistics of whole rows, of the moments' shape."""
    with np.errstate(all="ignore"):
        n, scale = np.maximum(moments["count"], 1).astype(np.float64), moments["scale"]
        mean = Pair(moments["mean"], moments["mean_low"])
        variance = pairs.quotient(Pair(moments["m2"], moments["m2_low"]), n)
        if not centred:
            variance = pairs.add(variance, pairs.square(mean))
            mean = _single(np.zeros_like(scale))
        # Both terms in units of 4**unit, of which the larger has about 1.
        of_scale = _exponent(scale) - 1
        of_epsilon = _exponent(np.full_like(scale, epsilon)) // 2 + of_scale
        unit = np.maximum(_exponent(variance.high) // 2, of_epsilon)
        added = _single(np.ldexp(epsilon, 2 * (of_scale - unit)))
        sigma = pairs.square_root(pairs.add(_shifted(variance, -2 * unit), added))

        s = _filled(scale, mean, pairs.reciprocal(sigma), -unit)
        s["mean"] = (moments["mean"] + moments["mean_low"]) / scale
        s["sigma"] = np.ldexp(sigma.high + sigma.low, unit - of_scale)
        for name in STATISTICS.names or ():
            s[name][~np.isfinite(moments["m2"] + moments["mean"])] = np.nan
    return s


def from_sigma(sigma: Array, mean: Array) -> Array:
    """Those of a forward that saved sigma and mean."""
    sigma, mean = sigma.astype(np.float64), mean.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded, exponent = np.frexp(sigma)
        rounded = np.where(np.isinf(1 / sigma), 0, rounded)  # as of a constant row
        return _filled(
            np.ones_like(mean), _single(mean), pairs.reciprocal(_single(rounded)), -exponent
        )


def from_inverse(inverse: Array, mean: Array | None = None) -> Array:
    """Those of a forward that saved 1 / sigma and, but for RMS norm, mean."""
    inverse = inverse.astype(np.float64)
    centre = np.zeros_like(inverse) if mean is None else mean.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded, exponent = np.frexp(inverse)
        return _filled(np.ones_like(inverse), _single(centre), _single(rounded), exponent)


def _single(a: Array) -> Pair:
    return Pair(a, np.zeros_like(a))


def _shifted(a: Pair, exponent: Array) -> Pair:
    """A * 2**exponent."""
    return Pair(np.ldexp(a.high, exponent), np.ldexp(a.low, exponent))


def _exponent(a: Array) -> Array:
    """The e with 2**(e - 1) <= |a| < 2**e."""
    exponent: Array = np.where(a == 0, NO_EXPONENT, np.frexp(a)[1])
    return exponent


def _filled(scale: Array, centre: Pair, rstd: Pair, exponent: Array) -> Array:
    """STATISTICS but for mean and sigma; 1 / sigma of scale * x is rstd * 2**exponent."""
    s = np.zeros(scale.shape, STATISTICS)
    of_scale = _exponent(scale) - 1
    s["inverse"] = np.ldexp(rstd.high + rstd.low, exponent + of_scale)
    # What takes 1 / sigma to about 1, as far as centre has room for it: an x that differs by so
    # much less from a centre so large is that of a constant row (csrc/norm/factors.h).
    room = np.minimum(1021 - _exponent(centre.high), 1023 - of_scale)
    extreme = np.isfinite(rstd.high) & (np.abs(exponent) > ORDINARY_EXPONENTS)
    by = np.where(extreme, np.minimum(exponent, room), 0)
    s["scale"] = np.ldexp(scale, by)
    s["centre"], s["centre_low"] = _shifted(centre, by)
    constant, rest = np.isinf(rstd.high), _shifted(rstd, exponent - by)
    s["rstd"] = np.where(constant, 0.0, np.minimum(rest.high, np.finfo(np.float64).max))
    s["rstd_low"] = np.where(constant | np.isinf(rest.high), 0.0, rest.low)
    return s
