"""What this machine has, and whether it computes rightly: `python -m normkernels`.

Every operator runs once in each direction on float32 input, against its formula in NumPy in
float64. The error of an element is measured in units of eps * scale, where eps is float32's and
scale is the sum of the magnitudes of the terms that the element is made of. The times compare with
the same formula in NumPy in float32.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import normkernels as nk
from normkernels._types import Order

Array = NDArray[np.floating[Any]]

# Each operation that rounds adds half an eps of its result: 8 eps allow for sixteen of them.
LIMIT = 8.0
EPS = float(np.finfo(np.float32).eps)
EPSILON = 1e-5
LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_BIAS = 5, 0.5, 0.75, 1.0
ORDERS: tuple[Order, ...] = ("NCHW", "NHWC")
SECONDS = 0.1  # for each time; on a busy machine the best of few runs says little


class Case(NamedTuple):
    """One operator in one direction: ours, and its formula with the arrays to put into it."""

    name: str
    ours: Callable[[], Sequence[Array]]
    formula: Callable[..., Sequence[Array]]
    inputs: tuple[Array, ...]


def standardise(
    x: Array, axes: tuple[int, ...], magnitude: bool, centred: bool
) -> tuple[Array, Array]:
    """Return xhat, or the magnitude of its terms, and 1 / sigma; all over `axes`."""
    deviation = x - x.mean(axes, keepdims=True) if centred else x
    rstd = 1 / np.sqrt(np.square(deviation).mean(axes, keepdims=True) + EPSILON)
    if magnitude:
        deviation = abs(x) + abs(x).mean(axes, keepdims=True) if centred else abs(x)
    return deviation * rstd, rstd


def norm_forward(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    axes: tuple[int, ...],
    centred: bool = True,
    magnitude: bool = False,
) -> Sequence[Array]:
    """y of the norms, not centred of RMS norm, or the magnitude of its terms."""
    xhat, _ = standardise(x, axes, magnitude, centred)
    if magnitude:
        weight, bias = abs(weight), abs(bias)
    return (xhat * weight + bias,)


def norm_backward(
    dy: Array,
    x: Array,
    weight: Array,
    *,
    axes: tuple[int, ...],
    over: tuple[int, ...],
    centred: bool = True,
    magnitude: bool = False,
) -> Sequence[Array]:
    """dx, and the gradients of weight and bias: sums `over` those dimensions."""
    xhat, rstd = standardise(x, axes, magnitude, centred)
    minus: np.ufunc = np.subtract
    if magnitude:
        dy, weight, minus = abs(dy), abs(weight), np.add
    g = dy * weight
    deviation = minus(g, g.mean(axes, keepdims=True)) if centred else g
    dx = rstd * minus(deviation, xhat * (g * xhat).mean(axes, keepdims=True))
    return dx, (dy * xhat).sum(over), dy.sum(over)


def sum_forward(
    x: Array, residual: Array, weight: Array, bias: Array, *, magnitude: bool = False, **how: Any
) -> Sequence[Array]:
    """y of the norm of a sum, and the sum."""
    total = abs(x) + abs(residual) if magnitude else x + residual
    return (*norm_forward(total, weight, bias, magnitude=magnitude, **how), total)


def window_sum(x: Array, axis: int) -> Array:
    """The sum over the window of every channel."""
    below = (LRN_SIZE - 1) // 2
    x = np.moveaxis(x, axis, 0)
    padded = np.pad(x, [(below, LRN_SIZE - 1 - below)] + [(0, 0)] * (x.ndim - 1))
    total = sum((padded[j : j + len(x)] for j in range(1, LRN_SIZE)), start=padded[: len(x)])
    return np.moveaxis(total, 0, axis)


def lrn_forward(x: Array, *, axis: int, magnitude: bool = False) -> Sequence[Array]:
    """y of local response norm, or the magnitude of its terms."""
    scale = LRN_BIAS + LRN_ALPHA / LRN_SIZE * window_sum(np.square(x), axis)
    y = x * scale**-LRN_BETA
    return (abs(y) if magnitude else y,)


def lrn_backward(dy: Array, x: Array, *, axis: int, magnitude: bool = False) -> Sequence[Array]:
    """dx of local response norm, or the magnitude of its terms (odd windows are symmetric)."""
    minus: np.ufunc = np.subtract
    if magnitude:
        dy, x, minus = abs(dy), abs(x), np.add
    scale = LRN_BIAS + LRN_ALPHA / LRN_SIZE * window_sum(np.square(x), axis)
    neighbours = window_sum(dy * x * scale ** (-LRN_BETA - 1), axis)
    factor = 2 * LRN_ALPHA * LRN_BETA / LRN_SIZE
    return (minus(dy * scale**-LRN_BETA, factor * x * neighbours),)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Float32 numbers of N(0, 1)."""
    return rng.standard_normal(shape, dtype=np.float32)


