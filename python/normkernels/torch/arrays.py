"""Tensors as arrays and arrays as tensors, of one memory.

NumPy has no bfloat16 of its own and torch knows nothing of ml_dtypes', so that type passes as
int16 between them.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

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


def conversions(*tensors: Tensor | None) -> tuple[Callable[..., Array], Callable[..., Tensor]]:
    """array and tensor for a call on these; the calls beneath them, if none is bfloat16."""
    for t in tensors:
        if t is not None and t.dtype is torch.bfloat16:
            return array, tensor
    return Tensor.numpy, torch.from_numpy


def result_like(x: Tensor) -> Tensor | None:
    """The tensor that a result of x's shape is to be written into; None: the function makes it.

    A tensor that is not contiguous has the strides that torch gives one "like x", which are what
    torch.compile expects. NumPy's array of a contiguous one is the same and costs less.
    """
    return None if x.is_contiguous() else torch.empty_like(x)


def order_of(x: Tensor) -> str:
    """NHWC if the channels of (N, C, ...) are neighbours in memory, as in torch.channels_last."""
    last = not x.is_contiguous() and x.dim() > 2 and x.stride(1) == 1
    return "NHWC" if last else "NCHW"


def in_order(a: Array, order: str) -> Array:
    """(N, C, ...) as an array of that order."""
    return a if order == "NCHW" else a.transpose(0, *range(2, a.ndim), 1)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type of means and deviations of x: float32 for half types."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32
