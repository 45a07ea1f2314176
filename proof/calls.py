"""Random good calls of every NumPy function, and what their results must be."""

import functools
import inspect
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import half
import normkernels as nk
import numpy as np
import reference
from conftest import DTYPES, HALVES, is_half, same_bits
from test_calls import FUNCTIONS
from views import ADDS, LAYER_NORMS, OPERATORS, axes_of, on_copies, parameters

Arguments = dict[str, Any]

# Of Caffe2's steps, and of the moments: the shape that each array must have.
X, ROWS, COLS, NC, C = "x", "rows", "cols", "nc", "c"
STEPS = {
    "compute_sigma_and_fused_params": {"mean": ROWS, "var": ROWS},
    "compute_fused_params": dict.fromkeys(("mean", "sigma", "ds", "db"), ROWS),
    "compute_internal_gradients": {"dy": X, "x": X, "gamma": COLS},
    "gamma_beta_backward": {"dyx": X, "dy": X, "rstd": ROWS, "g_scale": ROWS},
    "moments": {"x": X},
    "merge_moments": {"a": ROWS, "b": ROWS},
    "helpers.compute_moments": {"x": X},
    "helpers.compute_fused_params": {"mean": NC, "rstd": NC, "gamma": C, "beta": C},
    "helpers.compute_internal_gradients": {"dy": X, "x": X},
    "helpers.gamma_beta_backward": dict.fromkeys(("ds", "db", "mean", "rstd"), NC),
    "helpers.instance_norm_forward": {"x": X, "scale": NC, "bias": NC},
    "helpers.instance_norm_backward": {
        **{"dy": X, "x": X, "mean": NC, "rstd": NC, "gamma": C, "ds": NC, "db": NC}
    },
    "helpers.layer_norm_forward": {
        "x": X,
        "scale": ROWS,
        "bias": ROWS,
        "gamma": COLS,
        "beta": COLS,
    },
    "helpers.layer_norm_backward": {
        **{"dy": X, "x": X, "gamma": COLS, "dy_scale": ROWS, "x_scale": ROWS, "bias": ROWS}
    },
}
NAMES = [*OPERATORS, *STEPS]
EXTENTS = [0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33]
LARGEST = 4096  # elements: most of a case is Python
OPTIONAL = ("gamma", "beta", "scale", "bias", "num_threads", "return_stats", "epsilon", "total")


