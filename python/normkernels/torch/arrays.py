"""The functions on arrays as functions on tensors, and what of a tensor decides how one is called.

Where torch lends tensors to C code (2.10 and later), the compiled module reads their memory itself
and makes new ones. Elsewhere, and for a tensor that is not lent, tensors become arrays here, and
arrays tensors. NumPy has no bfloat16 of its own and torch knows nothing of ml_dtypes', so that type
passes as int16 between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from .. import _core
from .._types import Array

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def array(t: Tensor) -> Array:
    """The array in the memory of a tensor, whatever its strides.

    TypeError or RuntimeError, torch's own, for a tensor of no ordinary memory (meta, sparse, with a
    negative bit, of a transform), and for one that requires a gradient where gradients are on.
    """
    if t.dtype is torch.bfloat16:
        return t.view(torch.int16).numpy().view(BFLOAT16)
    return t.numpy()


def tensor(a: Array) -> Tensor:
    """The tensor in the memory of an array."""
    if a.dtype == BFLOAT16:
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


# What is a tensor in the CPU's memory and nothing else, if it has a dtype of ours.
ORDINARY_TYPES = (Tensor, torch.nn.Parameter)
FUNCTIONS = _core.tensor_functions(ORDINARY_TYPES, array, tensor, BFLOAT16)


def on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function on arrays as one on tensors, whose results are tensors.

    Errors for a tensor that has no array are those of array(). Gradients must be off. Results that
    are not given by `out` are contiguous, whatever x is.
    """
    return FUNCTIONS[function.__name__]


def result_like(x: Tensor) -> Tensor | None:
    """The tensor that a result of x's shape is to be written into; None: the function makes it.

    A tensor that is not contiguous has the strides that torch gives one "like x", which are what
    torch.compile expects. What the function makes is contiguous and costs less.
    """
    return None if x.is_contiguous() else torch.empty_like(x)


def order_of(x: Tensor) -> str:
    """NHWC if the channels of (N, C, ...) are neighbours in memory, as in torch.channels_last."""
    last = not x.is_contiguous() and x.dim() > 2 and x.stride(1) == 1
    return "NHWC" if last else "NCHW"


def in_order(x: Tensor, order: str) -> Tensor:
    """(N, C, ...) as a tensor of that order."""
    return x if order == "NCHW" else x.movedim(1, -1)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type of means and deviations of x: float32 for half types."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32
