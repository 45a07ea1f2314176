"""torch, eager. NHWC arrays are its channels-last tensors, without a copy."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from ..case import ALPHA, BIAS, HALVES, ROWS, Array, Case, Data
from . import Library, Variant

ALL = [True, True, True]  # output_mask: dx, dgamma and dbeta


class Formula(NamedTuple):
    """A function of torch's, and the tensors that it takes, x first."""

    label: str
    function: Callable[..., Any]
    tensors: list[torch.Tensor]


class Torch(Library):
    version = torch.__version__
    dtypes = ("float32", "float64", *HALVES)

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        torch.set_grad_enabled(False)

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        torch.set_num_threads(self.threads)  # a setting of the process, not of a call
        yield from super().variants(case, data)

    def formulas(self, case: Case, data: Data) -> list[Formula]:
        return formulas(case, data)

    def norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        for formula in self.formulas(case, data):
            yield self.forward(case, formula)

    add_norm_forward = lrn_forward = norm_forward

    def norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        """By autograd; layer and group norm have functions of their own."""
        dy = channels_first(case, data.dy)
        if case.operator == "layer norm":
            yield layer_norm_backward(case, dy, formulas(case, data)[0].tensors)
        elif case.order:
            yield group_norm_backward(case, dy, formulas(case, data)[0].tensors)
        for formula in formulas(case, data):
            if formula.label not in ("layer_norm", "group_norm"):
                yield self.backward(case, formula, dy)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        (formula,) = formulas(case, data)
        yield self.backward(case, formula, channels_first(case, data.dy))

    def forward(self, case: Case, formula: Formula) -> Variant:
        label, function, tensors = formula
        return Variant(label, lambda: function(*tensors), reader(case))

    def backward(self, case: Case, formula: Formula, dy: torch.Tensor) -> Variant:
        label, function, tensors = formula
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        with torch.enable_grad():
            y = function(*leaves)
        gradient = torch.autograd.grad
        return Variant(
            f"{label} autograd",
            lambda: gradient(y, leaves, dy, retain_graph=True),
            reader(case),
        )


# ---- What a case is in torch


def formulas(case: Case, data: Data, functions: Any = F) -> list[Formula]:
    """The first is what torch has a gradient of its own for, if there is one.

    functions  torch.nn.functional, or what has functions of the same names.
    """
    x, shape, epsilon = channels_first(case, data.x), case.shape[-1:], case.epsilon
    affine = [x, tensor(data.gamma), tensor(data.beta)]
    if case.operator == "LRN":
        return [Formula("local_response_norm", lambda x: lrn(case, x, functions), [x])]
    if case.operator in ROWS:
        norm: Callable[..., Any] = functions.layer_norm if case.centred else functions.rms_norm
        parameters = affine[1:] if case.centred else affine[1:2]
        label = norm.__name__
        if not case.adds:
            return [Formula(label, lambda x, *w: norm(x, shape, *w, eps=epsilon), [x, *parameters])]

        def add(x: torch.Tensor, residual: torch.Tensor, *w: torch.Tensor) -> Any:
            total = x + residual
            return norm(total, shape, *w, eps=epsilon), total

        return [Formula(f"add and {label}", add, [x, tensor(data.residual), *parameters])]
    groups = case.statistics
    group = functions.group_norm
    found = [Formula("group_norm", lambda x, g, b: group(x, groups, g, b, epsilon), affine)]
    if not case.groups and case.extent > 1:  # what torch's own check asks for
        instance = functions.instance_norm
        found.append(
            Formula(
                "instance_norm", lambda x, g, b: instance(x, weight=g, bias=b, eps=epsilon), affine
            )
        )
    return found


def layer_norm_backward(case: Case, dy: torch.Tensor, tensors: list[torch.Tensor]) -> Variant:
    shape, (x, gamma, beta) = case.shape[-1:], tensors
    _, mean, rstd = torch.native_layer_norm(x, shape, gamma, beta, case.epsilon)
    backward = torch.ops.aten.native_layer_norm_backward
    return Variant(
        "native_layer_norm_backward",
        lambda: backward(dy, x, shape, mean, rstd, gamma, beta, ALL),
        reader(case),
    )


def group_norm_backward(case: Case, dy: torch.Tensor, tensors: list[torch.Tensor]) -> Variant:
    x, gamma, beta = tensors
    sizes = (*x.shape[:2], math.prod(x.shape[2:]), case.statistics)
    _, mean, rstd = torch.native_group_norm(x, gamma, beta, *sizes, case.epsilon)
    backward = torch.ops.aten.native_group_norm_backward
    return Variant(
        "native_group_norm_backward",
        lambda: backward(dy, x, mean, rstd, gamma, *sizes, ALL),
        reader(case),
    )


def lrn(case: Case, x: torch.Tensor, functions: Any) -> torch.Tensor:
    """A window of even size reaches one channel further down in torch, not up as in ONNX."""
    even = case.size % 2 == 0
    norm = functions.local_response_norm
    y = norm(x.flip(1) if even else x, case.size, ALPHA, case.beta, BIAS)
    return y.flip(1) if even else y


# ---- Arrays as tensors and back


def tensor(x: Array) -> torch.Tensor:
    if x.dtype.name != "bfloat16":
        return torch.from_numpy(x)
    return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)


def channels_first(case: Case, x: Array) -> torch.Tensor:
    return tensor(x).movedim(-1, 1) if case.order == "NHWC" else tensor(x)


def reader(case: Case) -> Callable[[Any], tuple[Array, ...]]:
    """Tensors as arrays, with the first one back in the layout of x."""

    def array(found: torch.Tensor) -> Array:
        if found.dtype != torch.bfloat16:
            return found.numpy()
        return found.contiguous().view(torch.int16).numpy().view("bfloat16")

    def read(result: Any) -> tuple[Array, ...]:
        first, *rest = (result,) if isinstance(result, torch.Tensor) else result
        if case.order == "NHWC":
            first = first.movedim(1, -1)
        return tuple(map(array, (first, *rest)))

    return read
