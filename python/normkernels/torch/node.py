"""Nodes of torch's graph whose gradients are formulas in Python.

Of a call on a small tensor they are the dearest part, so they do what they must and no more: an
empty one takes 5 us forward, every output beyond the first 3 more, and each call of a function in
Python 0.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

Kernel = Callable[..., Any]


class Gradient(NamedTuple):
    """The derivative of an operator, in the terms of torch.autograd.Function.

    The inputs of a node are the arguments that are no tensors, as one, and the tensors.

    outputs   how many of the operator's have a gradient: the first ones
    save      (tensors, outputs) returns the tensors that are needed
    backward  (ctx, *gradients of the outputs) returns one for each input; ctx.saved_tensors and
              ctx.attributes are as before
    jvp       (ctx, *tangents of the tensors) returns one for each output
    """

    outputs: int
    save: Callable[..., Sequence[Tensor | None]]
    backward: Callable[..., Sequence[Tensor | None]]
    jvp: Callable[..., Any]


def node(name: str, gradient: Gradient) -> Kernel:
    """A function of (kernel, attributes), and tensors: the outputs of a kernel of them."""
    count, save, backward, jvp = gradient

    def forward(ctx: Any, call: tuple[Kernel, Sequence[Any]], *tensors: Tensor | None) -> Any:
        kernel, attributes = call
        outputs = kernel(*tensors, *attributes)
        ctx.set_materialize_grads(False)
        ctx.attributes = attributes
        saved = save(tensors, outputs)
        ctx.save_for_backward(*saved)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*saved)
        if isinstance(outputs, tuple):
            ctx.mark_non_differentiable(*outputs[count:])
        return outputs

    def tangents(ctx: Any, _: None, *given: Tensor | None) -> Any:
        if not _are_functorch_transforms_active():
            return jvp(ctx, *given)
        # Of torch.func's levels, this one is done with; the others differentiate the formula.
        with torch._C._AutoDispatchBelowAutograd(), forward_ad._set_fwd_grad_enabled(True):
            return jvp(ctx, *given)

    return _function(name, forward=forward, backward=backward, jvp=tangents)


def main_node(name: str, gradient: Gradient, kernel: Kernel, main: Callable[[Any], Any]) -> Kernel:
    """A function of attributes and tensors: main(outputs), those of the kernel with a gradient.

    What most calls want: no derivatives forward, no outputs that are only saved.
    """
    _, save, backward, _ = gradient

    def forward(ctx: Any, attributes: Sequence[Any], *tensors: Tensor | None) -> Any:
        outputs = kernel(*tensors, *attributes)
        ctx.set_materialize_grads(False)
        ctx.attributes = attributes
        ctx.save_for_backward(*save(tensors, outputs))
        return main(outputs)

    return _function(name, forward=forward, backward=backward)


def _function(name: str, **methods: Callable[..., Any]) -> Kernel:
    static = {key: staticmethod(method) for key, method in methods.items()}
    # Not torch.autograd.Function, which first looks for transforms of torch.func: those are the
    # dispatcher's work and done before this is called.
    return type(name, (_SingleLevelFunction,), static).apply  # type: ignore[attr-defined]
