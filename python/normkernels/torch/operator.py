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
from functools import partial
from typing import Any

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

from .arrays import ORDINARY_TYPES, array
from .checks import check_tensors
from .names import rename
from .node import Gradient, Kernel, main_node, node

Tensors = tuple[Tensor, ...]
# Lives as long as the process: without it the operators are gone.
LIBRARY = torch.library.Library("normkernels", "DEF")

# What torch raises for a tensor that has no array.
NO_ARRAY = (TypeError, RuntimeError)
ERRORS = (*NO_ARRAY, ValueError)


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


def _have_arrays(tensors: Sequence[Tensor | None]) -> bool:
    """Whether an error is about something else: the arguments, memory, or a hook of the caller's.

    Asked when there is one: to look at every tensor beforehand costs as much as a kernel.
    """
    try:
        for t in tensors:
            if t is not None:
                array(t.detach())
    except NO_ARRAY:
        return False
    return True


def _is_recorded(tensors: Sequence[Tensor | None]) -> bool:
    """Whether somebody may ask for the gradient."""
    if torch.is_grad_enabled():
        for t in tensors:
            if t is not None and t.requires_grad:
                return True
    return False


def _is_differentiated(tensors: Sequence[Tensor | None]) -> bool:
    return forward_ad._current_level >= 0 or _is_recorded(tensors)


class Operator:
    """An operator of the namespace normkernels.

    signature  of the schema, such as "(Tensor x, float epsilon) -> (Tensor y, Tensor rstd)"
    kernel     computes the outputs of tensors in the CPU's memory; with return_stats=False, only
               those that have a gradient
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
        self.tensors = signature.split("->", maxsplit=1)[0].count("Tensor")
        self._kernel = self._main_kernel = kernel
        self._main: Callable[[Any], Any] = lambda outputs: outputs
        if gradient.outputs < len(self.overload._schema.returns):
            self._main_kernel = partial(kernel, return_stats=False)
            first = 0 if gradient.outputs == 1 else slice(gradient.outputs)
            self._main = lambda outputs: outputs[first]
        self._node = node(name, gradient)
        self._main_node = main_node(name, gradient, kernel, self._main)
        LIBRARY.impl(name, torch.no_grad()(kernel), "CPU")
        LIBRARY.impl(name, self._differentiated, "Autograd")
        qualified = "normkernels::" + name

        def checked_fake(*args: Any) -> Any:
            # It is asked for a call that has any tensor on meta, and its outputs hold nothing.
            self._check(args[: self.tensors])
            return fake(*args)

        torch.library.register_fake(qualified, checked_fake, lib=LIBRARY)
        torch.library.register_vmap(qualified, lambda *args: vmap(self, *args), lib=LIBRARY)

    def __call__(self, *args: Any) -> Any:
        """The outputs; all arguments in the order of the schema.

        TypeError for what is no tensor, ValueError for a tensor on another device than the CPU and
        for one on meta beside one that is not; they name the argument.
        """
        if is_compiling():
            return self.overload(*args)
        tensors = args[: self.tensors]
        if _is_ordinary(tensors):
            try:
                if _is_differentiated(tensors):
                    return self._node((self._kernel, args[self.tensors :]), *tensors)
                return self._kernel(*args)
            except NO_ARRAY:
                if _have_arrays(tensors):
                    raise
        self._check(tensors)
        return self.overload(*args)

    def main(self, tensors: Sequence[Tensor | None], attributes: Sequence[Any]) -> Any:
        """The outputs that have gradients, of the arguments that are tensors and the others.

        Those without are not even computed, unless a gradient needs them. Errors have torch's names
        of the arguments.
        """
        if is_compiling():
            return self._main(self.overload(*tensors, *attributes))
        if forward_ad._current_level < 0 and _is_ordinary(tensors):
            try:
                if _is_recorded(tensors):
                    return self._main_node(attributes, *tensors)
                return self._main_kernel(*tensors, *attributes)
            except ERRORS as error:
                if not isinstance(error, NO_ARRAY) or _have_arrays(tensors):
                    rename(error, self.name)
                    raise
        try:
            return self._main(self(*tensors, *attributes))
        except (TypeError, ValueError) as error:
            rename(error, self.name)
            raise

    def _check(self, tensors: Sequence[Any]) -> None:
        names = (argument.name for argument in self.overload._schema.arguments)
        check_tensors(self.name, zip(names, tensors, strict=False))

    def _below_autograd(self, *args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return self.overload(*args)

    def _differentiated(self, *args: Any) -> Any:
        tensors, attributes = args[: self.tensors], args[self.tensors :]
        if not _is_differentiated(tensors):
            return self._below_autograd(*args)
        if not _are_functorch_transforms_active():
            return self._node((self._below_autograd, attributes), *tensors)
        with enable_single_level_autograd_function():  # one level of torch.func's transforms
            return self._node((self._other_levels, attributes), *tensors)

    def _other_levels(self, *args: Any) -> Any:
        # A node turns gradients off while it computes, and with them those of the other levels.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            return self._below_autograd(*args)
