#!/usr/bin/env python3
"""What the library costs to build, and how large it is: prints tables, fails if it is too large.

.ci/build_cost.py FOLDER                     builds a wheel of this tree in FOLDER
.ci/build_cost.py --compile LOG COMMAND...   runs COMMAND, a compiler, and notes its time in LOG
"""

import json
import os
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WANTED_SECONDS = 90.0  # of processor time, for `pip wheel .` with all that it installs to build
WANTED_KERNEL_SECONDS = 8.0  # for one kernel file and instruction set
MOST_BYTES = 3_000_000  # of the shared library, stripped, with all instruction sets
MOST_WHEEL_BYTES = 1_500_000


def children_seconds() -> float:
    """Processor time of this process's children that have ended, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compile_and_note(log: str, command: list[str]) -> int:
    """Runs a compiler; a line of `log` says how long it took for which object file."""
    status = subprocess.run(command, check=False).returncode
    if "-c" in command:
        line = json.dumps([command[command.index("-o") + 1], children_seconds()])
        with open(log, "a") as file:
            file.write(line + "\n")
    return status


def build_wheel(folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds of everything, and of each object file."""
    log = folder / "compiled.jsonl"
    launcher = f"{sys.executable};{Path(__file__).resolve()};--compile;{log}"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    environment = os.environ | {"CMAKE_CXX_COMPILER_LAUNCHER": launcher}
    before = children_seconds()
    build = f"--config-settings=build-dir={folder / 'build'}"
    subprocess.run([*command, build, ROOT], check=True, env=environment)
    return children_seconds() - before, dict(map(json.loads, log.read_text().splitlines()))


def text_bytes(object_file: Path) -> int:
    """Code and constants."""
    command = ["size", object_file]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.split()[6])


def print_sizes(sizes: dict[tuple[str, str], int], rest: int) -> None:
    """A table of kernel files and instruction sets; `rest` is what is there once."""
    isas = list(dict.fromkeys(isa for isa, _ in sizes))
    sources = sorted({source for _, source in sizes})
    rows = {source: [sizes.get((isa, source), 0) for isa in isas] for source in sources}
    rows["all kernels"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    print(f"{'kB of code':32}" + "".join(f"{isa:>14}" for isa in isas))
    for name, row in rows.items():
        print(f"{name:32}" + "".join(f"{size / 1000:14.1f}" for size in row))
    print(f"{'what is there once':32}{rest / 1000:14.1f}")


def main(folder: Path) -> int:
    """Prints the tables; times depend on the machine, so sizes alone can fail."""
    seconds, objects = build_wheel(folder)
    (wheel,) = folder.glob("*.whl")
    wheel_size = wheel.stat().st_size
    size = zipfile.ZipFile(wheel).getinfo("normkernels/lib/libnormkernels.so").file_size
    kernels, sizes, rest = {}, {}, 0
    for name, time in sorted(objects.items()):
        if kernel := re.search(r"normkernels_(\w+)\.dir/(.*)\.o$", name):
            kernels[kernel.groups()] = time
            sizes[kernel.groups()] = text_bytes(folder / "build" / name)
        elif "/normkernels.dir/" in name:
            rest += text_bytes(folder / "build" / name)
    for (isa, source), time in sorted(kernels.items(), key=lambda item: -item[1]):
        print(f"{time:6.1f} s  {isa:9} {source}")
    print_sizes(sizes, rest)
    print(f"processor time of a wheel: {seconds:.0f} s, wanted {WANTED_SECONDS:.0f}")
    worst = max(kernels.values())
    print(f"the slowest kernel file: {worst:.1f} s, wanted {WANTED_KERNEL_SECONDS:.0f}")
    print(f"shared library, stripped: {size:,} bytes of {MOST_BYTES:,}")
    print(f"wheel: {wheel_size:,} bytes of {MOST_WHEEL_BYTES:,}")
    return 0 if size <= MOST_BYTES and wheel_size <= MOST_WHEEL_BYTES else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compile"]:
        sys.exit(compile_and_note(sys.argv[2], sys.argv[3:]))
    sys.exit(main(Path(sys.argv[1])))
