"""TensorShape: an input or output without its data, and what operators require of their inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True, init=False)
class TensorShape:
    """Shape and dtype. `require_*` raise errors that name the operator and the input.

    shape     Extents, all >= 0.
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
        object.__setattr__(self, "shape", tuple(index(extent) for extent in shape))
        object.__setattr__(self, "dtype", np.dtype(dtype).newbyteorder("="))
        object.__setattr__(self, "operator", operator)
        object.__setattr__(self, "label", label)
        if any(extent < 0 for extent in self.shape):
            raise self._error(f"has shape {self.shape}, must have no negative extent")

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def require_float(self) -> None:
        """TypeError unless the dtype is float32 or float64."""
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"{self._what()} has dtype {self.dtype}, must be float32 or float64")

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

    def require_like(self, other: TensorShape) -> None:
        """TypeError or ValueError unless dtype and shape are those of the other."""
        self.require_dtype_of(other)
        self.require_shape(other.shape, f"the shape of {other.label}")

    def canonical_axis_index(self, axis: int) -> int:
        """The axis counted from the first. ValueError unless -rank <= axis < rank."""
        rank = len(self.shape)
        if not -rank <= axis < rank:
            raise ValueError(
                f"{self.operator}: argument axis is {axis}, must be between {-rank} and {rank - 1} "
                f"for {self.label} of rank {rank}"
            )
        return axis % rank

    def _what(self) -> str:
        return f"{self.operator}: {self.label}" if self.operator else "TensorShape"

    def _error(self, complaint: str) -> ValueError:
        return ValueError(f"{self._what()} {complaint}")
