"""What both conversions refuse in the same words."""

from __future__ import annotations

from operator import index

import numpy as np

from ..operators.definition import shown
from ..operators.shapes import MAX_RANK


def checked_rank(
    function: str, operator: str, rank: object, least: int, most: int = MAX_RANK
) -> int | None:
    """The rank of an operator's input as an int, None if it is not given.

    TypeError for what is no integer, ValueError for one that is not within `least` to `most`.
    """
    if rank is None:
        return None
    try:
        if isinstance(rank, bool):
            raise TypeError
        count = index(rank)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        raise TypeError(
            f"{function}: rank is of type {type(rank).__name__}, must be None or an integer"
        ) from None
    if not least <= count <= most:
        raise ValueError(
            f"{function}: rank is {shown(count)}, must be {least} to {most} for {operator}"
        )
    return count


def least_rank(function: str, operator: str, axis: int) -> int:
    """The least rank that has this axis; ValueError if no array can have it."""
    if not -MAX_RANK <= axis < MAX_RANK:
        raise ValueError(
            f"{function}: axis of {operator} is {shown(axis)}, must be {-MAX_RANK} to "
            f"{MAX_RANK - 1}"
        )
    return axis + 1 if axis >= 0 else -axis


def require_float32(function: str, operator: str, argument: str, value: float) -> None:
    """ValueError for what is infinite as an attribute of ONNX, which is float32."""
    with np.errstate(over="ignore"):
        beyond = np.isinf(np.float32(value))
    if beyond:
        raise ValueError(
            f"{function}: argument {argument} of {operator} is {value!r}, must be within the range "
            "of float32, which ONNX's attributes are"
        )
