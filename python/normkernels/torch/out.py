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

import normkernels as nk

from . import response
from .arrays import in_order, on_tensors, order_of
from .checks import check_tensors
from .names import rename
from .threads import EXECUTORS

# Of a tensor that has no array, of what is no tensor, and of what the functions on arrays refuse.
ERRORS = (AttributeError, RuntimeError, TypeError, ValueError)


def check_out(function: str, x: Tensor, out: Tensor, *others: Tensor | None) -> None:
    """A tensor to write into: like the input, and nothing that gradients are wanted of."""
    if (out.shape, out.dtype) != (x.shape, x.dtype):
        raise ValueError(
            f"{function}: out has shape {tuple(out.shape)} and dtype {out.dtype}, must have "
            f"{tuple(x.shape)} and {x.dtype}"
        )
    recorded = [t for t in (x, out, *others) if t is not None and t.requires_grad]
    if recorded and torch.is_grad_enabled():
        raise RuntimeError(
            f"{function}: out was given, must not be where a tensor requires grad: there is no "
            "gradient through out"
        )


def into(
    out: Tensor,
    function: Callable[..., Any],
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    **options: Any,
) -> Tensor:
    """The result of a function of rows in `out`."""
    name = function.__name__
    try:
        check_out(name, x, out, weight, bias)
        with torch.no_grad():
            on_tensors(function)(
                x,
                weight,
                bias,
                out=out,
                num_threads=EXECUTORS[torch.get_num_threads()],
                **options,
            )
    except ERRORS as error:
        _explain(error, name, input=x, weight=weight, bias=bias, out=out)
        raise
    increment_version(out)
    return out


def into_image(
    out: Tensor, function: Callable[..., Any], x: Tensor, *rest: Any, **options: Any
) -> Tensor:
    """The result of a function of images in `out`."""
    name, (*groups, weight, bias) = function.__name__, rest
    try:
        check_out(name, x, out, weight, bias)
        order = order_of(x)
        with torch.no_grad():
            on_tensors(function)(
                in_order(x, order),
                *groups,
                weight,
                bias,
                out=in_order(out, order),
                order=order,
                num_threads=EXECUTORS[torch.get_num_threads()],
                **options,
            )
    except ERRORS as error:
        _explain(error, name, input=x, weight=weight, bias=bias, out=out)
        raise
    increment_version(out)
    return out


def response_into(out: Tensor, x: Tensor, *attributes: Any) -> Tensor:
    """Local response norm in `out`, of images of any number of dimensions."""
    name = "local_response_norm"
    try:
        check_out(name, x, out)
        seen = x.flatten(2) if x.dim() > 5 else x
        response.run(nk.local_response_norm, (seen,), attributes, out.view(seen.shape))
    except ERRORS as error:
        _explain(error, name, input=x, out=out)
        raise
    increment_version(out)
    return out


def _explain(error: Exception, function: str, **tensors: Any) -> None:
    """Raises a better error, of a tensor that is none here, or gives this one torch's names."""
    check_tensors(function, tensors.items())
    rename(error, function)
