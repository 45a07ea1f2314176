"""RMSNormalization, GroupNormalization and MeanVarianceNormalization in the evaluator of the onnx
package."""

import itertools

import ml_dtypes
import normkernels as nk
import numpy as np
import onnx
import pytest
import reference
from conftest import normal, same_bits
from normkernels.onnx import (
    OPS,
    GroupNormalization,
    LayerNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
    backend,
    from_node,
)
from normkernels.operators import Workspace
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import RuntimeTypeError
from onnx_rounding import TYPES, assert_rounded, each_type, float32
from reference import FORWARD, Exact, assert_within, u

EPSILON = 2.0**-7
SHAPE = (2, 6, 4, 5)
STASH_TYPES = {1: np.float32, 10: np.float16, 11: np.float64, 16: ml_dtypes.bfloat16}
each_stash_type = pytest.mark.parametrize("stash_type", STASH_TYPES)


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


# ---- RMSNormalization


@each_type
@each_stash_type
@pytest.mark.parametrize("axis", [-4, -1, 0, 2])
def test_rms_normalization(dtype, axis, stash_type):
    x, scale = normal(SHAPE, dtype, mean=3), normal(SHAPE[axis:], dtype, seed=1)
    y = RMSNormalization.eval(x, scale, axis=axis, epsilon=EPSILON, stash_type=stash_type)
    exact = reference.rms_norm(*wide(x, scale), axis=axis, epsilon=EPSILON).y
    assert_rounded(y, exact, dtype, FORWARD, cast=exact.value)


@pytest.mark.parametrize(("of_x", "of_scale"), [*itertools.permutations(TYPES, 2)])
def test_y_has_the_type_of_scale(of_x, of_scale):
    """What is normalised is cast to it first; without a scale that is all."""
    x, one = normal((3, 40), of_x, mean=3), np.ones(40, of_scale)
    y = RMSNormalization.eval(x, one, epsilon=EPSILON)
    computed = np.float64 if of_x == np.float64 else np.float32
    expected = nk.rms_norm(x.astype(computed), epsilon=EPSILON).astype(of_scale)
    assert same_bits(y, expected)
    scaled = RMSNormalization.eval(x, 3 * one, epsilon=EPSILON)
    exact_product = 3 * expected.astype(np.float64)
    assert same_bits(scaled, exact_product.astype(of_scale))


@pytest.mark.parametrize("half", TYPES[:2])
def test_half_types_are_cast_before_they_are_scaled(half):
    """Bit for bit what ONNX says: normalised in float32, cast, scaled, rounded."""
    x = normal((3, 6, 40), half, mean=3)
    scale, b = normal((40,), half, 1), normal((40,), half, 2)
    wide_scale, wide_b = scale.astype(np.float32), b.astype(np.float32)
    epsilon = float32(1e-5)
    unit = nk.rms_norm(x, epsilon=epsilon).astype(np.float32)
    assert same_bits(RMSNormalization.eval(x, scale), (unit * wide_scale).astype(half))
    unit = nk.layer_norm(x, axis=-1, epsilon=epsilon).astype(np.float32)
    expected = (unit * wide_scale + wide_b).astype(half)
    assert same_bits(LayerNormalization.eval(x, scale, b), expected)
    x = np.moveaxis(x, 2, 1)
    unit = nk.group_norm(x, 4, epsilon=epsilon).astype(np.float32)
    expected = (unit * wide_scale[:, None] + wide_b[:, None]).astype(half)
    assert same_bits(GroupNormalization.eval(x, scale, b, num_groups=4), expected)


def test_rms_normalization_defaults():
    """axis -1, epsilon 1e-5."""
    x, scale = normal((2, 3, 4, 5), np.float32), normal((5,), np.float32, seed=1)
    expected = nk.rms_norm(x, scale, epsilon=float32(1e-5))
    assert same_bits(RMSNormalization.eval(x, scale), expected)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (1, 1, 5), (2, 1, 1, 1), (6, 4, 5)])
def test_scale_is_broadcast(shape):
    """To X; also where it differs from row to row (the last two with axis 2)."""
    x, scale = normal(SHAPE, np.float64), normal(shape, np.float64, seed=1)
    y = RMSNormalization.eval(x, scale, axis=2)
    expected = nk.rms_norm(x, axis=2, epsilon=float32(1e-5)) * scale
    np.testing.assert_allclose(y, expected, rtol=4 * u(np.float64))


