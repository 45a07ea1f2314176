"""The parameters of every function wherever Python lists them: normkernels.h is the list.

The names in the bindings are read as text and compared with it; with the bindings' signatures, the
docstrings and the stubs."""

import ast
import inspect
import itertools
import re
import types
from pathlib import Path
from typing import NamedTuple

import normkernels as nk
import pytest
from declarations import (
    DECLARED,
    EXTENTS,
    OPERATORS,
    ROOT,
    Definition,
    arguments_of,
    assert_none,
    definitions,
    differences,
    documented,
    split,
    unequal,
)
from normkernels import _core, _types

# ---- python/bind_*.cpp


class Bound(NamedTuple):
    definition: Definition
    function: types.BuiltinFunctionType


def bound():
    """The functions of the bindings that run a C function, with what they are in Python."""
    for path in sorted((ROOT / "python").glob("bind_*.cpp")):
        text = path.read_text()
        docs = path.with_name(path.name.replace("bind_", "docs_")).with_suffix(".h").read_text()
        added = dict(re.findall(r"add<(\w+)>\((\w+, \w+)\);", text))
        for definition in definitions(path, r"\w+"):
            if definition.name not in added:
                continue
            module, doc = split(added[definition.name])
            name = re.search(rf'{doc} = R"\((\w+)\(', docs)[1]
            yield Bound(definition, getattr({"module": _core}.get(module, _core.helpers), name))


BOUND = list(bound())
each_bound = pytest.mark.parametrize("bound", BOUND, ids=lambda b: b.definition.name)
SAID_OTHERWISE = {"executor": "num_threads"}
OUT = {"out": "out", "out.first()": "out[0]", "out.second()": "out[1]"}


def runs_of(bound):
    """The C functions that a binding runs: each with the names of its parameters, what it passes.

    Of those that have a twin for views, the binding runs both."""
    body = bound.definition.body
    functions = re.findall(r"return (normkernels_\w+)\(", body)
    lists = re.findall(r"names\[\] = {(.*?)};", body, flags=re.S)
    for function, names in zip(functions, lists, strict=True):
        yield function, re.findall(r'"([^"]*)"', names), next(arguments_of(function, body))


def python_names(body):
    """The names in Python of a binding's views and outputs, such as "scale" of `scales`."""
    made = r"\b(\w+) = call\.(\w+)\((?:call\.\w+\()?([\w.]+(?:\(\))?)"
    return {
        view: view if method.startswith("create") else OUT.get(source, source)
        for view, method, source in re.findall(made, body)
    }


def python_name(argument, declared, body):
    """The name in Python of what a binding passes, such as "scale" of `scales.data`."""
    views = python_names(body)
    if argument in {
        "executor.get()",
        "call.dtype()",
        "in.order",
        "in.axes",
        "in.groups",
        "nullptr",
    }:
        return SAID_OTHERWISE.get(declared, declared)
    view = argument.split(".")[0]
    return views.get(view, view)


def may_be_called(declared, name, kind, signature):
    """Whether a parameter of C that is `declared` may have this name in Python."""
    if declared in EXTENTS | {"rank", "shape"}:
        return name in signature
    if kind in {"void*", "normkernels_row_moments*"} or declared.endswith("_strides"):
        return name == declared.removesuffix("_strides") or (
            name in OUT.values() and "out" in signature
        )
    return name == SAID_OTHERWISE.get(declared, declared) and name in {"dtype", *signature}


@each_bound
def test_names_of_the_bindings(bound):
    signature = inspect.signature(bound.function).parameters
    for function, names, passed in runs_of(bound):
        where, declared = f"{bound.definition.where}: {function}", DECLARED[function].types
        expected = [
            python_name(argument, parameter, bound.definition.body)
            for argument, parameter in zip(passed, declared, strict=True)
        ]
        assert_none(differences(where, names, expected))
        assert_none(
            f"{where}: parameter {position}, {parameter}, is called {name}"
            for position, (name, (parameter, kind)) in enumerate(
                zip(names, declared.items(), strict=True), start=1
            )
            if not may_be_called(parameter, name, kind, signature)
        )


@each_bound
def test_strides_go_with_their_arrays(bound):
    for function, names, passed in runs_of(bound):
        called = dict(zip(DECLARED[function].names, names, strict=True))
        given = dict(zip(DECLARED[function].names, passed, strict=True))
        for strides in [name for name in called if name.endswith("_strides")]:
            array = strides.removesuffix("_strides")
            assert called[strides] == called[array], function
            assert given[strides].removesuffix("strides") == given[array].removesuffix("data")
        if "rank" in called:
            assert called["rank"] == called["shape"] == "x", function
            assert (given["rank"], given["shape"]) == ("in.x.rank()", "in.x.extents()"), function


