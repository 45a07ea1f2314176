"""Instance norm and group norm of dask arrays, and their gradients."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex

import dask.array as da
import numpy as np

import normkernels as nk
from normkernels import GroupNorm, GroupNormGradient, InstanceNorm, InstanceNormGradient
from normkernels._types import Order

from . import statistics
from .arguments import check_array, check_known, checked_pair, spread, stand_in, viewed, wide_gamma
from .backward import backward
from .forward import forward
from .norm import Norm


def instance_norm(
    x: da.Array,
    scale: Any = None,
    bias: Any = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-5,
    return_stats: bool = False,
    recompute: bool | None = None,
) -> Any:
    """normkernels.instance_norm of a dask array, whose chunks y has.

        y = (x - mean) * inv_std * scale + bias

    x            A dask array; its chunks may cut the planes.
    scale, bias  None, or arrays of Dask or of anything that NumPy can view.
    recompute    As in normkernels.dask.layer_norm.

    All else is as in normkernels.instance_norm. Returns y, or InstanceNorm(y, mean, inv_std), of
    dask arrays. Errors are raised by this call, not by what computes; ValueError, too, for chunks
    of unknown size along dimensions other than that of images.
    """
    options = {"order": order, "epsilon": epsilon, "return_stats": return_stats}
    results = _forward(nk.instance_norm, x, {"scale": scale, "bias": bias}, options, recompute)
    return InstanceNorm(*results) if return_stats else results[0]


def group_norm(
    x: da.Array,
    groups: SupportsIndex,
    scale: Any = None,
    bias: Any = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-5,
    return_stats: bool = False,
    recompute: bool | None = None,
) -> Any:
    """normkernels.group_norm of a dask array, whose chunks y has and may cut the groups.

        y = (x - mean) * inv_std * scale + bias

    Arguments and errors as in instance_norm and normkernels.group_norm. Returns y, or
    GroupNorm(y, mean, inv_std), of dask arrays.
    """
    options = {"groups": groups, "order": order, "epsilon": epsilon, "return_stats": return_stats}
    results = _forward(nk.group_norm, x, {"scale": scale, "bias": bias}, options, recompute)
    return GroupNorm(*results) if return_stats else results[0]


def instance_norm_backward(
    dy: da.Array,
    x: da.Array,
    scale: Any = None,
    mean: Any = None,
    inv_std: Any = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-5,
    recompute: bool | None = None,
) -> InstanceNormGradient:
    """normkernels.instance_norm_backward of dask arrays; dx has the chunks of x.

        dx = scale * inv_std * (dy - E[dy] - xhat * E[dy * xhat])
        dscale = sum of dy * xhat,  dbias = sum of dy

    dy, x                 Dask arrays of one shape.
    scale, mean, inv_std  None, or arrays of Dask or of anything that NumPy can view. Without mean
                          and inv_std, x is gone through once more for them.
    recompute             As in normkernels.dask.layer_norm, for both dy and x.

    All else is as in normkernels.instance_norm_backward, errors as in instance_norm. dscale and
    dbias are added over chunks in a fixed order, in float64, and rounded once.
    """
    options = {"order": order, "epsilon": epsilon}
    saved = {"inv_std": inv_std, "mean": mean}
    results = _backward(
        nk.instance_norm_backward, (dy, x), scale, saved, options, recompute=recompute
    )
    return InstanceNormGradient(*results)


def group_norm_backward(
    dy: da.Array,
    x: da.Array,
    groups: SupportsIndex,
    scale: Any = None,
    mean: Any = None,
    inv_std: Any = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-5,
    recompute: bool | None = None,
) -> GroupNormGradient:
    """normkernels.group_norm_backward of dask arrays; dx has the chunks of x.

        dx = inv_std * (g - E[g] - xhat * E[g * xhat]),  g = dy * scale
        dscale = sum of dy * xhat,  dbias = sum of dy

    Arguments and errors as in instance_norm_backward and normkernels.group_norm_backward.
    """
    options = {"groups": groups, "order": order, "epsilon": epsilon}
    saved = {"inv_std": inv_std, "mean": mean}
    results = _backward(nk.group_norm_backward, (dy, x), scale, saved, options, recompute=recompute)
    return GroupNormGradient(*results)


# ---- What they have in common


def channel_of(x: da.Array, order: Any) -> int:
    """The dimension of channels; of an order that is refused later, any."""
    return x.ndim - 1 if str(order).upper() == "NHWC" else 1


def shape_to_ask(function: str, x: da.Array, order: Any) -> tuple[int, ...]:
    """Of x's extents that of channels, and 0."""
    channel = channel_of(x, order)
    check_known(function, x, [channel] if channel < x.ndim else [])
    return tuple(int(n) if axis == channel else 0 for axis, n in enumerate(x.shape))


