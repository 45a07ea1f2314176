"""Random and broken ONNX nodes, models and definitions to convert: what converts computes what
ONNX's own reference does, attribute by attribute, and what does not is refused as documented."""

import random
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from normkernels.onnx import OPS, backend, from_node, to_nodes
from normkernels.operators import OperatorDef, Workspace
from onnx.reference import ReferenceEvaluator

from proof.fuzz import guided
from proof.fuzz.operators import ODD, definition, outcome

TYPES = [op.__name__ for op in OPS]
OPSET = 23
# x is of whole numbers up to 8, whose sums are exact, in rows of which the sigma is 0 or no less
# than 1 / sqrt(n): one rounding of the mean is up to 8 sqrt(n) u of xhat, and scale is below 8.
ROUNDS = 8 * 8 * 64
UNIT = 2.0**-24


def check(rng: random.Random) -> None:
    """A node, a definition or a broken model."""
    rng.choice([_check_node, _check_node, _check_definition, _check_broken])(rng)


def arrays(rng: random.Random, op_type: str, axis: Any) -> dict[str, np.ndarray]:
    """x and the parameters that go with it."""
    shape = tuple(rng.choice([1, 2, 3, 4, 6]) for _ in range(rng.randint(1, 5)))
    axis = max(-len(shape), min(axis if type(axis) is int else -1, len(shape) - 1))
    of_rows = op_type.startswith(("Layer", "RMS", "onnx", "Skip"))
    columns = shape[-1:] if op_type.startswith("Skip") else shape[axis:]
    parameter = columns if of_rows else shape[1:2]
    if rng.random() < 0.1:
        parameter = tuple(rng.choice([1, n]) for n in shape)
    generator = np.random.default_rng(rng.getrandbits(16))
    shapes = {"x": shape, "skip": shape, "scale": parameter, "b": parameter}
    return {k: generator.integers(-4, 5, s).astype(np.float32) for k, s in shapes.items()}


def _node(rng: random.Random) -> onnx.NodeProto:
    op_type = rng.choice(TYPES) if rng.random() < 0.97 else rng.choice(["Softmax", "", "lrn"])
    skip = op_type.startswith("Skip")
    inputs = ["x", "skip", "scale", "b"] if skip else ["x", "scale", "b"]
    least = {"LRN": 1, "MeanVarianceNormalization": 1, "RMSNormalization": 2}.get(op_type, 3)
    count = least if rng.random() < 0.8 else rng.randrange(5)
    outputs = ["y", *rng.sample(["mean", "inv_std", ""], rng.choice([0, 0, 0, 1, 2]))]
    attributes = {
        **{"axis": rng.choice([-1, 1, 0, 2, -3]), "epsilon": rng.choice([2.0**-17, 0.5, 0.0])},
        **{"size": rng.choice([1, 3, 4]), "alpha": 0.5, "beta": 0.75, "bias": 2.0},
        **{"num_groups": rng.choice([1, 2, 3]), "axes": rng.choice([[0, 2], [-1, 1], [1]])},
        "stash_type": rng.choice([1, 1, 1, 11, 16]),
    }
    known = (
        onnx.defs.get_schema(op_type).attributes if op_type in TYPES and not skip else {"epsilon"}
    )
    kept = {k: v for k, v in attributes.items() if k in known and rng.random() < 0.7}
    if rng.random() < 0.08:
        kept[rng.choice([*attributes, "nonsense"])] = rng.choice([*ODD, [1.5], [b"x"]])
    domain = "com.microsoft" if skip else ""
    if rng.random() < 0.03:
        domain = rng.choice(["ai.onnx", "com.microsoft", "nowhere"])
    return onnx.helper.make_node(op_type, inputs[:count], outputs, domain=domain, **kept)


def _check_node(rng: random.Random) -> None:
    try:
        node = _node(rng)
    except (TypeError, ValueError, UnicodeEncodeError):  # no attribute, says onnx.helper
        return
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    feeds = arrays(rng, node.op_type, axis)
    rank = rng.choice([None, feeds["x"].ndim, feeds["x"].ndim, 0, 70, "x", True])
    invalid = onnx.checker.ValidationError
    defs, _ = outcome(lambda: from_node(node, rank=rank), invalid)
    given = {name: feeds[name] for name in node.input if name}
    names = [name for name in node.output if name]
    if defs is not None and not (rank is not None and rank != feeds["x"].ndim):
        ours, _ = outcome(lambda: _run_ours(defs, given, names))
        if ours is not None:
            _assert_alike(ours, [node], given)
    _in_our_words(lambda: backend.run_node(node, list(given.values())))


def _run_ours(
    defs: list[OperatorDef], given: dict[str, np.ndarray], names: list[str]
) -> dict[str, np.ndarray]:
    workspace = Workspace(given)
    workspace.run(defs)
    return {name: workspace[name] for name in names}


