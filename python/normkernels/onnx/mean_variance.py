"""MeanVarianceNormalization, which divides by the deviation plus 1e-9.

normalise() is the evaluator's; the operator onnx.MeanVarianceNorm is what `from_node` makes of one.
It has no gradient: no framework that trains has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import normkernels as nk

from ..operators import (
    Argument,
    Input,
    OperatorSchema,
    Output,
    TensorShape,
    register_cpu_operator,
    register_gradient,
)
from ..operators.definition import shown
from ..operators.registry import Out
from .rows import Array, is_half, rounded

ADDED = 1e-9  # to the deviation, outside the root

SCHEMA = OperatorSchema(
    doc="""What varies along `axes` gets mean 0 and deviation 1, what is constant there is 0.

    y = (x - mean) / (sqrt(var) + 1e-9)""",
    inputs=(Input("x", "Floating-point, rank 1 or more."),),
    outputs=(Output("y", "Shape of x."),),
    args={"axes": Argument(tuple, (0, 2, 3), "Those that are normalised, jointly.")},
)


def normalise(x: Array, axes: Sequence[int], out: Array | None = None) -> Array:
    """y, over axes that are within the rank of x and of which none is named twice."""
    y, _, std = nk.layer_norm(x, axes=[*axes], epsilon=0, out=out, return_stats=True)
    with np.errstate(divide="ignore", over="ignore"):
        damped = 1 / (1 + ADDED / std)  # not std / (std + ADDED), which infinity spoils
    if (damped == 1).all():
        return y
    with np.errstate(over="ignore", invalid="ignore"):  # as in the kernels
        if is_half(x):  # rounded once, after all
            y[...] = rounded(
                nk.layer_norm(x.astype(np.float32), axes=[*axes], epsilon=0) * damped, y.dtype
            )
        else:
            y *= damped
    return y


def refusal_of_axes(axes: Sequence[int], rank: int) -> str | None:
    """What axes must do, None if they are right for an x of that rank."""
    if any(not -rank <= axis < rank for axis in axes):
        return f"have axes between {-rank} and {rank - 1} for an X of rank {rank}"
    if not axes or len({axis % rank for axis in axes}) < len(axes):
        return "name one axis or more, each once"
    return None


def _run(x: Array, *, axes: tuple[int, ...], out: Out) -> Array:
    return normalise(x, axes, out[0])


def _infer(x: TensorShape, *, axes: tuple[int, ...]) -> list[TensorShape]:
    x.require_float()
    x.require_rank(1)
    must = refusal_of_axes(axes, len(x.shape))
    if must:
        raise ValueError(f"{x.operator}: argument axes is {shown(axes)}, must {must}")
    return [x]


register_cpu_operator("onnx.MeanVarianceNorm", schema=SCHEMA, run=_run, infer=_infer)
register_gradient("onnx.MeanVarianceNorm", None)
