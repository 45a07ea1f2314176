"""Shapes and dtypes of an operator's outputs, without any data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from numpy.typing import DTypeLike

from .definition import OperatorDef, require_op_def, shown
from .registry import operator, schema
from .shapes import TensorShape


def infer(
    op_def: OperatorDef, shapes: Sequence[Sequence[int]], dtypes: Sequence[DTypeLike]
) -> tuple[TensorShape, ...]:
    """The TensorShape (shape, dtype) of every output of the definition.

    op_def  What would be run.
    shapes  The shape of each input.
    dtypes  The dtype of each input.

    Raises what running it would raise for inputs of these shapes and dtypes: TypeError for a wrong
    type or dtype, ValueError for a wrong shape, value or count, UnknownNameError for an unknown
    operator. ValueError, too, if the operator was registered without a tensor inference function.

    >>> norm = OperatorDef("LayerNorm", ["x"], ["y", "mean", "sigma"])
    >>> [shape.shape for shape in infer(norm, [(8, 768)], ["float32"])]
    [(8, 768), (8, 1), (8, 1)]
    """
    require_op_def("infer: op_def", op_def)
    registered = operator(op_def.type)
    args = registered.schema.verify(op_def)
    if registered.infer is None:
        raise ValueError(f"{op_def.type}: was registered without a tensor inference function")
    count = len(op_def.inputs)
    for what, given in (("shapes", shapes), ("dtypes", dtypes)):
        if isinstance(given, str) or not isinstance(given, Collection):
            raise TypeError(f"{op_def.type}: {what} is {shown(given)}, must be a list or tuple")
        if len(given) != count:
            raise ValueError(
                f"{op_def.type}: {what} has {len(given)} entries, must have {count}, "
                "one for each input"
            )
    inputs = [
        TensorShape(shape, dtype, op_def.type, registered.schema.input_label(i))
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]
    return _checked(op_def, registered.infer(*inputs, **args))


def _checked(op_def: OperatorDef, outputs: Any) -> tuple[TensorShape, ...]:
    """Of what an inference function returned, as many as the definition has outputs."""
    function = f"{op_def.type}: its tensor inference function"
    if not isinstance(outputs, Iterable):
        raise TypeError(
            f"{function} gave {outputs!r}, must give a TensorShape for each output, in a list"
        )
    shapes = tuple(outputs)
    if len(shapes) < len(op_def.outputs):
        raise ValueError(f"{function} gave {len(shapes)} outputs, must give {len(op_def.outputs)}")
    for j, shape in enumerate(shapes):
        if not isinstance(shape, TensorShape):
            label = schema(op_def.type).output_label(j)
            raise TypeError(f"{function} gave {shape!r} for {label}, must give a TensorShape")
    return shapes[: len(op_def.outputs)]
