"""The table of speed on the README's first screen: means by operator, and errors."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..common.libraries import LIBRARIES
from ..common.markdown import count_threads, markdown_table, number
from .outcome import Outcome
from .result import USUAL, Result, by_threads, geometric_mean
from .tables import FAR_MEAN, ratio, worst_error

BEGIN, END = "<!-- bench.speed: begin -->", "<!-- bench.speed: end -->"
ABOUT = """\
How many times as long the best other library takes, float32: geometric means over all shapes of
[docs/speed.md](docs/speed.md), with everybody kept to one instruction set. On the right the largest
error against float64, relative to the largest output, with x from N({mean:g}, 1) for the norms and
from N(0, 1) for LRN.
"""
BESIDE = [title for title in LIBRARIES if title != "NumPy"]


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    """Operators and directions, in the order of the cases."""
    found = (f"{x.case.operator} {x.case.direction}" for each in outcomes for x in each.results)
    return list(dict.fromkeys(found))


def mean(outcome: Outcome, threads: int, kind: str | None = None) -> float:
    def meant(x: Result) -> bool:
        return x.threads == threads and x.dtype == USUAL and kind in (None, x.kind)

    return geometric_mean(x.r for x in outcome.results if meant(x))


def error(outcomes: Sequence[Outcome], kind: str, title: str) -> str:
    """With x about an offset where that was looked at; the largest of all runs."""
    errors = [x.far[kind][title] for x in outcomes if title in x.far.get(kind, {})]
    if not any(kind in x.far for x in outcomes):
        group = [x for each in outcomes for x in each.results if x.kind == kind]
        errors = [e for e in [worst_error(group, title)] if e is not None]
    if not errors:
        return "-"
    return number(max(errors)) if max(errors) < 1 else "no digit right"


def readme_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Times on the left, errors on the right; runs have the numbers that the page gives them, which
    may have more than these: only runs in float32 are shown."""
    runs = {run: x for run, x in enumerate(outcomes, 1) if any(y.dtype == USUAL for y in x.results)}
    columns = [
        (run, outcome, threads)
        for run, outcome in runs.items()
        for threads in by_threads(outcome.results)
    ]
    outcomes = list(runs.values())
    titles = [t for t in BESIDE if any(t in outcome.titles for outcome in outcomes)]
    heads = [f"{x.isa} ({run}), {count_threads(threads)}" for run, x, threads in columns]
    rows = []
    for kind in kinds(outcomes):
        cells = [ratio(mean(outcome, threads, kind)) for _, outcome, threads in columns]
        errors = [error(outcomes, kind, title) for title in ("ours", *titles)]
        rows.append([kind, *cells, *errors])
    means = [f"**{ratio(mean(outcome, threads))}**" for _, outcome, threads in columns]
    rows.append(["**all**", *means, *([""] * (1 + len(titles)))])
    yield ABOUT.format(mean=FAR_MEAN)
    yield from markdown_table(["", *heads, "error of ours", *titles], rows)
    yield ""
    for run, outcome in runs.items():
        ours, cpu, others = (
            outcome.machine.get(name, "unknown") for name in ("normkernels", "CPU", "Others")
        )
        yield f"({run}) {cpu}; normkernels {ours.partition(',')[0]}, {others}  "


def write_readme(path: Path, outcomes: Sequence[Outcome]) -> None:
    """What stands between the marks."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no {BEGIN} and {END}")
    block = "\n".join(readme_lines(outcomes))
    path.write_text(f"{before}{begin}\n{block}\n{end}{after}")
