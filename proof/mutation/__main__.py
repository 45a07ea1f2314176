"""`python -m proof.mutation`: breaks csrc in so many places, and says how many the tests notice."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from math import sqrt
from pathlib import Path
from typing import Any

import tomllib

from proof.mutation.batch import Batch
from proof.mutation.build import Tree
from proof.mutation.rules import Mutant, all_mutants

BATCHES = 2  # what is left after them overlaps, or is a constant of the compiler
CHECKOUT = Path(__file__).resolve().parents[2]
COLUMNS = ("mutants", "caught", "explained", "survived", "not compiled")
TABLE = Path(__file__).with_name("survivors.toml")


def arguments() -> argparse.Namespace:
    """Those of the command line."""
    parser = argparse.ArgumentParser(prog="python -m proof.mutation", description=__doc__)
    parser.add_argument("--mutants", type=int, default=500, metavar="N", help="how many (500)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice among all (1)")
    parser.add_argument(
        "--only", default="", metavar="PATH", help="files below csrc/ that begin so"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no other after")
    parser.add_argument("--quick", action="store_true", help="only the tests in C++")
    parser.add_argument("--work", type=Path, help="where the copy and its build are kept")
    parser.add_argument("--json", type=Path, help="the ends of mutants; none it has is tried again")
    parser.add_argument("--survivors", action="store_true", help="once more those that survived")
    return parser.parse_args()


def sample(mutants: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    """So many, of each folder as the root of its number; what comes first is such a sample, too."""
    ranked = []
    for name, folder in groupby(sorted(mutants, key=lambda m: m.folder), lambda m: m.folder):
        shuffled = list(folder)
        random.Random(f"{options.seed} {name}").shuffle(shuffled)
        ranked += [(i / sqrt(len(shuffled)), m.key, m) for i, m in enumerate(shuffled)]
    return [mutant for *_, mutant in sorted(ranked, key=lambda r: r[:2])[: options.mutants]]


class Reasons:
    """Why a survivor is right to survive, by its text."""

    def __init__(self, table: dict[str, list[dict[str, Any]]]):
        """From survivors.toml."""
        self.of = {(e["file"], e["line"], e["mutant"]): e["reason"] for e in table["explained"]}

    def explained(self, key: tuple[str, str, str]) -> bool:
        """Whether the table has this change of the line, or any."""
        return key in self.of or (*key[:2], "*") in self.of


def summary(results: list[dict[str, Any]], reasons: Reasons) -> tuple[list[str], int]:
    """Lines by folder, and how many survive without a reason."""
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    unexplained = []
    for r in results:
        end = r["end"]
        if end == "survived" and reasons.explained((r["file"], r["line"], r["mutant"])):
            end = "explained"
        elif end == "survived":
            unexplained.append(r)
        for folder in (r["folder"], "all"):
            ends[folder][end] += 1
    lines = [" " * 8 + "".join(f"{name:>14}" for name in COLUMNS)]
    for folder, c in sorted(ends.items(), key=lambda item: (item[0] == "all", item[0])):
        caught = c["failed"] + c["hung"]
        made = caught + c["explained"] + c["survived"]
        counts = [made, caught, c["explained"], c["survived"], c["not compiled"]]
        lines.append(f"{folder:8}" + "".join(f"{count:14}" for count in counts))
    by = Counter(r["test"] for r in results if r["test"]).most_common()
    lines += ["caught by: " + ", ".join(f"{test} {count}" for test, count in by)]
    for r in unexplained:
        lines += [f"survived: {r['file']}", f"  - {r['line']}", f"  + {r['mutant']}"]
    return lines, len(unexplained)


def ends(
    tree: Tree, mutants: list[Mutant], last: float
) -> Iterator[tuple[Mutant, tuple[str, str], float]]:
    """How each ended, and after how long: first in builds of many, then those that go alone."""
    for _ in range(BATCHES):
        batch = Batch(tree, mutants)
        if not batch.mutants or time.monotonic() > last:
            break
        with batch.built():
            if batch.mutants:  # some that can be compiled
                tree.measure(batch.size)
            for number, mutant in batch.mutants.items():
                started = time.monotonic()
                if started > last:
                    return
                yield mutant, tree.tested(number), time.monotonic() - started
        tried = {mutant.key for mutant in batch.mutants.values()}
        mutants = [mutant for mutant in mutants if mutant.key not in tried]
    for mutant in mutants:
        started = time.monotonic()
        if started > last:
            return
        yield mutant, tree.one(mutant), time.monotonic() - started


def main() -> int:
    """Runs, and reports."""
    options = arguments()
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    unbroken = {
        kind: {name for entry in table["unbroken"] for name in entry.get(kind, ())}
        for kind in ("constants", "calls")
    }
    begin = time.monotonic()
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    results = {(r["file"], r["line"], r["mutant"]): r for r in known}
    again = {k for k, r in results.items() if options.survivors and r["end"] == "survived"}
    with tempfile.TemporaryDirectory() as scratch:
        tree = Tree(CHECKOUT, options.work or Path(scratch), options.quick)
        every = all_mutants(tree.root / "csrc", tree.build, unbroken)
        chosen = sample([m for m in every if m.file.startswith(options.only)], options)
        if options.survivors:
            chosen = [m for m in every if m.key in again]
        chosen = [m for m in chosen if m.key in again or m.key not in results]
        for mutant, (end, test), seconds in ends(tree, chosen, begin + options.seconds):
            file, line, broken = mutant.key
            results[mutant.key] = {
                "folder": mutant.folder, "file": file, "line": line, "mutant": broken,
                "kind": mutant.kind, "end": end, "test": test, "seconds": round(seconds, 1),
            }  # fmt: skip
            if options.json:
                options.json.write_text(json.dumps(list(results.values()), indent=1))
            print(f"{end} {test} {seconds:.1f} s: {file}: {broken}", flush=True)
    lines, unexplained = summary(list(results.values()), Reasons(table))
    print(*lines, sep="\n")
    seconds = time.monotonic() - begin
    print(f"{len(results)} of {len(every)} mutants, seed {options.seed}, avx2, {seconds:.0f} s")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
