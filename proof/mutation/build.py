"""A scratch copy of the tree: broken, built and tested there, never in the checkout."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pybind11

from proof.mutation.rules import Mutant

# One instruction set and one shared library, which nothing is linked anew against. GCC at -O1 takes
# a fifth less time than at -O2 and computes the same bits.
OPTIONS = """-DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DNORMKERNELS_OPTIMIZE=OFF
  -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS=-w -DNORMKERNELS_ISAS=avx2
  -DNORMKERNELS_BENCH=OFF -DNORMKERNELS_PYTHON=ON -DBUILD_SHARED_LIBS=ON
  -DCMAKE_LINK_DEPENDS_NO_SHARED=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON"""
# Not c_abi, which needs the static library, nor what tests the headers of C++, which takes as long
# to build as all of csrc, and other values of the environment: both run the same code again.
TARGETS = ["normkernels_tests", "normkernels_threads", "normkernels_digests", "_core"]
LEFT_OUT = re.compile("c_abi|interface_.*|no_exceptions|environment_isa_(nonsense|neon)")
PYTHON_TESTS = """bits layer_norm rms_norm add_norms instance_norm group_norm local_response_norm
  moments views half half_strides axes threads thread_numbers boundary exact_norms exact_lrn
  exact_backward property"""
MEMORY = 12 << 30  # a mutant may ask for all there is

Place = tuple[str, int]  # a file below csrc/, a line


@dataclass
class Test:
    """A command, and how long it computes where nothing is broken."""

    name: str
    command: list[str]
    environment: dict[str, str]
    seconds: float = 60.0
    reached: frozenset[int] | None = None  # the mutants of the batch that it asks for, if known
    tried: int = 0
    caught: int = 0

    def turn(self) -> float:
        """First what catches the most in a second, by what it has caught so far."""
        return -(self.caught + 1) / (self.tried + 2) / (self.seconds + 0.01)

    def reaches(self, number: int) -> bool:
        """Whether it can notice anything: it runs what is broken."""
        return self.reached is None or number in self.reached


def run(test: Test, folder: Path, number: int = 0, reached: str = "") -> str:
    """`passed`, `failed` or `hung`: five times the work, or sleep for fifty times as long."""
    variables = {"MUTANT_CHOSEN": str(number)}
    if reached:
        variables["MUTANTS_REACHED"] = reached
    # Soft ones, which tests of limits lift again, and whose end of time is SIGXCPU.
    limits = [f"--as={MEMORY}:", "--core=0", f"--cpu={2 + 5 * test.seconds:.0f}:"]
    with subprocess.Popen(
        ["prlimit", *limits, *test.command],
        cwd=folder,
        env=os.environ | test.environment | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            code = process.wait(30 + 50 * test.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hung"
    return "passed" if code == 0 else "hung" if code == -signal.SIGXCPU else "failed"


def errors_of(output: str) -> set[Place]:
    """Where the compiler says that they are."""
    found = re.findall(r"^(?:.*/)?csrc/(\S+?):(\d+):\d+: error:", output, re.MULTILINE)
    return {(file, int(line)) for file, line in found}


def spent() -> float:
    """Seconds of a processor, by all children: how busy the machine is does not matter."""
    times = os.times()
    return times.children_user + times.children_system


class Tree:
    """A copy of the checkout with its build, and the tests."""

    def __init__(self, checkout: Path, work: Path, quick: bool = False):
        """Copies what has changed and builds it."""
        self.root = work / "tree"
        self.build = self.root / "build" / "quick"
        self.unbroken = work / "unbroken"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=checkout, check=True, capture_output=True, text=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            source, copy = checkout / name, self.root / name
            if not source.is_file() or (copy.exists() and same(source, copy)):
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        python = f"-DPython_EXECUTABLE={sys.executable}"
        pybind = f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"
        place = ["-G", "Ninja", "-S", str(self.root), "-B", str(self.build)]
        command = ["cmake", *place, *OPTIONS.split(), python, pybind]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", str(self.build), "-j1", "--quiet", *TARGETS], check=True)
        package = self.root / "python" / "normkernels"
        (package / "lib" / "cmake" / "normkernels").mkdir(
            parents=True, exist_ok=True
        )  # is asked for
        built_for = {
            package / "lib": (self.build / "csrc").glob("libnormkernels.so*"),
            package: self.build.glob("_core*.so"),
        }
        for place, libraries in built_for.items():
            for built in libraries:
                (place / built.name).unlink(missing_ok=True)
                (place / built.name).symlink_to(built)
        self.tests = self.listed(quick)
        shutil.rmtree(self.unbroken, ignore_errors=True)
        shutil.copytree(self.build, self.unbroken, symlinks=True)

    def listed(self, quick: bool) -> list[Test]:
        """All tests, or those in C++."""
        query = ["ctest", "--test-dir", str(self.build), "--show-only=json-v1"]
        listed = subprocess.run(query, check=True, capture_output=True, text=True)
        tests = []
        for entry in json.loads(listed.stdout)["tests"]:
            if LEFT_OUT.fullmatch(entry["name"]):
                continue
            properties = {p["name"]: p["value"] for p in entry["properties"]}
            pairs = [pair.split("=", 1) for pair in properties.get("ENVIRONMENT", [])]
            tests.append(Test(entry["name"], [*entry["command"], "--abort-after=1"], dict(pairs)))
        for name in () if quick else PYTHON_TESTS.split():
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
            command += ["-m", "not long", f"tests/test_{name}.py"]
            path = {"PYTHONPATH": str(self.root / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
            tests.append(Test(f"test_{name}.py", command, path))
        return tests

    def measure(self, size: int) -> None:
        """How long each test takes and which mutants it reaches, while none is chosen."""
        marks = self.root / "reached"
        for test in self.tests:
            marks.write_bytes(bytes(4 * size))
            begin = spent()
            if (outcome := run(test, self.root, 0, str(marks))) != "passed":
                raise SystemExit(f"{test.name} {outcome} with nothing broken: {test.command}")
            test.seconds = spent() - begin
            found = array("i", marks.read_bytes())
            test.reached = frozenset(i for i, mark in enumerate(found) if mark)
            print(f"{test.name}: {test.seconds:.1f} s, {len(test.reached)} reached", flush=True)

    @contextmanager
    def broken(self, texts: dict[str, str]) -> Iterator[None]:
        """While files below csrc/ have these texts; then all is as it was, and as old."""
        before = {}
        for name, text in texts.items():
            file = self.root / "csrc" / name
            before[file] = file.read_text(encoding="ascii"), file.stat()
            file.write_text(text, encoding="ascii")
        try:
            yield
        finally:
            for file, (text, times) in before.items():
                file.write_text(text, encoding="ascii")
                os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            self.mend()

    def built(self) -> set[Place] | None:
        """Nothing, or where it cannot be compiled."""
        command = ["ninja", "-C", str(self.build), "-j1", "-k0", "--quiet", *TARGETS]
        built = subprocess.run(command, check=False, capture_output=True, text=True)
        errors = errors_of(built.stdout)
        if built.returncode != 0 and not errors:
            print(built.stdout[-2000:], flush=True)
        return None if built.returncode == 0 else errors

    def tested(self, number: int) -> tuple[str, str]:
        """How it ended (`failed`, `hung`, `survived`), and which test ended it."""
        for test in sorted(self.tests, key=Test.turn):
            if not test.reaches(number):
                continue
            outcome = run(test, self.root, number)
            test.tried += 1
            if outcome != "passed":
                test.caught += 1
                return outcome, test.name
        return "survived", ""

    def one(self, mutant: Mutant) -> tuple[str, str]:
        """How it ended, `not compiled` if it cannot be."""
        for test in self.tests:
            test.reached = None
        with self.broken({mutant.file: mutant.apply()}):
            return self.tested(0) if self.built() is None else ("not compiled", "")

    def syntax_errors(self, only: set[str]) -> dict[str, set[Place]]:
        """By the commands of what is to be built anew, of all or of these, those that fail."""
        query = ["ninja", "-C", str(self.build), "-n", "-v", *TARGETS]
        plan = subprocess.run(query, check=True, capture_output=True, text=True)
        errors = {}
        for command in re.findall(r"^\[\d+/\d+\] (.* -c \S+)$", plan.stdout, re.MULTILINE):
            if only and command not in only:
                continue
            compiled = subprocess.run(
                [*shlex.split(command), "-fsyntax-only", "-fmax-errors=0"],
                cwd=self.build,
                check=False,
                capture_output=True,
                text=True,
            )
            if compiled.returncode != 0:
                errors[command] = errors_of(compiled.stderr)
        return errors

    def mend(self) -> None:
        """What was built of a mutant, from the copy: faster than to build it again, and as old."""
        for copy in self.unbroken.rglob("*"):
            if copy.is_symlink() or not copy.is_file() or copy.name.startswith(".ninja"):
                continue
            built = self.build / copy.relative_to(self.unbroken)
            if not built.exists() or built.stat().st_mtime_ns != copy.stat().st_mtime_ns:
                shutil.copy2(copy, built)


def same(a: Path, b: Path) -> bool:
    """Whether two files have the same bytes: what is not written again is not built again."""
    return a.read_bytes() == b.read_bytes()
