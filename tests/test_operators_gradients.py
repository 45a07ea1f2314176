"""Which gradient operators a definition and a net give, and how they are wired."""

import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import Input, OperatorDef, OperatorSchema, Output, Workspace

LRN = {"size": 5, "alpha": 1, "beta": 0.75, "order": "nhwc"}


def backward_of(net, gradients, fed=()):
    return Workspace(dict.fromkeys(fed, 0)).add_gradient_operators(net, gradients)


# ---- One operator: inputs, outputs, arguments; gradient's inputs and outputs

INPUTS = ["x", "s", "b"]
AFFINE = {"elementwise_affine": True, "axis": -1, "epsilon": 0.5}
WIRING = [
    ("LayerNorm", ["x"], ["y", "m", "v"], {}, ["dy", "y", "m", "v", "x"], ["x_grad"]),
    ("LayerNorm", INPUTS, ["y", "m", "v"], {"axis": 2}, ["dy", "y", "m", "v", "x"], ["x_grad"]),
    (
        "LayerNorm",
        INPUTS,
        ["y", "m", "v"],
        AFFINE,
        ["dy", "y", "m", "v", "x", "s"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    (
        "InstanceNorm",
        INPUTS,
        ["y"],
        {"epsilon": 0.5},
        ["x", "s", "b", "dy"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    (
        "InstanceNorm",
        INPUTS,
        ["y", "m"],
        {"order": "nhwc"},
        ["x", "s", "b", "dy", "m"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    (
        "InstanceNorm",
        INPUTS,
        ["y", "m", "v"],
        {"order": "NHWC", "epsilon": 0},
        ["x", "s", "b", "dy", "m", "v"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    (
        "RMSNorm",
        INPUTS,
        ["y", "r"],
        {"axis": -1, "epsilon": 0.5},
        ["dy", "x", "s", "r"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    (
        "GroupNorm",
        INPUTS,
        ["y", "m", "v"],
        {"num_groups": 2, "order": "NHWC", "is_test": False},
        ["dy", "x", "s", "b", "m", "v"],
        ["x_grad", "s_grad", "b_grad"],
    ),
    ("LRN", ["x"], ["y"], LRN, ["x", "y", "dy"], ["x_grad"]),
    ("LRN", ["x"], ["y", "scale"], LRN, ["x", "y", "dy"], ["x_grad"]),
]


@pytest.mark.parametrize("others_given", [False, True])
@pytest.mark.parametrize("case", WIRING, ids=lambda case: f"{case[0]}-{len(case[2])}-{case[3]}")
def test_wiring(case, others_given):
    """The gradients of further outputs are ignored: what was saved counts as constant."""
    name, inputs, outputs, args, gradient_inputs, gradient_outputs = case
    others = [f"d{output}" if others_given else None for output in outputs[1:]]
    defs, gradients = operators.get_gradient_defs(
        OperatorDef(name, inputs, outputs, args), ["dy", *others]
    )
    assert defs == (OperatorDef(f"{name}Gradient", gradient_inputs, gradient_outputs, args),)
    expected = [f"{blob}_grad" for blob in inputs]
    assert gradients == tuple(blob if blob in gradient_outputs else None for blob in expected)
    schema = operators.schema(f"{name}Gradient")
    assert schema.verify(defs[0])  # which accepts every argument of the forward operator


def test_sum_passes_its_gradient_on():
    op_def = OperatorDef("Sum", ["a", "b", "a"], ["y"])
    assert operators.get_gradient_defs(op_def, ["dy"]) == ((), ("dy", "dy", "dy"))


def test_one_blob_as_two_inputs():
    op_def = OperatorDef("InstanceNorm", ["x", "s", "s"], ["y"])
    defs, gradients = operators.get_gradient_defs(op_def, ["dy"])
    assert gradients == defs[0].outputs == ("x_grad", "s_grad", "s_grad_2")


@pytest.mark.parametrize("case", WIRING, ids=lambda case: f"{case[0]}-{len(case[2])}")
def test_gradient_of_output_0_is_needed(case):
    name, inputs, outputs, args, *_ = case
    op_def = OperatorDef(name, inputs, outputs, args)
    message = rf"^{name}: the gradient of output 0 \(y\), blob 'y', is not given"
    with pytest.raises(ValueError, match=message):
        operators.get_gradient_defs(op_def, [None, *(f"d{blob}" for blob in outputs[1:])])
    for wrong in ([], ["dy"] * (len(outputs) + 1)):
        message = f"^{name}: gradient_outputs has {len(wrong)} entries, must have {len(outputs)},"
        with pytest.raises(ValueError, match=message):
            operators.get_gradient_defs(op_def, wrong)


def test_a_gradient_needs_a_right_definition():
    with pytest.raises(ValueError, match=r"^LayerNorm: has 2 inputs, must have 1 or 3$"):
        operators.get_gradient_defs(OperatorDef("LayerNorm", ["x", "g"], ["y", "m", "s"]), ["dy"])
    with pytest.raises(
        operators.UnknownNameError, match=r"^Lrn: no such operator; did you .*'LRN'"
    ):
        operators.get_gradient_defs(OperatorDef("Lrn", ["x"], ["y"]), ["dy"])


def test_a_gradient_that_reads_an_output_that_is_not_there():
    message = r"^GroupNorm: has 1 outputs, must have output 1 \(mean\) for its gradient"
    with pytest.raises(ValueError, match=message):
        operators.get_gradient_defs(OperatorDef("GroupNorm", INPUTS, ["y"]), ["dy"])


@pytest.mark.parametrize("name", sorted({f"{case[0]}Gradient" for case in WIRING}))
def test_gradients_have_none(name):
    schema = operators.schema(name)
    args = {"size": 3} if name == "LRNGradient" else {}
    inputs, outputs = ([item.name for item in items] for items in (schema.inputs, schema.outputs))
    with pytest.raises(ValueError, match=f"^{name}: has no gradient$"):
        operators.get_gradient_defs(OperatorDef(name, inputs, outputs, args), ["d"] * len(outputs))


def test_no_gradient_registered(own_registry):
    schema = OperatorSchema("", (Input("x", ""),), (Output("y", ""),))
    operators.register_cpu_operator("Id", schema=schema, run=lambda x, out: x)
    with pytest.raises(ValueError, match=r"^Id: no gradient is registered"):
        operators.get_gradient_defs(OperatorDef("Id", ["x"], ["y"]), ["dy"])
    with pytest.raises(ValueError, match=r"^Id: no gradient is registered"):
        backward_of([OperatorDef("Id", ["x"], ["y"])], {"y": "dy"})


# ---- A net


def lrn(x, y):
    return OperatorDef("LRN", [x], [y], {"size": 3})


def lrn_gradient(x, y, dy, dx):
    return OperatorDef("LRNGradient", [x, y, dy], [dx], {"size": 3})


def test_a_chain_in_reverse():
    operators_, gradients = backward_of([lrn("x", "a"), lrn("a", "y")], {"y": "dy"})
    assert operators_ == (
        lrn_gradient("a", "y", "dy", "a_grad"),
        lrn_gradient("x", "a", "a_grad", "x_grad"),
    )
    assert gradients == {"y": "dy", "a": "a_grad", "x": "x_grad"}


def test_a_blob_that_several_read():
    """Their parts are summed, in place, once all of them are there."""
    net = [lrn("x", "a"), lrn("a", "b"), lrn("a", "c"), OperatorDef("Sum", ["b", "c", "a"], ["y"])]
    operators_, gradients = backward_of(net, {"y": "dy"})
    assert operators_ == (
        lrn_gradient("a", "c", "dy", "a_grad"),
        lrn_gradient("a", "b", "dy", "a_grad_1"),
        OperatorDef("Sum", ["a_grad", "dy", "a_grad_1"], ["a_grad"]),
        lrn_gradient("x", "a", "a_grad", "x_grad"),
    )
    assert gradients == {
        "y": "dy", "a": "a_grad", "b": "dy", "c": "dy", "x": "x_grad"
    }  # fmt: skip


def test_a_given_gradient_is_not_overwritten():
    """Not where it is one part of a sum, nor where the net would choose its name."""
    net = [lrn("x", "a"), lrn("a", "y")]
    operators_, gradients = backward_of(net, {"y": "dy", "a": "da"})
    assert operators_[1] == OperatorDef("Sum", ["a_grad", "da"], ["a_grad"])
    operators_, gradients = backward_of(net, {"y": "a_grad", "a": "x_grad"})
    assert operators_[1] == OperatorDef("Sum", ["a_grad_1", "x_grad"], ["a_grad_1"])
    assert gradients == {"y": "a_grad", "a": "a_grad_1", "x": "x_grad_1"}
    operators_, gradients = backward_of([OperatorDef("Sum", ["a", "a"], ["y"])], {"y": "dy"})
    assert operators_ == (OperatorDef("Sum", ["dy", "dy"], ["a_grad"]),)
    assert gradients == {"y": "dy", "a": "a_grad"}


def test_what_was_fed_and_the_net_are_not_overwritten():
    net = [lrn("x", "x_grad"), lrn("x_grad", "y")]
    operators_, gradients = backward_of(net, {"y": "dy"}, fed=["x", "x_grad_grad", "dy"])
    assert [op_def.outputs for op_def in operators_] == [("x_grad_grad_1",), ("x_grad_1",)]
    assert gradients == {"y": "dy", "x_grad": "x_grad_grad_1", "x": "x_grad_1"}


def test_names_are_the_same_after_a_run():
    workspace = Workspace({"x": np.ones((1, 2, 3)), "dy": np.ones((1, 2, 3))})
    net = [lrn("x", "y")]
    first = workspace.add_gradient_operators(net, {"y": "dy"})
    workspace.run([*net, *first.operators])
    assert workspace.add_gradient_operators(net, {"y": "dy"}) == first


def test_only_what_the_loss_depends_on():
    net = [lrn("x", "y"), lrn("y", "elsewhere"), lrn("other", "z")]
    operators_, gradients = backward_of(net, {"y": "dy"})
    assert operators_ == (lrn_gradient("x", "y", "dy", "x_grad"),)
    assert gradients == {"y": "dy", "x": "x_grad"}
    assert backward_of(net, {}) == ((), {})
    assert backward_of([], {}) == ((), {})


def test_the_loss_may_be_an_input():
    assert backward_of([lrn("x", "y")], {"x": "dx"}) == ((), {"x": "dx"})


def test_in_place_where_the_gradient_does_not_read_it():
    net = [
        lrn("x", "a"),
        OperatorDef("Sum", ["b", "c"], ["b"]),
        OperatorDef("Sum", ["b", "a"], ["b"]),
    ]
    operators_, gradients = backward_of(net, {"b": "db"})
    assert operators_ == (lrn_gradient("x", "a", "db", "x_grad"),)
    assert gradients == {"b": "db", "a": "db", "c": "db", "x": "x_grad"}


def test_a_value_before_and_after_it_is_overwritten():
    """b is read by the second operator as it was, by the fourth as it is."""
    net = [
        OperatorDef("Sum", ["b", "c"], ["d"]),
        OperatorDef("Sum", ["b", "c"], ["b"]),
        lrn("b", "e"),
        OperatorDef("Sum", ["d", "e"], ["y"]),
    ]
    operators_, gradients = backward_of(net, {"y": "dy"})
    assert operators_ == (
        lrn_gradient("b", "e", "dy", "b_grad"),
        OperatorDef("Sum", ["b_grad", "dy"], ["b_grad_1"]),
        OperatorDef("Sum", ["b_grad", "dy"], ["c_grad"]),
    )
    assert gradients == {
        "y": "dy", "d": "dy", "e": "dy", "b": "b_grad_1", "c": "c_grad"
    }  # fmt: skip


@pytest.mark.parametrize(
    "net",
    [
        [OperatorDef("InstanceNorm", ["x", "s", "b"], ["x"])],
        [
            OperatorDef("InstanceNorm", ["x", "s", "b"], ["y"]),
            OperatorDef("Sum", ["x", "y"], ["x"]),
        ],
    ],
    ids=["by itself", "by a later one"],
)
def test_gradient_that_reads_what_is_overwritten(net):
    message = r"^InstanceNorm: its gradient reads blob 'x', which is overwritten before"
    with pytest.raises(ValueError, match=message):
        backward_of(net, {net[-1].outputs[0]: "dy"})


def test_gradients_of_no_blob():
    with pytest.raises(ValueError, match=r"^add_gradient_operators: blob 'z' has a .* 'x', 'y'$"):
        backward_of([lrn("x", "y")], {"z": "dz"})


def test_gradients_of_saved_statistics_are_no_gradients():
    net = [OperatorDef("LayerNorm", ["x"], ["y", "m", "v"]), OperatorDef("Sum", ["m"], ["z"])]
    message = r"^LayerNorm: the gradient of output 0 \(y\), blob 'y', is not given"
    with pytest.raises(ValueError, match=message):
        backward_of(net, {"z": "dz"})


def test_nets_are_checked():
    with pytest.raises(ValueError, match=r"^LRN: argument size is not given"):
        backward_of([OperatorDef("LRN", ["x"], ["y"])], {})
    with pytest.raises(operators.UnknownNameError, match=r"^Relu: no such operator"):
        backward_of([OperatorDef("Relu", ["x"], ["y"])], {})


# ---- Makers of one's own


def test_a_gradient_of_several_operators(own_registry):
    """Blobs between them get names of their own; an input may stay without gradient."""

    def make(g):
        assert dict(g.args) == {"factor": 2}
        step = [OperatorDef("Step", [g.GO(0), g.I(1)], ["between"])]
        return step + g.single_gradient_def("Step", ["between", g.I(1)], [g.GI(0)])

    operators.register_cpu_operator(
        "Step",
        schema=OperatorSchema(
            "",
            (Input("x", ""), Input("w", "")),
            (Output("y", ""),),
            {"factor": operators.Argument(int, 2, "")},
        ),
        run=lambda x, w, factor, out: factor * x * w,
    )
    operators.register_gradient("Step", make)
    op_def = OperatorDef("Step", ["x", "w"], ["y"])
    defs, gradients = operators.get_gradient_defs(op_def, ["dy"])
    assert gradients == ("x_grad", None)
    assert defs[1] == OperatorDef("Step", ["between", "w"], ["x_grad"])

    net = [OperatorDef("Step", ["x", "w"], ["between"], {"factor": 2}), lrn("between", "y")]
    operators_, gradients = backward_of(net, {"y": "dy"})
    assert operators_ == (
        lrn_gradient("between", "y", "dy", "between_grad"),
        OperatorDef("Step", ["between_grad", "w"], ["between_1"]),
        OperatorDef("Step", ["between_1", "w"], ["x_grad"], {"factor": 2}),
    )
    assert gradients == {"y": "dy", "between": "between_grad", "x": "x_grad"}
