"""The tables of times, errors, means and notes, in Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..common.markdown import markdown_table, number
from .result import USUAL, Result, by_kind, geometric_mean

SHOWN = 3  # cases named for a note that is about more


def microseconds(seconds: float) -> str:
    value = seconds * 1e6
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def table_lines(
    results: Sequence[Result], titles: Sequence[str], unlimited: Sequence[str] = ()
) -> Iterator[str]:
    named = [f"{t} (not limited)" if t in unlimited else t for t in titles]
    heads = ["case", "ours", "fresh", *named, "copy", "floor", "best other"]
    ratios = ["r", "r, bound", "r, fresh", "c", "f"]
    rows = []
    for result in results:
        cells = [result.name, microseconds(result.ours), microseconds(result.fresh)]
        for title in titles:
            other = result.others.get(title)
            cells.append(microseconds(other.seconds) if other else "-")
        cells += [microseconds(result.copy), microseconds(result.floor), result.best or "-"]
        values = (result.r, result.r_bound, result.r_fresh, result.c, result.f)
        rows.append([*cells, *map(ratio, values)])
    return markdown_table([*heads, *ratios], rows, left=(0, len(heads) - 1))


def error_lines(
    results: Sequence[Result], far: Mapping[str, Mapping[str, float]], titles: Sequence[str]
) -> Iterator[str]:
    """The largest error of any case of a kind; of a library's ways, that of its fastest.

    Below them those with x about an offset.
    """
    rows = []
    for kind, group in by_kind(results).items():
        worst = {title: worst_error(group, title) for title in ("ours", *titles)}
        rows.append([kind, *(f"{error:.1e}" if error else "-" for error in worst.values())])
    for kind, errors in far.items():
        cells = (f"{errors[title]:.1e}" if title in errors else "-" for title in ("ours", *titles))
        rows.append([f"{kind}, mean {number(FAR_MEAN)}", *cells])
    return markdown_table(["largest error", "ours", *titles], rows)


FAR_MEAN = 1e4


def worst_error(results: Iterable[Result], title: str) -> float | None:
    """Of ours with out= or without; of another's way that was the fastest."""
    errors = []
    for result in results:
        if title == "ours":
            errors += [e for name, e in result.errors.items() if name.startswith("ours ")]
        elif title in result.others:
            errors += [result.errors[f"{title} {result.others[title].label}"]]
    return max(errors, default=None)


def note_lines(results: Iterable[Result], unlimited: Sequence[str] = ()) -> Iterator[str]:
    """What was not limited, and what libraries cannot do, with the first cases of each."""
    for title in unlimited:
        yield f"- {title} cannot be kept to an instruction set: it used all that the machine has."
    places: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            cases = places.setdefault(note, [])
            if result.name not in cases:  # most are the same for any number of threads
                cases.append(result.name)
    for note, cases in places.items():
        more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
        yield f"- {', '.join(cases[:SHOWN])}{more}: {note}"


def summary_lines(results: Sequence[Result]) -> Iterator[str]:
    """One line per operator, direction and dtype, and one for all of a dtype."""
    groups = by_kind(results)
    if len(groups) > 1:
        for dtype in dict.fromkeys(result.dtype for result in results):
            name = "all" if dtype == USUAL else f"all {dtype}"
            groups[name] = [result for result in results if result.dtype == dtype]
    keys = ("r", "r_bound", "r_fresh", "c", "f")
    heads = ["geometric means", "r", "r, bound", "r, fresh", "c", "f", "fresh / out="]
    rows = []
    for name, group in groups.items():
        raced = [result for result in group if result.best]
        worst = min(raced, key=lambda result: result.r, default=None)
        means = [geometric_mean(getattr(x, key) for x in group) for key in keys]
        means.append(geometric_mean(x.fresh / x.ours for x in group))
        ahead = f"{sum(result.r >= 1 for result in raced)} of {len(raced)}"
        cells = [name, *map(ratio, means), ahead]
        rows.append([*cells, *((f"{worst.r:.2f}", worst.name) if worst else ("-", "-"))])
    return markdown_table([*heads, "r >= 1", "least r", "at"], rows, left=(0, 9))
