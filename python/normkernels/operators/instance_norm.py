"""The operators InstanceNorm and InstanceNormGradient."""

from __future__ import annotations

from collections.abc import Sequence

import normkernels as nk

from .._types import Array, Order
from .arguments import EPSILON, ORDER, channels
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .registry import Out, register_cpu_operator
from .schema import Input, OperatorSchema, Output
from .shapes import TensorShape

ARGUMENTS = {"epsilon": EPSILON, "order": ORDER}

SCHEMA = OperatorSchema(
    doc="""Instance norm: every plane, a channel of one image, gets mean 0 and variance
var / (var + epsilon), and then the scale and bias of its channel.

    y = (x - mean) * inv_std * scale + bias,  inv_std = 1 / sqrt(var + epsilon)""",
    inputs=(
        Input("x", "Floating-point, rank 2 or more: N images, C channels, and spatial ones."),
        Input("scale", "C elements."),
        Input("bias", "C elements."),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("mean", "Of each plane: (N, C).", True),
        Output("inv_std", "1 / sqrt(var + epsilon) of each plane: (N, C).", True),
    ),
    args=ARGUMENTS,
    inplace={(0, 0)},
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="""Gradients of instance norm. With xhat = (x - mean) * inv_std and E over the plane:

    dx = scale * inv_std * (dy - E[dy] - xhat * E[dy * xhat])
    dscale = sum of dy * xhat,  dbias = sum of dy,  both over images and spatial dimensions""",
    inputs=(
        Input("x", "Floating-point, rank 2 or more."),
        Input("scale", "C elements."),
        Input("bias", "Not read."),
        Input("dy", "Gradient of y. Shape of x."),
        Input("mean", "Output 1 of InstanceNorm, (N, C). Read only together with inv_std.", True),
        Input("inv_std", "Output 2 of InstanceNorm. Without it both are computed again.", True),
    ),
    outputs=(
        Output("dx", "Shape of x."),
        Output("dscale", "Shape of scale."),
        Output("dbias", "Shape of scale."),
    ),
    args=ARGUMENTS,
)


def _run(
    x: Array, scale: Array, bias: Array, *, epsilon: float, order: Order, out: Out
) -> nk.InstanceNorm:
    return nk.instance_norm(
        x, scale, bias, order=order, epsilon=epsilon, out=out[0], return_stats=True
    )


def _infer(
    x: TensorShape, scale: TensorShape, bias: TensorShape, *, epsilon: float, order: str
) -> list[TensorShape]:
    check_x(x)
    for parameter in (scale, bias):
        check_parameter(parameter, x, order)
    stats = _stats(x, order)
    return [x, stats, stats]


def _run_gradient(
    x: Array,
    scale: Array,
    bias: Array,
    dy: Array,
    *saved: Array,
    epsilon: float,
    order: Order,
    out: Out,
) -> Sequence[Array]:
    mean, inv_std = saved if len(saved) == 2 else (None, None)
    dx, dscale, dbias = nk.instance_norm_backward(
        dy, x, scale, mean, inv_std, order=order, epsilon=epsilon, out=out[0]
    )
    return dx, dscale.reshape(scale.shape), dbias.reshape(scale.shape)


def _infer_gradient(
    x: TensorShape,
    scale: TensorShape,
    bias: TensorShape,
    dy: TensorShape,
    *saved: TensorShape,
    epsilon: float,
    order: str,
) -> list[TensorShape]:
    check_x(x)
    check_parameter(scale, x, order)
    dy.require_like(x)
    if len(saved) == 2:
        for statistic in saved:
            statistic.require_statistic_of(x)
            statistic.require_shape(_stats(x, order).shape, "one value per image and channel")
    return [x, scale, scale]


def check_x(x: TensorShape) -> None:
    """An error unless x has images and channels."""
    x.require_float()
    x.require_rank(2)


def check_parameter(parameter: TensorShape, x: TensorShape, order: str) -> None:
    """An error unless it has an element for each channel of x."""
    parameter.require_parameter_of(x)
    parameter.require_size(channels(x.shape, order), f"one per channel of {x.label} in {order}")


def _stats(x: TensorShape, order: str) -> TensorShape:
    return TensorShape((x.shape[0], channels(x.shape, order)), x.statistics_dtype)


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    saved = [g.O(j) for j in range(1, len(g.op_def.outputs))]
    return g.single_gradient_def(
        "InstanceNormGradient",
        [g.I(0), g.I(1), g.I(2), g.GO(0), *saved],
        [g.GI(0), g.GI(1), g.GI(2)],
    )


register_cpu_operator("InstanceNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "InstanceNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("InstanceNorm", _make_gradient)
register_gradient("InstanceNormGradient", None)
