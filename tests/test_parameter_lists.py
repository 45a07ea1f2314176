"""The parameters of every function wherever C++ lists them: normkernels.h is the list.

The positions in csrc/api and the C++ tests are read as text and compared with it; no compiler is
needed. Those of the C++ interface are in test_parameter_lists_cpp.py, those of Python in
test_parameter_lists_python.py."""

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
    split,
    unequal,
)

FUNCTIONS_H = ROOT / "tests/cpp/functions.h"
each_operator = pytest.mark.parametrize("function", OPERATORS)


def test_the_header_declares_what_abi_txt_lists():
    assert sorted(DECLARED) == (ROOT / "tests/abi.txt").read_text().split()


# ---- csrc/api: `a.x = call.input(4, x, n)`, `a.x = views.input(5, x, x_strides, &a.x_strides)`

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
    "groups": "int64_t",
    "epsilon": "double",
    "finite": "double",
    "input": "const void*",
    "optional_input": "const void*",
    "output": "void*",
    "optional_output": "void*",
    "moments": "normkernels_row_moments*",
    "workspace": "void*",
    "executor": "const normkernels_executor*",
    "rank": "int32_t",
    "shape": "const int64_t*",
    "axes": "uint64_t",
    "strides": "const int64_t*",
}


def checks(function):
    """Every check of a C function: method, position, name, and the further arguments."""
    body = API[function].body
    for call, position, *names in arguments_of("Views views", body):
        assert call == "call"
        for i, name in enumerate(names):
            yield ("rank", "shape")[i], int(position) + i, name, []
    for position, *names in arguments_of("call.elements", body):
        for i, name in enumerate(names):
            yield "elements", int(position) + i, name, []
    for method in TYPES.keys() - {"elements"}:
        for position, name, *more in arguments_of(f"call.{method}", body):
            yield method, int(position), name, more
        for position, name, *more in arguments_of(f"views.{method}", body):
            yield method, int(position), name, more[1:]
            if more:
                yield "strides", int(position) + 1, more[0], []


@pytest.mark.parametrize("function", DECLARED)
def test_definitions_name_the_parameters_of_the_header(function):
    defined = API[function]
    assert_none(differences(defined.where, defined.parameters, DECLARED[function].names))


@pytest.mark.parametrize("function", [name for name in API if "dtype" in DECLARED[name].types])
def test_positions_of_the_checks(function):
    where, declared = API[function].where, DECLARED[function]
    to_another = re.fullmatch(r"\s*return normkernels_\w+\((.*)\);\s*", API[function].body, re.S)
    if to_another is not None:  # the workspace of another function
        assert split(to_another[1]) == declared.names, where
        return
    assert_none(
        f"{where}: call.{method}({position}, {name}): parameter {position} is "
        f"{'none' if actual is None else f'{actual[1]} {actual[0]}'}"
        for method, position, name, _ in checks(function)
        for actual in [dict(enumerate(declared.types.items(), start=1)).get(position)]
        if actual != (name, TYPES[method])
    )
    no_halves = ["Halves::kRefused"] if "_steps.cpp" in where else []
    assert list(arguments_of("Call call", API[function].body)) == [["dtype", *no_halves]], where
    checked = Counter(name for _, _, name, _ in checks(function))
    assert_none(
        f"{where}: {name} is checked {checked[name]} times"
        for name in declared.names[1:]
        if checked[name] != 1
    )


ASKED_WITH = {"dtype", "order", "rank", "shape", "axes", "size", "groups"} | EXTENTS
RENAMED = {"instance_norm_moments": {"inv_std": "rstd"}}  # field of the kernel -> parameter


@each_operator
def test_what_is_checked_is_passed_on_under_its_name(function):
    where, names = API[function].where, DECLARED[function].names
    body = API[function].body
    methods = "|".join(TYPES)
    fields = re.findall(rf"\ba\.(\w+) = (?:call|views)\.(?:{methods})\(\s*\d+, (\w+)", body)
    renamed = RENAMED.get(function.removeprefix("normkernels_"), {})
    assert_none(
        f"{where}: a.{field} is {name}"
        for field, name in fields
        if name not in {renamed.get(field, field), re.sub("_(in|out)$", "", field)}
    )
    views = re.findall(r"\ba\.(\w+) = views\.\w+\(\s*\d+, (\w+), (\w+), &at\.(\w+)", body)
    assert len(views) == sum(name.endswith("_strides") for name in names)
    assert_none(
        f"{where}: a.{field} is {name} with {strides}, which are those of {to}"
        for field, name, strides, to in views
        if (strides, to) != (f"{name}_strides", field)
    )
    asked = list(arguments_of(r"normkernels_\w+_workspace_bytes", body))
    assert len(asked) == ("workspace" in names)
    assert_none(
        f"{where}: the workspace is asked for with {', '.join(arguments)}"
        for arguments in asked
        if arguments != [name for name in names if name in ASKED_WITH]
    )


@each_operator
def test_what_may_be_null_or_in_place_is_what_the_manual_says(function):
    declared, null, alias = DECLARED[function].names, set(), set()
    for method, _, name, more in checks(function):
        if method.startswith("optional_"):
            null.add(name)
        if method == "output":
            alias |= {(name, declared[int(position) - 1]) for position in more[1:]}
    if re.fullmatch(r"normkernels_(instance|group)_norm_backward(_view)?", function):
        null |= {"mean", "inv_std"}  # together, which is for the code to say
    where, manual = API[function].where, documented(function)
    assert_none(unequal(f"{where}: may be NULL", null, manual.null))
    assert_none(unequal(f"{where}: may be the same array", alias, manual.alias))


STATUSES = {
    "order": "BAD_ORDER",
    "axes": "BAD_AXES",
    "epsilon": "BAD_EPSILON",
    "at_least_one": "BAD_SIZE",
    "groups": "BAD_SIZE",
    "finite": "BAD_SCALAR",
}


@each_operator
def test_the_manual_names_the_statuses_beside_those_of_every_operator(function):
    (said,) = re.findall(r"Statuses: those of every operator(.*?)\.", DECLARED[function].comment)
    checked = {STATUSES[method] for method, *_ in checks(function) if method in STATUSES}
    assert set(re.findall(r"BAD_\w+", said)) == checked


@pytest.mark.parametrize("function", DECLARED)
def test_the_manual_says_since_when(function):
    assert re.search(r"Since \d+\.\d+\.$", DECLARED[function].comment)


# ---- tests/cpp/functions.h, which reads its parameters from the header


def test_the_cpp_tests_have_every_operator():
    called = list(arguments_of(r"f\(function", FUNCTIONS_H.read_text()))
    assert sorted(function for _, function, *_ in called) == sorted(OPERATORS)
    assert_none(
        f"{FUNCTIONS_H.name}: {function} is called {name}"
        for name, function, *_ in called
        if f"normkernels_{ast.literal_eval(name)}" != function
    )
