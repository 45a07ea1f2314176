"""What running an operator refuses, inference refuses in the same words: every operator, with every
input of every wrong shape and dtype, and every argument of every wrong value."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import OperatorDef, Workspace

pytest.importorskip("onnx")
import normkernels.onnx  # noqa: F401  (registers operators)

F32, F64 = np.float32, np.float64
AFFINE = {"elementwise_affine": True}
LRN = {"size": 3, "alpha": 0.5, "beta": 0.75}
X = (2, 3, 4)
ROWS = [X, X, (2, 1), (2, 1), X]
PLANES = [X, (3,), (3,), X, (2, 3), (2, 3)]
GROUPS = [X, X, (3,), (3,), (2, 3), (2, 3)]
THREE = {"group": 3}

# Operator, arguments, shapes of the inputs, number of outputs: each is right.
RIGHT = [
    ("LayerNorm", {}, [X], 3),
    ("LayerNorm", {}, [X, (3, 4), (12,)], 3),
    ("LayerNorm", {"axis": -1, **AFFINE}, [X, (4,), (4,)], 3),
    ("LayerNormGradient", {}, ROWS, 1),
    ("LayerNormGradient", {}, [*ROWS, (5,)], 3),
    ("LayerNormGradient", AFFINE, [*ROWS, (3, 4)], 3),
    ("InstanceNorm", {}, PLANES[:3], 3),
    ("InstanceNorm", {"order": "NHWC"}, [X, (4,), (4,)], 1),
    ("InstanceNormGradient", {}, PLANES[:4], 3),
    ("InstanceNormGradient", {}, PLANES[:5], 3),
    ("InstanceNormGradient", {}, PLANES, 3),
    ("RMSNorm", {}, [X, (3, 4), (12,)], 2),
    ("RMSNorm", {"axis": -1}, [X, (4,), (4,)], 2),
    ("RMSNormGradient", {}, [X, X, (3, 4), (2,)], 3),
    ("GroupNorm", THREE, [X, (3,), (3,)], 3),
    ("GroupNorm", {"num_groups": 2, "order": "NHWC"}, [X, (4,), (4,)], 1),
    ("GroupNormGradient", THREE, GROUPS, 3),
    ("LRN", LRN, [X], 2),
    ("LRN", {**LRN, "order": "nhwc"}, [(2, 3, 4, 5)], 1),
    ("LRNGradient", LRN, [X, X, X], 1),
    ("Sum", {}, [X], 1),
    ("Sum", {}, [X, X, X], 1),
    ("onnx.LayerNorm", {}, [X, (4,)], 3),
    ("onnx.LayerNorm", {"axis": 1}, [X, (1, 3, 1), (2, 1, 1)], 3),
    ("onnx.LayerNormGradient", {}, [X, (2, 3, 1), (2, 3, 1), X, (4,)], 2),
    ("onnx.LayerNormGradient", {"axis": 1}, [X, (2, 1), (2, 1), X, (3, 1), (1,)], 3),
    ("onnx.RMSNorm", {}, [X, (4,)], 2),
    ("onnx.RMSNorm", {"axis": 1}, [X, (2, 1, 1)], 2),
    ("onnx.RMSNormGradient", {"axis": 1}, [X, (2, 1), X, (3, 1)], 2),
    ("onnx.MeanVarianceNorm", {"axes": (0, 2)}, [X], 1),
    ("onnx.Add", {}, [X, (3, 4)], 1),
    ("onnx.Add", {}, [X, X, (4,)], 1),
    ("onnx.SumTo", {}, [X, (3, 1)], 1),
    ("onnx.Reciprocal", {}, [X], 1),
    ("onnx.AppendDims", {"count": 2}, [X], 1),
]
SHAPES = [
    (), (0,), (1,), (2,), (3,), (4,), (5,), (12,), (24,), (2, 3), (3, 2), (3, 4), (2, 1), (1, 3),
    (0, 3), X, (2, 4, 3), (0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 3, 4), (2, 3, 1), (2, 3, 4, 1),
    (2, 3, 4, 5), (1, 2, 3, 4, 5), (1,) * 6, (1,) * 32,
]  # fmt: skip
DTYPES = [
    np.float16, np.float32, np.float64, ">f4", ">f8", np.longdouble, np.int32, np.uint8, bool,
    np.complex64, "M8[s]", "m8[s]", [("field", "f4")], "U3", "S3", object,
]  # fmt: skip
HUGE = [2**31, 2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**70), 10**400, -(10**5000)]
VALUES = {
    "axis": [0, 1, 2, 3, -1, -2, -3, -4, True, 1.0, "1", *HUGE],
    "axes": [[], [0], (2, 0), [-1, 1], [1, -2], [3], [-4], 1, "0", (1, 1), *([n] for n in HUGE)],
    "elementwise_affine": [True, False, 0, 1],
    "epsilon": [0, 0.0, 1, 1e-320, 1e308, 10**308, -1, -1e-320, np.nan, np.inf, True, "1", *HUGE],
    "eps": [0, 0.0, 1, 1e-320, 1e308, -1, np.nan, np.inf, True, "1", *HUGE],
    "group": [0, 1, 2, 3, 4, -1, True, 3.0, "3", *HUGE],
    "is_test": [True, False, 0, 1],
    "size": [0, 1, 2, 100, -1, True, 3.0, "3", *HUGE],
    "alpha": [0, -1, 1e308, 1e-320, np.nan, -np.inf, False, "1", *HUGE],
    "beta": [0, -1, 2.5, 1e30, 1e308, np.nan, np.inf, "1", *HUGE],
    "bias": [0, -1, 1e308, np.nan, np.inf, "1", *HUGE],
    "order": ["NCHW", "nchw", "NHWC", "nhwc", "Nchw", "", "NCHW\0", "\ud800", 1, True],
    "count": [0, 1, 29, 61, 62, 64, 65, -1, True, 1.0, *HUGE],
}


def outcome(call):
    """("", None) if it returned, else the error's text and type."""
    try:
        call()
    except Exception as error:
        return str(error), type(error)
    return "", None


