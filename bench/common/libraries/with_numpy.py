"""NumPy, as one writes it with care: in the dtype of x, in place where that saves a temporary."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..case import ALPHA, BIAS, Array, Case, Data, Form, formula_arrays
from . import Library, Variant


def normalise(x: Array, axes: tuple[int, ...], case: Case) -> tuple[Array, Array]:
    """Centred and scaled x, and 1 / sqrt(var + epsilon)."""
    xhat = x - x.mean(axes, keepdims=True) if case.centred else x.copy()
    rstd = 1 / np.sqrt(np.square(xhat).mean(axes, keepdims=True) + case.epsilon)
    xhat *= rstd
    return xhat, rstd


def forward(
    x: Array, axes: tuple[int, ...], gamma: Array, beta: Sequence[Array], case: Case
) -> Array:
    y, _ = normalise(x, axes, case)
    y *= gamma
    for each in beta:  # RMS norm has none
        y += each
    return y


def backward(
    form: Form, dy: Array, x: Array, gamma: Array, saved: tuple[Array | None, Array]
) -> tuple[Array, ...]:
    """dx, dgamma and, if there is a saved mean, dbeta."""
    mean, rstd = saved
    xhat = x * rstd if mean is None else (x - mean) * rstd
    product = dy * xhat
    dgamma = product.sum(form.parameter_axes)
    product *= gamma
    xhat *= product.mean(form.axes, keepdims=True)
    dx = dy * gamma
    if mean is not None:
        dx -= dx.mean(form.axes, keepdims=True)
    dx -= xhat
    dx *= rstd
    return (dx, dgamma) if mean is None else (dx, dgamma, dy.sum(form.parameter_axes))


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

    def norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        form = case.form
        x, gamma, *beta = formula_arrays(case, data)
        yield Variant("numpy", lambda: forward(x, form.axes, gamma, beta, case), one)

    def norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        form = case.form
        x, gamma, *_ = formula_arrays(case, data)
        dy = data.dy.reshape(form.shape)
        mean = x.mean(form.axes, keepdims=True) if case.centred else None
        saved = mean, normalise(x, form.axes, case)[1]
        yield Variant("numpy", lambda: backward(form, dy, x, gamma, saved), tuple)

    def add_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, gamma, *beta = formula_arrays(case, data)
        residual, axes = data.residual, case.form.axes

        def call() -> tuple[Array, ...]:
            total = x + residual
            return forward(total, axes, gamma, beta, case), total

        yield Variant("numpy", call, tuple)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield Variant("numpy", lambda: data.x / lrn_scale(data.x, case) ** case.beta, one)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield Variant("numpy", lambda: lrn_backward(data.dy, data.x, case), one)
