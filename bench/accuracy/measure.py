"""How far each output of each library lies from tests/reference.py, in units of u * scale."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.case import ALPHA, BIAS, Array, Case, Data
from ..common.libraries import Library
from .cases import Input

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
import reference

NORM_PROMISES = {"forward": reference.FORWARD, "backward": reference.BACKWARD}
LRN_PROMISES = {"forward": reference.LRN_FORWARD, "backward": reference.LRN_BACKWARD}


@dataclass(frozen=True)
class Finding:
    """The error of one output by one way; infinite where `words` say what is wrong instead."""

    way: str
    error: float
    words: str = ""
    reason: str = ""  # what the library raised


@dataclass(frozen=True)
class Row:
    """One output of one input, by library: a finding for each of its ways, if it has any."""

    name: str
    case: Case
    output: str
    findings: dict[str, list[Finding]]

    @property
    def promise(self) -> float:
        promises = LRN_PROMISES if self.case.operator == "LRN" else NORM_PROMISES
        return promises[self.case.direction]

    def least(self, title: str) -> float:
        """The error of the library's best way; infinite where none gives numbers."""
        return min((finding.error for finding in self.findings[title]), default=math.inf)


def exact_outputs(case: Case, data: Data) -> dict[str, reference.Exact]:
    """By name, in the order in which the libraries return them."""
    x, dy, gamma, beta = data.x, data.dy, data.gamma, data.beta
    if case.operator == "LRN":
        options = {"alpha": ALPHA, "beta": case.beta, "bias": BIAS, "order": case.order}
        if case.direction == "forward":
            return {"y": reference.local_response_norm(x, case.size, **options).y}
        return {"dx": reference.local_response_norm_backward(dy, x, case.size, **options)}
    if case.operator == "layer norm":
        forward, backward = reference.layer_norm, reference.layer_norm_backward
        options = {"axis": -1, "epsilon": case.epsilon}
    else:
        forward, backward = reference.instance_norm, reference.instance_norm_backward
        options = {"order": case.order, "epsilon": case.epsilon}
    if case.direction == "forward":
        return {"y": forward(x, gamma, beta, **options).y}
    return backward(dy, x, gamma, **options)._asdict()


def judge(way: str, found: Array, exact: reference.Exact) -> Finding:
    """Compares one output; says in words where it is not finite and should be, or the reverse."""
    found = found.reshape(exact.value.shape)
    error = reference.error(found, exact)
    if math.isfinite(error):
        return Finding(way, error)
    finite = np.isfinite(exact.value.astype(found.dtype))
    kinds = {
        "NaN": finite & np.isnan(found),
        "Inf": finite & np.isinf(found),
        "finite": ~finite & np.isfinite(found),
    }
    counts = {kind: np.count_nonzero(where) for kind, where in kinds.items()}
    words = [kind if n == found.size else f"{n} {kind}" for kind, n in counts.items() if n]
    return Finding(way, math.inf, ", ".join(words) or "other Inf or NaN")


def of_library(
    library: Library, case: Case, data: Data, exact: Mapping[str, reference.Exact]
) -> dict[str, list[Finding]]:
    """By output."""
    findings: dict[str, list[Finding]] = {output: [] for output in exact}
    try:
        for variant in library.variants(case, data):
            arrays = variant.read(variant.call())
            for (output, right), found in zip(exact.items(), arrays, strict=True):
                findings[output].append(judge(variant.label, found, right))
    except Exception as error:  # every library has classes of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return {output: [Finding("", math.inf, "refuses", reason)] for output in exact}
    return findings


def measure(each: Input, libraries: Mapping[str, Library]) -> list[Row]:
    """A row for each output."""
    data = each.data()
    with np.errstate(all="ignore"):
        exact = exact_outputs(each.case, data)
        found = {
            title: of_library(library, each.case, data, exact)
            for title, library in libraries.items()
        }
    return [
        Row(each.name, each.case, output, {title: found[title][output] for title in libraries})
        for output in exact
    ]