def assert_alike(name, args, shapes, dtypes, outputs):
    op_def = OperatorDef(
        name, [f"in{i}" for i in range(len(shapes))], [f"out{j}" for j in range(outputs)], args
    )
    workspace = Workspace()
    for blob, shape, dtype in zip(op_def.inputs, shapes, dtypes, strict=True):
        workspace._blobs[blob] = np.ones(shape, dtype)  # feed() takes numbers only
    inferred = outcome(lambda: operators.infer(op_def, shapes, dtypes))
    with np.errstate(all="ignore"):
        ran = outcome(lambda: workspace.run([op_def]))
    what = f"{name}, {[*args]}, {shapes}, {dtypes}: {inferred}, {ran}"
    assert inferred == ran, what
    text, kind = ran
    if kind is None:
        for j, expected in enumerate(operators.infer(op_def, shapes, dtypes)):
            array = workspace[f"out{j}"]
            assert (array.shape, array.dtype) == (expected.shape, expected.dtype), what
        return
    assert kind in (ValueError, TypeError), what
    assert text.startswith(f"{name}: "), what
    assert workspace.names() == op_def.inputs, what


def replaced(items, i, item):
    return [*items[:i], item, *items[i + 1 :]]


each_right = pytest.mark.parametrize("right", RIGHT, ids=lambda case: f"{case[0]}-{len(case[2])}")


def test_every_operator_is_met():
    """In a process of their own: other modules register operators, too."""
    code = "import normkernels.onnx, normkernels.operators as o; print(*o.names())"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert sorted({case[0] for case in RIGHT}) == printed.decode().split()


@each_right
def test_shapes(right):
    name, args, shapes, outputs = right
    for dtype in (F32, F64):
        dtypes = [dtype] * len(shapes)
        assert_alike(name, args, shapes, dtypes, outputs)
        for i, shape in itertools.product(range(len(shapes)), SHAPES):
            assert_alike(name, args, replaced(shapes, i, shape), dtypes, outputs)
    for shape in SHAPES:
        assert_alike(name, args, [shape] * len(shapes), dtypes, outputs)


@each_right
def test_dtypes(right):
    name, args, shapes, outputs = right
    for dtype in DTYPES:
        assert_alike(name, args, shapes, [dtype] * len(shapes), outputs)
        for i, other in itertools.product(range(len(shapes)), (F32, F64)):
            dtypes = replaced([other] * len(shapes), i, dtype)
            assert_alike(name, args, shapes, dtypes, outputs)


@each_right
def test_arguments(right):
    name, args, shapes, outputs = right
    for argument in operators.schema(name).args:
        for value in VALUES[argument]:
            changed = {**args, argument: value}
            assert_alike(name, changed, shapes, [F32] * len(shapes), outputs)


# ---- Arguments that Python cannot convert


@pytest.mark.parametrize(
    ("value", "text"),
    [(10**400, "an int of 1329 bits"), (-(10**5000), "an int of 16610 bits"), (2**1024, "an int")],
    ids=["10**400", "-10**5000", "2**1024"],
)
@pytest.mark.parametrize(
    ("name", "argument"),
    [("LayerNorm", "epsilon"), ("LRN", "alpha"), ("LRN", "beta"), ("InstanceNorm", "epsilon")],
)
def test_an_int_beyond_the_range_of_a_float(name, argument, value, text):
    args = {"size": 3} if name == "LRN" else {}
    inputs = ["x", "s", "b"] if name == "InstanceNorm" else ["x"]
    outputs = ["y", "m", "s"] if name == "LayerNorm" else ["y"]
    op_def = OperatorDef(name, inputs, outputs, {**args, argument: value})
    message = f"^{name}: argument {argument} is {text}.*, must be within the range of a float$"
    with pytest.raises(ValueError, match=message):
        operators.schema(name).verify(op_def)
    with pytest.raises(ValueError, match=message):
        Workspace().add_gradient_operators([op_def], {})


