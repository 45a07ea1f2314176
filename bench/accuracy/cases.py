"""What accuracy is measured on: what no library should get wrong, and what some do."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..common.case import EPSILON, Array, Case, Data, make_data
from ..common.markdown import number

SEED = 20240531
LONG = 2**17  # elements; --quick leaves out what is longer

Shape = tuple[int, ...]
Maker = Callable[[np.random.Generator, Shape], Array]


@dataclass(frozen=True)
class Input:
    """A case and its x, made in float64 and rounded to the dtype. The rest is make_data's."""

    name: str
    case: Case
    make: Maker
    dtype: str = "float32"

    def data(self) -> Data:
        x = self.make(np.random.default_rng(SEED), self.case.shape)
        return replace(make_data(self.case, self.dtype), x=x.astype(self.dtype))


@dataclass(frozen=True)
class Section:
    """A table of the page: inputs of one operator, direction and dtype."""

    title: str
    inputs: list[Input]


@dataclass(frozen=True)
class Panel:
    """A panel of the picture: one output over |mean| / std."""

    title: str
    output: str
    inputs: dict[float, Input]


# ---- x


def normal(mean: float = 0, std: float = 1) -> Maker:
    return lambda rng, shape: mean + std * rng.standard_normal(shape)


def spike(rng: np.random.Generator, shape: Shape) -> Array:
    x = rng.standard_normal(shape)
    x[..., shape[-1] // 3] = 1e30
    return x


def loud_channel(rng: np.random.Generator, shape: Shape) -> Array:
    """In NCHW."""
    x = rng.standard_normal(shape)
    x[:, shape[1] // 2] *= 1e4
    return x


def one_infinity(rng: np.random.Generator, shape: Shape) -> Array:
    x = rng.standard_normal(shape)
    x.flat[x.size // 2] = np.inf
    return x


DISTRIBUTIONS: dict[str, Maker] = {
    "uniform in [0, 1)": lambda rng, shape: rng.random(shape),
    "log-normal": lambda rng, shape: rng.lognormal(size=shape),
    "Cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "N(0, 1) with a spike of 1e30": spike,
    "alternating 1, -1": lambda _, shape: np.resize([1.0, -1.0], shape),
    "constant 10000 / 3": lambda _, shape: np.full(shape, 1e4 / 3),
}


# ---- Cases


def layer(direction: str, shape: Shape = (64, 1024), epsilon: float = EPSILON) -> Case:
    return Case("layer norm", direction, shape, epsilon=epsilon)


def instance(direction: str, order: str) -> Case:
    shape = (2, 32, 28, 28) if order == "NCHW" else (2, 28, 28, 32)
    return Case("instance norm", direction, shape, order)


def lrn(direction: str, order: str = "NCHW", size: int = 5) -> Case:
    shape = (1, 64, 8, 8) if order == "NCHW" else (1, 8, 8, 64)
    return Case("LRN", direction, shape, order, size)


def at_offsets(case: Case, means: Iterable[float], dtype: str = "float32") -> Iterator[Input]:
    """x from N(mean, 1)."""
    order = f", {case.order}" if case.order else ""
    for mean in means:
        yield Input(f"N({number(mean)}, 1){order}", case, normal(mean), dtype)


def in_both_orders(
    direction: str, means: Iterable[float], dtype: str = "float32"
) -> Iterator[Input]:
    for order in ("NCHW", "NHWC"):
        yield from at_offsets(instance(direction, order), means, dtype)


# ---- What the page shows


def layer_norm_inputs() -> Iterator[Input]:
    case = layer("forward")
    yield from at_offsets(case, (0, 1e2, 1e4, 1e6))
    yield Input(
        "40000, 40001, 40002, 40003",
        layer("forward", (1, 4)),
        lambda _, shape: 4e4 + np.arange(4.0).reshape(shape),
    )
    yield Input("N(100, 0.01)", layer("forward", (4, 32768)), normal(1e2, 0.01))
    yield Input("N(1e5, 0.01), epsilon 1e-6", replace(case, epsilon=1e-6), normal(1e5, 0.01))
    yield Input("N(0, 1), one long row", layer("forward", (1, 4194304)), normal())
    yield Input("1e20 N(0, 1)", case, normal(0, 1e20))
    yield Input("1e30 N(0, 1)", case, normal(0, 1e30))
    yield Input("1e-25 N(0, 1), epsilon 0", replace(case, epsilon=0.0), normal(0, 1e-25))
    for name, make in DISTRIBUTIONS.items():
        yield Input(name, case, make)


def lrn_inputs(direction: str) -> Iterator[Input]:
    yield Input("N(0, 1), size 5", lrn(direction), normal())
    yield Input("N(0, 1), size 5, NHWC", lrn(direction, "NHWC"), normal())
    for size in (2, 4):
        yield Input(f"N(0, 1), size {size}", lrn(direction, size=size), normal())
    yield Input("one channel times 1e4, size 5", lrn(direction), loud_channel)
    yield Input("one Inf, size 5", lrn(direction), one_infinity)


def sections(quick: bool) -> list[Section]:
    """The tables. Quick leaves out what is longer than LONG."""
    means, wide_means = (0, 1e2, 1e4, 1e5, 1e6), (0, 1e4, 1e8, 1e12)
    f64 = "float64"
    parts = {
        "Layer norm, forward": layer_norm_inputs(),
        "Instance norm, forward": in_both_orders("forward", means),
        "LRN, forward": lrn_inputs("forward"),
        "Layer norm, backward": at_offsets(layer("backward"), means),
        "Instance norm, backward": in_both_orders("backward", means),
        "LRN, backward": lrn_inputs("backward"),
        "Layer norm, forward, float64": at_offsets(layer("forward"), wide_means, f64),
        "Instance norm, forward, float64": in_both_orders("forward", wide_means, f64),
        "Layer norm, backward, float64": at_offsets(layer("backward"), wide_means, f64),
        "Instance norm, backward, float64": in_both_orders("backward", wide_means, f64),
    }
    return [
        Section(title, [each for each in inputs if not quick or math.prod(each.case.shape) <= LONG])
        for title, inputs in parts.items()
    ]


def panels(quick: bool) -> list[Panel]:
    means = [10 ** (k / 2) for k in range(0, 13, 6 if quick else 1)]
    parts = [
        ("Layer norm, forward: y", "y", layer("forward")),
        ("Instance norm NHWC, forward: y", "y", instance("forward", "NHWC")),
        ("Layer norm, backward: dgamma", "dgamma", layer("backward")),
    ]
    return [
        Panel(title, output, dict(zip(means, at_offsets(case, means), strict=True)))
        for title, output, case in parts
    ]
