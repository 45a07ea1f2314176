"""A case: one operator, direction, shape, layout and arguments, and the data to run it on."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-5
ALPHA = 1.0  # the usual 1e-4 would hide a missing term from the check of the answers
BIAS = 1.0

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Case:
    """One operator, direction and shape. Layer norm normalises the last axis."""

    operator: str
    direction: str
    shape: tuple[int, ...]
    order: str = ""
    size: int = 5
    beta: float = 0.75
    epsilon: float = EPSILON

    @property
    def name(self) -> str:
        words = [self.operator, self.direction, self.order.lower(), str(self.shape)]
        if self.operator == "LRN" and (self.size, self.beta) != (5, 0.75):
            words.append(f"size {self.size} beta {self.beta:g}")
        if self.epsilon != EPSILON:
            words.append(f"epsilon {self.epsilon:g}")
        return " ".join(word for word in words if word)

    @property
    def channel_axis(self) -> int:
        return 1 if self.order == "NCHW" else len(self.shape) - 1

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(1, len(self.shape)) if i != self.channel_axis)

    @property
    def parameters(self) -> int:
        """The length of gamma and beta."""
        return self.shape[-1 if self.operator == "layer norm" else self.channel_axis]

    @property
    def extent(self) -> int:
        """How many elements a norm takes together: the length of a row, the size of a plane."""
        if self.operator == "layer norm":
            return self.shape[-1]
        return math.prod(self.shape[axis] for axis in self.spatial_axes)

    def moved(self, itemsize: int) -> int:
        """The bytes that must move: x and y, or x, dy and dx."""
        return (2 if self.direction == "forward" else 3) * math.prod(self.shape) * itemsize

    @property
    def in_nchw(self) -> "Case":
        """The same tensor in NCHW."""
        images, *spatial, channels = self.shape
        return replace(self, order="NCHW", shape=(images, channels, *spatial))

    def per_channel(self, vector: Array) -> Array:
        """A (C,) vector that broadcasts against x."""
        shape = [1] * len(self.shape)
        shape[self.channel_axis] = -1
        return vector.reshape(shape)


@dataclass(frozen=True)
class Data:
    """The inputs of a case. gamma and beta are instance norm's scale and bias; LRN has none."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array


def make_data(case: Case, dtype: str, offset: float = 0) -> Data:
    """Normal data of standard deviation 1; x about `offset`."""
    rng = np.random.default_rng(20240531)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.dtype(dtype))

    gamma = 1 + np.asarray(0.1, dtype) * normal(case.parameters)
    x = normal(*case.shape) + np.asarray(offset, dtype)
    return Data(x, normal(*case.shape), gamma, normal(case.parameters))
