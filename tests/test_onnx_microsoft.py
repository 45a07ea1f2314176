"""ONNX Runtime's norms of a sum, in the evaluator of the onnx package and beside ONNX Runtime."""

import ml_dtypes
import normkernels as nk
import numpy as np
import onnx
import pytest
import reference
from conftest import normal, same_bits
from normkernels.onnx import OPS, backend, from_node, to_nodes
from normkernels.operators import Workspace
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import RuntimeTypeError
from onnx_rounding import each_type, float32
from reference import FORWARD, assert_within, u

BATCH = (2, 3, 8)
NAMES = {
    "SkipLayerNormalization": ["input", "skip", "gamma", "beta", "bias"],
    "SkipSimplifiedLayerNormalization": ["input", "skip", "gamma", "bias"],
}
OUTPUTS = ["output", "mean", "inv_std_var", "input_skip_bias_sum"]
each_operator = pytest.mark.parametrize("op_type", NAMES)


def inputs_of(op_type, dtype, shape=BATCH, skip=None, mean=0.0):
    rows = dict.fromkeys(NAMES[op_type][2:], shape[-1:])
    shapes = {"input": shape, "skip": skip or shape, **rows}
    return {
        name: normal(s, dtype, seed=i, mean=mean if name == "input" else 0)
        for i, (name, s) in enumerate(shapes.items())
    }


def node_of(op_type, feeds, outputs=("output",), **attributes):
    inputs = [name if name in feeds else "" for name in NAMES[op_type]]
    return make_node(op_type, inputs, outputs, domain="com.microsoft", **attributes)


def run(op_type, feeds, outputs=("output",), **attributes):
    return backend.run_node(node_of(op_type, feeds, outputs, **attributes), [*feeds.values()])


def by_function(op_type, feeds, epsilon):
    """output, inv_std_var, the sum."""
    x = feeds["input"]
    residual = np.broadcast_to(feeds["skip"], x.shape)
    parameters = {name: feeds.get(name) for name in ("gamma", "beta", "bias")}
    options = {**parameters, "epsilon": epsilon, "axis": -1, "return_stats": True}
    if op_type == "SkipLayerNormalization":
        y, total, _, sigma = nk.add_layer_norm(x, residual, **options)
        return y, (1 / sigma).astype(np.float32), total
    y, total, rstd = nk.add_rms_norm(x, residual, **options)
    return y, rstd.astype(np.float32), total


@each_type
@each_operator
@pytest.mark.parametrize("skip", [BATCH, BATCH[1:], (1, *BATCH[1:])], ids=str)
@pytest.mark.parametrize("left_out", [(), ("bias",), ("beta",), ("beta", "bias")], ids=str)
def test_bits_of_the_functions(op_type, dtype, skip, left_out):
    feeds = inputs_of(op_type, dtype, skip=skip)
    feeds = {name: a for name, a in feeds.items() if name not in left_out}
    results = run(op_type, feeds, ["output", "", *OUTPUTS[2:]], epsilon=0.5)
    expected = by_function(op_type, feeds, 0.5)
    for a, b in zip((results[0], *results[1:]), expected, strict=True):
        assert same_bits(a, b)


@each_operator
def test_of_rank_2(op_type):
    feeds = inputs_of(op_type, np.float32, shape=(5, 8))
    (y,) = run(op_type, feeds)
    assert same_bits(y, by_function(op_type, feeds, float32(1e-12))[0])


def test_the_statistics_of_layer_norm():
    feeds = inputs_of("SkipLayerNormalization", np.float64)
    _, mean, inv_std_var, total = run("SkipLayerNormalization", feeds, OUTPUTS)
    assert mean.shape == inv_std_var.shape == (2, 3, 1)
    assert mean.dtype == inv_std_var.dtype == np.float32
    np.testing.assert_allclose(mean, total.mean(-1, keepdims=True), atol=1e-7)
    np.testing.assert_allclose(inv_std_var, 1 / total.std(-1, keepdims=True), rtol=1e-6)


def test_rms_has_no_mean():
    feeds = inputs_of("SkipSimplifiedLayerNormalization", np.float32)
    with pytest.raises(
        ValueError, match=r"Simplified.*: output 1 \(mean\) is 'mean', must be \"\""
    ):
        run("SkipSimplifiedLayerNormalization", feeds, OUTPUTS)


