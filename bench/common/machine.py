"""The machine: what it is, and which of its CPUs the process keeps to."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import normkernels as nk

from .isa import is_limit, supported_isas
from .libraries import Library
from .markdown import count_threads

TASKS = Path("/proc/self/task")
FAMILY = ("cpu family", "model")  # in /proc/cpuinfo


def cpu_model() -> str:
    """Its name, with the numbers that tell its generation where the name does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    first: dict[str, str] = {}
    for name, value in pairs:
        first.setdefault(name.strip(), value.strip())
    if "model name" not in first:
        return platform.machine()
    numbers = [f"{name.split()[-1]} {first[name]}" for name in FAMILY if name in first]
    return f"{first['model name']} ({' '.join(numbers)})" if numbers else first["model name"]


def commit() -> str:
    """That of the checkout which this file is in, or nothing."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return f" ({text.strip()})"
    return ""


def describe_machine(
    threads: int, dtype: str, libraries: dict[str, Library], isa: str | None = None
) -> dict[str, str]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [
        f"{title} {library.version}"
        + (" (not limited)" if is_limit(isa) and not library.limited else "")
        for title, library in libraries.items()
    ]
    ours = f"{nk.__version__}{commit()}, {nk.active_isa()}"
    kept = f", to which all that can be are kept: the machine has {supported_isas()[-1]}"
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores, of which used: {cpus}",
        "System": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "normkernels": ours + (kept if is_limit(isa) else ""),
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
