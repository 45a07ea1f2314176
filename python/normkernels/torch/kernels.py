"""The table of norms, and their kernels on tensors.

They differ in what is normalised together (axes of a row, or groups of channels), in the statistics
that they keep, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import normkernels as nk

from . import formulas
from .arrays import (
    array,
    channels_are_last,
    optional_array,
    result_like,
    tensor,
    with_channels_last,
)
from .formulas import Space
from .operator import Operator, Tensors


@dataclass(frozen=True)
class Extent:
    """What is normalised together: a declaration of the attributes that say so, and their meaning.

    space       of x, the attributes and epsilon, for the formulas
    statistics  shape of the statistics of x
    parameters  shape of gamma and beta
    fold        the operator's outputs of x with one dimension more in front
    """

    attributes: str
    space: Callable[..., Space]
    statistics: Callable[..., Sequence[int]]
    parameters: Callable[..., Sequence[int]]
    fold: Callable[..., Tensors]


def _rows_of_statistics(x: Tensor, axes: Sequence[int]) -> list[int]:
    normalised = {axis % x.dim() for axis in axes}
    return [1 if d in normalised else n for d, n in enumerate(x.shape)]


def _rows_of_parameters(x: Tensor, axes: Sequence[int]) -> list[int]:
    return [x.shape[d] for d in sorted(axis % x.dim() for axis in axes)]


def _fold_rows(
    op: Operator,
    x: Tensor,
    parameters: Sequence[Tensor | None],
    axes: Sequence[int],
    epsilon: float,
) -> Tensors:
    rank = x.dim() - 1
    return tuple(op(x, *parameters, [axis % rank - rank for axis in axes], epsilon))


def _fold_images(op: Operator, x: Tensor, *rest: Any) -> Tensors:
    parameters, *attributes = rest
    outputs = op(x.flatten(0, 1), *parameters, *attributes)
    return tuple(o.unflatten(0, x.shape[:2]) for o in outputs)


def rows(*, centred: bool) -> Extent:
    """The dimensions `axes` of x."""
    return Extent(
        "int[] axes, ",
        lambda x, axes, epsilon: formulas.rows(x, axes, epsilon, centred=centred),
        _rows_of_statistics,
        _rows_of_parameters,
        _fold_rows,
    )


GROUPS = Extent(
    "int groups, ",
    formulas.groups,
    lambda x, count: (x.shape[0], count),
    lambda x, _: (x.shape[1],),
    _fold_images,
)
CHANNELS = Extent(
    "",
    lambda x, epsilon: formulas.groups(x, x.shape[1], epsilon),
    lambda x: x.shape[:2],
    lambda x: (x.shape[1],),
    _fold_images,
)


@dataclass(frozen=True)
class Norm:
    """A norm: the functions on arrays, the statistics between them, and over what they are."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    statistics: tuple[str, ...]
    extent: Extent


NORMS = {
    "layer_norm": Norm(
        nk.layer_norm, nk.layer_norm_backward, ("mean", "sigma"), rows(centred=True)
    ),
    "rms_norm": Norm(nk.rms_norm, nk.rms_norm_backward, ("rstd",), rows(centred=False)),
    "group_norm": Norm(nk.group_norm, nk.group_norm_backward, ("mean", "inv_std"), GROUPS),
    "instance_norm": Norm(
        nk.instance_norm, nk.instance_norm_backward, ("mean", "inv_std"), CHANNELS
    ),
}


# ---- Kernels. What they do besides the function's work is a good part of a call on a small tensor,
# so they are written out rather than composed.


def _as_tensors(results: Any) -> Any:
    return tuple(map(tensor, results)) if isinstance(results, tuple) else tensor(results)


def run_rows(function: Callable[..., Any], arrays: Sequence[Any], x: Tensor, **options: Any) -> Any:
    """What a function of rows returns, as tensors; the first is of x's shape and strides."""
    options["num_threads"] = torch.get_num_threads()
    y = result_like(x)
    if y is None:
        return _as_tensors(function(*arrays, **options))
    results = function(*arrays, out=array(y), **options)
    return (y, *map(tensor, results[1:])) if isinstance(results, tuple) else y


def run_images(
    function: Callable[..., Any], arrays: Sequence[Any], x: Tensor, images: int, **options: Any
) -> Any:
    """The same of a function of images, of which the first `images` arrays are.

    Of channels that are neighbours in memory the kernels for NHWC are told.
    """
    if not channels_are_last(x):
        return run_rows(function, arrays, x, **options)
    y = torch.empty_like(x)
    results = function(
        *map(with_channels_last, arrays[:images]),
        *arrays[images:],
        order="NHWC",
        out=with_channels_last(array(y)),
        num_threads=torch.get_num_threads(),
        **options,
    )
    return (y, *map(tensor, results[1:])) if isinstance(results, tuple) else y


def row_kernels(norm: Norm) -> tuple[Callable[..., Any], Callable[..., Tensors]]:
    """The forward of a norm of rows, without return_stats of y alone, and the backward."""

    def forward(
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        axes: Sequence[int],
        epsilon: float,
        return_stats: bool = True,
    ) -> Any:
        g = None if gamma is None else array(gamma)
        b = None if beta is None else array(beta)
        arrays = (array(x), g, b)
        return run_rows(
            norm.forward, arrays, x, axes=axes, epsilon=epsilon, return_stats=return_stats
        )

    def backward(dy: Tensor, x: Tensor, *rest: Any) -> Tensors:
        *tensors, axes, _ = rest
        arrays = [None if t is None else array(t) for t in (dy, x, *tensors)]
        return run_rows(norm.backward, arrays, x, axes=axes)

    return forward, backward


def image_kernels(norm: Norm) -> tuple[Callable[..., Any], Callable[..., Tensors]]:
    """The forward of a norm of images, without return_stats of y alone, and the backward."""

    def forward(
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        *attributes: Any,
        return_stats: bool = True,
    ) -> Any:
        *groups, epsilon = attributes
        arrays = (array(x), *groups, optional_array(gamma), optional_array(beta))
        return run_images(norm.forward, arrays, x, 1, epsilon=epsilon, return_stats=return_stats)

    def backward(
        dy: Tensor,
        x: Tensor,
        mean: Tensor,
        inv_std: Tensor,
        gamma: Tensor | None,
        *attributes: Any,
    ) -> Tensors:
        arrays = (
            *(array(dy), array(x), *attributes[:-1]),
            *(optional_array(gamma), array(mean), array(inv_std)),
        )
        return run_images(norm.backward, arrays, x, 2)

    return forward, backward