@each_operator
def test_an_offset_of_1e4(op_type):
    """Against the reference, at the sum as it is rounded; ONNX Runtime has lost digits there."""
    feeds = inputs_of(op_type, np.float32, shape=(2, 3, 512), mean=1e4)
    y, total = run(op_type, feeds, ["output", "", "", "input_skip_bias_sum"])
    exact = sum(a.astype(np.float64) for a in (feeds["input"], feeds["skip"], feeds["bias"]))
    np.testing.assert_allclose(total, exact, rtol=u(np.float32))
    norm = reference.layer_norm if op_type == "SkipLayerNormalization" else reference.rms_norm
    parameters = (feeds["gamma"], feeds.get("beta"))
    assert_within(y, norm(total, *parameters, axis=-1, epsilon=float32(1e-12)).y, FORWARD)


# ---- Beside ONNX Runtime


def models(op_type, feeds, outputs, **attributes):
    """Of the node alone: runs of ONNX Runtime and of the evaluator with our operators."""
    runtime = pytest.importorskip("onnxruntime")
    of_dtype = onnx.helper.np_dtype_to_tensor_dtype
    infos = [
        onnx.helper.make_tensor_value_info(name, of_dtype(a.dtype), a.shape)
        for name, a in feeds.items()
    ]
    nothing = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(
        [node_of(op_type, feeds, outputs, **attributes)],
        "skip",
        infos,
        [nothing(name) for name in outputs if name],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds), ReferenceEvaluator(model, new_ops=OPS).run(None, feeds)


@each_operator
@pytest.mark.parametrize("skip", [BATCH, BATCH[1:], (1, *BATCH[1:])], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("left_out", [(), ("bias",), ("beta", "bias")], ids=str)
def test_agrees_with_onnx_runtime(op_type, dtype, skip, left_out):
    feeds = inputs_of(op_type, dtype, skip=skip)
    feeds = {name: a for name, a in feeds.items() if name not in left_out}
    theirs, ours = models(op_type, feeds, ["output", "", "", "input_skip_bias_sum"], epsilon=1e-5)
    bound = 8 * np.finfo(dtype).eps
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            a.astype(np.float64), b.astype(np.float64), rtol=bound, atol=bound
        )


@each_operator
def test_the_default_of_epsilon(op_type):
    """1e-12 counts beside a deviation of 1e-6."""
    feeds = inputs_of(op_type, np.float32)
    feeds = {name: a * np.float32(1e-6) for name, a in feeds.items()}
    theirs, ours = models(op_type, feeds, ["output"])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-11)
    explicit = run(op_type, feeds, epsilon=1e-12)
    assert same_bits(ours[0], explicit[0])
    (without,) = run(op_type, feeds, epsilon=0.0)
    assert not np.allclose(ours[0], without, rtol=1e-2, atol=0)


# ---- Converted


@each_operator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("skip", [BATCH, BATCH[1:]], ids=str)
@pytest.mark.parametrize("left_out", [(), ("bias",), ("beta",)], ids=str)
def test_converted_it_has_the_bits_of_the_evaluator(op_type, dtype, skip, left_out):
    feeds = inputs_of(op_type, dtype, skip=skip, mean=3)
    feeds = {name: a for name, a in feeds.items() if name not in left_out}
    # ONNX's statistics are float32.
    named = ["output", *(["inv_std_var"] if dtype == np.float32 else []), "input_skip_bias_sum"]
    outputs = [name if name in named else "" for name in OUTPUTS]
    node = node_of(op_type, feeds, outputs, epsilon=0.5)
    workspace = Workspace(feeds)
    workspace.run(from_node(node, rank=3))
    for name, a in zip(named, backend.run_node(node, [*feeds.values()]), strict=True):
        assert same_bits(workspace[name], a), name


@each_operator
def test_back_to_onnx(op_type):
    feeds = inputs_of(op_type, np.float32, skip=BATCH[1:])
    defs = from_node(node_of(op_type, feeds))
    unused = {name for op_def in defs for name in op_def.outputs} - {"output", "output_sum"}
    nodes = [node for op_def in defs for node in to_nodes(op_def, unused=unused)]
    nothing = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "n", [*map(nothing, feeds)], [nothing("output")])
    evaluator = ReferenceEvaluator(graph, opsets={"": 23}, new_ops=OPS)
    (y,) = evaluator.run(None, feeds)
    np.testing.assert_allclose(y, run(op_type, feeds)[0], rtol=1e-5, atol=1e-6)


