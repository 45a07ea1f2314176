"""Types of the compiled functions that normalise images; of this name there is only the stub."""

from typing import Literal, SupportsFloat, SupportsIndex, overload

from normkernels._types import (
    Array,
    ArrayLike,
    Floating,
    GroupNorm,
    GroupNormGradient,
    InstanceNorm,
    InstanceNormGradient,
    InstanceNormWithGradient,
    LocalResponseNorm,
    Order,
)
from numpy.typing import NDArray

@overload
def instance_norm(
    x: NDArray[Floating],
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Floating]: ...
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
def group_norm(
    x: NDArray[Floating],
    groups: SupportsIndex,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Floating]: ...
@overload
def group_norm(
    x: ArrayLike,
    groups: SupportsIndex,
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
def group_norm(
    x: ArrayLike,
    groups: SupportsIndex,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> GroupNorm: ...
@overload
def group_norm(
    x: ArrayLike,
    groups: SupportsIndex,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> Array | GroupNorm: ...
def group_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    groups: SupportsIndex,
    scale: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    inv_std: ArrayLike | None = None,
    *,
    order: Order = "NCHW",
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> GroupNormGradient: ...
@overload
def local_response_norm(
    x: NDArray[Floating],
    size: SupportsIndex,
    *,
    alpha: SupportsFloat = 0.0001,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    out: ArrayLike | None = None,
    return_scale: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Floating]: ...
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
@overload
def local_response_norm_backward(
    dy: ArrayLike,
    x: NDArray[Floating],
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
) -> NDArray[Floating]: ...
@overload
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
