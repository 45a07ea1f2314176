"""The figures that every search ends with."""

import platform
from collections.abc import Mapping

import normkernels as nk
import numpy as np


def print_figures(
    name: str, seed: int | None, seconds: float, figures: Mapping[str, object]
) -> None:
    """One line: what was done, how long it took, and what can make it happen again."""
    versions = f"normkernels {nk.__version__} ({nk.active_isa()}), NumPy {np.__version__}"
    done = ", ".join(f"{what}: {number}" for what, number in figures.items())
    drawn = "" if seed is None else f"seed {seed}, "
    print(f"{name}: {done}; {seconds:.0f} s, {drawn}{versions}, Python {platform.python_version()}")
