"""The ONNX operators in the evaluator of the onnx package, and the backend around them."""

import subprocess
import sys

import ml_dtypes
import normkernels as nk
import numpy as np
import onnx
import pytest
import reference
from conftest import normal, same_bits
from normkernels import operators
from normkernels.onnx import (
    LRN,
    OPS,
    InstanceNormalization,
    LayerNormalization,
    backend,
    inherit_onnx_schema,
)
from onnx.helper import make_node, tensor_dtype_to_np_dtype
from onnx.reference.op_run import RuntimeTypeError
from onnx_rounding import assert_rounded, each_type, float32
from reference import FORWARD, LRN_FORWARD, STATISTICS, assert_within, u

# ---- LRN


@each_type
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("shape", [(2, 7, 3), (1, 5, 2, 3), (2, 3, 2, 2, 3, 2)], ids=str)
def test_lrn(dtype, size, shape):
    """N < C, even sizes, any rank from 3."""
    x = normal(shape, dtype)
    y = LRN.eval(x, size=size, alpha=0.5, beta=0.75, bias=2.0)
    folded = x.reshape(*shape[:2], -1).astype(np.float64)
    exact = reference.local_response_norm(folded, size, alpha=0.5, beta=0.75, bias=2.0).y
    assert_rounded(y, reference.reshaped(exact, shape), dtype, LRN_FORWARD)


def test_lrn_defaults():
    x = normal((2, 7, 4, 5), np.float32, std=100)
    expected = nk.local_response_norm(x, 5, alpha=float32(1e-4), beta=0.75, bias=1.0)
    assert same_bits(LRN.eval(x, size=5), expected)


def test_lrn_wants_rank_3():
    with pytest.raises(ValueError, match=r"LRN: X has rank 2 \(shape \(3, 4\)\), must have rank 3"):
        LRN.eval(normal((3, 4), np.float32), size=3)


# ---- InstanceNormalization


@each_type
@pytest.mark.parametrize("shape", [(2, 3, 50), (2, 3, 4, 5), (1, 2, 3, 2, 2, 3)], ids=str)
def test_instance_normalization(dtype, shape):
    x = normal(shape, dtype, mean=3)
    scale, b = normal(shape[1:2], dtype, seed=1), normal(shape[1:2], dtype, seed=2)
    y = InstanceNormalization.eval(x, scale, b, epsilon=2.0**-7)
    wide = [a.astype(np.float64) for a in (x, scale, b)]
    exact = reference.instance_norm(*wide, epsilon=2.0**-7).y
    assert_rounded(y, exact, dtype, FORWARD)


def test_consumed_inputs_of_version_1():
    x, one = normal((2, 3, 4, 5), np.float32), np.ones(3, np.float32)
    node = make_node("InstanceNormalization", ["x", "scale", "b"], ["y"], consumed_inputs=[1, 0, 0])
    (y,) = backend.run_node(node, [x, one, one], opset_version=1)
    assert same_bits(y, nk.instance_norm(x, one, one, epsilon=float32(1e-5)))


# ---- LayerNormalization


@each_type
@pytest.mark.parametrize("axis", [-4, -3, -2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("stash_type", [1, 16])
def test_layer_normalization(dtype, axis, stash_type):
    x = normal((2, 3, 4, 5), dtype, mean=3)
    scale, b = (normal(x.shape[axis:], dtype, seed=seed) for seed in (1, 2))
    y, mean, inv_std_dev = LayerNormalization.eval(
        x, scale, b, n_outputs=3, axis=axis, epsilon=2.0**-7, stash_type=stash_type
    )
    wide = [a.astype(np.float64) for a in (x, scale, b)]
    exact = reference.layer_norm(*wide, axis=axis, epsilon=2.0**-7)
    assert_rounded(y, exact.y, dtype, FORWARD, cast=exact.y.value - wide[2])
    statistics = x.shape[:axis] + (1,) * len(x.shape[axis:])
    inverse = 1 / exact.sigma.value
    for actual, statistic, bound in (
        (mean, exact.mean, STATISTICS),
        (inv_std_dev, reference.Exact(inverse, inverse), STATISTICS + 1),
    ):
        expected = reference.reshaped(statistic, statistics)
        assert_rounded(actual, expected, tensor_dtype_to_np_dtype(stash_type), bound)


def test_layer_normalization_defaults():
    """axis -1, epsilon 1e-5, no B."""
    x, scale = normal((2, 3, 4, 5), np.float32), normal((5,), np.float32, seed=1)
    expected = nk.layer_norm(x, scale, axis=-1, epsilon=float32(1e-5))
    assert same_bits(LayerNormalization.eval(x, scale), expected)


@pytest.mark.parametrize("shape", [(60,), (1,), ()], ids=str)
def test_layer_normalization_of_a_vector(shape):
    x, scale = normal((60,), np.float32), np.float32(2) * np.ones(shape, np.float32)
    expected = nk.layer_norm(x.reshape(1, 60), 2 * np.ones(60, np.float32), epsilon=float32(1e-5))
    assert same_bits(LayerNormalization.eval(x, scale), expected.reshape(60))


@pytest.mark.parametrize("with_b", [False, True])
@pytest.mark.parametrize(
    "shape", [(), (1,), (5,), (4, 1), (1, 1, 5), (1, 1, 4, 1), (2, 1, 1, 1), (3, 4, 5)], ids=str
)
def test_scale_and_b_are_broadcast(shape, with_b):
    """To X; also where they differ from row to row (the last two with axis 2)."""
    x = normal((2, 3, 4, 5), np.float64)
    scale, b = normal(shape, np.float64, seed=1), normal(shape, np.float64, seed=2)
    y = LayerNormalization.eval(x, scale, *([b] if with_b else []), axis=2)
    normalized = nk.layer_norm(x, axis=2, epsilon=float32(1e-5))
    expected = normalized * scale + (b if with_b else 0)
    terms = abs(normalized * scale) + abs(b)
    assert (abs(y - expected) <= 4 * u(np.float64) * terms).all()


def test_double_stays_double():
    """stash_type is the least precision: 1e300 is far beyond it."""
    x = 1e300 * normal((3, 40), np.float64)
    y, mean, inv_std_dev = LayerNormalization.eval(x, np.ones(40), n_outputs=3)
    assert_within(y, reference.layer_norm(x, epsilon=float32(1e-5)).y, FORWARD)
    assert mean.dtype == inv_std_dev.dtype == np.float32
    assert np.isinf(mean).all()
    assert (inv_std_dev == 0).all()


def test_constant_row_without_epsilon():
    _, _, inv_std_dev = LayerNormalization.eval(
        np.ones((1, 4), np.float32), np.ones(4, np.float32), n_outputs=3, epsilon=0.0
    )
    assert np.isposinf(inv_std_dev).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0, 4)], ids=str)
