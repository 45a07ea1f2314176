"""The operators layer_norm, rms_norm, group_norm and instance_norm, and their backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import formulas
from .arrays import statistics_dtype
from .kernels import NORMS, Norm, image_kernels, row_kernels
from .node import Gradient
from .operator import Operator, Tensors


def fake_statistics(norm: Norm, x: Tensor, *attributes: Any) -> Tensors:
    """Empty statistics of x."""
    shape = norm.extent.statistics(x, *attributes)
    return tuple(x.new_empty(shape, dtype=statistics_dtype(x)) for _ in norm.statistics)


def _backward_operator(name: str, norm: Norm, kernel: Callable[..., Tensors]) -> Operator:
    extent, count = norm.extent, len(norm.statistics)
    statistics = "".join(f"Tensor {s}, " for s in norm.statistics)

    def fake(dy: Tensor, x: Tensor, *rest: Any) -> Tensors:
        gamma, *attributes = rest[count:]
        shape = extent.parameters(x, *attributes[:-1])
        dtype = x.dtype if gamma is None else gamma.dtype
        return (torch.empty_like(x), *(x.new_empty(shape, dtype=dtype) for _ in range(2)))

    def save(tensors: Sequence[Tensor | None], outputs: Tensors) -> Sequence[Tensor | None]:
        return tensors[0], tensors[1], tensors[-1], outputs[1]

    def backward(ctx: Any, *cotangents: Tensor | None) -> Sequence[Tensor | None]:
        dy, x, gamma, _ = ctx.saved_tensors
        space = extent.space(x, *ctx.attributes)
        of_dy, of_x, of_gamma = formulas.gradient_vjp(space, (dy, x, gamma), cotangents)
        return (None, of_dy, of_x, *(None for _ in norm.statistics), of_gamma)

    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensors:
        dy, x, gamma, dgamma = ctx.saved_tensors
        space = extent.space(x, *ctx.attributes)
        given = (tangents[0], tangents[1], tangents[2 + count])
        return formulas.gradient_jvp(space, (dy, x, gamma), given, dgamma)

    return Operator(
        name + "_backward",
        f"(Tensor dy, Tensor x, {statistics}Tensor? gamma, {extent.attributes}float epsilon)"
        " -> (Tensor dx, Tensor dgamma, Tensor dbeta)",
        kernel=kernel,
        fake=fake,
        gradient=Gradient(3, save, backward, jvp),
        vmap=extent.vmap,
    )


def _forward_operator(
    name: str, norm: Norm, kernel: Callable[..., Tensors], gradient_of: Operator
) -> Operator:
    extent = norm.extent
    statistics = ", ".join(f"Tensor {s}" for s in norm.statistics)

    def fake(x: Tensor, gamma: Any, beta: Any, *attributes: Any) -> Tensors:
        return (torch.empty_like(x), *fake_statistics(norm, x, *attributes[:-1]))

    def save(tensors: Sequence[Tensor | None], outputs: Tensors) -> Sequence[Tensor | None]:
        return (tensors[0], tensors[1], *outputs[1:])

    def backward(ctx: Any, dy: Tensor | None, *_: None) -> Sequence[Tensor | None]:
        if dy is None:
            return (None, None, None, None)
        x, gamma, *statistics = ctx.saved_tensors
        _, needs_x, needs_gamma, needs_beta = ctx.needs_input_grad
        dx, dgamma, dbeta = gradient_of.main((dy, x, *statistics, gamma), ctx.attributes)
        return (
            None,
            dx if needs_x else None,
            dgamma if needs_gamma else None,
            dbeta if needs_beta else None,
        )

    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        x, gamma = ctx.saved_tensors[:2]
        space = extent.space(x, *ctx.attributes)
        return (formulas.norm_jvp(space, x, gamma, tangents[:3]), *(None,) * len(norm.statistics))

    def vmap(op: Operator, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
        x, gamma, beta, *attributes = args
        if in_dims[0] is None or in_dims[1] is not None or in_dims[2] is not None:
            return extent.vmap(op, info, in_dims, *args)
        outputs = extent.fold(op, x.movedim(in_dims[0], 0), (gamma, beta), *attributes)
        return outputs, (0,) * len(outputs)

    return Operator(
        name,
        f"(Tensor x, Tensor? gamma, Tensor? beta, {extent.attributes}float epsilon)"
        f" -> (Tensor y, {statistics})",
        kernel=kernel,
        fake=fake,
        gradient=Gradient(1, save, backward, jvp),
        vmap=vmap,
    )


def _operators(name: str) -> tuple[Operator, Operator]:
    norm = NORMS[name]
    of_rows = "axes" in norm.extent.attributes
    forward, backward = (row_kernels if of_rows else image_kernels)(norm)
    gradient = _backward_operator(name, norm, backward)
    return _forward_operator(name, norm, forward, gradient), gradient


layer_norm, layer_norm_backward = _operators("layer_norm")
rms_norm, rms_norm_backward = _operators("rms_norm")
group_norm, group_norm_backward = _operators("group_norm")
instance_norm, instance_norm_backward = _operators("instance_norm")
