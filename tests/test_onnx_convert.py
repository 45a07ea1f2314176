"""Conversion between ONNX nodes and operator definitions: both sides run and give the same.

epsilon and the attributes of LRN are numbers that float32 has, as ONNX's attributes are float32.
"""

import normkernels as nk
import numpy as np
import onnx
import pytest
from conftest import normal, ordered, same_bits
from normkernels.onnx import backend, from_node, inherit_onnx_schema, to_nodes
from normkernels.operators import OperatorDef, Workspace
from normkernels.operators.shapes import MAX_RANK
from onnx.helper import make_node
from reference import u

EPSILON = 2.0**-17
SHAPE = (2, 3, 4, 5)


def run_definitions(defs, feeds, names):
    """The blobs of these names, by name."""
    workspace = Workspace(feeds)
    workspace.run(defs)
    return {name: workspace.fetch(name) for name in names}


def run_nodes(nodes, feeds, like):
    """The values of the names in `like`, by name; of the same shapes and types, says onnx's
    checker, which infers them."""

    def infos(arrays):
        of_dtype = onnx.helper.np_dtype_to_tensor_dtype
        info = onnx.helper.make_tensor_value_info
        return [info(name, of_dtype(a.dtype), a.shape) for name, a in arrays.items()]

    graph = onnx.helper.make_graph(nodes, "nodes", infos(feeds), infos(like))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)])
    onnx.checker.check_model(model, full_check=True)
    outputs = backend.run_model(model, list(feeds.values()))
    return dict(zip(like, outputs, strict=True))


def assert_within(actual, expected, bound, what):
    """Up to `bound` roundings of float32, as which ONNX has statistics; 0: the same bits."""
    if bound == 0:
        assert same_bits(actual, expected), what
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype), what
    np.testing.assert_allclose(actual, expected, rtol=bound * u(np.float32), err_msg=what)


def feeds_for(op_type, dtype, order="NCHW", axis=-1):
    x = normal(SHAPE, dtype, mean=3)
    if op_type.startswith(("Layer", "RMS")):
        scale_shape = x.shape[axis:]
    else:
        x, scale_shape = ordered(x, order), x.shape[1:2]
    feeds = {"x": x, "scale": normal(scale_shape, dtype, 1), "b": normal(scale_shape, dtype, 2)}
    return {"x": x} if op_type in {"LRN", "MeanVarianceNormalization"} else feeds


# ---- From ONNX, and back again

NODES = {
    "LRN": make_node("LRN", ["x"], ["y"], size=4, alpha=0.5, beta=0.75, bias=2.0),
    "LRN, defaults": make_node("LRN", ["x"], ["y"], size=3),
    "InstanceNormalization": make_node(
        "InstanceNormalization", ["x", "scale", "b"], ["y"], epsilon=EPSILON
    ),
    "InstanceNormalization, defaults": make_node(
        "InstanceNormalization", ["x", "scale", "b"], ["y"]
    ),
    "LayerNormalization, y": make_node("LayerNormalization", ["x", "scale", "b"], ["y"]),
    "LayerNormalization, no b": make_node("LayerNormalization", ["x", "scale", ""], ["y"]),
    "LayerNormalization, statistics": make_node(
        "LayerNormalization", ["x", "scale"], ["y", "mean", "inv_std_dev"]
    ),
    "LayerNormalization, only inv_std_dev": make_node(
        "LayerNormalization", ["x", "scale", "b"], ["y", "", "inv_std_dev"], epsilon=EPSILON
    ),
    "RMSNormalization": make_node("RMSNormalization", ["x", "scale"], ["y"]),
    "GroupNormalization": make_node(
        "GroupNormalization", ["x", "scale", "b"], ["y"], num_groups=3, epsilon=EPSILON
    ),
    "GroupNormalization, one": make_node(
        "GroupNormalization", ["x", "scale", "b"], ["y"], num_groups=1
    ),
    "MeanVarianceNormalization, axes": make_node(
        "MeanVarianceNormalization", ["x"], ["y"], axes=[-1, 1]
    ),
}


