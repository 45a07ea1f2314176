"""What a blob holds: an array of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shapes import is_number


def numbers(what: str, value: object) -> NDArray[Any]:
    """The value as an array of numbers in native byte order, which may be the value itself.

    TypeError if NumPy makes an array of something else of it, or if it has a mask, which NumPy
    would drop; ValueError if it makes none, as of lists of several lengths from 1.24 on. `what`
    begins the message. What an object of somebody else's raises while it is converted comes out as
    it is.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what} is a masked array, must be one without a mask: see filled()")
    try:
        array = np.asarray(value)
    except ValueError as error:
        if isinstance(value, (list, tuple)):  # of several lengths
            raise ValueError(f"{what} is no array: {error}") from error
        raise
    if not is_number(array.dtype):
        raise TypeError(f"{what} is {_described(value)}, must be an array of numbers")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _described(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of dtype {value.dtype}"
    return f"of type {type(value).__name__}"
