"""docs/strides.md: its table has every operator with every array."""

import inspect
import re

import normkernels as nk
from declarations import ROOT
from good_calls import CALLS
from normkernels import helpers

TEXT = (ROOT / "docs/strides.md").read_text()


def rows_of_the_table():
    """Operator -> the words of the second column."""
    rows, name = {}, None
    for first, second in re.findall(r"^\| (.*?) ?\| (.*?) \| .* \|$", TEXT, flags=re.M):
        if first:
            name = first
        rows.setdefault(name, []).extend(re.findall(r"\w+", second))
    return {name.strip("`"): words for name, words in rows.items()}


def test_the_table_has_every_array():
    rows = rows_of_the_table()
    for name, (positional, keywords) in CALLS.items():
        arrays = {k for k, v in {**positional, **keywords}.items() if hasattr(v, "strides")}
        assert arrays | {"out"} <= set(rows[name]), name
        result = getattr(nk, name)(*positional.values(), **keywords)
        returned = set(getattr(result, "_fields", ())) - {"y", "dx"}
        assert returned <= set(rows[name]), name


def test_the_table_has_every_function_that_takes_arrays():
    takes_arrays = {
        name
        for name in nk.__all__
        if inspect.isbuiltin(getattr(nk, name))
        and "num_threads" in inspect.signature(getattr(nk, name)).parameters
    }
    assert takes_arrays >= set(CALLS)
    assert all(f"`{name}`" in TEXT for name in takes_arrays)
    assert f"all of `{helpers.__name__}`" in TEXT
