"""Other compilers: each builds the library, warnings being errors, and tests bits and headers.

    python -m proof.compilers g++-11 clang++-16

Without names it is every version of GCC and Clang, from the oldest supported on, that is in PATH.
Right bits are right values: those of the presets `gcc` and `clang` are compared with the formulas.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

OLDEST = {"g": 11, "clang": 14}  # as CMakeLists.txt has them

# The other tests take longer to compile than the library.
TESTS = ["digests", "c_abi", "interface_17", "interface_20", "no_exceptions"]


def installed():
    """The names of all supported versions of GCC and Clang that are in PATH, in order."""
    found = {
        (match[1], int(match[2]))
        for folder in os.get_exec_path()
        for path in Path(folder).glob("*++-*")
        if (match := re.fullmatch(r"(g|clang)\+\+-(\d+)", path.name))
    }
    return [f"{kind}++-{version}" for kind, version in sorted(found) if version >= OLDEST[kind]]


def output_of(*command):
    """What a command that must succeed writes."""
    done = subprocess.run(
        command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def try_compiler(name, isas):
    """Builds and tests in a folder of its own; what ctest says at the end."""
    build = f"build/compilers/{name}"
    settings = {
        "CMAKE_C_COMPILER": name.replace("clang++", "clang").replace("g++", "gcc"),
        "CMAKE_CXX_COMPILER": name,
        "NORMKERNELS_BENCH": "OFF",
        "NORMKERNELS_EMULATE_WIDE": "OFF",
        "NORMKERNELS_ISAS": isas,
    }
    given = [f"-D{key}={value}" for key, value in settings.items()]
    output_of("cmake", "--preset", "gcc", "-B", build, *given)
    targets = [f"normkernels_{test}" for test in TESTS]
    jobs = str(os.cpu_count())
    output_of("cmake", "--build", build, "--parallel", jobs, "--target", *targets)
    chosen = f"^({'|'.join(TESTS)})$"
    said = output_of("ctest", "--test-dir", build, "-R", chosen, "--output-on-failure")
    return re.search(r"\d+% tests passed.*", said)[0]


def main():
    """Every compiler in turn; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compilers", nargs="*", help="such as g++-11 or clang++-16")
    parser.add_argument("--isas", default="", help="instruction sets, as NORMKERNELS_ISAS has them")
    arguments = parser.parse_args()
    compilers = arguments.compilers or installed()
    failed = 0
    for name in compilers:
        start = time.monotonic()
        try:
            said = try_compiler(name, arguments.isas)
        except RuntimeError as error:
            said, failed = str(error), failed + 1
        print(f"{name} ({time.monotonic() - start:.0f} s): {said}", flush=True)
    print(f"{len(compilers)} compilers, {failed} of them failed")
    return min(failed, 1) if compilers else 1


if __name__ == "__main__":
    sys.exit(main())
