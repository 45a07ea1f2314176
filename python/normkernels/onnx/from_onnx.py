"""From ONNX nodes to operator definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import onnx

from ..operators import OperatorDef
from .microsoft import SkipLayerNormalization, SkipSimplifiedLayerNormalization
from .refusals import checked_rank, least_rank

Attributes: TypeAlias = Mapping[str, Any]


def from_node(node: onnx.NodeProto, *, rank: int | None = None) -> list[OperatorDef]:
    """The operator definitions that compute what an ONNX node computes, on blobs of the same names.

    node  One of those in OPS, of any version; GroupNormalization of 21 or later, as the node itself
          does not say which. The defaults of its attributes are written out.
    rank  The rank of X. Needed only by a LayerNormalization that outputs Mean or InvStdDev and has
          an axis >= 0: both have as many dimensions as X.

    One definition comes out of most. For the statistics of LayerNormalization there are more: Mean
    gets the dimensions of 1 that ONNX gives it, and InvStdDev is the reciprocal of sigma. A
    Skip(Simplified)LayerNormalization becomes a sum and a norm of it, with the same bits. What has
    no equal in Caffe2 becomes an operator that is named "onnx.<something>"; statistics and sums
    that the node does not name are stored in blobs that begin with the name of Y. Scale and B of
    Layer- and RMSNormalization may have every shape that can be broadcast to that of X, which is
    only known when they run. Gradients are those of Y, and of the sum; MeanVarianceNormalization
    has none.

    What our operators want holds when they run, and for a rank that is given: LRN wants 3 to 5.

    ValueError for another operator, for an attribute that it does not have, for a stash_type other
    than 1, for a rank or an axis that it cannot have, and without a rank that is needed; TypeError
    for what is no NodeProto and a rank that is no integer; onnx.checker.ValidationError for a node
    that ONNX does not allow.

    >>> node = onnx.helper.make_node("MeanVarianceNormalization", ["x"], ["y"], axes=[2, 3])
    >>> from_node(node)
    [OperatorDef('onnx.MeanVarianceNorm', ['x'], ['y'], {'axes': (2, 3)})]
    """
    if not isinstance(node, onnx.NodeProto):
        raise TypeError(
            f"from_node: node is of type {type(node).__name__}, must be an onnx.NodeProto"
        )
    domain = "" if node.domain == "ai.onnx" else node.domain
    name = f"{domain}.{node.op_type}" if domain else node.op_type
    if name not in _CONVERTERS:
        raise ValueError(
            f"from_node: operator is {domain or 'ai.onnx'}.{node.op_type}, must be one of "
            f"{', '.join(_CONVERTERS)}"
        )
    attributes = _epsilon(node) if domain else _attributes(node)
    return _CONVERTERS[name](node, attributes, rank)


def _attributes(node: onnx.NodeProto) -> Attributes:
    """All attributes of a valid node, defaults filled in."""
    checked = onnx.NodeProto()
    checked.CopyFrom(node)
    for i, attribute in enumerate(node.attribute):
        if attribute.name == "consumed_inputs":  # of InstanceNormalization-1, without a meaning
            del checked.attribute[i]
    onnx.checker.check_node(checked)
    known = onnx.defs.get_schema(node.op_type).attributes
    values = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in known.items()
        if not attribute.required
    }
    # Of LayerNormalization onnx's checker lets any attribute pass.
    return {**values, **_given(checked, [*known])}


def _epsilon(node: onnx.NodeProto) -> Attributes:
    """The attribute of ONNX Runtime's operators, which onnx's checker does not know."""
    return {"epsilon": 1e-12, **_given(node, ["epsilon"])}


def _given(node: onnx.NodeProto, known: Sequence[str]) -> Attributes:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for name in given:
        if name not in known:
            raise ValueError(
                f"from_node: {node.op_type} has attribute {name!r}, must have "
                + ", ".join(sorted(known))
            )
    return given


def _require_stash_type(node: onnx.NodeProto, attributes: Attributes) -> None:
    if attributes["stash_type"] != 1:
        raise ValueError(
            f"from_node: stash_type of {node.op_type} is {attributes['stash_type']}, must be "
            "1: our statistics are float32, and float64 for an x of float64"
        )


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


def _group_norm(
    node: onnx.NodeProto, attributes: Attributes, rank: int | None
) -> list[OperatorDef]:
    _require_stash_type(node, attributes)
    checked_rank("from_node", node.op_type, rank, 2)
    (y,) = node.output
    args = {
        "group": attributes["num_groups"],
        "epsilon": attributes["epsilon"],
        "order": "NCHW",
    }
    # Its gradient reads the statistics.
    return [OperatorDef("GroupNorm", list(node.input), [y, f"{y}_mean", f"{y}_inv_std"], args)]


def _rms_norm(node: onnx.NodeProto, attributes: Attributes, rank: int | None) -> list[OperatorDef]:
    _require_stash_type(node, attributes)
    args = {"axis": attributes["axis"], "epsilon": attributes["epsilon"]}
    checked_rank(
        "from_node", node.op_type, rank, least_rank("from_node", node.op_type, args["axis"])
    )
    (y,) = node.output
    return [OperatorDef("onnx.RMSNorm", list(node.input), [y, f"{y}_rstd"], args)]


def _mean_variance_norm(
    node: onnx.NodeProto, attributes: Attributes, rank: int | None
) -> list[OperatorDef]:
    axes = tuple(attributes["axes"])
    least = max((least_rank("from_node", node.op_type, axis) for axis in axes), default=1)
    checked_rank("from_node", node.op_type, rank, least)
    return [
        OperatorDef("onnx.MeanVarianceNorm", list(node.input), list(node.output), {"axes": axes})
    ]


def _skip_norm(
    schema: onnx.defs.OpSchema, node: onnx.NodeProto, attributes: Attributes, rank: int | None
) -> list[OperatorDef]:
    checked_rank("from_node", node.op_type, rank, 2, 3)
    names = [formal.name for formal in schema.inputs]
    given = dict(zip(names, [*node.input, *[""] * len(names)], strict=False))
    for name in names[: schema.min_input]:
        if not given[name]:
            raise ValueError(f"from_node: {node.op_type} has no {name}, must have one")
    y, mean, inv_std, total = [*node.output, "", "", ""][:4]
    total = total or f"{y}_sum"
    addends = [given["input"], given["skip"], given["bias"]]
    defs = [OperatorDef("onnx.Add", [name for name in addends if name], [total])]
    args = {"axis": -1, "epsilon": attributes["epsilon"]}
    if "beta" in given:
        parameters = [name for name in (given["gamma"], given["beta"]) if name]
        statistics = [mean or f"{y}_mean", f"{y}_sigma"]
        defs.append(OperatorDef("onnx.LayerNorm", [total, *parameters], [y, *statistics], args))
        if inv_std:
            defs.append(OperatorDef("onnx.Reciprocal", [statistics[1]], [inv_std]))
        return defs
    if mean:
        raise ValueError(
            f'from_node: output 1 (mean) of {node.op_type} is {mean!r}, must be "": no mean is '
            "subtracted"
        )
    outputs = [y, inv_std or f"{y}_rstd"]
    return [*defs, OperatorDef("onnx.RMSNorm", [total, given["gamma"]], outputs, args)]


def _layer_norm(
    node: onnx.NodeProto, attributes: Attributes, rank: int | None
) -> list[OperatorDef]:
    _require_stash_type(node, attributes)
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
    "RMSNormalization": _rms_norm,
    "GroupNormalization": _group_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    **{
        f"com.microsoft.{op.__name__}": partial(_skip_norm, op.schema)
        for op in (SkipLayerNormalization, SkipSimplifiedLayerNormalization)
    },
}
