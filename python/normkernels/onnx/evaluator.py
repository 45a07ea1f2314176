"""The operators of ONNX as classes for `onnx.reference.ReferenceEvaluator(model, new_ops=OPS)`.

Names, defaults, optional outputs and the allowed types are those of the version of the operator
that the model's opset asks for: LRN 1 and 13, InstanceNormalization 1, 6 and 22, LayerNormalization
17, RMSNormalization 23, GroupNormalization 18 and 21, MeanVarianceNormalization 9 and 13. Half
types are computed in float32. What ONNX normalises and then scales is rounded to them in between,
as ONNX casts it; all else once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference.op_run import OpRun

import normkernels as nk

from . import layer_norm, mean_variance, rms_norm
from .microsoft import SkipLayerNormalization, SkipSimplifiedLayerNormalization
from .op_run import Operator
from .rows import Array, apply, is_half, rounded

_STASH_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def _in_precision(x: Array, stash_type: int) -> Array:
    """x in the type that it is normalised in: stash_type is the least precision."""
    return x.astype(np.float64, copy=False) if stash_type == TensorProto.DOUBLE else x


class LRN(Operator):
    """y = x / (bias + alpha / size * (sum of squares over `size` channels))^beta; any rank from 3.

    Even sizes have one channel more above than below, as the standard says.
    """

    def _compute(
        self, x: Array, *, alpha: float, beta: float, bias: float, size: int
    ) -> tuple[Array, ...]:
        self._require(x.ndim >= 3, f"X has rank {x.ndim} (shape {x.shape})", "have rank 3 or more")
        folded = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        y = nk.local_response_norm(folded, size, alpha=alpha, beta=beta, bias=bias)
        return (y.reshape(x.shape),)


class InstanceNormalization(Operator):
    """y = scale * (x - mean) / sqrt(var + epsilon) + B, per image and channel; any rank from 2."""

    def _compute(
        self, x: Array, scale: Array, b: Array, *, epsilon: float, consumed_inputs: Any = None
    ) -> tuple[Array, ...]:
        # Version 1 has consumed_inputs, which says what might be done in place and changes nothing.
        return (nk.instance_norm(x, scale, b, epsilon=epsilon),)


class LayerNormalization(Operator):
    """Y = (X - Mean) * InvStdDev * Scale + B over the dimensions from `axis` on.

    Mean and InvStdDev = 1 / sqrt(var + epsilon) have the rank of X, with 1 for every normalised
    dimension, and the type that stash_type says. That type also is the least precision of what is
    computed: float64 is normalised in float64, everything else in float32.
    """

    def _compute(
        self,
        x: Array,
        scale: Array,
        b: Array | None = None,
        *,
        axis: int,
        epsilon: float,
        stash_type: int,
    ) -> tuple[Array, ...]:
        self._require_stash_type(stash_type, (TensorProto.FLOAT, TensorProto.BFLOAT16))
        self._require_axis(x, axis)
        self._require_broadcast("Scale", scale, x)
        self._require_broadcast("B", b, x)
        y, mean, sigma = layer_norm.normalise(x, scale, b, axis=axis, epsilon=epsilon)
        with np.errstate(divide="ignore"):  # of a constant row with epsilon 0
            inv_std_dev = 1 / sigma
        each_row = (*x.shape[: axis % x.ndim], *(1 for _ in x.shape[axis % x.ndim :]))
        stash = tensor_dtype_to_np_dtype(stash_type)
        return y, *(rounded(a, stash).reshape(each_row) for a in (mean, inv_std_dev))


class RMSNormalization(Operator):
    """Y = X / sqrt(mean(X^2) + epsilon) * scale over the dimensions from `axis` on.

    stash_type is the least precision of what is normalised, as in LayerNormalization. Y has the
    type of scale, to which what is normalised is cast before.
    """

    def _compute(
        self, x: Array, scale: Array, *, axis: int, epsilon: float, stash_type: int
    ) -> tuple[Array, ...]:
        self._require_stash_type(stash_type, _STASH_TYPES)
        self._require_axis(x, axis)
        self._require_broadcast("scale", scale, x)
        wide = _in_precision(x, stash_type)
        if wide.dtype == scale.dtype:
            return (rms_norm.normalise(wide, scale, axis=axis, epsilon=epsilon).y,)
        if is_half(wide):
            wide = wide.astype(np.float32)
        y = rounded(nk.rms_norm(wide, axis=axis, epsilon=epsilon), scale.dtype)
        apply(y, scale)
        return (y,)


class GroupNormalization(Operator):
    """Y = (X - mean) / sqrt(var + epsilon) * scale + bias, per image and group of channels.

    scale and bias are those of channels, in version 18 of groups. stash_type is the least
    precision of what is normalised, as in LayerNormalization; version 18 has none.
    """

    def _compute(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        *,
        epsilon: float,
        num_groups: int,
        stash_type: int = TensorProto.FLOAT,
    ) -> tuple[Array, ...]:
        self._require_stash_type(stash_type, _STASH_TYPES)
        self._require(x.ndim >= 2, f"X has rank {x.ndim} (shape {x.shape})", "have rank 2 or more")
        channels = x.shape[1]
        self._require(
            num_groups >= 1 and channels % num_groups == 0,
            f"num_groups is {num_groups}",
            f"divide {channels}, the number of channels of X (shape {x.shape})",
        )
        of_groups = self._schema.since_version < 21
        size, each = (num_groups, "group") if of_groups else (channels, "channel")
        for name, a in (("scale", scale), ("bias", bias)):
            self._require_shape(name, a, (size,), f"one value per {each} of X")
        scale, bias = (np.repeat(a, channels // size) if of_groups else a for a in (scale, bias))
        wide = _in_precision(x, stash_type)
        if wide.dtype == scale.dtype and not is_half(x):
            return (nk.group_norm(wide, num_groups, scale, bias, epsilon=epsilon),)
        y = rounded(nk.group_norm(wide, num_groups, epsilon=epsilon), x.dtype)
        apply(y, *(a.reshape(channels, *(1 for _ in x.shape[2:])) for a in (scale, bias)))
        return (y,)


class MeanVarianceNormalization(Operator):
    """Y = (X - mean) / (std + 1e-9) over `axes`: of what is constant 0."""

    def _compute(self, x: Array, *, axes: Sequence[int]) -> tuple[Array, ...]:
        must = mean_variance.refusal_of_axes(axes, x.ndim)
        self._require(must is None, f"axes is {[*axes]}", must or "")
        return (mean_variance.normalise(x, axes),)


OPS: list[type[OpRun]] = [
    LRN,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
    GroupNormalization,
    MeanVarianceNormalization,
    SkipLayerNormalization,
    SkipSimplifiedLayerNormalization,
]
