"""normkernels beside other libraries and beside a copy of the same bytes, in Markdown.

    python -m bench.speed [--quick] [--filter REGEX] [--threads 1,2] [--docs DIR] ...

One process. Every answer, ours too, is checked against NumPy in float64 before it is timed; then
all take turns, and the best round counts: first on one CPU with one thread, then on two with two.
"ours" writes into out=, "fresh" allocates its outputs as most calls do. r = best other library /
ours; c = copy / ours, where the copy moves as many bytes as the operator must (x and y; backward
x, dy and dx) by the fastest of memcpy, ordinary and streaming stores. Above 1, ours is faster.
Then the bars follow, and which of them hold. Ends with status 1 if an answer of ours is wrong.

torch.compile takes part with --libraries all or when it is named: it runs the C++ compiler for each
case and number of threads, for one to three seconds.
"""

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import normkernels as nk

from ..common.libraries import LIBRARIES, ON_DEMAND, Library, load, parse_titles
from ..common.libraries.ours import Ours
from ..common.machine import describe_machine, pinned
from ..common.markdown import count_threads
from ..common.progress import progress_bar
from .caches import cache_sizes, describe_caches
from .cases import ODD, QUICK, USUAL
from .copies import describe_copies
from .measure import RIGHT, ask, measure
from .outcome import Outcome, from_json
from .timing import seconds_of_others


def parse_threads(text: str) -> list[int]:
    """The type of the option --threads."""
    counts = sorted({int(count) for count in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{counts[0]}, must be at least 1")
    return counts


def default_threads() -> list[int]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [1, 2] if (cpus or 1) > 1 else [1]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a few small cases")
    parser.add_argument("--filter", default="", metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument(
        "--threads",
        type=parse_threads,
        default=default_threads(),
        metavar="N,M",
        help="default 1,2, or 1 on a single CPU",
    )
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
        help=f"all, or some of {', '.join(LIBRARIES | ON_DEMAND)} (default: those that are "
        f"installed, without {', '.join(ON_DEMAND)})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", help="write speed.md and its pictures here, too"
    )
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="saved", help="numbers of --json: measure nothing"
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, must be at least 1")
    try:
        wanted = re.compile(options.filter, re.IGNORECASE)
    except re.error as error:
        parser.error(f"--filter: {error}")
    cases = QUICK if options.quick else USUAL + ODD
    options.cases = [case for case in cases if wanted.search(case.name)]
    if not options.cases:
        parser.error(f"--filter: no case matches {options.filter!r}")
    return options


def measure_all(options: argparse.Namespace, pin: Callable[[int], None]) -> Outcome:
    """Each case on each number of threads, one after the other."""
    libraries = {threads: load_all(options, threads) for threads in options.threads}
    most = max(options.threads)
    caches = cache_sizes()
    machine = describe_machine(most, options.dtype, libraries[most]) | {
        "Caches": describe_caches(caches),
        "Copy": describe_copies(),
        "Run": f"{options.dtype}, {' and '.join(map(count_threads, options.threads))}",
        "Data": f"x from N({options.offset:g}, 1), dy from N(0, 1)",
    }
    results = []
    start, others = time.monotonic(), seconds_of_others()
    with progress_bar(len(options.cases) * len(options.threads)) as show:
        for case in options.cases:
            question = ask(case, options.dtype, options.offset)
            for threads in options.threads:
                show(f"{case.name}, {count_threads(threads)}")
                pin(threads)
                nk.set_num_threads(threads)
                ours = Ours(threads, options.dtype)
                results.append(measure(question, libraries[threads], ours, options.rounds))
    others = (seconds_of_others() - others) / (time.monotonic() - start) / (os.cpu_count() or 1)
    if not math.isnan(others):
        machine["Other processes"] = f"{others:.1%} of all CPUs during the run"
    return Outcome(machine, caches, results)


def load_all(options: argparse.Namespace, threads: int) -> dict[str, Library]:
    loaded = {title: load(title, threads, options.dtype) for title in options.libraries}
    return {title: library for title, library in loaded.items() if library}


def run(options: argparse.Namespace, pin: Callable[[int], None]) -> int:
    if options.saved:
        outcome = from_json(json.loads(options.saved.read_text()))
    else:
        outcome = measure_all(options, pin)
    print(outcome.markdown())
    if options.json:
        options.json.write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
    if options.docs:
        from .page import write_page  # noqa: PLC0415  (needs matplotlib)

        write_page(options.docs, outcome)
    return 1 if any(result.wrong for result in outcome.results) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(case.name for case in options.cases))
        return 0
    before = nk.num_threads()
    with pinned(max(options.threads)) as pin:
        try:
            return run(options, pin)
        finally:
            nk.set_num_threads(before)


if __name__ == "__main__":
    sys.exit(main())
