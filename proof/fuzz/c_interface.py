"""Fuzzes the C interface: `python -m proof.fuzz.c_interface --seconds 60 --seed 1`.

Builds the preset `fuzz`, runs libFuzzer on one core and prints what it did. With `--coverage` the
corpus is then run through the preset `fuzz-coverage`, and the lines of csrc that it reached are
listed by llvm-cov.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_INPUT = 512  # bytes: a call of the most parameters takes about 200


def built(preset: str) -> Path:
    """The fuzzer of a preset."""
    for command in (["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build" / preset / "proof" / "fuzz" / "normkernels_fuzz"


def fuzz(program: Path, corpus: Path, seconds: int, seed: int) -> tuple[int, str]:
    """How the search ended, and all that it said."""
    command = [
        program,
        f"-max_total_time={max(seconds, 1)}",  # 0 would be for ever
        f"-seed={seed}",
        f"-max_len={LONGEST_INPUT}",
        "-len_control=0",
        "-entropic_scale_per_exec_time=1",  # large arrays are rarely worth their time
        "-timeout=60",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        f"-artifact_prefix={program}-",
        corpus,
    ]
    environment = os.environ | {
        "ASAN_OPTIONS": "malloc_context_size=2",  # most of the time went into longer ones
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


def figures(said: str, seconds: int, seed: int) -> str:
    """One line of what libFuzzer prints: executions, edges, inputs that reached new ones."""
    executions = re.search(r"stat::number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    inputs = re.findall(r"corp: (\d+)", said)
    of_all = re.search(r"Loaded 1 modules\s+\((\d+) inline 8-bit counters\)", said)
    return (
        f"c_interface: {executions[1] if executions else '?'} executions, {seconds} s, "
        f"{edges[-1] if edges else '?'} of {of_all[1] if of_all else '?'} edges, "
        f"{inputs[-1] if inputs else '?'} inputs in the corpus, seed {seed}, avx2"
    )


def coverage(corpus: Path) -> str:
    """The lines of csrc that the corpus reaches, by file."""
    program = built("fuzz-coverage")
    with tempfile.TemporaryDirectory() as folder:
        raw, data = Path(folder, "raw"), Path(folder, "data")
        environment = os.environ | {"LLVM_PROFILE_FILE": str(raw)}
        subprocess.run(
            [program, "-runs=0", corpus], env=environment, check=True, stderr=subprocess.DEVNULL
        )
        subprocess.run(["llvm-profdata-14", "merge", "-sparse", raw, "-o", data], check=True)
        report = ["llvm-cov-14", "report", program, f"-instr-profile={data}", ROOT / "csrc"]
        return subprocess.run(report, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Fuzzes, and says what was found: 1 if anything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of every random choice")
    parser.add_argument("--corpus", type=Path, help="a folder that is read and added to")
    parser.add_argument("--coverage", action="store_true", help="list the lines it reaches")
    arguments = parser.parse_args()
    program = built("fuzz")
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus or Path(folder, "corpus")
        corpus.mkdir(exist_ok=True)
        code, said = fuzz(program, corpus, arguments.seconds, arguments.seed)
        if code != 0:
            report = re.search(r"^.*(FINDING|ERROR: |runtime error)", said, re.MULTILINE)
            print(said[report.start() if report else 0 :][:5000], file=sys.stderr)
        if arguments.coverage:
            print(coverage(corpus))
    findings = "no findings" if code == 0 else "1 FINDING"
    print(f"{figures(said, arguments.seconds, arguments.seed)}: {findings}")
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
