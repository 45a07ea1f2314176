"""The shapes that the functions with torch's signatures refuse, in torch's names.

What is left to the operators, devices and dtypes, they refuse in the names of normkernels'.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


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
    shape = tuple(normalized_shape)
    rank = len(shape)
    if rank == 0:
        raise ValueError(f"{function}: normalized_shape is empty, must have 1 dimension or more")
    if x.shape[-rank:] != shape:
        raise ValueError(
            f"{function}: input has shape {tuple(x.shape)}, must end with normalized_shape {shape}"
        )
    for p in (weight, bias, add_bias):
        if p is not None and p.shape != shape:
            check_parameters(function, shape, weight=weight, bias=bias, add_bias=add_bias)
    return LAST[rank]
