"""What makes a function of tensors an operator of torch: schema, kernels, gradient, vmap.

An operator is called in one of two ways that give the same:

- Through torch's dispatcher, `torch.ops.normkernels.<name>`: what compiles, exports, traces,
  transforms or overrides operators sees it there.
- Without it, if nothing of that kind is going on and all tensors have arrays. A kernel and an
  autograd formula in Python, as this library's are, cost 15 to 30 us in the dispatcher, several
  times the work on a small tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import (
    _are_functorch_transforms_active,
    _get_tracing_state,
    _is_torch_function_mode_enabled,
    _len_torch_dispatch_stack,
)
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from .arrays import NoArrayError

Tensors = tuple[Tensor, ...]
Kernel = Callable[..., Any]

# Lives as long as the process: without it the operators are gone.
LIBRARY = torch.library.Library("normkernels", "DEF")

ORDINARY_TYPES = frozenset((Tensor, torch.nn.Parameter))


def _is_ordinary(tensors: Sequence[Tensor | None]) -> bool:
    """Whether the dispatcher would do nothing but differentiate and call the kernel of a device."""
    # Not by the keys that the dispatcher itself looks at: to ask for them costs 3 us.
    if (
        _len_torch_dispatch_stack()
        or _is_torch_function_mode_enabled()
        or _are_functorch_transforms_active()
        or _get_tracing_state() is not None
    ):
        return False
    for t in tensors:  # noqa: SIM110, all() costs 1 us
        if t is not None and type(t) not in ORDINARY_TYPES:
            return False
    return True


def _is_differentiated(tensors: Sequence[Tensor | None]) -> bool:
    if forward_ad._current_level >= 0:
        return True
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                return True
    return False


class Gradient(NamedTuple):
    """The derivative of an operator, in the terms of torch.autograd.Function.

    save(ctx, args, outputs) returns the tensors that are needed, and may set attributes of ctx;
    backward(ctx, *gradients of the outputs) returns one for each argument; jvp(ctx, *tangents of
    the arguments) returns one for each output.
    """

    save: Callable[..., Sequence[Tensor | None]]
    backward: Callable[..., Sequence[Tensor | None]]
    jvp: Callable[..., Any]


def _node(name: str, gradient: Gradient) -> Kernel:
    """A function that calls a kernel, its first argument, on the others, as a node of the graph."""
    save, backward, jvp = gradient

    def forward(ctx: Any, kernel: Kernel, *args: Any) -> Any:
        outputs = kernel(*args)
        ctx.set_materialize_grads(False)
        saved = save(ctx, args, outputs)
        ctx.save_for_backward(*saved)
        if forward_ad._current_level >= 0:
            ctx.save_for_forward(*saved)
        return outputs

    def tangents(ctx: Any, _: None, *given: Tensor | None) -> Any:
        if not _are_functorch_transforms_active():
            return jvp(ctx, *given)
        # Of torch.func's levels, this one is done with; the others differentiate the formula.
        with torch._C._AutoDispatchBelowAutograd(), forward_ad._set_fwd_grad_enabled(True):
            return jvp(ctx, *given)

    methods = {
        "forward": staticmethod(forward),
        "backward": staticmethod(lambda ctx, *gradients: (None, *backward(ctx, *gradients))),
        "jvp": staticmethod(tangents),
    }
    function: Any = type(name, (torch.autograd.Function,), methods)
    # Not its own apply(), which first looks for transforms of torch.func: those are the
    # dispatcher's work and done before this is called.
    return super(torch.autograd.Function, function).apply


class Operator:
    """An operator of the namespace normkernels.

    signature  of the schema, such as "(Tensor x, float epsilon) -> (Tensor y, Tensor rstd)"
    kernel     computes the outputs of tensors in the CPU's memory; of several, with
               return_stats=False, the first alone
    fake       makes empty outputs of the right shapes, dtypes and strides
    gradient   of the operator
    vmap       a rule as torch.library.register_vmap takes it, which gets the operator first
    """

    def __init__(
        self,
        name: str,
        signature: str,
        *,
        kernel: Kernel,
        fake: Kernel,
        gradient: Gradient,
        vmap: Callable[..., Any],
    ) -> None:
        """Registers it."""
        LIBRARY.define(name + signature, tags=(torch.Tag.pt2_compliant_tag,))
        self.name = name
        self.overload = getattr(torch.ops.normkernels, name).default
        self._kernel = kernel
        self._tensors = signature.split("->", maxsplit=1)[0].count("Tensor")
        self._node = _node(name, gradient)
        LIBRARY.impl(name, kernel, "CPU")
        LIBRARY.impl(name, self._differentiated, "Autograd")
        qualified = "normkernels::" + name
        torch.library.register_fake(qualified, fake, lib=LIBRARY)
        torch.library.register_vmap(qualified, lambda *args: vmap(self, *args), lib=LIBRARY)

    def __call__(self, *args: Any) -> Any:
        """The outputs; all arguments in the order of the schema.

        TypeError for what is no tensor, ValueError for a tensor on another device than the CPU;
        they name the argument.
        """
        if is_compiling():
            return self.overload(*args)
        tensors = args[: self._tensors]
        if _is_ordinary(tensors):
            try:
                if _is_differentiated(tensors):
                    return self._node(self._kernel, *args)
                return self._kernel(*args)
            except NoArrayError:
                pass  # Asked afterwards: to look at every tensor costs as much as a kernel
        self._check(tensors)
        return self.overload(*args)

    def first(self, *args: Any) -> Tensor:
        """The first of several outputs; nothing else is computed, unless a gradient needs it."""
        tensors = args[: self._tensors]
        if not is_compiling() and _is_ordinary(tensors) and not _is_differentiated(tensors):
            try:
                return self._kernel(*args, return_stats=False)
            except NoArrayError:
                pass  # contextlib.suppress costs 1 us
        return self(*args)[0]

    def _check(self, tensors: Sequence[Any]) -> None:
        for argument, t in zip(self.overload._schema.arguments, tensors, strict=False):
            if t is not None and not isinstance(t, Tensor):
                kind = type(t).__name__
                raise TypeError(f"{self.name}: {argument.name} is a {kind}, must be a tensor")
            if t is not None and not (t.is_cpu or t.is_meta):
                where = f"{argument.name} is on {t.device}"
                raise ValueError(f"{self.name}: {where}, must be on the CPU")

    def _below_autograd(self, *args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return self.overload(*args)

    def _differentiated(self, *args: Any) -> Any:
        if not _is_differentiated(args[: self._tensors]):
            return self._below_autograd(*args)
        if not _are_functorch_transforms_active():
            return self._node(self._below_autograd, *args)
        with enable_single_level_autograd_function():  # one level of torch.func's transforms
            return self._node(self._other_levels, *args)

    def _other_levels(self, *args: Any) -> Any:
        # A node turns gradients off while it computes, and with them those of the other levels.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            return self._below_autograd(*args)


def one_by_one(op: Operator, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
    """The vmap of any operator: each element of the batch by its own call, with its bits."""
    size = info.batch_size

    def element(a: Any, dim: Any, i: int) -> Any:
        if dim is None or not isinstance(a, Tensor):
            return a
        return a.select(dim, i) if size else a.sum(dim)  # zeros, for the shapes of the outputs

    calls = [
        op(*(element(a, dim, i) for a, dim in zip(args, in_dims, strict=True)))
        for i in range(max(size, 1))
    ]
    if isinstance(calls[0], Tensor):
        return torch.stack(calls)[:size], 0
    outputs = tuple(torch.stack(results)[:size] for results in zip(*calls, strict=True))
    return outputs, (0,) * len(outputs)
