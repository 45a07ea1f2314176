"""The operators local_response_norm and local_response_norm_backward, with torch's window.

torch's window of an even size has one channel more before the centre than after it; that of the
functions on arrays, which is ONNX's, has it after: the same on channels in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import normkernels as nk

from .._types import Array
from .arrays import array, in_order, on_tensors, order_of, result_like
from .batches import one_by_one
from .formulas import Windows
from .node import Gradient
from .operator import Operator
from .threads import EXECUTORS

ATTRIBUTES = "int size, float alpha, float beta, float k"


def run(
    function: Callable[..., Array],
    tensors: Sequence[Tensor],
    attributes: Sequence[Any],
    out: Tensor | None = None,
) -> Tensor:
    """A function of images of one shape, the last of which is x."""
    x = tensors[-1]
    size, alpha, beta, k = attributes
    mirrored, order = size % 2 == 0, order_of(x)
    y = out
    if y is None:
        y = torch.empty_like(x) if mirrored else result_like(x)

    def seen(t: Tensor) -> Any:
        t = in_order(t, order)
        # Only arrays have negative strides.
        return np.flip(array(t), 1 if order == "NCHW" else -1) if mirrored else t

    result = (function if mirrored else on_tensors(function))(
        *map(seen, tensors),
        size,
        alpha=alpha,
        beta=beta,
        bias=k,
        order=order,
        out=None if y is None else seen(y),
        num_threads=EXECUTORS[torch.get_num_threads()],
    )
    return result if y is None else y


def _backward_operator() -> Operator:
    def save(tensors: Sequence[Tensor], _: Tensor) -> Sequence[Tensor]:
        return tensors

    def backward(ctx: Any, v: Tensor | None) -> Sequence[Tensor | None]:
        if v is None:
            return (None, None, None)
        dy, x = ctx.saved_tensors
        return (None, *Windows(*ctx.attributes).gradient_vjp(dy, x, v))

    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        dy, x = ctx.saved_tensors
        return Windows(*ctx.attributes).gradient_jvp(dy, x, tangents[0], tangents[1])

    return Operator(
        "local_response_norm_backward",
        f"(Tensor dy, Tensor x, {ATTRIBUTES}) -> Tensor dx",
        kernel=lambda dy, x, *rest: run(nk.local_response_norm_backward, (dy, x), rest),
        fake=lambda dy, x, *_: torch.empty_like(x),
        gradient=Gradient(1, save, backward, jvp),
        vmap=_vmap,
    )


def _forward_operator(gradient_of: Operator) -> Operator:
    def save(tensors: Sequence[Tensor], _: Tensor) -> Sequence[Tensor]:
        return tensors

    def backward(ctx: Any, dy: Tensor | None) -> Sequence[Tensor | None]:
        (x,) = ctx.saved_tensors
        return None, None if dy is None else gradient_of.main((dy, x), ctx.attributes)

    def jvp(ctx: Any, t_x: Tensor, *_: None) -> Tensor:
        (x,) = ctx.saved_tensors
        return Windows(*ctx.attributes).jvp(x, t_x)

    return Operator(
        "local_response_norm",
        f"(Tensor x, {ATTRIBUTES}) -> Tensor y",
        kernel=lambda x, *rest: run(nk.local_response_norm, (x,), rest),
        fake=lambda x, *_: torch.empty_like(x),
        gradient=Gradient(1, save, backward, jvp),
        vmap=_vmap,
    )


def _vmap(op: Operator, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
    images = len(args) - 4
    if None in in_dims[:images]:
        return one_by_one(op, info, in_dims, *args)
    batches = [a.movedim(d, 0) for a, d in zip(args[:images], in_dims, strict=False)]
    result = op(*(b.flatten(0, 1) for b in batches), *args[images:])
    return result.unflatten(0, batches[0].shape[:2]), 0


local_response_norm_backward = _backward_operator()
local_response_norm = _forward_operator(local_response_norm_backward)
