"""OperatorSchema: what an operator takes and gives, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from .definition import ArgumentValue, OperatorDef, shown


class Input(NamedTuple):
    """An input. Those that may be left out come last."""

    name: str
    doc: str
    optional: bool = False


class Output(NamedTuple):
    """An output. Those that may be left out come last."""

    name: str
    doc: str
    optional: bool = False


class Check(NamedTuple):
    """A condition on the value of an argument, and what the error says that it must be."""

    must_be: str
    holds: Callable[[Any], bool]


def _is_finite(value: float) -> bool:
    # Every int is, and those beyond the range of a float are an error to math.isfinite.
    return isinstance(value, int) or math.isfinite(value)


FINITE = Check("finite", _is_finite)
FINITE_NOT_NEGATIVE = Check("finite and >= 0", lambda value: _is_finite(value) and value >= 0)


def at_least(least: int) -> Check:
    """The check that a number is `least` or more.

    >>> at_least(1).must_be
    'at least 1'
    >>> at_least(1).holds(0)
    False
    """
    return Check(f"at least {least}", lambda value: bool(value >= least))


class Argument(NamedTuple):
    """An argument: a keyword of the operator's functions.

    type     int, float, str, bool, or tuple: of int. An int will do for a float; a bool is no
             number.
    default  Its value where a definition does not give it. It is checked like any other: a default
             that fails its own check makes the argument a required one.
    alias    Another name of it, which counts where a definition does not have this one.
    """

    type: type[ArgumentValue]
    default: ArgumentValue
    doc: str
    check: Check | None = None
    alias: str | None = None

    def checked(self, what: str, value: ArgumentValue) -> ArgumentValue:
        """The value in this argument's type. `what` begins the message of an error."""
        if type(value) is int and self.type is float:
            try:
                value = float(value)
            except OverflowError:
                raise ValueError(
                    f"{what} is {shown(value)}, must be within the range of a float"
                ) from None
        if type(value) is not self.type:
            raise TypeError(
                f"{what} is of type {type(value).__name__}, must be {self.type.__name__}"
            )
        if self.check and not self.check.holds(value):
            raise ValueError(f"{what} is {shown(value)}, must be {self.check.must_be}")
        return value


@dataclass(frozen=True)
class Range:
    """A count of `least` to `most`, both allowed; without `most`, of `least` or more."""

    least: int
    most: int | None = None

    def __contains__(self, count: int) -> bool:
        """Whether so many are allowed."""
        return self.least <= count and (self.most is None or count <= self.most)

    def __str__(self) -> str:
        """As the messages and the help have it."""
        if self.most is None:
            return f"{self.least} or more"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


Count: TypeAlias = Range | Set[int]
# What is wrong with a definition and its arguments, None if nothing.
Complaint: TypeAlias = Callable[[OperatorDef, Mapping[str, Any]], str | None]


