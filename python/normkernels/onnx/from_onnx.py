"""From ONNX nodes to operator definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import onnx

from ..operators import OperatorDef
from .refusals import checked_rank, least_rank

Attributes: TypeAlias = Mapping[str, Any]


def from_node(node: onnx.NodeProto, *, rank: int | None = None) -> list[OperatorDef]:
    """The operator definitions that compute what an ONNX node computes, on blobs of the same names.

    node  LRN, InstanceNormalization or LayerNormalization, of any version. The defaults of its
          attributes are written out.
    rank  The rank of X. Needed only by a LayerNormalization that outputs Mean or InvStdDev and has
          an axis >= 0: both have as many dimensions as X.

    One definition comes out, except for the statistics of LayerNormalization: Mean gets the
    dimensions of 1 that ONNX gives it, and InvStdDev is the reciprocal of sigma. The operators that
    do so are named "onnx.<something>", and mean and sigma are stored in blobs that begin with the
    name of Y. LayerNormalization itself becomes onnx.LayerNorm: LayerNorm with an optional B, and
    with every shape of Scale and B that can be broadcast to that of X, which is only known when it
    runs. No other output than Y has a gradient.

    What our operators want holds when they run, and for a rank that is given: LRN wants 3 to 5.

    ValueError for another operator, for a stash_type other than 1, for a rank or an axis that the
    operator cannot have, and without a rank that is needed; TypeError for what is no NodeProto and
    a rank that is no integer; onnx.checker.ValidationError for a node that ONNX does not allow.
    """
    if not isinstance(node, onnx.NodeProto):
        raise TypeError(
            f"from_node: node is of type {type(node).__name__}, must be an onnx.NodeProto"
        )
    if node.domain not in ("", "ai.onnx") or node.op_type not in _CONVERTERS:
        raise ValueError(
            f"from_node: operator is {node.domain or 'ai.onnx'}.{node.op_type}, must be one of "
            f"{', '.join(_CONVERTERS)}"
        )
    return _CONVERTERS[node.op_type](node, _attributes(node), rank)


def _attributes(node: onnx.NodeProto) -> Attributes:
    """All attributes of a valid node, defaults filled in."""
    checked = onnx.NodeProto()
    checked.CopyFrom(node)
    for i, attribute in enumerate(node.attribute):
        if attribute.name == "consumed_inputs":  # of InstanceNormalization-1, without a meaning
            del checked.attribute[i]
    onnx.checker.check_node(checked)
    values = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in onnx.defs.get_schema(node.op_type).attributes.items()
        if not attribute.required
    }
    given = {a.name: onnx.helper.get_attribute_value(a) for a in checked.attribute}
    return {**values, **given}


def _with_order(
    our_type: str,
    ranks: tuple[int, ...],
    node: onnx.NodeProto,
    attributes: Attributes,
    rank: int | None,
) -> list[OperatorDef]:
    checked_rank("from_node", node.op_type, rank, *ranks)
    args = {**attributes, "order": "NCHW"}
    return [OperatorDef(our_type, list(node.input), list(node.output), args)]


def _layer_norm(
    node: onnx.NodeProto, attributes: Attributes, rank: int | None
) -> list[OperatorDef]:
    if attributes["stash_type"] != 1:
        raise ValueError(
            f"from_node: stash_type of LayerNormalization is {attributes['stash_type']}, must be "
            "1: our statistics are float32, and float64 for an x of float64"
        )
    axis = attributes["axis"]
    least = least_rank("from_node", node.op_type, axis)
    rank = checked_rank("from_node", node.op_type, rank, least)
    x, scale, b = _padded(node.input)
    y, mean, inv_std_dev = _padded(node.output)
    appended = _normalized_dims(axis, rank) - 1 if mean or inv_std_dev else 0
    sigma = f"{y}_sigma"
    flat_mean = mean if mean and not appended else f"{y}_mean"
    flat_inv_std_dev = f"{y}_inv_std_dev" if appended else inv_std_dev

    args = {"axis": axis, "epsilon": attributes["epsilon"]}
    inputs = [x, scale, b] if b else [x, scale]
    defs = [OperatorDef("onnx.LayerNorm", inputs, [y, flat_mean, sigma], args)]
    if inv_std_dev:
        defs.append(OperatorDef("onnx.Reciprocal", [sigma], [flat_inv_std_dev]))
    for flat, shaped in ((flat_mean, mean), (flat_inv_std_dev, inv_std_dev)):
        if shaped and appended:
            defs.append(OperatorDef("onnx.AppendDims", [flat], [shaped], {"count": appended}))
    return defs


def _padded(names: Any) -> list[str]:
    return [*names, "", ""][:3]


def _normalized_dims(axis: int, rank: int | None) -> int:
    if axis < 0:
        return -axis
    if rank is None:
        raise ValueError(
            f"from_node: axis of LayerNormalization is {axis}: for the shape of Mean and InvStdDev "
            "the rank of X must be given, as rank="
        )
    return rank - axis


_CONVERTERS: dict[str, Callable[[onnx.NodeProto, Attributes, int | None], list[OperatorDef]]] = {
    "LRN": partial(_with_order, "LRN", (3, 5)),
    "InstanceNormalization": partial(_with_order, "InstanceNorm", (2,)),
    "LayerNormalization": _layer_norm,
}