def row_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Rows of 1024, with gamma and beta."""
    x, dy = normal(rng, 512, 1024), normal(rng, 512, 1024)
    gamma, beta = normal(rng, 1024), normal(rng, 1024)
    _, mean, sigma = nk.layer_norm(x, gamma, beta, return_stats=True)
    yield Case(
        "layer norm, forward",
        lambda: (nk.layer_norm(x, gamma, beta),),
        partial(norm_forward, axes=(1,)),
        (x, gamma, beta),
    )
    yield Case(
        "layer norm, backward",
        lambda: nk.layer_norm_backward(dy, x, mean, sigma, gamma),
        partial(norm_backward, axes=(1,), over=(0,)),
        (dy, x, gamma),
    )
    yield Case(
        "RMS norm, forward",
        lambda: (nk.rms_norm(x, gamma, beta),),
        partial(norm_forward, axes=(1,), centred=False),
        (x, gamma, beta),
    )
    yield Case(
        "RMS norm, backward",
        lambda: nk.rms_norm_backward(dy, x, gamma=gamma),
        partial(norm_backward, axes=(1,), over=(0,), centred=False),
        (dy, x, gamma),
    )
    for name, add, centred in (
        ("layer norm", nk.add_layer_norm, True),
        ("RMS norm", nk.add_rms_norm, False),
    ):
        yield Case(
            f"{name} of a sum, forward",
            partial(add, x, dy, gamma, beta),
            partial(sum_forward, axes=(1,), centred=centred),
            (x, dy, gamma, beta),
        )


def group_norm_cases(rng: np.random.Generator, order: Order) -> Iterator[Case]:
    """Images of 48 x 48 of 8 groups of 4 channels, which have a dimension each in the formula."""
    nchw = order == "NCHW"
    shape = (4, 8, 4, 48, 48) if nchw else (4, 48, 48, 8, 4)
    axes, over = ((2, 3, 4), (0, 3, 4)) if nchw else ((1, 2, 4), (0, 1, 2))
    x, dy = normal(rng, *shape), normal(rng, *shape)
    scale, bias = normal(rng, 8, 4), normal(rng, 8, 4)
    column = (8, 4, 1, 1) if nchw else (8, 4)
    images = (4, 32, 48, 48) if nchw else (4, 48, 48, 32)
    above, below = dy.reshape(images), x.reshape(images)
    _, mean, inv_std = nk.group_norm(below, 8, order=order, return_stats=True)

    def backward() -> Sequence[Array]:
        saved = (scale, mean, inv_std)
        dx, dscale, dbias = nk.group_norm_backward(above, below, 8, *saved, order=order)
        return dx.reshape(shape), dscale.reshape(8, 4), dbias.reshape(8, 4)

    yield Case(
        f"group norm {order}, forward",
        lambda: (nk.group_norm(below, 8, scale, bias, order=order).reshape(shape),),
        partial(norm_forward, axes=axes),
        (x, scale.reshape(column), bias.reshape(column)),
    )
    yield Case(
        f"group norm {order}, backward",
        backward,
        partial(norm_backward, axes=axes, over=over),
        (dy, x, scale.reshape(column)),
    )


def image_cases(rng: np.random.Generator, order: Order) -> Iterator[Case]:
    """Instance norm and local response norm on images of 48 x 48, 32 channels deep."""
    nchw = order == "NCHW"
    shape = (4, 32, 48, 48) if nchw else (4, 48, 48, 32)
    axis, spatial = (1, (2, 3)) if nchw else (3, (1, 2))
    x, dy = normal(rng, *shape), normal(rng, *shape)
    scale, bias = normal(rng, 32), normal(rng, 32)
    column = (32, 1, 1) if nchw else (32,)
    _, mean, inv_std = nk.instance_norm(x, scale, bias, order=order, return_stats=True)
    yield Case(
        f"instance norm {order}, forward",
        lambda: (nk.instance_norm(x, scale, bias, order=order),),
        partial(norm_forward, axes=spatial),
        (x, scale.reshape(column), bias.reshape(column)),
    )
    yield Case(
        f"instance norm {order}, backward",
        lambda: nk.instance_norm_backward(dy, x, scale, mean, inv_std, order=order),
        partial(norm_backward, axes=spatial, over=(0, *spatial)),
        (dy, x, scale.reshape(column)),
    )
    forward = partial(
        nk.local_response_norm, alpha=LRN_ALPHA, beta=LRN_BETA, bias=LRN_BIAS, order=order
    )
    backward = partial(
        nk.local_response_norm_backward, alpha=LRN_ALPHA, beta=LRN_BETA, bias=LRN_BIAS, order=order
    )
    yield Case(
        f"local response norm {order}, forward",
        lambda: (forward(x, LRN_SIZE),),
        partial(lrn_forward, axis=axis),
        (x,),
    )
    yield Case(
        f"local response norm {order}, backward",
        lambda: (backward(dy, x, LRN_SIZE),),
        partial(lrn_backward, axis=axis),
        (dy, x),
    )


def error(case: Case) -> float:
    """The largest error of all outputs, in units of eps * scale; NaN where one is not finite."""
    exact = [a.astype(np.float64) for a in case.inputs]
    outputs = zip(
        case.ours(), case.formula(*exact), case.formula(*exact, magnitude=True), strict=True
    )
    return float(np.max([(abs(y - true) / (EPS * scale)).max() for y, true, scale in outputs]))


def best_ms(function: Callable[[], object]) -> float:
    """The shortest of the runs that fit in SECONDS, in milliseconds."""
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        function()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def print_machine() -> None:
    """Version, instruction sets, threads."""
    active = nk.active_isa()
    sets = [
        f"{isa.name} (active)" if isa.name == active else isa.name
        for isa in nk.isas()
        if isa.supported
    ]
    missing = [isa.name for isa in nk.isas() if not isa.supported]
    print(f"normkernels       {nk.__version__}")
    print(f"instruction sets  {', '.join(sets)}")
    if missing:
        print(f"not here          {', '.join(missing)}")
    print(f"threads           {nk.num_threads()}")


def self_check() -> bool:
    """Print a line for every operator and direction; tell whether all of them passed."""
    rng = np.random.default_rng(0)
    cases = [*row_cases(rng)]
    for order in ORDERS:
        cases += [*image_cases(rng, order), *group_norm_cases(rng, order)]
    row = "{:36}{:>12}{:>9}{:>10}{:>10}  {}"
    print(row.format("float32", "error/eps", "ms", "NumPy ms", "speed-up", ""))
    passed = True
    for case in cases:
        worst = error(case)
        ours = best_ms(case.ours)
        numpy = best_ms(partial(case.formula, *case.inputs))
        right = worst <= LIMIT
        passed &= right
        cells = (f"{worst:.2f}", f"{ours:.3f}", f"{numpy:.3f}", f"{numpy / ours:.1f}x")
        print(row.format(case.name, *cells, "PASS" if right else "FAIL"))
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if all is well."""
    parser = argparse.ArgumentParser(
        prog="python -m normkernels",
        description="Show what this machine has, and check every operator against NumPy.",
    )
    parser.add_argument("--isa", choices=[isa.name for isa in nk.isas()], help="force this one")
    parser.add_argument("--num-threads", type=int, default=0, help="default: automatic")
    parser.add_argument("--include", action="store_true", help="print get_include() and stop")
    parser.add_argument("--cmakedir", action="store_true", help="print get_cmake_dir() and stop")
    options = parser.parse_args(arguments)
    if options.include or options.cmakedir:
        print(nk.get_include() if options.include else nk.get_cmake_dir())
        return 0
    try:
        if options.isa is not None:
            nk.force_isa(options.isa)
        nk.set_num_threads(options.num_threads)
    except ValueError as refusal:
        parser.error(str(refusal))
    print_machine()
    print()
    passed = self_check()
    print()
    verdict = f"every output within {LIMIT:g} eps of the sum of its terms"
    print(f"PASS: {verdict}" if passed else f"FAIL: not {verdict}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
