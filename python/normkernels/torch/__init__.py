"""The norms of normkernels as operators, functions and modules of torch.

    import normkernels.torch as nkt

    y = nkt.layer_norm(x, (768,), weight, bias)  # torch.nn.functional's signature
    norm = nkt.LayerNorm(768)  # torch.nn's module

operators  torch.ops.normkernels.layer_norm and so on, with gradients of any order, forward
           derivatives, vmap, and what torch.compile and torch.export need
functions  with torch's own signatures: normkernels.torch.functional
modules    that take the place of torch's: normkernels.torch.modules
models     replace_norms(model) lets all their norms be these, restore_norms undoes it

float32, float64, bfloat16 and float16 in the CPU's memory. Importing this package imports torch.
"""

from __future__ import annotations

from . import functional as functional
from .functional import (
    add_layer_norm,
    add_rms_norm,
    group_norm,
    instance_norm,
    layer_norm,
    layer_norm_2d,
    local_response_norm,
    rms_norm,
)
from .modules import (
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LayerNorm2d,
    LocalResponseNorm,
    RMSNorm,
)
from .replace import Report, replace_norms, restore_norms

__all__ = [
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LayerNorm2d",
    "LocalResponseNorm",
    "RMSNorm",
    "Report",
    "add_layer_norm",
    "add_rms_norm",
    "functional",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "layer_norm_2d",
    "local_response_norm",
    "replace_norms",
    "restore_norms",
    "rms_norm",
]
