"""Layer norm and RMS norm of dask arrays, and their gradients."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

import dask.array as da
import numpy as np

import normkernels as nk
from normkernels import LayerNorm, LayerNormGradient, RmsNorm, RmsNormGradient

from . import statistics
from .arguments import check_array, check_known, checked_pair, spread, stand_in, viewed, wide_gamma
from .backward import backward
from .forward import forward
from .norm import Norm

Axes: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | None


def layer_norm(
    x: da.Array,
    gamma: Any = None,
    beta: Any = None,
    *,
    axis: SupportsIndex = 1,
    axes: Axes = None,
    epsilon: SupportsFloat = 1e-5,
    return_stats: bool = False,
    recompute: bool | None = None,
) -> Any:
    """normkernels.layer_norm of a dask array, whose chunks y has.

        y = (x - mean) / sigma * gamma + beta

    x             A dask array; its chunks may cut the normalised dimensions.
    gamma, beta   None, or arrays of Dask or of anything that NumPy can view.
    recompute     Whether chunks of an x that is cut are computed twice and held by nothing in
                  between (see normkernels.dask). None: where each comes from one of its source.

    All else is as in normkernels.layer_norm. Returns y, or LayerNorm(y, mean, sigma), of dask
    arrays. Errors are raised by this call, not by what computes; ValueError, too, for chunks of
    unknown size along normalised dimensions.
    """
    options = {"axis": axis, "axes": axes, "epsilon": epsilon, "return_stats": return_stats}
    parameters = {"gamma": gamma, "beta": beta}
    results = _forward(
        nk.layer_norm, ("mean", "sigma"), x, parameters, options, recompute=recompute
    )
    return LayerNorm(*results) if return_stats else results[0]


def rms_norm(
    x: da.Array,
    gamma: Any = None,
    beta: Any = None,
    *,
    axis: SupportsIndex = -1,
    axes: Axes = None,
    epsilon: SupportsFloat = 1e-5,
    return_stats: bool = False,
    recompute: bool | None = None,
) -> Any:
    """normkernels.rms_norm of a dask array, whose chunks y has.

        y = x * rstd * gamma + beta

    Arguments and errors as in layer_norm. Returns y, or RmsNorm(y, rstd).
    """
    options = {"axis": axis, "axes": axes, "epsilon": epsilon, "return_stats": return_stats}
    parameters = {"gamma": gamma, "beta": beta}
    results = _forward(nk.rms_norm, ("inverse",), x, parameters, options, recompute=recompute)
    return RmsNorm(*results) if return_stats else results[0]


def layer_norm_backward(
    dy: da.Array,
    x: da.Array,
    mean: Any,
    sigma: Any,
    gamma: Any = None,
    *,
    axis: SupportsIndex = 1,
    axes: Axes = None,
    recompute: bool | None = None,
) -> LayerNormGradient:
    """normkernels.layer_norm_backward of dask arrays; dx has the chunks of x.

        dx = (g - E[g] - xhat * E[g * xhat]) / sigma,  g = dy * gamma
        dgamma = sum of dy * xhat,  dbeta = sum of dy

    dy, x               Dask arrays of one shape.
    mean, sigma, gamma  Arrays of Dask or of anything that NumPy can view.
    recompute           As in layer_norm, for both dy and x.

    All else is as in normkernels.layer_norm_backward, errors as in layer_norm. dgamma and dbeta are
    added over chunks in a fixed order, in float64, and rounded once.
    """
    saved = {"sigma": sigma, "mean": mean}
    options = {"axis": axis, "axes": axes}
    results = _backward(nk.layer_norm_backward, (dy, x), saved, gamma, options, recompute=recompute)
    return LayerNormGradient(*results)


def rms_norm_backward(
    dy: da.Array,
    x: da.Array,
    rstd: Any = None,
    gamma: Any = None,
    *,
    axis: SupportsIndex = -1,
    axes: Axes = None,
    epsilon: SupportsFloat = 1e-5,
    recompute: bool | None = None,
) -> RmsNormGradient:
    """normkernels.rms_norm_backward of dask arrays; dx has the chunks of x.

        dx = (g - xhat * E[g * xhat]) * rstd,  g = dy * gamma
        dgamma = sum of dy * xhat,  dbeta = sum of dy

    rstd  None: computed again from x. All else is as in layer_norm_backward.
    """
    options = {"axis": axis, "axes": axes, "epsilon": epsilon}
    saved = {"rstd": rstd}
    results = _backward(nk.rms_norm_backward, (dy, x), saved, gamma, options, recompute=recompute)
    return RmsNormGradient(*results)


def _norm_of(x: da.Array, options: dict[str, Any], centred: bool) -> Norm:
    """The norm of checked axes."""
    axes = options["axes"]
    if axes is None:
        axes = range(operator.index(options["axis"]) % x.ndim, x.ndim)
    elif hasattr(axes, "__index__") and np.ndim(axes) == 0:
        axes = [axes]
    reduced = tuple(sorted(operator.index(axis) % x.ndim for axis in axes))
    return Norm(reduced, reduced, float(options.get("epsilon", 0.0)), centred)


def _forward(
    function: Callable[..., Any],
    fields: tuple[str, ...],
    x: da.Array,
    parameters: dict[str, Any],
    options: dict[str, Any],
    *,
    recompute: bool | None,
) -> list[da.Array]:
    name = function.__name__
    check_array(name, "x", x)
    parameters = {k: viewed(name, k, value) for k, value in parameters.items()}
    stand_ins = {k: stand_in(value, 0) for k, value in parameters.items()}
    answer = function(stand_in(x, (0,) * x.ndim), **stand_ins, **options)
    answers = answer if options["return_stats"] else [answer]
    norm = _norm_of(x, options, centred=function is nk.layer_norm)
    check_known(name, x, norm.axes)
    spreads = [spread(name, k, value, x, norm.axes) for k, value in parameters.items()]
    kernel = partial(
        function,
        axes=norm.axes,
        epsilon=norm.epsilon,
        return_stats=options["return_stats"],
        num_threads=1,  # tasks of Dask's run side by side
    )
    dtypes = [a.dtype for a in answers]
    returned = dict(zip(("y", *fields), dtypes, strict=False))
    y, *stats = forward(kernel, norm, x, parameters=spreads, returned=returned, recompute=recompute)
    # With `axis`, statistics have one dimension for all that are normalised.
    more = norm.axes[1:] if options["axes"] is None else ()
    return [y, *(s.squeeze(more) if more else s for s in stats)]


def _backward(
    function: Callable[..., Any],
    arrays: tuple[da.Array, da.Array],
    saved: dict[str, Any],
    gamma: Any,
    options: dict[str, Any],
    *,
    recompute: bool | None,
) -> list[da.Array]:
    name, (dy, x) = function.__name__, checked_pair(function.__name__, *arrays)
    gamma = viewed(name, "gamma", gamma)
    unknown = any(math.isnan(n) for n in x.shape)
    saved = {k: viewed(name, k, value, unknown=unknown) for k, value in saved.items()}
    none = (0,) * x.ndim
    axis, axes = options["axis"], options["axes"]
    all_axes = axis in (0, -x.ndim) if axes is None else np.size(axes) == x.ndim
    stand_ins = {which: stand_in(value, int(all_axes)) for which, value in saved.items()}
    answers = function(
        stand_in(dy, none),
        stand_in(x, none),
        **stand_ins,
        gamma=stand_in(gamma, 0),
        **options,
    )
    norm = _norm_of(x, options, centred=function is nk.layer_norm_backward)
    check_known(name, x, norm.axes)
    others = tuple(axis for axis in range(x.ndim) if axis not in norm.axes)
    kept = [spread(name, which, value, x, others) for which, value in saved.items()]
    given = None
    if kept[0] is not None:
        given = statistics.from_sigma if norm.centred else statistics.from_inverse
    kernel = partial(
        _gradients_of_chunk,
        function=function,
        axes=norm.axes,
        options={} if norm.centred else {"epsilon": norm.epsilon},
    )
    of_rows = spread(name, "gamma", gamma, x, norm.axes)
    dtypes = [a.dtype for a in answers]
    return backward(
        kernel,
        norm,
        x,
        dy,
        given=given,
        saved=kept,
        gamma=of_rows,
        dtypes=dtypes,
        recompute=recompute,
    )


def _gradients_of_chunk(
    x: Any,
    dy: Any,
    *saved_and_gamma: Any,
    function: Callable[..., Any],
    axes: tuple[int, ...],
    options: dict[str, Any],
) -> tuple[Any, Any, Any]:
    *saved, gamma = saved_and_gamma
    shape = tuple(n if axis in axes else 1 for axis, n in enumerate(x.shape))
    dx, dgamma, dbeta = function(
        dy, x, *reversed(saved), wide_gamma(x, gamma, shape), axes=axes, num_threads=1, **options
    )
    return dx, *(a.reshape(shape).astype(np.float64) for a in (dgamma, dbeta))
