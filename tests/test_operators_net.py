"""Nets of operators, forward and backward: the functions' bits, and right by differences."""

import re
import subprocess
import sys
from pathlib import Path

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import normal, ordered, same_bits
from normkernels import operators
from normkernels.operators import OperatorDef, Workspace
from snippets import blocks

DOCS = Path(__file__).parent.parent / "docs" / "operators.md"

SHAPE = (2, 4, 3, 2)
EPSILON = 1e-3
LRN = {"size": 3, "alpha": 0.8, "beta": 0.75, "bias": 1.5}
PARAMETERS = {"s": (4,), "b": (4,), "g": (24,), "h": (24,)}


def three_layers(order, stats=2):
    """Instance norm, LRN, layer norm with gamma and beta."""
    saved = ["in_mean", "in_inv_std"][:stats]
    return [
        OperatorDef(
            "InstanceNorm", ["x", "s", "b"], ["u", *saved], {"order": order, "epsilon": EPSILON}
        ),
        OperatorDef("LRN", ["u"], ["v"], {**LRN, "order": order}),
        OperatorDef(
            "LayerNorm",
            ["v", "g", "h"],
            ["y", "mean", "sigma"],
            {"epsilon": EPSILON, "elementwise_affine": True},
        ),
    ]


def feeds(dtype, order):
    x, dy = normal(SHAPE, dtype, mean=2), normal(SHAPE, dtype, seed=1)
    parameters = {
        name: normal(shape, dtype, seed=2 + i) for i, (name, shape) in enumerate(PARAMETERS.items())
    }
    return {"x": ordered(x, order), "dy": ordered(dy, order), **parameters}


def by_functions(blobs, order, stats=2):
    """The same net written with the functions: y and all gradients."""
    x, dy, s, b, g, h = blobs.values()
    options = {"order": order, "epsilon": EPSILON}
    u, *saved = nk.instance_norm(x, s, b, **options, return_stats=True)
    v = nk.local_response_norm(u, order=order, **LRN)
    y, mean, sigma = nk.layer_norm(v, g, h, epsilon=EPSILON, return_stats=True)
    v_grad, g_grad, h_grad = nk.layer_norm_backward(dy, v, mean, sigma, g)
    u_grad = nk.local_response_norm_backward(v_grad, u, y=v, order=order, **LRN)
    saved = saved if stats == 2 else [None, None]
    x_grad, s_grad, b_grad = nk.instance_norm_backward(u_grad, x, s, *saved, **options)
    return {
        "y": y,
        "x": x_grad,
        "s": s_grad,
        "b": b_grad,
        "u": u_grad,
        "v": v_grad,
        "g": g_grad.reshape(g.shape),
        "h": h_grad.reshape(h.shape),
    }


@pytest.mark.parametrize("stats", [0, 1, 2])
def test_the_net_has_the_bits_of_the_functions(isa, dtype, order, stats):
    blobs = feeds(dtype, order)
    net = three_layers(order, stats)
    workspace = Workspace(blobs)
    backward = workspace.add_gradient_operators(net, {"y": "dy"})
    assert [op_def.type for op_def in backward.operators] == [
        "LayerNormGradient",
        "LRNGradient",
        "InstanceNormGradient",
    ]
    for _ in range(2):  # the second time into the arrays of the first
        workspace.run([*net, *backward.operators])
        expected = by_functions(blobs, order, stats)
        assert same_bits(workspace.fetch("y"), expected.pop("y"))
        assert set(backward.gradients) == {*expected, "y"}
        for blob, gradient in expected.items():
            assert backward.gradients[blob] == f"{blob}_grad"
            assert same_bits(workspace.fetch(f"{blob}_grad"), gradient), blob
    for blob, array in blobs.items():
        assert same_bits(workspace.fetch(blob), array)


