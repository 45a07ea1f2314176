"""The library in CMake: the options that a project around it sets, what it is built with there,
projects that install what they link it into, and which library find_package takes."""

import json
import re
import shutil

import normkernels as nk
import pytest
from embedding import ROOT, cmake_build, run

# ---- The settings of projects around it ----------------------------------------------------------

PARENT = """
cmake_minimum_required(VERSION 3.20)
project(parent LANGUAGES CXX)
{settings}
{bring}
get_target_property(type normkernels::normkernels TYPE)
foreach(isa baseline neon avx2 avx512 emulated_wide)
  if(TARGET normkernels_${{isa}})
    list(APPEND isas ${{isa}})
  endif()
endforeach()
file(GENERATE OUTPUT settings CONTENT
     "${{type}} [${{isas}}] $<TARGET_PROPERTY:normkernels,COMPILE_OPTIONS>")
"""

FEW_ISAS = [isa.name for isa in nk.isas()][:2]
SETTINGS = {
    "BUILD_SHARED_LIBS": "ON",
    "NORMKERNELS_ISAS": ";".join(FEW_ISAS),
    "NORMKERNELS_WERROR": "ON",
    "NORMKERNELS_INSTALL": "ON",
}
SUBDIRECTORY = f'add_subdirectory("{ROOT}" normkernels)'
FETCH = f"""
include(FetchContent)
FetchContent_Declare(
  normkernels SOURCE_DIR "{ROOT}" BINARY_DIR "${{CMAKE_BINARY_DIR}}/normkernels")
FetchContent_MakeAvailable(normkernels)
"""


def write_parent(directory, bring=SUBDIRECTORY, settings=""):
    (directory / "CMakeLists.txt").write_text(PARENT.format(settings=settings, bring=bring))


@pytest.mark.parametrize(
    ("bring", "cached"),
    [(SUBDIRECTORY, False), (SUBDIRECTORY, True), (FETCH, False)],
    ids=["variables", "cache", "FetchContent"],
)
def test_the_settings_of_a_parent_project_hold(bring, cached, tmp_path):
    settings = "" if cached else "".join(f'set({k} "{v}")\n' for k, v in SETTINGS.items())
    write_parent(tmp_path, bring, settings)
    options = [f"-D{k}={v}" for k, v in SETTINGS.items()] if cached else []
    build = tmp_path / "build"
    for _ in range(2):  # the second time there is a cache
        run("cmake", "-S", tmp_path, "-B", build, *options)
        said = (build / "settings").read_text()
        assert said.startswith(f"SHARED_LIBRARY [{SETTINGS['NORMKERNELS_ISAS']}] ")
        assert "-Werror" in said
        assert (build / "normkernels/csrc/normkernels-config.cmake").exists()


@pytest.mark.parametrize("names", ["AVX2", "sse9;{first}", "{first};avx2 avx512", "{first},avx2"])
def test_an_unknown_instruction_set_stops_the_configuration(names, tmp_path):
    names = names.format(first=nk.isas()[0].name)
    done = run("cmake", "-S", ROOT, "-B", tmp_path, f"-DNORMKERNELS_ISAS={names}", fails=True)
    (unknown,) = (name for name in names.split(";") if name != nk.isas()[0].name)
    known = ", ".join(isa.name for isa in nk.isas())
    said = " ".join(done.split())
    assert f"NORMKERNELS_ISAS has '{unknown}', must be a list of some of {known} " in said


def compiled(directory, pattern, build_type, *options):
    """Which of these options hold when the library is compiled: of each object the last one."""
    build = directory / "build"
    run(
        "cmake",
        *("-S", directory, "-B", build, f"-DCMAKE_BUILD_TYPE={build_type}"),
        *("-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", "-DCMAKE_UNITY_BUILD=ON", *options),
    )
    commands = json.loads((build / "compile_commands.json").read_text())
    assert len([command for command in commands if "unity" not in command["file"]]) > 30
    return {re.findall(pattern, command["command"])[-1] for command in commands}


def levels(directory, build_type, *options):
    found = compiled(directory, r"^| (-O\w*) ", build_type, *options)
    return {level or "-O0" for level in found}


@pytest.mark.parametrize("build_type", ["Debug", "RelWithDebInfo", "MinSizeRel", "Release", ""])
def test_it_is_optimised_whatever_the_build_type_of_a_parent_is(build_type, tmp_path):
    write_parent(tmp_path)
    assert levels(tmp_path, build_type) == {"-O2"}


def test_it_is_not_optimised_where_it_is_asked_not_to_be(tmp_path):
    write_parent(tmp_path)
    assert levels(tmp_path, "Debug", "-DNORMKERNELS_OPTIMIZE=OFF") == {"-O0"}


@pytest.mark.parametrize(("ours", "holds"), [("OFF", "-Wno-error"), ("ON", "-Werror")])
def test_warnings_of_a_parent_are_no_errors_here(ours, holds, tmp_path):
    write_parent(tmp_path, settings="add_compile_options(-Wshadow -Werror)")
    option = f"-DNORMKERNELS_WERROR={ours}"
    assert compiled(tmp_path, r" (-Werror|-Wno-error) ", "Release", option) == {holds}


# ---- Projects that install what they link it into ------------------------------------------------

