"""From operator definitions to ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray

from ..operators import OperatorDef, schema
from ..operators.definition import require_op_def, shown
from ..operators.shapes import MAX_RANK
from .refusals import checked_rank, least_rank, require_float32


def to_nodes(
    op_def: OperatorDef,
    *,
    rank: int | None = None,
    dtype: DTypeLike = np.float32,
    unused: Collection[str] = (),
) -> list[onnx.NodeProto]:
    """The ONNX nodes, of opset 17 or later, that compute what a definition computes.

    op_def  LayerNorm, RMSNorm, InstanceNorm, GroupNorm, LRN, or what `from_node` makes of an ONNX
            node.
    rank    The rank of x. Needed only for order "NHWC", which ONNX does not have: x is transposed,
            and y back.
    dtype   The dtype of x, float32 or float64.
    unused  Outputs of the definition that nothing reads: no nodes are made for them. Other names
            are allowed, so that one set will do for all definitions of a net.

    LayerNorm      One LayerNormalization. Without gamma and beta its Scale is a one; sigma is the
                   reciprocal of InvStdDev, and the statistics lose all but one dimension of 1.
                   gamma and beta must have the shape x.shape[axis:].
    RMSNorm        One RMSNormalization, of opset 23, and an Add for beta. ONNX has no output for
                   `rrms`: it must be in `unused`. gamma as in LayerNorm.
    InstanceNorm   One InstanceNormalization. mean and inv_std come from a LayerNormalization of the
                   planes.
    GroupNorm      One GroupNormalization, of opset 21; the statistics likewise, of the groups.
    LRN            One LRN. ONNX has no output for `scale`: it must be in `unused`.

    ONNX gives statistics in float32: those of an x of float64 are cast from there. Arguments become
    float32, too. Names of new values begin with the name of the output that they are for.

    ValueError for an operator that ONNX has nothing for (all gradients), an output that it has
    nothing for, a blob that is input and output or whose name is no Unicode, another dtype, a rank
    or an axis that the operator cannot have, an argument that is infinite in float32, and without a
    rank that is needed;
    TypeError for what is no definition, no rank, no dtype or no collection of names; otherwise the
    errors of the operator's schema.

    >>> norm = OperatorDef("LayerNorm", ["x"], ["y", "mean", "sigma"])
    >>> [node.op_type for node in to_nodes(norm, unused=["mean", "sigma"])]
    ['Constant', 'LayerNormalization']
    """
    require_op_def("to_nodes: op_def", op_def)
    if op_def.type not in _CONVERTERS:
        raise ValueError(
            f"to_nodes: {op_def.type} has no equivalent in ONNX; there is one for "
            f"{', '.join(_CONVERTERS)}"
        )
    args = schema(op_def.type).verify(op_def)
    for name in op_def.outputs:
        if name in op_def.inputs:
            raise ValueError(
                f"to_nodes: blob {name!r} is input and output of {op_def.type}; "
                "in ONNX a name has one value"
            )
    for name in (*op_def.inputs, *op_def.outputs):
        if not _is_unicode(name):
            raise ValueError(
                f"to_nodes: blob {name!r} of {op_def.type} has half a surrogate pair in its name, "
                "must be text that UTF-8 has"
            )
    for name, value in args.items():
        if isinstance(value, float):
            require_float32("to_nodes", op_def.type, name, value)
    rank = checked_rank("to_nodes", op_def.type, rank, *_ranks(op_def.type, args))
    graph = _Graph(op_def, args, rank, _dtype(dtype), _unused(unused))
    _CONVERTERS[op_def.type](graph)
    return graph.nodes


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _ranks(op_type: str, args: Mapping[str, Any]) -> tuple[int, int]:
    """The least and the greatest rank of the operator's x."""
    if "axis" in args:
        return least_rank("to_nodes", op_type, args["axis"]), MAX_RANK
    if "axes" in args:
        least = [least_rank("to_nodes", op_type, axis) for axis in args["axes"]]
        return max(least, default=1), MAX_RANK
    fixed = {"InstanceNorm": (2, MAX_RANK), "GroupNorm": (2, MAX_RANK), "LRN": (3, 5)}
    return fixed.get(op_type, (0, MAX_RANK - args.get("count", 0)))


def _dtype(given: DTypeLike) -> np.dtype[Any]:
    try:
        if given is None:  # float64 to NumPy
            raise TypeError
        dtype: np.dtype[Any] = np.dtype(given)
    except (TypeError, ValueError):
        raise TypeError(f"to_nodes: dtype is {shown(given)}, must be float32 or float64") from None
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"to_nodes: dtype is {dtype}, must be float32 or float64")
    return dtype


