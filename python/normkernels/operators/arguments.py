"""Arguments that more than one operator has."""

from __future__ import annotations

from .schema import FINITE_NOT_NEGATIVE, Argument, Check

EPSILON = Argument(float, 1e-5, "Is added to the variance.", FINITE_NOT_NEGATIVE)

ORDER = Argument(
    str,
    "NCHW",
    "Where the channels are: at index 1, or last.",
    Check("'NCHW' or 'NHWC'", lambda value: value in ("NCHW", "nchw", "NHWC", "nhwc")),
)


def channels(shape: tuple[int, ...], order: str) -> int:
    """The extent of the channels of a tensor in that order."""
    return shape[1] if order.upper() == "NCHW" else shape[-1]
