"""The tables of times, errors, means and notes, in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from ..common.case import Case
from ..common.markdown import markdown_table
from .result import Result, by_threads, geometric_mean


def microseconds(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


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
