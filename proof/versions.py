"""Other versions of what the Python package stands on: one wheel, tested in many environments.

    python -m proof.versions                         # all
    python -m proof.versions numpy==1.23 onnx        # those whose requirements begin so
    python -m proof.versions 'numpy>=' --python python3.13

The wheel is built by that Python, with the newest of the build tools, and is the same in all.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What needs no other package, but for tests of values, in which NumPy has no part.
NUMPY = (
    *("array_likes", "arrays", "axes", "boundary", "boundary_out", "calls", "free_threading"),
    *("half_calls", "hooks", "layer_norm", "main", "moments"),
    *("operators_gradients", "operators_infer", "operators_results", "operators_run"),
    *("operators_schema", "views_out"),
)
ONNX = ("onnx", "onnx_broadcast", "onnx_convert", "onnx_microsoft", "onnx_norms")
DASK = ("dask_arguments", "dask_exact", "dask_range", "dask_results")
TORCH = (
    *("torch_bench", "torch_compile", "torch_docs", "torch_examples", "torch_functional"),
    *("torch_lent", "torch_memory", "torch_modules", "torch_operators", "torch_replace"),
    *("torch_tensors", "torch_threads"),
)
CMAKE = ("embed_cmake",)

# The oldest that pyproject.toml allows, the newest, and between them what broke many programs.
ENVIRONMENTS = {
    "numpy==1.23.5": NUMPY,
    "numpy==1.24.*": NUMPY,
    "numpy==1.26.*": NUMPY,
    "numpy==2.0.*": NUMPY,
    "numpy==2.2.*": NUMPY,
    "numpy>=2": NUMPY,
    "ml_dtypes==0.3.* numpy<2": ("half_calls",),  # 0.3 is compiled for NumPy 1
    "onnx==1.19.* ml_dtypes==0.5.0": ONNX,
    "onnx>=1.19": ONNX,
    "dask[array]==2025.1.*": DASK,
    "dask[array]>=2025.1": DASK,
    "torch==2.7.*": TORCH,  # gigabytes, as the next
    "torch>=2.7": TORCH,
    "cmake==3.20.*": CMAKE,
    "cmake>=3.20": CMAKE,
}
ALSO = ["ml_dtypes", "ninja", "pkgconf", "pytest>=8"]


class FailedError(Exception):
    """What a command that failed has written."""


def run(*command):
    """What a command that must succeed writes."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise FailedError(f"{done.stdout}\n{' '.join(done.args)}: {done.returncode}")
    return done.stdout


def build_wheel(python, folder):
    """The wheel of this tree for that Python, by an environment of its own."""
    run(python, "-m", "venv", folder / "build")
    run(folder / "build/bin/pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def try_environment(python, folder, wheel, requirement, tests):
    """Installs both and tests; what was installed, and the last line of pytest."""
    run(python, "-m", "venv", folder)
    pip = folder / "bin/pip"
    run(pip, "install", "--quiet", "--only-binary=:all:", wheel, *requirement.split(), *ALSO)
    lines = (line.split("==") for line in run(pip, "freeze").splitlines() if "==" in line)
    installed = {name.replace("-", "_"): version for name, version in lines}
    names = dict.fromkeys([re.match(r"\w+", requirement)[0], "numpy"])
    files = [f"tests/test_{name}.py" for name in tests]
    said = run(folder / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    return f"{', '.join(f'{name} {installed[name]}' for name in names)}: {said.splitlines()[-1]}"


def main():
    """Every environment in turn; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", nargs="*", help="beginnings of some; all if none is given")
    parser.add_argument("--python", default=sys.executable, help="the interpreter")
    parser.add_argument("--wheel", type=Path, help="one that is there, instead of a new one")
    arguments = parser.parse_args()
    chosen = {
        requirement: tests
        for requirement, tests in ENVIRONMENTS.items()
        if not arguments.requirements or requirement.startswith(tuple(arguments.requirements))
    }
    if not chosen:
        parser.error(f"none of these begins so: {', '.join(ENVIRONMENTS)}")
    failed = absent = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = arguments.wheel or build_wheel(arguments.python, folder)
        print(wheel.name, flush=True)
        for i, (requirement, tests) in enumerate(chosen.items()):
            start = time.monotonic()
            try:
                said = try_environment(arguments.python, folder / str(i), wheel, requirement, tests)
            except FailedError as error:
                is_absent = "No matching distribution" in str(error)
                said = f"{requirement}: {'none for this Python' if is_absent else error}"
                absent, failed = absent + is_absent, failed + (not is_absent)
            print(f"{said} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{len(chosen) - absent} environments, {failed} of them failed")
    return 1 if failed or absent == len(chosen) else 0


if __name__ == "__main__":
    sys.exit(main())
