"""What the operators of the evaluator have in common: their types, and the words of refusals."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun, RuntimeTypeError

from .rows import Array

TYPES = {
    f"tensor({name})": onnx.helper.tensor_dtype_to_np_dtype(tensor_type)
    for name, tensor_type in {
        "float16": onnx.TensorProto.FLOAT16,
        "bfloat16": onnx.TensorProto.BFLOAT16,
        "float": onnx.TensorProto.FLOAT,
        "double": onnx.TensorProto.DOUBLE,
    }.items()
}


class Operator(OpRun):
    """An operator that checks types and computes what its node names."""

    op_domain = ""

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any], schema: Any = None):
        """With the schema of the version that is asked for."""
        super().__init__(onnx_node, run_params, schema or self.schema_of(run_params["opsets"]))

    @classmethod
    def schema_of(cls, opsets: dict[str, int]) -> onnx.defs.OpSchema:
        """The schema of the version that the model's opset asks for; there is one class for all."""
        version = opsets.get("", onnx.defs.onnx_opset_version())
        return onnx.defs.get_schema(cls.__name__, version, "")

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs that the node names; None for one that it leaves out.

        The evaluator stores outputs by name, and under "" it keeps the None of absent inputs.
        """
        outputs = super().run(*args, **kwargs)  # type: ignore[no-untyped-call]
        named = zip(self.onnx_node.output, outputs, strict=False)
        return tuple(y if name else None for name, y in named)

    def _run(self, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:
        self._check_types(inputs)
        return self._compute(*inputs, **attributes)

    def _check_types(self, inputs: tuple[Array | None, ...]) -> None:
        """An error unless inputs have types that the version allows, those of one letter one."""
        operator = f"{self.op_type}-{self._schema.since_version}"
        allowed = {
            c.type_param_str: [TYPES[name] for name in c.allowed_type_strs]
            for c in self._schema.type_constraints
        }
        given = [*inputs, *[None] * (self._schema.min_input - len(inputs))]
        first: dict[str, tuple[str, np.dtype[Any]]] = {}
        for i, (formal, a) in enumerate(zip(self._schema.inputs, given, strict=False)):
            if a is None:
                if i < self._schema.min_input:
                    raise ValueError(
                        f"{operator}: {formal.name} is None or left out, must be an array"
                    )
                continue
            what, letter = f"{operator}: {formal.name} has dtype {a.dtype}", formal.type_str
            if a.dtype not in allowed[letter]:
                types = ", ".join(map(str, allowed[letter]))
                raise RuntimeTypeError(f"{what}, must be one of {types}")
            name, dtype = first.setdefault(letter, (formal.name, a.dtype))
            if a.dtype != dtype:
                raise RuntimeTypeError(f"{what}, must be {dtype}, the dtype of {name}")

    def _require(self, holds: bool, was: str, must: str) -> None:
        """ValueError unless it holds."""
        if not holds:
            raise ValueError(f"{self.op_type}: {was}, must {must}")

    def _require_axis(self, x: Array, axis: int) -> None:
        self._require(
            -x.ndim <= axis < x.ndim,
            f"axis is {axis}",
            f"be between {-x.ndim} and {x.ndim - 1} for an X of rank {x.ndim}",
        )

    def _require_shape(self, name: str, a: Array | None, shape: tuple[int, ...], of: str) -> None:
        if a is not None:
            self._require(a.shape == shape, f"{name} has shape {a.shape}", f"have {shape}, {of}")

    def _require_broadcast(self, name: str, a: Array | None, x: Array) -> None:
        """ValueError unless `a` can be broadcast to the shape of x, and x stays as it is."""
        if a is None:
            return
        extents = zip(reversed(a.shape), reversed(x.shape), strict=False)
        self._require(
            a.ndim <= x.ndim and all(n in (1, m) for n, m in extents),
            f"{name} has shape {a.shape}",
            f"have one that can be broadcast to that of X, {x.shape}",
        )

    def _require_stash_type(self, stash_type: int, allowed: Sequence[int]) -> None:
        names = [f"{t} ({onnx.helper.tensor_dtype_to_np_dtype(t)})" for t in allowed]
        self._require(
            stash_type in allowed, f"stash_type is {stash_type}", f"be {' or '.join(names)}"
        )

    @abc.abstractmethod
    def _compute(self, *inputs: Any, **attributes: Any) -> tuple[Array, ...]:
        """The outputs, each of the type that ONNX gives it, from inputs that have passed."""
