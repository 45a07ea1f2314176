"""ONNX's normalization operators, computed by normkernels.

    from onnx.reference import ReferenceEvaluator
    from normkernels.onnx import OPS

    outputs = ReferenceEvaluator("model.onnx", new_ops=OPS).run(None, {"x": x})

OPS                    the operators, for the evaluator of the onnx package: LRN, Instance-, Layer-,
                       RMS-, Group- and MeanVarianceNormalization, and of ONNX Runtime's
                       SkipLayerNormalization and SkipSimplifiedLayerNormalization
backend                a backend for `onnx.backend.test` and for whatever else speaks `onnx.backend`
from_node, to_nodes    from an ONNX node to operator definitions, and back
inherit_onnx_schema    a schema with the documentation and the defaults of ONNX's operator

Needs the onnx package: `pip install 'normkernels[onnx]'`.
"""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401  (only whether it is there)
except ModuleNotFoundError as error:
    if error.name != "onnx":  # it is there, and something that it needs is not
        raise
    raise ImportError(
        "normkernels.onnx needs the onnx package: pip install 'normkernels[onnx]'"
    ) from error

from . import (  # noqa: F401  (all but one register operators)
    auxiliary,
    backend,
    layer_norm,
    mean_variance,
    rms_norm,
)
from .evaluator import (
    LRN,
    OPS,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)
from .from_onnx import from_node
from .microsoft import SkipLayerNormalization, SkipSimplifiedLayerNormalization
from .schema import inherit_onnx_schema
from .to_onnx import to_nodes

__all__ = [
    "LRN",
    "OPS",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "MeanVarianceNormalization",
    "RMSNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "backend",
    "from_node",
    "inherit_onnx_schema",
    "to_nodes",
]
