"""docs/embedding.md: its code is built and run, and its table has every option of the build."""

import re

import normkernels as nk
import pytest
from embedding import ROOT, WHEEL_LIB, cmake_build, loader_finds, run
from test_embed_examples import cargo, copied, needs_cargo

PAGE = ROOT / "docs/embedding.md"
TEXT = PAGE.read_text()


def blocks(language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.S | re.M)
    assert found
    return found


def test_every_block_is_run_here():
    assert set(re.findall(r"^```(.+)$", TEXT, flags=re.M)) == {"c", "cmake", "cpp", "rust", "sh"}


def test_c_and_shell(tmp_path):
    """The shell builds the program in C, which runs without a word to the loader."""
    (program,), (script,) = blocks("c"), blocks("sh")
    (tmp_path / "app.c").write_text(program)
    printed = run("sh", "-e", "-c", script, cwd=tmp_path)
    assert printed == "-1.34164 -0.447212 0.447212 1.34164\n"


def test_cpp(tmp_path):
    (program,) = blocks("cpp")
    (tmp_path / "app.cpp").write_text(program)
    library = [f"-I{nk.get_include()}", f"-L{WHEEL_LIB}", "-lnormkernels"]
    run("c++", "-std=c++17", tmp_path / "app.cpp", *library, "-o", tmp_path / "app")
    run(tmp_path / "app", env={"LD_LIBRARY_PATH": str(WHEEL_LIB)})


def write_project(code, directory):
    """A project that builds the program in C with these lines."""
    (directory / "app.c").write_text(blocks("c")[0])
    (directory / "third_party").mkdir()
    (directory / "third_party/normkernels").symlink_to(ROOT)
    (directory / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES C CXX)\n"
        f"add_executable(app app.c)\n{code}"
    )


def test_cmake_finds_it(lib, tmp_path):
    (code,) = (code for code in blocks("cmake") if "find_package" in code)
    write_project(code, tmp_path)
    build = tmp_path / "build"
    cmake_build(tmp_path, build, f"-Dnormkernels_DIR={lib / 'cmake/normkernels'}")
    run(build / "app")


@pytest.mark.parametrize("way", ["add_subdirectory", "FetchContent_MakeAvailable"])
def test_cmake_takes_it_in(way, tmp_path):
    """As far as to know what would be compiled: that it can be is tested with the examples."""
    (code,) = (code for code in blocks("cmake") if way in code)
    if nk.isas()[0].name != "baseline" or len(nk.isas()) == 1:
        code = code.replace("set(NORMKERNELS_ISAS avx2 avx512)\n", "")
    write_project(code, tmp_path)
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    assert "Configuring done" in said


@needs_cargo
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_rust(kind, installed, installed_static, tmp_path):
    """The program of a crate that depends on ours."""
    copied("rust", tmp_path)
    app, tree = tmp_path / "app", {"shared": installed, "static": installed_static}[kind]
    (app / "src").mkdir(parents=True)
    (app / "src/main.rs").write_text(blocks("rust")[0])
    features = "" if kind == "shared" else ', features = ["static"]'
    dependency = f'normkernels = {{ path = "../rust"{features} }}'
    (app / "Cargo.toml").write_text(
        '[package]\nname = "app"\nversion = "0.0.0"\nedition = "2021"\n'
        f"[dependencies]\n{dependency}\n"
    )
    environment = {"PKG_CONFIG_PATH": str(tree / "lib/pkgconfig"), **loader_finds(tree / "lib")}
    said = cargo(app, "run", **environment)
    y = [float(number) for number in said.strip(" \n[]").split(",")]
    assert y == pytest.approx([3 / 12.5**0.5, 8 / 12.5**0.5] * 2, rel=1e-6)


def test_the_options_are_those_of_the_build():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    options = set(re.findall(r"^\s*(?:option|set)\((NORMKERNELS_\w+) .*$", cmake, flags=re.M))
    rows = " ".join(re.findall(r"^\| (`.*?) \|", TEXT, flags=re.M))
    assert options - {"NORMKERNELS_EMULATE_WIDE"} == set(re.findall(r"`(NORMKERNELS_\w+)`", rows))


def test_links():
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", TEXT):
        assert (PAGE.parent / target).exists(), target
