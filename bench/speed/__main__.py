"""normkernels beside other libraries and beside what only moves the same bytes, in Markdown.

    python -m bench.speed [--quick] [--filter REGEX] [--threads 1,2] [--isa avx2] [--docs DIR] ...

One process. Every answer, ours too, is checked against NumPy in float64 before it is timed; then
all take turns, and the best round counts: first on one CPU with one thread, then on two with two.
"ours" writes into out=, "fresh" allocates its outputs as most calls do. r = best other library /
ours; beside it the same for those that write into given memory ("bound"), over ours with out=, and
for those that allocate, over ours without. c = copy / ours, f = floor / ours: the floor reads the
operator's inputs and writes its outputs once and computes nothing, and the copy moves as many bytes
from one array to another. Above 1, ours is faster. Then the bars follow, and which of them hold.
Ends with status 1 if an answer of ours is wrong.

--isa keeps all to an instruction set, but for those that cannot be kept to one. A page of
several runs, each with its own machine and set:

    python -m bench.speed --isa avx2 --json avx2.json
    python -m bench.speed --isa avx512 --json avx512.json
    python -m bench.speed --from avx2.json avx512.json --docs docs --readme README.md

--through torch calls normkernels.torch's functions on tensors, beside torch's own alone, and has
both differentiated by autograd: what the package for torch adds shows at small sizes.

torch.compile takes part with --libraries all or when it is named: it runs the C++ compiler for each
case and number of threads, for one to three seconds.
"""

import argparse
import gc
import importlib.util
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import normkernels as nk

from ..common.isa import (
    is_limit,
    known_isas,
    missing_variables,
    module_again,
    supported_isas,
)
from ..common.libraries import LIBRARIES, ON_DEMAND, Library, load, parse_titles
from ..common.libraries.ours import Ours
from ..common.machine import describe_machine, pinned
from ..common.markdown import count_threads
from ..common.progress import progress_bar
from .caches import cache_sizes, describe_caches
from .cases import CASES, FAR, QUICK
from .measure import RIGHT, ask, errors_at, measure
from .outcome import Outcome, from_json, pair_up
from .readme import write_readme
from .result import USUAL, Result
from .tables import FAR_MEAN
from .timing import seconds_of_others
from .traffic import describe_copies


def parse_threads(text: str) -> list[int]:
    """The type of the option --threads."""
    counts = sorted({int(count) for count in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{counts[0]}, must be at least 1")
    return counts


def parse_dtypes(text: str) -> list[str]:
    """The type of the option --dtype."""
    dtypes = [*dict.fromkeys(text.split(","))]
    for dtype in dtypes:
        if dtype not in RIGHT:
            raise argparse.ArgumentTypeError(f"{dtype!r} is none of {', '.join(RIGHT)}")
    return dtypes


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
    parser.add_argument(
        "--dtype",
        type=parse_dtypes,
        default=[USUAL],
        metavar="A,B",
        help=f"of {', '.join(RIGHT)} (default: {USUAL})",
    )
    parser.add_argument(
        "--isa", choices=known_isas(), help="keep all to it (default: what the machine has)"
    )
    parser.add_argument(
        "--offset", type=float, default=0, metavar="M", help="mean of x, whose deviation is 1"
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="default 7")
    parser.add_argument(
        "--libraries",
        type=parse_titles,
        default=list(LIBRARIES),
        metavar="A,B",
        help=f"all, or some of {', '.join(LIBRARIES | ON_DEMAND)} (default: those that are "
        f"installed, without {', '.join(ON_DEMAND)})",
    )
    parser.add_argument(
        "--through",
        choices=("arrays", "torch"),
        default="arrays",
        help="what our functions are called on (default: arrays)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", help="write speed.md and its pictures here, too"
    )
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="write the table between its marks anew"
    )
    parser.add_argument(
        "--from",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        dest="saved",
        help="numbers of --json, of one run each: measure nothing",
    )
    options = parser.parse_args(arguments)
    if options.json and len(options.saved) > 1:
        parser.error("--json: one run each")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}, must be at least 1")
    if options.isa and options.isa not in supported_isas():
        parser.error(f"--isa: this machine lacks {options.isa}")
    if options.through == "torch" and importlib.util.find_spec("torch") is None:
        parser.error("--through: torch is not installed")
    if "bfloat16" in options.dtype and importlib.util.find_spec("ml_dtypes") is None:
        parser.error("--dtype: bfloat16 needs ml_dtypes")
    try:
        wanted = re.compile(options.filter, re.IGNORECASE)
    except re.error as error:
        parser.error(f"--filter: {error}")
    cases = QUICK if options.quick else CASES
    options.cases = [case for case in cases if wanted.search(case.name)]
    if not options.cases:
        parser.error(f"--filter: no case matches {options.filter!r}")
    return options