def _model(
    nodes: list[onnx.NodeProto], given: dict[str, np.ndarray], like: dict[str, np.ndarray]
) -> onnx.ModelProto:
    def infos(arrays: dict[str, np.ndarray]) -> list[onnx.ValueInfoProto]:
        of, info = onnx.helper.np_dtype_to_tensor_dtype, onnx.helper.make_tensor_value_info
        return [info(name, of(a.dtype), a.shape) for name, a in arrays.items()]

    graph = onnx.helper.make_graph(nodes, "nodes", infos(given), infos(like))
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])


def _has_reference(node: onnx.NodeProto, x: np.ndarray) -> bool:
    """onnx computes nothing of other domains, LRN of four dimensions only, and of so many channels
    as there are images; its checker fails at a MeanVarianceNormalization without axes."""
    if node.op_type == "LRN":
        return x.ndim == 4 and x.shape[0] == x.shape[1] == x.shape[3]
    return not node.domain and (bool(node.attribute) or not node.op_type.startswith("Mean"))


def _assert_alike(
    ours: dict[str, np.ndarray], nodes: list[onnx.NodeProto], given: dict[str, np.ndarray]
) -> None:
    """The nodes are valid, also where shapes and types are inferred, and onnx's reference computes
    the same of them, if it can."""
    first = next(iter(given.values()))
    if not all(_has_reference(node, first) for node in nodes):
        return
    model = _model(nodes, given, ours)
    onnx.checker.check_model(model, full_check=True)
    with np.errstate(all="ignore"):
        theirs = ReferenceEvaluator(model).run(None, given)
    for (name, actual), exact in zip(ours.items(), theirs, strict=True):
        assert (actual.shape, actual.dtype) == (exact.shape, exact.dtype), name
        finite = np.isfinite(exact)  # they divide by 0 where epsilon is
        size = max(1, float(abs(exact[finite]).max(initial=0)))
        error = float(abs(actual[finite] - exact[finite]).max(initial=0))
        assert error <= ROUNDS * UNIT * size, f"{name} is {error} off: {nodes} of {given}"


def _check_definition(rng: random.Random) -> None:
    types = ("LayerNorm", "RMSNorm", "InstanceNorm", "GroupNorm", "LRN", "onnx.LayerNorm")
    types += ("onnx.RMSNorm", "onnx.MeanVarianceNorm", "onnx.Reciprocal", "onnx.AppendDims", "Sum")
    op_def, _ = outcome(lambda: definition(rng, types))
    if op_def is None:
        return
    feeds = arrays(rng, op_def.type, op_def.args.get("axis", -1))
    named = dict(zip(op_def.inputs, ("x", "scale", "b"), strict=False))
    op_def = replace(op_def, inputs=[named.get(name, name) for name in op_def.inputs])
    rank, dtype, unused = feeds["x"].ndim, np.float32, op_def.outputs[1:]
    if rng.random() < 0.3:
        rank = rng.choice([None, 0, -1, 1 << 70, 1.5])
        dtype = rng.choice([np.float32, np.float64, None, "f2", "x", object])
    if rng.random() < 0.3:
        unused = rng.choice([(), (), "mean", [1], None])
    nodes, _ = outcome(lambda: to_nodes(op_def, rank=rank, dtype=dtype, unused=unused))
    if nodes is None or rank not in (None, feeds["x"].ndim) or dtype != np.float32:
        return
    given = {name: feeds[name] for name in op_def.inputs if name in feeds}
    if op_def.type in {"LayerNorm", "RMSNorm"} and not _are_ends(given.values()):
        return  # a matrix whose elements are enough means something else to ONNX, as to_nodes says
    names = [name for name in op_def.outputs if name not in unused]
    ours, _ = outcome(lambda: _run_ours([op_def], given, names))
    if ours is not None:
        _assert_alike(ours, nodes, given)


def _are_ends(arrays: Iterable[np.ndarray]) -> bool:
    """Whether the shapes of the others are ends of the first one's."""
    x, *others = arrays
    return all(a.shape == x.shape[x.ndim - a.ndim :] for a in others)


def _check_broken(rng: random.Random) -> None:
    """A model of which some bytes are others."""
    try:
        node = _node(rng)
    except (TypeError, ValueError, UnicodeEncodeError):
        return
    feeds = arrays(rng, node.op_type, -1)
    given = {name: feeds[name] for name in node.input if name in feeds}
    data = bytearray(_model([node], given, {"y": feeds["x"]}).SerializeToString())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    try:
        model = onnx.load_model_from_string(bytes(data))
    except Exception:  # protobuf's, which is not ours
        return
    for broken in model.graph.node:
        _in_our_words(lambda broken=broken: from_node(broken))
    _in_our_words(lambda: backend.run_model(model, list(given.values())))


def _in_our_words(function: Callable[[], Any]) -> None:
    """Runs it; an error that arises in our code must be of a documented kind."""
    try:
        with np.errstate(all="ignore"):
            function()
    except (TypeError, ValueError, onnx.checker.ValidationError):
        pass  # RuntimeTypeError is a RuntimeError, see below
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if "/normkernels/" in last and type(error).__name__ != "RuntimeTypeError":
            raise


if __name__ == "__main__":
    guided.main("onnx", __doc__)
