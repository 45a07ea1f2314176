"""The graph of a norm: one task a chunk, or two where chunks cut what is normalised together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np

import normkernels as nk

from . import statistics
from .apply import normalised
from .graph import chunkwise, merged, several
from .norm import Norm, ones_along
from .recompute import again


def forward(
    kernel: Callable[..., Any],
    norm: Norm,
    x: da.Array,
    *,
    parameters: Sequence[da.Array | None],
    returned: dict[str, Any],
    recompute: bool | None,
) -> list[da.Array]:
    """y, and the statistics asked for, which keep the dimensions of x.

    kernel      (x, gamma, beta) of a chunk that holds all it needs: a tuple of what is returned
    parameters  gamma and beta, of x's rank
    returned    dtypes by name: y first, then fields of statistics.STATISTICS
    """
    dtype, *others = returned.values()
    if norm.is_whole(x):
        chunks = [x.chunks] + [norm.statistics_chunks(x)] * len(others)
        arrays = [x, *parameters]
        if not others:
            return [chunkwise(kernel, arrays, x.chunks, dtype)]
        return several(kernel, arrays, zip(chunks, returned.values(), strict=True))
    s = statistics_of(norm, again(x, recompute, "moments"))
    y = chunkwise(partial(normalised, dtype=dtype), [x, s, *parameters], x.chunks, dtype)
    return [y, *(_field(s, norm, name, returned[name]) for name in list(returned)[1:])]


def statistics_of(norm: Norm, x: da.Array) -> da.Array:
    """STATISTICS of all that chunks of x have parts of; one element along norm.axes."""
    moments = chunkwise(
        partial(_moments, axes=norm.axes), [x], ones_along(x, norm.axes), nk.moments_dtype
    )
    whole = merged("moments", nk.merge_moments, moments, norm)
    compute = partial(statistics.from_moments, epsilon=norm.epsilon, centred=norm.centred)
    return chunkwise(compute, [whole], whole.chunks, statistics.STATISTICS)


def _moments(x: Any, *, axes: tuple[int, ...]) -> Any:
    # Dask's tasks are what runs side by side.
    return nk.moments(x, axes=axes, num_threads=1)


def _field(s: da.Array, norm: Norm, name: str, dtype: Any) -> da.Array:
    """One of the statistics, as it is returned: once for each group."""
    values = chunkwise(partial(_rounded_field, name=name, dtype=dtype), [s], s.chunks, dtype)
    if norm.together == 1:
        return values
    each = [slice(None)] * s.ndim
    each[norm.channel] = slice(None, None, norm.together)
    return values[tuple(each)]


def _rounded_field(s: Any, *, name: str, dtype: Any) -> Any:
    with np.errstate(over="ignore"):
        return s[name].astype(dtype)
