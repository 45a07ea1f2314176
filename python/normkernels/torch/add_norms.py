"""The operators add_layer_norm and add_rms_norm, whose gradient is that of the norm of the sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, get_num_threads

import normkernels as nk

from . import formulas, norms
from .arrays import on_tensors, result_like, statistics_dtype
from .batches import one_by_one
from .kernels import NORMS
from .node import Gradient
from .norms import fake_statistics
from .operator import Operator, Tensors
from .threads import EXECUTORS


def _kernel(forward: Callable[..., Any]) -> Callable[..., Any]:
    of_x = on_tensors(forward)

    def kernel(
        x: Tensor,
        residual: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        bias: Tensor | None,
        axes: Sequence[int],
        epsilon: float,
        return_stats: bool = True,
    ) -> Any:
        return of_x(
            x,
            residual,
            gamma,
            beta,
            bias=bias,
            axes=axes,
            epsilon=epsilon,
            out=result_like(x),
            total=result_like(x),
            return_stats=return_stats,
            num_threads=EXECUTORS[get_num_threads()],
        )

    return kernel


def _sum_of(terms: Sequence[Tensor | None]) -> Tensor | None:
    present = [t for t in terms if t is not None]
    return sum(present[1:], present[0]) if present else None


def _sum_over_rows(dx: Tensor, space: formulas.Space) -> Tensor:
    # Without any, sum() is over all dimensions.
    return dx.sum(space.summed, dtype=statistics_dtype(dx)) if space.summed else dx


def _gradient(name: str, gradient_of: Operator) -> Gradient:
    norm = NORMS[name]

    def save(tensors: Sequence[Tensor | None], outputs: Tensors) -> Sequence[Tensor | None]:
        return (outputs[1], tensors[2], *outputs[2:])

    def backward(
        ctx: Any, dy: Tensor | None, dtotal: Tensor | None, *_: None
    ) -> Sequence[Tensor | None]:
        total, gamma, *statistics = ctx.saved_tensors
        _, needs_x, needs_residual, needs_gamma, needs_beta, needs_bias = ctx.needs_input_grad
        dgamma = dbeta = dbias = dx = None
        if dy is not None:
            dx, dgamma, dbeta = gradient_of.main((dy, total, *statistics, gamma), ctx.attributes)
        dx = _sum_of((dx, dtotal))
        if dx is not None and needs_bias:
            dbias = _sum_over_rows(dx, norm.extent.space(total, *ctx.attributes))
        return (
            None,
            dx if needs_x else None,
            dx if needs_residual else None,
            dgamma if needs_gamma else None,
            dbeta if needs_beta else None,
            dbias,
        )

    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        total, gamma = ctx.saved_tensors[:2]
        space = norm.extent.space(total, *ctx.attributes)
        dx, dresidual, dgamma, dbeta, dbias = tangents[:5]
        if dbias is not None:
            dbias = dbias.reshape(space.affine).to(total.dtype)
        dtotal = _sum_of((dx, dresidual, dbias))
        if dtotal is not None:
            dtotal = dtotal.expand_as(total)
        dy = formulas.norm_jvp(space, total, gamma, (dtotal, dgamma, dbeta))
        if dtotal is None:
            dtotal = torch.zeros_like(total)
        return (dy, dtotal, *(None for _ in norm.statistics))

    return Gradient(2, save, backward, jvp)


def _operator(name: str, forward: Callable[..., Any], gradient_of: Operator) -> Operator:
    norm = NORMS[name]
    statistics = ", ".join(f"Tensor {s}" for s in norm.statistics)

    def fake(x: Tensor, residual: Tensor, *rest: Any) -> Tensors:
        of_x = torch.empty_like(x), torch.empty_like(x)
        return (*of_x, *fake_statistics(norm, x, rest[3]))

    def vmap(op: Operator, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        if None in in_dims[:2] or any(d is not None for d in in_dims[2:5]):
            return one_by_one(op, info, in_dims, *args)
        x, residual = (a.movedim(d, 0) for a, d in zip(args[:2], in_dims[:2], strict=True))
        outputs = norm.extent.fold(lambda x, *rest: op(x, residual, *rest), x, args[2:5], *args[5:])
        return outputs, (0,) * len(outputs)

    return Operator(
        "add_" + name,
        "(Tensor x, Tensor residual, Tensor? gamma, Tensor? beta, Tensor? bias, int[] axes,"
        f" float epsilon) -> (Tensor y, Tensor total, {statistics})",
        kernel=_kernel(forward),
        fake=fake,
        gradient=_gradient(name, gradient_of),
        vmap=vmap,
    )


add_layer_norm = _operator("layer_norm", nk.add_layer_norm, norms.layer_norm_backward)
add_rms_norm = _operator("rms_norm", nk.add_rms_norm, norms.rms_norm_backward)