@dataclass(frozen=True, repr=False)
class OperatorSchema:
    """The declaration of an operator. Printed, or shown at a prompt, it is a manual page.

    doc          What the operator computes.
    inputs       Its inputs in order.
    outputs      Its outputs in order.
    args         Its arguments by name.
    num_inputs   How many inputs are allowed, if other than the required ones and then any number
                 of the optional ones: a Range, or a set such as {1, 3}: 1 or 3, but not 2.
    num_outputs  Likewise.
    inplace      Pairs (i, j): output j may be the same blob as input i.
    check        For what depends on more than one of these: takes a definition and its arguments,
                 and returns what is wrong, None if nothing.
    name         Is filled in when the operator is registered.

    ValueError or TypeError for a schema that contradicts itself.
    """

    doc: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    args: Mapping[str, Argument] = field(default_factory=dict)
    num_inputs: Count | None = None
    num_outputs: Count | None = None
    inplace: Set[tuple[int, int]] = frozenset()
    check: Complaint | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuses what no definition could use."""
        for group in (self.inputs, self.outputs):
            optional = [item.optional for item in group]
            if optional != sorted(optional):
                raise ValueError(
                    f"schema: {group[optional.index(True)].name} is optional, must be last"
                )
        for name, argument in self.args.items():
            if type(argument.default) is not argument.type:
                raise TypeError(
                    f"schema: the default of {name} is {argument.default!r}, "
                    f"must be of type {argument.type.__name__}"
                )
        if "out" in self.args:
            raise ValueError(
                "schema: no argument may be named out, a keyword of every run function"
            )

    def allowed_inputs(self) -> Count:
        """How many inputs a definition may have."""
        return _count(self.inputs) if self.num_inputs is None else self.num_inputs

    def allowed_outputs(self) -> Count:
        """How many outputs a definition may have."""
        return _count(self.outputs) if self.num_outputs is None else self.num_outputs

    def verify(self, op_def: OperatorDef) -> dict[str, Any]:
        """All arguments of the definition, defaults filled in.

        ValueError or TypeError if the definition does not agree with this schema.
        """
        _check_count(op_def, "inputs", len(op_def.inputs), self.allowed_inputs())
        _check_count(op_def, "outputs", len(op_def.outputs), self.allowed_outputs())
        self._check_names(op_def)
        args = dict(self._arguments(op_def))
        complaint = self.check and self.check(op_def, args)
        if complaint:
            raise ValueError(f"{op_def.type}: {complaint}")
        return args

    def input_label(self, i: int) -> str:
        """What messages call input i; the last one may stand for any number."""
        return f"input {i} ({self.inputs[min(i, len(self.inputs) - 1)].name})"

    def output_label(self, j: int) -> str:
        """What messages call output j."""
        return f"output {j} ({self.outputs[min(j, len(self.outputs) - 1)].name})"

    def _check_names(self, op_def: OperatorDef) -> None:
        for j, name in enumerate(op_def.outputs):
            if name in op_def.outputs[:j]:
                raise ValueError(
                    f"{op_def.type}: blob {name!r} is the name of more than one output"
                )
            for i in (i for i, other in enumerate(op_def.inputs) if other == name):
                if (i, j) not in self.inplace:
                    raise ValueError(
                        f"{op_def.type}: blob {name!r} is {self.input_label(i)} and "
                        f"{self.output_label(j)}; in place is allowed for {self._inplace_text()}"
                    )

    def _arguments(self, op_def: OperatorDef) -> Iterator[tuple[str, ArgumentValue]]:
        allowed = [*self.args, *(a.alias for a in self.args.values() if a.alias)]
        for name in op_def.args:
            if name not in allowed:
                raise ValueError(
                    f"{op_def.type}: has no argument {name!r}, "
                    f"allowed: {', '.join(allowed) or 'none'}"
                )
        for name, argument in self.args.items():
            what = f"{op_def.type}: argument"
            given = [
                argument.checked(f"{what} {known}", op_def.args[known])
                for known in (name, argument.alias)
                if known is not None and known in op_def.args
            ]
            default = f"{what} {name} is not given: its default"
            yield name, given[0] if given else argument.checked(default, argument.default)

    def _inplace_text(self) -> str:
        pairs = [
            f"{self.input_label(i)} as {self.output_label(j)}" for i, j in sorted(self.inplace)
        ]
        return ", ".join(pairs) or "none"

    def __repr__(self) -> str:
        """The manual page."""
        rows = [
            (f"Inputs: {_count_text(self.allowed_inputs())}", map(_item_row, self.inputs)),
            (f"Outputs: {_count_text(self.allowed_outputs())}", map(_item_row, self.outputs)),
            ("Arguments", (_argument_row(*item) for item in self.args.items())),
        ]
        lines = [self.name, "", self.doc]
        for title, table in rows:
            lines += ["", title, *_aligned(list(table))]
        return "\n".join([*lines, "", f"In place: {self._inplace_text()}"])


def _count(items: tuple[Input, ...] | tuple[Output, ...]) -> Range:
    return Range(sum(not item.optional for item in items), len(items))


def _count_text(count: Count) -> str:
    return str(count) if isinstance(count, Range) else " or ".join(map(str, sorted(count)))


def _check_count(op_def: OperatorDef, what: str, count: int, allowed: Count) -> None:
    if count not in allowed:
        raise ValueError(f"{op_def.type}: has {count} {what}, must have {_count_text(allowed)}")


def _item_row(item: Input | Output) -> tuple[str, str]:
    return item.name, ("Optional. " if item.optional else "") + item.doc


def _argument_row(name: str, argument: Argument) -> tuple[str, str]:
    must_be = f" Must be {argument.check.must_be}." if argument.check else ""
    alias = f" Or as {argument.alias}." if argument.alias else ""
    return (
        f"{name}: {argument.type.__name__} = {argument.default!r}",
        argument.doc + must_be + alias,
    )


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(left) for left, _ in rows), default=0)
    return [f"  {left:{width}}  {right}" for left, right in rows] or ["  none"]
