"""The gradient of a list of operators: that of each in reverse order, and sums where paths meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .definition import OperatorDef
from .gradient import make_gradient
from .registry import schema


class Backward(NamedTuple):
    """The operators that run a net backward, in order.

    gradients  By blob of the net: the blob that then holds its gradient. Of a blob that holds
               several values in turn, it is that of the first one, which is what was fed if an
               operator reads it; a blob whose first value the loss does not depend on is not there.
    """

    operators: tuple[OperatorDef, ...]
    gradients: Mapping[str, str]


class _Value(NamedTuple):
    """What a blob holds after it was written `version` times; what a gradient belongs to."""

    blob: str
    version: int


class _Step(NamedTuple):
    """A forward operator and the values on both sides of it."""

    op_def: OperatorDef
    inputs: list[_Value]
    outputs: list[_Value]


class BackwardBuilder:
    """Collects the operators.

    Gradients arrive in parts, one from each operator that reads a value. When all have arrived,
    which is when its producer's turn comes, they are summed: into the first of them that is the
    value's own and may be overwritten.
    """

    def __init__(self, forward: Sequence[OperatorDef], taken: Iterable[str]) -> None:
        """No blob in `taken` is written, and none of the net itself."""
        self.operators: list[OperatorDef] = []
        self._written: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self._steps = [self._step(op_def) for op_def in forward]
        self._taken = {*taken, *self._written}
        self._parts: dict[_Value, list[str]] = {}
        self._owner: dict[str, _Value] = {}

    def _step(self, op_def: OperatorDef) -> _Step:
        schema(op_def.type).verify(op_def)
        inputs = [_Value(blob, self._written.setdefault(blob, 0)) for blob in op_def.inputs]
        for blob in op_def.outputs:
            self._written[blob] = self._written.get(blob, 0) + 1
        outputs = [_Value(blob, self._written[blob]) for blob in op_def.outputs]
        for value in (*inputs, *outputs):
            self._first.setdefault(value.blob, value.version)
        return _Step(op_def, inputs, outputs)

    def start(self, blob: str, gradient: str) -> None:
        """The gradient of the loss by a blob, as it is at the end of the net, is in `gradient`."""
        if blob not in self._written:
            raise ValueError(
                f"add_gradient_operators: blob {blob!r} has a gradient, but no operator of the net "
                f"reads or writes it; its blobs are {', '.join(map(repr, self._written)) or 'none'}"
            )
        self._parts[_Value(blob, self._written[blob])] = [gradient]
        self._taken.add(gradient)

    def build(self) -> Backward:
        """All steps in reverse."""
        for step in reversed(self._steps):
            gradient_outputs = [self._total(value) for value in step.outputs]
            if any(gradient_outputs):
                self._reverse(step, gradient_outputs)
        totals = {value: self._total(value) for value in self._parts}
        gradients = {
            value.blob: name
            for value, name in totals.items()
            if name is not None and value.version == self._first[value.blob]
        }
        return Backward(tuple(self.operators), gradients)

    def _reverse(self, step: _Step, gradient_outputs: list[str | None]) -> None:
        context, defs = make_gradient(step.op_def, gradient_outputs)
        read = [step.inputs[i] for i in context.inputs_read]
        read += [step.outputs[j] for j in context.outputs_read]
        for value in read:
            if value.version != self._written[value.blob]:
                raise ValueError(
                    f"{step.op_def.type}: its gradient reads blob {value.blob!r}, which is "
                    "overwritten before; write to another blob there"
                )
        renamed = self._append(defs)
        for value, gradient in zip(step.inputs, context.gradients(), strict=True):
            if gradient is not None:
                name = renamed.get(gradient, gradient)
                self._parts.setdefault(value, []).append(name)
                if gradient in renamed:
                    self._owner[name] = value

    def _append(self, defs: Sequence[OperatorDef]) -> dict[str, str]:
        """The definitions with outputs that are nobody else's; returns their new names."""
        renamed: dict[str, str] = {}
        for op_def in defs:
            inputs = [renamed.get(blob, blob) for blob in op_def.inputs]
            for blob in op_def.outputs:
                if blob not in renamed:
                    renamed[blob] = self._unused(blob)
            outputs = [renamed[blob] for blob in op_def.outputs]
            self.operators.append(OperatorDef(op_def.type, inputs, outputs, op_def.args))
        return renamed

    def _total(self, value: _Value) -> str | None:
        """The blob with the whole gradient of a value; None if no part has arrived."""
        parts = self._parts.get(value, [])
        if len(parts) > 1:
            own = [part for part in parts if self._owner.get(part) == value]
            total = own[0] if own else self._unused(f"{value.blob}_grad")
            if own:
                parts.remove(total)
                parts.insert(0, total)  # Sum may be in place in its first input only
            self.operators.append(OperatorDef("Sum", parts, [total]))
            self._parts[value] = [total]
            self._owner[total] = value
        return self._parts[value][0] if parts else None

    def _unused(self, name: str) -> str:
        unused, count = name, 0
        while unused in self._taken:
            count += 1
            unused = f"{name}_{count}"
        self._taken.add(unused)
        return unused
