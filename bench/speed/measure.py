"""One case: every answer checked against NumPy in float64, then all contestants timed in turns."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..common.case import Array, Case, Data, make_data
from ..common.libraries import Library, Variant
from ..common.libraries.with_numpy import NumPy
from .cases import TINY
from .copies import copy_variants
from .result import Result
from .timing import best_seconds

# Largest errors, relative to the largest entry of that output, at least 1. The data has standard
# deviation 1. We must be right; others must have computed the same operator, if with fewer digits.
RIGHT = {"float32": 1e-5, "float64": 1e-11}
SAME_OPERATOR = 1e-2


@dataclass(frozen=True)
class Question:
    case: Case
    data: Data
    exact: tuple[Array, ...]


def ask(case: Case, dtype: str, offset: float = 0) -> Question:
    data = make_data(case, dtype, offset)
    return Question(case, data, exact_answer(case, data))


def exact_answer(case: Case, data: Data) -> tuple[Array, ...]:
    wide = (a.astype(np.float64) for a in (data.x, data.dy, data.gamma, data.beta))
    (variant,) = NumPy(1, "float64").variants(case, Data(*wide))
    return variant.read(variant.call())


def difference(found: Sequence[Array], exact: Sequence[Array]) -> float:
    """Largest difference of any output, relative to that output's largest entry, at least 1."""
    if len(found) != len(exact):
        return math.inf
    worst = 0.0
    for a, b in zip(found, exact, strict=True):
        if a.size != b.size:
            return math.inf
        distance = np.abs(a.reshape(b.shape).astype(np.float64) - b).max(initial=0.0)
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        worst = max(worst, math.inf if np.isnan(distance) else float(distance) / scale)
    return worst


def contestants(
    title: str, library: Library, question: Question, result: Result
) -> Iterator[Variant]:
    """What a library offers for a case, if it answers that; notes what it cannot or does badly."""
    try:
        for variant in library.variants(question.case, question.data):
            error = difference(variant.read(variant.call()), question.exact)
            result.errors[f"{title} {variant.label}"] = error
            if error <= SAME_OPERATOR:
                yield variant
            if error > RIGHT[library.dtype]:
                counted = "counted" if error <= SAME_OPERATOR else "not counted"
                result.notes.append(f"{title} {variant.label} is off by {error:.1e}, {counted}")
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        result.notes.append(f"{title} cannot: {reason[:120]}")


def measure(
    question: Question, libraries: dict[str, Library], ours: Library, rounds: int
) -> Result:
    """On as many threads as the libraries have been loaded for."""
    case, data = question.case, question.data
    result = Result(case, ours.threads, ours.dtype)
    mine = list(ours.variants(case, data))
    for variant in mine:
        error = difference(variant.read(variant.call()), question.exact)
        result.errors[f"ours {variant.label}"] = error
        if error > RIGHT[ours.dtype]:
            result.wrong = True
            result.notes.append(f"ours {variant.label} is off by {error:.1e}: WRONG")
    titled = [("", variant) for variant in mine]
    titled += [("copy", variant) for variant in copy_variants(case, ours.dtype, ours.threads)]
    if case == TINY:
        titled.append(("add", add_variant(data)))
    for title, library in libraries.items():
        titled += [(title, each) for each in contestants(title, library, question, result)]
    times = best_seconds([variant.call for _, variant in titled], rounds)
    result.ours, result.fresh = times[:2]
    best: dict[str, tuple[float, str]] = {}
    for (title, variant), seconds in zip(titled[2:], times[2:], strict=True):
        best[title] = min(best.get(title, (math.inf, "")), (seconds, variant.label))
    result.copy, result.copied_by = best.pop("copy")
    result.add, _ = best.pop("add", (math.nan, ""))
    result.others = best
    return result


def add_variant(data: Data) -> Variant:
    """NumPy's addition: what a call from Python costs that does next to nothing."""
    x, y, z = data.x, data.dy, np.empty_like(data.x)
    return Variant("np.add", lambda: np.add(x, y, out=z), lambda result: (result,))
