"""The docstrings: every public function has an example that runs; help() fits on two screens."""

import inspect
import os

import normkernels as nk
import normkernels.operators as nko
import numpy as np
import pytest
from docstring_examples import functions_of, run_examples
from normkernels.operators import gradient, registry

SCOPE = {"np": np, "nk": nk, "os": os}
OPERATORS = {name: getattr(nko, name) for name in nko.__all__}
TWO_SCREENS = 50


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Examples may register operators, choose an instruction set and a number of threads."""
    monkeypatch.setattr(registry, "_operators", dict(registry._operators))
    monkeypatch.setattr(gradient, "_makers", dict(gradient._makers))
    isa, threads = nk.active_isa(), nk._core.num_threads_set()
    yield
    nk.force_isa(isa)
    nk.set_num_threads(threads)


@pytest.mark.parametrize("name", functions_of(nk))
def test_examples(name):
    run_examples(getattr(nk, name), SCOPE)


@pytest.mark.parametrize("name", functions_of(nk.helpers))
def test_examples_of_helpers(name):
    run_examples(getattr(nk.helpers, name), SCOPE)


@pytest.mark.parametrize("name", functions_of(nko))
def test_examples_of_operators(name):
    run_examples(getattr(nko, name), SCOPE | OPERATORS)


@pytest.mark.parametrize("name", ["from_node", "inherit_onnx_schema", "to_nodes"])
def test_examples_of_onnx(name):
    onnx = pytest.importorskip("onnx")
    import normkernels.onnx as ours  # noqa: PLC0415 - which needs it

    functions = functions_of(ours)
    assert sorted(functions) == ["from_node", "inherit_onnx_schema", "to_nodes"]
    run_examples(functions[name], SCOPE | OPERATORS | functions | {"onnx": onnx})


@pytest.mark.parametrize("name", functions_of(nk))
def test_help_fits_on_two_screens(name):
    """With the signature on one line: from Python 3.13 on, help gives each parameter its own."""
    heading_and_signature = 3
    text = inspect.getdoc(getattr(nk, name))
    assert len(text.splitlines()) + heading_and_signature <= TWO_SCREENS
