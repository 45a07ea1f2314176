"""The parameters of every function wherever C++ lists them: normkernels.h is the list.

The positions in csrc/api, the wrapper and the C++ tests are read as text and compared with it; no
compiler is needed. Those of Python are in test_parameter_lists_python.py."""

import ast
import re
from collections import Counter

import pytest
from declarations import (
    DECLARED,
    EXTENTS,
    OPERATORS,
    ROOT,
    arguments_of,
    assert_none,
    definitions,
    differences,
    documented,
    parameters,
    split,
    unequal,
)

WRAPPER = ROOT / "csrc/include/normkernels/normkernels.hpp"
FUNCTIONS_H = ROOT / "tests/cpp/functions.h"
each_operator = pytest.mark.parametrize("function", OPERATORS)


def test_the_header_declares_what_abi_txt_lists():
    assert sorted(DECLARED) == (ROOT / "tests/abi.txt").read_text().split()


# ---- csrc/api: `a.x = call.input(4, x, n)`

API = {
    definition.name: definition
    for room in ("api", "host")
    for path in sorted((ROOT / "csrc" / room).glob("*.cpp"))
    for definition in definitions(path, r"normkernels_\w+")
}
TYPES = {
    "order": "normkernels_order",
    "elements": "int64_t",
    "at_least_one": "int64_t",
    "epsilon": "double",
    "finite": "double",
    "input": "const void*",
    "optional_input": "const void*",
    "output": "void*",
    "optional_output": "void*",
    "workspace": "void*",
    "executor": "const normkernels_executor*",
}


def checks(function):
    """Every check of a C function: method, position, name, and the further arguments."""
    for method in TYPES:
        for position, *names in arguments_of(f"call.{method}", API[function].body):
            if method != "elements":
                yield method, int(position), names[0], names[1:]
                continue
            for i, name in enumerate(names):
                yield method, int(position) + i, name, []


@pytest.mark.parametrize("function", DECLARED)
def test_definitions_name_the_parameters_of_the_header(function):
    defined = API[function]
    assert_none(differences(defined.where, defined.parameters, DECLARED[function].names))


@pytest.mark.parametrize("function", [name for name in API if "dtype" in DECLARED[name].types])
def test_positions_of_the_checks(function):
    where, declared = API[function].where, DECLARED[function]
    assert_none(
        f"{where}: call.{method}({position}, {name}): parameter {position} is "
        f"{'none' if actual is None else f'{actual[1]} {actual[0]}'}"
        for method, position, name, _ in checks(function)
        for actual in [dict(enumerate(declared.types.items(), start=1)).get(position)]
        if actual != (name, TYPES[method])
    )
    assert list(arguments_of("Call call", API[function].body)) == [["dtype"]], where
    checked = Counter(name for _, _, name, _ in checks(function))
    assert_none(
        f"{where}: {name} is checked {checked[name]} times"
        for name in declared.names[1:]
        if checked[name] != 1
    )


RENAMED = {"instance_norm_moments": {"inv_std": "rstd"}}  # field of the kernel -> parameter


@each_operator
def test_what_is_checked_is_passed_on_under_its_name(function):
    where, names = API[function].where, DECLARED[function].names
    fields = re.findall(r"\ba\.(\w+) = call\.(\w+)\(\s*\d+, (\w+)", API[function].body)
    renamed = RENAMED.get(function.removeprefix("normkernels_"), {})
    assert_none(
        f"{where}: a.{field} is {name}"
        for field, method, name in fields
        if name not in {renamed.get(field, field), re.sub("_(in|out)$", "", field)}
    )
    asked = list(arguments_of(r"normkernels_\w+_workspace_bytes", API[function].body))
    assert len(asked) == ("workspace" in names)
    assert_none(
        f"{where}: the workspace is asked for with {', '.join(arguments)}"
        for arguments in asked
        if arguments != [name for name in names if name in {"dtype", "order", "size"} | EXTENTS]
    )


@each_operator
def test_what_may_be_null_or_in_place_is_what_the_manual_says(function):
    declared, null, alias = DECLARED[function].names, set(), set()
    for method, _, name, more in checks(function):
        if method.startswith("optional_"):
            null.add(name)
        if method == "output":
            alias |= {(name, declared[int(position) - 1]) for position in more[1:]}
    if function == "normkernels_instance_norm_backward":
        null |= {"mean", "inv_std"}  # together, which is for the code to say
    where, manual = API[function].where, documented(function)
    assert_none(unequal(f"{where}: may be NULL", null, manual.null))
    assert_none(unequal(f"{where}: may be the same array", alias, manual.alias))


# ---- normkernels.hpp

IN_WRAPPER = {"dtype<T>": "dtype", "scratch.data()": "workspace"}


def test_the_wrapper_passes_and_names_what_the_header_declares():
    text, seen = WRAPPER.read_text(), []
    for call, name, *names in arguments_of("detail::check", text):
        inner = re.fullmatch(r"normkernels_(\w+)\((.*)\)", call)
        if inner is None:
            continue
        seen.append(f"normkernels_{inner[1]}")
        where, declared = f"{WRAPPER.name}: {inner[1]}", DECLARED[seen[-1]].names
        passed = [IN_WRAPPER.get(p, p).removeprefix("shape.") for p in split(inner[2])]
        listed = "".join(re.findall(r'"([^"]*)"', "".join(names))).split()
        assert ast.literal_eval(name) in {inner[1], inner[1].removeprefix("normkernels_")}, where
        assert_none(
            differences(f"{where}: the call", passed, declared) if len(declared) > 1 else []
        )
        assert_none(differences(f"{where}: the text", listed, declared))
    assert set(OPERATORS) <= set(seen)


FOLDED = {"Rows shape": {"rows", "cols"}, "Tensor shape": {"order", "n", "c", "spatial"}}
IN, OUT = {"const T*", "In<T>"}, {"Out<T>"}
C_TYPES = {"const void*": IN, "void*": {*OUT, "void*"}, "double": {"double"}}


@each_operator
def test_the_wrapper_takes_what_the_header_declares(function):
    name, declared = function.removeprefix("normkernels_"), DECLARED[function]
    listed = re.search(rf"^void {name}\((.*?)\) {{", WRAPPER.read_text(), flags=re.S | re.M)[1]
    defaults = {d for d in split(listed) if d.endswith("= nullptr")}
    given = parameters(re.sub(r" = [^,]*", "", listed))
    folded = {"dtype"}.union(*(FOLDED.get(f"{kind} {name}", ()) for name, kind in given.items()))
    where, given = f"{WRAPPER.name}: {name}", {n: k for n, k in given.items() if n != "shape"}
    assert_none(unequal(f"{where}: takes", set(given), set(declared.names) - folded))
    assert_none(
        f"{where}: {name} is {kind}, declared as {declared.types[name]}"
        for name, kind in given.items()
        if kind not in C_TYPES.get(declared.types[name], {kind})
    )
    absent = {re.search(r"(\w+) =", parameter)[1] for parameter in defaults}
    null = documented(function).null | {"executor"} | ({"workspace"} & set(declared.names))
    assert_none(unequal(f"{where}: is nullptr by default", absent, null))


# ---- tests/cpp/functions.h, which reads its parameters from the header


def test_the_cpp_tests_have_every_operator():
    called = list(arguments_of(r"f\(function", FUNCTIONS_H.read_text()))
    assert sorted(function for _, function, *_ in called) == sorted(OPERATORS)
    assert_none(
        f"{FUNCTIONS_H.name}: {function} is called {name}"
        for name, function, *_ in called
        if f"normkernels_{ast.literal_eval(name)}" != function
    )
