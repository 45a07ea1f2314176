"""The pictures of the speed page: ratios to the best other library, and GB/s over bytes moved."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from ..common.case import Case
from ..common.drawing import SETTINGS, save, tidy
from ..common.markdown import count_threads
from .bars import BARS
from .caches import MIB, Caches
from .result import USUAL, Result, by_threads

COLOURS = ("#0072b2", "#d55e00")  # by number of threads, and by layout
COPY = "#777777"
BAR = next(bar for bar in BARS if bar.name.startswith("r of layer, RMS"))


def operators(results: Sequence[Result]) -> dict[str, list[Result]]:
    """With the dtype, if it is not the usual one."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        usual = result.dtype == USUAL
        name = result.case.operator if usual else f"{result.case.operator}, {result.dtype}"
        groups.setdefault(name, []).append(result)
    return groups


def marker(direction: str, colour: str) -> dict[str, Any]:
    """Forward is full, backward hollow."""
    face = colour if direction == "forward" else "none"
    return {"marker": "o", "markeredgecolor": colour, "markerfacecolor": face, "linestyle": "none"}


def legend_entry(label: str, colour: str, direction: str = "forward") -> Line2D:
    return Line2D([], [], label=label, markersize=5, **marker(direction, colour))


# ---- Ratios


def label(case: Case) -> str:
    """The case without its operator and direction: both directions share a line."""
    return case.name.removeprefix(f"{case.operator} {case.direction} ")


def save_ratios(path: Path, results: Sequence[Result], isa: str) -> None:
    """r of each case, a panel for each operator, in it one layout after the other."""
    groups = operators(results)
    lines = {
        name: list(dict.fromkeys(label(x.case) for x in sorted(group, key=lambda x: x.case.order)))
        for name, group in groups.items()
    }
    ratios = [result.r for result in results if result.best]
    with mpl.rc_context(SETTINGS):
        height = 1.2 + sum(0.5 + 0.165 * len(names) for names in lines.values())
        figure = Figure(figsize=(8.6, height), layout="constrained")
        heights = [len(names) + 1 for names in lines.values()]
        axes = figure.subplots(len(groups), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (name, group) in zip(axes, groups.items(), strict=True):
            draw_ratios(axis, lines[name], group, BAR.needed(isa))
            axis.set_xlim(min([*ratios, 0.8]) / 1.15, max([*ratios, 2]) * 1.15)
            axis.set_title(name, loc="left", fontweight="bold")
        axes[-1].set_xlabel("time of the best other library / ours (with out=)")
        handles = ratio_legend(results, BAR.needed(isa))
        figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
        save(figure, path)


def draw_ratios(axis: Axes, lines: Sequence[str], results: Sequence[Result], bar: float) -> None:
    for group, colour in zip(by_threads(results).values(), COLOURS, strict=False):
        for result in group:
            if result.best:
                style = marker(result.case.direction, colour)
                axis.plot(result.r, lines.index(label(result.case)), markersize=4.5, **style)
    for ratio, line in ((1, "-"), (bar, "--")):
        axis.axvline(ratio, color="#333333", linewidth=0.9, linestyle=line, zorder=1)
    axis.set(xscale="log", ylim=(len(lines) - 0.4, -0.6))
    axis.set_yticks(range(len(lines)), lines, fontsize=7.5)
    axis.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.tick_params(axis="x", labelbottom=True)
    tidy(axis)


def ratio_legend(results: Sequence[Result], bar: float) -> list[Line2D]:
    entries = [
        legend_entry(f"{direction}, {count_threads(threads)}", colour, direction)
        for threads, colour in zip(by_threads(results), COLOURS, strict=False)
        for direction in ("forward", "backward")
    ]
    entries.append(
        Line2D([], [], color="#333333", linestyle="--", linewidth=0.9, label=f"the bar: {bar:g}")
    )
    return entries


# ---- Roofline


def save_roofline(path: Path, results: Sequence[Result], caches: Caches) -> None:
    """GB/s over the bytes that must move, of the first dtype: operators downwards."""
    results = [result for result in results if result.dtype == results[0].dtype]
    rows, columns = operators(results), by_threads(results)
    with mpl.rc_context(SETTINGS):
        size = (0.8 + 3.9 * len(columns), 0.9 + 2.2 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
        for line, (operator, group) in zip(axes, rows.items(), strict=True):
            for axis, (threads, everyone) in zip(line, columns.items(), strict=True):
                mine = [result for result in group if result.threads == threads]
                draw_roofline(axis, mine, everyone, caches)
                axis.set_title(f"{operator}, {count_threads(threads)}")
            line[0].set_ylabel("GB/s")
        for axis in axes[-1]:
            axis.set_xlabel("bytes that must move")
        figure.legend(handles=roofline_legend(), loc="outside upper center", ncols=2, frameon=False)
        save(figure, path)


def draw_roofline(
    axis: Axes, mine: Sequence[Result], everyone: Sequence[Result], caches: Caches
) -> None:
    copied: dict[int, float] = {}
    for result in everyone:
        copied[result.moved] = max(result.moved / result.copy / 1e9, copied.get(result.moved, 0))
    axis.plot(*zip(*sorted(copied.items()), strict=True), color=COPY, linewidth=1.3, zorder=1)
    for result in mine:
        style = marker(result.case.direction, layout_colour(result.case))
        axis.plot(result.moved, result.moved / result.ours / 1e9, markersize=4, **style)
    axis.set(xscale="log", yscale="log")
    mark_caches(axis, caches)
    ticks = {1 << 10: "1 KiB", 32 << 10: "32 KiB", MIB: "1 MiB", 32 * MIB: "32 MiB"}
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    tidy(axis)


def mark_caches(axis: Axes, caches: Mapping[int, int]) -> None:
    for level, size in caches.items():
        axis.axvline(size, color="#aaaaaa", linestyle=":", linewidth=1, zorder=0)
        axis.annotate(
            f"L{level}",
            (size, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color="#666666",
        )


def layout_colour(case: Case) -> str:
    return COLOURS[case.order == "NHWC"]


def roofline_legend() -> list[Line2D]:
    layouts = zip(("rows or NCHW", "NHWC"), COLOURS, strict=True)
    return [
        *(
            legend_entry(f"{direction}, {layout}", colour, direction)
            for layout, colour in layouts
            for direction in ("forward", "backward")
        ),
        Line2D([], [], color=COPY, linewidth=1.3, label="copy"),
    ]
