"""One small class per library, each in a file that is imported only when it is asked for.

A class has a method per operator and direction that it can do (`layer_norm_forward`, ...,
`lrn_backward`), or one for all norms that it has no method of their own for (`norm_forward`,
`norm_backward`, `add_norm_forward`). Each yields one or more `Variant`s, the ways to say it in that
library. Everything that a user would prepare once (graphs, buffers, saved statistics) is prepared
outside `call`.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..case import Array, Case, Data

# Column title -> (module, class, what must be installed).
LIBRARIES = {
    "NumPy": ("with_numpy", "NumPy", ()),
    "torch": ("with_torch", "Torch", ("torch",)),
    "ONNX Runtime": ("with_onnxruntime", "OnnxRuntime", ("onnxruntime", "onnx")),
    "OpenVINO": ("with_openvino", "OpenVino", ("openvino",)),
    "JAX": ("with_jax", "Jax", ("jax",)),
}
# Only when asked for: it compiles for a second or more for each case and number of threads.
ON_DEMAND = {"torch.compile": ("with_torch_compile", "TorchCompile", ("torch",))}


@dataclass(frozen=True)
class Variant:
    """One way to compute a case.

    read turns what call returns into (y,), (y, total) or (dx, dgamma, dbeta), of RMS norm without
    dbeta; their shapes may differ from ours. bound: call writes into memory that it was given
    before, and does not allocate its outputs.
    """

    label: str
    call: Callable[[], Any]
    read: Callable[[Any], tuple[Array, ...]]
    bound: bool = False


class Library:
    """What all libraries share: the way from a case to the method that prepares it."""

    version = ""
    limited = True  # whether isa.py keeps it to an instruction set
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __init__(self, threads: int, dtype: str) -> None:
        self.threads = threads
        self.dtype = dtype

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        if self.dtype not in self.dtypes:
            return
        kind = "add norm" if case.adds else "norm" if case.operator != "LRN" else "LRN"
        for operator in (case.operator, kind):
            name = f"{operator} {case.direction}".replace(" ", "_").lower()
            if hasattr(self, name):
                yield from getattr(self, name)(case, data)
                return


def parse_titles(text: str) -> list[str]:
    """The titles in a list like `numpy,jax`, or `all`: the type of the option --libraries."""
    if text.lower() == "all":
        return [*LIBRARIES, *ON_DEMAND]
    known = {title.lower(): title for title in LIBRARIES | ON_DEMAND}
    asked = [title for title in text.split(",") if title]
    for title in asked:
        if title.lower() not in known:
            raise argparse.ArgumentTypeError(
                f"{title!r} is none of {', '.join(LIBRARIES | ON_DEMAND)}"
            )
    return [known[title.lower()] for title in asked]


def load(title: str, threads: int, dtype: str) -> Library | None:
    """The library, or None where it is not installed, or is too old or too new to be asked."""
    name, kind, needs = (LIBRARIES | ON_DEMAND)[title]
    if not all(importlib.util.find_spec(need) for need in needs):
        return None
    try:
        module = importlib.import_module(f".{name}", __name__)
    except (ImportError, AttributeError) as error:
        print(f"{title} does not take part: {error}", file=sys.stderr)
        return None
    return getattr(module, kind)(threads, dtype)
