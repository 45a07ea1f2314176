"""The Python suite over the module and the library as a preset with a sanitizer builds them.

    python -m proof.sanitize asan                           all tests
    python -m proof.sanitize asan -n 2 --dist loadfile -m "not long"    what pytest is told
    python -m proof.sanitize tsan tests/test_threads.py

Build and reports lie in build/<preset>-python; a report is a finding, of whatever process.
"""

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The runtime has to be in the process before Python is. It asks for the C++ library's function that
# throws when it starts, long before a module brings that.
PRELOADED = {
    "asan": ["libasan.so", "libstdc++.so"],
    "tsan": ["libtsan.so", "libstdc++.so"],
}
OPTIONS = {
    "asan": {
        # CPython, NumPy and pybind11 keep what they allocate until the process ends. Leaks of the
        # library are looked for by the C++ tests, in which nothing else leaks.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1"
        # Tests ask for arrays larger than memory, for which NumPy is to raise MemoryError.
        ":allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Otherwise small objects are parts of blocks, whose ends nobody sees.
        "PYTHONMALLOC": "malloc",
    },
    "tsan": {
        # What others do between themselves is not instrumented, nor are the locks they do it by.
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1"
        # A fork beside threads is what some tests are about.
        ":die_after_fork=0",
    },
}
BUILDS = "builds the library by other flags"
NOT_BUILT = "names `baseline`, which the presets do not build"
SHADOW = "limits memory, of which the runtime takes most"
COUNTED = "counts threads, of which one is the runtime's"
# libtsan of GCC 12 ends a child whose thread gets the id of one that its parent had and had neither
# joined nor detached, in whatever program.
SAME_ID = "starts threads in a child of which the parent was starting some"
LEFT_OUT = {
    "allocation.py": "preloads allocations that fail, in place of the runtime",
    "bench_libraries.py": "OpenVINO loads by RTLD_DEEPBIND, past the runtime",
    "dask_cluster.py": SHADOW,
    "dask_docs.py::test_the_snippets": SHADOW,
    "docs.py": "builds and runs programs without the runtime",
    "docs_embedding.py": "builds and runs programs without the runtime",
    "docstrings.py::test_examples[force_isa]": NOT_BUILT,
    "docstrings.py::test_examples[isas]": NOT_BUILT,
    "embed.py": BUILDS,
    "embed_c.py": BUILDS,
    "embed_cmake.py": BUILDS,
    "embed_examples.py": BUILDS,
    "example_volume.py::test_whole_run": SHADOW,
    "headers.py": "compiles headers and runs nothing",
    "main.py::test_instruction_sets": NOT_BUILT,
    "threads.py::test_no_memory_is_asked_for_by_a_thread_that_has_started": SHADOW,
    "threads.py::test_the_library_stays_loaded_once_it_has_threads": BUILDS,
    "threads.py::test_what_cannot_be_started_is_done_without[0-memory]": SHADOW,
    "threads.py::test_what_cannot_be_started_is_done_without[1-memory]": SHADOW,
    "views_memory.py": SHADOW,
}
LEFT_OUT_ALSO = {
    "tsan": {
        "threads.py::test_a_forked_child_computes_in_parallel[nothing]": COUNTED,
        "threads.py::test_data_loader_after_a_torch_operator": SAME_ID,
        "threads.py::test_fork_in_the_middle_of_another_threads_call": SAME_ID,
        "threads.py::test_idle_workers_use_no_processor_time": COUNTED,
    },
}


def runtime(library):
    """The file that GCC links."""
    asked = ["g++", f"-print-file-name={library}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def install(preset, build):
    """The package, without what it depends on."""
    package = build / "package"
    shutil.rmtree(package, ignore_errors=True)
    settings = {
        "build-dir": str(build),
        "cmake.args": f"--preset={preset}",
        "cmake.build-type": "Debug",
        "install.strip": "false",
    }
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", package]
    options = [f"--config-settings={name}={value}" for name, value in settings.items()]
    subprocess.run([*pip, *options, ROOT], check=True)
    return package


def environment(preset, package, reports):
    """Of the tests, and of the processes that they start."""
    own = {
        "LD_PRELOAD": " ".join(map(runtime, PRELOADED[preset])),
        "PYTHONPATH": str(package),
        **OPTIONS[preset],
    }
    own[f"{preset.upper()}_OPTIONS"] += f":log_path={reports / 'report'}"
    return os.environ | own


def main():
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m proof.sanitize", description=__doc__)
    parser.add_argument("preset", choices=PRELOADED)
    parser.add_argument("--keep", action="store_true", help="use the package that is built")
    options, told = parser.parse_known_args()
    if options.preset == "tsan" and importlib.util.find_spec("torch"):
        # Its OpenMP runs our tasks, and is not instrumented: every one would be a report.
        parser.error("tsan: torch is installed, whose threads would be asked to compute")
    build = ROOT / "build" / f"{options.preset}-python"
    reports = build / "reports"
    package = build / "package" if options.keep else install(options.preset, build)
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    left_out = LEFT_OUT | LEFT_OUT_ALSO.get(options.preset, {})
    pytest = [sys.executable, "-m", "pytest", *told]
    begin = time.monotonic()
    done = subprocess.run(
        [*pytest, *(f"--deselect=tests/test_{name}" for name in left_out)],
        cwd=ROOT,
        env=environment(options.preset, package, reports),
        check=False,
    )
    findings = sorted(reports.iterdir())
    for report in findings:
        print(report.read_text(errors="replace"))
    version = subprocess.run(["g++", "--version"], check=True, capture_output=True, text=True)
    print(
        f"{options.preset}: {len(findings)} reports, pytest's status {done.returncode},"
        f" {time.monotonic() - begin:.0f} s, Python {platform.python_version()},"
        f" {version.stdout.splitlines()[0]}"
    )
    return 1 if findings else done.returncode


if __name__ == "__main__":
    sys.exit(main())
