"""torch.compile of torch's functional operators, for each shape on its own; gradients by autograd.

The first call of each case runs the C++ compiler, for one to three seconds. The number of threads
is part of what it writes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._functorch.config
import torch.nn.functional as F  # noqa: N812  (its usual name)

from ..case import Case, Data
from . import Variant
from .with_torch import Torch, channels_first, gradient, lrn, reader

torch._functorch.config.donated_buffer = False  # or the gradient cannot be taken again


class TorchCompile(Torch):
    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        torch._dynamo.reset()  # what other cases have compiled, and the count of it
        yield from super().variants(case, data)

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield forward("layer_norm", case, layer_norm(case), inputs(case, data))

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        dy = torch.from_numpy(data.dy)
        yield backward("layer_norm", case, layer_norm(case), inputs(case, data), dy)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield forward("group_norm", case, group_norm(case), inputs(case, data))

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        dy = channels_first(case, data.dy)
        yield backward("group_norm", case, group_norm(case), inputs(case, data), dy)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x = inputs(case, data)[:1]
        yield forward("local_response_norm", case, lambda x: lrn(case, x), x)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy = inputs(case, data)[:1], channels_first(case, data.dy)
        yield backward("local_response_norm", case, lambda x: lrn(case, x), x, dy)


def inputs(case: Case, data: Data) -> list[torch.Tensor]:
    x = torch.from_numpy(data.x) if case.operator == "layer norm" else channels_first(case, data.x)
    return [x, torch.from_numpy(data.gamma), torch.from_numpy(data.beta)]


def layer_norm(case: Case) -> Callable[..., Any]:
    shape, epsilon = case.shape[-1:], case.epsilon
    return lambda x, gamma, beta: F.layer_norm(x, shape, gamma, beta, epsilon)


def group_norm(case: Case) -> Callable[..., Any]:
    groups, epsilon = case.parameters, case.epsilon
    return lambda x, gamma, beta: F.group_norm(x, groups, gamma, beta, epsilon)


def forward(
    label: str, case: Case, function: Callable[..., Any], tensors: list[torch.Tensor]
) -> Variant:
    fast = torch.compile(function, dynamic=False)
    return Variant(f"compiled {label}", lambda: fast(*tensors), reader(case))


def backward(
    label: str,
    case: Case,
    function: Callable[..., Any],
    tensors: list[torch.Tensor],
    dy: torch.Tensor,
) -> Variant:
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        y = torch.compile(function, dynamic=False)(*leaves)
    return Variant(f"compiled {label} autograd", gradient(y, leaves, dy), reader(case))
