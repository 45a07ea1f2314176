"""What the functions with torch's signatures refuse, in torch's names.

What is left to the kernels, dtypes above all, they refuse in the names of normkernels' functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

DEVICES = ("cpu", "meta")


def check_tensors(function: str, **tensors: Tensor | None) -> None:
    """All are tensors, in the CPU's memory or without memory."""
    for name, t in tensors.items():
        if t is None:
            continue
        if not isinstance(t, Tensor):
            raise TypeError(f"{function}: {name} is of type {type(t).__name__}, must be a tensor")
        if t.device.type not in DEVICES:
            raise ValueError(f"{function}: {name} is on {t.device}, must be on the CPU")


def check_rank(function: str, x: Tensor, least: int) -> None:
    """The input has dimensions enough."""
    if x.dim() < least:
        raise ValueError(
            f"{function}: input has shape {tuple(x.shape)}, must have {least} dimensions or more"
        )


def check_parameters(function: str, shape: Sequence[int], **parameters: Tensor | None) -> None:
    """All that are there have this shape."""
    for name, p in parameters.items():
        if p is not None and p.shape != shape:
            raise ValueError(
                f"{function}: {name} has shape {tuple(p.shape)}, must have {tuple(shape)}"
            )


def normalized_axes(function: str, x: Tensor, normalized_shape: Sequence[int]) -> list[int]:
    """The last dimensions of x, as many as normalized_shape has, which must be theirs."""
    shape = tuple(normalized_shape)
    rank = len(shape)
    if rank == 0:
        raise ValueError(f"{function}: normalized_shape is empty, must have 1 dimension or more")
    if x.shape[-rank:] != shape:
        raise ValueError(
            f"{function}: input has shape {tuple(x.shape)}, must end with normalized_shape {shape}"
        )
    return list(range(-rank, 0))
