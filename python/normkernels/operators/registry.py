"""The registered operators and their gradients."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .._types import Array
from .definition import OperatorDef, UnknownNameError
from .schema import OperatorSchema
from .shapes import TensorShape

if TYPE_CHECKING:
    from .gradient import GradientContext

# What a run function is offered to write each output into.
Out: TypeAlias = tuple[Array | None, ...]
RunFunction: TypeAlias = Callable[..., Any]
InferFunction: TypeAlias = Callable[..., Sequence[TensorShape]]
GradientMaker: TypeAlias = "Callable[[GradientContext], Sequence[OperatorDef]]"


@dataclass(frozen=True)
class Operator:
    """What was registered under a name."""

    schema: OperatorSchema
    run: RunFunction
    infer: InferFunction | None


_operators: dict[str, Operator] = {}
_gradients: dict[str, GradientMaker | None] = {}


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
    """
    if name in _operators:
        raise ValueError(f"register_cpu_operator: {name!r} is registered already")
    _operators[name] = Operator(replace(schema, name=name), run, infer)


def register_gradient(name: str, maker: GradientMaker | None) -> None:
    """Says how the gradient of an operator is computed: by which definitions of which operators.

    maker(context) returns the definitions; see GradientContext. None says that the operator has no
    gradient. The operator may be registered later.

    ValueError if the operator has a gradient already.
    """
    if name in _gradients:
        raise ValueError(f"register_gradient: the gradient of {name!r} is registered already")
    _gradients[name] = maker


def operator(name: str) -> Operator:
    """What is registered under a name; UnknownNameError with the nearest names if nothing is."""
    if name not in _operators:
        in_lower_case = {known.lower(): known for known in _operators}
        matches = difflib.get_close_matches(name.lower(), in_lower_case, cutoff=0.5)
        close = [in_lower_case[match] for match in matches]
        hint = f"did you mean {_listed(close)}?" if close else f"there are {_listed(names())}"
        raise UnknownNameError(f"{name}: no such operator; {hint}")
    return _operators[name]


def gradient_maker(name: str) -> GradientMaker:
    """How an operator's gradient is made; ValueError if it has none."""
    operator(name)
    if name not in _gradients:
        raise ValueError(f"{name}: no gradient is registered (see register_gradient)")
    maker = _gradients[name]
    if maker is None:
        raise ValueError(f"{name}: has no gradient")
    return maker


def names() -> tuple[str, ...]:
    """The names of all registered operators, sorted."""
    return tuple(sorted(_operators))


def schema(name: str) -> OperatorSchema:
    """The schema of an operator; printed, its manual page. UnknownNameError for an unknown name."""
    return operator(name).schema


def tensor_inference_function(name: str) -> InferFunction | None:
    """What was registered as `infer` of an operator; None if nothing was.

    UnknownNameError for an unknown name.
    """
    return operator(name).infer


def _listed(items: Sequence[str]) -> str:
    return ", ".join(repr(item) for item in items)
