"""TensorShape: an input or output without its data, and what operators require of their inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .definition import shown

# Of an array: NumPy's own limits.
MAX_RANK = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
MAX_EXTENT = np.iinfo(np.intp).max


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype are of numbers: also of those that other packages bring."""
    return np.can_cast(dtype, np.clongdouble)


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of this dtype are of numbers that are not whole by their type."""
    whole = np.can_cast(dtype, np.int64) or np.can_cast(dtype, np.uint64)
    return is_number(dtype) and not whole


@dataclass(frozen=True, init=False)
class TensorShape:
    """Shape and dtype. `require_*` raise errors that name the operator and the input.

    shape     Extents, all >= 0: no more of them, and no larger, than an array can have.
    dtype     Of native byte order, whichever was given.
    operator  The operator that the tensor goes into, and
    label     what the messages call it; neither counts in comparisons.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    operator: str = field(compare=False, repr=False)
    label: str = field(compare=False, repr=False)

    def __init__(
        self, shape: Sequence[int], dtype: DTypeLike, operator: str = "", label: str = ""
    ) -> None:
        """See the class."""
        object.__setattr__(self, "operator", operator)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "shape", self._extents(shape))
        object.__setattr__(self, "dtype", self._native(dtype))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def require_number(self) -> None:
        """TypeError unless the dtype is one of numbers."""
        if not is_number(self.dtype):
            raise TypeError(f"{self._what()} has dtype {self.dtype}, must be one of numbers")

    def require_floating(self) -> None:
        """TypeError unless the dtype is a floating-point one."""
        if not is_floating(self.dtype):
            raise TypeError(f"{self._what()} has dtype {self.dtype}, must be a floating-point one")

    @property
    def is_half(self) -> bool:
        """Whether the dtype is float16 or bfloat16, which is no type of NumPy's own."""
        return self.dtype.name in {"float16", "bfloat16"}

    @property
    def statistics_dtype(self) -> np.dtype[Any]:
        """The dtype of the statistics of such an array."""
        return np.dtype(np.float32) if self.is_half else self.dtype

    def require_float(self) -> None:
        """TypeError unless the dtype is one that the kernels take."""
        if self.dtype not in (np.float32, np.float64) and not self.is_half:
            raise TypeError(
                f"{self._what()} has dtype {self.dtype}, must be float32, float64, float16 or "
                "bfloat16"
            )

    def require_parameter_of(self, x: TensorShape) -> None:
        """TypeError unless the dtype is x's, or float32 beside a half type."""
        if not (x.is_half and self.dtype == np.float32):
            self.require_dtype_of(x)

    def require_statistic_of(self, x: TensorShape) -> None:
        """TypeError unless the dtype is that of x's statistics."""
        if not x.is_half:
            self.require_dtype_of(x)
        elif self.dtype != x.statistics_dtype:
            raise TypeError(
                f"{self._what()} has dtype {self.dtype}, must be {x.statistics_dtype}, as "
                f"{x.label} is {x.dtype}"
            )

    def require_dtype_of(self, other: TensorShape) -> None:
        """TypeError unless both have one dtype."""
        if self.dtype != other.dtype:
            raise TypeError(
                f"{self._what()} has dtype {self.dtype}, must be {other.dtype}, "
                f"the dtype of {other.label}"
            )

    def require_rank(self, least: int, most: int | None = None) -> None:
        """ValueError unless the rank is `least` or more, and no more than `most`."""
        rank = len(self.shape)
        if rank < least or (most is not None and rank > most):
            allowed = f"{least} or more" if most is None else f"{least} to {most}"
            raise self._error(f"has rank {rank} (shape {self.shape}), must have rank {allowed}")

    def require_shape(self, shape: tuple[int, ...], meaning: str) -> None:
        """ValueError unless the shape is this one, which is what `meaning` says."""
        if self.shape != shape:
            raise self._error(f"has shape {self.shape}, must have {shape}, {meaning}")

    def require_size(self, size: int, meaning: str) -> None:
        """ValueError unless there are so many elements, in any shape."""
        if self.size != size:
            raise self._error(
                f"has {self.size} elements (shape {self.shape}), must have {size}, {meaning}"
            )

    def require_broadcast_to(self, other: TensorShape) -> None:
        """ValueError unless it has the other's shape when broadcast to it, and it alone is."""
        extents = zip(reversed(self.shape), reversed(other.shape), strict=False)
        if len(self.shape) > len(other.shape) or any(n not in (1, m) for n, m in extents):
            raise self._error(
                f"has shape {self.shape}, must have one that can be broadcast to {other.shape}, "
                f"the shape of {other.label}"
            )

    def require_like(self, other: TensorShape) -> None:
        """TypeError or ValueError unless dtype and shape are those of the other."""
        self.require_dtype_of(other)
        self.require_shape(other.shape, f"the shape of {other.label}")

    def canonical_axis_index(self, axis: int) -> int:
        """The axis counted from the first. ValueError unless -rank <= axis < rank."""
        rank = len(self.shape)
        if not -rank <= axis < rank:
            raise ValueError(
                f"{self.operator}: argument axis is {shown(axis)}, must be between {-rank} and "
                f"{rank - 1} for {self.label} of rank {rank}"
            )
        return axis % rank

    def _extents(self, shape: Any) -> tuple[int, ...]:
        try:
            extents = tuple(index(extent) for extent in shape)
        except TypeError as error:
            message = f"{self._what()} has shape {shown(shape)}, must be a sequence of integers"
            raise TypeError(message) from error
        if len(extents) > MAX_RANK:
            raise self._error(f"has rank {len(extents)}, must have rank {MAX_RANK} or less")
        for extent in extents:
            if extent > MAX_EXTENT:
                raise self._error(f"has an extent of {shown(extent)}, must be {MAX_EXTENT} or less")
            if extent < -MAX_EXTENT:
                raise self._error(f"has an extent of {shown(extent)}, must be 0 or more")
        if any(extent < 0 for extent in extents):
            raise self._error(f"has shape {extents}, must have no negative extent")
        return extents

    def _native(self, dtype: Any) -> np.dtype[Any]:
        if dtype is None:  # float64 to NumPy, which nobody means here
            raise TypeError(f"{self._what()} has dtype None, must have one")
        try:
            native: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self._what()} has dtype {shown(dtype)}: {error}") from error
        return native

    def _what(self) -> str:
        return f"{self.operator}: {self.label}" if self.operator else "TensorShape"

    def _error(self, complaint: str) -> ValueError:
        return ValueError(f"{self._what()} {complaint}")
