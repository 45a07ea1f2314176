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

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant


class Jax(Library):
    version = jax.__version__
    started_on = 0  # threads

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", dtype == "float64")
        jax.config.update("jax_cpu_enable_async_dispatch", False)

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        if Jax.started_on != self.threads:
            clear_backends()
            Jax.started_on = self.threads
        yield from super().variants(case, data)

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        return self._forward(case, data.x, (-1,), data.gamma, data.beta)

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield self._backward(case, data, data.gamma, (-1,), tuple(range(data.x.ndim - 1)))

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        gamma, beta = case.per_channel(data.gamma), case.per_channel(data.beta)
        return self._forward(case, data.x, case.spatial_axes, gamma, beta)

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        axes = case.spatial_axes
        yield self._backward(case, data, case.per_channel(data.gamma), axes, (0, *axes))

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield variant("jit", lrn(case), data.x)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield variant("jit", lambda dy, x: jax.vjp(lrn(case), x)[1](dy), data.dy, data.x)

    def _forward(
        self, case: Case, x: Array, axes: tuple[int, ...], gamma: Array, beta: Array
    ) -> Iterator[Variant]:
        def forward(x: Any, gamma: Any, beta: Any) -> Any:
            centred = x - x.mean(axes, keepdims=True)
            variance = jnp.square(centred).mean(axes, keepdims=True)
            return centred * lax.rsqrt(variance + case.epsilon) * gamma + beta

        def standardize(x: Any, gamma: Any, beta: Any) -> Any:
            return jax.nn.standardize(x, axes, epsilon=case.epsilon) * gamma + beta

        yield variant("jit formula", forward, x, gamma, beta)
        yield variant("jit standardize", standardize, x, gamma, beta)

    def _backward(
        self,
        case: Case,
        data: Data,
        gamma: Array,
        axes: tuple[int, ...],
        parameter_axes: tuple[int, ...],
    ) -> Variant:
        def backward(dy: Any, x: Any, mean: Any, rstd: Any, gamma: Any) -> Any:
            xhat = (x - mean) * rstd
            g = dy * gamma
            projection = (g * xhat).mean(axes, keepdims=True)
            dx = rstd * (g - g.mean(axes, keepdims=True) - xhat * projection)
            return dx, (dy * xhat).sum(parameter_axes), dy.sum(parameter_axes)

        mean = data.x.mean(axes, keepdims=True)
        rstd = 1 / np.sqrt(np.square(data.x - mean).mean(axes, keepdims=True) + case.epsilon)
        return variant("jit", backward, data.dy, data.x, mean, rstd, gamma)


def lrn(case: Case) -> Callable[[Any], Any]:
    window, padding = [1] * len(case.shape), [(0, 0)] * len(case.shape)
    window[case.channel_axis] = case.size
    padding[case.channel_axis] = ((case.size - 1) // 2, case.size // 2)
    strides = [1] * len(case.shape)

    def forward(x: Any) -> Any:
        total = lax.reduce_window(x * x, 0.0, lax.add, window, strides, padding)
        return x * (BIAS + ALPHA / case.size * total) ** -case.beta

    return forward


def variant(label: str, function: Callable[..., Any], *arrays: Array) -> Variant:
    jitted = jax.jit(function)
    inputs = [jnp.asarray(array) for array in arrays]
    return Variant(label, lambda: jax.block_until_ready(jitted(*inputs)), read)


def read(result: Any) -> tuple[Array, ...]:
    return tuple(np.asarray(a) for a in (result if isinstance(result, tuple) else (result,)))