@each_operator
@pytest.mark.parametrize("skip", [BATCH, BATCH[1:], (1, *BATCH[1:])], ids=str)
def test_gradients(op_type, skip):
    """Of the output and of the sum together, against central differences."""
    feeds = inputs_of(op_type, np.float64, skip=skip)
    names = ["output", "input_skip_bias_sum"]
    weights = {name: normal(BATCH, np.float64, seed=9 + i) for i, name in enumerate(names)}
    defs = from_node(node_of(op_type, feeds, ["output", "", "", names[1]], epsilon=0.1))
    workspace = Workspace({**feeds, **{f"d_{name}": w for name, w in weights.items()}})
    backward = workspace.add_gradient_operators(defs, {name: f"d_{name}" for name in names})
    workspace.run([*defs, *backward.operators])

    def loss(feeds):
        workspace = Workspace(feeds)
        workspace.run(defs)
        return sum((workspace[name] * w).sum() for name, w in weights.items())

    for name, value in feeds.items():
        direction = normal(value.shape, np.float64, 6)
        up, down = ({**feeds, name: value + h * direction} for h in (1e-5, -1e-5))
        slope = (loss(up) - loss(down)) / 2e-5
        gradient = workspace[backward.gradients[name]]
        assert gradient.shape == value.shape
        np.testing.assert_allclose((gradient * direction).sum(), slope, 1e-6, 1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (node_of("SkipLayerNormalization", {"input": 0}), "has no skip, must have one"),
        (
            node_of("SkipLayerNormalization", dict.fromkeys(NAMES["SkipLayerNormalization"]), k=1),
            "SkipLayerNormalization has attribute 'k', must have epsilon",
        ),
        (
            node_of(
                "SkipSimplifiedLayerNormalization",
                dict.fromkeys(NAMES["SkipSimplifiedLayerNormalization"]),
                OUTPUTS,
            ),
            r"output 1 \(mean\) of SkipSimplifiedLayerNormalization is 'mean', must be",
        ),
        (make_node("Gelu", ["x"], ["y"], domain="com.microsoft"), "com.microsoft.Gelu, must be"),
    ],
)
def test_from_node_errors(node, message):
    with pytest.raises(ValueError, match=f"from_node: .*{message}"):
        from_node(node)


# ---- Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": (8,)}, r"input has rank 1 \(shape \(8,\)\), must have rank 2 or 3"),
        ({"input": (1, 2, 3, 8)}, "input has rank 4"),
        ({"skip": (2, 1, 8)}, r"skip has shape \(2, 1, 8\), must have that of input, \(2, 3, 8\)"),
        ({"skip": (8,)}, r"skip has shape \(8,\), must"),
        ({"gamma": (1,)}, r"gamma has shape \(1,\), must have \(8,\), one value per element of"),
        ({"bias": (1, 8)}, r"bias has shape \(1, 8\), must have \(8,\)"),
    ],
)
@each_operator
def test_errors(op_type, change, message):
    feeds = inputs_of(op_type, np.float32)
    feeds |= {name: np.ones(shape, np.float32) for name, shape in change.items()}
    with pytest.raises(ValueError, match=f"{op_type}: {message}"):
        run(op_type, feeds)


@each_operator
def test_types(op_type):
    feeds = inputs_of(op_type, np.float32)
    with pytest.raises(RuntimeTypeError, match=f"{op_type}-1: skip has dtype bfloat16, must be fl"):
        run(op_type, {**feeds, "skip": feeds["skip"].astype(ml_dtypes.bfloat16)})
    with pytest.raises(RuntimeTypeError, match=f"{op_type}-1: input has dtype int32, must be one"):
        run(op_type, {name: a.astype(np.int32) for name, a in feeds.items()})
    with pytest.raises(ValueError, match=f"{op_type}-1: gamma is None or left out"):
        run(op_type, {name: a for name, a in feeds.items() if name != "gamma"})
