#!/usr/bin/env python3
"""What the library costs to build, and how large it is: prints a table, fails if it is too large.

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


def main(folder: Path) -> int:
    """Prints the table; times depend on the machine, so sizes alone can fail."""
    seconds, objects = build_wheel(folder)
    (wheel,) = folder.glob("*.whl")
    wheel_size = wheel.stat().st_size
    size = zipfile.ZipFile(wheel).getinfo("normkernels/lib/libnormkernels.so").file_size
    kernels = {
        name: time for name, time in objects.items() if re.search(r"normkernels_\w+\.dir", name)
    }
    for name, time in sorted(kernels.items(), key=lambda item: -item[1]):
        isa, source = re.search(r"normkernels_(\w+)\.dir/(.*)\.o$", name).groups()
        (object_file,) = folder.glob(f"build/{name}")
        text = subprocess.run(
            ["size", object_file], check=True, capture_output=True, text=True
        ).stdout
        print(f"{time:6.1f} s {int(text.split()[6]) / 1000:7.0f} kB  {isa:9} {source}")
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
