"""torch's float64 functions, of the same arguments: what the words mean, to people who share no code."""

from typing import Any

import numpy as np
import reference
import torch
from torch.nn import functional

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
    windows that are no wider above than below, and a layer norm of an axis and what follows it."""
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
        and (name != "instance_norm" or x.ndim > 2)
    )


def assert_like_torch(call: Call, results: list[np.ndarray]) -> None:
    """Within the bounds of both: torch adds up in float64 itself, one rounding per term and sum."""
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
    rounds = 8 * (16 + call.arguments["x"].size)
    for i, (ours, tensor) in enumerate(zip(results, theirs, strict=False)):
        exact = tensor.numpy().reshape(ours.shape)
        scale = np.full(exact.shape, max(1, float(abs(exact).max(initial=0))))
        reference.assert_within(
            ours, reference.Exact(exact, scale), rounds, f"beside torch, result {i}"
        )