def _norm_of(function: str, x: da.Array, options: dict[str, Any]) -> tuple[Norm, da.Array]:
    """The norm of checked arguments, and x in chunks that can be normalised."""
    channel = channel_of(x, options["order"])
    axes = tuple(axis for axis in range(1, x.ndim) if axis != channel)
    check_known(function, x, axes)
    groups, channels = options.get("groups"), x.shape[channel]
    norm = Norm(axes, (channel,), float(options["epsilon"]), channel=channel)
    if groups is not None:
        groups = operator.index(groups)
        norm = norm._replace(together=max(1, channels // groups), of_none=0 if channels else groups)
    if norm.of_none or (not axes and not norm.is_whole(x)):
        # Nothing, or images of one pixel, which are small.
        x = x.rechunk(dict.fromkeys((channel, *axes), -1))
    return norm, x


def _forward(
    function: Callable[..., Any],
    x: da.Array,
    parameters: dict[str, Any],
    options: dict[str, Any],
    recompute: bool | None,
) -> list[da.Array]:
    name = function.__name__
    check_array(name, "x", x)
    parameters = {k: viewed(name, k, value) for k, value in parameters.items()}
    answer = function(
        stand_in(x, shape_to_ask(name, x, options["order"])),
        **{k: stand_in(value, np.shape(value)) for k, value in parameters.items()},
        **options,
    )
    dtypes = [a.dtype for a in (answer if options["return_stats"] else [answer])]
    norm, cut = _norm_of(name, x, options)
    kernel = partial(_chunk, norm=norm, options=_of_chunk(options))
    spreads = [spread(name, k, value, cut, norm.affine) for k, value in parameters.items()]
    returned = dict(zip(("y", "mean", "inverse"), dtypes, strict=False))
    y, *stats = forward(
        kernel, norm, cut, parameters=spreads, returned=returned, recompute=recompute
    )
    return [y.rechunk(x.chunks), *(s.squeeze(norm.axes) for s in stats)]


def _of_chunk(options: dict[str, Any]) -> dict[str, Any]:
    """What is the same for each chunk, whose number of groups is its own; one thread of Dask's."""
    return {k: value for k, value in options.items() if k != "groups"} | {"num_threads": 1}


def _chunk(x: Any, scale: Any, bias: Any, *, norm: Norm, options: dict[str, Any]) -> Any:
    """Group norm of a chunk that holds whole groups; statistics of x's rank."""
    groups = norm.groups(x.shape[norm.channel])
    # A chunk without channels has no group, of which the function wants one.
    answer = nk.group_norm(x, max(1, groups), _flat(scale), _flat(bias), **options)
    if not options["return_stats"]:
        return answer
    y, *stats = answer
    return y, *(_of_rank(s[:, :groups], x.ndim, norm.channel) for s in stats)


def _backward(
    function: Callable[..., Any],
    arrays: tuple[da.Array, da.Array],
    scale: Any,
    saved: dict[str, Any],
    options: dict[str, Any],
    *,
    recompute: bool | None,
) -> list[da.Array]:
    name, (dy, x) = function.__name__, checked_pair(function.__name__, *arrays)
    scale = viewed(name, "scale", scale)
    saved = {k: viewed(name, k, value) for k, value in saved.items()}
    shape = shape_to_ask(name, x, options["order"])
    answers = function(
        stand_in(dy, shape),
        stand_in(x, shape),
        scale=stand_in(scale, np.shape(scale)),
        **{k: stand_in(value, (0, *np.shape(value)[1:])) for k, value in saved.items()},
        **options,
    )
    norm, cut = _norm_of(name, x, options)
    kept = [_of_channels(name, k, value, cut, norm) for k, value in saved.items()]
    kernel = partial(_gradients_of_chunk, norm=norm, options=_of_chunk(options))
    given = None if kept[0] is None else statistics.from_inverse
    of_channels = spread(name, "scale", scale, cut, norm.affine)
    dtypes = [a.dtype for a in answers]
    dx, *sums = backward(
        kernel,
        norm,
        cut,
        dy.rechunk(cut.chunks) if cut is not x else dy,
        given=given,
        saved=kept,
        gamma=of_channels,
        dtypes=dtypes,
        recompute=recompute,
    )
    return [dx.rechunk(x.chunks), *sums]


def _of_channels(function: str, name: str, value: Any, x: da.Array, norm: Norm) -> da.Array | None:
    """A saved statistic, (N, groups), of x's rank and once for each channel."""
    if value is None:
        return None
    if value.shape[0] != x.shape[0]:
        wanted = (x.shape[0], value.shape[1])
        raise ValueError(
            f"{function}: {name} has shape {value.shape}, must have {wanted}, one value per image "
            f"and {'channel' if norm.together == 1 else 'group'} of x"
        )
    # Of no channels, none: their statistics are for nothing.
    each = value[:, :0] if norm.of_none else np.repeat(value, norm.together, axis=1)
    return spread(function, name, each, x, (0, norm.channel))


def _gradients_of_chunk(
    x: Any,
    dy: Any,
    inv_std: Any,
    mean: Any,
    scale: Any,
    *,
    norm: Norm,
    options: dict[str, Any],
) -> tuple[Any, Any, Any]:
    """Of a chunk that holds whole groups; the sums of x's rank, in float64."""
    channels = x.shape[norm.channel]
    groups = channels // norm.together
    # A chunk without channels has no group, of which the function wants one.
    saved = [
        None if a is None or groups == 0 else a.reshape(len(x), channels)[:, :: norm.together]
        for a in (mean, inv_std)
    ]
    dx, *sums = nk.group_norm_backward(
        dy,
        x,
        max(1, groups),
        wide_gamma(x, _flat(scale), (channels,)),
        *saved,
        **options,
    )
    return dx, *(_of_rank(a[None].astype(np.float64), x.ndim, norm.channel) for a in sums)


def _flat(parameter: Any) -> Any:
    return None if parameter is None else parameter.reshape(-1)


def _of_rank(a: Any, rank: int, channel: int) -> Any:
    """(N, C) as x has them: (N, C, 1, ...) or (N, 1, ..., C)."""
    n, c = a.shape  # which are no -1 in a shape of no elements
    return a.reshape(n, *(c if axis == channel else 1 for axis in range(1, rank)))
