"""torch's float64 functions of the same arguments, which share no code with ours."""

import math
from typing import Any

import numpy as np
import reference
import torch
from torch.nn import functional

from proof import calls
from proof.calls import Arguments, Call


def _affine_last(x: Any, a: Arguments, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """gamma and beta, which torch wants in the normalised shape."""
    return tuple(None if a.get(k) is None else a[k].reshape(shape) for k in ("gamma", "beta"))


def _layer_norm(a: Arguments) -> Any:
    shape = a["x"].shape[a.get("axis", 1) :]
    gamma, beta = _affine_last(a["x"], a, shape)
    return functional.layer_norm(a["x"], shape, gamma, beta, a.get("epsilon", 1e-5))


def _rms_norm(a: Arguments) -> Any:
    shape = a["x"].shape[a.get("axis", -1) :]
    gamma, beta = _affine_last(a["x"], a, shape)
    y = functional.rms_norm(a["x"], shape, gamma, a.get("epsilon", 1e-5))
    return y if beta is None else y + beta


def _group_norm(a: Arguments) -> Any:
    parameters = a["groups"], a.get("scale"), a.get("bias"), a.get("epsilon", 1e-5)
    return functional.group_norm(a["x"], *parameters)


def _instance_norm(a: Arguments) -> Any:
    return _group_norm({**a, "groups": a["x"].shape[1]})


def _local_response_norm(a: Arguments) -> Any:
    return functional.local_response_norm(a["x"], a["size"], a["alpha"], a.get("beta", 0.75), 1.0)


TWINS = {
    "layer_norm": (_layer_norm, ("gamma", "beta")),
    "rms_norm": (_rms_norm, ("gamma", "beta")),
    "group_norm": (_group_norm, ("scale", "bias")),
    "instance_norm": (_instance_norm, ("scale", "bias")),
    "local_response_norm": (_local_response_norm, ()),
}


def has_twin(call: Call) -> bool:
    """Of what torch has: float64, channels first, no epsilon of 0 (it has NaN for a constant row),
    more than one position, and a layer norm of an axis and what follows it."""
    a = call.arguments
    name = call.name.removesuffix("_backward")
    x = a.get("x")
    return (
        name in TWINS
        and x.dtype == np.float64
        and x.size > 0
        and "axes" not in a
        and a.get("order", "NCHW") == "NCHW"
        and a.get("epsilon", 1e-5) > 0
        and (name.endswith(("layer_norm", "rms_norm")) or np.prod(x.shape[2:]) > 1)
    )


def assert_like_torch(call: Call, results: list[np.ndarray]) -> None:
    """Within the bounds of both: torch adds up in float64 itself, a rounding per term and sum, and
    subtracts the mean after both are divided by sigma, whose square is epsilon or more."""
    name = call.name.removesuffix("_backward")
    function, parameters = TWINS[name]
    tensors = {
        key: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
        for key, value in call.arguments.items()
    }
    wanted = [tensors["x"], *(tensors[k] for k in parameters if tensors.get(k) is not None)]
    if name == call.name:
        theirs = [function(tensors)]
    else:
        for tensor in wanted:
            tensor.requires_grad_()
        theirs = torch.autograd.grad(function(tensors), wanted, tensors["dy"])
    x, epsilon = call.arguments["x"], call.arguments.get("epsilon", 1e-5)
    rounds = 8 * (16 + x.size) * (1 + abs(x).max() / math.sqrt(epsilon))
    for i, (ours, tensor, exact) in enumerate(
        zip(results, theirs, calls.exact(call), strict=False)
    ):
        twin = reference.Exact(tensor.numpy().reshape(ours.shape), exact.scale)
        reference.assert_within(ours, twin, rounds, f"beside torch, result {i}")
