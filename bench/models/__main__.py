"""Whole models with our norms beside the same with torch's own, as a page with a table.

    python -m bench.models [--quick] [--filter REGEX] [--threads 1,2] [--rounds N] [--output DIR]

Writes models.md. Takes about two minutes on two quiet cores; with --quick a few seconds, and the
page is only printed.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..common.machine import describe_machine, pinned
from ..common.progress import progress_bar
from ..speed.__main__ import default_threads, parse_threads
from .measure import measure
from .nets import NETS, QUICK
from .page import page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="tiny models, one round; print only")
    parser.add_argument("--filter", default="", metavar="REGEX", help="models whose name matches")
    parser.add_argument(
        "--threads",
        type=parse_threads,
        default=default_threads(),
        metavar="N,M",
        help="default 1,2",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--output", type=Path, default=DOCS, metavar="DIR", help="default: docs of this checkout"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    wanted = re.compile(options.filter, re.IGNORECASE)
    nets = [net for net in (QUICK if options.quick else NETS) if wanted.search(net.name)]
    rounds = 1 if options.quick else options.rounds
    before = torch.get_num_threads()
    timings = []
    most = max(options.threads)
    with pinned(most), progress_bar(len(nets)) as show:
        try:
            for net in nets:
                show(net.name)
                timings += measure(net, options.threads, rounds)
        finally:
            torch.set_num_threads(before)
    text = page(
        describe_machine(most, "float32", {}) | {"Others": f"torch {torch.__version__}"}, timings
    )
    print(text, end="")
    if not options.quick:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "models.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
