"""The public headers by themselves: each compiles alone, without a warning, by every standard and
compiler at hand; what is refused while it compiles; and what a compiler is told that cannot build
the library."""

import re
import shutil

import pytest
from embedding import ROOT, run

INCLUDE = ROOT / "csrc/include"
CPP = sorted(path.name for path in (INCLUDE / "normkernels").glob("*.hpp"))
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


def compilers(*names):
    """Those of these that are here; the first must be."""
    found = [name for name in names if shutil.which(name)]
    assert found[0] == names[0]
    return found


CC = compilers("gcc", "clang", "clang-14")
CXX = compilers("g++", "clang++", "clang++-14")


def compile_text(compiler, text, *options, tmp_path, fails=False):
    source = tmp_path / ("source.c" if compiler in CC else "source.cpp")
    source.write_text(text)
    command = [compiler, "-fsyntax-only", f"-I{INCLUDE}", *options, source]
    return run(*command, fails=fails)


@pytest.mark.parametrize("standard", ["c99", "c11", "c17", "c2x"])
@pytest.mark.parametrize("compiler", CC)
def test_the_c_header_in_c(compiler, standard, tmp_path):
    text = "#include <normkernels/normkernels.h>\n#include <normkernels/normkernels.h>\n"
    flags = [*WARNINGS, "-Wstrict-prototypes", f"-std={standard}"]
    compile_text(compiler, text + "int none;\n", *flags, tmp_path=tmp_path)


@pytest.mark.parametrize("standard", ["c++98", "c++11"])
@pytest.mark.parametrize("compiler", CXX)
def test_the_c_header_in_an_older_cpp(compiler, standard, tmp_path):
    text = "#include <normkernels/normkernels.h>\n"
    # stdint.h's own constants are of C99.
    flags = [*WARNINGS, "-Wno-long-long", f"-std={standard}"]
    compile_text(compiler, text, *flags, tmp_path=tmp_path)


ALL = "".join(f"#include <normkernels/{name}>\n" for name in CPP)


@pytest.mark.parametrize("name", CPP)
def test_each_header_of_cpp_alone(name, tmp_path):
    compile_text(CXX[0], f"#include <normkernels/{name}>\n", "-std=c++17", tmp_path=tmp_path)


@pytest.mark.parametrize(
    "options", ["-std=c++17 -fno-exceptions -fno-rtti", "-std=c++20", "-std=c++2b"]
)
@pytest.mark.parametrize("compiler", CXX)
def test_the_headers_of_cpp(compiler, options, tmp_path):
    """With exceptions and by C++17 they are compiled by tests/cpp."""
    compile_text(compiler, ALL * 2, *WARNINGS, *options.split(), tmp_path=tmp_path)


def test_the_c_header_for_microsofts_compiler(tmp_path):
    """By Clang in its place, with its extensions and none of GNU's."""
    clang = [name for name in CC if name.startswith("clang")]
    if not clang:
        pytest.skip("no clang")
    target = ["--target=x86_64-pc-windows-msvc", "-fms-compatibility", "-ffreestanding"]
    text = "#include <normkernels/normkernels.h>\nint none;\n"
    compile_text(clang[0], text, *target, "-Wall", "-Werror", tmp_path=tmp_path)


def test_nothing_of_gnus_is_left_for_another_compiler(tmp_path):
    """What the headers of C and C++ say where __GNUC__ is not defined."""
    for name in ["normkernels.h", *CPP]:
        text = (INCLUDE / "normkernels" / name).read_text()
        guarded = re.sub(r"^#if defined\(__GNUC__\).*?^#endif", "", text, flags=re.S | re.M)
        assert "__attribute__" not in guarded, name
        assert "__builtin" not in guarded, name


PROGRAM = """
#include <normkernels/normkernels.hpp>
#include <vector>
namespace nk = normkernels;
void f(std::vector<float>& y, const std::vector<float>& x, const std::vector<double>& d,
       const std::vector<int>& ints) {
  nk::LayerNormForward<float> options;
  (void)d, (void)ints, (void)options;
  THIS
}
"""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("nk::layer_norm_forward(nk::Array(x, {2, 2}), {y, {2, 2}}, options);", None),
        ("nk::layer_norm_forward(nk::Array(y, {2, 2}), {x, {2, 2}});", "invalid initialization"),
        ("nk::layer_norm_forward(nk::Array(d, {2, 2}), {y, {2, 2}});", "invalid initialization"),
        ("options.gamma = d;", "no match"),
        ("options.mean = x;", "no match"),
        ("nk::layer_norm_forward(ints, y);", "float, double, float16 or bfloat16"),
        ("nk::try_layer_norm_forward(x, y);", "nodiscard"),
    ],
    ids=["good", "const output", "two types", "gamma", "const mean", "integers", "unused"],
)
def test_what_is_wrong_by_its_type_does_not_compile(statement, said, tmp_path):
    text, flags = PROGRAM.replace("THIS", statement), ["-std=c++17", "-Wall", "-Werror"]
    output = compile_text(CXX[0], text, *flags, tmp_path=tmp_path, fails=said is not None)
    assert said is None or re.search(said, output)


@pytest.mark.parametrize(
    ("compiler", "version", "bytes_of_pointer", "why"),
    [
        ("MSVC", "19.44", 8, "compiled by GCC or Clang, whose vectors it uses, not by MSVC"),
        ("GNU", "10.2.1", 8, "compiled by GCC 11 or Clang 14 or later, not by GNU 10.2.1"),
        ("Clang", "13.0.1", 8, "compiled by GCC 11 or Clang 14 or later, not by Clang 13.0.1"),
        ("GNU", "12.2.0", 4, "for 64-bit processors"),
    ],
)
def test_a_compiler_that_cannot_build_the_library_is_told_so(
    compiler, version, bytes_of_pointer, why, tmp_path
):
    """As CMake would find it; its check that the compiler works is left out."""
    options = {
        "CMAKE_CXX_COMPILER_FORCED": 1,
        "CMAKE_CXX_COMPILER_ID_RUN": 1,
        "CMAKE_CXX_COMPILER_ID": compiler,
        "CMAKE_CXX_COMPILER_VERSION": version,
        "CMAKE_SIZEOF_VOID_P": bytes_of_pointer,
        "NORMKERNELS_TESTS": "OFF",
    }
    forced = [f"-D{name}={value}" for name, value in options.items()]
    said = " ".join(run("cmake", "-S", ROOT, "-B", tmp_path, *forced, fails=True).split())
    assert f"normkernels is {why}" in said
