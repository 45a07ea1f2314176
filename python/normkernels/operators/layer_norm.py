"""The operators LayerNorm and LayerNormGradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import normkernels as nk

from .._types import Array
from .arguments import EPSILON
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .registry import Out, register_cpu_operator
from .schema import Argument, Complaint, Input, OperatorSchema, Output
from .shapes import TensorShape

AXIS = Argument(int, 1, "First normalised axis: all from there on are, jointly.")
ELEMENTWISE_AFFINE = Argument(bool, False, "Whether gamma and beta are applied.")


def _needs_inputs(count: int) -> Complaint:
    def check(op_def: OperatorDef, args: Mapping[str, Any]) -> str | None:
        if not args["elementwise_affine"] or len(op_def.inputs) == count:
            return None
        return f"argument elementwise_affine is True, must have {count} inputs, with gamma"

    return check


SCHEMA = OperatorSchema(
    doc="""Layer norm: every row gets mean 0 and variance var / (var + epsilon).

    y = (x - mean) / sigma * gamma + beta,  sigma = sqrt(var + epsilon)

A row is what is left when the axes before `axis` are fixed.""",
    inputs=(
        Input("x", "Floating-point, rank 1 or more."),
        Input("gamma", "prod(x.shape[axis:]) elements. Not read without elementwise_affine.", True),
        Input("beta", "Likewise.", True),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("mean", "Of each row: shape x.shape[:axis] + (1,)."),
        Output("sigma", "sqrt(var + epsilon) of each row: the same shape."),
    ),
    args={"axis": AXIS, "epsilon": EPSILON, "elementwise_affine": ELEMENTWISE_AFFINE},
    num_inputs={1, 3},
    check=_needs_inputs(3),
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="""Gradients of layer norm. With xhat = (x - mean) / sigma and g = dy * gamma:

    dx = (g - E[g] - xhat * E[g * xhat]) / sigma,  E over the row
    dgamma = sum of dy * xhat,  dbeta = sum of dy,  both over the rows""",
    inputs=(
        Input("dy", "Gradient of y. Shape of x."),
        Input("y", "Output 0 of LayerNorm. Not read."),
        Input("mean", "Output 1 of LayerNorm."),
        Input("sigma", "Output 2 of LayerNorm."),
        Input("x", "Floating-point, rank 1 or more."),
        Input("gamma", "As in LayerNorm. Not read without elementwise_affine.", True),
    ),
    outputs=(
        Output("dx", "Shape of x."),
        Output("dgamma", "Shape of gamma; without gamma x.shape[axis:].", True),
        Output("dbeta", "The same shape.", True),
    ),
    args={
        "axis": AXIS,
        "elementwise_affine": ELEMENTWISE_AFFINE,
        "epsilon": EPSILON._replace(doc="Has no effect: it is in sigma."),
    },
    num_outputs={1, 3},
    check=_needs_inputs(6),
)


def _run(
    x: Array,
    *parameters: Array,
    axis: int,
    epsilon: float,
    elementwise_affine: bool,
    out: Out,
) -> nk.LayerNorm:
    gamma, beta = parameters if elementwise_affine else (None, None)
    return nk.layer_norm(x, gamma, beta, axis=axis, epsilon=epsilon, out=out[0], return_stats=True)


def _infer(
    x: TensorShape,
    *parameters: TensorShape,
    axis: int,
    epsilon: float,
    elementwise_affine: bool,
) -> list[TensorShape]:
    axis = checked_axis(x, axis)
    if elementwise_affine:
        for parameter in parameters:
            check_parameter(parameter, x, axis)
    stats = TensorShape((*x.shape[:axis], 1), x.statistics_dtype)
    return [x, stats, stats]


def _run_gradient(
    dy: Array,
    y: Array,
    mean: Array,
    sigma: Array,
    x: Array,
    *parameters: Array,
    axis: int,
    epsilon: float,
    elementwise_affine: bool,
    out: Out,
) -> Sequence[Array]:
    gamma = parameters[0] if elementwise_affine else None
    dx, dgamma, dbeta = nk.layer_norm_backward(dy, x, mean, sigma, gamma, axis=axis, out=out[0])
    shape = dgamma.shape if gamma is None else gamma.shape
    return dx, dgamma.reshape(shape), dbeta.reshape(shape)


def _infer_gradient(
    dy: TensorShape,
    y: TensorShape,
    mean: TensorShape,
    sigma: TensorShape,
    x: TensorShape,
    *parameters: TensorShape,
    axis: int,
    epsilon: float,
    elementwise_affine: bool,
) -> list[TensorShape]:
    axis = checked_axis(x, axis)
    dy.require_like(x)
    for statistic in (mean, sigma):
        check_statistic(statistic, x, axis)
    parameter = TensorShape(x.shape[axis:], x.dtype)
    if elementwise_affine:
        (parameter,) = parameters
        check_parameter(parameter, x, axis)
    return [x, parameter, parameter]


def checked_axis(x: TensorShape, axis: int) -> int:
    """The axis counted from the first, of an x whose rows are normalised."""
    x.require_float()
    x.require_rank(1)
    return x.canonical_axis_index(axis)


def check_statistic(statistic: TensorShape, x: TensorShape, axis: int) -> None:
    """An error unless it has an element for each row of x."""
    statistic.require_statistic_of(x)
    rows = x.shape[:axis]
    statistic.require_size(math.prod(rows), f"one per row: the product of {rows}")


def check_parameter(parameter: TensorShape, x: TensorShape, axis: int) -> None:
    """An error unless it has an element for each of a row of x."""
    parameter.require_parameter_of(x)
    columns = x.shape[axis:]
    parameter.require_size(
        math.prod(columns), f"one per element of a row: the product of {columns}"
    )


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    inputs = [g.GO(0), g.O(0), g.O(1), g.O(2), g.I(0)]
    if not g.args["elementwise_affine"]:
        return g.single_gradient_def("LayerNormGradient", inputs, [g.GI(0)])
    return g.single_gradient_def(
        "LayerNormGradient", [*inputs, g.I(1)], [g.GI(0), g.GI(1), g.GI(2)]
    )


register_cpu_operator("LayerNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "LayerNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("LayerNorm", _make_gradient)
register_gradient("LayerNormGradient", None)
