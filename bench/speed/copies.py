"""The copy that an operator is held against: the fastest of memcpy, ordinary and streaming stores.

It moves as many bytes as the operator must: x and y, or x, dy and dx, which makes one and a half
arrays that are read and as many written. (To read two arrays and write their sum is no faster.)
NumPy's copy is memcpy on one thread; the others are in copies.cpp, which is compiled when it is
first needed. Without a compiler NumPy's is the only one.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..common.case import Array, Case
from ..common.libraries import Variant

SOURCE = Path(__file__).with_name("copies.cpp")
ALIGNMENT = 64
WAYS = ("memcpy", "ordinary stores", "streaming stores")
# The loops must stay what they say: no compiler may turn them into memcpy.
LOOPS = ("-fno-builtin", "-fno-tree-loop-distribute-patterns")
FLAGS = ("-std=c++17", "-O3", "-march=native", *LOOPS, "-pthread", "-shared", "-fPIC")


@functools.cache
def copier() -> Callable[..., None] | None:
    """bench_copy of copies.cpp, compiled for this machine, or None where that cannot be done."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "copies.so"
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        copy = ctypes.CDLL(str(library)).bench_copy
    copy.argtypes = (ctypes.c_int, ctypes.c_int) + 2 * (ctypes.c_void_p,) + (ctypes.c_size_t,)
    copy.restype = None
    return copy


def describe_copies() -> str:
    """Which copies there are: for the lines about the machine."""
    if copier() is None:
        return "memcpy alone, on one thread (there is no C++ compiler)"
    return f"the fastest of {', '.join(WAYS[:-1])} and {WAYS[-1]}"


def aligned(count: int, dtype: str) -> Array:
    """Ones, from a multiple of ALIGNMENT on."""
    array = np.ones(count + ALIGNMENT // np.dtype(dtype).itemsize, dtype)
    start = -array.ctypes.data % ALIGNMENT // array.itemsize
    return array[start : start + count]


def copy_variants(case: Case, dtype: str, threads: int) -> Iterator[Variant]:
    """Every way to copy on that many threads, and memcpy on one."""
    itemsize = np.dtype(dtype).itemsize
    count = -(-case.moved(itemsize) // (2 * itemsize))
    source, target = aligned(count, dtype), aligned(count, dtype)
    target[:] = 0

    def read(_: Any) -> tuple[Array, ...]:
        return source, target

    yield Variant("memcpy", lambda: np.copyto(target, source), read)
    copy = copier()
    if copy is None:
        return
    to, origin, size = target.ctypes.data, source.ctypes.data, source.nbytes
    for way, name in enumerate(WAYS):
        if way or threads > 1:
            # The variable of the loop is bound as a default; read keeps the arrays alive.
            yield Variant(name, lambda way=way: copy(way, threads, to, origin, size), read)
