"""ONNX Runtime with bound inputs and outputs: forward, and NCHW only, as ONNX defines them.

In float64 it has norms of rows and group norm alone, in bfloat16 norms of rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from ..case import ALPHA, BIAS, HALVES, Array, Case, Data
from . import Library, Variant

MICROSOFT = "com.microsoft"
IR_VERSIONS = {17: 8, 21: 10}  # by opset


class OnnxRuntime(Library):
    version = onnxruntime.__version__
    limited = False  # it asks the machine what it has, and takes no advice
    dtypes = ("float32", "float64", *HALVES)

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma, "beta": data.beta}
        yield self._variant("LayerNormalization", inputs, axis=-1, epsilon=case.epsilon)

    def rms_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma}
        yield self._variant("SimplifiedLayerNormalization", inputs, axis=-1, epsilon=case.epsilon)

    def add_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "residual": data.residual, "gamma": data.gamma}
        operator = "SkipSimplifiedLayerNormalization"
        if case.centred:
            inputs["beta"], operator = data.beta, "SkipLayerNormalization"
        outputs = ("y", "", "", "total")  # without the statistics
        yield self._variant(operator, inputs, outputs, MICROSOFT, epsilon=case.epsilon)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma, "beta": data.beta}
        if case.order == "NCHW":
            yield self._variant("InstanceNormalization", inputs, epsilon=case.epsilon)

    def group_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        inputs = {"x": data.x, "gamma": data.gamma, "beta": data.beta}
        if case.order == "NCHW":
            arguments = {"num_groups": case.groups, "epsilon": case.epsilon}
            yield self._variant("GroupNormalization", inputs, opset=21, **arguments)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        if case.order == "NCHW":
            arguments = {"size": case.size, "alpha": ALPHA, "beta": case.beta, "bias": BIAS}
            yield self._variant("LRN", {"x": data.x}, **arguments)

    def _variant(
        self,
        operator: str,
        inputs: dict[str, Array],
        outputs: tuple[str, ...] = ("y",),
        domain: str = "",
        opset: int = 17,
        **attributes: Any,
    ) -> Variant:
        node = helper.make_node(operator, [*inputs], [*outputs], domain=domain, **attributes)
        written = {name: np.empty_like(inputs["x"]) for name in outputs if name}
        session = onnxruntime.InferenceSession(
            make_model(node, opset, inputs, written), self._options(), ["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, kind(array), array.shape, array.ctypes.data)
        for name, array in written.items():
            binding.bind_output(name, "cpu", 0, kind(array), array.shape, array.ctypes.data)
        # The binding holds addresses only: the default argument keeps the arrays alive.
        return Variant(
            operator,
            lambda _alive=inputs: session.run_with_iobinding(binding),
            lambda _: tuple(written.values()),
            bound=True,
        )

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, too
        return options


def kind(array: Array) -> Any:
    """The type of elements as a binding takes it: of bfloat16 by ONNX's number for it."""
    bfloat16 = array.dtype.name == "bfloat16"
    return onnx.TensorProto.BFLOAT16 if bfloat16 else array.dtype.type


def make_model(
    node: onnx.NodeProto, opset: int, inputs: dict[str, Array], outputs: dict[str, Array]
) -> bytes:
    """A model of one node."""

    def infos(arrays: dict[str, Array]) -> list[onnx.ValueInfoProto]:
        code = helper.np_dtype_to_tensor_dtype(inputs["x"].dtype)
        return [helper.make_tensor_value_info(n, code, a.shape) for n, a in arrays.items()]

    graph = helper.make_graph([node], node.op_type, infos(inputs), infos(outputs))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSIONS[opset])
    return model.SerializeToString()
