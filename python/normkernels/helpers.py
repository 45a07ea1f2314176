"""The steps that Caffe2's instance norm is made of, and two of layer norm's.

For code that was written against them. Layer norm's other steps are in `normkernels` itself, where
the names of these two mean the whole operator. All steps compute y = x * scale + bias and the raw
sums of dy * x, as the originals define them, and therefore lose digits when the mean is large
against the deviation; `normkernels.instance_norm` and `normkernels.layer_norm` do not.

Instance norm, forward:   compute_moments -> compute_fused_params -> instance_norm_forward
Instance norm, backward:  compute_internal_gradients -> instance_norm_backward, gamma_beta_backward
Layer norm, forward:      normkernels.compute_sigma_and_fused_params -> layer_norm_forward
Layer norm, backward:     normkernels.compute_internal_gradients -> compute_fused_params (also
                          there) -> layer_norm_backward, normkernels.gamma_beta_backward
"""

from __future__ import annotations

from . import _core  # noqa: F401 - which makes the module below, maybe now, in another thread
from ._core.helpers import (
    compute_fused_params,
    compute_internal_gradients,
    compute_moments,
    gamma_beta_backward,
    instance_norm_backward,
    instance_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from ._types import GammaBetaGradient, InstanceFusedParams, InstanceInternalGradients, Moments

__all__ = [
    "GammaBetaGradient",
    "InstanceFusedParams",
    "InstanceInternalGradients",
    "Moments",
    "compute_fused_params",
    "compute_internal_gradients",
    "compute_moments",
    "gamma_beta_backward",
    "instance_norm_backward",
    "instance_norm_forward",
    "layer_norm_backward",
    "layer_norm_forward",
]