def assert_converts_and_back(node, feeds):
    """The node, its definitions and the nodes of these agree. What is inverted twice on the way
    back is rounded twice."""
    feeds = {name: feeds[name] for name in node.input if name}
    defs = from_node(node, rank=len(SHAPE))
    ours = run_definitions(defs, feeds, [name for name in node.output if name])
    for name, theirs in run_nodes([node], feeds, ours).items():
        assert_within(ours[name], theirs, 0, name)
    read = {*ours, *(name for op_def in defs for name in op_def.inputs)}
    unused = {name for op_def in defs for name in op_def.outputs} - read
    nodes = [node for op_def in defs for node in to_nodes(op_def, unused=unused)]
    for name, again in run_nodes(nodes, feeds, ours).items():
        assert_within(again, ours[name], 2 if name == "inv_std_dev" else 0, name)


@pytest.mark.parametrize("case", NODES)
def test_node_to_definitions_and_back(case):
    assert_converts_and_back(NODES[case], feeds_for(NODES[case].op_type, np.float32))


@pytest.mark.parametrize("axis", range(-4, 4))
def test_layer_normalization_of_any_axis(axis):
    node = make_node(
        "LayerNormalization", ["x", "scale", "b"], ["y", "mean", "inv_std_dev"], axis=axis
    )
    assert_converts_and_back(node, feeds_for(node.op_type, np.float32, axis=axis))


@pytest.mark.parametrize("axis", range(-4, 4))
def test_rms_normalization_of_any_axis(axis):
    node = make_node("RMSNormalization", ["x", "scale"], ["y"], axis=axis)
    assert_converts_and_back(node, feeds_for(node.op_type, np.float32, axis=axis))


def test_default_axes_of_mean_variance_normalization():
    """onnx's checker, which infers shapes, fails at a node without axes."""
    x = feeds_for("MeanVarianceNormalization", np.float32)["x"]
    node = make_node("MeanVarianceNormalization", ["x"], ["y"])
    (op_def,) = from_node(node)
    assert op_def == OperatorDef("onnx.MeanVarianceNorm", ["x"], ["y"], {"axes": (0, 2, 3)})
    ours = run_definitions([op_def], {"x": x}, ["y"])
    assert same_bits(ours["y"], backend.run_node(node, [x])[0])


def test_default_axes_differ():
    """ONNX's is -1, ours 1."""
    (op_def,) = from_node(make_node("LayerNormalization", ["x", "scale", "b"], ["y"]))
    assert op_def.args["axis"] == -1
    (node, *_) = to_nodes(
        OperatorDef("LayerNorm", ["x", "g", "b"], ["y", "m", "s"], {"elementwise_affine": True}),
        unused=("m", "s"),
    )
    assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}["axis"] == 1


def test_rank_is_needed_only_for_the_statistics_of_a_positive_axis():
    inputs = ["x", "scale", "b"]
    assert from_node(make_node("LayerNormalization", inputs, ["y"], axis=1))
    assert from_node(make_node("LayerNormalization", inputs, ["y", "m"], axis=-2))
    with pytest.raises(ValueError, match=r"axis of LayerNormalization is 1: .* given, as rank="):
        from_node(make_node("LayerNormalization", inputs, ["y", "m"], axis=1))


def test_consumed_inputs_are_left_out():
    node = make_node("InstanceNormalization", ["x", "s", "b"], ["y"], consumed_inputs=[0, 0, 0])
    (op_def,) = from_node(node)
    assert op_def == OperatorDef(
        "InstanceNorm",
        ["x", "s", "b"],
        ["y"],
        {"epsilon": float(np.float32(1e-5)), "order": "NCHW"},
    )


