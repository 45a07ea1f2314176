"""The modules that take the place of torch's: same constructor, parameters, state and repr.

Each is a subclass of the module of its name in torch.nn, so isinstance and code that looks for
that class find it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import functional
from .checks import check_rank

__all__ = [
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LayerNorm2d",
    "LocalResponseNorm",
    "RMSNorm",
]


class LayerNorm(torch.nn.LayerNorm):
    """torch.nn.LayerNorm by normkernels' kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Layer norm over the last dimensions, which are normalized_shape."""
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(torch.nn.RMSNorm):
    """torch.nn.RMSNorm by normkernels' kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """RMS norm over the last dimensions, which are normalized_shape."""
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)


class GroupNorm(torch.nn.GroupNorm):
    """torch.nn.GroupNorm by normkernels' kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Group norm of (N, num_channels, ...)."""
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(torch.nn.LocalResponseNorm):
    """torch.nn.LocalResponseNorm by normkernels' kernels."""

    def forward(self, input: Tensor) -> Tensor:
        """Local response norm of (N, C, ...)."""
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class _InstanceNorm:
    def _apply_instance_norm(self: Any, input: Tensor) -> Tensor:
        # What torch's forward, which checks the dimensions and adds a missing batch, ends with.
        return functional.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm, torch.nn.InstanceNorm1d):
    """torch.nn.InstanceNorm1d by normkernels' kernels."""


class InstanceNorm2d(_InstanceNorm, torch.nn.InstanceNorm2d):
    """torch.nn.InstanceNorm2d by normkernels' kernels."""


class InstanceNorm3d(_InstanceNorm, torch.nn.InstanceNorm3d):
    """torch.nn.InstanceNorm3d by normkernels' kernels."""


class LayerNorm2d(LayerNorm):
    """Layer norm over the channels of (N, C, ...), as in ConvNeXt and SAM.

    Has the parameters of LayerNorm(num_channels): weight and bias, of C elements.
    """

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-6,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """The parameters are created on `device`, with `dtype`."""
        super().__init__(num_channels, eps, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Layer norm of each position of (N, C, ...)."""
        check_rank("LayerNorm2d", input, 2)
        if input.shape[1] != self.normalized_shape[0]:
            raise ValueError(
                f"LayerNorm2d: input has shape {tuple(input.shape)}, must have "
                f"{self.normalized_shape[0]} channels in dimension 1"
            )
        return functional.layer_norm_2d(input, self.weight, self.bias, self.eps)
