"""The table of norms, and their kernels on tensors.

They differ in what is normalised together (axes of a row, or groups of channels), in the statistics
that they keep, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, get_num_threads

import normkernels as nk

from . import formulas
from .arrays import conversions, in_order, order_of, result_like
from .batches import as_channels, one_by_one
from .formulas import Space
from .operator import Operator, Tensors
from .threads import EXECUTORS


@dataclass(frozen=True)
class Extent:
    """What is normalised together: a declaration of the attributes that say so, and their meaning.

    space       of x, the attributes and epsilon, for the formulas
    statistics  shape of the statistics of x
    parameters  shape of gamma and beta
    fold        the operator's outputs of x with one dimension more in front
    vmap        the rule of torch.vmap for batches that cannot be folded so: of parameters, and of
                gradients, which are sums over each element of the batch
    """

    attributes: str
    space: Callable[..., Space]
    statistics: Callable[..., Sequence[int]]
    parameters: Callable[..., Sequence[int]]
    fold: Callable[..., Tensors]
    vmap: Callable[..., Any]


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
        one_by_one,
    )


GROUPS = Extent(
    "int groups, ",
    formulas.groups,
    lambda x, count: (x.shape[0], count),
    lambda x, _: (x.shape[1],),
    _fold_images,
    as_channels,
)
CHANNELS = Extent(
    "",
    lambda x, epsilon: formulas.groups(x, x.shape[1], epsilon),
    lambda x: x.shape[:2],
    lambda x: (x.shape[1],),
    _fold_images,
    as_channels,
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
        array, tensor = conversions(x, gamma, beta)
        y = result_like(x)
        results = norm.forward(
            array(x),
            None if gamma is None else array(gamma),
            None if beta is None else array(beta),
            axes=axes,
            epsilon=epsilon,
            out=None if y is None else array(y),
            return_stats=return_stats,
            num_threads=EXECUTORS[get_num_threads()],
        )
        if not return_stats:
            return tensor(results) if y is None else y
        first, *statistics = results
        return (tensor(first) if y is None else y, *map(tensor, statistics))

    def backward(dy: Tensor, x: Tensor, *rest: Any) -> Tensors:
        *statistics, gamma, axes, _ = rest
        array, tensor = conversions(x, gamma)
        dx = result_like(x)
        first, dgamma, dbeta = norm.backward(
            array(dy),
            array(x),
            *map(array, statistics),
            None if gamma is None else array(gamma),
            axes=axes,
            out=None if dx is None else array(dx),
            num_threads=EXECUTORS[get_num_threads()],
        )
        return tensor(first) if dx is None else dx, tensor(dgamma), tensor(dbeta)

    return forward, backward


def image_kernels(norm: Norm) -> tuple[Callable[..., Any], Callable[..., Tensors]]:
    """The same of a norm of images; channels that are neighbours in memory run NHWC's."""

    def forward(
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        *attributes: Any,
        return_stats: bool = True,
    ) -> Any:
        *groups, epsilon = attributes
        array, tensor = conversions(x, gamma, beta)
        y, order = result_like(x), order_of(x)
        results = norm.forward(
            in_order(array(x), order),
            *groups,
            None if gamma is None else array(gamma),
            None if beta is None else array(beta),
            order=order,
            epsilon=epsilon,
            out=None if y is None else in_order(array(y), order),
            return_stats=return_stats,
            num_threads=EXECUTORS[get_num_threads()],
        )
        if not return_stats:
            return tensor(results) if y is None else y
        first, *statistics = results
        return (tensor(first) if y is None else y, *map(tensor, statistics))

    def backward(
        dy: Tensor,
        x: Tensor,
        mean: Tensor,
        inv_std: Tensor,
        gamma: Tensor | None,
        *attributes: Any,
    ) -> Tensors:
        *groups, _ = attributes
        array, tensor = conversions(x, gamma)
        dx, order = result_like(x), order_of(x)
        first, dgamma, dbeta = norm.backward(
            in_order(array(dy), order),
            in_order(array(x), order),
            *groups,
            None if gamma is None else array(gamma),
            array(mean),
            array(inv_std),
            order=order,
            out=None if dx is None else in_order(array(dx), order),
            num_threads=EXECUTORS[get_num_threads()],
        )
        return tensor(first) if dx is None else dx, tensor(dgamma), tensor(dbeta)

    return forward, backward
