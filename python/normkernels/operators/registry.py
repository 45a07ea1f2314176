"""The registered operators."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from .._types import Array
from .definition import UnknownNameError
from .schema import OperatorSchema
from .shapes import TensorShape

# What a run function is offered to write each output into.
Out: TypeAlias = tuple[Array | None, ...]
RunFunction: TypeAlias = Callable[..., Any]
InferFunction: TypeAlias = Callable[..., Sequence[TensorShape]]


@dataclass(frozen=True)
class Operator:
    """What was registered under a name."""

    schema: OperatorSchema
    run: RunFunction
    infer: InferFunction | None


_operators: dict[str, Operator] = {}


def register_cpu_operator(
    name: str,
    *,
    schema: OperatorSchema,
    run: RunFunction,
    infer: InferFunction | None = None,
) -> None:
    """Makes an operator known under a name.

    run(*inputs, out, **args) computes the outputs from NumPy arrays, one for each input of the
    definition, and from all arguments by name. `out` is a tuple with one entry for each output of
    the definition: an array of the right shape and dtype that the result may be written into, or
    None. The array is the input's own where the definition says so (and the schema allows it), and
    shares no memory with any other. run returns an array, or a list or tuple of them, of which as
    many are taken as the definition has outputs. They are arrays of numbers, or what NumPy makes
    such an array of; anything else is refused, and nothing is stored.

    infer(*inputs, **args) does so for shapes: from the TensorShape of each input to those of all
    outputs, also of those that a definition leaves out. It raises the errors of wrong shapes, as it
    is called before run. Without it, `infer` is not possible for the operator, and `out` is all
    None.

    ValueError if the name is taken.

    >>> negative = OperatorSchema("y = -x", (Input("x", "Any."),), (Output("y", "Of x's shape."),))
    >>> register_cpu_operator("Negative", schema=negative, run=lambda x, out: -x)
    >>> workspace = Workspace({"x": [1, 2]})
    >>> workspace.run([OperatorDef("Negative", ["x"], ["y"])])
    >>> workspace["y"]
    array([-1, -2])
    """
    made = Operator(replace(schema, name=name), run, infer)
    if _operators.setdefault(name, made) is not made:  # in one step: threads may register at once
        raise ValueError(f"register_cpu_operator: {name!r} is registered already")


def operator(name: str) -> Operator:
    """What is registered under a name; UnknownNameError with the nearest names if nothing is."""
    if name not in _operators:
        in_lower_case = {known.lower(): known for known in names()}
        matches = difflib.get_close_matches(name.lower(), in_lower_case, cutoff=0.5)
        close = [in_lower_case[match] for match in matches]
        hint = f"did you mean {_listed(close)}?" if close else f"there are {_listed(names())}"
        raise UnknownNameError(f"{name}: no such operator; {hint}")
    return _operators[name]


def names() -> tuple[str, ...]:
    """The names of all registered operators, sorted.

    >>> "LRN" in names()
    True
    """
    return tuple(sorted(_operators))


def schema(name: str) -> OperatorSchema:
    """The schema of an operator; printed, its manual page. UnknownNameError for an unknown name.

    >>> list(schema("LRN").args)
    ['size', 'alpha', 'beta', 'bias', 'order']
    """
    return operator(name).schema


def tensor_inference_function(name: str) -> InferFunction | None:
    """What was registered as `infer` of an operator; None if nothing was.

    UnknownNameError for an unknown name.

    >>> tensor_inference_function("LayerNorm") is None
    False
    """
    return operator(name).infer


def _listed(items: Sequence[str]) -> str:
    return ", ".join(repr(item) for item in items)
