# ruff: noqa: E743, N802 - I, O, GO and GI are what everybody calls them who has written a maker
"""Gradients: what was registered to make them, what that is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from .definition import OperatorDef, require_op_def
from .registry import operator


class GradientDefs(NamedTuple):
    """The definitions that compute a gradient, in the order in which they run.

    gradients  For each input of the operator the blob that then holds its gradient, or None.
    """

    defs: tuple[OperatorDef, ...]
    gradients: tuple[str | None, ...]


class GradientContext:
    """What a gradient maker is given: the names of the blobs that it connects.

    I(i), O(i)    Input and output i of the forward operator; ValueError if it has no such output.
    GO(i)         The gradient of output i; ValueError if there is none.
    GI(i)         The name for the gradient of input i, `<input>_grad`. To ask for it is to promise
                  that a definition writes it.
    args          The forward operator's arguments, defaults filled in.

    A blob between two definitions of one gradient is best named after GI: every net has its own.

    In `inputs_read` and `outputs_read` it keeps which of I and O were asked for: those must still
    hold their values when the gradient runs.
    """

    def __init__(
        self,
        op_def: OperatorDef,
        args: Mapping[str, Any],
        gradient_outputs: Sequence[str | None],
    ) -> None:
        """The arguments are those of the definition, checked."""
        self.op_def = op_def
        self.args = args
        self.inputs_read: set[int] = set()
        self.outputs_read: set[int] = set()
        self._gradient_outputs = gradient_outputs
        self._gradient_inputs: dict[int, str] = {}

    def I(self, i: int) -> str:
        """Input i of the forward operator."""
        self.inputs_read.add(i)
        return self.op_def.inputs[i]

    def O(self, i: int) -> str:
        """Output i of the forward operator."""
        if i >= len(self.op_def.outputs):
            label = operator(self.op_def.type).schema.output_label(i)
            raise ValueError(
                f"{self.op_def.type}: has {len(self.op_def.outputs)} outputs, must have "
                f"{label} for its gradient, which reads it"
            )
        self.outputs_read.add(i)
        return self.op_def.outputs[i]

    def GO(self, i: int) -> str:
        """The gradient of output i."""
        name = self._gradient_outputs[i]
        if name is None:
            label = operator(self.op_def.type).schema.output_label(i)
            raise ValueError(
                f"{self.op_def.type}: the gradient of {label}, blob {self.op_def.outputs[i]!r}, "
                "is not given; without it there is no gradient of the inputs"
            )
        return name

    def GI(self, i: int) -> str:
        """The name for the gradient of input i, which a definition is going to write."""
        name = self.op_def.inputs[i]
        # A blob that is an operator's input twice has two gradients, to be summed.
        again = f"_{i}" if name in self.op_def.inputs[:i] else ""
        self.set_gradient(i, f"{name}_grad{again}")
        return self._gradient_inputs[i]

    def set_gradient(self, i: int, name: str) -> None:
        """Says that the gradient of input i is in a blob that is there already, such as GO(0)."""
        self._gradient_inputs[i] = name

    def single_gradient_def(
        self, type: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> list[OperatorDef]:
        """One definition, with the arguments that the forward definition has."""
        return [OperatorDef(type, inputs, outputs, self.op_def.args)]

    def gradients(self) -> tuple[str | None, ...]:
        """For each input the blob that holds its gradient, None for those never asked for."""
        return tuple(self._gradient_inputs.get(i) for i in range(len(self.op_def.inputs)))


GradientMaker: TypeAlias = Callable[[GradientContext], Sequence[OperatorDef]]

_makers: dict[str, tuple[GradientMaker | None]] = {}  # tuples: each registration is an object


def register_gradient(name: str, maker: GradientMaker | None) -> None:
    """Says how the gradient of an operator is computed: by which definitions of which operators.

    maker(context) returns the definitions; see GradientContext. None says that the operator has no
    gradient. The operator may be registered later.

    ValueError if the operator has a gradient already.

    >>> register_gradient("Negative", lambda c: [OperatorDef("Negative", [c.GO(0)], [c.GI(0)])])
    """
    made = (maker,)
    if _makers.setdefault(name, made) is not made:  # in one step: threads may register at once
        raise ValueError(f"register_gradient: the gradient of {name!r} is registered already")


def make_gradient(
    op_def: OperatorDef, gradient_outputs: Sequence[str | None]
) -> tuple[GradientContext, tuple[OperatorDef, ...]]:
    """What the maker was given, after it ran, and what it returned."""
    maker = _maker(op_def.type)
    args = operator(op_def.type).schema.verify(op_def)
    if len(gradient_outputs) != len(op_def.outputs):
        raise ValueError(
            f"{op_def.type}: gradient_outputs has {len(gradient_outputs)} entries, must have "
            f"{len(op_def.outputs)}, one for each output (None where there is no gradient)"
        )
    context = GradientContext(op_def, args, gradient_outputs)
    return context, tuple(maker(context))


def get_gradient_defs(op_def: OperatorDef, gradient_outputs: Sequence[str | None]) -> GradientDefs:
    """The definitions that compute the gradients of an operator's inputs.

    op_def            The forward definition.
    gradient_outputs  For each of its outputs the blob that holds its gradient, or None.

    Returns GradientDefs(defs, gradients). The built-in operators propagate through output 0 only:
    its gradient must be there, those of the saved statistics are ignored.

    ValueError if the operator has no gradient, if a gradient that it needs is None, or if the
    definition disagrees with its schema; UnknownNameError for an unknown operator.

    >>> norm = OperatorDef("LayerNorm", ["x"], ["y", "mean", "sigma"])
    >>> defs, gradients = get_gradient_defs(norm, ["dy", None, None])
    >>> defs[0].inputs, gradients
    (('dy', 'y', 'mean', 'sigma', 'x'), ('x_grad',))
    """
    require_op_def("get_gradient_defs: op_def", op_def)
    context, defs = make_gradient(op_def, gradient_outputs)
    return GradientDefs(defs, context.gradients())


def _maker(name: str) -> GradientMaker:
    """How an operator's gradient is made; ValueError if it has none."""
    operator(name)
    if name not in _makers:
        raise ValueError(f"{name}: no gradient is registered (see register_gradient)")
    (maker,) = _makers[name]
    if maker is None:
        raise ValueError(f"{name}: has no gradient")
    return maker
