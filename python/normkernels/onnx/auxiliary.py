"""Small operators between our conventions and ONNX's, which `from_node` puts around onnx.LayerNorm.

Registered when `normkernels.onnx` is imported, under names that begin with "onnx.".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import Array
from ..operators import (
    Argument,
    Check,
    Input,
    OperatorSchema,
    Output,
    TensorShape,
    register_cpu_operator,
    register_gradient,
)
from ..operators.shapes import MAX_RANK

COUNT = Check(f"0 to {MAX_RANK}", lambda count: 0 <= count <= MAX_RANK)


def _schema(doc: str, args: dict[str, Argument]) -> OperatorSchema:
    return OperatorSchema(
        doc=doc,
        inputs=(Input("x", "Any shape, any floating-point dtype."),),
        outputs=(Output("y", "The result."),),
        args=args,
    )


def _run_reciprocal(x: Array, **_: Any) -> Array:
    with np.errstate(divide="ignore"):
        return np.reciprocal(x)


def _run_append_dims(x: Array, *, count: int, **_: Any) -> Array:
    return x.reshape(x.shape + (1,) * count)


def _infer_same(x: TensorShape) -> list[TensorShape]:
    x.require_floating()
    return [x]


def _infer_append_dims(x: TensorShape, *, count: int) -> list[TensorShape]:
    x.require_floating()
    x.require_rank(0, MAX_RANK - count)
    return [TensorShape(x.shape + (1,) * count, x.dtype)]


register_cpu_operator(
    "onnx.Reciprocal",
    schema=_schema("y = 1 / x: from sigma to ONNX's InvStdDev.", {}),
    run=_run_reciprocal,
    infer=_infer_same,
)
register_cpu_operator(
    "onnx.AppendDims",
    schema=_schema(
        "x with `count` dimensions of 1 at the end: ONNX's statistics have the rank of X.",
        {"count": Argument(int, 1, "How many.", COUNT)},
    ),
    run=_run_append_dims,
    infer=_infer_append_dims,
)
# Layer norm takes no gradients of its statistics.
register_gradient("onnx.Reciprocal", None)
register_gradient("onnx.AppendDims", None)
