"""Types of the compiled module; shapes, formulas and errors are in its functions' docstrings."""

from collections.abc import Callable
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from normkernels._core import helpers as helpers
from normkernels._core.images import (
    group_norm as group_norm,
    group_norm_backward as group_norm_backward,
    instance_norm as instance_norm,
    instance_norm_backward as instance_norm_backward,
    instance_norm_with_gradient as instance_norm_with_gradient,
    local_response_norm as local_response_norm,
    local_response_norm_backward as local_response_norm_backward,
)
from normkernels._core.rows import (
    add_layer_norm as add_layer_norm,
    add_rms_norm as add_rms_norm,
    layer_norm as layer_norm,
    layer_norm_backward as layer_norm_backward,
    merge_moments as merge_moments,
    moments as moments,
    rms_norm as rms_norm,
    rms_norm_backward as rms_norm_backward,
)
from normkernels._types import (
    ArrayLike,
    FusedParams,
    GammaBetaGradient,
    InternalGradients,
    Isa,
    SigmaAndFusedParams,
)

__version__: str

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
def isas() -> tuple[Isa, ...]: ...
def active_isa() -> str: ...
def force_isa(name: str | None) -> None: ...
def num_threads() -> int: ...
def num_threads_set() -> int: ...
def openmp_executor(
    parallel: SupportsIndex, thread_number: SupportsIndex, num_threads: SupportsIndex
) -> object: ...
def tensor_functions(
    types: tuple[type, ...],
    array: Callable[[Any], Any],
    tensor: Callable[[Any], Any],
    bfloat16: np.dtype[Any],
) -> dict[str, Callable[..., Any]]: ...
def set_num_threads(n: SupportsIndex) -> None: ...
