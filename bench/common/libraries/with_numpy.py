"""NumPy, as one writes it with care: in the dtype of x, in place where that saves a temporary."""

from collections.abc import Iterator

import numpy as np

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant


def normalise(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """Centred and scaled x, and 1 / sqrt(var + epsilon)."""
    xhat = x - x.mean(axes, keepdims=True)
    rstd = 1 / np.sqrt(np.square(xhat).mean(axes, keepdims=True) + epsilon)
    xhat *= rstd
    return xhat, rstd


def forward(x: Array, axes: tuple[int, ...], gamma: Array, beta: Array, epsilon: float) -> Array:
    y, _ = normalise(x, axes, epsilon)
    y *= gamma
    y += beta
    return y


def backward(
    data: Data,
    gamma: Array,
    saved: tuple[Array, Array],
    axes: tuple[int, ...],
    parameter_axes: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    """dx, dgamma and dbeta from the saved mean and rstd."""
    x, dy, (mean, rstd) = data.x, data.dy, saved
    xhat = (x - mean) * rstd
    product = dy * xhat
    dgamma, dbeta = product.sum(parameter_axes), dy.sum(parameter_axes)
    product *= gamma
    xhat *= product.mean(axes, keepdims=True)
    dx = dy * gamma
    dx -= dx.mean(axes, keepdims=True)
    dx -= xhat
    dx *= rstd
    return dx, dgamma, dbeta


def window_sum(x: Array, below: int, above: int, axis: int) -> Array:
    """The sum of x over channels c - below to c + above, clipped."""
    channels = x.shape[axis]
    total = np.zeros_like(x)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(total, axis, 0)
    for offset in range(max(-below, 1 - channels), min(above, channels - 1) + 1):
        if offset < 0:
            target[-offset:] += source[:offset]
        else:
            target[: channels - offset] += source[offset:]
    return total


def lrn_scale(x: Array, case: Case) -> Array:
    scale = window_sum(x * x, (case.size - 1) // 2, case.size // 2, case.channel_axis)
    scale *= ALPHA / case.size
    scale += BIAS
    return scale


def lrn_backward(dy: Array, x: Array, case: Case) -> Array:
    scale = lrn_scale(x, case)
    dx = dy * scale**-case.beta
    ratio = dx * x
    ratio /= scale
    pooled = window_sum(ratio, case.size // 2, (case.size - 1) // 2, case.channel_axis)
    pooled *= x
    pooled *= 2 * ALPHA * case.beta / case.size
    dx -= pooled
    return dx


def one(y: Array) -> tuple[Array, ...]:
    return (y,)


class NumPy(Library):
    version = np.__version__

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        return self._forward(case, data.x, (-1,), data.gamma, data.beta)

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        return self._backward(case, data, data.gamma, (-1,), tuple(range(data.x.ndim - 1)))

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        gamma, beta = case.per_channel(data.gamma), case.per_channel(data.beta)
        return self._forward(case, data.x, case.spatial_axes, gamma, beta)

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        axes = case.spatial_axes
        return self._backward(case, data, case.per_channel(data.gamma), axes, (0, *axes))

    def _forward(
        self, case: Case, x: Array, axes: tuple[int, ...], gamma: Array, beta: Array
    ) -> Iterator[Variant]:
        yield Variant("numpy", lambda: forward(x, axes, gamma, beta, case.epsilon), one)

    def _backward(
        self,
        case: Case,
        data: Data,
        gamma: Array,
        axes: tuple[int, ...],
        parameter_axes: tuple[int, ...],
    ) -> Iterator[Variant]:
        saved = data.x.mean(axes, keepdims=True), normalise(data.x, axes, case.epsilon)[1]
        yield Variant("numpy", lambda: backward(data, gamma, saved, axes, parameter_axes), tuple)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield Variant("numpy", lambda: data.x / lrn_scale(data.x, case) ** case.beta, one)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield Variant("numpy", lambda: lrn_backward(data.dy, data.x, case), one)