def _unused(unused: Collection[str]) -> frozenset[str]:
    if isinstance(unused, str) or not isinstance(unused, Collection):
        raise TypeError(f"to_nodes: unused is {shown(unused)}, must be a list or set of names")
    for name in unused:
        if not isinstance(name, str):
            raise TypeError(
                f"to_nodes: unused has an entry of type {type(name).__name__}, must have strings"
            )
    return frozenset(unused)


class _Step(NamedTuple):
    """A node but for what it reads first and what it writes."""

    op_type: str
    inputs: tuple[str, ...] = ()  # those after the first
    attributes: Mapping[str, Any] = MappingProxyType({})


def _before(name: str, steps: Sequence[_Step]) -> str:
    """The name of the value that these steps make `name` of."""
    return name and (f"{name}/{steps[0].op_type}/input" if steps else name)


@dataclass
class _Graph:
    """The nodes for one definition, as they come to be."""

    op_def: OperatorDef
    args: Mapping[str, Any]
    rank: int | None
    dtype: np.dtype[Any]
    unused: frozenset[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    @property
    def y(self) -> str:
        """The name of output 0, with which the names of new values begin."""
        return self.op_def.outputs[0]

    def output(self, j: int) -> str:
        """The name of output j; "" if the definition does not have it or nothing reads it."""
        names = self.op_def.outputs
        return names[j] if j < len(names) and names[j] not in self.unused else ""

    def require_unused(self, j: int) -> None:
        """ValueError if output j, which ONNX has nothing for, is read."""
        if self.output(j):
            op_type = self.op_def.type
            raise ValueError(
                f"to_nodes: output {self.output(j)!r} of {op_type}, its "
                f"{schema(op_type).outputs[j].name}, has no equivalent in ONNX; "
                "if nothing reads it, put it in unused="
            )

    def add(self, op_type: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """A node. Outputs at the end that are "" are left out, as ONNX wants it."""
        while not outputs[-1]:
            outputs = outputs[:-1]
        self.nodes.append(onnx.helper.make_node(op_type, inputs, outputs, **attributes))

    def chain(self, target: str, steps: Sequence[_Step]) -> None:
        """The steps from what `_before` names to `target`; none if that is ""."""
        source = _before(target, steps)
        for i, step in enumerate(steps if target else ()):
            output = f"{target}/{step.op_type}" if i + 1 < len(steps) else target
            self.add(step.op_type, [source, *step.inputs], [output], **step.attributes)
            source = output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant, whose name is returned."""
        self.add("Constant", [], [name], value=onnx.numpy_helper.from_array(value, name))
        return name

    def integers(self, name: str, values: list[int]) -> str:
        """A constant shape, or constant axes."""
        return self.constant(name, np.array(values, np.int64))

    def one(self) -> str:
        """A Scale that changes nothing: ONNX requires one."""
        return self.constant(f"{self.y}/one", np.ones(1, self.dtype))

    def cast(self) -> list[_Step]:
        """From the type that ONNX gives statistics to x's."""
        to = onnx.helper.np_dtype_to_tensor_dtype(self.dtype)
        return [] if to == onnx.TensorProto.FLOAT else [_Step("Cast", (), {"to": to})]

    def reshape(self, name: str, axis: int) -> list[_Step]:
        """From a 1 for each normalised dimension to a single one; no rank is needed for that."""
        if not name or axis == -1:
            return []
        if axis < 0:
            axes = self.integers(f"{name}/axes", list(range(axis + 1, 0)))
            return [_Step("Squeeze", (axes,))]
        # 0 is what x has there
        return [_Step("Reshape", (self.integers(f"{name}/shape", [0] * axis + [1]),))]

    @contextmanager
    def channels_first(self) -> Iterator[tuple[str, str]]:
        """The names of x and y in NCHW, with nodes that transpose where the order is NHWC."""
        x, order = self.op_def.inputs[0], self.args["order"]
        if order.upper() == "NCHW":
            yield x, self.y
            return
        if self.rank is None:
            raise ValueError(
                f"to_nodes: order of {self.op_def.type} is {order!r}, which ONNX does not have: to "
                "transpose x its rank must be given, as rank="
            )
        last = self.rank - 1
        self.add("Transpose", [x], [f"{self.y}/nchw/x"], perm=[0, last, *range(1, last)])
        yield f"{self.y}/nchw/x", f"{self.y}/nchw/y"
        self.add("Transpose", [f"{self.y}/nchw/y"], [self.y], perm=[0, *range(2, last + 1), 1])


def _layer_norm(graph: _Graph) -> None:
    axis, epsilon = graph.args["axis"], graph.args["epsilon"]
    x, *parameters = graph.op_def.inputs
    if not graph.args.get("elementwise_affine", True):  # which onnx.LayerNorm always is
        parameters = [graph.one()]
    mean, sigma = graph.output(1), graph.output(2)
    mean_steps = [*graph.cast(), *graph.reshape(mean, axis)]
    sigma_steps = [*graph.cast(), _Step("Reciprocal"), *graph.reshape(sigma, axis)]
    graph.add(
        "LayerNormalization",
        [x, *parameters],
        [graph.y, _before(mean, mean_steps), _before(sigma, sigma_steps)],
        axis=axis,
        epsilon=epsilon,
    )
    graph.chain(mean, mean_steps)
    graph.chain(sigma, sigma_steps)


def _instance_norm(graph: _Graph) -> None:
    _planes(graph, "InstanceNormalization", 0)


def _group_norm(graph: _Graph) -> None:
    groups = graph.args["group"]
    _planes(graph, "GroupNormalization", groups, num_groups=groups)


def _planes(graph: _Graph, op_type: str, count: int, **attributes: Any) -> None:
    """The node, and what it does not have: mean and inv_std (N, count), count 0 standing for C.

    They are those of a LayerNormalization.
    """
    _, scale, bias = graph.op_def.inputs
    epsilon = graph.args["epsilon"]
    with graph.channels_first() as (x, y):
        graph.add(op_type, [x, scale, bias], [y], epsilon=epsilon, **attributes)
    mean, inv_std = graph.output(1), graph.output(2)
    if not (mean or inv_std):
        return
    planes = f"{graph.y}/planes"
    graph.add("Reshape", [x, graph.integers(f"{planes}/shape", [0, count, -1])], [planes])
    steps = [*graph.cast(), _Step("Squeeze", (graph.integers(f"{planes}/axes", [-1]),))]
    graph.add(
        "LayerNormalization",
        [planes, graph.one()],
        [f"{planes}/normalized", _before(mean, steps), _before(inv_std, steps)],
        axis=-1,
        epsilon=epsilon,
    )
    graph.chain(mean, steps)
    graph.chain(inv_std, steps)


def _rms_norm(graph: _Graph) -> None:
    graph.require_unused(1)
    x, gamma, *beta = graph.op_def.inputs
    axis, epsilon = graph.args["axis"], graph.args.get("eps", graph.args.get("epsilon"))
    steps = [_Step("Add", tuple(beta))] if beta else []  # onnx.RMSNorm has none
    graph.add("RMSNormalization", [x, gamma], [_before(graph.y, steps)], axis=axis, epsilon=epsilon)
    graph.chain(graph.y, steps)


def _mean_variance_norm(graph: _Graph) -> None:
    graph.add(
        "MeanVarianceNormalization", list(graph.op_def.inputs), [graph.y], axes=graph.args["axes"]
    )


def _add(graph: _Graph) -> None:
    graph.add("Sum", list(graph.op_def.inputs), [graph.y])


def _local_response_norm(graph: _Graph) -> None:
    graph.require_unused(1)
    attributes = {name: value for name, value in graph.args.items() if name != "order"}
    with graph.channels_first() as (x, y):
        graph.add("LRN", [x], [y], **attributes)


def _reciprocal(graph: _Graph) -> None:
    graph.add("Reciprocal", list(graph.op_def.inputs), [graph.y])


def _append_dims(graph: _Graph) -> None:
    axes = graph.integers(f"{graph.y}/axes", list(range(-graph.args["count"], 0)))
    graph.add("Unsqueeze", [*graph.op_def.inputs, axes], [graph.y])


_CONVERTERS: dict[str, Callable[[_Graph], None]] = {
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
    "InstanceNorm": _instance_norm,
    "GroupNorm": _group_norm,
    "LRN": _local_response_norm,
    "onnx.LayerNorm": _layer_norm,
    "onnx.RMSNorm": _rms_norm,
    "onnx.MeanVarianceNorm": _mean_variance_norm,
    "onnx.Add": _add,
    "onnx.Reciprocal": _reciprocal,
    "onnx.AppendDims": _append_dims,
}
