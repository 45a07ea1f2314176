"""What came out: the times of a case, the Markdown tables, the JSON, and the machine's name."""

import math
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import normkernels as nk
from cases import Case
from libraries import Library


@dataclass
class Result:
    """The times of one case in seconds. others is by library; the label says which of its ways."""

    case: Case
    ours: float = math.nan
    fresh: float = math.nan
    copy: float = math.nan
    others: dict[str, tuple[float, str]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: bool = False  # ours

    @property
    def best(self) -> str | None:
        return min(self.others, key=lambda title: self.others[title][0], default=None)

    @property
    def r(self) -> float:
        return self.others[self.best][0] / self.ours if self.best else math.nan

    @property
    def r_fresh(self) -> float:
        return self.others[self.best][0] / self.fresh if self.best else math.nan

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
        "Run": f"{dtype}, {threads} thread{'s' * (threads > 1)}",
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


def table_lines(results: Sequence[Result], titles: Sequence[str]) -> Iterator[str]:
    heads = ["case", "ours us", "fresh us", *(f"{t} us" for t in titles), "copy us", "best other"]
    rows = []
    for result in results:
        cells = [result.case.name, microseconds(result.ours), microseconds(result.fresh)]
        for title in titles:
            cells.append(microseconds(result.others[title][0]) if title in result.others else "-")
        cells += [microseconds(result.copy), result.best or "-"]
        rows.append([*cells, f"{result.r:.2f}" if result.best else "-", f"{result.c:.2f}"])
    return markdown_table([*heads, "r", "c"], rows, left=(0, len(heads) - 1))


def error_lines(results: Sequence[Result], titles: Sequence[str]) -> Iterator[str]:
    """Largest error of any output against float64; of a library's ways, that of its fastest."""
    rows = []
    for result in results:
        ours = max(error for name, error in result.errors.items() if name.startswith("ours "))
        cells = [result.case.name, f"{ours:.1e}"]
        for title in titles:
            way = f"{title} {result.others[title][1]}" if title in result.others else ""
            cells.append(f"{result.errors[way]:.1e}" if way else "-")
        rows.append(cells)
    return markdown_table(["error", "ours", *titles], rows)


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
    heads = ["geometric means", "r", "r, fresh", "c", "r >= 1", "least r", "at"]
    rows = []
    for name, group in groups.items():
        raced = [result for result in group if result.best]
        worst = min(raced, key=lambda result: result.r, default=None)
        means = [geometric_mean(getattr(x, key) for x in group) for key in ("r", "r_fresh", "c")]
        ahead = f"{sum(result.r >= 1 for result in raced)} of {len(raced)}"
        cells = [name, *(f"{mean:.2f}" for mean in means), ahead]
        rows.append([*cells, *((f"{worst.r:.2f}", worst.case.name) if worst else ("-", "-"))])
    return markdown_table(heads, rows, left=(0, 6))


def as_json(machine: dict[str, str], results: Sequence[Result]) -> dict[str, Any]:
    return {
        "machine": machine,
        "cases": [
            {
                "name": result.case.name,
                "operator": result.case.operator,
                "direction": result.case.direction,
                "shape": result.case.shape,
                "order": result.case.order,
                "seconds": {"ours": result.ours, "fresh": result.fresh, "copy": result.copy}
                | {title: seconds for title, (seconds, _) in result.others.items()},
                "fastest_way": {title: label for title, (_, label) in result.others.items()},
                "best_other": result.best,
                "r": result.r if result.best else None,
                "c": result.c,
                "errors": result.errors,
                "notes": result.notes,
            }
            for result in results
        ],
    }
