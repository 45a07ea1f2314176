"""All that a run has found: printed as Markdown, written as JSON, and read back from that."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ..common.case import Case
from ..common.libraries import LIBRARIES, ON_DEMAND
from ..common.markdown import count_threads
from .bars import Run, Verdict, bar_lines, failure_lines, judge
from .caches import Caches
from .result import Best, Result, by_threads
from .tables import error_lines, note_lines, summary_lines, table_lines


@dataclass
class Outcome:
    """far: errors with x about an offset, by kind and library; unlimited: who kept to no set."""

    machine: dict[str, str]
    caches: Caches
    results: list[Result]
    isa: str = ""
    unlimited: list[str] = field(default_factory=list)
    far: dict[str, dict[str, float]] = field(default_factory=dict)
    wider: "Outcome | None" = None  # the same machine's with AVX-512

    @cached_property
    def titles(self) -> list[str]:
        """The libraries that have answered anything."""
        answered = {title for result in self.results for title in result.others}
        return [title for title in LIBRARIES | ON_DEMAND if title in answered]

    @property
    def run(self) -> Run:
        return Run(self.results, self.caches, self.isa, self.wider.run if self.wider else None)

    @property
    def verdicts(self) -> list[Verdict]:
        return judge(self.run)

    @property
    def name(self) -> str:
        return f"{self.machine.get('CPU', '').split(',')[0]}, {self.isa}"

    def tables(self) -> Iterator[tuple[str, Iterator[str]]]:
        """By title: the bars, the means, all cases, the errors, the notes."""
        yield "The bars", bar_lines(self.verdicts)
        yield "The worst cases of the bars that fail", failure_lines(self.verdicts)
        for threads, group in by_threads(self.results).items():
            yield f"Means, {count_threads(threads)}", summary_lines(group)
        yield "Errors", error_lines(self.results, self.far, self.titles)
        for threads, group in by_threads(self.results).items():
            lines = table_lines(group, self.titles, self.unlimited)
            yield f"All cases, {count_threads(threads)}, microseconds", lines
        yield "Notes", note_lines(self.results, self.unlimited)

    def markdown(self, level: str = "###") -> str:
        blocks = ["\n".join(f"- {name}: {text}" for name, text in self.machine.items())]
        for title, lines in self.tables():
            text = "\n".join(lines)
            if text:
                blocks += [f"{level} {title}", text]
        return "\n\n".join(blocks)

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "caches": dict(self.caches),
            "isa": self.isa,
            "unlimited": self.unlimited,
            "far": self.far,
            "cases": [entry(result) for result in self.results],
            "bars": [
                {
                    "bar": verdict.bar.name,
                    "threads": verdict.threads,
                    "needed": verdict.needed,
                    "worst": verdict.worst,
                    "at": verdict.at,
                    "holding": verdict.holding,
                    "of": len(verdict.found),
                    "holds": verdict.holds,
                }
                for verdict in self.verdicts
            ],
        }


def entry(result: Result) -> dict[str, Any]:
    """One of the cases in the JSON."""
    times = {"ours": result.ours, "fresh": result.fresh, "copy": result.copy}
    extra = {"floor": result.floor, "np.add": result.add}
    times |= {title: seconds for title, seconds in extra.items() if not math.isnan(seconds)}
    return {
        "name": result.name,
        **asdict(result.case),
        "threads": result.threads,
        "dtype": result.dtype,
        "seconds": times | {title: best.seconds for title, best in result.others.items()},
        "fastest_way": {title: best.label for title, best in result.others.items()},
        "bound": [title for title, best in result.others.items() if best.bound],
        "best_other": result.best,
        "r": result.r if result.best else None,
        "c": result.c,
        "errors": result.errors,
        "notes": result.notes,
        "wrong": result.wrong,
    }


def from_json(numbers: dict[str, Any]) -> Outcome:
    caches = {int(level): size for level, size in numbers["caches"].items()}
    rest = {name: numbers[name] for name in ("isa", "unlimited", "far")}
    return Outcome(numbers["machine"], caches, [*results_from(numbers["cases"])], **rest)


def results_from(entries: list[dict[str, Any]]) -> Iterator[Result]:
    for each in entries:
        times = dict(each["seconds"])
        arguments = {name: each[name] for name in Case.__dataclass_fields__}
        own = {name: times.pop(name, math.nan) for name in ("ours", "fresh", "copy", "floor")}
        yield Result(
            Case(**arguments | {"shape": tuple(each["shape"])}),
            each["threads"],
            each["dtype"],
            **own,
            add=times.pop("np.add", math.nan),
            others={
                title: Best(seconds, each["fastest_way"][title], title in each["bound"])
                for title, seconds in times.items()
            },
            errors=each["errors"],
            notes=each["notes"],
            wrong=each["wrong"],
        )


def pair_up(outcomes: Sequence[Outcome]) -> None:
    """Lets a run with AVX2 know that of the same machine with AVX-512."""
    for outcome in outcomes:
        alike = (x for x in outcomes if x.isa == "avx512" and same_machine(x, outcome))
        if outcome.isa == "avx2":
            outcome.wider = next(alike, None)


def same_machine(one: Outcome, other: Outcome) -> bool:
    return one.machine.get("CPU") == other.machine.get("CPU") and one.caches == other.caches
