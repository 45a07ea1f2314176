"""A backend as `onnx.backend` defines it: the evaluator of the onnx package with our operators.

    from onnx.backend.test import BackendTest
    from normkernels.onnx import backend

    globals().update(BackendTest(backend, __name__).include("^test_lrn").test_cases)

`prepare(model).run(inputs)`, `run_model(model, inputs)` and `run_node(node, inputs)` return a tuple
of arrays. The only device is "CPU".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx.backend.base
from onnx.reference import ReferenceEvaluator

from .evaluator import OPS
from .rows import Array


class BackendRep(onnx.backend.base.BackendRep):
    """A model that is ready to run."""

    def __init__(self, evaluator: ReferenceEvaluator, input_names: Sequence[str]) -> None:
        """With the names of the inputs that `run` takes."""
        self._evaluator = evaluator
        self._input_names = input_names

    def run(self, inputs: Sequence[Array], **kwargs: Any) -> tuple[Array, ...]:
        """All outputs, from one array for each input that has no initializer, in order."""
        if len(inputs) != len(self._input_names):
            raise ValueError(
                f"run: {len(inputs)} inputs are given, must be {len(self._input_names)}: "
                f"{', '.join(self._input_names)}"
            )
        feeds = dict(zip(self._input_names, inputs, strict=True))
        return tuple(self._evaluator.run(None, feeds, **kwargs))


class Backend(onnx.backend.base.Backend):
    """The operators in OPS are ours, all others onnx's."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether `device`, "CPU" or "CUDA:1" for example, is the CPU."""
        return device.partition(":")[0] == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> BackendRep:
        """The model, checked and ready to run."""
        cls._check_device(device)
        super().prepare(model, device, **kwargs)
        initialized = {tensor.name for tensor in model.graph.initializer}
        names = [x.name for x in model.graph.input if x.name not in initialized]
        return BackendRep(ReferenceEvaluator(model, new_ops=OPS), names)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Sequence[Array],
        device: str = "CPU",
        outputs_info: Any = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """The outputs of a single node, of the latest opset unless opset_version says which.

        `inputs` are those that the node names, None for one that the operator can do without.
        outputs_info is not needed.
        """
        cls._check_device(device)
        version = kwargs.setdefault("opset_version", onnx.defs.onnx_opset_version())
        if node.domain in {"", "ai.onnx"}:  # onnx has no schemas of others to check with
            super().run_node(node, inputs, device, outputs_info, **kwargs)
        names = [name for name in node.input if name]
        nothing = onnx.helper.make_empty_tensor_value_info
        graph = onnx.helper.make_graph(
            [node],
            node.op_type,
            [nothing(name) for name in names],
            [nothing(name) for name in node.output if name],
        )
        opsets = {node.domain: 1, "": version}
        evaluator = ReferenceEvaluator(graph, opsets=opsets, new_ops=OPS)
        return BackendRep(evaluator, names).run(inputs)

    @classmethod
    def _check_device(cls, device: str) -> None:
        if not cls.supports_device(device):
            raise ValueError(f"device is {device!r}, must be 'CPU'")


# What onnx.backend.test and others expect of a backend that is a module.
is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
