"""A case: one operator, direction, shape, layout and arguments, and the data to run it on."""

import contextlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

with contextlib.suppress(ImportError):
    import ml_dtypes  # noqa: F401  (makes bfloat16 a dtype of NumPy's)

EPSILON = 1e-5
ALPHA = 1.0  # the usual 1e-4 would hide a missing term from the check of the answers
BIAS = 1.0
ROWS = ("layer norm", "RMS norm", "add layer norm", "add RMS norm")  # over the last axis
WITHOUT_MEAN = ("RMS norm", "add RMS norm")  # and without a beta
HALVES = ("float16", "bfloat16")

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Form:
    """A norm as one formula for all: x in this shape, and the axes whose elements go together."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    parameter_shape: tuple[int, ...]  # of gamma and beta: 1 where they are the same

    @property
    def parameter_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, extent in enumerate(self.parameter_shape) if extent == 1)


@dataclass(frozen=True)
class Case:
    """One operator, direction and shape. Norms of rows normalise the last axis."""

    operator: str
    direction: str
    shape: tuple[int, ...]
    order: str = ""
    size: int = 5
    beta: float = 0.75
    epsilon: float = EPSILON
    groups: int = 0

    @property
    def name(self) -> str:
        words = [self.operator, self.direction, self.order.lower(), str(self.shape)]
        if self.groups:
            words.append(f"groups {self.groups}")
        if self.operator == "LRN" and (self.size, self.beta) != (5, 0.75):
            words.append(f"size {self.size} beta {self.beta:g}")
        if self.epsilon != EPSILON:
            words.append(f"epsilon {self.epsilon:g}")
        return " ".join(word for word in words if word)

    @property
    def adds(self) -> bool:
        return self.operator.startswith("add ")

    @property
    def centred(self) -> bool:
        return self.operator not in WITHOUT_MEAN

    @property
    def channel_axis(self) -> int:
        return 1 if self.order == "NCHW" else len(self.shape) - 1

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        return tuple(i for i in range(1, len(self.shape)) if i != self.channel_axis)

    @property
    def parameters(self) -> int:
        """The length of gamma and beta."""
        return self.shape[-1 if self.operator in ROWS else self.channel_axis]

    @property
    def statistics(self) -> int:
        """The groups of channels of an image: instance norm's are of one channel."""
        return self.groups or self.parameters

    @property
    def extent(self) -> int:
        """How many elements a norm takes together: the length of a row, the size of a plane."""
        form = self.form
        return math.prod(form.shape[axis] for axis in form.axes)

    @property
    def form(self) -> Form:
        """Of a norm. Group norm's splits the channels' axis."""
        if self.operator in ROWS:
            ones = (1,) * (len(self.shape) - 1)
            return Form(self.shape, (len(self.shape) - 1,), (*ones, self.parameters))
        split = (self.groups, self.parameters // self.groups) if self.groups else (self.parameters,)
        spatial = tuple(self.shape[axis] for axis in self.spatial_axes)
        ones = (1,) * len(spatial)
        if self.order == "NCHW":
            shape = (self.shape[0], *split, *spatial)
            return Form(shape, tuple(range(2, len(shape))), (1, *split, *ones))
        shape = (self.shape[0], *spatial, *split)
        own = (len(shape) - 1,) if self.groups else ()
        return Form(shape, (*range(1, 1 + len(spatial)), *own), (1, *ones, *split))

    @property
    def arrays(self) -> tuple[int, int]:
        """How many arrays of x's size are read and written: x, dy or a residual; y, dx, a total."""
        if self.adds:
            return 2, 2
        return (1, 1) if self.direction == "forward" else (2, 1)

    def moved(self, itemsize: int) -> int:
        """The bytes that must move."""
        return sum(self.arrays) * math.prod(self.shape) * itemsize


@dataclass(frozen=True)
class Data:
    """The inputs of a case. gamma and beta are instance norm's scale and bias; LRN has none."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array

    @property
    def residual(self) -> Array:
        """What is added to x: an add norm has no direction that needs dy."""
        return self.dy


def make_data(case: Case, dtype: str, offset: float = 0) -> Data:
    """Normal data of standard deviation 1; x about `offset`."""
    rng = np.random.default_rng(20240531)
    drawn = "float32" if dtype in HALVES else dtype

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.dtype(drawn))

    gamma = 1 + np.asarray(0.1, drawn) * normal(case.parameters)
    x = normal(*case.shape) + np.asarray(offset, drawn)
    arrays = (x, normal(*case.shape), gamma, normal(case.parameters))
    return Data(*(array.astype(dtype, copy=False) for array in arrays))


def formula_arrays(case: Case, data: Data) -> list[Array]:
    """x, gamma and, of what is centred, beta, in the shapes of the formula."""
    form = case.form
    parameters = (data.gamma, data.beta) if case.centred else (data.gamma,)
    return [data.x.reshape(form.shape), *(p.reshape(form.parameter_shape) for p in parameters)]
