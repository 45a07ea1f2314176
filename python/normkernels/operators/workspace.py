"""Workspace: named arrays, and the operators that run on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backward import Backward, BackwardBuilder
from .definition import OperatorDef, UnknownNameError, op_def_list, require_op_def
from .inference import infer
from .numbers import numbers
from .registry import operator, schema
from .shapes import TensorShape

DEVICES = ("cpu",)


class Workspace:
    """Named arrays, called blobs.

    Arrays go in and come out as copies: no operator writes into an array of yours, and what you
    fetched stays what it was. Inside, an operator writes its first output into the array that the
    blob already has, if shape and dtype agree, so that a net that runs again allocates little.
    """

    def __init__(self, blobs: Mapping[str, ArrayLike] | None = None) -> None:
        """With these blobs fed."""
        self._blobs: dict[str, NDArray[Any]] = {}
        self._fed: set[str] = set()
        for name, value in (blobs or {}).items():
            self.feed(name, value)

    def feed(self, name: str, value: ArrayLike) -> None:
        """Copies an array, or what NumPy makes one of, into a blob, whatever was there before.

        TypeError for what is no array of numbers: strings, objects, masked arrays.
        """
        if not isinstance(name, str):
            raise TypeError(f"Workspace: the name of a blob is {name!r}, must be a string")
        self._blobs[name] = np.array(numbers(f"Workspace: blob {name!r}", value), order="C")
        self._fed.add(name)

    def fetch(self, name: str) -> NDArray[Any]:
        """A copy of a blob; UnknownNameError if there is none of this name."""
        if name not in self._blobs:
            raise UnknownNameError(f"Workspace: there is no blob {name!r}; {self._contents()}")
        return np.array(self._blobs[name])

    __setitem__ = feed
    __getitem__ = fetch

    def __contains__(self, name: object) -> bool:
        """Whether there is such a blob."""
        return name in self._blobs

    def __iter__(self) -> Iterator[str]:
        """The names of the blobs."""
        return iter(self._blobs)

    def names(self) -> tuple[str, ...]:
        """The names of the blobs, oldest first."""
        return tuple(self._blobs)

    def run(self, op_defs: Iterable[OperatorDef]) -> None:
        """Runs the operators in order, after all definitions were checked."""
        listed = op_def_list("run", op_defs)
        checked = [(op_def, schema(op_def.type).verify(op_def)) for op_def in listed]
        for op_def, args in checked:
            self._run(op_def, args)

    def add_gradient_operators(
        self, op_defs: Iterable[OperatorDef], gradients: Mapping[str, str]
    ) -> Backward:
        """The operators that run a net backward. Nothing is run.

        op_defs    The net, in the order in which it runs.
        gradients  By blob of the net: the blob that will hold the gradient of the loss by it.

        Returns Backward(operators, gradients): what to run after the net, and by blob of the net
        the blob that then holds its gradient. That is `<blob>_grad`, with `_1`, `_2` behind it
        where the name is in use: by the net, or by a blob that was fed. The parts of the gradient
        of a blob that several operators read are added up by Sum. Of a blob that is written again
        it is the gradient of the first value; where the loss does not depend on it there is none.

        ValueError where a gradient cannot be had: the operator has none, it needs the gradient of
        an output that has none, or it reads a blob that is overwritten before.
        """
        listed = op_def_list("add_gradient_operators", op_defs)
        if not isinstance(gradients, Mapping):
            raise TypeError(
                f"add_gradient_operators: gradients is of type {type(gradients).__name__}, must be "
                "a mapping of blobs to blobs"
            )
        builder = BackwardBuilder(listed, self._fed)
        for blob, gradient in gradients.items():
            builder.start(blob, gradient)
        return builder.build()

    def _run(self, op_def: OperatorDef, args: Mapping[str, Any]) -> None:
        registered = operator(op_def.type)
        inputs = [self._input(op_def, i) for i in range(len(op_def.inputs))]
        expected: tuple[TensorShape | None, ...] = (None,) * len(op_def.outputs)
        if registered.infer is not None:
            shapes, dtypes = [x.shape for x in inputs], [x.dtype for x in inputs]
            expected = infer(op_def, shapes, dtypes)
        out = tuple(map(self._reusable, op_def.outputs, expected))
        results = registered.run(*inputs, out=out, **args)
        self._store(op_def, _checked(op_def, results, expected), inputs)

    def _input(self, op_def: OperatorDef, i: int) -> NDArray[Any]:
        name = op_def.inputs[i]
        if name not in self._blobs:
            label = schema(op_def.type).input_label(i)
            raise UnknownNameError(
                f"{op_def.type}: {label} is blob {name!r}, which is not in the workspace; "
                f"{self._contents()}"
            )
        return self._blobs[name]

    def _reusable(self, name: str, expected: TensorShape | None) -> NDArray[Any] | None:
        array = self._blobs.get(name)
        if array is None or expected is None:
            return None
        return array if TensorShape(array.shape, array.dtype) == expected else None

    def _store(
        self, op_def: OperatorDef, results: list[NDArray[Any]], inputs: list[NDArray[Any]]
    ) -> None:
        """Keeps the rule that no two blobs share memory, also if a run function returned a view."""
        stored = {}
        for j, (name, array) in enumerate(zip(op_def.outputs, results, strict=True)):
            others = [x for x in inputs if x is not self._blobs.get(name)] + results[:j]
            shared = any(np.may_share_memory(array, other) for other in others)
            own = array.flags.c_contiguous and array.flags.writeable and not shared
            stored[name] = array if own else np.array(array, order="C")
        self._blobs.update(stored)

    def _contents(self) -> str:
        return f"it has {', '.join(map(repr, self._blobs)) or 'none'}"


def run_on_device(op_def: OperatorDef, workspace: Workspace, device: str = "cpu") -> None:
    """Runs one operator on the blobs of a workspace.

    ValueError for a device other than "cpu", for a definition that disagrees with its schema, and
    for wrong shapes; TypeError for wrong types and dtypes; UnknownNameError for an unknown operator
    or a missing blob.

    >>> workspace = Workspace({"x": np.array([[3.0, 4.0]])})
    >>> run_on_device(OperatorDef("LayerNorm", ["x"], ["y", "mean", "sigma"]), workspace)
    >>> workspace["mean"]
    array([[3.5]])
    """
    require_op_def("run_on_device: op_def", op_def)
    if device not in DEVICES:
        raise ValueError(
            f"{op_def.type}: device is {device!r}, must be {' or '.join(map(repr, DEVICES))}; "
            "no operator exists on another"
        )
    workspace.run([op_def])


def run_on_device_with_order_nchw(op_def: OperatorDef, workspace: Workspace) -> None:
    """Runs one operator as if its argument `order` were "NCHW"; ValueError if it has no order.

    >>> x, scale, bias = np.ones((1, 2, 4, 4)), np.ones(2), np.zeros(2)
    >>> workspace = Workspace({"x": x, "scale": scale, "bias": bias})
    >>> norm = OperatorDef("InstanceNorm", ["x", "scale", "bias"], ["y", "mean", "inv_std"])
    >>> run_on_device_with_order_nchw(norm, workspace)
    >>> workspace["mean"].shape
    (1, 2)
    """
    _run_with_order(op_def, workspace, "NCHW")


def run_on_device_with_order_nhwc(op_def: OperatorDef, workspace: Workspace) -> None:
    """Runs one operator as if its argument `order` were "NHWC"; ValueError if it has no order.

    >>> x, scale, bias = np.ones((1, 4, 4, 2)), np.ones(2), np.zeros(2)
    >>> workspace = Workspace({"x": x, "scale": scale, "bias": bias})
    >>> norm = OperatorDef("InstanceNorm", ["x", "scale", "bias"], ["y", "mean", "inv_std"])
    >>> run_on_device_with_order_nhwc(norm, workspace)
    >>> workspace["mean"].shape
    (1, 2)
    """
    _run_with_order(op_def, workspace, "NHWC")


def _run_with_order(op_def: OperatorDef, workspace: Workspace, order: str) -> None:
    require_op_def(f"run_on_device_with_order_{order.lower()}: op_def", op_def)
    workspace.run([replace(op_def, args={**op_def.args, "order": order})])


def _checked(
    op_def: OperatorDef, results: Any, expected: Sequence[TensorShape | None]
) -> list[NDArray[Any]]:
    """As many results as there are outputs, of the shapes and dtypes that were inferred."""
    given = results if isinstance(results, (tuple, list)) else [results]
    if len(given) < len(expected):
        raise ValueError(
            f"{op_def.type}: its run function returned {len(given)} arrays, "
            f"must return {len(expected)}"
        )
    arrays = []
    for j, (result, shape) in enumerate(zip(given, expected, strict=False)):
        what = f"{op_def.type}: {schema(op_def.type).output_label(j)}"
        array = numbers(what, result)
        if shape is not None and TensorShape(array.shape, array.dtype) != shape:
            raise ValueError(
                f"{what} has shape {array.shape} and dtype {array.dtype}, "
                f"its tensor inference function says {shape}"
            )
        arrays.append(array)
    return arrays
