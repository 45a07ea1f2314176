"""The operators LRN and LRNGradient."""

from __future__ import annotations

import normkernels as nk

from .._types import Array, Order
from .arguments import ORDER
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .registry import Out, register_cpu_operator
from .schema import FINITE, Argument, Check, Input, OperatorSchema, Output
from .shapes import TensorShape

SIZE = Check("1 to 2**63 - 2", lambda size: 1 <= size <= 2**63 - 2)

ARGUMENTS = {
    "size": Argument(int, 0, "Channels in the window. Has to be given.", SIZE),
    "alpha": Argument(float, 0.0, "Factor of the mean square of the window.", FINITE),
    "beta": Argument(float, 0.0, "Exponent.", FINITE),
    "bias": Argument(float, 1.0, "Is added to the mean square.", FINITE),
    "order": ORDER,
}

SCHEMA = OperatorSchema(
    doc="""Local response norm, across channels: every element over a power of the squares around.

    scale = bias + alpha / size * sum of x[k]**2 over the window,  y = x * scale**-beta

The window of channel c is c - (size - 1) // 2 to c + size // 2, cut off at the first and the last
channel; alpha is divided by `size` all the same.""",
    inputs=(Input("x", "Floating-point, rank 3 to 5."),),
    outputs=(
        Output("y", "Shape of x."),
        Output("scale", "What y is divided by the power of. Shape of x.", True),
    ),
    args=ARGUMENTS,
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="""Gradient of local response norm:

    dx[k] = dy[k] * scale[k]**-beta
            - 2 * alpha * beta / size * x[k] * sum of dy[j] * y[j] / scale[j]

where j runs over the channels whose window contains k, and scale is computed again from x.""",
    inputs=(
        Input("x", "Floating-point, rank 3 to 5."),
        Input("y", "Output 0 of LRN. Shape of x."),
        Input("dy", "Gradient of y. Shape of x."),
    ),
    outputs=(Output("dx", "Shape of x."),),
    args=ARGUMENTS,
)


def _run(
    x: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    bias: float,
    order: Order,
    out: Out,
) -> Array | nk.LocalResponseNorm:
    return nk.local_response_norm(
        x,
        size,
        alpha=alpha,
        beta=beta,
        bias=bias,
        order=order,
        out=out[0],
        return_scale=len(out) > 1,
    )


def _infer(x: TensorShape, **_: object) -> list[TensorShape]:
    _check_x(x)
    return [x, x]


def _run_gradient(
    x: Array,
    y: Array,
    dy: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    bias: float,
    order: Order,
    out: Out,
) -> Array:
    return nk.local_response_norm_backward(
        dy, x, size, y=y, alpha=alpha, beta=beta, bias=bias, order=order, out=out[0]
    )


def _infer_gradient(
    x: TensorShape, y: TensorShape, dy: TensorShape, **_: object
) -> list[TensorShape]:
    _check_x(x)
    y.require_like(x)
    dy.require_like(x)
    return [x]


def _check_x(x: TensorShape) -> None:
    x.require_float()
    x.require_rank(3, 5)


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    return g.single_gradient_def("LRNGradient", [g.I(0), g.O(0), g.GO(0)], [g.GI(0)])


register_cpu_operator("LRN", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "LRNGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("LRN", _make_gradient)
register_gradient("LRNGradient", None)
