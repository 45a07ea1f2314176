"""What the functions with torch's signatures refuse, in torch's names.

What is left to the kernels, dtypes above all, they refuse in the names of normkernels' functions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

Names = Sequence[str]
Tensors = Sequence[Tensor | None]


def check_tensors(function: str, names: Names, tensors: Tensors) -> None:
    """All that are there are tensors, in the CPU's memory or without memory."""
    for t in tensors:
        if t is not None and not (isinstance(t, Tensor) and (t.is_cpu or t.is_meta)):
            name = names[[u is t for u in tensors].index(True)]
            if not isinstance(t, Tensor):
                kind = type(t).__name__
                raise TypeError(f"{function}: {name} is of type {kind}, must be a tensor")
            raise ValueError(f"{function}: {name} is on {t.device}, must be on the CPU")


def check_rank(function: str, x: Tensor, least: int) -> None:
    """The input has dimensions enough."""
    if x.dim() < least:
        raise ValueError(
            f"{function}: input has shape {tuple(x.shape)}, must have {least} dimensions or more"
        )


def check_parameters(function: str, shape: Sequence[int], names: Names, tensors: Tensors) -> None:
    """All that are there have this shape."""
    for name, p in zip(names, tensors, strict=True):
        if p is not None and p.shape != shape:
            raise ValueError(
                f"{function}: {name} has shape {tuple(p.shape)}, must have {tuple(shape)}"
            )


def normalized_axes(
    function: str, x: Tensor, normalized_shape: Sequence[int], names: Names, parameters: Tensors
) -> list[int]:
    """The last dimensions of x, which must be normalized_shape, as that of parameters."""
    shape = tuple(normalized_shape)
    rank = len(shape)
    if rank == 0:
        raise ValueError(f"{function}: normalized_shape is empty, must have 1 dimension or more")
    if x.shape[-rank:] != shape:
        raise ValueError(
            f"{function}: input has shape {tuple(x.shape)}, must end with normalized_shape {shape}"
        )
    check_parameters(function, shape, names, parameters)
    return list(range(-rank, 0))
