"""Operators on a workspace: the functions' results, where they are written, and every error."""

import normkernels as nk
import numpy as np
import pytest
from conftest import normal, ordered, same_bits
from normkernels import operators
from normkernels.operators import (
    Input,
    OperatorDef,
    OperatorSchema,
    Output,
    TensorShape,
    Workspace,
)

SHAPE = (2, 5, 3, 4)
LRN = {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 2.0}


def run(name, arrays, outputs, **args):
    """The operator's outputs for these inputs, which must come out as they went in."""
    inputs = [f"in{i}" for i in range(len(arrays))]
    names = [f"out{j}" for j in range(outputs)]
    workspace = Workspace(dict(zip(inputs, arrays, strict=True)))
    operators.run_on_device(OperatorDef(name, inputs, names, args), workspace)
    for blob, array in zip(inputs, arrays, strict=True):
        assert same_bits(workspace.fetch(blob), array)
    return [workspace.fetch(blob) for blob in names]


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert same_bits(a, np.asarray(b))


def inputs_for(dtype, channels):
    x, dy = normal(SHAPE, dtype, mean=3), normal(SHAPE, dtype, seed=1)
    return x, dy, normal((channels,), dtype, seed=2), normal((channels,), dtype, seed=3)


# ---- The results are those of the functions


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_layer_norm(dtype, axis):
    x, dy, *_ = inputs_for(dtype, 5)
    gamma, beta = normal(SHAPE[axis:], dtype, seed=2), normal(SHAPE[axis:], dtype, seed=3)
    options = {"axis": axis, "epsilon": 1e-3}
    expected = nk.layer_norm(x, **options, return_stats=True)
    assert_same(run("LayerNorm", [x], 3, **options), expected)
    # Without elementwise_affine gamma and beta are not read.
    assert_same(run("LayerNorm", [x, gamma, beta[..., :1]], 3, **options), expected)
    _, mean, sigma = expected
    gradient = nk.layer_norm_backward(dy, x, mean, sigma, axis=axis)
    saved = [dy, np.full_like(x, np.nan), mean, sigma, x]  # y is not read
    assert_same(run("LayerNormGradient", saved, 1, **options), gradient[:1])
    assert_same(run("LayerNormGradient", saved, 3, **options), gradient)
    assert_same(run("LayerNormGradient", [*saved, gamma], 3, **options), gradient)

    options["elementwise_affine"] = True
    expected = nk.layer_norm(x, gamma, beta, axis=axis, epsilon=1e-3, return_stats=True)
    assert_same(run("LayerNorm", [x, gamma, beta], 3, **options), expected)
    gradient = nk.layer_norm_backward(dy, x, mean, sigma, gamma, axis=axis)
    assert_same(run("LayerNormGradient", [*saved, gamma], 3, **options), gradient)
    assert_same(run("LayerNormGradient", [*saved, gamma], 1, **options), gradient[:1])
    flat = run("LayerNormGradient", [*saved, gamma.reshape(1, -1)], 3, **options)
    assert_same(flat, [gradient.dx, *(g.reshape(1, -1) for g in gradient[1:])])


def test_instance_norm(dtype, order):
    x, dy, scale, bias = inputs_for(dtype, 5 if order == "NCHW" else 4)
    options = {"order": order, "epsilon": 1e-3}
    expected = nk.instance_norm(x, scale, bias, **options, return_stats=True)
    for outputs in (1, 2, 3):
        assert_same(run("InstanceNorm", [x, scale, bias], outputs, **options), expected[:outputs])
    saved = [x, scale, np.full_like(bias, np.nan), dy]  # the bias is not read
    recomputed = nk.instance_norm_backward(dy, x, scale, **options)
    assert_same(run("InstanceNormGradient", saved, 3, **options), recomputed)
    # A mean alone is not used.
    mean, inv_std = expected.mean + 1, expected.inv_std * 2
    assert_same(run("InstanceNormGradient", [*saved, mean], 3, **options), recomputed)
    with_stats = nk.instance_norm_backward(dy, x, scale, mean, inv_std, **options)
    assert_same(run("InstanceNormGradient", [*saved, mean, inv_std], 3, **options), with_stats)
    assert not same_bits(with_stats.dx, recomputed.dx)
    column = run("InstanceNormGradient", [x, scale[:, None], bias, dy], 3, **options)
    assert_same(column, [recomputed.dx, *(g[:, None] for g in recomputed[1:])])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rms_norm(dtype, axis):
    x, dy, *_ = inputs_for(dtype, 5)
    gamma, beta = normal(SHAPE[axis:], dtype, seed=2), normal(SHAPE[axis:], dtype, seed=3)
    y, rstd = nk.rms_norm(x, gamma, beta, axis=axis, epsilon=1e-3, return_stats=True)
    rrms = rstd.reshape(SHAPE[:axis])
    for name in ("eps", "epsilon"):
        options = {"axis": axis, name: 1e-3}
        assert_same(run("RMSNorm", [x, gamma, beta], 2, **options), [y, rrms])
    gradient = nk.rms_norm_backward(dy, x, rstd, gamma, axis=axis)
    assert_same(run("RMSNormGradient", [dy, x, gamma, rrms], 3, **options), gradient)
    flat = run("RMSNormGradient", [dy, x, gamma.reshape(1, -1), rrms], 3, **options)
    assert_same(flat, [gradient.dx, *(g.reshape(1, -1) for g in gradient[1:])])