APP = f"""
cmake_minimum_required(VERSION 3.20)
project(app LANGUAGES C CXX)
set(NORMKERNELS_INSTALL ON)
add_subdirectory("{ROOT}" normkernels)
add_library(app STATIC app.c)
target_link_libraries(app PRIVATE normkernels::normkernels)
install(TARGETS app EXPORT app COMPONENT app)
install(EXPORT app NAMESPACE app:: FILE app-targets.cmake DESTINATION lib/cmake/app COMPONENT app)
install(FILES app-config.cmake DESTINATION lib/cmake/app COMPONENT app)
"""
APP_CONFIG = """
include(CMakeFindDependencyMacro)
find_dependency(normkernels)
include("${CMAKE_CURRENT_LIST_DIR}/app-targets.cmake")
"""
APP_C = """
#include <normkernels/normkernels.h>
int app(void) { return normkernels_num_threads() > 0 ? 0 : 1; }
"""
USER = """
cmake_minimum_required(VERSION 3.20)
project(user LANGUAGES C)
find_package(app REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE app::app)
"""


def test_a_parent_that_links_it_may_export_what_it_installs(installed_static, tmp_path):
    """Of the parent's build its own library is enough: that of ours lies in the prefix already."""
    source, user, prefix = tmp_path / "source", tmp_path / "user", tmp_path / "prefix"
    shutil.copytree(installed_static, prefix)
    source.mkdir()
    (source / "CMakeLists.txt").write_text(APP)
    (source / "app-config.cmake").write_text(APP_CONFIG)
    (source / "app.c").write_text(APP_C)
    build = tmp_path / "build"
    run("cmake", "-S", source, "-B", build, "-DCMAKE_OPTIMIZE_DEPENDENCIES=ON")
    run("cmake", "--build", build, "--target", "app")
    run("cmake", "--install", build, "--prefix", prefix, "--component", "app")
    assert not list(build.glob("**/libnormkernels.a"))
    user.mkdir()
    (user / "CMakeLists.txt").write_text(USER)
    (user / "user.c").write_text("int app(void);\nint main(void) { return app(); }\n")
    cmake_build(user, user / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run(user / "build/user")


def test_a_shared_library_that_holds_it_may_be_exported_alone(tmp_path):
    lines = APP.replace("set(NORMKERNELS_INSTALL ON)\n", "").replace("STATIC", "SHARED")
    (tmp_path / "CMakeLists.txt").write_text(lines)
    (tmp_path / "app.c").write_text(APP_C)
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    (targets,) = (tmp_path / "build").glob("CMakeFiles/Export/**/app-targets.cmake")
    assert "normkernels" not in targets.read_text()


# ---- Which library find_package takes ------------------------------------------------------------


@pytest.fixture(scope="module")
def both(installed, installed_static, tmp_path_factory):
    """A prefix with the shared library and the static one."""
    prefix = tmp_path_factory.mktemp("both") / "prefix"
    shutil.copytree(installed, prefix, symlinks=True)
    return shutil.copytree(installed_static, prefix, symlinks=True, dirs_exist_ok=True)


def found(find, prefix, directory, *options):
    """What a project says that has these lines."""
    (directory / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(finds LANGUAGES CXX)\n"
        f"{find}\n"
        "if(TARGET normkernels::normkernels)\n"
        "  get_target_property(type normkernels::normkernels TYPE)\n"
        "  get_target_property(imported normkernels::normkernels IMPORTED)\n"
        "endif()\n"
        'message(STATUS "${normkernels_FOUND} ${type} ${imported}"\n'
        '               " ${normkernels_NOT_FOUND_MESSAGE}")\n'
    )
    build = directory / "build"
    said = run("cmake", "-S", directory, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *options)
    return re.findall(r"^-- ((?:1|0|OFF) .*)$", said, flags=re.M)[-1].strip()


@pytest.mark.parametrize("kind", ["static", "shared"])
def test_a_component_says_which_of_two_libraries(kind, both, tmp_path):
    expected = f"1 {kind.upper()}_LIBRARY TRUE"
    assert found(f"find_package(normkernels COMPONENTS {kind})", both, tmp_path) == expected
    shared = f"-DBUILD_SHARED_LIBS={'ON' if kind == 'shared' else 'OFF'}"
    assert found("find_package(normkernels)", both, tmp_path, shared) == expected


@pytest.mark.parametrize("kind", ["static", "shared"])
def test_without_a_component_it_is_the_library_that_there_is(
    kind, installed, installed_static, tmp_path
):
    here, other = installed_static, "shared"
    if kind == "shared":
        here, other = installed, "static"
    expected = f"1 {kind.upper()}_LIBRARY TRUE"
    assert found("find_package(normkernels)", here, tmp_path) == expected
    shared = f"-DBUILD_SHARED_LIBS={'OFF' if kind == 'shared' else 'ON'}"
    assert found("find_package(normkernels)", here, tmp_path, shared) == expected
    wished = f"find_package(normkernels OPTIONAL_COMPONENTS {other})"
    assert found(wished, here, tmp_path) == expected
    refused = found(f"find_package(normkernels QUIET COMPONENTS {other})", here, tmp_path)
    assert f"there is no {other} library in {here}" in refused
    assert refused.startswith("0")


@pytest.mark.parametrize("components", ["dynamic", "static shared"])
def test_a_component_that_there_is_not_is_refused(components, both, tmp_path):
    said = found(f"find_package(normkernels QUIET COMPONENTS {components})", both, tmp_path)
    assert said.startswith("0")
    assert f"COMPONENTS is '{components.replace(' ', ';')}', must be one of static, shared" in said


def test_a_project_that_has_it_already_stays_with_that(both, tmp_path):
    again = "find_package(normkernels COMPONENTS {})"
    said = found(f"{SUBDIRECTORY}\n{again.format('static')}", both, tmp_path)
    assert said == "1 STATIC_LIBRARY FALSE"
    twice = f"{again.format('shared')}\n{again.format('static QUIET')}"
    said = found(twice, both, tmp_path)
    assert "the project has normkernels::normkernels already, which is shared" in said