@each_bound
def test_views_take_what_their_dense_twins_take(bound):
    dense, *views = runs_of(bound)
    for function, names, _ in views:
        assert function == f"{dense[0]}_view"
        assert set(names) - {"axes", "workspace"} == set(dense[1]) - {"workspace"}


@each_bound
def test_what_out_may_be_is_what_the_manual_says(bound):
    function, names, _ = next(runs_of(bound))
    pattern = r'call\.output\((out[^,]*|total), in\.x(?:, "([^"]*)")?\)'
    for out, alias in re.findall(pattern, bound.definition.body):
        output = DECLARED[function].names[names.index(OUT.get(out, out))]
        manual = {name for one, name in documented(function).alias if one == output}
        where = f"{bound.definition.where}: {OUT.get(out, out)} may be"
        assert_none(unequal(where, set(alias.split(" or ")) - {""}, manual))


@each_bound
def test_bindings_take_what_their_signatures_say(bound):
    signature = ["num_threads" if p == "executor" else p for p in bound.definition.parameters]
    expected = ["call", *inspect.signature(bound.function).parameters]
    assert_none(differences(bound.definition.where, signature, expected))


@each_bound
def test_bindings_return_the_fields_of_their_types(bound):
    body = bound.definition.body
    called = {view: name for view, name in python_names(body).items() if name not in OUT.values()}
    for type_name, *outputs in arguments_of("named", body):
        names = [called.get(output, output) for output in outputs]
        fields = list(getattr(_types, type_name)._fields)
        assert_none(differences(f"{bound.definition.where}: {type_name}", names, fields))


def test_the_bindings_run_every_operator():
    run = sorted(function for bound in BOUND for function, *_ in runs_of(bound))
    assert run == sorted([*OPERATORS, "normkernels_merge_moments"])


@pytest.mark.parametrize("path", sorted((ROOT / "python").glob("bind_*.cpp")), ids=lambda p: p.name)
def test_workspaces_that_the_bindings_ask_for(path):
    text = path.read_text()
    for function in re.findall(r"normkernels_\w+_workspace_bytes", text):
        for passed in arguments_of(function, text):
            names = [re.sub(r"^(call|in|x)\.|\.get|\(\)", "", argument) for argument in passed]
            names = [{"x.rank": "rank", "x.extents": "shape"}.get(name, name) for name in names]
            assert_none(differences(f"{path.name}: {function}", names, DECLARED[function].names))


# ---- Docstrings and stubs


@each_bound
def test_docstrings_list_every_parameter_once(bound):
    function = bound.function
    paragraphs = inspect.getdoc(function).split("\n\n")
    (end,) = (i for i, text in enumerate(paragraphs) if text.startswith("Returns "))
    entries = re.findall(r"^((?:\w+, )*\w+)(?:  +\S.*)?$", paragraphs[end - 1], flags=re.M)
    where, listed = f"{function.__module__}.{function.__name__}.__doc__", split(",".join(entries))
    signature = inspect.signature(function).parameters
    assert_none(
        f"{where}: {name} is listed {listed.count(name)} times"
        for name in {*listed, *signature}
        if listed.count(name) != (name in signature)
    )
    for type_name, fields in re.findall(r"\b([A-Z]\w+)\(([\w, ]+)\)", paragraphs[end]):
        declared = list(getattr(_types, type_name)._fields)
        assert_none(differences(f"{where}: {type_name}", split(fields), declared))


STUBS = {_core: ("__init__.pyi", "rows.pyi", "images.pyi"), _core.helpers: ("helpers.pyi",)}
each_stub = pytest.mark.parametrize("module", STUBS, ids=lambda module: module.__name__)


def stubs(module):
    """The signatures in its stubs, of every overload: name -> names, kinds and defaults."""
    overloads = {}
    directory = Path(nk.__file__).with_name("_core")
    trees = [ast.parse((directory / file).read_text()) for file in STUBS[module]]
    for node in itertools.chain.from_iterable(tree.body for tree in trees):
        if isinstance(node, ast.FunctionDef):
            node.returns, node.decorator_list = None, []
            for argument in (*node.args.args, *node.args.kwonlyargs):
                argument.annotation = None
            scope = {}
            exec(ast.unparse(node), scope)
            overloads.setdefault(node.name, []).append(inspect.signature(scope[node.name]))
    return overloads


@each_stub
def test_stubs_have_the_functions_and_their_signatures(module):
    where, stubbed = module.__name__, stubs(module)
    assert sorted(stubbed) == sorted(n for n, f in vars(module).items() if inspect.isbuiltin(f))
    for name, overloads in stubbed.items():
        signature = inspect.signature(getattr(module, name))
        for stub in overloads:
            assert_none(
                differences(f"{where}: {name}", list(stub.parameters), signature.parameters)
            )
        assert signature in overloads, f"{where}: {name}: none is {signature}"
