"""What an operator is held against that computes nothing: the floor, and a copy.

The floor reads each of the operator's inputs and writes each of its outputs once, by ordinary or
streaming stores, whichever is the faster. The copy moves as many bytes from one array to another,
half of them read and half written, by the fastest of those and memcpy; where x is read and y is
written, that is the floor or memcpy. The loops are in traffic.cpp, which is compiled when it is
first needed. Without a compiler NumPy's copy on one thread is the only one.
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

SOURCE = Path(__file__).with_name("traffic.cpp")
ALIGNMENT = 64
WAYS = ("memcpy", "ordinary stores", "streaming stores")
# The loops must stay what they say: no compiler may turn them into memcpy.
LOOPS = ("-fno-builtin", "-fno-tree-loop-distribute-patterns")
FLAGS = ("-std=c++17", "-O3", "-march=native", *LOOPS, "-pthread", "-shared", "-fPIC")


@functools.cache
def mover() -> Callable[..., None] | None:
    """bench_move of traffic.cpp, compiled for this machine, or None where that cannot be done."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "traffic.so"
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        move = ctypes.CDLL(str(library)).bench_move
    move.argtypes = (ctypes.c_int, ctypes.c_int) + 4 * (ctypes.c_void_p,) + (ctypes.c_size_t,)
    move.restype = None
    return move


def describe_copies() -> str:
    """Which copies there are: for the lines about the machine."""
    if mover() is None:
        return "memcpy alone, on one thread (there is no C++ compiler)"
    return f"the fastest of {', '.join(WAYS[:-1])} and {WAYS[-1]}"


def aligned(size: int, value: int) -> Array:
    """So many bytes of a value, from a multiple of ALIGNMENT on, and to one."""
    array = np.full(size + 2 * ALIGNMENT, value, np.uint8)
    start = -array.ctypes.data % ALIGNMENT
    return array[start : start + -(-size // ALIGNMENT) * ALIGNMENT]


def moving(way: int, threads: int, inputs: list[Array], outputs: list[Array]) -> Variant:
    """WAYS[way] of traffic.cpp from inputs to outputs."""
    move = mover()
    pointers = [
        (*(array.ctypes.data for array in arrays), None)[:2] for arrays in (outputs, inputs)
    ]
    arguments = (way, threads, *pointers[0], *pointers[1], inputs[0].nbytes)

    def read(_: Any) -> tuple[Array, ...]:  # also keeps the arrays alive
        return *inputs, *outputs

    return Variant(WAYS[way], lambda: move(*arguments), read)


def copy_variants(case: Case, itemsize: int, threads: int) -> Iterator[Variant]:
    """The ways to copy that are no floor, too; memcpy on one thread is always among them."""
    size = -(-case.moved(itemsize) // 2)
    source, target = aligned(size, 1), aligned(size, 0)
    yield Variant("memcpy", lambda: np.copyto(target, source), lambda _: (source, target))
    if mover() is not None:
        ways = (1, 2) if case.arrays != (1, 1) else ()
        for way in (*ways, 0) if threads > 1 else ways:
            yield moving(way, threads, [source], [target])


def floor_variants(case: Case, itemsize: int, threads: int) -> Iterator[Variant]:
    """Nothing where there is no compiler."""
    if mover() is None:
        return
    inputs, outputs = case.arrays
    size = case.moved(itemsize) // sum(case.arrays)
    arrays = [aligned(size, 1) for _ in range(inputs)], [aligned(size, 0) for _ in range(outputs)]
    for way in (1, 2):
        yield moving(way, threads, *arrays)
