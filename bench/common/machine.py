"""The machine: what it is, and which of its CPUs the process keeps to."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import normkernels as nk

from .libraries import Library
from .markdown import count_threads

TASKS = Path("/proc/self/task")


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_machine(threads: int, dtype: str, libraries: dict[str, Library]) -> dict[str, str]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"{title} {library.version}" for title, library in libraries.items()]
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores, of which used: {cpus}",
        "System": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "normkernels": f"{nk.__version__}, {nk.active_isa()}",
        "Others": ", ".join(versions) or "none",
        "Run": f"{dtype}, {count_threads(threads)}",
    }


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[Callable[[int], None]]:
    """Keeps the process on the last CPUs that it may use (the first gets most interrupts).

    Gives a function that moves it to another number of them. Must come before a library starts its
    threads, since some libraries count the CPUs once.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield lambda count: None
        return
    allowed = sorted(os.sched_getaffinity(0))

    def pin(count: int) -> None:
        set_affinity(allowed[-count:])

    pin(threads)
    try:
        yield pin
    finally:
        set_affinity(allowed)


def set_affinity(cpus: Sequence[int]) -> None:
    """Of all threads: those that exist keep the CPUs that they were born with otherwise."""
    for task in tasks() or ["0"]:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cpus)


def tasks() -> list[str]:
    return os.listdir(TASKS) if TASKS.exists() else []