def test_gradient_through_what_came_from_onnx():
    """Also where B is left out."""
    feeds = feeds_for("LayerNormalization", np.float64)
    feeds = {"x": feeds["x"], "scale": feeds["scale"], "dy": normal(SHAPE, np.float64, 3)}
    defs = from_node(make_node("LayerNormalization", ["x", "scale"], ["y"], epsilon=EPSILON))
    workspace = Workspace(feeds)
    backward = workspace.add_gradient_operators(defs, {"y": "dy"})
    workspace.run([*defs, *backward.operators])
    _, mean, sigma = nk.layer_norm(feeds["x"], axis=-1, epsilon=EPSILON, return_stats=True)
    expected = nk.layer_norm_backward(feeds["dy"], feeds["x"], mean, sigma, feeds["scale"], axis=-1)
    assert same_bits(workspace.fetch(backward.gradients["x"]), expected.dx)
    assert same_bits(workspace.fetch(backward.gradients["scale"]), expected.dgamma)


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        (make_node("Relu", ["x"], ["y"]), ValueError, "ai.onnx.Relu, must be one of LRN, Inst"),
        (make_node("LRN", ["x"], ["y"], size=3, domain="mine"), ValueError, "mine.LRN, must be"),
        (make_node("LRN", ["x"], ["y"]), onnx.checker.ValidationError, "size"),
        (
            make_node("LayerNormalization", ["x", "s"], ["y"], stash_type=16),
            ValueError,
            "stash_type of LayerNormalization is 16, must be 1",
        ),
        (
            make_node("RMSNormalization", ["x", "s"], ["y"], stash_type=11),
            ValueError,
            "stash_type of RMSNormalization is 11, must be 1",
        ),
        (
            make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2, stash_type=10),
            ValueError,
            "stash_type of GroupNormalization is 10, must be 1",
        ),
        (
            make_node("LayerNormalization", ["x", "s"], ["y"], eps=0.1),
            ValueError,
            "LayerNormalization has attribute 'eps', must have axis, epsilon, stash_type",
        ),
    ],
    ids=[
        *("other operator", "other domain", "no size", "stash_type", "of RMS norm"),
        *("of group norm", "attribute that onnx's checker lets pass"),
    ],
)
def test_from_node_errors(node, error, message):
    with pytest.raises(error, match=message):
        from_node(node)


# ---- To ONNX


# inv_std and sigma come as InvStdDev, from a sigma that was rounded, and that is 1 / sigma again.
STATISTICS = {
    np.float32: {"mean": 0, "inv_std": 2, "sigma": 2},
    np.float64: {"mean": 1, "inv_std": 1, "sigma": 2},
}


def assert_nodes_agree(op_def, feeds, unused=()):
    x = feeds["x"]
    names = [name for name in op_def.outputs if name not in unused]
    ours = run_definitions([op_def], feeds, names)
    nodes = to_nodes(op_def, rank=x.ndim, dtype=x.dtype, unused=unused)
    bounds = {"y": 0, **STATISTICS[x.dtype.type]}
    for name, theirs in run_nodes(nodes, feeds, ours).items():
        assert_within(theirs, ours[name], bounds[name], name)


@pytest.mark.parametrize("axis", range(-4, 4))
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_to_nodes(dtype, axis, affine):
    feeds = feeds_for("LayerNorm", dtype, axis=axis)
    inputs = ["x", "scale", "b"] if affine else ["x"]
    args = {"axis": axis, "epsilon": EPSILON, "elementwise_affine": affine}
    op_def = OperatorDef("LayerNorm", inputs, ["y", "mean", "sigma"], args)
    feeds = {name: feeds[name] for name in inputs}
    for unused in ((), ("mean",), ("sigma",), ("mean", "sigma")):
        assert_nodes_agree(op_def, feeds, unused)


def test_parameters_without_affine_are_ignored():
    """As LayerNorm does: three inputs, elementwise_affine False."""
    op_def = OperatorDef(
        "LayerNorm", ["x", "scale", "b"], ["y", "mean", "sigma"], {"epsilon": EPSILON}
    )
    assert_nodes_agree(op_def, feeds_for("LayerNorm", np.float32, axis=1))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_instance_norm_to_nodes(dtype, order, count):
    names = ["y", "mean", "inv_std"][:count]
    args = {"epsilon": EPSILON, "order": order}
    op_def = OperatorDef("InstanceNorm", ["x", "scale", "b"], names, args)
    assert_nodes_agree(op_def, feeds_for("InstanceNorm", dtype, order))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("count", [1, 3])
def test_group_norm_to_nodes(dtype, order, count, groups):
    names = ["y", "mean", "inv_std"][:count]
    args = {"num_groups": groups, "epsilon": EPSILON, "order": order}
    op_def = OperatorDef("GroupNorm", ["x", "scale", "b"], names, args)
    assert_nodes_agree(op_def, feeds_for("GroupNorm", dtype, order))


