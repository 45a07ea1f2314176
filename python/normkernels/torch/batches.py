"""What an operator does with a batch of torch.vmap's: rules as torch.library.register_vmap's.

A rule gets the operator, whose call takes tensors without the batch, and returns the outputs and
the dimension of the batch in each. Each element has the bits of its own call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def one_by_one(op: Any, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
    """Any operator: as many calls as there are elements."""
    size = info.batch_size

    def element(a: Any, dim: Any, i: int) -> Any:
        if dim is None or not isinstance(a, Tensor):
            return a
        return a.select(dim, i) if size else a.sum(dim)  # zeros, for the shapes of the outputs

    calls = [
        op(*(element(a, dim, i) for a, dim in zip(args, in_dims, strict=True)))
        for i in range(max(size, 1))
    ]
    if isinstance(calls[0], Tensor):
        return torch.stack(calls)[:size], 0
    outputs = tuple(torch.stack(results)[:size] for results in zip(*calls, strict=True))
    return outputs, (0,) * len(outputs)


def as_channels(op: Any, info: Any, in_dims: Sequence[int | None], *args: Any) -> Any:
    """Norms of images and their backwards: one call, whose channels are those of all elements.

    Channels, or groups of them, have statistics and parameters of their own, and so have gradients.
    """
    size = info.batch_size
    if size == 0:
        return one_by_one(op, info, in_dims, *args)

    def folded(a: Any, dim: int | None) -> Any:
        if not isinstance(a, Tensor):
            return a
        channels = min(a.dim() - (dim is not None), 2) - 1  # 1 of (N, C, ...), 0 of (C,)
        a = a.unsqueeze(channels) if dim is None else a.movedim(dim, channels)
        sizes = [size if d == channels else -1 for d in range(a.dim())]
        return a.expand(sizes).flatten(channels, channels + 1)

    *groups, epsilon = args[op.tensors :]
    tensors = (folded(a, dim) for a, dim in zip(args[: op.tensors], in_dims, strict=False))
    outputs = op(*tensors, *(size * count for count in groups), epsilon)
    dims = [min(o.dim(), 2) - 1 for o in outputs]
    unfolded = (o.unflatten(d, (size, -1)) for o, d in zip(outputs, dims, strict=True))
    return tuple(unfolded), tuple(dims)
