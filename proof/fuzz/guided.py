"""Cases that atheris leads to code they have not reached: coverage of the package's Python.

An input of the fuzzer is what a case draws instead of random numbers. One that ends in a finding is
kept in `proof-findings/` and runs alone as `--input FILE`.
"""

import argparse
import importlib
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

FIRST = 16  # inputs to begin with
LONGEST = 2048  # bytes of an input
KEPT = "proof-findings"


class Drawn(random.Random):
    """Random choices made of the fuzzer's bytes; all of them 0 when these are used up."""

    def __new__(cls, _: bytes) -> "Drawn":
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        self._data = atheris.FuzzedDataProvider(data)

    def random(self) -> float:
        return float(self._data.ConsumeProbability()) % 1

    def getrandbits(self, k: int) -> int:
        return int(self._data.ConsumeUInt((k + 7) // 8)) >> (-k % 8)


def main(name: str, doc: str | None) -> None:
    """The command: status 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog=f"python -m proof.fuzz.{name}", description=doc)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--input", type=Path, help="run this one alone")
    arguments = parser.parse_args()
    fuzzer = [sys.executable, "-m", "proof.fuzz.guided", name]
    if arguments.input:
        sys.exit(subprocess.run([*fuzzer, str(arguments.input)], check=False).returncode)
    sys.exit(_search(name, fuzzer, arguments.seed, arguments.seconds))


def _search(name: str, fuzzer: list[str], seed: int, seconds: int) -> bool:
    from proof.figures import print_figures  # noqa: PLC0415 - imports what _work has to instrument

    Path(KEPT).mkdir(exist_ok=True)
    options = {  # 0 seconds would be for ever
        **{"seed": seed, "max_total_time": max(seconds, 1), "max_len": LONGEST, "len_control": 0},
        **{"timeout": 60, "rss_limit_mb": 4096, "artifact_prefix": f"{KEPT}/{name}-"},
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        generator = random.Random(seed)
        for i in range(FIRST):
            Path(corpus, str(i)).write_bytes(generator.randbytes(LONGEST))
        given = [f"-{option}={value}" for option, value in options.items()]
        done = subprocess.run(
            [*fuzzer, *given, corpus], capture_output=True, text=True, check=False
        )
    said = done.stdout + done.stderr
    reached = re.findall(r"#(\d+)\s+\S+\s+cov: (\d+)", said)
    runs = re.search(r"Done (\d+) runs", said)
    found = done.returncode != 0 or runs is None
    if found:
        print(said[-8000:])
    figures = {
        "inputs": runs[1] if runs else reached[-1][0] if reached else 0,
        "edges of the package's Python": reached[-1][1] if reached else 0,
        "findings": int(found),
    }
    print_figures(f"fuzz.{name}", seed, time.monotonic() - began, figures)
    return found


def _work() -> None:
    """The fuzzer's process: libFuzzer's options are its arguments."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["normkernels"]):
        check = importlib.import_module(f"proof.fuzz.{name}").check
    atheris.Setup(sys.argv, lambda data: check(Drawn(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    _work()
