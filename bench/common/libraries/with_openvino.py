"""OpenVINO with its tensors over our memory: forward only, LRN in NCHW only.

MVN takes the axes to normalise, so instance and group norm need no transposition in NHWC.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from ..case import ALPHA, BIAS, Array, Case, Data, formula_arrays
from . import Library, Variant


class OpenVino(Library):
    version = openvino.__version__.split("-")[0]
    # Its CPU plugin computes float64 in float32, and its Python has no bfloat16.
    dtypes = ("float32",)

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
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        model = openvino.Model([*results], inputs)
        request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        outputs = tuple(np.empty_like(arrays[0]) for _ in results)
        for index, array in enumerate(outputs):
            request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        return Variant(label, lambda _alive=arrays: request.infer(), lambda _: outputs, bound=True)


def nodes(*arrays: Array) -> list[Any]:
    return [ops.parameter(array.shape, array.dtype) for array in arrays]


def norm(case: Case, x: Any, parameters: list[Any]) -> tuple[str, Any]:
    """What it is called, and y. RMS norm is written as its plugin finds and fuses it."""
    axes = np.array(case.form.axes, np.int64)
    if case.centred:
        y = ops.mvn(x, axes, True, case.epsilon, "inside_sqrt")
        return "MVN", ops.add(ops.multiply(y, parameters[0]), parameters[1])
    two, one, epsilon = (np.float32(value) for value in (2, 1, case.epsilon))
    mean = ops.reduce_mean(ops.power(x, two), axes, True)
    rstd = ops.divide(one, ops.sqrt(ops.add(mean, epsilon)))
    return "RMS formula", ops.multiply(parameters[0], ops.multiply(x, rstd))
