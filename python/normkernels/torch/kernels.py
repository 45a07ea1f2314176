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
from .arrays import in_order, on_tensors, order_of, result_like
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
    """A norm: the functions on tensors, the statistics between them, and over what they are."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    statistics: tuple[str, ...]
    extent: Extent


NORMS = {
    "layer_norm": Norm(
        on_tensors(nk.layer_norm),
        on_tensors(nk.layer_norm_backward),
        ("mean", "sigma"),
        rows(centred=True),
    ),
    "rms_norm": Norm(
        on_tensors(nk.rms_norm), on_tensors(nk.rms_norm_backward), ("rstd",), rows(centred=False)
    ),
    "group_norm": Norm(
        on_tensors(nk.group_norm), on_tensors(nk.group_norm_backward), ("mean", "inv_std"), GROUPS
    ),
    "instance_norm": Norm(
        on_tensors(nk.instance_norm),
        on_tensors(nk.instance_norm_backward),
        ("mean", "inv_std"),
        CHANNELS,
    ),
}


# ---- Kernels. What they do besides the function's work is a good part of a call on a small tensor,
# so they are written out rather than composed.


def row_kernels(norm: Norm) -> tuple[Callable[..., Any], Callable[..., Tensors]]:
    """The forward of a norm of rows, without return_stats of y alone, and the backward."""
    of_x, of_dy = norm.forward, norm.backward

    def forward(
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        axes: Sequence[int],
        epsilon: float,
        return_stats: bool = True,
    ) -> Any:
        return of_x(
            x,
            gamma,
            beta,
            axes=axes,
            epsilon=epsilon,
            out=result_like(x),
            return_stats=return_stats,
            num_threads=EXECUTORS[get_num_threads()],
        )

    def backward(dy: Tensor, x: Tensor, *rest: Any) -> Tensors:
        *statistics_and_gamma, axes, _ = rest
        return of_dy(
            dy,
            x,
            *statistics_and_gamma,
            axes=axes,
            out=result_like(x),
            num_threads=EXECUTORS[get_num_threads()],
        )

    return forward, backward


def image_kernels(norm: Norm) -> tuple[Callable[..., Any], Callable[..., Tensors]]:
    """The same of a norm of images; channels that are neighbours in memory run NHWC's."""
    of_x, of_dy = norm.forward, norm.backward

    def forward(
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        *attributes: Any,
        return_stats: bool = True,
    ) -> Any:
        *groups, epsilon = attributes
        y, order = result_like(x), order_of(x)
        results = of_x(
            in_order(x, order),
            *groups,
            gamma,
            beta,
            order=order,
            epsilon=epsilon,
            out=None if y is None else in_order(y, order),
            return_stats=return_stats,
            num_threads=EXECUTORS[get_num_threads()],
        )
        if y is None:
            return results
        return (y, *results[1:]) if return_stats else y

    def backward(
        dy: Tensor,
        x: Tensor,
        mean: Tensor,
        inv_std: Tensor,
        gamma: Tensor | None,
        *attributes: Any,
    ) -> Tensors:
        *groups, _ = attributes
        dx, order = result_like(x), order_of(x)
        results = of_dy(
            in_order(dy, order),
            in_order(x, order),
            *groups,
            gamma,
            mean,
            inv_std,
            order=order,
            out=None if dx is None else in_order(dx, order),
            num_threads=EXECUTORS[get_num_threads()],
        )
        return results if dx is None else (dx, *results[1:])

    return forward, backward
