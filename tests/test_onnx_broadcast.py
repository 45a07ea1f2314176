"""Scale and B of LayerNormalization in every shape that can be broadcast to that of X: converted,
in the evaluator, and in the evaluator of the onnx package."""

import itertools
import re

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import normal, same_bits
from normkernels import operators
from normkernels.onnx import LayerNormalization, backend, from_node, to_nodes
from normkernels.operators import OperatorDef, Workspace
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from reference import FORWARD, assert_within

X_SHAPES = [(3,), (2, 3), (2, 3, 4), (1, 1, 2), (0, 3), (2, 0, 4)]
EPSILON = 2.0**-17


def broadcast_shapes(shape):
    """All shapes that can be broadcast to this one."""
    ones = itertools.product((False, True), repeat=len(shape))
    full = {tuple(1 if one else n for one, n in zip(mask, shape, strict=True)) for mask in ones}
    return sorted({short[k:] for short in full for k in range(len(shape) + 1)})


def cases(shape):
    """Of shapes of Scale and B, without B, too."""
    shapes = broadcast_shapes(shape)
    yield from itertools.product(shapes, [None, (1,) * len(shape), shape])
    yield from ((shape[-1:], b) for b in shapes)


def feeds_for(shape, scale, b):
    feeds = {"x": normal(shape, np.float32, mean=3), "scale": normal(scale, np.float32, 1)}
    return feeds if b is None else {**feeds, "b": normal(b, np.float32, 2)}


def node_for(feeds, axis):
    return make_node(
        "LayerNormalization", [*feeds], ["y", "mean", "inv"], axis=axis, epsilon=EPSILON
    )


@pytest.mark.parametrize("shape", X_SHAPES, ids=str)
def test_whatever_can_be_broadcast(shape):
    """Converted, it has the bits of the evaluator, and the values of ONNX's own."""
    for axis, (scale, b) in itertools.product(range(-len(shape), len(shape)), cases(shape)):
        feeds, what = feeds_for(shape, scale, b), f"axis {axis}, Scale {scale}, B {b}"
        node = node_for(feeds, axis)
        workspace = Workspace(feeds)
        workspace.run(from_node(node, rank=len(shape)))
        ours = [workspace[name] for name in node.output]
        for a, other in zip(ours, backend.run_node(node, [*feeds.values()]), strict=True):
            assert same_bits(a, other), what
        if ours[0].size == 0:
            continue  # ONNX's own evaluator does not do these
        theirs = ReferenceEvaluator(node).run(None, feeds)
        for a, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, other, rtol=1e-4, atol=1e-5, err_msg=what)


@pytest.mark.parametrize("axis", [1, -1])
def test_a_row_has_the_bits_of_layer_norm(dtype, axis):
    shape = (2, 3, 4)
    x, scale, b = (normal(s, dtype, seed) for seed, s in enumerate((shape, shape[axis:], (1,))))
    defs = from_node(make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis))
    workspace = Workspace({"x": x, "s": scale, "b": b})
    workspace.run(defs)
    epsilon = float(np.float32(1e-5))
    beta = np.broadcast_to(b, shape[axis:])
    assert same_bits(workspace["y"], nk.layer_norm(x, scale, beta, axis=axis, epsilon=epsilon))


def test_scale_per_channel():
    """As instance norm has it: axis 1 and a Scale of (1, C, 1, 1)."""
    x, scale = normal((2, 3, 4, 5), np.float32), normal((1, 3, 1, 1), np.float32, 1)
    node = make_node("LayerNormalization", ["x", "s", "s"], ["y"], axis=1)
    workspace = Workspace({"x": x, "s": scale})
    workspace.run(from_node(node))
    gamma = np.broadcast_to(scale[0], (3, 4, 5))
    exact = reference.layer_norm(x, gamma, gamma, axis=1, epsilon=float(np.float32(1e-5)))
    assert_within(workspace["y"], exact.y, FORWARD)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)], ids=str)
def test_gradients(shape):
    """Those of Scale and B are summed to their shapes: against central differences."""
    weights = normal(shape, np.float64, 5)
    for axis, (scale, b) in itertools.product(range(-len(shape), len(shape)), cases(shape)):
        feeds = {name: a.astype(np.float64) for name, a in feeds_for(shape, scale, b).items()}
        defs = from_node(node_for(feeds, axis), rank=len(shape))
        workspace = Workspace({**feeds, "dy": weights})
        backward = workspace.add_gradient_operators(defs[:1], {"y": "dy"})
        workspace.run([*defs, *backward.operators])

        def loss(feeds, defs=defs):
            workspace = Workspace(feeds)
            workspace.run(defs)
            return (workspace["y"] * weights).sum()

        for name, value in feeds.items():
            gradient = workspace[backward.gradients[name]]
            assert gradient.shape == value.shape
            direction = normal(value.shape, np.float64, 6)
            up, down = ({**feeds, name: value + h * direction} for h in (1e-5, -1e-5))
            slope = (loss(up) - loss(down)) / 2e-5
            what = f"{name}: axis {axis}, Scale {scale}, B {b}"
            np.testing.assert_allclose(
                (gradient * direction).sum(), slope, 1e-6, 1e-7, err_msg=what
            )


def test_back_to_onnx():
    feeds = feeds_for((2, 3, 4), (3, 1), None)
    node = node_for(feeds, 1)
    (op_def, *_) = from_node(node, rank=3)
    assert op_def.type == "onnx.LayerNorm"
    (again,) = to_nodes(op_def, unused=op_def.outputs[1:])
    workspace = Workspace(feeds)
    workspace.run([op_def])
    (y,) = backend.run_node(again, [*feeds.values()])
    assert same_bits(y, workspace["y"])


@pytest.mark.parametrize(
    "wrong",
    [(2,), (5,), (4, 1), (1, 1, 2, 1), (2, 3, 4, 1), (1, 1, 1, 4), (3, 3, 4), (0,)],
    ids=str,
)
@pytest.mark.parametrize("which", ["scale", "b"])
def test_shapes_that_cannot_be_broadcast(which, wrong):
    """Also those of more dimensions than X has: X itself is not broadcast."""
    feeds = {"x": normal((2, 3, 4), np.float32), "scale": np.ones(4, np.float32)}
    feeds = {**feeds, "b": feeds["scale"], which: np.ones(wrong, np.float32)}
    position, name = (1, "Scale") if which == "scale" else (2, "B")
    message = re.escape(f"has shape {wrong}, must have one that can be broadcast to ")
    node = make_node("LayerNormalization", [*feeds], ["y"], axis=1)
    defs = from_node(node)
    with pytest.raises(
        ValueError, match=rf"^onnx.LayerNorm: input {position} \({which}\) {message}"
    ):
        operators.infer(defs[0], [a.shape for a in feeds.values()], [np.float32] * 3)
    with pytest.raises(
        ValueError, match=rf"^onnx.LayerNorm: input {position} \({which}\) {message}"
    ):
        Workspace(feeds).run(defs)
    with pytest.raises(ValueError, match=f"^LayerNormalization: {name} {message}"):
        LayerNormalization.eval(*feeds.values(), axis=1)


def test_the_gradient_has_an_output_for_each_parameter():
    for inputs, outputs in ((5, 3), (6, 2)):
        op_def = OperatorDef(
            "onnx.LayerNormGradient",
            [f"in{i}" for i in range(inputs)],
            [f"out{j}" for j in range(outputs)],
        )
        with pytest.raises(ValueError, match=r"must have output 2 \(db\) if, and only if"):
            operators.schema(op_def.type).verify(op_def)