def test_rms_norm_has_no_epsilon_by_default():
    x, zero = np.float32([[1e-20, 1e-20], [0, 0]]), np.zeros(2, np.float32)
    y, rrms = run("RMSNorm", [x, zero + 1, zero], 2)
    assert_same([y], [np.float32([[1, 1], [0, 0]])])
    assert np.isposinf(rrms[1])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm(dtype, order, groups):
    x, dy, scale, bias = inputs_for(dtype, 4)
    x, dy = (ordered(a[:, :4], order) for a in (x, dy))
    options = {"order": order, "epsilon": 1e-3}
    expected = nk.group_norm(x, groups, scale, bias, **options, return_stats=True)
    for name, outputs in (("group", 1), ("group", 3), ("num_groups", 3)):
        args = {name: groups, **options}
        assert_same(run("GroupNorm", [x, scale, bias], outputs, **args), expected[:outputs])
    _, mean, inv_std = expected
    gradient = nk.group_norm_backward(dy, x, groups, scale, mean, inv_std, order=order)
    saved = [dy, x, scale, np.full_like(bias, np.nan), mean, inv_std]  # the bias is not read
    assert_same(run("GroupNormGradient", saved, 3, **args), gradient)
    saved[2] = scale[:, None]
    column = run("GroupNormGradient", saved, 3, **args)
    assert_same(column, [gradient.dx, *(g[:, None] for g in gradient[1:])])


@pytest.mark.parametrize("size", [1, 3, 4])
def test_lrn(dtype, order, size):
    x, dy, *_ = inputs_for(dtype, 5)
    options = {**LRN, "order": order, "size": size}
    expected = nk.local_response_norm(x, **options, return_scale=True)
    assert_same(run("LRN", [x], 1, **options), expected[:1])
    assert_same(run("LRN", [x], 2, **options), expected)
    dx = nk.local_response_norm_backward(dy, x, y=expected.y, **options)
    assert_same(run("LRNGradient", [x, expected.y, dy], 1, **options), [dx])
    # y is used as it is given.
    dx_of_other_y = nk.local_response_norm_backward(dy, x, y=dy, **options)
    assert_same(run("LRNGradient", [x, dy, dy], 1, **options), [dx_of_other_y])
    assert not same_bits(dx, dx_of_other_y)


def test_sum(dtype):
    a, b, c = (normal(SHAPE, dtype, seed=i) for i in range(3))
    assert_same(run("Sum", [a], 1), [a])
    assert_same(run("Sum", [a, b, c], 1), [(a + b) + c])


@pytest.mark.parametrize(("alpha", "beta"), [(0, 0.75), (0.5, 0), (-0.01, -0.5)])
def test_lrn_takes_any_sign(alpha, beta):
    x, *_ = inputs_for(np.float64, 5)
    options = {"size": 3, "alpha": alpha, "beta": beta, "bias": 2}
    assert_same(run("LRN", [x], 1, **options), [nk.local_response_norm(x, **options)])


def test_lrn_defaults_are_the_originals():
    """alpha and beta 0: y is x."""
    x, *_ = inputs_for(np.float32, 5)
    assert_same(run("LRN", [x], 2, size=3), [x, np.ones_like(x)])


# ---- Orders and devices


def test_order_of_the_call_wins(order):
    """Over the definition's argument, in either case of letters, and over the default."""
    x, _, scale, bias = inputs_for(np.float32, 5)
    x = ordered(x, order)
    expected = nk.instance_norm(x, scale, bias, order=order)
    with_order = getattr(operators, f"run_on_device_with_order_{order.lower()}")
    for args in ({}, {"order": "NCHW"}, {"order": "nhwc"}):
        workspace = Workspace({"x": x, "s": scale, "b": bias})
        op_def = OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"], args)
        with_order(op_def, workspace)
        assert same_bits(workspace.fetch("y"), expected)
        assert dict(op_def.args) == args