def test_empty(shape):
    y = LayerNormalization.eval(np.zeros(shape, np.float32), np.ones(shape[-1:], np.float32))
    assert y.shape == shape


def test_an_output_left_out_is_no_input():
    """The evaluator stores outputs by name: that of an absent output is that of an absent input."""
    nodes = [
        make_node("LayerNormalization", ["x", "scale"], ["z", "", "inv_std_dev"]),
        make_node("LayerNormalization", ["z", "scale", ""], ["y"]),
    ]
    info = [onnx.helper.make_empty_tensor_value_info(name) for name in ("x", "scale", "y")]
    graph = onnx.helper.make_graph(nodes, "two", info[:2], info[2:])
    x, scale = normal((3, 4), np.float32), normal((4,), np.float32, seed=1)
    evaluator = onnx.reference.ReferenceEvaluator(graph, opsets={"": 17}, new_ops=OPS)
    (y,) = evaluator.run(None, {"x": x, "scale": scale})
    z = nk.layer_norm(x, scale, epsilon=float32(1e-5))
    assert same_bits(y, nk.layer_norm(z, scale, epsilon=float32(1e-5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": 2}, "axis is 2, must be between -2 and 1 for an X of rank 2"),
        ({"axis": -3}, "axis is -3, must be between -2 and 1"),
        ({"stash_type": 10}, r"stash_type is 10, must be 1 \(float32\) or 16 \(bfloat16\)"),
        ({"scale": (3,)}, r"Scale has shape \(3,\), must .* broadcast to that of X, \(3, 4\)"),
        ({"scale": (1, 1, 4)}, r"Scale has shape \(1, 1, 4\), must"),
    ],
)
def test_layer_normalization_errors(change, message):
    scale = np.ones(change.pop("scale", (4,)), np.float32)
    with pytest.raises(ValueError, match=f"LayerNormalization: {message}"):
        LayerNormalization.eval(normal((3, 4), np.float32), scale, **change)


# ---- Types


@pytest.mark.parametrize(
    ("op_type", "attributes", "opset", "dtype", "message"),
    [
        ("LRN", {"size": 3}, 12, ml_dtypes.bfloat16, "LRN-1: X has dtype bfloat16"),
        ("LRN", {"size": 3}, 13, np.int32, "LRN-13: X has dtype int32"),
        ("InstanceNormalization", {}, 21, ml_dtypes.bfloat16, "Normalization-6: input has dtype"),
        ("InstanceNormalization", {}, 22, np.int64, "Normalization-22: input has dtype int64"),
        ("LayerNormalization", {}, 17, np.bool_, "LayerNormalization-17: X has dtype bool"),
    ],
)
def test_types_of_each_version(op_type, attributes, opset, dtype, message):
    count = 1 if op_type == "LRN" else 3
    names = ["a", "b", "c"][:count]
    node = make_node(op_type, names, ["y"], **attributes)
    inputs = [np.ones((2, 3, 4), dtype), np.ones(4, dtype), np.ones(4, dtype)][:count]
    with pytest.raises(RuntimeTypeError, match=rf"{message}.*, must be one of .*float64"):
        backend.run_node(node, inputs, opset_version=opset)


def test_types_must_agree():
    x, scale = normal((3, 4), np.float32), np.ones(4)
    with pytest.raises(RuntimeTypeError, match="Scale has dtype float64, must be float32, the"):
        LayerNormalization.eval(x, scale)


def test_opset_without_the_operator():
    node = make_node("LayerNormalization", ["x", "scale"], ["y"])
    with pytest.raises(onnx.checker.ValidationError, match="LayerNormalization"):
        backend.run_node(node, [np.ones((2, 2), np.float32)] * 2, opset_version=16)


# ---- The backend


def lrn_model():
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3, 4]) for name in "xy"
    )
    graph = onnx.helper.make_graph([make_node("LRN", ["x"], ["y"], size=3)], "lrn", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])


