"""torch, eager. NHWC arrays are its channels-last tensors, without a copy."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant

ALL = [True, True, True]  # output_mask: dx, dgamma and dbeta


class Torch(Library):
    version = torch.__version__

    def __init__(self, threads: int, dtype: str) -> None:
        super().__init__(threads, dtype)
        torch.set_grad_enabled(False)

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        torch.set_num_threads(self.threads)  # a setting of the process, not of a call
        yield from super().variants(case, data)

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, gamma, beta = map(torch.from_numpy, (data.x, data.gamma, data.beta))
        shape = case.shape[-1:]
        yield Variant(
            "layer_norm", lambda: F.layer_norm(x, shape, gamma, beta, case.epsilon), reader(case)
        )

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy, gamma, beta = map(torch.from_numpy, (data.x, data.dy, data.gamma, data.beta))
        shape = case.shape[-1:]
        _, mean, rstd = torch.native_layer_norm(x, shape, gamma, beta, case.epsilon)
        backward = torch.ops.aten.native_layer_norm_backward
        yield Variant(
            "native_layer_norm_backward",
            lambda: backward(dy, x, shape, mean, rstd, gamma, beta, ALL),
            reader(case),
        )

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, gamma, beta = (
            channels_first(case, data.x),
            *map(torch.from_numpy, (data.gamma, data.beta)),
        )
        groups = case.parameters
        yield Variant(
            "group_norm", lambda: F.group_norm(x, groups, gamma, beta, case.epsilon), reader(case)
        )
        if np.prod(x.shape[2:]) > 1:  # what torch's own check asks for
            yield Variant(
                "instance_norm",
                lambda: F.instance_norm(x, weight=gamma, bias=beta, eps=case.epsilon),
                reader(case),
            )

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy = channels_first(case, data.x), channels_first(case, data.dy)
        gamma, beta = torch.from_numpy(data.gamma), torch.from_numpy(data.beta)
        images, groups = x.shape[:2]
        extent = int(np.prod(x.shape[2:]))
        sizes = (images, groups, extent, groups)
        _, mean, rstd = torch.native_group_norm(x, gamma, beta, *sizes, case.epsilon)
        backward = torch.ops.aten.native_group_norm_backward
        yield Variant(
            "native_group_norm_backward",
            lambda: backward(dy, x, mean, rstd, gamma, *sizes, ALL),
            reader(case),
        )
        if extent > 1:
            leaves = [tensor.detach().requires_grad_() for tensor in (x, gamma, beta)]
            with torch.enable_grad():
                y = F.instance_norm(leaves[0], weight=leaves[1], bias=leaves[2], eps=case.epsilon)
            yield Variant("instance_norm autograd", gradient(y, leaves, dy), reader(case))

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x = channels_first(case, data.x)
        yield Variant("local_response_norm", lambda: lrn(case, x), reader(case))

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy = channels_first(case, data.x), channels_first(case, data.dy)
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            y = lrn(case, leaf)
        yield Variant("local_response_norm autograd", gradient(y, [leaf], dy), reader(case))


def channels_first(case: Case, x: Array) -> torch.Tensor:
    tensor = torch.from_numpy(x)
    return tensor if case.order == "NCHW" else tensor.movedim(-1, 1)


def lrn(case: Case, x: torch.Tensor) -> torch.Tensor:
    """A window of even size reaches one channel further down in torch, not up as in ONNX."""
    even = case.size % 2 == 0
    y = F.local_response_norm(x.flip(1) if even else x, case.size, ALPHA, case.beta, BIAS)
    return y.flip(1) if even else y


def gradient(y: torch.Tensor, leaves: list[torch.Tensor], dy: torch.Tensor) -> Callable[[], Any]:
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def reader(case: Case) -> Callable[[Any], tuple[Array, ...]]:
    """Tensors as arrays, with the first one back in the layout of x."""

    def read(result: Any) -> tuple[Array, ...]:
        first, *rest = (result,) if isinstance(result, torch.Tensor) else result
        if case.order == "NHWC":
            first = first.movedim(1, -1)
        return tuple(tensor.numpy() for tensor in (first, *rest))

    return read
