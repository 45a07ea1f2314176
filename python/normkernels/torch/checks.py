"""What functions of tensors refuse before a kernel sees it: what is no tensor here, and shapes.

Dtypes and numbers are left to the functions on arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def check_tensors(function: str, given: Iterable[tuple[str, Any]]) -> None:
    """All that are there are tensors, in the CPU's memory or all of them on meta.

    For errors, and for calls that are slow anyway: it costs as much as a small kernel.
    """
    first: tuple[str, torch.device] | None = None
    for name, t in given:
        if t is None:
            continue
        if not isinstance(t, Tensor):
            raise TypeError(f"{function}: {name} is a {type(t).__name__}, must be a tensor")
        if t.is_nested:
            raise TypeError(
                f"{function}: {name} is a nested tensor, must be an ordinary one: the values() of "
                "a jagged one, or to_padded_tensor()"
            )
        first = first or (name, t.device)
        kind, expected = t.device.type, first[1].type
        if kind not in {"cpu", "meta"}:
            raise ValueError(f"{function}: {name} is on {t.device}, must be on the CPU")
        if kind != expected:
            where = "the CPU" if expected == "cpu" else expected
            raise ValueError(f"{function}: {name} is on {kind}, must be on {where}, as {first[0]}")


def check_rank(function: str, x: Tensor, least: int) -> None:
    """The input has dimensions enough, and the shape of an ordinary tensor."""
    try:
        if x.dim() >= least and not x.is_nested:
            return
    except AttributeError:
        pass  # Of what is no tensor; contextlib.suppress costs 1 us
    check_tensors(function, (("input", x),))
    raise ValueError(
        f"{function}: input has shape {tuple(x.shape)}, must have {least} dimensions or more"
    )


def check_parameters(function: str, shape: Sequence[int], **parameters: Tensor | None) -> None:
    """All that are there have this shape."""
    for name, p in parameters.items():
        if p is not None and getattr(p, "shape", None) != shape:
            check_tensors(function, ((name, p),))
            raise ValueError(
                f"{function}: {name} has shape {tuple(p.shape)}, must have {tuple(shape)}"
            )


def check_residual(function: str, x: Tensor, residual: Tensor) -> None:
    """Of the shape of x, and both are tensors."""
    try:
        same = residual.shape == x.shape and isinstance(residual, Tensor)
    except (AttributeError, RuntimeError):  # RuntimeError: of a nested tensor
        same = False
    if not same:
        check_tensors(function, (("x", x), ("residual", residual)))
        raise ValueError(
            f"{function}: residual has shape {tuple(residual.shape)}, must have that of x, "
            f"{tuple(x.shape)}"
        )


# The last dimensions, by their number: made once, because that takes as long as the check.
LAST = [list(range(-rank, 0)) for rank in range(65)]


def normalized_axes(
    function: str,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None = None,
    add_bias: Tensor | None = None,
) -> list[int]:
    """The last dimensions of x, which must be normalized_shape, as that of parameters."""
    try:
        shape, sizes = tuple(normalized_shape), x.shape
        axes = LAST[len(shape)]
        good = bool(axes)
        for axis in axes:  # A slice of torch.Size would cost 0.5 us
            n = shape[axis]
            if n != sizes[axis] or isinstance(n, float):
                good = False
        for p in (weight, bias, add_bias):
            if p is not None and p.shape != shape:
                good = False
    except (AttributeError, IndexError, RuntimeError, TypeError):
        good = False
    if not good:
        parameters = {"weight": weight, "bias": bias, "add_bias": add_bias}
        _refuse_rows(function, x, normalized_shape, parameters)
    return axes


def _refuse_rows(
    function: str, x: Tensor, normalized_shape: Sequence[int], parameters: dict[str, Tensor | None]
) -> None:
    """Raises the error of what normalized_axes has found."""
    first = "x" if function.startswith("add_") else "input"
    check_tensors(function, ((first, x), *parameters.items()))
    try:
        shape = tuple(normalized_shape)
        if any(isinstance(n, float) for n in shape):
            raise TypeError
    except TypeError:
        raise TypeError(
            f"{function}: normalized_shape is {normalized_shape!r}, must be a tuple of integers"
        ) from None
    if not shape:
        raise ValueError(f"{function}: normalized_shape is empty, must have 1 dimension or more")
    if x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{function}: {first} has shape {tuple(x.shape)}, must end with normalized_shape "
            f"{shape}"
        )
    check_parameters(function, shape, **parameters)
