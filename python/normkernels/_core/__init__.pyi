"""Types of the compiled module; shapes, formulas and errors are in its functions' docstrings."""

from collections.abc import Sequence
from typing import Literal, SupportsFloat, SupportsIndex, overload

from normkernels._core import helpers as helpers
from normkernels._types import (
    Array,
    ArrayLike,
    FusedParams,
    GammaBetaGradient,
    InstanceNorm,
    InstanceNormGradient,
    InstanceNormWithGradient,
    InternalGradients,
    Isa,
    LayerNorm,
    LayerNormGradient,
    LocalResponseNorm,
    Order,
    SigmaAndFusedParams,
)

__version__: str

@overload
def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
@overload
def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> LayerNorm: ...
@overload
def layer_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> Array | LayerNorm: ...
def layer_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    mean: ArrayLike,
    sigma: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    out: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> LayerNormGradient: ...
def compute_sigma_and_fused_params(
    mean: ArrayLike,
    var: ArrayLike,
    *,
    epsilon: SupportsFloat = 1e-05,
    num_threads: SupportsIndex | None = None,
) -> SigmaAndFusedParams: ...
def compute_internal_gradients(
    dy: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
) -> InternalGradients: ...
def compute_fused_params(
    mean: ArrayLike,
    sigma: ArrayLike,
    ds: ArrayLike,
    db: ArrayLike,
    n: SupportsIndex,
    *,
    num_threads: SupportsIndex | None = None,
) -> FusedParams: ...
def gamma_beta_backward(
    dyx: ArrayLike,
    dy: ArrayLike,
    rstd: ArrayLike,
    g_scale: ArrayLike,
    *,
    axis: SupportsIndex = 1,
    num_threads: SupportsIndex | None = None,
) -> GammaBetaGradient: ...
@overload
def instance_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
@overload
def instance_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> InstanceNorm: ...
@overload
def instance_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> Array | InstanceNorm: ...
def instance_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    inv_std: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> InstanceNormGradient: ...
def instance_norm_with_gradient(
    x: ArrayLike,
    scale: ArrayLike | None,
    bias: ArrayLike | None,
    dy: ArrayLike,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> InstanceNormWithGradient: ...
@overload
def local_response_norm(
    x: ArrayLike,
    size: SupportsIndex,
    *,
    alpha: SupportsFloat = 0.0001,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    out: ArrayLike | None = None,
    return_scale: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
@overload
def local_response_norm(
    x: ArrayLike,
    size: SupportsIndex,
    *,
    alpha: SupportsFloat = 0.0001,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    out: ArrayLike | None = None,
    return_scale: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> LocalResponseNorm: ...
@overload
def local_response_norm(
    x: ArrayLike,
    size: SupportsIndex,
    *,
    alpha: SupportsFloat = 0.0001,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    out: ArrayLike | None = None,
    return_scale: bool = False,
    num_threads: SupportsIndex | None = None,
) -> Array | LocalResponseNorm: ...
def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: SupportsIndex,
    *,
    y: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    alpha: SupportsFloat = 0.0001,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    out: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
def isas() -> tuple[Isa, ...]: ...
def active_isa() -> str: ...
def force_isa(name: str | None) -> None: ...
def num_threads() -> int: ...
def num_threads_set() -> int: ...
def set_num_threads(n: SupportsIndex) -> None: ...
