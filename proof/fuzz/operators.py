"""Random operator definitions and nets: inference and running agree, errors are those documented
and change nothing, gradients run and have the shapes of what they are gradients of."""

import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from normkernels import operators
from normkernels.operators import OperatorDef, UnknownNameError, Workspace

from proof.fuzz import guided

DOCUMENTED = {TypeError, ValueError, UnknownNameError}
DTYPES = ["f4", "f4", "f8", "f8", "f2", ml_dtypes.bfloat16, "i4", "c8", "?"]
# Which blob an input of a schema is likely to be: b of x's shape, g of a row's, c of the channels',
# r of the rows', n of the images' and channels'.
LIKELY = {
    **dict.fromkeys(("x", "dy", "y"), "b"),
    **dict.fromkeys(("gamma", "beta"), "g"),
    **dict.fromkeys(("scale", "bias"), "cb"),
    **dict.fromkeys(("mean", "sigma", "rrms", "inv_std"), "rn"),
}
ODD = [
    *(
        float("nan"),
        float("inf"),
        -1,
        0,
        1,
        2,
        3,
        2**63,
        10**400,
        "NHWC",
        "nchw",
        "text",
        True,
        1e-5,
    ),
    *(None, (1, 2), [1], [1.5], b"x", np.float32(0.5), np.int64(1), np.ones(2), object(), {}),
]


def outcome(function: Callable[[], Any], *more: type) -> tuple[Any, str]:
    """The result and "", or None and the documented error as text; others come out."""
    try:
        return function(), ""
    except Exception as error:
        if type(error) not in {*DOCUMENTED, *more}:
            raise
        return None, f"{type(error).__name__}: {error}"


def definition(rng: random.Random, types: tuple[str, ...] = ()) -> OperatorDef:
    """Mostly one that its schema allows. Raises what OperatorDef says of others."""
    name = rng.choice(types or operators.names())
    schema = operators.schema(name)
    inputs = [
        _blob(rng, schema.inputs[min(i, len(schema.inputs) - 1)].name)
        for i in range(_count(rng, schema.allowed_inputs(), len(schema.inputs)))
    ]
    outputs: list[Any] = [
        rng.choice([f"o{rng.randrange(9)}", *inputs]) if rng.random() < 0.2 else f"{j}{len(name)}"
        for j in range(_count(rng, schema.allowed_outputs(), len(schema.outputs)))
    ]
    args = {key: _argument(rng, key) for key in schema.args if rng.random() < 0.6}
    if rng.random() < 0.05:
        args[rng.choice(["nonsense", "", "epsilon", "order"])] = rng.choice(ODD)
    if rng.random() < 0.03:
        return OperatorDef(*[rng.choice([name, inputs, args, *ODD]) for _ in range(4)])
    if rng.random() < 0.03:
        name = rng.choice([name.lower(), name + "x", "", "Softmax", "\ud800"])
    return OperatorDef(name, inputs, outputs, args)


def _count(rng: random.Random, allowed: Any, listed: int) -> int:
    fitting = [n for n in range(listed + 2) if n in allowed]
    return rng.choice(fitting) if rng.random() < 0.95 else rng.randrange(listed + 2)


def _blob(rng: random.Random, of_input: str) -> Any:
    if rng.random() < 0.03:
        return rng.choice(["nowhere", "", 1, None, "b1", "\ud800"])
    return rng.choice(LIKELY.get(of_input, "bgcrn")) + rng.choice("12")


def _argument(rng: random.Random, name: str) -> Any:
    good: dict[str, list[Any]] = {
        **{"axis": [1, -1, 0, 2, -3], "order": ["NCHW", "NHWC"], "size": [1, 3, 4, 9]},
        **{"epsilon": [0.0, 1e-5, 1], "eps": [0.0, 0.1], "group": [1, 2, 3], "axes": [(0, 2), [1]]},
        **{"elementwise_affine": [True, False], "count": [0, 1, 3]},
    }
    return rng.choice(good.get(name, [0.5, 1.0, 2])) if rng.random() < 0.95 else rng.choice(ODD)