def measure_all(options: argparse.Namespace, pin: Callable[[int], None]) -> Outcome:
    """Each case on each number of threads, one after the other; one dtype after the other."""
    caches = cache_sizes()
    most = max(options.threads)
    described = load_all(options, most, options.dtype[0])
    dtypes = " and ".join(options.dtype)
    machine = describe_machine(most, dtypes, described, options.isa) | {
        "Caches": describe_caches(caches),
        "Copy": describe_copies(),
        "Run": f"{dtypes}, {' and '.join(map(count_threads, options.threads))}",
        "Ours": "functions on tensors" if options.through == "torch" else "functions on arrays",
        "Data": f"x from N({options.offset:g}, 1), dy and residuals from N(0, 1)",
    }
    results: list[Result] = []
    gc.freeze()  # what libraries have made of themselves is not looked through before every case
    start, others = time.monotonic(), seconds_of_others()
    with progress_bar(len(options.dtype) * len(options.cases) * len(options.threads)) as show:
        for dtype in options.dtype:
            libraries = {threads: load_all(options, threads, dtype) for threads in options.threads}
            for case in options.cases:
                question = ask(case, dtype, options.offset)
                for threads in options.threads:
                    show(f"{case.name}, {dtype}, {count_threads(threads)}")
                    pin(threads)
                    nk.set_num_threads(threads)
                    ours = load_ours(options, threads, dtype)
                    results.append(measure(question, libraries[threads], ours, options.rounds))
    others = (seconds_of_others() - others) / (time.monotonic() - start) / (os.cpu_count() or 1)
    if not math.isnan(others):
        machine["Other processes"] = f"{others:.1%} of all CPUs during the run"
    limit = is_limit(options.isa)
    unlimited = [title for title, library in described.items() if limit and not library.limited]
    far = far_errors(options, results)
    return Outcome(machine, caches, results, nk.active_isa(), unlimited, far)


def far_errors(options: argparse.Namespace, results: list[Result]) -> dict[str, dict[str, float]]:
    """By kind and library, in float32, of the kinds that have been timed: the larger of layouts."""
    dtype, threads = USUAL, min(options.threads)
    timed = {(x.case.operator, x.case.direction) for x in results if x.dtype == dtype}
    found: dict[str, dict[str, float]] = {}
    if timed:
        libraries, ours = load_all(options, threads, dtype), load_ours(options, threads, dtype)
    for case in FAR:
        if (case.operator, case.direction) in timed:
            kind = found.setdefault(f"{case.operator} {case.direction}", {})
            for title, error in errors_at(case, libraries, ours, FAR_MEAN).items():
                kind[title] = max(error, kind.get(title, 0.0))
    return found


def load_ours(options: argparse.Namespace, threads: int, dtype: str) -> Library:
    if options.through == "arrays":
        return Ours(threads, dtype)
    from ..common.libraries.through_torch import OursInTorch  # noqa: PLC0415  (needs torch)

    return OursInTorch(threads, dtype)


def load_all(options: argparse.Namespace, threads: int, dtype: str) -> dict[str, Library]:
    if options.through == "torch":
        from ..common.libraries.through_torch import TorchByAutograd  # noqa: PLC0415

        return {"torch": TorchByAutograd(threads, dtype)}
    loaded = {title: load(title, threads, dtype) for title in options.libraries}
    return {title: library for title, library in loaded.items() if library}


def run(options: argparse.Namespace, pin: Callable[[int], None]) -> int:
    if options.saved:
        outcomes = [from_json(json.loads(path.read_text())) for path in options.saved]
        pair_up(outcomes)
    else:
        outcomes = [measure_all(options, pin)]
    print("\n\n".join(outcome.markdown() for outcome in outcomes))
    if options.json:
        (outcome,) = outcomes
        options.json.write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
    if options.docs:
        from .page import write_page  # noqa: PLC0415  (needs matplotlib)

        write_page(options.docs, outcomes)
    if options.readme:
        write_readme(options.readme, outcomes)
    return 1 if any(result.wrong for outcome in outcomes for result in outcome.results) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(case.name for case in options.cases))
        return 0
    if not options.saved and (missing := missing_variables(options.isa)):
        module_again("bench.speed", list(sys.argv[1:] if arguments is None else arguments), missing)
    before = nk.num_threads()
    with pinned(max(options.threads)) as pin:
        try:
            return run(options, pin)
        finally:
            nk.set_num_threads(before)


if __name__ == "__main__":
    sys.exit(main())
