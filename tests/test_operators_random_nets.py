"""Random nets, forward and backward, against central differences: blobs that are written again, in
place or not, that several operators read, that the loss does not depend on."""

import random

import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import OperatorDef, Workspace

SHAPE = (2, 3, 4)
PARAMETERS = {"scale": (3,), "bias": (3,), "gamma": (4,), "beta": (4,)}
NETS = 300
STEP = 1e-5
# The differences: STEP**2 times third derivatives, and 2**-53 / STEP times the loss, of size 10.
TOLERANCE = 1e-7


def random_definition(rng, i, blobs):
    """One operator from a blob that is there to one that may be."""
    x = rng.choice(blobs)
    y = rng.choice([f"b{i}", f"b{i}", rng.choice(blobs), x])
    of_rows, of_channels = [x, "gamma", "beta"], [x, "scale", "bias"]
    mean, std = f"mean{i}", f"std{i}"
    layer_args = {"axis": rng.choice([1, 2]), "epsilon": 0.1}
    affine = {"axis": -1, "epsilon": 0.1, "elementwise_affine": True}
    instance_outputs = rng.choice([[y], [y, mean, std]])
    lrn_args = {"size": rng.choice([1, 3]), "alpha": 0.5, "beta": 0.75}
    group_args = {"group": rng.choice([1, 3]), "epsilon": 0.1}
    return rng.choice(
        [
            OperatorDef("LayerNorm", [x], [y, mean, std], layer_args),
            OperatorDef("LayerNorm", of_rows, [y, mean, std], affine),
            OperatorDef("RMSNorm", of_rows, [y, std], {"axis": -1, "eps": 0.1}),
            OperatorDef("InstanceNorm", of_channels, instance_outputs, {"epsilon": 0.1}),
            OperatorDef("GroupNorm", of_channels, [y, mean, std], group_args),
            OperatorDef("LRN", [x], rng.choice([[y], [y, f"s{i}"]]), lrn_args),
            OperatorDef("Sum", [x, *rng.choices(blobs, k=rng.randint(0, 2))], [y]),
        ]
    )


def random_net(rng):
    """A net, and the blobs of SHAPE that are there in the end."""
    net, blobs = [], ["x0", "x1"]
    for i in range(rng.randint(1, 6)):
        op_def = random_definition(rng, i, blobs)
        try:
            operators.schema(op_def.type).verify(op_def)
        except ValueError:  # in place where that is not allowed
            continue
        net.append(op_def)
        blobs += {op_def.outputs[0]} - {*blobs}
    return net, blobs


class Case:
    """A net with a loss: the sum of some of its blobs, each times its own weights."""

    def __init__(self, seed):
        rng, generator = random.Random(seed), np.random.default_rng(seed)
        self.net, blobs = random_net(rng)
        self.used = {blob for op_def in self.net for blob in (*op_def.inputs, *op_def.outputs)}
        of_loss = sorted({*rng.choices(blobs, k=2)} & self.used)
        shapes = {"x0": SHAPE, "x1": SHAPE, **PARAMETERS}
        self.feeds = {blob: generator.standard_normal(shape) for blob, shape in shapes.items()}
        self.weights = {blob: generator.standard_normal(SHAPE) for blob in of_loss}
        self.directions = {blob: generator.standard_normal(s) for blob, s in shapes.items()}

    def workspace(self):
        given = {f"d_{blob}": weights for blob, weights in self.weights.items()}
        return Workspace({**self.feeds, **given})

    def loss(self, feeds):
        workspace = Workspace(feeds)
        workspace.run(self.net)
        return sum((workspace[blob] * weights).sum() for blob, weights in self.weights.items())

    def slope(self, blob):
        """Of the loss, along the direction of a blob that is fed."""
        step = STEP * self.directions[blob]
        up, down = ({**self.feeds, blob: self.feeds[blob] + h} for h in (step, -step))
        return (self.loss(up) - self.loss(down)) / (2 * STEP)

    def backward(self, workspace):
        return workspace.add_gradient_operators(
            self.net, {blob: f"d_{blob}" for blob in self.weights}
        )


def is_read_as_fed(net, blob):
    """Whether an operator reads what was fed, before another value takes its place."""
    for op_def in net:
        if blob in op_def.inputs:
            return True
        if blob in op_def.outputs:
            return False
    return False


def assert_gradients_right(case, workspace, gradients, what):
    for blob in case.feeds:
        if not is_read_as_fed(case.net, blob):
            continue
        slope = case.slope(blob)
        by_gradient = 0.0
        if blob in gradients:
            by_gradient = (workspace[gradients[blob]] * case.directions[blob]).sum()
        error = abs(slope - by_gradient)
        assert error <= TOLERANCE * (1 + abs(slope)), f"{what}, {blob}: {by_gradient}, not {slope}"


@pytest.fixture(scope="module")
def cases():
    """Those of the nets that have a backward: (seed, case, workspace, backward)."""
    found = []
    for seed in range(NETS):
        case = Case(seed)
        if not case.weights:
            continue
        workspace = case.workspace()
        try:
            backward = case.backward(workspace)
        except ValueError:  # a gradient would read what is overwritten
            continue
        workspace.run([*case.net, *backward.operators])
        found.append((seed, case, workspace, backward))
    return found


def test_gradients_against_central_differences(cases):
    """A gradient that is not there is 0."""
    assert len(cases) >= NETS / 2
    for seed, case, workspace, backward in cases:
        assert_gradients_right(case, workspace, backward.gradients, f"net {seed}")


def test_given_gradients_are_as_they_were(cases):
    for seed, case, workspace, _ in cases:
        for blob, weights in case.weights.items():
            assert np.array_equal(workspace[f"d_{blob}"], weights), f"net {seed}, {blob}"


def test_a_second_run_gives_the_same_bits(cases):
    for seed, case, workspace, backward in cases:
        before = {blob: workspace[name] for blob, name in backward.gradients.items()}
        for blob, value in case.feeds.items():
            workspace[blob] = value
        workspace.run([*case.net, *backward.operators])
        for blob, name in backward.gradients.items():
            assert workspace[name].tobytes() == before[blob].tobytes(), f"net {seed}, {blob}"


# ---- A blob whose first value the loss does not depend on


def lrn(x, y):
    return OperatorDef("LRN", [x], [y], {"size": 3, "alpha": 0.5})


def gradients_of(net, loss):
    return Workspace().add_gradient_operators(net, {loss: "d"}).gradients


def test_a_later_value_is_not_the_first():
    """x is read as it was fed, but not for the loss; then it is another."""
    net = [lrn("x", "unused"), OperatorDef("Sum", ["z"], ["x"]), lrn("x", "y")]
    assert gradients_of(net, "y") == {"y": "d", "z": "x_grad"}


def test_a_blob_of_the_loss_that_was_read_before():
    net = [lrn("x", "unused"), OperatorDef("Sum", ["z"], ["x"])]
    assert gradients_of(net, "x") == {"z": "d"}


def test_a_blob_that_is_written_before_it_is_read():
    """What was fed into it counts for nothing; its first value is the one that is written."""
    net = [OperatorDef("Sum", ["z"], ["x"]), lrn("x", "y")]
    assert gradients_of(net, "y") == {"y": "d", "x": "x_grad", "z": "x_grad"}
    net = [OperatorDef("Sum", ["z"], ["x"]), OperatorDef("Sum", ["w"], ["x"]), lrn("x", "y")]
    assert gradients_of(net, "y") == {"y": "d", "w": "x_grad"}
