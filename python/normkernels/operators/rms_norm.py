"""The operators RMSNorm and RMSNormGradient."""

from __future__ import annotations

from collections.abc import Sequence

import normkernels as nk

from .._types import Array
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .layer_norm import AXIS, check_parameter, check_statistic, checked_axis
from .registry import Out, register_cpu_operator
from .schema import FINITE_NOT_NEGATIVE, Argument, Input, OperatorSchema, Output
from .shapes import TensorShape

# Caffe2 documents `epsilon` with default 0.001, and reads `eps` with default 0.
EPS = Argument(float, 0.0, "Is added to the mean square.", FINITE_NOT_NEGATIVE, "epsilon")

SCHEMA = OperatorSchema(
    doc="""RMS norm: every row is divided by the root of its mean square; no mean is subtracted.

    y = x * rrms * gamma + beta,  rrms = 1 / sqrt(E[x**2] + eps)

A row is what is left when the axes before `axis` are fixed.""",
    inputs=(
        Input("x", "Floating-point, rank 1 or more."),
        Input("gamma", "prod(x.shape[axis:]) elements."),
        Input("beta", "Likewise."),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("rrms", "1 / sqrt(E[x**2] + eps) of each row: shape x.shape[:axis]."),
    ),
    args={"axis": AXIS, "eps": EPS},
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="""Gradients of RMS norm. With xhat = x * rrms and g = dy * gamma:

    dx = (g - xhat * E[g * xhat]) * rrms,  E over the row
    dgamma = sum of dy * xhat,  dbeta = sum of dy,  both over the rows""",
    inputs=(
        Input("dy", "Gradient of y. Shape of x."),
        Input("x", "Floating-point, rank 1 or more."),
        Input("gamma", "As in RMSNorm."),
        Input("rrms", "Output 1 of RMSNorm."),
    ),
    outputs=(
        Output("dx", "Shape of x."),
        Output("dgamma", "Shape of gamma."),
        Output("dbeta", "The same shape."),
    ),
    args={"axis": AXIS, "eps": EPS._replace(doc="Has no effect: it is in rrms.")},
)


def _run(
    x: Array, gamma: Array, beta: Array, *, axis: int, eps: float, out: Out
) -> Sequence[Array]:
    y, rstd = nk.rms_norm(x, gamma, beta, axis=axis, epsilon=eps, out=out[0], return_stats=True)
    return y, rstd.reshape(rstd.shape[:-1])


def _infer(
    x: TensorShape, gamma: TensorShape, beta: TensorShape, *, axis: int, eps: float
) -> list[TensorShape]:
    axis = checked_axis(x, axis)
    for parameter in (gamma, beta):
        check_parameter(parameter, x, axis)
    return [x, TensorShape(x.shape[:axis], x.statistics_dtype)]


def _run_gradient(
    dy: Array, x: Array, gamma: Array, rrms: Array, *, axis: int, eps: float, out: Out
) -> Sequence[Array]:
    dx, dgamma, dbeta = nk.rms_norm_backward(dy, x, rrms, gamma, axis=axis, out=out[0])
    return dx, dgamma.reshape(gamma.shape), dbeta.reshape(gamma.shape)


def _infer_gradient(
    dy: TensorShape,
    x: TensorShape,
    gamma: TensorShape,
    rrms: TensorShape,
    *,
    axis: int,
    eps: float,
) -> list[TensorShape]:
    axis = checked_axis(x, axis)
    dy.require_like(x)
    check_parameter(gamma, x, axis)
    check_statistic(rrms, x, axis)
    return [x, gamma, gamma]


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    return g.single_gradient_def(
        "RMSNormGradient",
        [g.GO(0), g.I(0), g.I(1), g.O(1)],
        [g.GI(0), g.GI(1), g.GI(2)],
    )


register_cpu_operator("RMSNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "RMSNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("RMSNorm", _make_gradient)
register_gradient("RMSNormGradient", None)
