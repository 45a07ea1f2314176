"""Types of the compiled functions that normalise rows; of this name there is only the stub."""

from collections.abc import Sequence
from typing import Literal, SupportsFloat, SupportsIndex, overload

import numpy as np
from normkernels._types import (
    AddLayerNorm,
    AddNorm,
    AddRmsNorm,
    Array,
    ArrayLike,
    Floating,
    LayerNorm,
    LayerNormGradient,
    RmsNorm,
    RmsNormGradient,
)
from numpy.typing import NDArray

@overload
def layer_norm(
    x: NDArray[Floating],
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Floating]: ...
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
def moments(
    x: ArrayLike,
    *,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    num_threads: SupportsIndex | None = None,
) -> NDArray[np.void]: ...
def merge_moments(
    a: ArrayLike,
    b: ArrayLike,
    *,
    out: ArrayLike | None = None,
) -> NDArray[np.void]: ...
@overload
def rms_norm(
    x: NDArray[Floating],
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> NDArray[Floating]: ...
@overload
def rms_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> Array: ...
@overload
def rms_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> RmsNorm: ...
@overload
def rms_norm(
    x: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> Array | RmsNorm: ...
def rms_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    rstd: ArrayLike | None = None,
    gamma: ArrayLike | None = None,
    *,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> RmsNormGradient: ...
@overload
def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> AddNorm: ...
@overload
def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> AddLayerNorm: ...
@overload
def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = 1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> AddNorm | AddLayerNorm: ...
@overload
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: Literal[False] = False,
    num_threads: SupportsIndex | None = None,
) -> AddNorm: ...
@overload
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: Literal[True],
    num_threads: SupportsIndex | None = None,
) -> AddRmsNorm: ...
@overload
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    axis: SupportsIndex = -1,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    epsilon: SupportsFloat = 1e-05,
    out: ArrayLike | None = None,
    total: ArrayLike | None = None,
    return_stats: bool = False,
    num_threads: SupportsIndex | None = None,
) -> AddNorm | AddRmsNorm: ...
