"""normkernels beside other libraries and beside a copy of the same bytes, as a Markdown table.

    python bench/compare.py [--all | --quick] [--filter REGEX] [--threads N] [--offset M] ...

One process on as many CPUs as threads. Every answer, ours too, is checked against NumPy in float64
before it is timed; then all take turns, and the best round counts. "ours" writes into out=, "fresh"
allocates its outputs as most calls do. r = best other library / ours; c = copy / ours, where the
copy moves as many bytes as the operator must (x and y; backward x, dy and dx). Above 1, ours is
faster. Ends with status 1 if an answer of ours is wrong.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import normkernels as nk
import numpy as np
from cases import ODD, QUICK, USUAL, Array, Case, Data, make_data
from libraries import LIBRARIES, Library, Variant, load, parse_titles
from libraries.ours import Ours, copy_variant
from libraries.with_numpy import NumPy
from progress import progress_bar
from report import Result, as_json, describe_machine, error_lines, summary_lines, table_lines
from timing import best_seconds, pinned

# Largest errors, relative to the largest entry of that output, at least 1. The data has standard
# deviation 1. We must be right; others must have computed the same operator, if with fewer digits.
RIGHT = {"float32": 1e-5, "float64": 1e-11}
SAME_OPERATOR = 1e-2


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


def exact_answer(case: Case, data: Data) -> tuple[Array, ...]:
    wide = (a.astype(np.float64) for a in (data.x, data.dy, data.gamma, data.beta))
    (variant,) = NumPy(1, "float64").variants(case, Data(*wide))
    return variant.read(variant.call())


def contestants(
    title: str, library: Library, data: Data, exact: Sequence[Array], result: Result
) -> Iterator[Variant]:
    """What a library offers for a case, if it answers that; notes what it cannot or does badly."""
    try:
        for variant in library.variants(result.case, data):
            error = difference(variant.read(variant.call()), exact)
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
    case: Case, libraries: dict[str, Library], ours: Library, rounds: int, offset: float = 0
) -> Result:
    result = Result(case)
    data = make_data(case, ours.dtype, offset)
    exact = exact_answer(case, data)
    mine = list(ours.variants(case, data))
    for variant in mine:
        error = difference(variant.read(variant.call()), exact)
        result.errors[f"ours {variant.label}"] = error
        if error > RIGHT[ours.dtype]:
            result.wrong = True
            result.notes.append(f"ours {variant.label} is off by {error:.1e}: WRONG")
    others = [
        (title, variant)
        for title, library in libraries.items()
        for variant in contestants(title, library, data, exact, result)
    ]
    variants = [*mine, copy_variant(case, data), *(variant for _, variant in others)]
    times = best_seconds([variant.call for variant in variants], rounds)
    result.ours, result.fresh, result.copy = times[:3]
    for (title, variant), seconds in zip(others, times[3:], strict=True):
        if title not in result.others or seconds < result.others[title][0]:
            result.others[title] = (seconds, variant.label)
    return result


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="the odd cases, too")
    which.add_argument("--quick", action="store_true", help="a few small cases")
    parser.add_argument("--filter", default="", metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--dtype", choices=sorted(RIGHT), default="float32")
    parser.add_argument(
        "--offset", type=float, default=0, metavar="M", help="mean of x, whose deviation is 1"
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="default 9")
    parser.add_argument(
        "--libraries",
        type=parse_titles,
        default=list(LIBRARIES),
        metavar="A,B",
        help=f"of {', '.join(LIBRARIES)} (default: all installed)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    options = parser.parse_args(arguments)
    for name in ("threads", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}, must be at least 1")
    try:
        wanted = re.compile(options.filter, re.IGNORECASE)
    except re.error as error:
        parser.error(f"--filter: {error}")
    cases = QUICK if options.quick else USUAL + ODD if options.all else USUAL
    options.cases = [case for case in cases if wanted.search(case.name)]
    if not options.cases:
        parser.error(f"--filter: no case matches {options.filter!r}")
    return options


def run(options: argparse.Namespace) -> int:
    loaded = {title: load(title, options.threads, options.dtype) for title in options.libraries}
    libraries = {title: library for title, library in loaded.items() if library}
    machine = describe_machine(options.threads, options.dtype, libraries)
    machine["Data"] = f"x from N({options.offset:g}, 1), dy from N(0, 1)"
    ours = Ours(options.threads, options.dtype)
    results = []
    with progress_bar(len(options.cases)) as show:
        for case in options.cases:
            show(case.name)
            results.append(measure(case, libraries, ours, options.rounds, options.offset))
    notes = [f"{result.case.name}: {note}" for result in results for note in result.notes]
    blocks = [
        [f"{name}: {text}  " for name, text in machine.items()],
        table_lines(results, list(libraries)),
        error_lines(results, list(libraries)),
        summary_lines(results),
        [f"- {note}" for note in notes],
    ]
    print("\n\n".join("\n".join(block) for block in blocks).rstrip())
    if options.json:
        options.json.write_text(json.dumps(as_json(machine, results), indent=1) + "\n")
    return 1 if any(result.wrong for result in results) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(case.name for case in options.cases))
        return 0
    before = nk.num_threads()
    with pinned(options.threads):
        nk.set_num_threads(options.threads)
        try:
            return run(options)
        finally:
            nk.set_num_threads(before)


if __name__ == "__main__":
    sys.exit(main())
