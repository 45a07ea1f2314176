"""What is measured: operators, shapes, layouts and arguments, and the data to run them on."""

import math
from collections.abc import Iterator
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


def both_directions(operator: str, *rows: tuple) -> Iterator[Case]:
    for row in rows:
        for direction in ("forward", "backward"):
            yield Case(operator, direction, *row)


QUICK = (
    *both_directions("layer norm", ((1, 768),), ((128, 384),)),
    *both_directions("instance norm", ((16, 64, 14, 14), "NCHW"), ((16, 14, 14, 64), "NHWC")),
    *both_directions("LRN", ((1, 64, 27, 27), "NCHW"), ((1, 27, 27, 64), "NHWC")),
)

USUAL = (
    *both_directions(
        "layer norm",
        ((1, 768),),
        ((32, 128),),
        ((128, 384),),
        ((512, 768),),
        ((2048, 1024),),
        ((4096, 4096),),
        ((16, 196, 768),),
        ((8, 65536),),
        ((65536, 64),),
        ((1000, 1023),),
    ),
    *both_directions(
        "instance norm",
        ((1, 64, 256, 256), "NCHW"),
        ((8, 64, 56, 56), "NCHW"),
        ((16, 256, 14, 14), "NCHW"),
        ((1, 3, 1080, 1920), "NCHW"),
        ((32, 512, 7, 7), "NCHW"),
        ((1, 32, 64, 64, 64), "NCHW"),
        ((1, 256, 256, 64), "NHWC"),
        ((8, 56, 56, 64), "NHWC"),
        ((16, 14, 14, 256), "NHWC"),
        ((1, 1080, 1920, 3), "NHWC"),
    ),
    *both_directions(
        "LRN",
        ((1, 96, 55, 55), "NCHW"),
        ((16, 96, 55, 55), "NCHW"),
        ((1, 64, 224, 224), "NCHW"),
        ((1, 256, 27, 27), "NCHW"),
        ((8, 192, 28, 28), "NCHW"),
        ((1, 55, 55, 96), "NHWC"),
        ((16, 55, 55, 96), "NHWC"),
        ((1, 224, 224, 64), "NHWC"),
    ),
)

TINY = Case("layer norm", "forward", (1, 768))  # where the call itself is the cost

ODD = (
    *both_directions(
        "layer norm",
        ((65536, 2),),
        ((65536, 3),),
        ((32768, 8),),
        ((16384, 16),),
        ((10007, 31),),
        ((3, 7),),
        ((128, 512),),
        ((997, 997),),
        ((1, 65537),),
        ((1, 4194304),),
    ),
    *both_directions(
        "instance norm",
        ((1, 64, 32, 32), "NCHW"),
        ((1, 1, 512, 512), "NCHW"),
        ((4, 3, 224, 224), "NCHW"),
        ((64, 256, 1, 1), "NCHW"),
        ((5, 37, 41, 43), "NCHW"),
        ((8, 64, 1000), "NCHW"),
        ((1, 32, 32, 64), "NHWC"),
        ((1, 512, 512, 1), "NHWC"),
        ((4, 224, 224, 3), "NHWC"),
        ((64, 1, 1, 256), "NHWC"),
        ((5, 41, 43, 37), "NHWC"),
        ((8, 1000, 64), "NHWC"),
        ((32, 7, 7, 512), "NHWC"),
        ((1, 64, 64, 64, 32), "NHWC"),
    ),
    *both_directions(
        "LRN",
        *(
            (shape, order, size, beta)
            for shape, order in (((1, 96, 55, 55), "NCHW"), ((1, 55, 55, 96), "NHWC"))
            for size, beta in ((3, 0.75), (9, 0.75), (11, 0.75), (5, 0.5), (5, 0.6), (5, 1.0))
        ),
        ((1, 3, 211, 223), "NCHW"),
        ((1, 1, 512, 512), "NCHW"),
        ((1, 32, 16, 28, 28), "NCHW"),
        ((64, 256, 1, 1), "NCHW"),
        ((1, 211, 223, 3), "NHWC"),
        ((1, 16, 28, 28, 32), "NHWC"),
    ),
)