@pytest.mark.parametrize("axis", range(-4, 4))
def test_rms_norm_to_nodes(dtype, axis):
    """The beta of the nodes is an Add, with a rounding of its own."""
    args = {"axis": axis, "epsilon": EPSILON}
    op_def = OperatorDef("RMSNorm", ["x", "scale", "b"], ["y", "rrms"], args)
    feeds = feeds_for("RMSNorm", dtype, axis=axis)
    ours = run_definitions([op_def], feeds, ["y"])
    theirs = run_nodes(to_nodes(op_def, dtype=dtype, unused=("rrms",)), feeds, ours)
    terms = abs(nk.rms_norm(feeds["x"], feeds["scale"], axis=axis)) + abs(feeds["b"])
    assert (abs(theirs["y"] - ours["y"]) <= 2 * u(dtype) * terms).all()
    (without_beta,) = to_nodes(OperatorDef("onnx.RMSNorm", ["x", "s"], ["y", "r"]), unused=["r"])
    assert without_beta.op_type == "RMSNormalization"
    with pytest.raises(ValueError, match=r"output 'rrms' of RMSNorm, its rrms, has no equivalent"):
        to_nodes(op_def)


@pytest.mark.parametrize("size", [2, 3])
def test_lrn_to_nodes(dtype, order, size):
    args = {"size": size, "alpha": 0.5, "beta": 0.75, "bias": 2.0, "order": order}
    op_def = OperatorDef("LRN", ["x"], ["y", "scale"], args)
    assert_nodes_agree(op_def, feeds_for("LRN", dtype, order), unused=("scale",))


def test_no_more_nodes_than_needed():
    layer_norm = OperatorDef(
        "LayerNorm", ["x", "g", "b"], ["y", "m", "s"], {"axis": -1, "elementwise_affine": True}
    )
    instance_norm = OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"])
    lrn = OperatorDef("LRN", ["x"], ["y"], {"size": 3, "alpha": 0.5, "beta": 0.75})
    for op_def in (layer_norm, instance_norm, lrn):
        assert len(to_nodes(op_def, unused=("m", "s"))) == 1
    assert [node.op_type for node in to_nodes(layer_norm)] == ["LayerNormalization", "Reciprocal"]


GRADIENT = OperatorDef("LRNGradient", ["x", "y", "dy"], ["dx"], {"size": 3})
WITH_SCALE = OperatorDef("LRN", ["x"], ["y", "s"], {"size": 3})
NHWC = OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"], {"order": "NHWC"})
INPLACE = OperatorDef("InstanceNorm", ["x", "s", "b"], ["x"])
SURROGATE = OperatorDef("InstanceNorm", ["x", "s", "b"], ["\ud800"])


@pytest.mark.parametrize(
    ("op_def", "message"),
    [
        (GRADIENT, "to_nodes: LRNGradient has no equivalent in ONNX; there is one for LayerNorm"),
        (WITH_SCALE, "output 's' of LRN, its scale, has no equivalent in ONNX; .* in unused="),
        (NHWC, "order of InstanceNorm is 'NHWC', which ONNX does not have: .* as rank="),
        (INPLACE, "blob 'x' is input and output of InstanceNorm; in ONNX a name has one value"),
        (OperatorDef("LRN", ["x"], ["y"]), "LRN: argument size is not given"),
        (SURROGATE, r"blob '\\ud800' of InstanceNorm has half a surrogate pair in its name"),
    ],
    ids=["gradient", "scale", "NHWC", "in place", "schema", "surrogate"],
)
def test_to_nodes_errors(op_def, message):
    with pytest.raises(ValueError, match=message):
        to_nodes(op_def)