def test_layer_norm_has_no_order():
    workspace = Workspace({"x": np.ones((2, 3))})
    op_def = OperatorDef("LayerNorm", ["x"], ["y", "m", "s"])
    for function in (
        operators.run_on_device_with_order_nchw,
        operators.run_on_device_with_order_nhwc,
    ):
        with pytest.raises(ValueError, match=r"^LayerNorm: has no argument 'order', allowed: axis"):
            function(op_def, workspace)


def test_other_devices():
    workspace = Workspace({"x": np.ones((1, 2, 3))})
    op_def = OperatorDef("LRN", ["x"], ["y"], LRN)
    for device in ("cuda", "CPU", "", None):
        with pytest.raises(ValueError, match=f"^LRN: device is {device!r}, must be 'cpu'; no op"):
            operators.run_on_device(op_def, workspace, device=device)
    assert "y" not in workspace
    operators.run_on_device(op_def, workspace, device="cpu")
    assert "y" in workspace


# ---- The workspace


def test_arrays_go_in_and_out_as_copies():
    mine = np.arange(6.0).reshape(2, 3)
    workspace = Workspace()
    workspace["x"] = mine
    fetched = workspace["x"]
    mine[0, 0] = 100
    fetched[0, 1] = 100
    assert np.array_equal(workspace.fetch("x"), np.arange(6.0).reshape(2, 3))
    assert list(workspace) == list(workspace.names()) == ["x"]
    assert "x" in workspace
    assert "y" not in workspace


@pytest.mark.parametrize(
    "value",
    [np.arange(24.0).reshape(4, 6).T, np.arange(6.0)[::-1], np.ones((2, 2), ">f4"), [[1.0, 2.0]]],
    ids=["transposed", "reversed", "swapped", "list"],
)
def test_feeds_what_numpy_makes_an_array_of(value):
    fetched = Workspace({"x": value}).fetch("x")
    assert np.array_equal(fetched, value)
    assert fetched.flags.c_contiguous
    assert fetched.dtype.isnative


def test_names_of_blobs_are_strings():
    with pytest.raises(TypeError, match=r"^Workspace: the name of a blob is 3, must be a string"):
        Workspace()[3] = np.ones(2)


def test_missing_blobs():
    workspace = Workspace({"x": np.ones((1, 2, 3)), "other": np.ones(2)})
    with pytest.raises(operators.UnknownNameError) as error:
        workspace.fetch("y")
    assert str(error.value) == "Workspace: there is no blob 'y'; it has 'x', 'other'"
    with pytest.raises(KeyError) as error:
        workspace.run([OperatorDef("LRNGradient", ["x", "y", "x"], ["dx"], LRN)])
    assert str(error.value) == (
        "LRNGradient: input 1 (y) is blob 'y', which is not in the workspace; it has 'x', 'other'"
    )
    with pytest.raises(operators.UnknownNameError, match="blob 'x'; it has none"):
        Workspace().fetch("x")


def test_nothing_runs_if_a_definition_is_wrong():
    workspace = Workspace({"x": np.ones((1, 2, 3))})
    right = OperatorDef("LRN", ["x"], ["y"], LRN)
    with pytest.raises(ValueError, match="has no argument 'k'"):
        workspace.run([right, OperatorDef("LRN", ["y"], ["z"], {**LRN, "k": 1})])
    assert workspace.names() == ("x",)


def test_in_place(order):
    x, _, scale, bias = inputs_for(np.float32, 5)
    x = ordered(x, order)
    workspace = Workspace({"x": x, "s": scale, "b": bias})
    workspace.run([OperatorDef("InstanceNorm", ["x", "s", "b"], ["x"], {"order": order})])
    assert same_bits(workspace.fetch("x"), nk.instance_norm(x, scale, bias, order=order))
    workspace = Workspace({"x": x, "y": 2 * x})
    workspace.run([OperatorDef("Sum", ["x", "y"], ["x"])])
    assert same_bits(workspace.fetch("x"), 3 * x)


# ---- Where results are written


