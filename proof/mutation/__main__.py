"""`python -m proof.mutation`: breaks csrc in so many places, and says how many the tests notice."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import groupby
from math import sqrt
from pathlib import Path
from typing import Any

import tomllib

from proof.mutation.build import Tree
from proof.mutation.rules import Mutant, all_mutants

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
    parser.add_argument("--work", type=Path, help="where the copy and its build are kept")
    parser.add_argument(
        "--json", type=Path, help="each mutant and its end; what it has is not run again"
    )
    parser.add_argument("--survivors", action="store_true", help="but those that survived are")
    return parser.parse_args()


def sample(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """So many, of each folder as the root of its number; what comes first is such a sample, too."""
    chance = random.Random(seed)
    ranked = []
    for _, folder in groupby(sorted(mutants, key=lambda m: m.folder), lambda m: m.folder):
        shuffled = list(folder)
        chance.shuffle(shuffled)
        ranked += [(i / sqrt(len(shuffled)), m.key, m) for i, m in enumerate(shuffled)]
    return [mutant for *_, mutant in sorted(ranked, key=lambda r: r[:2])[:count]]


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
    kept = [r for r in known if not (options.survivors and r["end"] == "survived")]
    results = {(r["file"], r["line"], r["mutant"]): r for r in kept}
    again = {(r["file"], r["line"], r["mutant"]) for r in known} - set(results)
    with tempfile.TemporaryDirectory() as scratch:
        tree = Tree(CHECKOUT, options.work or Path(scratch))
        every = all_mutants(tree.root / "csrc", tree.build, unbroken)
        chosen = sample(every, options.mutants, options.seed)
        if options.survivors:
            chosen = [mutant for mutant in every if mutant.key in again]
        for mutant in chosen:
            if mutant.key in results or not mutant.file.startswith(options.only):
                continue
            if time.monotonic() - begin > options.seconds:
                break
            started = time.monotonic()
            end, test = tree.try_out(mutant)
            file, line, broken = mutant.key
            results[mutant.key] = {
                "folder": mutant.folder, "file": file, "line": line, "mutant": broken,
                "kind": mutant.kind, "end": end, "test": test,
                "seconds": round(time.monotonic() - started, 1),
            }  # fmt: skip
            if options.json:
                options.json.write_text(json.dumps(list(results.values()), indent=1))
            print(f"{end} {test} {results[mutant.key]['seconds']} s: {file}: {broken}", flush=True)
    lines, unexplained = summary(list(results.values()), Reasons(table))
    print(*lines, sep="\n")
    seconds = time.monotonic() - begin
    print(f"{len(results)} of {len(every)} mutants, seed {options.seed}, avx2, {seconds:.0f} s")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
