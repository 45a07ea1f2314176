"""ONNX Runtime's operators of domain com.microsoft: the norms of a sum.

They take input (B, S, H) or (S, H), and a skip of its shape or without the batch: (S, H) or
(1, S, H). input + skip + bias is normalised over H. The onnx package has no schemas of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.defs import OpSchema

import normkernels as nk

from .op_run import TYPES, Operator
from .rows import Array, rounded

_STATISTIC = np.dtype(np.float32)  # of every type of input


def _schema(name: str, inputs: list[str], optional: list[str]) -> OpSchema:
    def formal(name: str, letter: str, *, needed: bool) -> OpSchema.FormalParameter:
        option = OpSchema.FormalParameterOption
        return OpSchema.FormalParameter(
            name, letter, param_option=option.Single if needed else option.Optional
        )

    return OpSchema(
        name,
        "com.microsoft",
        1,
        inputs=[
            *(formal(name, "T", needed=True) for name in inputs),
            *(formal(name, "T", needed=False) for name in optional),
        ],
        outputs=[
            formal("output", "T", needed=True),
            formal("mean", "U", needed=False),
            formal("inv_std_var", "U", needed=False),
            formal("input_skip_bias_sum", "T", needed=False),
        ],
        type_constraints=[("T", [*TYPES], ""), ("U", ["tensor(float)"], "")],
        attributes=[
            OpSchema.Attribute("epsilon", onnx.helper.make_attribute("epsilon", 1e-12)),
        ],
    )


class _OfSum(Operator):
    """What both have in common."""

    op_domain = "com.microsoft"
    schema: OpSchema

    @classmethod
    def schema_of(cls, opsets: dict[str, int]) -> OpSchema:
        """There is one version."""
        return cls.schema

    def _skip(self, x: Array, skip: Array, **parameters: Array | None) -> Array:
        """skip in the shape of input, after all shapes were checked."""
        self._require(
            x.ndim in {2, 3}, f"input has rank {x.ndim} (shape {x.shape})", "have rank 2 or 3"
        )
        last = x.shape[-2:]
        self._require(
            skip.shape in {x.shape, last, (1, *last)} and skip.ndim <= x.ndim,
            f"skip has shape {skip.shape}",
            f"have that of input, {x.shape}, or the same without the batch",
        )
        for name, a in parameters.items():
            self._require_shape(name, a, x.shape[-1:], "one value per element of a row of input")
        return np.broadcast_to(skip, x.shape)


class SkipLayerNormalization(_OfSum):
    """output = (sum - mean) * inv_std_var * gamma + beta, sum = input + skip + bias."""

    schema = _schema("SkipLayerNormalization", ["input", "skip", "gamma"], ["beta", "bias"])

    def _compute(
        self,
        x: Array,
        skip: Array,
        gamma: Array,
        beta: Array | None = None,
        bias: Array | None = None,
        *,
        epsilon: float,
    ) -> tuple[Array, ...]:
        residual = self._skip(x, skip, gamma=gamma, beta=beta, bias=bias)
        options: dict[str, Any] = {"bias": bias, "axis": -1, "epsilon": epsilon}
        y, total, mean, sigma = nk.add_layer_norm(
            x, residual, gamma, beta, return_stats=True, **options
        )
        with np.errstate(divide="ignore"):  # of a constant row with epsilon 0
            statistics = (mean, 1 / sigma)
        return y, *(rounded(a, _STATISTIC) for a in statistics), total


class SkipSimplifiedLayerNormalization(_OfSum):
    """output = sum * inv_std_var * gamma, sum = input + skip + bias; there is no mean."""

    schema = _schema("SkipSimplifiedLayerNormalization", ["input", "skip", "gamma"], ["bias"])

    def _compute(
        self,
        x: Array,
        skip: Array,
        gamma: Array,
        bias: Array | None = None,
        *,
        epsilon: float,
    ) -> tuple[Array, ...]:
        residual = self._skip(x, skip, gamma=gamma, bias=bias)
        mean = [*self.onnx_node.output, ""][1]
        self._require(not mean, f"output 1 (mean) is {mean!r}", 'be "": no mean is subtracted')
        y, total, rstd = nk.add_rms_norm(
            x, residual, gamma, bias=bias, epsilon=epsilon, return_stats=True
        )
        rstd = rounded(rstd, _STATISTIC)
        return y, rstd, rstd, total  # the second for the mean, which nobody reads
