"""The library as a part of what is not C++: programs in C alone, other languages' linkers, and
builds for few instruction sets."""

import re
import shutil
from pathlib import Path

import normkernels as nk
import pytest
from embedding import ROOT, WHEEL_LIBRARY, cmake_build, loader_finds, run, symbols

PROGRAM = """
#include <normkernels/normkernels.h>
int main(void) {
  const float x[4] = {40000, 40001, 40002, 40003};
  float y[4];
  const normkernels_status status = normkernels_layer_norm_forward(
      NORMKERNELS_F32, 1, 4, x, NULL, NULL, 0, y, NULL, NULL, NULL);
  return status == NORMKERNELS_OK && y[0] == -y[3] && y[3] > 1.34f ? 0 : 1;
}
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.c"
    path.write_text(PROGRAM)
    return path


def include_directory():
    return f"-I{nk.get_include()}"


# ---- Projects in C -------------------------------------------------------------------------------


def test_find_package_in_a_project_without_cxx(lib, program):
    (program.parent / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(program LANGUAGES C)\n"
        "find_package(normkernels REQUIRED)\n"
        "add_executable(program program.c)\n"
        "target_link_libraries(program PRIVATE normkernels::normkernels)\n"
    )
    build = program.parent / "build"
    cmake_build(program.parent, build, f"-Dnormkernels_DIR={lib / 'cmake/normkernels'}")
    run(build / "program")
    assert "stdc++" not in run("readelf", "-d", build / "program")


@pytest.mark.parametrize("static", [[], ["--static"]], ids=["", "static"])
def test_pkg_config_with_the_compiler_of_c(lib, static, program):
    search = {"PKG_CONFIG_PATH": str(lib / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", *static, "normkernels", env=search).split()
    assert not [flag for flag in flags if "stdc++" in flag or "omp" in flag]
    binary = program.with_suffix("")
    run("gcc", "-std=c99", program, *flags, "-o", binary)
    run(binary, env=loader_finds(lib))


def test_pkg_config_tells_what_a_static_link_needs(lib):
    """Also of a shared library, beside which a static one may lie."""
    search = {"PKG_CONFIG_PATH": str(lib / "pkgconfig")}
    assert "-lpthread" in run("pkg-config", "--libs", "--static", "normkernels", env=search).split()
    shared = (lib / "libnormkernels.so").exists()
    assert ("-lpthread" in run("pkg-config", "--libs", "normkernels", env=search)) != shared


@pytest.mark.parametrize("includes", ["include", "inc/of/its/own", "{prefix}/headers"])
@pytest.mark.parametrize("libraries", ["lib", "lib/x86_64-linux-gnu", "{prefix}/lib64"])
def test_pkg_config_finds_the_headers_wherever_they_are_installed(includes, libraries, tmp_path):
    prefix, build = tmp_path / "prefix", tmp_path / "build"
    includes, libraries = includes.format(prefix=prefix), libraries.format(prefix=prefix)
    run(
        "cmake",
        *("-S", ROOT, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}"),
        *("-DNORMKERNELS_TESTS=OFF", "-DNORMKERNELS_BENCH=OFF"),
        *(f"-DCMAKE_INSTALL_INCLUDEDIR={includes}", f"-DCMAKE_INSTALL_LIBDIR={libraries}"),
    )
    directory = prefix / libraries / "pkgconfig"
    directory.mkdir(parents=True)
    shutil.copy(build / "csrc/normkernels.pc", directory)
    (flag,) = run(
        "pkg-config", "--cflags", "normkernels", env={"PKG_CONFIG_PATH": str(directory)}
    ).split()
    assert Path(flag.removeprefix("-I")).resolve() == (prefix / includes).resolve()


# How a program may be linked that brings no runtime of C++, with `static` for the library.
LINES = {
    "cc": "{static} -lpthread",
    "cc -static": "-static {static} -lpthread",
    "all of it with the C library alone": (
        "-nodefaultlibs -Wl,--whole-archive {static} -Wl,--no-whole-archive -lpthread -lc"
    ),
    "rustc": (
        "-nodefaultlibs -Wl,--as-needed -Wl,-Bstatic {static} -Wl,-Bdynamic"
        " -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc -Wl,--gc-sections -pie -Wl,-z,relro,-z,now"
    ),
}


@pytest.mark.parametrize("line", LINES)
def test_the_static_library_needs_no_more_than_threads(line, static_library, program):
    binary = program.with_suffix("")
    flags = LINES[line].format(static=static_library).split()
    run("cc", "-std=c99", include_directory(), program, *flags, "-o", binary)
    run(binary)


def test_a_plugin_may_hide_the_copy_that_it_holds(static_library, program):
    plugin = program.with_suffix(".so")
    flags = ["-shared", "-fPIC", include_directory(), program, static_library, "-lpthread"]
    for hide, expected in ([], True), (["-Wl,--exclude-libs,libnormkernels.a"], False):
        run("cc", *flags, *hide, "-o", plugin)
        exported = {name for _, name in symbols("-D", "--defined-only", plugin)}
        assert "main" in exported
        assert ("normkernels_layer_norm_forward" in exported) == expected


def test_the_shared_library_loads_the_c_library_alone(subproject):
    (library,) = subproject.glob("_deps/normkernels-build/csrc/libnormkernels.so.*.*.*")
    for path in (library, WHEEL_LIBRARY):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", path))
        assert needed
        others = [
            name for name in needed if not re.match(r"(libc|libpthread|ld-linux.*)\.so", name)
        ]
        assert not others, path


def test_soname_and_package_name_the_same_versions_compatible(subproject, installed, tmp_path):
    major, minor = map(int, nk.__version__.split(".")[:2])
    assert major == 0, "from 1.0 on it is the major version"
    (library,) = subproject.glob("_deps/normkernels-build/csrc/libnormkernels.so.*.*.*")
    assert f"soname: [libnormkernels.so.0.{minor}]" in run("readelf", "-d", library)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(versions LANGUAGES C)\n"
        f"foreach(version 0.{minor} 0.{minor + 1} 0.{minor - 1} 1.{minor})\n"
        "  find_package(normkernels ${version} QUIET)\n"
        '  message(STATUS "${version}: ${normkernels_FOUND}")\n'
        "  unset(normkernels_FOUND)\n"
        "endforeach()\n"
    )
    package = installed / "lib/cmake/normkernels"
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={package}")
    assert re.findall(r"-- ([\d.]+): (\d)", said) == [
        (f"0.{minor}", "1"),
        (f"0.{minor + 1}", "0"),
        (f"0.{minor - 1}", "0"),
        (f"1.{minor}", "0"),
    ]


# ---- Builds for few instruction sets -------------------------------------------------------------

LIMITED = """
#include <normkernels/normkernels.h>
#include <stdio.h>
int main(void) {
  const float x[4] = {1, 2, 3, 4};
  float y[4] = {7, 7, 7, 7}, z[1];
  static _Alignas(64) char workspace[1 << 14];
  const int has = normkernels_isa_supported(0);
  const normkernels_status expected = has ? NORMKERNELS_OK : NORMKERNELS_UNSUPPORTED_ISA;
  if (normkernels_isa_count() != 1 || normkernels_isa_active() != (has ? 0 : -1)) return 1;
  if (normkernels_layer_norm_forward(NORMKERNELS_F32, 2, 2, x, NULL, NULL, 1e-5, y, NULL, NULL,
                                     NULL) != expected) return 2;
  if (!has && y[0] != 7) return 3;
  if (normkernels_local_response_norm_forward(NORMKERNELS_F32, NORMKERNELS_NCHW, 1, 2, 2, x, 3, 1,
                                              0.75, 1, y, NULL, workspace, NULL) != expected)
    return 4;
  if (normkernels_instance_norm_moments(NORMKERNELS_F32, NORMKERNELS_NCHW, 1, 1, 4, x, 0, y, z,
                                        NULL, NULL) != expected) return 5;
  if (normkernels_compute_sigma_and_fused_params(NORMKERNELS_F32, 0, 0, NULL, NULL, NULL, NULL,
                                                 NULL, NULL) != expected) return 6;
  if ((normkernels_layer_norm_backward_workspace_bytes(NORMKERNELS_F32, 99, 9) > 0) != has)
    return 7;
  if (normkernels_isa_force(normkernels_isa_name(0)) != (has ? NORMKERNELS_OK : expected + 1))
    return 8;
  if (normkernels_isa_force(NULL) != NORMKERNELS_OK) return 9;
  puts(has ? "computes" : "refuses");
  return 0;
}
"""


@pytest.mark.parametrize("isa", nk.isas(), ids=lambda isa: isa.name)
def test_a_build_for_one_instruction_set_says_where_it_cannot_run(isa, subproject, tmp_path):
    """The build of all of them, but for isa.cpp, which is what NORMKERNELS_ISAS changes."""
    (tmp_path / "limited.c").write_text(LIMITED)
    csrc = subproject / "_deps/normkernels-build/csrc/CMakeFiles"
    have = f"-DNORMKERNELS_HAVE_{isa.name.upper()}=1"
    include = [include_directory(), f"-I{ROOT / 'csrc'}"]
    run(
        "g++",
        "-std=c++17",
        have,
        *include,
        "-c",
        ROOT / "csrc/host/isa.cpp",
        "-o",
        tmp_path / "isa.o",
    )
    objects = [
        *(path for path in csrc.glob("normkernels.dir/**/*.o") if path.name != "isa.cpp.o"),
        *csrc.glob(f"normkernels_{isa.name}.dir/**/*.o"),
    ]
    binary = tmp_path / "limited"
    run("cc", *include, tmp_path / "limited.c", tmp_path / "isa.o", *objects, "-o", binary)
    environment = {"NORMKERNELS_ISA": ""}
    assert run(binary, env=environment).strip() == ("computes" if isa.supported else "refuses")
    if shutil.which("qemu-x86_64") and nk.isas()[0].name == "baseline":
        said = run("qemu-x86_64", "-cpu", "Nehalem", binary, env=environment).strip()
        assert said == ("computes" if isa.name == "baseline" else "refuses")
