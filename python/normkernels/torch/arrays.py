"""Tensors as arrays and arrays as tensors, of one memory.

NumPy has no bfloat16 of its own and torch knows nothing of ml_dtypes', so that type passes as
int16 between them.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from .._types import Array

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class NoArrayError(TypeError):
    """A tensor is none of ordinary memory: meta, sparse, with a negative bit, of a transform."""


def array(t: Tensor) -> Array:
    """The array in the memory of a tensor, whatever its strides."""
    try:
        if t.dtype is torch.bfloat16:
            return t.view(torch.int16).numpy().view(BFLOAT16)
        return t.numpy()
    except (TypeError, RuntimeError) as error:
        # Asked afterwards: every look at a tensor costs a tenth of this function
        if t.requires_grad and torch.is_grad_enabled():
            return array(t.detach())
        raise NoArrayError(str(error)) from error


def optional_array(t: Tensor | None) -> Array | None:
    """The array of a parameter that may be absent."""
    return None if t is None else array(t)


def tensor(a: Array) -> Tensor:
    """The tensor in the memory of an array."""
    if a.dtype == BFLOAT16:
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)


def result_like(x: Tensor) -> Tensor | None:
    """The tensor that a result of x's shape is to be written into; None: the function makes it.

    A tensor that is not contiguous has the strides that torch gives one "like x", which are what
    torch.compile expects. NumPy's array of a contiguous one is the same and costs less.
    """
    return None if x.is_contiguous() else torch.empty_like(x)


def channels_are_last(x: Tensor) -> bool:
    """Whether the channels of (N, C, ...) are neighbours in memory, as in torch.channels_last."""
    return x.dim() > 2 and x.stride(1) == 1 and not x.is_contiguous()


def with_channels_last(a: Array) -> Array:
    """(N, C, ...) seen as (N, ..., C)."""
    return a.transpose(0, *range(2, a.ndim), 1)


def statistics_dtype(x: Tensor) -> torch.dtype:
    """The type of means and deviations of x: float32 for half types."""
    return torch.float64 if x.dtype is torch.float64 else torch.float32
