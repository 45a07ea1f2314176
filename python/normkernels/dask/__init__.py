"""The norms of normkernels on dask arrays: lazily, in parallel, on more data than memory holds.

    import dask.array as da
    import normkernels.dask as nkd

    x = da.from_zarr("volume.zarr")  # (N, C, D, H, W), in chunks of any size
    nkd.instance_norm(x).to_zarr("normalised.zarr")

Functions have the names, arguments, results and errors of NumPy's in normkernels, without `out` and
`num_threads`. What holds for every one of them:

Chunks    of the result are those of x. Where each holds all that is normalised together (whole
          rows, planes or groups), a chunk is one task that calls the NumPy function, and the bits
          are that function's. Where chunks cut it, a chunk is two tasks and a share of a tree: its
          moments, which are merged in a tree of neighbours, then its result. Windows of LRN reach
          into the chunks beside theirs.
Exact     as docs/numerics.md promises of the NumPy functions, however x is cut.
Bits      are the same for the same chunks, on threads, on processes, on a cluster, in whatever
          order tasks run.
Memory    a worker holds what its running tasks need. For that, chunks of x are read once for the
          moments and once more for the result, where nothing but reading and operations on single
          chunks is done twice for it; `recompute=` True or False says so for any x.
Threads   A task runs on the one thread that Dask gives it: Dask is what runs tasks side by side.
Lazy      Shapes, chunks and dtypes are known, and errors raised, before anything is computed.
          Chunks of unknown size are refused along dimensions whose extents matter.

float32, float64, float16 and ml_dtypes.bfloat16. Importing this package imports dask.array.
"""

from __future__ import annotations

from .images import group_norm, group_norm_backward, instance_norm, instance_norm_backward
from .response import local_response_norm, local_response_norm_backward
from .rows import layer_norm, layer_norm_backward, rms_norm, rms_norm_backward

__all__ = [
    "group_norm",
    "group_norm_backward",
    "instance_norm",
    "instance_norm_backward",
    "layer_norm",
    "layer_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "rms_norm",
    "rms_norm_backward",
]
