"""JAX, jit: norms by the formula and by jax.nn.standardize.

Gradients are the closed form of the saved statistics; LRN's is jax.vjp of the forward. XLA takes
its number of threads from the CPUs that the process may use when it starts, so it is started anew
when that number changes. Calls are dispatched in the calling thread, which is up to four times as
fast for small arrays.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.backend import clear_backends

from ..case import ALPHA, BIAS, HALVES, Array, Case, Data, formula_arrays
from . import Library, Variant


class Jax(Library):
    version = jax.__version__
    dtypes = ("float32", "float64", *HALVES)
    started_on = 0  # threads

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_cpu_enable_async_dispatch", False)

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        jax.config.update("jax_enable_x64", self.dtype == "float64")  # settings of the process
        if Jax.started_on != self.threads:
            clear_backends()
            Jax.started_on = self.threads
        yield from super().variants(case, data)

    def norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        for label, function in forwards(case).items():
            yield variant(label, function, *formula_arrays(case, data))

    def add_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        for label, function in forwards(case).items():
            x, *parameters = formula_arrays(case, data)

            def add(x: Any, residual: Any, *parameters: Any, function: Any = function) -> Any:
                total = x + residual
                return function(total, *parameters), total

            yield variant(label, add, x, data.residual, *parameters)

    def norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        form = case.form
        x = data.x.reshape(form.shape).astype("float64" if self.dtype == "float64" else "float32")
        mean = [x.mean(form.axes, keepdims=True)] if case.centred else []
        variance = np.square(x - mean[0] if mean else x).mean(form.axes, keepdims=True)
        saved = (*mean, 1 / np.sqrt(variance + case.epsilon))
        dy, (x, gamma, *_) = data.dy.reshape(form.shape), formula_arrays(case, data)
        yield variant("jit", backward(case), dy, x, gamma, *saved)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield variant("jit", lrn(case), data.x)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield variant("jit", lambda dy, x: jax.vjp(lrn(case), x)[1](dy), data.dy, data.x)


def wide(x: Any) -> Any:
    """Half types are computed with in float32, as flax does."""
    return x.astype(jnp.float32) if x.dtype.itemsize == 2 else x


def forwards(case: Case) -> dict[str, Callable[..., Any]]:
    axes, epsilon = case.form.axes, case.epsilon

    def formula(x: Any, gamma: Any, *beta: Any) -> Any:
        centred = wide(x)
        if case.centred:
            centred = centred - centred.mean(axes, keepdims=True)
        variance = jnp.square(centred).mean(axes, keepdims=True)
        y = centred * lax.rsqrt(variance + epsilon) * gamma
        return (y + beta[0] if beta else y).astype(x.dtype)

    def standardize(x: Any, gamma: Any, beta: Any) -> Any:
        return (jax.nn.standardize(wide(x), axes, epsilon=epsilon) * gamma + beta).astype(x.dtype)

    found = {"jit formula": formula}
    return found | {"jit standardize": standardize} if case.centred else found


def backward(case: Case) -> Callable[..., Any]:
    """The closed form from the saved statistics."""
    axes, parameter_axes = case.form.axes, case.form.parameter_axes

    def gradient(dy: Any, x: Any, gamma: Any, *saved: Any) -> Any:
        kind, *mean, rstd = x.dtype, *saved
        dy, x = wide(dy), wide(x)
        xhat = (x - mean[0] if mean else x) * rstd
        g = dy * gamma
        dx = g - xhat * (g * xhat).mean(axes, keepdims=True)
        if mean:
            dx = dx - g.mean(axes, keepdims=True)
        sums = [dy * xhat, dy] if mean else [dy * xhat]
        outputs = (rstd * dx, *(each.sum(parameter_axes) for each in sums))
        return tuple(each.astype(kind) for each in outputs)

    return gradient


def lrn(case: Case) -> Callable[[Any], Any]:
    window, padding = [1] * len(case.shape), [(0, 0)] * len(case.shape)
    window[case.channel_axis] = case.size
    padding[case.channel_axis] = ((case.size - 1) // 2, case.size // 2)
    strides = [1] * len(case.shape)

    def forward(x: Any) -> Any:
        w = wide(x)
        total = lax.reduce_window(
            w * w, np.zeros((), w.dtype)[()], lax.add, window, strides, padding
        )
        return (w * (BIAS + ALPHA / case.size * total) ** -case.beta).astype(x.dtype)

    return forward


def variant(label: str, function: Callable[..., Any], *arrays: Array) -> Variant:
    jitted = jax.jit(function)
    given = [jnp.asarray(array) for array in arrays]
    return Variant(label, lambda: jax.block_until_ready(jitted(*given)), read)


def read(result: Any) -> tuple[Array, ...]:
    return tuple(np.asarray(a) for a in (result if isinstance(result, tuple) else (result,)))
