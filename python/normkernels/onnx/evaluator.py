"""The operators of ONNX as classes for `onnx.reference.ReferenceEvaluator(model, new_ops=OPS)`.

Names, defaults, optional outputs and the allowed types are those of the version of the operator
that the model's opset asks for: LRN 1 and 13, InstanceNormalization 1, 6 and 22, LayerNormalization
17. float32 and float64 are computed as they are, float16 and bfloat16 in float32; each output is
rounded once to the type that ONNX gives it.
"""

from __future__ import annotations

import abc
import math
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun, RuntimeTypeError

import normkernels as nk

from .layer_norm import normalise

Array: TypeAlias = NDArray[Any]  # also of bfloat16, which is no type of NumPy's own

_TYPES = {
    f"tensor({name})": onnx.helper.tensor_dtype_to_np_dtype(tensor_type)
    for name, tensor_type in {
        "float16": onnx.TensorProto.FLOAT16,
        "bfloat16": onnx.TensorProto.BFLOAT16,
        "float": onnx.TensorProto.FLOAT,
        "double": onnx.TensorProto.DOUBLE,
    }.items()
}
_STASH_TYPES = {
    tensor_type: onnx.helper.tensor_dtype_to_np_dtype(tensor_type) for tensor_type in (1, 16)
}


def _rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    """`a` in `dtype`: what is too large for it is infinite there."""
    with np.errstate(over="ignore"):
        return a.astype(dtype, copy=False)


class _Operator(OpRun):
    """What the operators have in common: types are checked, small ones widened and rounded back."""

    op_domain = ""

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any], schema: Any = None):
        # The evaluator knows one class for all versions of an operator; the node has one of them.
        version = run_params["opsets"].get("", onnx.defs.onnx_opset_version())
        schema = schema or onnx.defs.get_schema(onnx_node.op_type, version, "")
        super().__init__(onnx_node, run_params, schema)

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs that the node names; None for one that it leaves out.

        The evaluator stores outputs by name, and under "" it keeps the None of absent inputs.
        """
        outputs = super().run(*args, **kwargs)  # type: ignore[no-untyped-call]
        named = zip(self.onnx_node.output, outputs, strict=False)
        return tuple(y if name else None for name, y in named)

    def _run(self, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:
        dtype = self._common_dtype(inputs)
        computed = np.float64 if dtype == np.float64 else np.float32
        wide = [a if a is None else a.astype(computed, copy=False) for a in inputs]
        y, *others = self._compute(*wide, **attributes)
        return _rounded(y, dtype), *others

    def _common_dtype(self, inputs: tuple[Array | None, ...]) -> np.dtype[Any]:
        (constraint,) = (c for c in self._schema.type_constraints if c.type_param_str == "T")
        allowed = [_TYPES[name] for name in constraint.allowed_type_strs]
        operator = f"{self.op_type}-{self._schema.since_version}"
        names = [formal.name for formal in self._schema.inputs]
        given = {name: a.dtype for name, a in zip(names, inputs, strict=False) if a is not None}
        for name in names[: self._schema.min_input]:
            if name not in given:
                raise ValueError(f"{operator}: {name} is None or left out, must be an array")
        first = given[names[0]]
        for name, dtype in given.items():
            what = f"{operator}: {name} has dtype {dtype}"
            if dtype not in allowed:
                raise RuntimeTypeError(f"{what}, must be one of {', '.join(map(str, allowed))}")
            if dtype != first:
                raise RuntimeTypeError(f"{what}, must be {first}, the dtype of {names[0]}")
        return first

    @abc.abstractmethod
    def _compute(self, *inputs: Any, **attributes: Any) -> tuple[Array, ...]:
        """The outputs, from inputs in float32 or float64; the first is rounded by the caller."""


class LRN(_Operator):
    """y = x / (bias + alpha / size * (sum of squares over `size` channels))^beta; any rank from 3.

    Even sizes have one channel more above than below, as the standard says.
    """

    def _compute(
        self, x: Array, *, alpha: float, beta: float, bias: float, size: int
    ) -> tuple[Array, ...]:
        if x.ndim < 3:
            raise ValueError(
                f"LRN: X has rank {x.ndim} (shape {x.shape}), must have rank 3 or more"
            )
        folded = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        y = nk.local_response_norm(folded, size, alpha=alpha, beta=beta, bias=bias)
        return (y.reshape(x.shape),)


class InstanceNormalization(_Operator):
    """y = scale * (x - mean) / sqrt(var + epsilon) + B, per image and channel; any rank from 2."""

    def _compute(
        self, x: Array, scale: Array, b: Array, *, epsilon: float, consumed_inputs: Any = None
    ) -> tuple[Array, ...]:
        # Version 1 has consumed_inputs, which says what might be done in place and changes nothing.
        return (nk.instance_norm(x, scale, b, epsilon=epsilon),)


class LayerNormalization(_Operator):
    """Y = (X - Mean) * InvStdDev * Scale + B over the dimensions from `axis` on.

    Mean and InvStdDev = 1 / sqrt(var + epsilon) have the rank of X, with 1 for every normalised
    dimension, and the type that stash_type says. That type also is the least precision of what is
    computed: float64 is normalised in float64, everything else in float32, and Y is rounded only
    once, after Scale and B.
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
        if stash_type not in _STASH_TYPES:
            raise ValueError(
                f"LayerNormalization: stash_type is {stash_type}, must be 1 (float32) or 16 "
                "(bfloat16)"
            )
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(
                f"LayerNormalization: axis is {axis}, must be between {-x.ndim} and {x.ndim - 1} "
                f"for an X of rank {x.ndim}"
            )
        for name, a in (("Scale", scale), ("B", b)):
            if a is not None and not _broadcasts(a, x):
                raise ValueError(
                    f"LayerNormalization: {name} has shape {a.shape}, must have one that can be "
                    f"broadcast to that of X, {x.shape}"
                )
        y, mean, sigma = normalise(x, scale, b, axis=axis, epsilon=epsilon)
        with np.errstate(divide="ignore"):  # of a constant row with epsilon 0
            inv_std_dev = 1 / sigma
        each_row = (*x.shape[: axis % x.ndim], *(1 for _ in x.shape[axis % x.ndim :]))
        return y, *(
            _rounded(a, _STASH_TYPES[stash_type]).reshape(each_row) for a in (mean, inv_std_dev)
        )


def _broadcasts(a: Array, x: Array) -> bool:
    """Whether `a` can be broadcast to the shape of x, and x stays as it is."""
    extents = zip(reversed(a.shape), reversed(x.shape), strict=False)
    return a.ndim <= x.ndim and all(n in (1, m) for n, m in extents)


OPS: list[type[OpRun]] = [LRN, InstanceNormalization, LayerNormalization]
