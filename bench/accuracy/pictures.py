"""The picture of the accuracy page: errors over |mean| / std, a line for each library."""

import math
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..common.drawing import SETTINGS, save, tidy
from .measure import Row

STYLES = {
    "ours": {"color": "#000000", "marker": "o", "linewidth": 2.2, "zorder": 3},
    "NumPy": {"color": "#56b4e9", "marker": "x"},
    "torch": {"color": "#d55e00", "marker": "s"},
    "ONNX Runtime": {"color": "#0072b2", "marker": "^"},
    "OpenVINO": {"color": "#cc79a7", "marker": "D"},
    "JAX": {"color": "#009e73", "marker": "v"},
}


def save_picture(path: Path, panels: Mapping[str, Mapping[float, Row]]) -> None:
    """panels: by title, the rows by |mean| / std."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(9.6, 3.7), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True)
        for axis, (title, rows) in zip(axes, panels.items(), strict=True):
            draw(axis, title, rows)
        axes[0].set_ylabel("largest error / (u * scale)")
        lines = {line.get_label(): line for axis in axes for line in axis.get_lines()}
        titles = [title for title in STYLES if title in lines]
        handles = [lines[title] for title in titles]
        figure.legend(handles, titles, loc="outside lower center", ncols=len(titles), frameon=False)
        save(figure, path)


def draw(axis: Axes, title: str, rows: Mapping[float, Row]) -> None:
    """A line has a gap where its library gives no number."""
    first = next(iter(rows.values()))
    for library, style in STYLES.items():
        if first.findings.get(library):
            errors = [row.least(library) for row in rows.values()]
            errors = [error if math.isfinite(error) else math.nan for error in errors]
            axis.plot(list(rows), errors, label=library, markersize=4, **style)
    axis.axhline(first.promise, color="#555555", linestyle="--", linewidth=1)
    axis.annotate(
        f"promise: {first.promise:g}",
        (1, first.promise),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        color="#444444",
    )
    axis.set(xscale="log", yscale="log", title=title, xlabel="|mean| / std")
    tidy(axis)
