"""What normkernels.h declares and other C++ files of the project define and call, read as text."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "csrc/include/normkernels/normkernels.h"
EXTENTS = {"rows", "cols", "n", "c", "spatial"}


class Declared(NamedTuple):
    types: dict  # by the name of the parameter, in order
    comment: str  # in one line

    @property
    def names(self):
        return list(self.types)


def split(arguments):
    return [" ".join(argument.split()) for argument in arguments.split(",")]


def parameters(text):
    """The types of "const void* x, int64_t n" by the names."""
    declared = [] if text in {"", "void"} else split(text)
    pairs = [re.fullmatch(r"(.*?)(\w+)", parameter).groups() for parameter in declared]
    return {name: kind.strip() for kind, name in pairs}


def declarations(header):
    """What normkernels.h declares: function -> Declared."""
    found = re.findall(
        r"(?:/\*\*((?:(?!\*/).)*)\*/\n)?NORMKERNELS_API[\w\s*]+?\b(normkernels_\w+)\(([^;]*)\);",
        header,
        flags=re.S,
    )
    return {
        name: Declared(
            parameters(listed),
            " ".join(re.sub(r"^ \*", "", comment, flags=re.M).split()),
        )
        for comment, name, listed in found
    }


class Definition(NamedTuple):
    name: str
    where: str  # file: function
    parameters: list
    body: str


def definitions(path, name):
    """The functions that a C++ file defines."""
    pattern = rf"\b({name})\(([^;{{}}]*)\) {{(?:\n(.*?)^}}|[^\n]*}})$"
    found = re.findall(pattern, path.read_text(), flags=re.S | re.M)
    return [
        Definition(name, f"{path.relative_to(ROOT)}: {name}", list(parameters(listed)), body)
        for name, listed, body in found
    ]


def arguments_of(call, text):
    """The arguments of every call of a function in a text, which may hold calls themselves."""
    for match in re.finditer(rf"\b{call}\(", text):
        depth, arguments = 1, [""]
        for character in text[match.end() :]:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(character, 0)
            if depth == 0:
                break
            if character == "," and depth == 1:
                arguments.append("")
            else:
                arguments[-1] += character
        yield [" ".join(argument.split()) for argument in arguments]


class Documented(NamedTuple):
    null: set  # what may be NULL
    alias: set  # (output, input that it may be)


def documented(function):
    """What the comment of a declaration says."""
    comment = DECLARED[function].comment
    shape = r"(?:\[[^]]*\] |as x, |`shape`, with \w+, )?(?:as the forward returned them, )?"
    lists = re.findall(rf"((?:\w+, )*\w+) {shape}or (?:both )?NULL", comment)
    null = {name for names in lists for name in split(names)}
    if "_with_gradient" in function:  # "Arguments as in those two"
        for way in ("forward", "backward"):
            null |= documented(function.replace("with_gradient", way)).null
    found = re.findall(
        r"(\w+)(?: \[[^]]*\];| as x;| `shape`, with \w+;)? may be (\w+)(?: or (\w+))?", comment
    )
    alias = {(output, name) for output, *names in found for name in names if name}
    return Documented(null & set(DECLARED[function].names), alias)


def differences(where, given, expected):
    """What two lists of names differ in, one line for each position."""
    if len(given) != len(expected):
        yield f"{where}: {len(given)} names, not {len(expected)}: {', '.join(given)}"
    for position, (name, other) in enumerate(zip(given, expected, strict=False), start=1):
        if name != other:
            yield f"{where}: parameter {position} is {name}, not {other}"


def unequal(where, given, declared):
    """What two sets differ in, one line for each element."""
    for element in sorted(given - declared):
        yield f"{where}: {element}, which {HEADER.name} does not say"
    for element in sorted(declared - given):
        yield f"{where}: not {element}, which {HEADER.name} says"


def assert_none(problems):
    problems = list(problems)
    assert not problems, "\n" + "\n".join(problems)


DECLARED = declarations(HEADER.read_text())
OPERATORS = [name for name, declared in DECLARED.items() if "executor" in declared.types]
