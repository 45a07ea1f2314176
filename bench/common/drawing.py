"""What the pictures of both pages have in common."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The same numbers give the same file.
SETTINGS = {"svg.hashsalt": "normkernels", "font.size": 9, "axes.titlesize": 10}


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def tidy(axis: Axes) -> None:
    axis.grid(color="#e4e4e4", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
