"""The library inside other programs: what it exports, what it must not contain, and consumers that
build against it in every documented way. Needs a C++ compiler and CMake."""

import importlib.metadata
import json
import re
import sys

import normkernels as nk
import pytest
from embedding import (
    ROOT,
    WHEEL_LIBRARY,
    cmake_build,
    loader_finds,
    run,
    symbols,
    write_consumer,
)

HEADERS = ROOT / "csrc/include/normkernels"
ABI = (ROOT / "tests/abi.txt").read_text().split()

# ---- What is in it -------------------------------------------------------------------------------


def test_the_shared_library_exports_the_c_functions_and_nothing_else(subproject):
    (library,) = subproject.glob("_deps/normkernels-build/csrc/libnormkernels.so.*.*.*")
    for path in (library, WHEEL_LIBRARY):
        exported = symbols("-D", "--defined-only", path)
        assert sorted(name for _, name in exported) == ABI, path
        assert {kind for kind, _ in exported} == {"T"}, path  # none weak, no variable


def test_the_static_library_takes_no_names_but_its_own(static_library):
    """Beside what headers of C++ have inline, which is weak."""
    found = symbols("--defined-only", "--extern-only", static_library)
    names = {name for kind, name in found if kind not in "WVu"}
    assert names >= set(ABI)
    assert not [name for name in names if not re.match(r"normkernels_|_Z\w*11normkernels", name)]


def test_the_python_module_exports_its_entry_alone():
    """What else is there belongs to the runtime of C++."""
    exported = [name for _, name in symbols("-D", "--defined-only", nk._core.__file__)]
    own = {name for name in exported if not name.startswith("_Z")}
    assert own == {"PyInit__core", "normkernels_python_module"}
    assert not [name for name in exported if "normkernels" in name and name not in own]


def test_the_python_module_leaves_no_function_of_the_library_to_the_loader():
    """It would take that of any other copy in the process; a module calls them by pointers."""
    wanted = symbols("-D", "--undefined-only", nk._core.__file__)
    assert not [name for _, name in wanted if "normkernels" in name]
    dynamic = run("readelf", "-d", nk._core.__file__)
    assert "[libnormkernels.so]" in dynamic
    assert "runpath: [$ORIGIN/lib]" in dynamic


COMPUTES = """
import ctypes, sys, numpy, normkernels as nk
y = nk.layer_norm(numpy.arange(6, dtype="f4").reshape(1, 6))
assert abs(y[0, 5] - 1.46385) < 1e-4
assert nk.rms_norm_backward(y, y).dgamma.shape == (6,)  # asks layer norm for its workspace
process = ctypes.CDLL(None)
"""


def test_the_library_of_the_module_is_not_one_of_the_process():
    run(sys.executable, "-c", COMPUTES + "assert not hasattr(process, 'normkernels_version')")


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_LIBRARY_PATH"])
@pytest.mark.parametrize("names", [ABI, ABI[:1]], ids=["all", "too few"])
def test_another_library_of_the_same_name_is_not_taken_for_that_of_the_module(
    variable, names, tmp_path
):
    """Neither one that is loaded already, as a program's that embeds Python, nor one that the
    loader finds before that of the module."""
    source, library = tmp_path / "other.c", tmp_path / "libnormkernels.so"
    bodies = "\n".join(f"void {name}(void) {{ abort(); }}" for name in names)
    source.write_text(f"#include <stdlib.h>\n{bodies}\n")
    run("cc", "-shared", "-fPIC", source, "-Wl,-soname,libnormkernels.so", "-o", library)
    where = library if variable == "LD_PRELOAD" else tmp_path
    run(sys.executable, "-c", COMPUTES, env={variable: str(where)})


def test_two_copies_in_a_process_have_settings_of_their_own(installed):
    scene = """
nk.set_num_threads(3)
process.normkernels_set_num_threads(5)
assert (nk.num_threads(), process.normkernels_num_threads()) == (3, 5)
"""
    environment = {"LD_PRELOAD": str(installed / "lib/libnormkernels.so")}
    run(sys.executable, "-c", COMPUTES + scene, env=environment)


FORBIDDEN = re.compile(
    r"abort|_?exit|_Exit|quick_exit|atexit|__assert_fail|__cxa_throw|__cxa_guard_acquire"
    r"|v?f?printf|__f?printf_chk|puts|fputs|putchar|fwrite|perror|_ZSt4(cout|cerr|clog)"
    r"|malloc|calloc|realloc|aligned_alloc|posix_memalign|_Zn[wa][jm].*"
    r"|raise|kill|signal|sigaction|longjmp|system|fork|setenv|putenv|setlocale|s?rand|syslog|v?dprintf"
)


def test_nothing_prints_stops_allocates_or_changes_the_process(subproject):
    objects = [[path] for path in subproject.glob("_deps/normkernels-build/csrc/**/*.o")]
    assert objects
    for where in [["-D", WHEEL_LIBRARY], *objects]:
        called = {name for kind, name in symbols("--undefined-only", *where) if kind in "Uw"}
        assert not {name for name in called if FORBIDDEN.fullmatch(name)}, where


NOT_OF_C = re.compile(r"_Z(?!.*normkernels).*|__cxa_.*|__gxx_.*|_Unwind_.*|__cpu_.*|omp_.*|GOMP_.*")


