"""Who computes a call: torch's own threads, where they are an OpenMP runtime's.

Two pools on the same processors are in each other's way: torch's workers wait for more in a busy
loop, and whoever comes between two of its operators finds no processor free. So calls from here run
where torch runs its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import torch

from .. import _core


def _addresses() -> tuple[int, int] | None:
    """Of the two functions that torch calls, in the runtime that it calls; None: it has none."""
    if not sys.platform.startswith("linux"):
        return None
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        library = ctypes.CDLL(str(path), mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
        parallel, thread_number = library.GOMP_parallel, library.omp_get_thread_num
    except (OSError, AttributeError):
        return None
    return _address(parallel), _address(thread_number)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class _Executors(dict[int, Any]):
    """From a number of threads to what a function on arrays takes as num_threads."""

    def __init__(self) -> None:
        self.addresses = _addresses()

    def __missing__(self, threads: int) -> Any:
        executor: Any = threads
        if threads > 1 and self.addresses is not None:
            executor = _core.openmp_executor(*self.addresses, threads)
        return self.setdefault(threads, executor)


# Of torch.get_num_threads(); no function around it, which would be a part of every call.
EXECUTORS = _Executors()
