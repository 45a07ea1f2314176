"""docs/embedding.md: its ways in CMake with the sources and its program in Rust, which test_docs.py
leaves, and its table has every option of the build."""

import re

import normkernels as nk
import pytest
from embedding import ROOT, WHEEL_LIB, loader_finds, run
from snippets import blocks
from test_embed_examples import cargo, copied, needs_cargo

PAGE = ROOT / "docs/embedding.md"


def write_project(code, directory):
    """A project that builds the program in C with these lines."""
    (directory / "app.c").write_text(blocks(PAGE, "c")[0])
    (directory / "third_party").mkdir()
    (directory / "third_party/normkernels").symlink_to(ROOT)
    (directory / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES C CXX)\n"
        f"add_executable(app app.c)\n{code}"
    )


@pytest.mark.parametrize("way", ["add_subdirectory", "FetchContent_MakeAvailable"])
def test_cmake_takes_it_in(way, tmp_path):
    """As far as to know what would be compiled: that it can be is tested with the examples."""
    (code,) = (code for code in blocks(PAGE, "cmake") if way in code)
    if nk.isas()[0].name != "baseline" or len(nk.isas()) == 1:
        code = code.replace("set(NORMKERNELS_ISAS avx2 avx512)\n", "")
    write_project(code, tmp_path)
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    assert "Configuring done" in said


def write_crate(directory, features=""):
    """The program, in a crate that depends on ours."""
    copied("rust", directory)
    app = directory / "app"
    (app / "src").mkdir(parents=True)
    (app / "src/main.rs").write_text(blocks(PAGE, "rust")[0])
    dependency = f'normkernels = {{ path = "../rust"{features} }}'
    (app / "Cargo.toml").write_text(
        '[package]\nname = "app"\nversion = "0.0.0"\nedition = "2021"\n'
        f"[dependencies]\n{dependency}\n"
    )
    return app


def is_what_the_program_prints(said):
    y = [float(number) for number in said.strip(" \n[]").split(",")]
    return y == pytest.approx([3 / 12.5**0.5, 8 / 12.5**0.5] * 2, rel=1e-6)


@needs_cargo
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_rust(kind, installed, installed_static, tmp_path):
    tree = {"shared": installed, "static": installed_static}[kind]
    app = write_crate(tmp_path, "" if kind == "shared" else ', features = ["static"]')
    environment = {"PKG_CONFIG_PATH": str(tree / "lib/pkgconfig"), **loader_finds(tree / "lib")}
    assert is_what_the_program_prints(cargo(app, "run", **environment))


@needs_cargo
def test_rust_with_a_python_package(tmp_path):
    """Its loader is told by the page's build script, and by no variable."""
    app = write_crate(tmp_path)
    (app / "build.rs").write_text(blocks(PAGE, "rust")[1])
    said = cargo(app, "run", PKG_CONFIG_PATH=str(WHEEL_LIB / "pkgconfig"))
    assert is_what_the_program_prints(said)


def test_the_options_are_those_of_the_build():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    options = set(re.findall(r"^\s*(?:option|set)\((NORMKERNELS_\w+) .*$", cmake, flags=re.M))
    rows = " ".join(re.findall(r"^\| (`.*?) \|", PAGE.read_text(), flags=re.M))
    assert options - {"NORMKERNELS_EMULATE_WIDE"} == set(re.findall(r"`(NORMKERNELS_\w+)`", rows))
