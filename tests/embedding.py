"""What the tests of the library inside other programs share: commands, and a program to build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import normkernels as nk

ROOT = Path(__file__).resolve().parents[1]
WHEEL_LIB = Path(nk.get_cmake_dir()).parents[1]
WHEEL_LIBRARY = WHEEL_LIB / "libnormkernels.so"

# CMake and Ninja may be those of the virtual environment, which need not be active.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
}

CONSUMER = """
#include <normkernels/normkernels.hpp>
extern "C" int from_c(void);
int main() {
  const double x[1][4] = {{40000, 40001, 40002, 40003}};
  double y[1][4];
  normkernels::layer_norm_forward(x, y);
  return y[0][0] == -y[0][3] && y[0][3] > 1.34 && from_c() ? 0 : 1;
}
"""

CONSUMER_C = """
#include <normkernels/normkernels.h>
int from_c(void) { return normkernels_num_threads() > 0; }
"""


def run(*command, fails=False, **options):
    """The output of a command that must succeed, or fail; of one that fails, its errors as well."""
    assert shutil.which(str(command[0]), path=ENVIRONMENT["PATH"]), f"{command[0]} is not installed"
    done = subprocess.run(
        [str(part) for part in command],
        env=ENVIRONMENT | options.pop("env", {}),
        check=False,
        capture_output=True,
        text=True,
        **options,
    )
    assert (done.returncode != 0) == fails, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if fails else "")


def cmake_build(source, build, *options):
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=ENVIRONMENT["PATH"]) else []
    run("cmake", "-S", source, "-B", build, *generator, *options)
    run("cmake", "--build", build, "--parallel", str(nk.num_threads()))


def write_consumer(directory, find):
    """A project of C++ and C; `find` are the CMake lines that bring the library."""
    directory.mkdir()
    (directory / "main.cpp").write_text(CONSUMER)
    (directory / "part.c").write_text(CONSUMER_C)
    (directory / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(consumer LANGUAGES C CXX)\n"
        f"{find}\n"
        "add_executable(consumer main.cpp part.c)\n"
        "target_link_libraries(consumer PRIVATE normkernels::normkernels)\n"
    )
    return directory


def symbols(*nm):
    """The lines of nm as (type, name)."""
    lines = (line.split() for line in run("nm", "--format=posix", *nm).splitlines())
    return [(fields[1], fields[0]) for fields in lines if len(fields) > 1]


def loader_finds(lib):
    """With which variables programs that pkg-config built run; with the wheel they need none."""
    return {} if lib == WHEEL_LIB else {"LD_LIBRARY_PATH": str(lib)}
