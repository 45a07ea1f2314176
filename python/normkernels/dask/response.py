"""Local response norm of dask arrays: windows reach across chunks of channels.

Each chunk of channels is computed with the channels of its neighbours that its windows reach, in
one task, and nothing of these is kept. A window is summed by itself, so that the bits are those of
the whole array, however it is cut.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex

import dask.array as da

import normkernels as nk
from normkernels import LocalResponseNorm
from normkernels._types import Order

from .arguments import check_array, same_shape, stand_in
from .graph import chunkwise, several
from .images import channel_of, shape_to_ask


def local_response_norm(
    x: da.Array,
    size: SupportsIndex,
    *,
    alpha: SupportsFloat = 1e-4,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
    return_scale: bool = False,
) -> Any:
    """normkernels.local_response_norm of a dask array, whose chunks y has.

        y[k] = x[k] * scale[k]**-beta
        scale[k] = bias + alpha / size * sum of x[j]**2 over the window of k

    x  A dask array; its chunks may cut channels, and be shorter than a window.

    All else, and the bits, are those of normkernels.local_response_norm. Returns y, or
    LocalResponseNorm(y, scale), of dask arrays. Errors are raised by this call, not by what
    computes; ValueError, too, for chunks of channels of unknown size.
    """
    name = "local_response_norm"
    check_array(name, "x", x)
    options: dict[str, Any] = {"alpha": alpha, "beta": beta, "bias": bias, "order": order}
    nk.local_response_norm(stand_in(x, shape_to_ask(name, x, order)), size, **options)
    others = operator.index(size) - 1
    kernel = partial(nk.local_response_norm, size=operator.index(size), return_scale=return_scale)
    kernel = partial(kernel, num_threads=1, **options)
    parts = 1 + bool(return_scale)
    channel = channel_of(x, order)
    results = _windows(kernel, [x], channel, reach=(others // 2, others - others // 2), parts=parts)
    return LocalResponseNorm(*results) if return_scale else results[0]


def local_response_norm_backward(
    dy: da.Array,
    x: da.Array,
    size: SupportsIndex,
    *,
    y: da.Array | None = None,
    scale: da.Array | None = None,
    alpha: SupportsFloat = 1e-4,
    beta: SupportsFloat = 0.75,
    bias: SupportsFloat = 1.0,
    order: Order = "NCHW",
) -> da.Array:
    """normkernels.local_response_norm_backward of dask arrays; dx has the chunks of x.

        dx[k] = dy[k] * scale[k]**-beta
                - 2 * alpha * beta / size * x[k] * sum of dy[j] * x[j] * scale[j]**(-beta - 1)

    dy, x, y, scale  Dask arrays of one shape; y and scale may be None.

    All else, and the bits, are those of normkernels.local_response_norm_backward; errors as in
    local_response_norm.
    """
    name = "local_response_norm_backward"
    arrays = {"x": x, "dy": dy, "y": y, "scale": scale}
    for which, a in arrays.items():
        if a is not None or which in ("x", "dy"):
            check_array(name, which, a)
    aligned = [None if a is None else same_shape(name, k, a, x) for k, a in arrays.items()]
    shape = shape_to_ask(name, x, order)
    options: dict[str, Any] = {"alpha": alpha, "beta": beta, "bias": bias, "order": order}
    stand_ins: dict[str, Any] = {k: stand_in(a, shape) for k, a in arrays.items()}
    nk.local_response_norm_backward(**stand_ins, size=size, **options)
    # What is in a window of a window: dx needs scale there, which is computed again without one.
    others = operator.index(size) - 1
    kernel = partial(_gradient_of_chunk, size=operator.index(size), options=options)
    (dx,) = _windows(kernel, aligned, channel_of(x, order), reach=(others, others))
    return dx


def _gradient_of_chunk(
    x: Any, dy: Any, y: Any, scale: Any, *, size: int, options: dict[str, Any]
) -> Any:
    return nk.local_response_norm_backward(dy, x, size, y=y, scale=scale, num_threads=1, **options)


def _windows(
    kernel: Callable[..., Any],
    arrays: Sequence[da.Array | None],
    channel: int,
    *,
    reach: tuple[int, int],
    parts: int = 1,
) -> list[da.Array]:
    """What `kernel` makes of each chunk with `reach` channels before and after it."""
    x = arrays[0]
    assert x is not None
    if x.numblocks[channel] == 1:
        return _computed(kernel, arrays, [x.chunks] * parts, x.dtype)
    stops = list(itertools.accumulate(x.chunks[channel]))
    pieces = []
    for start, stop in zip([0, *stops], stops, strict=False):
        first, last = max(0, start - reach[0]), min(stops[-1], stop + reach[1])
        to = (slice(None),) * channel
        reached = (*to, slice(first, last))
        with_neighbours = [None if a is None else a[reached].rechunk({channel: -1}) for a in arrays]
        own = partial(_own, kernel=kernel, at=(*to, slice(start - first, stop - first)))
        chunks = tuple((stop - start,) if axis == channel else c for axis, c in enumerate(x.chunks))
        pieces.append(_computed(own, with_neighbours, [chunks] * parts, x.dtype))
    # Pieces are of one x: where sizes are unknown, they are equal.
    return [
        da.concatenate(piece, axis=channel, allow_unknown_chunksizes=True)
        for piece in zip(*pieces, strict=True)
    ]


def _computed(
    kernel: Callable[..., Any], arrays: Sequence[da.Array | None], chunks: list[Any], dtype: Any
) -> list[da.Array]:
    if len(chunks) == 1:
        return [chunkwise(kernel, arrays, chunks[0], dtype)]
    return several(kernel, arrays, [(c, dtype) for c in chunks])


def _own(*arrays: Any, kernel: Callable[..., Any], at: tuple[slice, ...]) -> Any:
    """Without what is the neighbours'. Copied, so that their memory is free."""
    result = kernel(*arrays)
    if isinstance(result, tuple):
        return tuple(a[at].copy() for a in result)
    return result[at].copy()
