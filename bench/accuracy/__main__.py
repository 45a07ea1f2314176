"""The largest errors of normkernels and of other libraries, as a page with tables and a picture.

    python -m bench.accuracy [--quick] [--libraries A,B] [--output DIR]

Writes accuracy.md and accuracy.svg. Every library computes the same inputs, in one process and on
one thread, and is held against tests/reference.py, one precision up. Ends with status 1 if an error
of ours is above the promise.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..common.libraries import LIBRARIES, Library, load, parse_titles
from ..common.libraries.ours import Ours
from ..common.machine import describe_machine, pinned
from ..common.progress import progress_bar
from .cases import Input, panels, sections
from .measure import Row, measure
from .page import page
from .pictures import save_picture

DOCS = Path(__file__).resolve().parents[2] / "docs"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="no long rows, few offsets")
    parser.add_argument(
        "--libraries",
        type=parse_titles,
        default=[title for title in LIBRARIES if title != "NumPy"],
        metavar="A,B",
        help=f"of {', '.join(LIBRARIES)} (default: all installed but NumPy)",
    )
    parser.add_argument(
        "--output", type=Path, default=DOCS, metavar="DIR", help="default: docs of this checkout"
    )
    return parser.parse_args(arguments)


def load_all(titles: Sequence[str], dtype: str) -> dict[str, Library]:
    """Ours, and those that are installed."""
    loaded = {title: load(title, 1, dtype) for title in titles}
    return {"ours": Ours(1, dtype)} | {title: x for title, x in loaded.items() if x}


def measure_all(inputs: Sequence[Input], titles: Sequence[str]) -> dict[Input, list[Row]]:
    """One dtype after the other, because JAX has it as a setting of the process."""
    results = {}
    with progress_bar(len(inputs)) as show:
        for dtype in ("float32", "float64"):
            libraries = load_all(titles, dtype)
            for each in inputs:
                if each.dtype == dtype:
                    show(f"{each.case.name}: {each.name}")
                    results[each] = measure(each, libraries)
    return results


def run(options: argparse.Namespace) -> int:
    others = load_all(options.libraries, "float32")
    others.pop("ours")
    machine = describe_machine(1, "float32 and float64", others)
    tables, sweeps = sections(options.quick), panels(options.quick)
    inputs = [each for table in tables for each in table.inputs]
    inputs += [each for panel in sweeps for each in panel.inputs.values()]
    results = measure_all(inputs, options.libraries)
    rows = {
        table.title: [row for each in table.inputs for row in results[each]] for table in tables
    }
    swept = {
        panel.title: {
            mean: next(row for row in results[each] if row.output == panel.output)
            for mean, each in panel.inputs.items()
        }
        for panel in sweeps
    }
    options.output.mkdir(parents=True, exist_ok=True)
    save_picture(options.output / "accuracy.svg", swept)
    (options.output / "accuracy.md").write_text(page(machine, rows, swept, "accuracy.svg"))
    broken = [
        f"{title}, {row.output}, {row.name}: {row.least('ours'):.3g}, promised {row.promise:g}"
        for title, its_rows in rows.items()
        for row in its_rows
        if not row.least("ours") <= row.promise
    ]
    print("\n".join(broken) or f"{options.output / 'accuracy.md'}: ours keeps every promise")
    return 1 if broken else 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with pinned(1):
        return run(options)


if __name__ == "__main__":
    sys.exit(main())
