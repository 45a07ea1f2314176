"""examples/embed: each is built from a copy, against an installed library or our tree, and run."""

import os
import re
import shutil
from pathlib import Path

import normkernels as nk
import pytest
from declarations import DECLARED
from embedding import ROOT, WHEEL_LIB, cmake_build, loader_finds, run

EXAMPLES = ROOT / "examples/embed"
SEARCH = os.pathsep.join([os.environ["PATH"], str(Path.home() / ".cargo/bin")])
CARGO = shutil.which("cargo", path=SEARCH)
needs_cargo = pytest.mark.skipif(CARGO is None, reason="needs cargo")


def copied(name, directory):
    """Without what somebody has built beside it."""
    built = shutil.ignore_patterns("build", "target", "example")
    return shutil.copytree(EXAMPLES / name, directory / name, ignore=built)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_c(lib, tmp_path):
    source = copied("c", tmp_path)
    search = {"PKG_CONFIG_PATH": str(lib / "pkgconfig")}
    said = run("make", "-C", source, env=search)
    assert "warning" not in said
    printed = run(source / "example", env=loader_finds(lib)).splitlines()
    numbers = re.fullmatch(r"mean (\S+), 1 / std (\S+), y (\S+), dx (\S+)", printed[0]).groups()
    mean, inv_std, y, dx = map(float, numbers)
    assert 1000 < mean < 1010
    assert abs(y - (1000 - mean) * inv_std) < 1e-3
    assert abs(dx) < 1e-4  # the gradient of a sum of squares that is constant
    assert printed[1].startswith("groups: ")


def test_cpp(lib, tmp_path):
    source = copied("cpp", tmp_path)
    prefix = f"-DCMAKE_PREFIX_PATH={lib.parent}"
    if lib == WHEEL_LIB:  # as python -c "import normkernels as nk; print(nk.get_cmake_dir())" says
        prefix = f"-Dnormkernels_DIR={nk.get_cmake_dir()}"
    cmake_build(source, source / "build", prefix)
    assert run(source / "build/example") == "run by the pool, the same bits\n"


def test_fetch(subproject):
    printed = run(subproject / "example").splitlines()
    for row in printed[:2]:
        y = [float(number) for number in row.split()]
        assert y == pytest.approx([3 / 12.5**0.5, 4 / 12.5**0.5], rel=1e-5)
    said = {True: "runs here", False: "not of this machine"}
    assert printed[2:] == [f"{isa.name}: {said[isa.supported]}" for isa in nk.isas()]


# ---- The Rust crate ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    return copied("rust", tmp_path_factory.mktemp("crate"))


def cargo(crate, command, *options, fails=False, **environment):
    environment = {"PATH": SEARCH, "PKG_CONFIG_PATH": "", **environment}
    return run(*(CARGO, command, "--offline", *options), cwd=crate, env=environment, fails=fails)


@needs_cargo
def test_rust(lib, crate):
    """The crate's own tests and those in its documentation, and its example."""
    features = [] if (lib / "libnormkernels.so").exists() else ["--features", "static"]
    environment = {"PKG_CONFIG_PATH": str(lib / "pkgconfig"), **loader_finds(lib)}
    said = cargo(crate, "test", *features, **environment)
    passed = [int(count) for count in re.findall(r"test result: ok\. (\d+) passed; 0 failed", said)]
    assert len(passed) == 4
    assert [count > 0 for count in passed] == [False, True, True, True]
    printed = cargo(crate, "run", "--example", "statistics", *features, **environment)
    assert printed.splitlines() == [
        f"{nk.__version__}: mean 10383.5, first -1.72980",
        "layer_norm: gamma: has 7 elements, must have 768",
    ]


@needs_cargo
def test_rust_from_a_directory(installed_static, crate):
    """Without pkg-config."""
    directory = str(installed_static / "lib")
    environment = {"NORMKERNELS_LIB_DIR": directory, "PKG_CONFIG": "false"}
    cargo(crate, "build", "--features", "static", **environment)
    said = cargo(crate, "build", fails=True, **environment)
    assert f"there is no libnormkernels.so in {directory}: try the feature `static`" in said


@needs_cargo
def test_rust_from_a_directory_with_a_space(crate, tmp_path):
    (tmp_path / "a b").symlink_to(WHEEL_LIB)
    cargo(crate, "build", PKG_CONFIG_PATH=str(tmp_path / "a b/pkgconfig"))


@needs_cargo
def test_rust_says_where_it_has_searched(crate, tmp_path):
    said = cargo(crate, "build", fails=True, PKG_CONFIG_PATH=str(tmp_path))
    assert "normkernels is not found: " in said
    assert "PKG_CONFIG_PATH must have the directory of normkernels.pc" in said


RUST_TYPES = {
    "normkernels_dtype": "i32",
    "normkernels_order": "i32",
    "int32_t": "i32",
    "int64_t": "i64",
    "double": "f64",
    "const void*": "*const c_void",
    "void*": "*mut c_void",
    "const char*": "*const c_char",
    "normkernels_status": "i32",
    "const normkernels_executor*": "*const Executor",
}


def test_rust_declares_the_functions_as_the_header_does():
    text = (EXAMPLES / "rust/src/ffi.rs").read_text()
    found = re.findall(r"pub fn (\w+)\(([^)]*)\)", text)
    assert len(found) > 20
    for name, listed in found:
        pairs = [parameter.split(": ") for parameter in listed.split(",") if parameter.strip()]
        declared = {parameter.strip(): kind for parameter, kind in pairs}
        expected = {key: RUST_TYPES[kind] for key, kind in DECLARED[name].types.items()}
        assert list(declared.items()) == list(expected.items()), name


def test_rust_knows_the_parameters_of_the_functions():
    """By their position the status names the one at fault."""
    lists = []
    for path in sorted((EXAMPLES / "rust/src").glob("*.rs")):
        text = re.sub(r"\\\n\s+", "", path.read_text())
        lists += re.findall(r'function: "(\w+)",\s+parameters:\s+"([^"]*)"', text)
    assert len(lists) == 12
    for function, names in lists:
        forward = function if function.endswith("_backward") else f"{function}_forward"
        assert names.split() == DECLARED[f"normkernels_{forward}"].names, function
