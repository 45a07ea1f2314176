"""Operators as data: definitions, schemas, shape inference, gradients, and a workspace to run in.

    from normkernels import operators
    from normkernels.operators import OperatorDef

    net = [
        OperatorDef("LRN", ["x"], ["a"], {"size": 5, "alpha": 1e-4, "beta": 0.75}),
        OperatorDef("LayerNorm", ["a"], ["y", "mean", "sigma"]),
    ]
    workspace = operators.Workspace({"x": x, "dy": dy})
    backward = workspace.add_gradient_operators(net, {"y": "dy"})
    workspace.run([*net, *backward.operators])
    dx = workspace.fetch(backward.gradients["x"])

LayerNorm, RMSNorm, InstanceNorm, GroupNorm and LRN, those with Gradient behind them, and Sum are
there from the start.
They carry Caffe2's names, arguments and blobs; `print(operators.schema("LRN"))` shows those of one.
An operator of your own comes in by the calls that these came in by: register_cpu_operator and
register_gradient.
"""

from __future__ import annotations

# Each registers its operators.
from . import (  # noqa: F401
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
    summation,
)
from .backward import Backward
from .definition import ArgumentValue, OperatorDef, UnknownNameError
from .gradient import GradientContext, GradientDefs, get_gradient_defs, register_gradient
from .inference import infer
from .registry import (
    names,
    register_cpu_operator,
    schema,
    tensor_inference_function,
)
from .schema import (
    FINITE,
    FINITE_NOT_NEGATIVE,
    Argument,
    Check,
    Input,
    OperatorSchema,
    Output,
    Range,
    at_least,
)
from .shapes import TensorShape
from .workspace import (
    Workspace,
    run_on_device,
    run_on_device_with_order_nchw,
    run_on_device_with_order_nhwc,
)

__all__ = [
    "FINITE",
    "FINITE_NOT_NEGATIVE",
    "Argument",
    "ArgumentValue",
    "Backward",
    "Check",
    "GradientContext",
    "GradientDefs",
    "Input",
    "OperatorDef",
    "OperatorSchema",
    "Output",
    "Range",
    "TensorShape",
    "UnknownNameError",
    "Workspace",
    "at_least",
    "get_gradient_defs",
    "infer",
    "names",
    "register_cpu_operator",
    "register_gradient",
    "run_on_device",
    "run_on_device_with_order_nchw",
    "run_on_device_with_order_nhwc",
    "schema",
    "tensor_inference_function",
]
