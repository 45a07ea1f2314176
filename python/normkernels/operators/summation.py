"""The operator Sum, which adds up the gradients of a blob that several operators read."""

from __future__ import annotations

import numpy as np

from .._types import Array
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .registry import Out, register_cpu_operator
from .schema import Input, OperatorSchema, Output, Range
from .shapes import TensorShape

SCHEMA = OperatorSchema(
    doc="The sum of all inputs, element by element and from left to right.",
    inputs=(Input("x", "One or more, all of the same shape and dtype."),),
    outputs=(Output("y", "Their shape and dtype."),),
    num_inputs=Range(1),
    inplace={(0, 0)},
)


def _run(first: Array, *others: Array, out: Out) -> Array:
    total = np.empty_like(first) if out[0] is None else out[0]
    np.copyto(total, first)
    for other in others:
        np.add(total, other, out=total)
    return total


def _infer(first: TensorShape, *others: TensorShape) -> list[TensorShape]:
    first.require_number()
    for other in others:
        other.require_like(first)
    return [first]


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    for i in range(len(g.op_def.inputs)):
        g.set_gradient(i, g.GO(0))
    return []


register_cpu_operator("Sum", schema=SCHEMA, run=_run, infer=_infer)
register_gradient("Sum", _make_gradient)
