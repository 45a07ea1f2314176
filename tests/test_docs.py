"""The README and docs/: their code runs, their links lead somewhere, and nothing public is left
out. Pages whose code needs torch or Dask are in test_torch_docs.py and test_dask_docs.py."""

import ast
import re
import shutil

import pytest
from declarations import ROOT
from embedding import WHEEL_LIB, cmake_build, run
from header_items import INCLUDE, described, items
from plain_text import to_rst
from snippets import (
    PAGES,
    blocks,
    languages,
    needs,
    run_native,
    run_python,
    run_shell,
    write_programs,
)


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


def each_with(*kinds):
    return each([page for page in PAGES if languages(page) & set(kinds)])


# ---- Code ----------------------------------------------------------------------------------------


def is_plain(page):
    return not needs(page, "torch") and not needs(page, "dask")


@each([page for page in PAGES if blocks(page, "python") and is_plain(page)])
def test_python(page, tmp_path):
    if needs(page, "onnx"):
        pytest.importorskip("onnx")
    run_python(page, tmp_path, "-W", "error")


@each_with("c", "cpp")
def test_c_and_cpp(page, tmp_path):
    for language in ("c", "cpp"):
        for code in blocks(page, language):
            run_native(language, code, tmp_path)


@each_with("sh")
def test_shell(page, tmp_path):
    """With the page's programs as app.c, app.cpp and app.rs."""
    if "rust" in languages(page) and not shutil.which("rustc"):
        pytest.skip("rustc is not installed")
    write_programs(page, tmp_path)
    run_shell(page, tmp_path)


@each_with("cmake")
def test_cmake(page, tmp_path):
    """What finds the library and links it is put into a project that builds the first program."""
    (linking,) = (code for code in blocks(page, "cmake") if "find_package" in code)
    program = (blocks(page, "c") or ["int main(void) { return 0; }"])[0]
    (tmp_path / "app.c").write_text(program)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES C CXX)\n"
        f"add_executable(app app.c)\n{linking}"
    )
    build = tmp_path / "build"
    cmake_build(tmp_path, build, f"-Dnormkernels_DIR={WHEEL_LIB / 'cmake/normkernels'}")
    run(build / "app")


@each(PAGES)
def test_blocks_are_of_languages_that_are_run_or_of_none(page):
    """`py` is code that is shown alone, `bash` what CI runs."""
    run_here = {"python", "c", "cpp", "rust", "sh", "cmake"}
    of_the_site = {name for name in languages(page) if name.startswith("{")}
    assert languages(page) <= run_here | of_the_site | {"py", "bash"}


# ---- Links ---------------------------------------------------------------------------------------


def anchors(page):
    """Those of the headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.M)
    plain = (re.sub(r"[^\w -]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@each([*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
def test_links(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        assert not path.startswith(("/", "http")), target
        where = (page.parent / path).resolve() if path else page
        assert where.exists(), target
        assert not anchor or anchor in anchors(where), target


def test_every_page_is_in_the_table_of_contents():
    trees = "\n".join(blocks(ROOT / "docs/index.md", "{toctree}"))
    listed = set(re.findall(r"^([\w/]+)$", trees, flags=re.M))
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    pages |= {f"reference/{path.stem}" for path in (ROOT / "docs/reference").glob("*.rst")}
    assert listed == pages


# ---- The reference -------------------------------------------------------------------------------


NAMED = re.compile(r"^\.\. (?:auto|py:)(?:class|data|exception|function):: (\w+)$", flags=re.M)


@pytest.mark.parametrize(
    ("module", "page", "elsewhere"),
    [
        ("normkernels", "python", {"__version__", "helpers"}),
        ("normkernels.helpers", "python", {"GammaBetaGradient"}),
        ("normkernels.operators", "operators", set()),
        ("normkernels.onnx", "operators", {"backend"}),
        ("normkernels.torch", "torch", {"functional"}),
        ("normkernels.dask", "dask", set()),
    ],
)
def test_the_reference_of_python_has_every_name(module, page, elsewhere):
    text = (ROOT / f"docs/reference/{page}.rst").read_text()
    _, named, part = text.partition(f".. currentmodule:: {module}\n")
    names = NAMED.findall(re.split(r"^\.\. (?:current|auto)module::", part, flags=re.M)[0])
    source = (ROOT / "python" / module.replace(".", "/")).with_suffix(".py")
    if not source.exists():
        source = source.with_suffix("") / "__init__.py"
    (listed,) = re.findall(r"^__all__ = (\[.*?\])", source.read_text(), flags=re.S | re.M)
    assert named
    assert sorted(names) == sorted(set(ast.literal_eval(listed)) - elsewhere)


def test_the_reference_of_c_has_every_function():
    source = (INCLUDE / "normkernels/normkernels.h").read_text()
    found = [described(item.declaration, "c") for item in items(source) if item.declaration]
    names = {re.search(r"(\w+)\(", name)[1] for kind, name, _ in found if kind == "function"}
    assert names >= set((ROOT / "tests/abi.txt").read_text().split())


@pytest.mark.parametrize(
    ("text", "rst"),
    [
        ("x * y, dx_ and |dy|", "x \\* y, dx\\_ and \\|dy\\|\n"),
        ("of `axis` on", "of \\ ``axis``\\  on\n"),
        ("    y = x\n\n    z = y", "::\n\n    y = x\n\n    z = y\n"),
        ("Words:\n- one\n  more\n- two", "Words:\n\n- one\n  more\n- two\n"),
        ("ends in\n  two lines", "ends in\ntwo lines\n"),
        (">>> a * b_\n  array(2)", ">>> a * b_\n  array(2)\n"),
    ],
)
def test_plain_text(text, rst):
    assert to_rst(text) == rst


def test_plain_text_tables():
    text = "x      [rows]\ngamma  [cols] or NULL    beta  [cols]\nsize   1, or\n       more."
    rows = re.findall(r"\* - (.*)\n +- (.*)\n", to_rst(text))
    assert rows == [
        ("``x``", "[rows]"),
        ("``gamma``", "[cols] or NULL"),
        ("``beta``", "[cols]"),
        ("``size``", "1, or more."),
    ]
