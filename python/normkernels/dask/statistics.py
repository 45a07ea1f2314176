"""From moments, or from what a caller saved, to what x is centred and scaled by.

    xhat = (scale * x - centre - centre_low) * (rstd + rstd_low)

scale is a power of two that takes float64 data whose squares would leave the range into it, and 1
for all else; centre, rstd and their low parts are those of scale * x. mean, sigma and inverse =
1 / sigma are x's own, to be returned. RMS norm's centre is 0. Where sigma is 0, x is constant and
rstd is 0, so that xhat is 0.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import pairs
from .pairs import Pair

Array: TypeAlias = NDArray[Any]

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
        added = epsilon * scale * scale
        sigma = pairs.square_root(pairs.add(variance, _single(added)))

        s = _filled(scale, mean, sigma)
        s["mean"] = (mean.high + mean.low) / scale
        # Where even epsilon is beyond the range beside such numbers, it is all there is of sigma.
        s["sigma"] = np.where(np.isinf(added), np.sqrt(epsilon), (sigma.high + sigma.low) / scale)
        s["inverse"] = 1 / s["sigma"]
        ordinary = np.isfinite(added)
        s["inverse"][ordinary] = ((s["rstd"] + s["rstd_low"]) * scale)[ordinary]
        s["inverse"][s["sigma"] == 0] = np.inf
        for name in STATISTICS.names or ():
            s[name][~np.isfinite(moments["m2"] + moments["mean"])] = np.nan
    return s


def from_sigma(sigma: Array, mean: Array) -> Array:
    """Those of a forward that saved sigma and mean."""
    sigma, mean = sigma.astype(np.float64), mean.astype(np.float64)
    with np.errstate(all="ignore"):
        return _filled(np.ones_like(mean), _single(mean), _single(sigma))


def from_inverse(inverse: Array, mean: Array | None = None) -> Array:
    """Those of a forward that saved 1 / sigma and, but for RMS norm, mean."""
    s = np.zeros(inverse.shape, STATISTICS)
    s["scale"] = 1
    s["centre"] = 0 if mean is None else mean
    s["rstd"] = np.where(np.isinf(inverse), 0, inverse)
    return s


def _single(a: Array) -> Pair:
    return Pair(a, np.zeros_like(a))


def _filled(scale: Array, centre: Pair, sigma: Pair) -> Array:
    s = np.zeros(scale.shape, STATISTICS)
    rstd = pairs.reciprocal(sigma)
    s["scale"], s["centre"], s["centre_low"] = scale, centre.high, centre.low
    s["rstd"] = np.where(sigma.high == 0, 0.0, rstd.high)
    s["rstd_low"] = np.where(sigma.high == 0, 0.0, rstd.low)
    return s
