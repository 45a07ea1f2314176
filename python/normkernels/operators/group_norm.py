"""The operators GroupNorm and GroupNormGradient."""

from __future__ import annotations

from collections.abc import Sequence

import normkernels as nk

from .._types import Array, Order
from .arguments import EPSILON, ORDER, channels
from .definition import OperatorDef
from .gradient import GradientContext, register_gradient
from .instance_norm import check_parameter, check_x
from .registry import Out, register_cpu_operator
from .schema import Argument, Check, Input, OperatorSchema, Output
from .shapes import TensorShape

GROUP = Check("1 to 2**63 - 1", lambda group: 1 <= group < 2**63)

ARGUMENTS = {
    # Caffe2 documents `num_groups`, and reads `group`.
    "group": Argument(int, 32, "How many groups; divides C.", GROUP, "num_groups"),
    "epsilon": EPSILON,
    "order": ORDER,
    "is_test": Argument(bool, True, "Has no effect."),
}

SCHEMA = OperatorSchema(
    doc="""Group norm: every group, C / group neighbouring channels of one image, gets mean 0 and
variance var / (var + epsilon), and then every channel its scale and bias.

    y = (x - mean) * inv_std * scale + bias,  inv_std = 1 / sqrt(var + epsilon)""",
    inputs=(
        Input("x", "Floating-point, rank 2 or more: N images, C channels, and spatial ones."),
        Input("scale", "C elements."),
        Input("bias", "C elements."),
    ),
    outputs=(
        Output("y", "Shape of x."),
        Output("mean", "Of each group: (N, group).", True),
        Output("inv_std", "1 / sqrt(var + epsilon) of each group: (N, group).", True),
    ),
    args=ARGUMENTS,
    num_outputs={1, 3},
)

GRADIENT_SCHEMA = OperatorSchema(
    doc="""Gradients of group norm. With xhat = (x - mean) * inv_std, g = dy * scale and E over the
group:

    dx = inv_std * (g - E[g] - xhat * E[g * xhat])
    dscale = sum of dy * xhat,  dbias = sum of dy,  both over images and spatial dimensions""",
    inputs=(
        Input("dy", "Gradient of y. Shape of x."),
        Input("x", "Floating-point, rank 2 or more."),
        Input("scale", "C elements."),
        Input("bias", "Not read."),
        Input("mean", "Output 1 of GroupNorm, (N, group)."),
        Input("inv_std", "Output 2 of GroupNorm, (N, group)."),
    ),
    outputs=(
        Output("dx", "Shape of x."),
        Output("dscale", "Shape of scale."),
        Output("dbias", "Shape of scale."),
    ),
    args={**ARGUMENTS, "epsilon": EPSILON._replace(doc="Has no effect: it is in inv_std.")},
)


def _run(
    x: Array,
    scale: Array,
    bias: Array,
    *,
    group: int,
    epsilon: float,
    order: Order,
    is_test: bool,
    out: Out,
) -> nk.GroupNorm:
    return nk.group_norm(
        x, group, scale, bias, order=order, epsilon=epsilon, out=out[0], return_stats=True
    )


def _infer(
    x: TensorShape,
    scale: TensorShape,
    bias: TensorShape,
    *,
    group: int,
    epsilon: float,
    order: str,
    is_test: bool,
) -> list[TensorShape]:
    stats = _stats(x, group, order)
    for parameter in (scale, bias):
        check_parameter(parameter, x, order)
    return [x, stats, stats]


def _run_gradient(
    dy: Array,
    x: Array,
    scale: Array,
    bias: Array,
    *statistics: Array,
    group: int,
    epsilon: float,
    order: Order,
    is_test: bool,
    out: Out,
) -> Sequence[Array]:
    dx, dscale, dbias = nk.group_norm_backward(
        dy, x, group, scale, *statistics, order=order, epsilon=epsilon, out=out[0]
    )
    return dx, dscale.reshape(scale.shape), dbias.reshape(scale.shape)


def _infer_gradient(
    dy: TensorShape,
    x: TensorShape,
    scale: TensorShape,
    bias: TensorShape,
    *statistics: TensorShape,
    group: int,
    epsilon: float,
    order: str,
    is_test: bool,
) -> list[TensorShape]:
    stats = _stats(x, group, order)
    dy.require_like(x)
    check_parameter(scale, x, order)
    for statistic in statistics:
        statistic.require_statistic_of(x)
        statistic.require_shape(stats.shape, "one value per image and group")
    return [x, scale, scale]


def _stats(x: TensorShape, group: int, order: str) -> TensorShape:
    """What the statistics are, of an x that has such groups."""
    check_x(x)
    count = channels(x.shape, order)
    if count % group:
        raise ValueError(
            f"{x.operator}: argument group is {group}, must divide {count}, "
            f"the number of channels of {x.label} (shape {x.shape}) in {order}"
        )
    return TensorShape((x.shape[0], group), x.statistics_dtype)


def _make_gradient(g: GradientContext) -> list[OperatorDef]:
    return g.single_gradient_def(
        "GroupNormGradient",
        [g.GO(0), g.I(0), g.I(1), g.I(2), g.O(1), g.O(2)],
        [g.GI(0), g.GI(1), g.GI(2)],
    )


register_cpu_operator("GroupNorm", schema=SCHEMA, run=_run, infer=_infer)
register_cpu_operator(
    "GroupNormGradient", schema=GRADIENT_SCHEMA, run=_run_gradient, infer=_infer_gradient
)
register_gradient("GroupNorm", _make_gradient)
register_gradient("GroupNormGradient", None)