def test_dtype_of_x():
    with pytest.raises(ValueError, match="to_nodes: dtype is int32, must be float32 or float64"):
        to_nodes(OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"]), dtype=np.int32)
    for dtype in (None, 3, "x", -(10**5000)):
        with pytest.raises(TypeError, match=r"^to_nodes: dtype is .*, must be float32 or float64"):
            to_nodes(OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"]), dtype=dtype)


LAYER_NORM = OperatorDef("LayerNorm", ["x"], ["y", "m", "s"], {"axis": 2})
LRN_NODE = make_node("LRN", ["x"], ["y"], size=3)
LAYER_NORM_NODE = make_node("LayerNormalization", ["x", "s"], ["y", "mean"], axis=2)
RANKS = [
    (to_nodes, NHWC, 2, 64),
    (to_nodes, OperatorDef("LRN", ["x"], ["y"], {"size": 3, "order": "NHWC"}), 3, 5),
    (to_nodes, LAYER_NORM, 3, 64),
    (to_nodes, OperatorDef("onnx.AppendDims", ["x"], ["y"], {"count": 2}), 0, 62),
    (to_nodes, OperatorDef("GroupNorm", ["x", "s", "b"], ["y"], {"order": "NHWC"}), 2, 64),
    (to_nodes, OperatorDef("onnx.MeanVarianceNorm", ["x"], ["y"], {"axes": (1, -4)}), 4, 64),
    (from_node, LRN_NODE, 3, 5),
    (from_node, make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2), 2, 64),
    (from_node, make_node("RMSNormalization", ["x", "s"], ["y"], axis=2), 3, 64),
    (from_node, make_node("MeanVarianceNormalization", ["x"], ["y"]), 4, 64),
    (from_node, make_node("InstanceNormalization", ["x", "s", "b"], ["y"]), 2, 64),
    (from_node, LAYER_NORM_NODE, 3, 64),
]


@pytest.mark.parametrize(("convert", "source", "least", "most"), RANKS)
def test_rank(convert, source, least, most):
    most -= 64 - MAX_RANK if most > 5 else 0
    for rank in (least, np.int64(most)):
        assert convert(source, rank=rank)
    for rank in (least - 1, most + 1, -1, 2**70, -(10**5000)):
        message = rf"^{convert.__name__}: rank is .*, must be {least} to {most} for "
        with pytest.raises(ValueError, match=message):
            convert(source, rank=rank)
    for rank in ("4", 4.0, True, [4]):
        with pytest.raises(TypeError, match=rf"^{convert.__name__}: rank is of type .*, must be N"):
            convert(source, rank=rank)


@pytest.mark.parametrize("axis", [64, -65, 2**62, -(2**62)])
def test_an_axis_that_no_array_has(axis):
    node = make_node("LayerNormalization", ["x", "s"], ["y", "mean"], axis=axis)
    with pytest.raises(ValueError, match=r"^from_node: axis of LayerNormalization is .*, must be"):
        from_node(node)
    with pytest.raises(ValueError, match=r"^to_nodes: axis of LayerNorm is .*, must be -"):
        to_nodes(OperatorDef("LayerNorm", ["x"], ["y", "m", "s"], {"axis": axis}))


@pytest.mark.parametrize(
    ("op_type", "inputs", "argument"),
    [
        ("LRN", ["x"], "alpha"),
        ("LRN", ["x"], "beta"),
        ("LRN", ["x"], "bias"),
        ("InstanceNorm", ["x", "s", "b"], "epsilon"),
        ("onnx.LayerNorm", ["x", "scale"], "epsilon"),
    ],
)
def test_arguments_that_float32_does_not_have(op_type, inputs, argument):
    size = {"size": 3} if op_type == "LRN" else {}
    outputs = ["y", "m", "s"] if op_type == "onnx.LayerNorm" else ["y"]
    largest = float(np.finfo(np.float32).max)
    (node,) = to_nodes(
        OperatorDef(op_type, inputs, outputs, {**size, argument: largest}), unused={"m", "s"}
    )
    assert largest in [attribute.f for attribute in node.attribute]
    with pytest.raises(
        ValueError, match=rf"^to_nodes: argument {argument} of {op_type} is 1e\+300"
    ):
        to_nodes(OperatorDef(op_type, inputs, outputs, {**size, argument: 1e300}))


@pytest.mark.parametrize("unused", [3, "m", iter(["m"]), [3], None])
def test_unused_that_are_no_names(unused):
    with pytest.raises(TypeError, match=r"^to_nodes: unused "):
        to_nodes(LAYER_NORM, unused=unused)


def test_what_is_nothing_to_convert():
    for node in (None, 3, "LRN", NHWC):
        with pytest.raises(
            TypeError, match=r"^from_node: node is of type .*, must be an onnx.Node"
        ):
            from_node(node)
    for op_def in (None, LRN_NODE, [NHWC]):
        with pytest.raises(
            TypeError, match=r"^to_nodes: op_def is of type .*, must be an OperatorD"
        ):
            to_nodes(op_def)
    for name in (None, onnx.ModelProto()):
        with pytest.raises(
            TypeError, match=r"^inherit_onnx_schema: name is of type .*, must be a s"
        ):
            inherit_onnx_schema(name)
