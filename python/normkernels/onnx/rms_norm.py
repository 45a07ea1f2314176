"""RMS norm with what ONNX calls scale: all that can be broadcast to X, not only a row.

normalise() is the evaluator's RMSNormalization; the operators onnx.RMSNorm and its gradient are
what `from_node` makes of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import normkernels as nk

from ..operators import (
    GradientContext,
    Input,
    OperatorDef,
    OperatorSchema,
    Output,
    TensorShape,
    register_cpu_operator,
    register_gradient,
)
from ..operators.registry import Out
from .layer_norm import ARGUMENTS
from .rows import Array, apply, as_rows, is_half, matrix, summed

SCHEMA = OperatorSchema(
    doc="""RMS norm as ONNX has it, and its statistic.

    y = x * rstd * scale,  rstd = 1 / sqrt(E[x**2] + epsilon)""",
    inputs=(
        Input("x", "Floating-point, rank 1 or more."),
        Input("scale", "Any shape that can be broadcast to that of x."),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("rstd", "Of each row: shape x.shape[:axis] + (1,)."),
    ),
    args=ARGUMENTS,
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="Gradients of onnx.RMSNorm: that of scale is summed to its shape.",
    inputs=(
        Input("dy", "Gradient of y. Shape of x."),
        Input("rstd", "Output 1 of onnx.RMSNorm."),
        Input("x", "As in onnx.RMSNorm."),
        Input("scale", "Likewise."),
    ),
    outputs=(Output("dx", "Shape of x."), Output("dscale", "Shape of scale.")),
    args=ARGUMENTS,
)


def normalise(
    x: Array, scale: Array, *, axis: int, epsilon: float, out: Array | None = None
) -> nk.RmsNorm:
    """y in the shape of x; rstd, one for each row, in a column. x and scale are of one type.

    Of half types what is normalised is rounded to them before scale, as ONNX casts it.
    """
    rows = None if is_half(x) else as_rows(x, [scale], axis)
    y, rstd = nk.rms_norm(
        matrix(x, axis),
        *(rows or ()),
        epsilon=epsilon,
        out=None if out is None else matrix(out, axis),
        return_stats=True,
    )
    y = y.reshape(x.shape)
    if rows is None:
        apply(y, scale)
    return nk.RmsNorm(y, rstd)


def _run(x: Array, scale: Array, *, axis: int, epsilon: float, out: Out) -> Sequence[Array]:
    y, rstd = normalise(x, scale, axis=axis, epsilon=epsilon, out=out[0])
    return y, rstd.reshape(*x.shape[: axis % x.ndim], 1)


def _run_gradient(
    dy: Array, rstd: Array, x: Array, scale: Array, *, axis: int, epsilon: float, out: Out
) -> Sequence[Array]:
    rows, x_rows = as_rows(x, [scale], axis), matrix(x, axis)
    g, gamma = (dy, rows[0]) if rows else (dy * scale, None)
    dx, dgamma, _ = nk.rms_norm_backward(matrix(g, axis), x_rows, rstd, gamma)
    if rows:
        dscale = dgamma.reshape(x.shape[axis % x.ndim :])
    else:
        dscale = dy * nk.rms_norm(x_rows, epsilon=epsilon).reshape(x.shape)
    return dx.reshape(x.shape), summed(dscale, scale.shape)


def _infer(x: TensorShape, scale: TensorShape, *, axis: int, epsilon: float) -> list[TensorShape]:
    x.require_float()
    x.require_rank(1)
    axis = x.canonical_axis_index(axis)
    scale.require_dtype_of(x)
    scale.require_broadcast_to(x)
    return [x, TensorShape((*x.shape[:axis], 1), x.statistics_dtype)]


def _infer_gradient(
    dy: TensorShape,
    rstd: TensorShape,
    x: TensorShape,
    scale: TensorShape,
    *,
    axis: int,
    epsilon: float,
) -> list[TensorShape]:
    _, statistic = _infer(x, scale, axis=axis, epsilon=epsilon)
    dy.require_like(x)
    rstd.require_statistic_of(x)
    rstd.require_shape(statistic.shape, "one per row")
    return [x, scale]


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    return g.single_gradient_def(
        "onnx.RMSNormGradient", [g.GO(0), g.O(1), g.I(0), g.I(1)], [g.GI(0), g.GI(1)]
    )


register_cpu_operator("onnx.RMSNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "onnx.RMSNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("onnx.RMSNorm", _make_gradient)
register_gradient("onnx.RMSNormGradient", None)
