"""The code in the README and in the pages of docs/, and how it is run."""

import re
import subprocess
import sys

import normkernels as nk
from declarations import ROOT
from embedding import WHEEL_LIB, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BUILD = {
    "c": ["cc", "-std=c11", "-Wall", "-Werror"],
    "cpp": ["c++", "-std=c++17", "-Wall", "-Werror", "-pthread"],
    "rust": ["rustc", "--edition", "2021"],
}
SUFFIX = {"c": ".c", "cpp": ".cpp", "rust": ".rs"}


def blocks(page, *languages):
    """The blocks of a page in these languages, in order."""
    found = re.findall(r"^```([\w{}-]*).*?\n(.*?)^```$", page.read_text(), flags=re.S | re.M)
    return [code for language, code in found if language in languages]


def languages(page):
    return set(re.findall(r"^```(.+)$", page.read_text(), flags=re.M))


def needs_torch(page):
    return any(re.search("^import torch", code, flags=re.M) for code in blocks(page, "python"))


def run_python(page, directory, *options):
    """All blocks of a page are one program: later ones go on with the names of earlier ones."""
    code = "\n".join(blocks(page, "python"))
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, check=False, cwd=directory, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_programs(page, directory):
    """Each language's first program of a page, as app.<suffix>."""
    for language, suffix in SUFFIX.items():
        for code in blocks(page, language)[:1]:
            (directory / f"app{suffix}").write_text(code)


def run_shell(page, directory):
    """The blocks in sh as one script."""
    return run("sh", "-e", "-c", "\n".join(blocks(page, "sh")), cwd=directory)


def run_native(language, code, directory):
    """Builds and runs a program against the library of this package."""
    source = directory / f"snippet{SUFFIX[language]}"
    source.write_text(code)
    library = [
        f"-I{nk.get_include()}",
        f"-L{WHEEL_LIB}",
        "-lnormkernels",
        f"-Wl,-rpath,{WHEEL_LIB}",
    ]
    run(*BUILD[language], source, *library, "-o", source.with_suffix(""))
    return run(source.with_suffix(""))
