"""Small operators between our conventions and ONNX's, which `from_node` puts around others.

Registered when `normkernels.onnx` is imported, under names that begin with "onnx.".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operators import (
    Argument,
    Check,
    GradientContext,
    Input,
    OperatorDef,
    OperatorSchema,
    Output,
    TensorShape,
    register_cpu_operator,
    register_gradient,
)
from ..operators.shapes import MAX_RANK
from .rows import Array, summed

COUNT = Check(f"0 to {MAX_RANK}", lambda count: 0 <= count <= MAX_RANK)
X = Input("x", "Any shape, any floating-point dtype.")
ADDEND = "What can be broadcast to the shape of x."


def _schema(doc: str, *inputs: Input, **args: Argument) -> OperatorSchema:
    return OperatorSchema(doc=doc, inputs=inputs, outputs=(Output("y", "The result."),), args=args)


def _run_reciprocal(x: Array, **_: Any) -> Array:
    with np.errstate(divide="ignore"):
        return np.reciprocal(x)


def _run_append_dims(x: Array, *, count: int, **_: Any) -> Array:
    return x.reshape(x.shape + (1,) * count)


def _run_add(x: Array, *others: Array, **_: Any) -> Array:
    """Rounded as the functions of norms of a sum do: once, of float64 in a pair."""
    total, rest = x.astype(np.float64), np.zeros(x.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # as in the kernels
        for a in others:
            added = total + a
            of_a = added - total
            rest = rest + ((total - (added - of_a)) + (a - of_a))
            total = added
        near = np.where(abs(rest) > 0, total + rest, total)  # neither of -0 nor of infinity
        if x.dtype == np.float64:
            return near
        lost = (total - near) + rest
        even = near.view(np.int64) % 2 == 0
        odd = np.where(
            (abs(lost) > 0) & even, np.nextafter(near, near + np.sign(lost) * np.inf), near
        )
        return odd.astype(np.float32).astype(x.dtype, copy=False)


def _run_sum_to(x: Array, like: Array, **_: Any) -> Array:
    return summed(x, like.shape)


def _infer_same(x: TensorShape) -> list[TensorShape]:
    x.require_floating()
    return [x]


def _infer_append_dims(x: TensorShape, *, count: int) -> list[TensorShape]:
    x.require_floating()
    x.require_rank(0, MAX_RANK - count)
    return [TensorShape(x.shape + (1,) * count, x.dtype)]


def _infer_add(x: TensorShape, *others: TensorShape) -> list[TensorShape]:
    x.require_float()
    for a in others:
        a.require_dtype_of(x)
        a.require_broadcast_to(x)
    return [x]


def _infer_sum_to(x: TensorShape, like: TensorShape) -> list[TensorShape]:
    x.require_float()
    like.require_dtype_of(x)
    like.require_broadcast_to(x)
    return [like]


def _make_gradient_of_add(g: GradientContext) -> list[OperatorDef]:
    g.set_gradient(0, g.GO(0))
    others = range(1, len(g.op_def.inputs))
    return [OperatorDef("onnx.SumTo", [g.GO(0), g.I(i)], [g.GI(i)]) for i in others]


register_cpu_operator(
    "onnx.Reciprocal",
    schema=_schema("y = 1 / x: from sigma to ONNX's InvStdDev.", X),
    run=_run_reciprocal,
    infer=_infer_same,
)
register_cpu_operator(
    "onnx.AppendDims",
    schema=_schema(
        "x with `count` dimensions of 1 at the end: ONNX's statistics have the rank of X.",
        X,
        count=Argument(int, 1, "How many.", COUNT),
    ),
    run=_run_append_dims,
    infer=_infer_append_dims,
)
register_cpu_operator(
    "onnx.Add",
    schema=_schema(
        "y = x + skip + bias, rounded once: what ONNX Runtime's Skip operators normalise.",
        Input("x", "Floating-point."),
        Input("skip", ADDEND),
        Input("bias", ADDEND, True),
    ),
    run=_run_add,
    infer=_infer_add,
)
register_cpu_operator(
    "onnx.SumTo",
    schema=_schema(
        "x summed to the shape of `like`: the gradient of what onnx.Add broadcasts.",
        Input("x", "Floating-point."),
        Input("like", f"{ADDEND} Only its shape counts."),
    ),
    run=_run_sum_to,
    infer=_infer_sum_to,
)
# Layer norm takes no gradients of its statistics.
register_gradient("onnx.Reciprocal", None)
register_gradient("onnx.AppendDims", None)
register_gradient("onnx.Add", _make_gradient_of_add)
register_gradient("onnx.SumTo", None)