def test_the_array_that_is_there_is_used(own_registry):
    """If the shape, the dtype and the schema allow it; never one that the operator reads."""
    offered = []

    def run_it(x, *, out):
        offered.append(out[0])
        return np.add(x, 1, out=out[0])

    operators.register_cpu_operator(
        "AddOne",
        schema=OperatorSchema("x + 1.", (Input("x", ""),), (Output("y", ""),), inplace={(0, 0)}),
        run=run_it,
        infer=lambda x: [x],
    )
    workspace = Workspace({"x": np.zeros(3)})
    op_def = OperatorDef("AddOne", ["x"], ["y"])
    workspace.run([op_def])
    workspace.run([op_def])
    workspace.run([OperatorDef("AddOne", ["y"], ["y"])])
    assert offered[0] is None
    assert offered[1] is offered[2] is not None
    assert np.array_equal(workspace.fetch("y"), [2, 2, 2])
    workspace.feed("x", np.zeros(4))  # another shape
    workspace.run([op_def])
    workspace.feed("x", np.zeros(4, np.float32))  # another dtype
    workspace.run([op_def])
    assert offered[3] is offered[4] is None
    assert workspace.fetch("y").dtype == np.float32


@pytest.mark.parametrize(
    ("name", "blobs", "args"),
    [
        ("LayerNorm", {"x": (2, 6)}, {}),
        ("InstanceNorm", {"x": (2, 3, 4), "s": (3,), "b": (3,)}, {}),
        ("RMSNorm", {"x": (2, 6), "s": (6,), "b": (6,)}, {}),
        ("GroupNorm", {"x": (2, 4, 3), "s": (4,), "b": (4,)}, {"group": 2}),
        ("LRN", {"x": (2, 3, 4)}, LRN),
        ("Sum", {"x": (2, 3), "y": (2, 3)}, {}),
    ],
)
def test_a_second_run_of_built_in_operators_goes_into_the_same_array(name, blobs, args):
    workspace = Workspace({blob: normal(shape, np.float32) for blob, shape in blobs.items()})
    outputs = ["out", "mean", "sigma"][: len(operators.schema(name).outputs)]
    op_def = OperatorDef(name, list(blobs), outputs, args)
    workspace.run([op_def])
    array = workspace._blobs["out"]
    first = array.copy()
    array[...] = np.nan
    workspace.run([op_def])
    assert workspace._blobs["out"] is array
    assert same_bits(array, first)


@pytest.mark.parametrize("returned", ["itself", "view", "twice"])
def test_no_two_blobs_share_memory(own_registry, returned):
    def run_it(x, *, out):
        fresh = x + 0
        return {"itself": (x, fresh), "view": (fresh, x[::-1]), "twice": (fresh, fresh)}[returned]

    outputs = (Output("y", ""), Output("z", ""))
    operators.register_cpu_operator(
        "Same", schema=OperatorSchema("", (Input("x", ""),), outputs), run=run_it
    )
    workspace = Workspace({"x": np.arange(3.0)})
    workspace.run([OperatorDef("Same", ["x"], ["y", "z"])])
    blobs = [workspace._blobs[name] for name in ("x", "y", "z")]
    for i, a in enumerate(blobs):
        assert a.flags.c_contiguous
        assert not any(np.shares_memory(a, b) for b in blobs[:i])
    assert np.array_equal(workspace.fetch("x"), np.arange(3.0))


# ---- Operators of one's own that break their word


@pytest.mark.parametrize(
    ("result", "shape", "message"),
    [
        (
            np.ones(2),
            [TensorShape((3,), np.float64)],
            "output 0 (y) has shape (2,) and dtype float",
        ),
        (
            np.ones(3, np.float32),
            [TensorShape((3,), np.float64)],
            "and dtype float32, its tensor in",
        ),
        ([], [TensorShape((3,), np.float64)], "its run function returned 0 arrays, must return 1"),
        (np.ones(3), [], "its tensor inference function gave 0 outputs, must give 1"),
    ],
)
def test_run_and_infer_that_disagree(own_registry, result, shape, message):
    operators.register_cpu_operator(
        "Broken",
        schema=OperatorSchema("", (Input("x", ""),), (Output("y", ""),)),
        run=lambda x, out: result,
        infer=lambda x: shape,
    )
    workspace = Workspace({"x": np.ones(3)})
    with pytest.raises(ValueError, match=r"^Broken: ") as error:
        workspace.run([OperatorDef("Broken", ["x"], ["y"])])
    assert message in str(error.value)
    assert "y" not in workspace


def test_without_inference(own_registry):
    """An operator runs all the same, into new arrays."""
    operators.register_cpu_operator(
        "Total",
        schema=OperatorSchema("", (Input("x", ""),), (Output("y", ""),)),
        run=lambda x, out: x.sum() if out == (None,) else None,
    )
    workspace = Workspace({"x": np.ones(3)})
    op_def = OperatorDef("Total", ["x"], ["y"])
    workspace.run([op_def, op_def])
    assert workspace.fetch("y") == 3
    with pytest.raises(ValueError, match=r"^Total: was registered without a tensor inference func"):
        operators.infer(op_def, [(3,)], [np.float64])
