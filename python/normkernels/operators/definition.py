"""OperatorDef: which operator, on which blobs, with which arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

ArgumentValue: TypeAlias = int | float | str | bool | tuple[int, ...]


class UnknownNameError(KeyError):
    """A name that is not there: of an operator or of a blob."""

    def __str__(self) -> str:
        """The message as it is; KeyError would put it in quotes."""
        return str(self.args[0])


@dataclass(frozen=True, init=False)
class OperatorDef:
    """An operator to run: `type` names it, `inputs` and `outputs` name blobs of a workspace.

        OperatorDef("LRN", ["x"], ["y"], {"size": 5, "alpha": 1e-4, "beta": 0.75})

    A plain value: nothing is looked up, so it may be written before its operator is registered.
    Counts, argument names, types and values are checked against the schema when it is used.

    type     Name of the operator.
    inputs   Names of blobs; a list becomes a tuple.
    outputs  Likewise.
    args     int, float, str, bool or several int by name, which cannot be changed later. NumPy's
             scalars become Python's, a list becomes a tuple.

    TypeError for what is not a name, no mapping or not such a value, ValueError for an empty name.
    """

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    args: Mapping[str, ArgumentValue] = field(hash=False)

    def __init__(
        self,
        type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        args: Mapping[str, ArgumentValue] | None = None,
    ) -> None:
        """See the class."""
        self._set("type", _name("OperatorDef: type", type))
        self._set("inputs", _names(f"{type}: inputs", inputs))
        self._set("outputs", _names(f"{type}: outputs", outputs))
        if args is None:
            args = {}
        elif not isinstance(args, Mapping):
            raise TypeError(f"{type}: args is {args!r}, must be a mapping of names to values")
        values = {
            _name(f"{type}: name of an argument", name): _value(f"{type}: argument {name}", value)
            for name, value in args.items()
        }
        self._set("args", MappingProxyType(values))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the way into a frozen dataclass

    def __reduce__(self) -> tuple[Any, ...]:
        """For copy and pickle, which know no read-only mappings."""
        return OperatorDef, (self.type, self.inputs, self.outputs, dict(self.args))

    def __repr__(self) -> str:
        """As it would be written."""
        args = f", {dict(self.args)}" if self.args else ""
        return f"OperatorDef({self.type!r}, {list(self.inputs)}, {list(self.outputs)}{args})"


def shown(value: object) -> str:
    """As messages show a value. Python refuses to write down an int of thousands of digits."""
    bits = value.bit_length() if isinstance(value, int) else 0
    if bits > 128:
        return f"an int of {bits} bits"
    try:
        return repr(value)
    except ValueError:  # such an int is in it
        return f"a {type(value).__name__} that cannot be shown"


def require_op_def(what: str, value: object) -> None:
    """TypeError unless it is an OperatorDef. `what` begins the message."""
    if not isinstance(value, OperatorDef):
        raise TypeError(f"{what} is of type {type(value).__name__}, must be an OperatorDef")


def op_def_list(function: str, op_defs: object) -> list[OperatorDef]:
    """The definitions of a net. TypeError for anything else, such as one that is in no list."""
    if isinstance(op_defs, str) or not isinstance(op_defs, Iterable):
        raise TypeError(
            f"{function}: op_defs is of type {type(op_defs).__name__}, must be a sequence of "
            "OperatorDef"
        )
    listed = list(op_defs)
    for i, op_def in enumerate(listed):
        require_op_def(f"{function}: op_defs[{i}]", op_def)
    return listed


def _name(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} is of type {type(name).__name__}, must be a string")
    if not name:
        raise ValueError(f"{what} is empty, must be a name")
    return name


def _names(what: str, names: object) -> tuple[str, ...]:
    # A string is a sequence of strings, too, but what was meant is a list of one.
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"{what} is {names!r}, must be a list or tuple of names")
    return tuple(_name(f"{what}[{i}]", name) for i, name in enumerate(names))


def _value(what: str, value: object) -> ArgumentValue:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return _several(what, [_value(what, item) for item in value])
    if not isinstance(value, (int, float, str)):  # a bool is an int
        raise TypeError(
            f"{what} is of type {type(value).__name__}, must be int, float, str, bool or a list "
            "of int"
        )
    return value


def _several(what: str, items: Sequence[ArgumentValue]) -> tuple[int, ...]:
    for item in items:
        if type(item) is not int:
            raise TypeError(f"{what} has an item of type {type(item).__name__}, must have int")
    return tuple(item for item in items if isinstance(item, int))
