"""The named results of the functions, and the types of their arguments."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray


class SupportsArray(Protocol):
    """What NumPy can view: its own arrays, and objects with `__array__`."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class SupportsDLPack(Protocol):
    """A CPU array that speaks DLPack."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


# Of bfloat16, which is no type of NumPy's own, type checkers know Any.
Array: TypeAlias = NDArray[np.floating[Any]]
Floating = TypeVar("Floating", bound=np.floating[Any])
ArrayLike: TypeAlias = Union[SupportsArray, SupportsDLPack, "memoryview[Any]"]
Order: TypeAlias = Literal["NCHW", "nchw"] | Literal["NHWC", "nhwc"]


# What `moments` returns: normkernels_row_moments of the C header.
moments_dtype = np.dtype(
    [
        ("count", np.int64),
        ("scale", np.float64),
        ("mean", np.float64),
        ("mean_low", np.float64),
        ("m2", np.float64),
        ("m2_low", np.float64),
    ],
    align=True,
)


class Isa(NamedTuple):
    """An instruction set that this build holds kernels for."""

    name: str
    supported: bool


class LayerNorm(NamedTuple):
    """y, and the statistics of its rows: sigma = sqrt(var + epsilon)."""

    y: Array
    mean: Array
    sigma: Array


class LayerNormGradient(NamedTuple):
    """The gradients of layer norm's inputs."""

    dx: Array
    dgamma: Array
    dbeta: Array


class RmsNorm(NamedTuple):
    """y, and the statistic of its rows: rstd = 1 / sqrt(mean(x**2) + epsilon)."""

    y: Array
    rstd: Array


class RmsNormGradient(NamedTuple):
    """The gradients of RMS norm's inputs."""

    dx: Array
    dgamma: Array
    dbeta: Array


class AddNorm(NamedTuple):
    """A norm of a sum, and the sum."""

    y: Array
    total: Array


class AddLayerNorm(NamedTuple):
    """Layer norm of a sum, the sum, and the statistics of its rows."""

    y: Array
    total: Array
    mean: Array
    sigma: Array


class AddRmsNorm(NamedTuple):
    """RMS norm of a sum, the sum, and the statistic of its rows."""

    y: Array
    total: Array
    rstd: Array


class InstanceNorm(NamedTuple):
    """y, and the statistics (N, C) of its planes: inv_std = 1 / sqrt(var + epsilon)."""

    y: Array
    mean: Array
    inv_std: Array


class InstanceNormGradient(NamedTuple):
    """The gradients of instance norm's inputs."""

    dx: Array
    dscale: Array
    dbias: Array


class InstanceNormWithGradient(NamedTuple):
    """Instance norm's output and the gradients of its inputs."""

    y: Array
    dx: Array
    dscale: Array
    dbias: Array


class GroupNorm(NamedTuple):
    """y, and the statistics (N, groups) of its groups: inv_std = 1 / sqrt(var + epsilon)."""

    y: Array
    mean: Array
    inv_std: Array


class GroupNormGradient(NamedTuple):
    """The gradients of group norm's inputs."""

    dx: Array
    dscale: Array
    dbias: Array


class LocalResponseNorm(NamedTuple):
    """y, and what it was divided by the power of: y = x * scale**-beta."""

    y: Array
    scale: Array


class SigmaAndFusedParams(NamedTuple):
    """Layer norm as y = x * scale + bias."""

    sigma: Array
    scale: Array
    bias: Array


class InternalGradients(NamedTuple):
    """Layer norm's dy * x, and its sums over every row."""

    dyx: Array
    ds: Array
    db: Array


class FusedParams(NamedTuple):
    """Layer norm's gradient as dx = dy * gamma * rstd + x * x_scale + bias."""

    rstd: Array
    x_scale: Array
    bias: Array
    g_scale: Array


class GammaBetaGradient(NamedTuple):
    """The gradients of gamma and beta."""

    dgamma: Array
    dbeta: Array


class Moments(NamedTuple):
    """The statistics (N, C) of instance norm: rstd = 1 / sqrt(var + epsilon)."""

    mean: Array
    rstd: Array


class InstanceFusedParams(NamedTuple):
    """Instance norm as y = x * scale + bias, both (N, C)."""

    scale: Array
    bias: Array


class InstanceInternalGradients(NamedTuple):
    """The sums (N, C) of dy * x and of dy over every plane."""

    ds: Array
    db: Array
