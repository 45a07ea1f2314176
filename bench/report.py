"""What came out: the times of a case, their tables in Markdown, and the machine's name."""

import math
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import normkernels as nk
import numpy as np
from cases import Case
from libraries import Library


@dataclass
class Result:
    """The times of one case in seconds. others is by library; the label says which of its ways."""

    case: Case
    threads: int = 1
    dtype: str = "float32"
    ours: float = math.nan
    fresh: float = math.nan
    copy: float = math.nan
    copied_by: str = ""
    add: float = math.nan  # np.add of arrays like x, where that is asked for
    others: dict[str, tuple[float, str]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: bool = False  # ours

    @property
    def moved(self) -> int:
        """The bytes that must move."""
        return self.case.moved(np.dtype(self.dtype).itemsize)

    @property
    def best(self) -> str | None:
        return min(self.others, key=lambda title: self.others[title][0], default=None)

    @property
    def r(self) -> float:
        return self.best_seconds / self.ours

    @property
    def r_fresh(self) -> float:
        return self.best_seconds / self.fresh

    @property
    def best_seconds(self) -> float:
        return self.others[self.best][0] if self.best else math.nan

    @property
    def c(self) -> float:
        return self.copy / self.ours


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


def microseconds(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def number(value: float) -> str:
    """Two significant digits: 0.12, 120, 1.2e5."""
    if value == 0 or 1e-2 <= value < 1e3:
        return f"{float(f'{value:.2g}'):g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> Iterator[str]:
    """The lines of a table, numbers to the right but for the columns in `left`."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "".join("---|" if i in left else "---:|" for i in range(len(heads)))
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def by_threads(results: Iterable[Result]) -> dict[int, list[Result]]:
    groups: dict[int, list[Result]] = {}
    for result in results:
        groups.setdefault(result.threads, []).append(result)
    return groups


def count_threads(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def table_lines(results: Sequence[Result], titles: Sequence[str]) -> Iterator[str]:
    heads = ["case", "ours us", "fresh us", *(f"{t} us" for t in titles), "copy us", "best other"]
    rows = []
    for result in results:
        cells = [result.case.name, microseconds(result.ours), microseconds(result.fresh)]
        for title in titles:
            cells.append(microseconds(result.others[title][0]) if title in result.others else "-")
        cells += [microseconds(result.copy), result.best or "-"]
        ratios = [f"{result.r:.2f}", f"{result.r_fresh:.2f}"] if result.best else ["-", "-"]
        rows.append([*cells, *ratios, f"{result.c:.2f}"])
    return markdown_table([*heads, "r", "r, fresh", "c"], rows, left=(0, len(heads) - 1))


def error_lines(results: Sequence[Result], titles: Sequence[str]) -> Iterator[str]:
    """Largest error of any output against float64; of a library's ways, that of its fastest.

    That of ours is the largest at any number of threads, that of others the one at the first.
    """
    ours: dict[Case, float] = {}
    for result in results:
        errors = [error for name, error in result.errors.items() if name.startswith("ours ")]
        ours[result.case] = max([*errors, ours.get(result.case, 0.0)])
    rows = []
    for result in next(iter(by_threads(results).values())):
        cells = [result.case.name, f"{ours[result.case]:.1e}"]
        for title in titles:
            way = f"{title} {result.others[title][1]}" if title in result.others else ""
            cells.append(f"{result.errors[way]:.1e}" if way else "-")
        rows.append(cells)
    return markdown_table(["error", "ours", *titles], rows)


def note_lines(results: Iterable[Result]) -> Iterator[str]:
    notes = (f"- {result.case.name}: {note}" for result in results for note in result.notes)
    yield from dict.fromkeys(notes)  # most are the same for any number of threads


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values if math.isfinite(value)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def summary_lines(results: Sequence[Result]) -> Iterator[str]:
    """One line per operator and direction, and one for all."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(f"{result.case.operator} {result.case.direction}", []).append(result)
    if len(groups) > 1:
        groups["all"] = list(results)
    heads = ["geometric means", "r", "r, fresh", "c", "fresh / out=", "r >= 1", "least r", "at"]
    rows = []
    for name, group in groups.items():
        raced = [result for result in group if result.best]
        worst = min(raced, key=lambda result: result.r, default=None)
        means = [geometric_mean(getattr(x, key) for x in group) for key in ("r", "r_fresh", "c")]
        means.append(geometric_mean(x.fresh / x.ours for x in group))
        ahead = f"{sum(result.r >= 1 for result in raced)} of {len(raced)}"
        cells = [name, *(f"{mean:.2f}" for mean in means), ahead]
        rows.append([*cells, *((f"{worst.r:.2f}", worst.case.name) if worst else ("-", "-"))])
    return markdown_table(heads, rows, left=(0, 7))