def test_an_int_argument_that_has_to_be_finite():
    """It is, however many digits it has."""
    argument = operators.Argument(int, 0, "", operators.FINITE_NOT_NEGATIVE)
    assert argument.checked("k", 10**400) == 10**400
    with pytest.raises(ValueError, match=r"^k is an int of 1329 bits, must be finite and >= 0$"):
        argument.checked("k", -(10**400))


def test_what_a_check_raises_comes_out_as_it_is():
    class OwnError(Exception):
        pass

    def holds(value):
        raise OwnError

    argument = operators.Argument(int, 0, "", operators.Check("right", holds))
    with pytest.raises(OwnError):
        argument.checked("k", 1)


@pytest.mark.parametrize(
    ("shapes", "dtypes", "error", "message"),
    [
        (["23"], [F32], TypeError, r"input 0 \(x\) has shape '23', must be a sequence of integers"),
        ([3], [F32], TypeError, r"input 0 \(x\) has shape 3, must be a sequence of integers"),
        ([(2, 3.0)], [F32], TypeError, r"input 0 \(x\) has shape \(2, 3.0\), must be a seq"),
        ([(2, 10**5000)], [F32], ValueError, r"input 0 \(x\) has an extent of an int of 16610 b"),
        (
            [(2, -(10**5000))],
            [F32],
            ValueError,
            r"input 0 \(x\) has an extent of an int of 16610 b",
        ),
        ([(-1, -(10**5000))], [F32], ValueError, r"input 0 \(x\) has an extent of an int of 166"),
        (
            [("2", 10**5000)],
            [F32],
            TypeError,
            r"input 0 \(x\) has shape a tuple that cannot be sho",
        ),
        ([(1,) * 65], [F32], ValueError, r"input 0 \(x\) has rank 65, must have rank \d+ or less"),
        ([(2, 3)], ["float33"], TypeError, r"input 0 \(x\) has dtype 'float33': "),
        ([(2, 3)], [None], TypeError, r"input 0 \(x\) has dtype None, must have one"),
        (None, [F32], TypeError, "shapes is None, must be a list or tuple"),
        ([(2, 3)], "f", TypeError, "dtypes is 'f', must be a list or tuple"),
    ],
)
def test_what_is_no_shape_and_no_dtype(shapes, dtypes, error, message):
    with pytest.raises(error, match=f"^LayerNorm: {message}"):
        operators.infer(OperatorDef("LayerNorm", ["x"], ["y", "m", "s"]), shapes, dtypes)


def test_args_that_are_no_mapping():
    for args in ([("size", 3)], [], "size"):
        with pytest.raises(TypeError, match=r"^LRN: args is .*, must be a mapping of names to val"):
            OperatorDef("LRN", ["x"], ["y"], args)


def test_what_is_no_list_of_definitions():
    """The list is easily forgotten around a net of one operator."""
    op_def = OperatorDef("LRN", ["x"], ["y"], LRN)
    workspace = Workspace({"x": np.ones(X, F32)})
    calls = {
        "run": workspace.run,
        "add_gradient_operators": lambda op_defs: workspace.add_gradient_operators(op_defs, {}),
    }
    for name, call in calls.items():
        for op_defs in ("LRN", op_def, None):
            with pytest.raises(TypeError, match=rf"^{name}: op_defs is of type .*, must be a seq"):
                call(op_defs)
        with pytest.raises(
            TypeError, match=rf"^{name}: op_defs\[1\] is of type str, must be an Op"
        ):
            call([op_def, "LRN"])
        call(iter([op_def]))
    with pytest.raises(TypeError, match=r"^add_gradient_operators: gradients is of type list"):
        workspace.add_gradient_operators([op_def], ["y"])


def test_what_is_no_definition():
    workspace = Workspace()
    calls = {
        "infer": lambda op_def: operators.infer(op_def, [X], [F32]),
        "get_gradient_defs": lambda op_def: operators.get_gradient_defs(op_def, ["dy"]),
        "run_on_device": lambda op_def: operators.run_on_device(op_def, workspace),
        "run_on_device_with_order_nhwc": lambda op_def: operators.run_on_device_with_order_nhwc(
            op_def, workspace
        ),
    }
    for name, call in calls.items():
        for op_def in ("LRN", None, []):
            with pytest.raises(TypeError, match=rf"^{name}: op_def is of type .*, must be an Oper"):
                call(op_def)
