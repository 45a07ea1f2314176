"""Types of the compiled functions of normkernels.helpers."""

from typing import SupportsFloat, SupportsIndex

from normkernels._types import (
    Array,
    ArrayLike,
    GammaBetaGradient,
    InstanceFusedParams,
    InstanceInternalGradients,
    Moments,
    Order,
)

def compute_moments(
    x: ArrayLike,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    num_threads: SupportsIndex | None = None,
) -> Moments: ...
def compute_fused_params(
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    *,
    num_threads: SupportsIndex | None = None,
) -> InstanceFusedParams: ...
def compute_internal_gradients(
    dy: ArrayLike,
    x: ArrayLike,
    *,
    order: Order = "NCHW",
    num_threads: SupportsIndex | None = None,
) -> InstanceInternalGradients: ...
def instance_norm_forward(
    x: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike,
    *,
    order: Order = "NCHW",
    num_threads: SupportsIndex | None = None,
) -> Array: ...
def instance_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    gamma: ArrayLike,
    ds: ArrayLike,
    db: ArrayLike,
    *,
    order: Order = "NCHW",
    num_threads: SupportsIndex | None = None,
) -> Array: ...
def gamma_beta_backward(
    ds: ArrayLike,
    db: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    *,
    num_threads: SupportsIndex | None = None,
) -> GammaBetaGradient: ...
def layer_norm_forward(
    x: ArrayLike,
    scale: ArrayLike,
    bias: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None,
    dy_scale: ArrayLike,
    x_scale: ArrayLike,
    bias: ArrayLike,
    *,
    axis: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
