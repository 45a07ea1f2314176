"""The functions that write into a tensor of the caller's, without a gradient.

They write as NumPy, of which torch's graph knows nothing, so they tell it: a gradient that has
saved the tensor must not be computed from what it holds afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from .arrays import array, in_order, order_of
from .threads import EXECUTORS


def check_out(function: str, x: Tensor, out: Tensor, *others: Tensor | None) -> None:
    """A tensor to write into: like the input, and nothing that gradients are wanted of."""
    if (out.shape, out.dtype) != (x.shape, x.dtype):
        raise ValueError(
            f"{function}: out has shape {tuple(out.shape)} and dtype {out.dtype}, must have "
            f"{tuple(x.shape)} and {x.dtype}"
        )
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, out, *others)
    ):
        raise RuntimeError(
            f"{function}: out was given, must not be where a tensor requires grad: there is no "
            "gradient through out"
        )


def into(
    out: Tensor, function: Callable[..., Any], x: Tensor, *parameters: Tensor | None, **options: Any
) -> Tensor:
    """The result of a function of rows in `out`."""
    check_out(function.__name__, x, out, *parameters)
    threads = EXECUTORS[torch.get_num_threads()]
    with torch.no_grad():
        arrays = [None if t is None else array(t) for t in (x, *parameters)]
        function(*arrays, out=array(out), num_threads=threads, **options)
    increment_version(out)
    return out


def into_image(
    out: Tensor, function: Callable[..., Any], x: Tensor, *rest: Any, **options: Any
) -> Tensor:
    """The result of a function of images in `out`."""
    *groups, weight, bias = rest
    check_out(function.__name__, x, out, weight, bias)
    order = order_of(x)
    with torch.no_grad():
        function(
            in_order(array(x), order),
            *groups,
            None if weight is None else array(weight),
            None if bias is None else array(bias),
            out=in_order(array(out), order),
            order=order,
            num_threads=EXECUTORS[torch.get_num_threads()],
            **options,
        )
    increment_version(out)
    return out