def assert_right_by_differences(net, blobs, loss, wanted):
    """All gradients of sum(dy * loss) against central differences.

    With step h they are off by h^2 times a third derivative, and by u / h of what the forward
    rounds: 1e-10 each for h = 1e-5 and values of about 1.
    """
    workspace = Workspace(blobs)
    backward = workspace.add_gradient_operators(net, {loss: "dy"})
    workspace.run([*net, *backward.operators])

    def forward(blob, value):
        other = Workspace({**blobs, blob: value})
        other.run(net)
        return other.fetch(loss)

    for blob in wanted:
        numeric = reference.numeric_gradient(
            lambda value, blob=blob: forward(blob, value), blobs[blob], blobs["dy"], h=1e-5
        )
        gradient = workspace.fetch(backward.gradients[blob])
        assert np.abs(numeric).max() > 0.1, blob
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-8, err_msg=blob)


def test_the_net_is_right_by_differences(order):
    blobs = feeds(np.float64, order)
    assert_right_by_differences(three_layers(order), blobs, "y", ["x", *PARAMETERS])


def test_group_and_rms_norm_are_right_by_differences(order):
    net = [
        OperatorDef(
            "GroupNorm",
            ["x", "s", "b"],
            ["u", "u_mean", "u_inv_std"],
            {"group": 2, "order": order, "epsilon": EPSILON},
        ),
        OperatorDef("RMSNorm", ["u", "g", "h"], ["y", "rrms"], {"eps": EPSILON}),
    ]
    assert_right_by_differences(net, feeds(np.float64, order), "y", ["x", *PARAMETERS])


def test_paths_that_part_and_meet():
    """u is read by three operators, x by two, and s is the scale of both instance norms."""
    net = [
        *three_layers("NCHW"),
        OperatorDef("LRN", ["u"], ["w", "w_scale"], {**LRN, "size": 4}),
        OperatorDef("InstanceNorm", ["x", "s", "s"], ["q"], {"order": "NCHW"}),
        OperatorDef("Sum", ["y", "u", "w", "q"], ["z"]),
    ]
    blobs = feeds(np.float64, "NCHW")
    assert_right_by_differences(net, blobs, "z", ["x", *PARAMETERS])
    types = [op.type for op in Workspace(blobs).add_gradient_operators(net, {"z": "dy"}).operators]
    assert types == [
        "InstanceNormGradient",
        "LRNGradient",
        "LayerNormGradient",
        "LRNGradient",
        "Sum",
        "InstanceNormGradient",
        "Sum",
        "Sum",
    ]


def test_sums_in_place():
    net = [
        OperatorDef("LRN", ["x"], ["a"], LRN),
        OperatorDef("LRN", ["a"], ["c"], LRN),
        OperatorDef("Sum", ["c", "a"], ["c"]),
        OperatorDef("LayerNorm", ["c"], ["y", "mean", "sigma"]),
    ]
    blobs = {name: feeds(np.float64, "NCHW")[name] for name in ("x", "dy")}
    with pytest.raises(
        ValueError, match=r"^LRN: its gradient reads blob 'c', which is overwritten"
    ):
        Workspace().add_gradient_operators(net, {"y": "dy"})
    net[2] = OperatorDef("Sum", ["c", "a"], ["d"])
    net[3:3] = [OperatorDef("Sum", ["d", "d", "x"], ["e"]), OperatorDef("Sum", ["e", "a"], ["e"])]
    net[-1] = OperatorDef("LayerNorm", ["e"], ["y", "mean", "sigma"])
    assert_right_by_differences(net, blobs, "y", ["x"])


def test_import_is_not_slower():
    """The operator layer is loaded by who asks for it."""
    code = (
        "import sys, normkernels; "
        "assert not [m for m in sys.modules if m.startswith('normkernels.operators')]; "
        "from normkernels import operators; "
        "assert operators.names()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- docs/operators.md


def test_the_example_of_an_own_operator_is_short_and_complete(tmp_path):
    """A definition with its gradient in 20 lines, which runs by itself."""
    (block,) = (block for block in blocks(DOCS, "python") if "register_gradient(" in block)
    definition = block.split("\n\n\n")[0]
    assert len([line for line in definition.splitlines() if line.strip()]) <= 20
    subprocess.run([sys.executable, "-W", "error", "-c", block], check=True, cwd=tmp_path)


def test_the_docs_show_the_help_as_it_is():
    assert f"```\n{operators.schema('LRN')}\n```" in DOCS.read_text()


def test_the_docs_name_every_public_name():
    text = DOCS.read_text()
    missing = [name for name in operators.__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing
