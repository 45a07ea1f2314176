"""A good call of every operator, to be spoiled in one argument."""

import normkernels as nk
import numpy as np
import pytest
from conftest import Guarded, normal, same_bits

F32, F64 = np.float32, np.float64
SHAPE = (2, 3, 4)
X, DY = normal(SHAPE, F32), normal(SHAPE, F32, seed=1)
ROW, CHANNEL = normal((3, 4), F32, seed=2), normal((3,), F32, seed=3)
PER_ROW, PER_PLANE = np.full((2, 1), 2, F32), np.full((2, 3), 2, F32)
LRN = {"alpha": 0.5, "beta": 0.75, "bias": 1.0, "order": "NCHW"}

# The arguments that go by position, in order, and the others.
CALLS = {
    "layer_norm": ({"x": X, "gamma": ROW, "beta": ROW}, {"axis": 1, "epsilon": 1e-5}),
    "layer_norm_backward": (
        {"dy": DY, "x": X, "mean": PER_ROW, "sigma": PER_ROW, "gamma": ROW},
        {"axis": 1},
    ),
    "rms_norm": ({"x": X, "gamma": ROW, "beta": ROW}, {"axis": 1, "epsilon": 1e-5}),
    "rms_norm_backward": (
        {"dy": DY, "x": X, "rstd": PER_ROW, "gamma": ROW},
        {"axis": 1, "epsilon": 1e-5},
    ),
    "add_layer_norm": (
        {"x": X, "residual": DY, "gamma": ROW, "beta": ROW},
        {"bias": ROW, "axis": 1, "epsilon": 1e-5},
    ),
    "add_rms_norm": (
        {"x": X, "residual": DY, "gamma": ROW, "beta": ROW},
        {"bias": ROW, "axis": 1, "epsilon": 1e-5},
    ),
    "instance_norm": (
        {"x": X, "scale": CHANNEL, "bias": CHANNEL},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "instance_norm_backward": (
        {"dy": DY, "x": X, "scale": CHANNEL, "mean": PER_PLANE, "inv_std": PER_PLANE},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "instance_norm_with_gradient": (
        {"x": X, "scale": CHANNEL, "bias": CHANNEL, "dy": DY},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "group_norm": (
        {"x": X, "groups": 1, "scale": CHANNEL, "bias": CHANNEL},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "group_norm_backward": (
        {"dy": DY, "x": X, "groups": 1, "scale": CHANNEL, "mean": PER_ROW, "inv_std": PER_ROW},
        {"order": "NCHW", "epsilon": 1e-5},
    ),
    "local_response_norm": ({"x": X, "size": 3}, LRN),
    "local_response_norm_backward": (
        {"dy": DY, "x": X, "size": 3},
        {"y": X, "scale": abs(X), **LRN},
    ),
}
GRADIENT = "instance_norm_with_gradient"  # which has two large outputs
MAY_BE_OUT = {
    "layer_norm": {"x"},
    "layer_norm_backward": {"dy", "x"},
    "rms_norm": {"x"},
    "rms_norm_backward": {"dy", "x"},
    "add_layer_norm": {"x", "residual"},
    "add_rms_norm": {"x", "residual"},
    "instance_norm": {"x"},
    "instance_norm_backward": {"dy", "x"},
    "group_norm": {"x"},
    "group_norm_backward": {"dy", "x"},
    "local_response_norm": set(),
    "local_response_norm_backward": set(),
}
ARGUMENTS = {name: {**positional, **keywords} for name, (positional, keywords) in CALLS.items()}


def call(name, **changes):
    """The good call with some arguments changed; its outputs as a list."""
    positional, keywords = CALLS[name]
    positional = [changes.pop(key, value) for key, value in positional.items()]
    result = getattr(nk, name)(*positional, **{**keywords, **changes})
    return [result] if isinstance(result, np.ndarray) else list(result)


def all_same(actual, expected):
    return all(same_bits(a, b) for a, b in zip(actual, expected, strict=True))


def that_take(argument):
    return [name for name in CALLS if argument in ARGUMENTS[name]]


EVERY_ARRAY = [
    (name, argument)
    for name, arguments in ARGUMENTS.items()
    for argument, value in arguments.items()
    if isinstance(value, np.ndarray)
]
each_operator = pytest.mark.parametrize("name", CALLS)
each_array = pytest.mark.parametrize(("name", "argument"), EVERY_ARRAY)
each_array_but_x = pytest.mark.parametrize(
    ("name", "argument"), [pair for pair in EVERY_ARRAY if pair[1] != "x"]
)


def assert_refused(name, error, argument, was="", **changes):
    """`error`, with a message that names the function and the argument, and nothing written."""
    guarded = [Guarded(SHAPE, F32) for _ in range(2)]
    out = tuple(g.array for g in guarded) if name == GRADIENT else guarded[0].array
    with pytest.raises(error, match=rf"^{name}: {argument} .*{was}.*, must "):
        call(name, out=out, **changes)
    assert all(g.is_untouched() for g in guarded)