def test_the_types_of_rms_normalization():
    x, scale = np.ones((2, 3), np.int32), np.ones(3, np.float32)
    with pytest.raises(RuntimeTypeError, match=r"RMSNormalization-23: X has dtype int32, must be"):
        RMSNormalization.eval(x, scale)
    with pytest.raises(RuntimeTypeError, match=r"RMSNormalization-23: scale has dtype int32, must"):
        RMSNormalization.eval(scale[None], x[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": 2}, "axis is 2, must be between -2 and 1 for an X of rank 2"),
        ({"stash_type": 6}, r"stash_type is 6, must be 1 \(float32\) or 10 \(float16\) or 11 \(fl"),
        ({"scale": (3,)}, r"scale has shape \(3,\), must .* broadcast to that of X, \(3, 4\)"),
    ],
)
def test_rms_normalization_errors(change, message):
    scale = np.ones(change.pop("scale", (4,)), np.float32)
    with pytest.raises(ValueError, match=f"RMSNormalization: {message}"):
        RMSNormalization.eval(normal((3, 4), np.float32), scale, **change)


@pytest.mark.parametrize("scale", [(5,), (4, 5), (1, 1), (2, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("axis", [-1, 2])
def test_gradients_of_rms_normalization(scale, axis):
    """That of scale is summed to its shape; against central differences."""
    feeds = {"x": normal((2, 3, 4, 5), np.float64), "s": normal(scale, np.float64, 1)}
    weights = normal((2, 3, 4, 5), np.float64, 2)
    defs = from_node(make_node("RMSNormalization", ["x", "s"], ["y"], axis=axis, epsilon=0.125))
    workspace = Workspace({**feeds, "dy": weights})
    backward = workspace.add_gradient_operators(defs, {"y": "dy"})
    workspace.run([*defs, *backward.operators])

    def loss(feeds):
        workspace = Workspace(feeds)
        workspace.run(defs)
        return (workspace["y"] * weights).sum()

    for name, value in feeds.items():
        direction = normal(value.shape, np.float64, 6)
        up, down = ({**feeds, name: value + h * direction} for h in (1e-5, -1e-5))
        slope = (loss(up) - loss(down)) / 2e-5
        gradient = workspace[backward.gradients[name]]
        assert gradient.shape == value.shape
        np.testing.assert_allclose((gradient * direction).sum(), slope, 1e-6, 1e-7, err_msg=name)


# ---- GroupNormalization


def run_group_normalization(opset, *inputs, **attributes):
    """Version 18 is deprecated: onnx's checker, and so our backend, refuses it."""
    node = make_node("GroupNormalization", ["x", "s", "b"], ["y"], **attributes)
    nothing = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph([node], "group", [nothing(k) for k in "xsb"], [nothing("y")])
    evaluator = ReferenceEvaluator(graph, opsets={"": opset}, new_ops=OPS)
    return evaluator.run(None, dict(zip("xsb", inputs, strict=True)))[0]


@each_type
@each_stash_type
@pytest.mark.parametrize("shape", [(2, 6, 50), (2, 6, 4, 5), (3, 6), (1, 6, 3, 2, 2, 3)], ids=str)
def test_group_normalization(dtype, shape, stash_type):
    x = normal(shape, dtype, mean=3)
    scale, b = normal((6,), dtype, seed=1), normal((6,), dtype, seed=2)
    options = {"epsilon": EPSILON, "stash_type": stash_type}
    for groups in (1, 2, 6):
        y = GroupNormalization.eval(x, scale, b, num_groups=groups, **options)
        exact = reference.group_norm(*wide(x)[:1], groups, *wide(scale, b), epsilon=EPSILON).y
        each = b.reshape(6, *(1 for _ in shape[2:])).astype(np.float64)
        assert_rounded(y, exact, dtype, FORWARD, cast=exact.value - each)


def test_groups_at_an_offset_of_1e4():
    x = normal((2, 12, 16, 16), np.float32, mean=1e4)
    scale, b = (normal((12,), np.float32, seed=seed) for seed in (1, 2))
    y = GroupNormalization.eval(x, scale, b, num_groups=4)
    exact = reference.group_norm(x, 4, scale, b, epsilon=float32(1e-5)).y
    assert_within(y, exact, FORWARD)


@each_type
def test_group_normalization_18_has_parameters_of_groups(dtype):
    x, groups = normal(SHAPE, dtype, mean=3), 3
    scale, b = (normal((groups,), dtype, seed=seed) for seed in (1, 2))
    y = run_group_normalization(18, x, scale, b, num_groups=groups)
    channels = [np.repeat(a, 2) for a in (scale, b)]
    assert same_bits(y, GroupNormalization.eval(x, *channels, num_groups=groups))
    with pytest.raises(ValueError, match=r"scale has shape \(6,\), must have \(3,\), one value pe"):
        run_group_normalization(20, x, *channels, num_groups=groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_groups": 4}, r"num_groups is 4, must divide 6, the number of .* \(2, 6, 5\)"),
        ({"num_groups": 0}, "num_groups is 0, must divide 6"),
        ({"stash_type": 7}, "stash_type is 7, must be 1"),
        ({"x": (6,)}, r"X has rank 1 \(shape \(6,\)\), must have rank 2 or more"),
        ({"scale": (3,)}, r"scale has shape \(3,\), must have \(6,\), one value per channel of X"),
        ({"bias": (6, 1)}, r"bias has shape \(6, 1\), must have \(6,\)"),
    ],
)
def test_group_normalization_errors(change, message):
    shapes = {"x": (2, 6, 5), "scale": (6,), "bias": (6,)}
    inputs = [np.ones(change.pop(name, shape), np.float32) for name, shape in shapes.items()]
    with pytest.raises(ValueError, match=f"GroupNormalization: {message}"):
        GroupNormalization.eval(*inputs, **{"num_groups": 3, **change})


# ---- MeanVarianceNormalization


def exact_mvn(x, axes):
    """By the formula, in twice the precision; the 1e-9 is outside the root."""
    x = x.astype(np.longdouble)
    centred = x - x.mean(axes, keepdims=True)
    std = np.sqrt((centred**2).mean(axes, keepdims=True))
    y = centred / (std + np.longdouble(1e-9))
    return Exact(y, np.maximum(1, abs(y)))


@each_type
@pytest.mark.parametrize("axes", [None, (1,), (-1, 0), (0, 1, 2, 3), (3, 1)], ids=str)
def test_mean_variance_normalization(dtype, axes):
    x = normal(SHAPE, dtype, mean=3)
    attributes = {} if axes is None else {"axes": axes}
    y = MeanVarianceNormalization.eval(x, **attributes)
    assert_rounded(y, exact_mvn(x, axes or (0, 2, 3)), dtype, FORWARD)


@each_type
@pytest.mark.parametrize("std", [1e-7, 1e-9])
def test_what_is_added_to_a_small_deviation(dtype, std):
    """Where it counts, half types are rounded before and after."""
    x = normal((2, 50), np.float64, std=std).astype(dtype)
    y = MeanVarianceNormalization.eval(x, axes=[1])
    exact = exact_mvn(x, (1,))
    assert_rounded(y, exact, dtype, FORWARD + 4, cast=exact.value)


@each_type
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_what_is_constant_gives_0(dtype, value):
    x = np.full((2, 3, 7, 5), value, dtype)
    assert same_bits(MeanVarianceNormalization.eval(x), np.zeros_like(x))


def test_what_is_huge():
    """A deviation that float32 does not have is no reason for NaN."""
    x = np.float32([[3e38, -3e38, 3e38, -3e38], [0, 0, 0, 4e-45]])
    y = MeanVarianceNormalization.eval(x, axes=[1])
    assert same_bits(y[0], np.float32([1, -1, 1, -1]))
    assert np.isfinite(y[1]).all()


def test_planes_at_an_offset_of_1e4():
    x = normal((2, 3, 16, 16), np.float32, mean=1e4)
    assert_within(MeanVarianceNormalization.eval(x), exact_mvn(x, (0, 2, 3)), FORWARD)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([3], r"axes is \[3\], must have axes between -3 and 2 for an X of rank 3"),
        ([0, -3], r"axes is \[0, -3\], must name one axis or more, each once"),
        ([], r"axes is \[\], must name one axis or more"),
    ],
)
def test_mean_variance_normalization_errors(axes, message):
    x = normal((2, 3, 4), np.float32)
    axes = onnx.helper.make_attribute("axes", axes, attr_type=onnx.AttributeProto.INTS)
    node = make_node("MeanVarianceNormalization", ["x"], ["y"])
    node.attribute.append(axes)
    with pytest.raises(ValueError, match=f"MeanVarianceNormalization: {message}"):
        backend.run_node(node, [x])


def test_bfloat16_from_version_13_on():
    node = make_node("MeanVarianceNormalization", ["x"], ["y"], axes=[1])
    x = np.ones((2, 3), ml_dtypes.bfloat16)
    (y,) = backend.run_node(node, [x], opset_version=13)
    assert same_bits(y, np.zeros_like(x))
    message = r"MeanVarianceNormalization-9: X has dtype bfloat16, must be one of .*float64"
    with pytest.raises(RuntimeTypeError, match=message):
        backend.run_node(node, [x], opset_version=12)
