"""One case: every answer checked against NumPy in float64, then all contestants timed in turns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..common.case import Array, Case, Data, make_data
from ..common.libraries import Library, Variant
from ..common.libraries.with_numpy import NumPy
from .cases import TINY
from .result import Best, Result
from .timing import best_seconds
from .traffic import copy_variants, floor_variants

# Largest errors, relative to the largest entry of that output, at least 1. The data has standard
# deviation 1. We must be right: of half types each rounding is 2^-8 or 2^-11 of an entry, and a sum
# is rounded as well as its norm. Others must have computed the same operator, if with fewer digits:
# torch sums dgamma in bfloat16.
RIGHT = {"float32": 1e-5, "float64": 1e-11, "float16": 2**-10, "bfloat16": 2**-7}
SAME_OPERATOR = {"float32": 1e-2, "float64": 1e-2, "float16": 0.05, "bfloat16": 0.25}
FINE = 1024  # float32 of up to 16384 are multiples of 1 / FINE, or finer


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
        distances = a.reshape(b.shape).astype(np.float64)
        distances -= b  # in place: the largest arrays have ten million elements
        distance = np.abs(distances, out=distances).max(initial=0.0)
        scale = float(max(1.0, b.max(initial=0.0), -b.min(initial=0.0)))
        worst = max(worst, math.inf if np.isnan(distance) else float(distance) / scale)
    return worst


def contestants(
    title: str, library: Library, question: Question, result: Result
) -> Iterator[Variant]:
    """What a library offers for a case, if it answers that; notes what it cannot or does badly."""
    same = SAME_OPERATOR[library.dtype]
    for variant in offered(title, library, question, result):
        try:
            error = difference(variant.read(variant.call()), question.exact)
        except Exception as failure:  # every library has classes of its own
            result.notes.append(reason(title, failure))
            continue
        result.errors[f"{title} {variant.label}"] = error
        if error <= same:
            yield variant
        if error > RIGHT[library.dtype]:
            counted = "counted" if error <= same else "not counted"
            result.notes.append(f"{title} {variant.label} is off by {error:.1e}, {counted}")


def offered(title: str, library: Library, question: Question, result: Result) -> Iterator[Variant]:
    """Its variants until one cannot be prepared."""
    try:
        yield from library.variants(question.case, question.data)
    except Exception as failure:
        result.notes.append(reason(title, failure))


def reason(title: str, failure: Exception) -> str:
    words = (str(failure).splitlines() or [type(failure).__name__])[0]
    return f"{title} cannot: {words[:120]}"


def our_variants(ours: Library, question: Question, result: Result) -> list[Variant]:
    """With out= and without it; notes a wrong answer."""
    variants = list(ours.variants(question.case, question.data))
    for variant in variants:
        error = difference(variant.read(variant.call()), question.exact)
        result.errors[f"ours {variant.label}"] = error
        if error > RIGHT[ours.dtype]:
            result.wrong = True
            result.notes.append(f"ours {variant.label} is off by {error:.1e}: WRONG")
    return variants


def measure(
    question: Question, libraries: Mapping[str, Library], ours: Library, rounds: int
) -> Result:
    """On as many threads as the libraries have been loaded for."""
    case, data = question.case, question.data
    result = Result(case, ours.threads, ours.dtype)
    titled = [("", variant) for variant in our_variants(ours, question, result)]
    for title, variants in (("copy", copy_variants), ("floor", floor_variants)):
        titled += [(title, each) for each in variants(case, data.x.itemsize, ours.threads)]
    if case == TINY:
        titled.append(("add", add_variant(data)))
    measured = len(titled)
    for title, library in libraries.items():
        titled += [(title, each) for each in contestants(title, library, question, result)]
    calls = [variant.call for _, variant in titled]
    times = best_seconds(calls, rounds, rivals=len(titled) - measured)
    result.ours, result.fresh = times[:2]
    best: dict[str, Best] = {}
    for (title, variant), seconds in zip(titled[2:], times[2:], strict=True):
        entry = Best(seconds, variant.label, variant.bound)
        best[title] = min(best.get(title, entry), entry)
    nothing = Best(math.nan, "")
    result.copy = best.pop("copy").seconds
    result.floor = best.pop("floor", nothing).seconds
    if case.arrays == (1, 1) and not math.isnan(result.floor):
        result.copy = min(result.copy, result.floor)  # which is one of the ways to copy
    result.add = best.pop("add", nothing).seconds
    result.others = best
    return result


def add_variant(data: Data) -> Variant:
    """NumPy's addition: what a call from Python costs that does next to nothing."""
    x, y, z = data.x, data.dy, np.empty_like(data.x)
    return Variant("np.add", lambda: np.add(x, y, out=z), lambda result: (result,))


def errors_at(
    case: Case, libraries: Mapping[str, Library], ours: Library, offset: float
) -> dict[str, float]:
    """The error of each library's best way, with x about the offset; nothing is timed."""
    data = make_data(case, ours.dtype, offset)
    if case.adds:  # such sums are exact: digits that storing them loses would count against all
        data = replace(data, dy=np.round(data.dy * FINE) / data.x.dtype.type(FINE))
    question = Question(case, data, exact_answer(case, data))
    result = Result(case, ours.threads, ours.dtype)
    for title, library in {"ours": ours, **libraries}.items():
        for _ in contestants(title, library, question, result):
            pass
    errors: dict[str, float] = {}
    for title in ("ours", *libraries):
        found = [e for name, e in result.errors.items() if name.startswith(f"{title} ")]
        if found:
            errors[title] = min(found)
    return errors
