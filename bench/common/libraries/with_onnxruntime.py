"""ONNX Runtime with bound inputs and outputs: forward, and NCHW only, as ONNX defines them.

In float64 it has layer norm alone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant


class OnnxRuntime(Library):
    version = onnxruntime.__version__

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma, "beta": data.beta}
        yield self._variant("LayerNormalization", inputs, axis=-1, epsilon=case.epsilon)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma, "beta": data.beta}
        if case.order == "NCHW" and self.dtype == "float32":
            yield self._variant("InstanceNormalization", inputs, epsilon=case.epsilon)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        if case.order == "NCHW" and self.dtype == "float32":
            arguments = {"size": case.size, "alpha": ALPHA, "beta": case.beta, "bias": BIAS}
            yield self._variant("LRN", {"x": data.x}, **arguments)

    def _variant(self, operator: str, inputs: dict[str, Array], **attributes: Any) -> Variant:
        y = np.empty_like(inputs["x"])
        session = onnxruntime.InferenceSession(
            make_model(operator, inputs, attributes), self._options(), ["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        binding.bind_output("y", "cpu", 0, y.dtype.type, y.shape, y.ctypes.data)
        # The binding holds addresses only: the default argument keeps the arrays alive.
        return Variant(
            operator,
            lambda _alive=inputs: session.run_with_iobinding(binding),
            lambda _: (y,),
        )

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, too
        return options


def make_model(operator: str, inputs: dict[str, Array], attributes: dict[str, Any]) -> bytes:
    """A model of one node that writes y, of x's shape."""
    kind = helper.np_dtype_to_tensor_dtype(inputs["x"].dtype)
    infos = [helper.make_tensor_value_info(n, kind, a.shape) for n, a in inputs.items()]
    output = helper.make_tensor_value_info("y", kind, inputs["x"].shape)
    node = helper.make_node(operator, list(inputs), ["y"], **attributes)
    graph = helper.make_graph([node], operator, infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