def feeds(rng: random.Random) -> dict[str, np.ndarray]:
    """Blobs of the shapes that belong to one x, mostly."""
    shape = tuple(rng.choice([1, 2, 3, 4, 6, 0]) for _ in range(rng.randint(1, 5)))
    axis = rng.randrange(len(shape))
    channels = rng.choice([shape[-1], shape[min(1, len(shape) - 1)]])
    shapes = {"b": shape, "g": shape[axis:], "c": (channels,), "r": (*shape[:axis], 1)}
    shapes["n"] = (shape[0], rng.choice([channels, 1, 2, 3]))
    dtype = rng.choice(DTYPES[:6]) if rng.random() < 0.95 else None
    generator = np.random.default_rng(rng.getrandbits(16))
    return {
        kind + number: generator.normal(2, 1, shapes[kind]).astype(dtype or rng.choice(DTYPES))
        for kind in shapes
        for number in "12"
    }


def check(rng: random.Random) -> None:
    """One net, run operator by operator, and then its gradient."""
    workspace, fed, net = Workspace(feeds(rng)), {}, []
    fed = {name: workspace[name] for name in workspace}
    for _ in range(rng.randint(1, 4)):
        op_def, _ = outcome(lambda: definition(rng))
        if op_def is None:
            continue
        _assert_plain_value(op_def)
        if not _run(op_def, workspace):
            net.append(op_def)
    wrong = rng.sample(net, len(net)) if rng.random() < 0.1 else net
    blobs = [*{blob for op_def in net for blob in op_def.outputs}]
    loss = rng.sample(blobs, min(len(blobs), rng.randint(1, 2)))
    backward, _ = outcome(
        lambda: Workspace(fed).add_gradient_operators(wrong, {blob: f"d_{blob}" for blob in loss})
    )
    if backward is not None and wrong == net and loss:
        _assert_backward_runs(net, backward, fed, loss)


def _assert_plain_value(op_def: OperatorDef) -> None:
    names = {"OperatorDef": OperatorDef, "nan": math.nan, "inf": math.inf}
    for again in (pickle.loads(pickle.dumps(op_def)), eval(repr(op_def), names)):
        assert again == op_def or "nan" in repr(op_def), f"{again} is not {op_def}"


def _run(op_def: OperatorDef, workspace: Workspace) -> str:
    """The error, "" if there is none: as inference said, and nothing has changed."""
    before = {name: workspace[name] for name in workspace}
    inferred, said = None, "a blob is not there"
    if all(name in before for name in op_def.inputs):
        arrays = [before[name] for name in op_def.inputs]
        shapes, dtypes = [a.shape for a in arrays], [a.dtype for a in arrays]
        inferred, said = outcome(lambda: operators.infer(op_def, shapes, dtypes))
    _, error = outcome(lambda: workspace.run([op_def]))
    if error:
        assert said in {error, "a blob is not there"}, f"run: {error}\ninfer: {said}"
        after = {name: workspace[name] for name in workspace}
        assert [*after] == [*before]
        assert all(after[name].tobytes() == before[name].tobytes() for name in before)
    else:
        assert inferred is not None, f"it runs, but infer: {said}"
        for name, shape in zip(op_def.outputs, inferred, strict=True):
            assert (workspace[name].shape, workspace[name].dtype) == (shape.shape, shape.dtype)
    return error


def _assert_backward_runs(
    net: list[OperatorDef], backward: Any, fed: dict[str, np.ndarray], loss: list[str]
) -> None:
    parameters = [[fed[name] for name in d.inputs[1:3] if name in fed] for d in net]
    if any(len({(a.shape, a.dtype) for a in pair}) > 1 for pair in parameters):
        return  # dbias has shape and dtype of scale, dbeta those of gamma, as the schemas say
    workspace = Workspace(fed)
    workspace.run(net)
    for blob in loss:
        workspace[f"d_{blob}"] = np.ones_like(workspace[blob])
    _, error = outcome(lambda: workspace.run(backward.operators))
    assert not error, f"the gradient of {net} does not run: {error}"
    for blob, gradient in backward.gradients.items():
        if blob in fed:
            assert workspace[gradient].shape == fed[blob].shape, f"the gradient of {blob}"


if __name__ == "__main__":
    guided.main("operators", __doc__)
