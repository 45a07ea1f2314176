"""All that a run has found: printed as Markdown, written as JSON, and read back from that."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..common.case import Case
from ..common.libraries import LIBRARIES, ON_DEMAND
from ..common.markdown import count_threads
from .bars import Verdict, bar_lines, failure_lines, judge
from .caches import Caches
from .result import Result, by_threads
from .tables import error_lines, note_lines, summary_lines, table_lines


@dataclass(frozen=True)
class Outcome:
    machine: dict[str, str]
    caches: Caches
    results: list[Result]

    @cached_property
    def titles(self) -> list[str]:
        """The libraries that have answered anything."""
        answered = {title for result in self.results for title in result.others}
        return [title for title in LIBRARIES | ON_DEMAND if title in answered]

    @cached_property
    def verdicts(self) -> list[Verdict]:
        return judge(self.results, self.caches)

    def markdown(self) -> str:
        blocks = [[f"{name}: {text}  " for name, text in self.machine.items()]]
        for threads, group in by_threads(self.results).items():
            blocks += [[f"### {count_threads(threads)}"]]
            blocks += [[*table_lines(group, self.titles)], [*summary_lines(group)]]
        blocks += [["### Errors"], [*error_lines(self.results, self.titles)]]
        blocks += [["### Bars"], [*bar_lines(self.verdicts)], [*failure_lines(self.verdicts)]]
        blocks += [[*note_lines(self.results)]]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "caches": dict(self.caches),
            "cases": [entry(result) for result in self.results],
            "bars": [
                {
                    "bar": verdict.bar.name,
                    "threads": verdict.threads,
                    "needed": verdict.bar.needed,
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
    if not math.isnan(result.add):
        times["np.add"] = result.add
    return {
        "name": result.case.name,
        **asdict(result.case),
        "threads": result.threads,
        "dtype": result.dtype,
        "seconds": times | {title: seconds for title, (seconds, _) in result.others.items()},
        "fastest_way": {"copy": result.copied_by}
        | {title: label for title, (_, label) in result.others.items()},
        "best_other": result.best,
        "r": result.r if result.best else None,
        "c": result.c,
        "errors": result.errors,
        "notes": result.notes,
        "wrong": result.wrong,
    }


def from_json(numbers: dict[str, Any]) -> Outcome:
    caches = {int(level): size for level, size in numbers["caches"].items()}
    return Outcome(numbers["machine"], caches, [*results_from(numbers["cases"])])


def results_from(entries: list[dict[str, Any]]) -> Iterator[Result]:
    for each in entries:
        times, ways = dict(each["seconds"]), dict(each["fastest_way"])
        arguments = {name: each[name] for name in Case.__dataclass_fields__}
        yield Result(
            Case(**arguments | {"shape": tuple(each["shape"])}),
            each["threads"],
            each["dtype"],
            ours=times.pop("ours"),
            fresh=times.pop("fresh"),
            copy=times.pop("copy"),
            copied_by=ways.pop("copy"),
            add=times.pop("np.add", math.nan),
            others={title: (seconds, ways[title]) for title, seconds in times.items()},
            errors=each["errors"],
            notes=each["notes"],
            wrong=each["wrong"],
        )
