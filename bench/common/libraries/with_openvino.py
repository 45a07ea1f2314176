"""OpenVINO with its tensors over our memory: forward only, LRN in NCHW only.

MVN takes the axes to normalise, so instance norm needs no transposition in NHWC.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant


class OpenVino(Library):
    version = openvino.__version__.split("-")[0]
    dtypes = ("float32",)  # its CPU plugin computes float64 in float32

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield self._norm(case, data.x, (data.x.ndim - 1,), data.gamma, data.beta)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        gamma, beta = case.per_channel(data.gamma), case.per_channel(data.beta)
        yield self._norm(case, data.x, case.spatial_axes, gamma, beta)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        if case.order == "NHWC":
            return
        x = ops.parameter(data.x.shape, data.x.dtype)
        axes = np.array([case.channel_axis], np.int64)
        y = ops.lrn(x, axes, ALPHA, case.beta, BIAS, case.size)
        yield self._variant("LRN", [x], [data.x], y)

    def _norm(
        self, case: Case, x: Array, axes: tuple[int, ...], gamma: Array, beta: Array
    ) -> Variant:
        arrays = [x, gamma, beta]
        inputs = [ops.parameter(array.shape, array.dtype) for array in arrays]
        y = ops.mvn(inputs[0], np.array(axes, np.int64), True, case.epsilon, "inside_sqrt")
        return self._variant("MVN", inputs, arrays, ops.add(ops.multiply(y, inputs[1]), inputs[2]))

    def _variant(self, label: str, inputs: list[Any], arrays: list[Array], result: Any) -> Variant:
        model = openvino.Model([result], inputs)
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        y = np.empty_like(arrays[0])
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(y, shared_memory=True))
        return Variant(label, lambda _alive=arrays: request.infer(), lambda _: (y,))