@functools.cache
def signature(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(FUNCTIONS[name]).parameters


class Call(NamedTuple):
    name: str
    arguments: Arguments

    def __call__(self, **changes: Any) -> list[np.ndarray]:
        result = FUNCTIONS[self.name](**{**self.arguments, **changes})
        return [result] if isinstance(result, np.ndarray) else list(result)


def draw(rng: random.Random) -> Call:
    """A good call: dense arrays of one of the dtypes, and plain numbers."""
    name = rng.choice(NAMES)
    shape = _shape(rng, name)
    step = name in STEPS and name not in {"moments", "merge_moments"}
    dtype = np.dtype(rng.choice(DTYPES if step else [*DTYPES, *HALVES]))
    arguments = (
        _step(rng, name, shape, dtype) if name in STEPS else _operator(rng, name, shape, dtype)
    )
    known = signature(name)
    if "num_threads" in known:
        arguments["num_threads"] = rng.choice([None, 1, 2, 3])
    if "epsilon" in known:
        arguments["epsilon"] = rng.choice([0.0, 1e-5, 0.1])
    for key in OPTIONAL:
        if key in arguments and known[key].default is not known[key].empty and rng.random() < 0.3:
            del arguments[key]
    return Call(name, _with_saved(name, arguments))


def _shape(rng: random.Random, name: str) -> tuple[int, ...]:
    least = 3 if name.startswith("local") else 1 if name in LAYER_NORMS or name == "moments" else 2
    shape = [rng.choice(EXTENTS) for _ in range(rng.randint(least, max(4, least)))]
    while np.prod(shape) > LARGEST:
        shape[shape.index(max(shape))] //= 4
    return tuple(shape)


def _values(rng: random.Random, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Positive, as scales and variances are, where the seed says so; x may have an offset."""
    generator = np.random.default_rng(rng.getrandbits(32))
    return (generator.standard_normal(shape) + rng.choice([0, 0, 3])).astype(dtype)


def _operator(rng: random.Random, name: str, shape: tuple[int, ...], dtype: Any) -> Arguments:
    arguments = {key: _values(rng, shape, dtype) for key in OPERATORS[name].large}
    x = arguments["x"]
    saved = rng.random() < 0.5
    if name in LAYER_NORMS:
        axis = rng.randrange(-x.ndim, x.ndim)
        where = {"axis": axis} if rng.random() < 0.5 else {"axes": rng.choice(axes_of(x.ndim))}
        axes = where.get("axes", tuple(range(axis % x.ndim, x.ndim)))
        arguments |= parameters(name, x, axes=axes, saved=saved) | where
    else:
        order = rng.choice(["NCHW", "NHWC"])
        arguments |= parameters(name, x, order=order, saved=saved)
    return arguments


def _with_saved(name: str, arguments: Arguments) -> Arguments:
    """A backward is promised to be right with what the forward saved."""
    if name in STEPS or not name.endswith("backward"):
        return arguments
    forward = name.removesuffix("_backward")
    wanted = signature(forward)
    given = {key: value for key, value in arguments.items() if key in wanted and key != "scale"}
    stats = "return_scale" if forward.startswith("local") else "return_stats"
    result = FUNCTIONS[forward](**given, **{stats: True})._asdict()
    fields = ("y", "scale") if stats == "return_scale" else ("mean", "sigma", "rstd", "inv_std")
    return arguments | {key: result[key] for key in fields if key in arguments and key in result}


def _step(rng: random.Random, name: str, shape: tuple[int, ...], dtype: Any) -> Arguments:
    arguments: Arguments = {}
    known = signature(name)
    axis, channels = rng.randrange(len(shape)), shape[1] if len(shape) > 1 else 1
    if "axis" in known:
        arguments["axis"] = axis
    if "order" in known:
        arguments["order"] = rng.choice(["NCHW", "NHWC"])
        channels = shape[1] if arguments["order"] == "NCHW" else shape[-1]
    if "n" in known:
        arguments["n"] = rng.randrange(9)
    shapes = {
        **{X: shape, ROWS: (*shape[:axis], 1), COLS: shape[axis:]},
        **{NC: (shape[0], channels), C: (channels,)},
    }
    for key, kind in STEPS[name].items():
        values = _values(rng, shapes[kind], dtype)
        arguments[key] = abs(values) if key in {"var", "rstd", "sigma"} else values
        if name == "merge_moments":
            arguments[key] = nk.moments(_values(rng, (*shapes[kind], 5), np.float64), axis=-1)
    return arguments


# ---- What the results must be


def assert_right(call: Call, results: list[np.ndarray]) -> None:
    """Against the reference, and for half types against float32; for named axes against the call on
    transposed copies."""
    name, arguments = call
    if name in STEPS:
        return  # their formulas are those of the operators that are made of them
    x = arguments["x"]
    if "axes" in arguments:
        arrays = {key: arguments[key] for key in OPERATORS[name].large}
        others = {k: v for k, v in arguments.items() if k not in arrays}
        expected = on_copies(name, arrays, **others)
        assert all(map(same_bits, results, expected)), "not as on transposed copies"
    elif is_half(x.dtype):
        half.check(name, arguments)
    elif name in ADDS:
        _assert_sum_right(name, arguments, results)
    elif name.endswith("with_gradient"):
        _assert_exact("instance_norm", arguments, results[:1])
        _assert_exact("instance_norm_backward", arguments, results[1:])
    else:
        _assert_exact(name, arguments, results)


def _assert_sum_right(name: str, arguments: Arguments, results: list[np.ndarray]) -> None:
    terms = {key: arguments.get(key) for key in ("x", "residual", "bias")}
    axis = arguments.get("axis", 1 if name == "add_layer_norm" else -1)
    reference.assert_within(results[1], reference.total(**terms, axis=axis), 1, "total")
    norm = {k: v for k, v in arguments.items() if k not in terms}
    y, *_ = Call(name.removeprefix("add_"), {"x": results[1], **norm})()
    assert same_bits(results[0], y), "not the norm of the total"


def exact(call: Call) -> list[reference.Exact]:
    """What the reference has of it."""
    formula = getattr(reference, call.name)
    known = inspect.signature(formula).parameters
    results = formula(**{k: v for k, v in call.arguments.items() if k in known})
    return [results] if isinstance(results, reference.Exact) else [*results]


def _assert_exact(name: str, arguments: Arguments, results: list[np.ndarray]) -> None:
    for i, (actual, must) in enumerate(zip(results, exact(Call(name, arguments)), strict=False)):
        reference.assert_within(actual, must, _bound(name, arguments, i), f"{name}, result {i}")


def _bound(name: str, arguments: Arguments, i: int) -> float:
    if name == "local_response_norm":
        return reference.LRN_SCALE[arguments["x"].dtype] if i else reference.LRN_FORWARD
    if name.endswith("backward"):
        one_term = reference.BACKWARD + reference.ONE_TERM  # of so few, one may be most of a sum
        return reference.LRN_BACKWARD if name.startswith("local") else one_term
    return reference.STATISTICS if i else reference.FORWARD