def test_nothing_of_the_runtimes_of_the_compilers_is_needed(subproject):
    """Neither libstdc++ nor libgcc_s: whoever links it need not be a compiler of C++."""
    for where in subproject.glob("_deps/normkernels-build/csrc/**/*.o"):
        called = {name for kind, name in symbols("--undefined-only", where) if kind in "Uw"}
        assert not {name for name in called if NOT_OF_C.fullmatch(name)}, where


def test_nothing_runs_before_main(subproject):
    for where in subproject.glob("_deps/normkernels-build/csrc/**/*.o"):
        assert not [name for _, name in symbols(where) if "_GLOBAL__sub_I" in name], where


def test_what_the_linker_may_choose_is_of_one_instruction_set(subproject):
    """A weak symbol out of a kernel's object could become the whole program's, AVX and all."""
    seen = set()
    for path in subproject.glob("_deps/normkernels-build/csrc/CMakeFiles/normkernels_*.dir/**/*.o"):
        isa = re.search(r"normkernels_(\w+)\.dir", str(path))[1]
        seen.add(isa)
        own = re.compile(rf"_Z+NK?11normkernels{len(isa)}{isa}\w*")
        outside = [
            name for kind, name in symbols("--defined-only", path) if kind in "ABCDGRSTVWuvw"
        ]
        assert not [name for name in outside if not own.fullmatch(name)], path
    assert {isa.name for isa in nk.isas()} - {"emulated_wide"} <= seen


# ---- Consumers -----------------------------------------------------------------------------------


def test_a_part_of_another_build_brings_no_tests_benchmarks_or_module_with_it(subproject):
    library = subproject / "_deps/normkernels-build"
    assert (library / "csrc").exists()
    assert not [name for name in ("tests", "bench", "python") if (library / name).exists()]


def test_find_package(lib, tmp_path):
    version = ".".join(nk.__version__.split(".")[:3])
    source = write_consumer(
        tmp_path / "source", f"find_package(normkernels {version} CONFIG REQUIRED)"
    )
    cmake_build(source, tmp_path / "build", f"-Dnormkernels_DIR={lib / 'cmake/normkernels'}")
    run(tmp_path / "build/consumer")


def test_pkg_config(lib, tmp_path):
    source = write_consumer(tmp_path / "source", "")
    search = {"PKG_CONFIG_PATH": str(lib / "pkgconfig")}
    numbers = run("pkg-config", "--modversion", "normkernels", env=search).strip()
    assert numbers.split(".") == nk.__version__.split(".")[:3]
    cflags = run("pkg-config", "--cflags", "normkernels", env=search).split()
    libs = run("pkg-config", "--libs", "normkernels", env=search).split()
    run("gcc", "-std=c99", *cflags, "-c", source / "part.c", "-o", tmp_path / "part.o")
    program = tmp_path / "consumer"
    run(
        "g++", "-std=c++17", *cflags, source / "main.cpp", tmp_path / "part.o", *libs, "-o", program
    )
    run(program, env=loader_finds(lib))


# ---- What is delivered ---------------------------------------------------------------------------


def test_the_wheel_holds_the_package_the_module_and_the_library():
    files = {str(path) for path in importlib.metadata.files("normkernels") or []}
    package = {path for path in files if path.startswith("normkernels/")}
    python = {
        str(path.relative_to(ROOT / "python"))
        for path in (ROOT / "python/normkernels").rglob("*")
        if path.suffix in {".py", ".pyi", ".typed"}
    }
    library = {
        f"normkernels/{name}"
        for name in [
            "include/normkernels/normkernels.h",
            *(f"include/normkernels/{path.name}" for path in HEADERS.glob("*.hpp")),
            "lib/libnormkernels.so",
            "lib/cmake/normkernels/normkernels-config.cmake",
            "lib/cmake/normkernels/normkernels-config-version.cmake",
            "lib/cmake/normkernels/normkernels-shared-targets.cmake",
            "lib/cmake/normkernels/normkernels-shared-targets-release.cmake",
            "lib/pkgconfig/normkernels.pc",
        ]
    }
    module = {path for path in package if re.fullmatch(r"normkernels/_core\.[^/]*so", path)}
    compiled = {path for path in package if path.endswith(".pyc")}
    assert len(module) == 1
    assert package - compiled - module == python | library
    assert not [path for path in files - package if ".dist-info/" not in path and "../" not in path]


def test_the_wheel_brings_the_licences_of_what_is_compiled_in():
    wheel = importlib.metadata.distribution("normkernels")
    listed = wheel.metadata.get_all("License-File")
    assert listed == ["LICENSE", "packaging/licenses/pybind11.txt"]
    for name in listed:
        assert wheel.read_text(f"licenses/{name}") == (ROOT / name).read_text()


def test_the_wheel_lists_what_is_compiled_in():
    text = importlib.metadata.distribution("normkernels").read_text("sboms/normkernels.cdx.json")
    bill = json.loads(text)
    ours = bill["metadata"]["component"]
    assert (ours["name"], ours["version"]) == ("normkernels", nk.__version__)
    parts = {part["name"]: part["version"] for part in bill["components"]}
    assert set(bill["dependencies"][0]["dependsOn"]) == set(parts) >= {"pybind11"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+.*", version) for version in parts.values())
    assert not {"serialNumber", "timestamp"} & {*bill, *bill["metadata"]}
