"""Layer norm with what ONNX calls Scale and B: all that can be broadcast to X, not only a row.

normalise() is the evaluator's LayerNormalization; the operators onnx.LayerNorm and its gradient are
what `from_node` makes of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import normkernels as nk

from ..operators import (
    Argument,
    GradientContext,
    Input,
    OperatorDef,
    OperatorSchema,
    Output,
    TensorShape,
    register_cpu_operator,
    register_gradient,
)
from ..operators.arguments import EPSILON
from ..operators.registry import Out
from .rows import Array, apply, as_rows, is_half, matrix, summed

ARGUMENTS = {"axis": Argument(int, -1, "First normalised axis."), "epsilon": EPSILON}

SCHEMA = OperatorSchema(
    doc="""Layer norm as ONNX has it, but for its statistics: those are LayerNorm's.

    y = (x - mean) / sigma * scale + b,  sigma = sqrt(var + epsilon)""",
    inputs=(
        Input("x", "Floating-point, rank 1 or more."),
        Input("scale", "Any shape that can be broadcast to that of x."),
        Input("b", "Likewise. Zero if left out.", True),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("mean", "Of each row: shape x.shape[:axis] + (1,)."),
        Output("sigma", "sqrt(var + epsilon) of each row: the same shape."),
    ),
    args=ARGUMENTS,
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="Gradients of onnx.LayerNorm: those of scale and b are summed to their shapes.",
    inputs=(
        Input("dy", "Gradient of y. Shape of x."),
        Input("mean", "Output 1 of onnx.LayerNorm."),
        Input("sigma", "Output 2 of onnx.LayerNorm."),
        Input("x", "As in onnx.LayerNorm."),
        Input("scale", "Likewise."),
        Input("b", "Likewise. Only its shape counts.", True),
    ),
    outputs=(
        Output("dx", "Shape of x."),
        Output("dscale", "Shape of scale."),
        Output("db", "Shape of b.", True),
    ),
    args=ARGUMENTS,
    check=lambda op_def, args: (
        "must have output 2 (db) if, and only if, it has input 5 (b)"
        if len(op_def.outputs) != len(op_def.inputs) - 3
        else None
    ),
)


def normalise(
    x: Array,
    scale: Array,
    b: Array | None,
    *,
    axis: int,
    epsilon: float,
    out: Array | None = None,
) -> nk.LayerNorm:
    """y in the shape of x; mean and sigma, one for each row, in a column.

    Of half types what is normalised is rounded to them before Scale and B, as ONNX casts it.
    """
    rows = None if is_half(x) else as_rows(x, [scale] if b is None else [scale, b], axis)
    y, mean, sigma = nk.layer_norm(
        matrix(x, axis),
        *(rows or ()),
        epsilon=epsilon,
        out=None if out is None else matrix(out, axis),
        return_stats=True,
    )
    y = y.reshape(x.shape)
    if rows is None:
        apply(y, scale, b)
    return nk.LayerNorm(y, mean, sigma)


def _run(
    x: Array, scale: Array, b: Array | None = None, *, axis: int, epsilon: float, out: Out
) -> Sequence[Array]:
    y, *statistics = normalise(x, scale, b, axis=axis, epsilon=epsilon, out=out[0])
    each_row = (*x.shape[: axis % x.ndim], 1)
    return y, *(a.reshape(each_row) for a in statistics)


def _run_gradient(
    dy: Array,
    mean: Array,
    sigma: Array,
    x: Array,
    *parameters: Array,
    axis: int,
    epsilon: float,
    out: Out,
) -> Sequence[Array]:
    rows, x_rows = as_rows(x, parameters, axis), matrix(x, axis)
    g, gamma = (dy, rows[0]) if rows else (dy * parameters[0], None)
    dx, *sums = nk.layer_norm_backward(matrix(g, axis), x_rows, mean, sigma, gamma)
    if rows:
        sums = [a.reshape(x.shape[axis % x.ndim :]) for a in sums]
    else:
        sums = [dy * nk.layer_norm(x_rows, epsilon=epsilon).reshape(x.shape), dy]
    return dx.reshape(x.shape), *(
        summed(a, parameter.shape) for a, parameter in zip(sums, parameters, strict=False)
    )


def _infer(
    x: TensorShape, *parameters: TensorShape, axis: int, epsilon: float
) -> list[TensorShape]:
    x.require_float()
    x.require_rank(1)
    axis = x.canonical_axis_index(axis)
    for parameter in parameters:
        parameter.require_dtype_of(x)
        parameter.require_broadcast_to(x)
    stats = TensorShape((*x.shape[:axis], 1), x.statistics_dtype)
    return [x, stats, stats]


def _infer_gradient(
    dy: TensorShape,
    mean: TensorShape,
    sigma: TensorShape,
    x: TensorShape,
    *parameters: TensorShape,
    axis: int,
    epsilon: float,
) -> list[TensorShape]:
    _, stats, _ = _infer(x, *parameters, axis=axis, epsilon=epsilon)
    dy.require_like(x)
    for statistic in (mean, sigma):
        statistic.require_statistic_of(x)
        statistic.require_shape(stats.shape, "one per row")
    return [x, *parameters]


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    parameters = range(1, len(g.op_def.inputs))
    return g.single_gradient_def(
        "onnx.LayerNormGradient",
        [g.GO(0), g.O(1), g.O(2), g.I(0), *map(g.I, parameters)],
        [g.GI(0), *map(g.GI, parameters)],
    )


register_cpu_operator("onnx.LayerNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "onnx.LayerNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("onnx.LayerNorm", _make_gradient)
register_gradient("onnx.LayerNormGradient", None)