def test_backend_runs_a_model():
    x = normal((2, 3, 4), np.float32)
    expected = nk.local_response_norm(x, 3, alpha=float32(1e-4))
    prepared = backend.prepare(lrn_model())
    for outputs in (prepared.run([x]), prepared.run([x]), backend.run_model(lrn_model(), [x])):
        assert len(outputs) == 1
        assert same_bits(outputs[0], expected)


def test_backend_leaves_other_operators_to_onnx():
    (y,) = backend.run_node(make_node("Relu", ["x"], ["y"]), [np.array([-1.0, 2.0], np.float32)])
    assert np.array_equal(y, [0, 2])


def test_backend_has_only_the_cpu():
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ValueError, match="device is 'CUDA:1', must be 'CPU'"):
        backend.prepare(lrn_model(), "CUDA:1")
    with pytest.raises(ValueError, match="device is 'CUDA', must be 'CPU'"):
        backend.run_node(make_node("Relu", ["x"], ["y"]), [np.ones(1)], "CUDA")


def test_backend_checks_the_number_of_inputs():
    with pytest.raises(ValueError, match="run: 0 inputs are given, must be 1: x"):
        backend.prepare(lrn_model()).run([])


@pytest.mark.parametrize(
    ("op_type", "given", "message"),
    [
        ("LRN", [None], "LRN-13: X is None"),
        ("InstanceNormalization", [None, 3, 3], "Normalization-22: input is None"),
        ("InstanceNormalization", [(2, 3, 4), 3, None], "Normalization-22: B is None"),
        ("LayerNormalization", [(2, 3, 4), None], "LayerNormalization-17: Scale is None"),
        ("LayerNormalization", [None, 4, 4], "LayerNormalization-17: X is None"),
    ],
)
def test_backend_names_an_input_that_is_none(op_type, given, message):
    """Where the operator can do without one, None leaves it out."""
    attributes = {"size": 3} if op_type == "LRN" else {}
    node = make_node(op_type, list("abc")[: len(given)], ["y"], **attributes)
    inputs = [shape and np.ones(shape, np.float32) for shape in given]
    with pytest.raises(ValueError, match=f"{message} or left out, must be an array"):
        backend.run_node(node, inputs, opset_version=22)


def test_backend_takes_none_for_an_optional_input():
    x, scale = normal((3, 4), np.float32), normal((4,), np.float32, seed=1)
    node = make_node("LayerNormalization", ["x", "scale", "b"], ["y"])
    (y,) = backend.run_node(node, [x, scale, None])
    assert same_bits(y, nk.layer_norm(x, scale, epsilon=float32(1e-5)))


def test_an_input_left_out_is_named():
    with pytest.raises(ValueError, match="Normalization-17: Scale is None or left out"):
        LayerNormalization.eval(normal((3, 4), np.float32))


# ---- The schema of LRN


def test_lrn_inherits_from_onnx():
    theirs, own = onnx.defs.get_schema("LRN"), operators.schema("LRN")
    inherited = inherit_onnx_schema("LRN")
    assert inherited.doc == theirs.doc.strip()
    assert inherited.inputs[0].doc == theirs.inputs[0].description
    assert inherited.args["alpha"].doc == theirs.attributes["alpha"].description
    defaults = {name: argument.default for name, argument in inherited.args.items()}
    assert defaults == {"size": 0, "alpha": 1e-4, "beta": 0.75, "bias": 1.0, "order": "NCHW"}
    assert inherited.args["order"] == own.args["order"]
    assert inherited.outputs[1] == own.outputs[1]
    assert operators.schema("LRN") is own
    assert theirs.doc.strip() in str(inherited)


def test_only_operators_of_the_same_name_inherit():
    with pytest.raises(ValueError, match="inherit_onnx_schema: ONNX has no operator 'LayerNorm'"):
        inherit_onnx_schema("LayerNorm")


# ---- Without the onnx package


def test_without_onnx_the_error_names_the_extra():
    program = "import sys; sys.modules['onnx'] = None; import normkernels, normkernels.onnx"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ImportError: normkernels.onnx needs the onnx package: pip install 'normkernels[onnx]'\n"
    )
