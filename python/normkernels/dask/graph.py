"""The shapes of the graphs: one task a chunk, several results of one task, trees of merges."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

from .norm import Chunks, Norm

# Blocks that one task of a tree merges: with 8, an eighth more tasks than there are chunks.
FAN_IN = 8


def empty(dtype: Any, rank: int) -> Any:
    """What Dask takes for the kind of an array's chunks."""
    return np.empty((0,) * rank, dtype)


def chunkwise(
    function: Callable[..., Any], arrays: Sequence[da.Array | None], chunks: Chunks, dtype: Any
) -> da.Array:
    """One task for each chunk of arrays[0]: `function` of the chunks in its place.

    All arrays are of its rank; where one is a single chunk, it is that for all. None is passed on.
    """
    rank = len(chunks)
    index = tuple(range(rank))
    operands = [operand for a in arrays for operand in (a, None if a is None else index)]
    return da.blockwise(
        function,
        index,
        *operands,
        adjust_chunks=dict(enumerate(chunks)),
        align_arrays=False,
        dtype=dtype,
        meta=empty(dtype, rank),
        name=None,
    )


def several(
    function: Callable[..., Any],
    arrays: Sequence[da.Array | None],
    parts: Iterable[tuple[Chunks, Any]],
) -> list[da.Array]:
    """The same where `function` returns a tuple: an array of chunks and dtype for each of it."""
    first = arrays[0]
    assert first is not None
    together = chunkwise(function, arrays, first.chunks, object)
    return [
        chunkwise(operator.itemgetter(i), [together], chunks, dtype)
        for i, (chunks, dtype) in enumerate(parts)
    ]


# ---- Trees


def _in_order(nested: Any) -> list[Any]:
    """The blocks of nested lists, as Dask passes them, in the order of their index."""
    if not isinstance(nested, list):
        return [nested]
    return [block for inner in nested for block in _in_order(inner)]


def fold(merge: Callable[[Any, Any], Any], blocks: Any) -> Any:
    """All blocks merged, neighbours first: an order that depends on their number alone."""
    left = _in_order(blocks)
    while len(left) > 1:
        pairs = [merge(a, b) for a, b in zip(left[::2], left[1::2], strict=False)]
        left = pairs + left[len(left) - len(left) % 2 :]
    return left[0]


def _unchanged(block: Any, axis: Any, keepdims: bool) -> Any:
    return block


def _fold_along(merge: Any, blocks: Any, axis: Any, keepdims: bool) -> Any:
    return fold(merge, blocks)


def tree(
    name: str, merge: Callable[[Any, Any], Any], parts: da.Array, axes: Sequence[int]
) -> da.Array:
    """`parts`, whose chunks have one element along `axes`, merged along these; keys have `name`."""
    if all(parts.numblocks[axis] == 1 for axis in axes):
        return parts
    return da.reduction(
        parts,
        _unchanged,
        partial(_fold_along, merge),
        axis=tuple(axes),
        keepdims=True,
        concatenate=False,
        split_every=FAN_IN,
        dtype=parts.dtype,
        meta=empty(parts.dtype, parts.ndim),
        name=name,
    )


def _merge_channels(merge: Any, block: Any, channel: int, together: int) -> Any:
    """Groups of channels merged; each of them then has what all have."""
    block = np.moveaxis(block, channel, -1)
    groups = block.reshape(*block.shape[:-1], -1, together)
    merged = fold(merge, [groups[..., i] for i in range(together)])
    return np.moveaxis(np.repeat(merged, together, axis=-1), -1, channel)


def merged(name: str, merge: Callable[[Any, Any], Any], parts: da.Array, norm: Norm) -> da.Array:
    """One of what `parts` has for each chunk, for all that is normalised together.

    parts: structured, one element along norm.axes for each chunk. Of groups of channels, each of
    these has a copy.
    """
    whole = tree(name, merge, parts, norm.axes)
    if norm.together == 1:
        return whole
    one_chunk = whole.rechunk({norm.channel: -1})
    of_groups = chunkwise(
        partial(_merge_channels, merge, channel=norm.channel, together=norm.together),
        [one_chunk],
        one_chunk.chunks,
        parts.dtype,
    )
    return of_groups.rechunk({norm.channel: whole.chunks[norm.channel]})
