"""OpenVINO with its tensors over our memory: forward only, LRN in NCHW only.

MVN takes the axes to normalise, so instance and group norm need no transposition in NHWC.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from ..case import ALPHA, BIAS, HALVES, Array, Case, Data, formula_arrays
from . import Library, Variant

KINDS = {
    "float32": openvino.Type.f32,
    "float16": openvino.Type.f16,
    "bfloat16": openvino.Type.bf16,
}


class OpenVino(Library):
    # With ONEDNN_MAX_CPU_ISA=AVX2 on a processor that has more, its MVN reads where nothing is,
    # when what is normalised is no multiple of 16 elements (2026.4: a segmentation fault).
    limited = False
    version = openvino.__version__.split("-")[0]
    dtypes = ("float32", *HALVES)  # its CPU plugin computes float64 in float32

    def norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arrays = formula_arrays(case, data)
        inputs = nodes(*arrays)
        label, y = norm(case, inputs[0], inputs[1:])
        yield self._variant(label, inputs, arrays, y)
        if case.groups and case.order == "NCHW":
            arrays = [data.x, data.gamma, data.beta]
            inputs = nodes(*arrays)
            result = ops.group_normalization(*inputs, case.groups, case.epsilon)
            yield self._variant("GroupNormalization", inputs, arrays, result)

    def add_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arrays = [*formula_arrays(case, data), data.residual]
        x, *parameters, residual = inputs = nodes(*arrays)
        total = ops.add(x, residual)
        label, y = norm(case, total, parameters)
        yield self._variant(f"Add and {label}", inputs, arrays, y, total)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        if case.order == "NHWC":
            return
        (x,) = nodes(data.x)
        axes = np.array([case.channel_axis], np.int64)
        y = ops.lrn(x, axes, ALPHA, case.beta, BIAS, case.size)
        yield self._variant("LRN", [x], [data.x], y)

    def _variant(
        self, label: str, inputs: list[Any], arrays: list[Array], *results: Any
    ) -> Variant:
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if self.dtype == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        model = openvino.Model([*results], inputs)
        request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, tensor(array))
        outputs = tuple(np.empty_like(arrays[0]) for _ in results)
        for index, array in enumerate(outputs):
            request.set_output_tensor(index, tensor(array))
        return Variant(label, lambda _alive=arrays: request.infer(), lambda _: outputs, bound=True)


def nodes(*arrays: Array) -> list[Any]:
    return [ops.parameter(array.shape, KINDS[array.dtype.name]) for array in arrays]


def tensor(array: Array) -> Any:
    """Over our memory. Its Python does not know bfloat16, and takes another type's word for it."""
    if array.dtype.name == "bfloat16":
        bits = array.view(np.uint16)
        return openvino.Tensor(bits, openvino.Shape(array.shape), KINDS["bfloat16"])
    return openvino.Tensor(array, shared_memory=True)


def norm(case: Case, x: Any, parameters: list[Any]) -> tuple[str, Any]:
    """What it is called, and y. RMS norm is written as its plugin finds and fuses it."""
    axes = np.array(case.form.axes, np.int64)
    if case.centred:
        y = ops.mvn(x, axes, True, case.epsilon, "inside_sqrt")
        return "MVN", ops.add(ops.multiply(y, parameters[0]), parameters[1])
    kind = x.get_element_type()
    two, one, epsilon = (ops.constant(value, kind) for value in (2.0, 1.0, case.epsilon))
    mean = ops.reduce_mean(ops.power(x, two), axes, True)
    rstd = ops.divide(one, ops.sqrt(ops.add(mean, epsilon)))
    return "RMS formula", ops.multiply(parameters[0], ops.multiply(x, rstd))
