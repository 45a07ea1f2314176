"""Shape inference: right without data, the same as what is computed, and as strict."""

import re

import ml_dtypes
import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import OperatorDef, TensorShape

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
AFFINE = {"elementwise_affine": True}
NHWC = {"order": "NHWC"}
LRN = {"size": 3, "alpha": 0.5, "beta": 0.75}

# Operator, arguments, shapes of the inputs, shapes of all outputs, fewest outputs.
CASES = [
    ("LayerNorm", {}, [(4, 5)], [(4, 5), (4, 1), (4, 1)], 3),
    ("LayerNorm", {"axis": 0}, [(4, 5)], [(4, 5), (1,), (1,)], 3),
    ("LayerNorm", {"axis": -1}, [(2, 3, 4)], [(2, 3, 4), (2, 3, 1), (2, 3, 1)], 3),
    ("LayerNorm", AFFINE, [(2, 3, 4), (12,), (3, 4)], [(2, 3, 4), (2, 1), (2, 1)], 3),
    ("LayerNorm", {}, [(0, 5)], [(0, 5), (0, 1), (0, 1)], 3),
    ("LayerNorm", {}, [(4, 0)], [(4, 0), (4, 1), (4, 1)], 3),
    ("LayerNormGradient", {}, [(2, 3), (2, 3), (2, 1), (2, 1), (2, 3)], [(2, 3), (3,), (3,)], 1),
    (
        "LayerNormGradient",
        {"axis": -2, **AFFINE},
        [(2, 3, 4), (2, 3, 4), (2, 1), (2,), (2, 3, 4), (4, 3)],
        [(2, 3, 4), (4, 3), (4, 3)],
        1,
    ),
    ("InstanceNorm", {}, [(2, 3, 4, 5), (3,), (1, 3)], [(2, 3, 4, 5), (2, 3), (2, 3)], 1),
    ("InstanceNorm", NHWC, [(2, 3, 4, 5), (5,), (5,)], [(2, 3, 4, 5), (2, 5), (2, 5)], 1),
    ("InstanceNorm", {}, [(2, 3), (3,), (3,)], [(2, 3), (2, 3), (2, 3)], 1),
    ("InstanceNorm", {}, [(0, 3, 4), (3,), (3,)], [(0, 3, 4), (0, 3), (0, 3)], 1),
    ("InstanceNorm", {}, [(2, 3, 0), (3,), (3,)], [(2, 3, 0), (2, 3), (2, 3)], 1),
    (
        "InstanceNormGradient",
        {},
        [(2, 3, 4), (3, 1), (3,), (2, 3, 4)],
        [(2, 3, 4), (3, 1), (3, 1)],
        3,
    ),
    # A mean alone is not read, nor is the bias.
    (
        "InstanceNormGradient",
        NHWC,
        [(2, 3, 4), (4,), (9,), (2, 3, 4), (7, 7)],
        [(2, 3, 4), (4,), (4,)],
        3,
    ),
    (
        "InstanceNormGradient",
        NHWC,
        [(2, 3, 4), (4,), (4,), (2, 3, 4), (2, 4), (2, 4)],
        [(2, 3, 4), (4,), (4,)],
        3,
    ),
    ("RMSNorm", {}, [(2, 3, 4), (12,), (3, 4)], [(2, 3, 4), (2,)], 2),
    ("RMSNorm", {"axis": 0}, [(4, 5), (20,), (4, 5)], [(4, 5), ()], 2),
    ("RMSNorm", {"axis": -1}, [(2, 3, 4), (4,), (1, 4)], [(2, 3, 4), (2, 3)], 2),
    ("RMSNorm", {}, [(0, 5), (5,), (5,)], [(0, 5), (0,)], 2),
    ("RMSNorm", {"eps": 0.5}, [(4, 0), (0,), (0,)], [(4, 0), (4,)], 2),
    (
        "RMSNormGradient",
        {"axis": -2},
        [(2, 3, 4), (2, 3, 4), (4, 3), (1, 2)],
        [(2, 3, 4), (4, 3), (4, 3)],
        3,
    ),
    ("GroupNorm", {"group": 2}, [(2, 6, 5), (6,), (1, 6)], [(2, 6, 5), (2, 2), (2, 2)], 1),
    (
        "GroupNorm",
        {"num_groups": 3, **NHWC},
        [(2, 4, 3), (3,), (3,)],
        [(2, 4, 3), (2, 3), (2, 3)],
        1,
    ),
    ("GroupNorm", {}, [(2, 64), (64,), (64,)], [(2, 64), (2, 32), (2, 32)], 1),
    ("GroupNorm", {"group": 3}, [(2, 0, 4), (0,), (0,)], [(2, 0, 4), (2, 3), (2, 3)], 1),
    (
        "GroupNormGradient",
        {"group": 2},
        [(2, 4, 3), (2, 4, 3), (4, 1), (9,), (2, 2), (2, 2)],  # the bias is not read
        [(2, 4, 3), (4, 1), (4, 1)],
        3,
    ),
    ("LRN", LRN, [(2, 5, 3, 4)], [(2, 5, 3, 4), (2, 5, 3, 4)], 1),
    ("LRN", {**LRN, **NHWC}, [(2, 5, 3)], [(2, 5, 3), (2, 5, 3)], 1),
    ("LRN", {"size": 4}, [(1, 2, 3, 4, 5)], [(1, 2, 3, 4, 5), (1, 2, 3, 4, 5)], 1),
    ("LRNGradient", LRN, [(2, 5, 3)] * 3, [(2, 5, 3)], 1),
    ("Sum", {}, [(2, 3)] * 4, [(2, 3)], 1),
]


def definition(name, args, inputs, outputs):
    return OperatorDef(
        name, [f"in{i}" for i in range(inputs)], [f"out{j}" for j in range(outputs)], args
    )


def output_counts(name, case_outputs, fewest):
    allowed = operators.schema(name).allowed_outputs()
    return [n for n in range(fewest, len(case_outputs) + 1) if n in allowed]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shapes_and_dtypes(case, dtype):
    """Without data, and with: an operator gives what was inferred for it."""
    name, args, inputs, outputs, fewest = case
    rng = np.random.default_rng(0)
    for count in output_counts(name, outputs, fewest):
        op_def = definition(name, args, len(inputs), count)
        inferred = operators.infer(op_def, inputs, [dtype] * len(inputs))
        assert inferred == tuple(TensorShape(shape, dtype) for shape in outputs[:count])
        workspace = operators.Workspace(
            {f"in{i}": rng.uniform(1, 2, shape).astype(dtype) for i, shape in enumerate(inputs)}
        )
        workspace.run([op_def])
        for j, shape in enumerate(inferred):
            array = workspace.fetch(f"out{j}")
            assert (array.shape, array.dtype) == (shape.shape, shape.dtype)


STATISTICS = {"mean", "sigma", "inv_std", "rrms"}
PARAMETERS = {"gamma", "beta", "scale", "bias"}


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("own", [True, False], ids=["own parameters", "float32 parameters"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_half_types(case, half, own):
    """Statistics are float32 beside half types; parameters may be, and their gradients are then."""
    name, args, inputs, outputs, fewest = case
    schema, rng = operators.schema(name), np.random.default_rng(0)
    of_parameter = half if own or name == "Sum" else np.float32

    def dtype_of(label):
        if label in STATISTICS and "LRN" not in name:
            return F32
        return np.dtype(of_parameter if label.removeprefix("d") in PARAMETERS else half)

    labels = [field.name for field in schema.inputs]
    labels += labels[-1:] * (len(inputs) - len(labels))
    given = [dtype_of(label) for label, _ in zip(labels, inputs, strict=False)]
    if name == "LayerNormGradient" and not args.get("elementwise_affine"):
        of_parameter = half
    if "LRN" in name:
        of_parameter = half
    for count in output_counts(name, outputs, fewest):
        op_def = definition(name, args, len(inputs), count)
        inferred = operators.infer(op_def, inputs, given)
        expected = [dtype_of(field.name) for field in schema.outputs[:count]]
        assert [shape.dtype for shape in inferred] == expected
        workspace = operators.Workspace(
            {
                f"in{i}": rng.uniform(1, 2, shape).astype(dtype)
                for i, (shape, dtype) in enumerate(zip(inputs, given, strict=True))
            }
        )
        workspace.run([op_def])
        assert [workspace.fetch(f"out{j}").dtype for j in range(count)] == expected


def test_the_cases_meet_every_operator():
    assert {case[0] for case in CASES} == {*READ, "Sum"}


def test_huge_shapes_need_no_memory():
    op_def = definition("LayerNorm", {}, 1, 3)
    inferred = operators.infer(op_def, [(2**20, 2**40)], [np.float64])
    assert inferred == (
        TensorShape((2**20, 2**40), F64),
        TensorShape((2**20, 1), F64),
        TensorShape((2**20, 1), F64),
    )


def test_the_function_itself():
    infer_lrn = operators.tensor_inference_function("LRN")
    x = TensorShape((1, 2, 3), ">f4")
    assert infer_lrn(x, **LRN)[0] == TensorShape((1, 2, 3), np.float32)
    assert all(operators.tensor_inference_function(case[0]) for case in CASES)


SAVED = [(2, 3), (2, 3), (2, 1), (2, 1), (2, 3)]
PLANES = [(2, 3, 4), (3,), (3,), (2, 3, 4), (2, 3), (2, 3)]
RMS = [(2, 3), (2, 3), (3,), (2,)]
GROUPS = [(2, 4, 3), (2, 4, 3), (4,), (4,), (2, 2), (2, 2)]
OF_TWO = {"group": 2}


def replaced(shapes, i, shape):
    return [*shapes[:i], shape, *shapes[i + 1 :]]


WRONG_SHAPES = [
    ("LayerNorm", {}, [(5,)], "argument axis is 1, must be between -1 and 0"),
    ("LayerNorm", {"axis": 0}, [()], "input 0 (x) has rank 0 (shape ())"),
    ("LayerNorm", {"axis": 2}, [(2, 3)], "argument axis is 2, must be between -2 and 1"),
    ("LayerNorm", {"axis": -3}, [(2, 3)], "argument axis is -3, must be between -2 and 1"),
    (
        "LayerNorm",
        AFFINE,
        [(2, 3), (4,), (3,)],
        "input 1 (gamma) has 4 elements (shape (4,)), must",
    ),
    ("LayerNorm", AFFINE, [(2, 3), (3,), (2,)], "input 2 (beta) has 2 elements (shape (2,)), must"),
    (
        "LayerNormGradient",
        {},
        replaced(SAVED, 0, (3, 2)),
        "input 0 (dy) has shape (3, 2), must have",
    ),
    ("LayerNormGradient", {}, replaced(SAVED, 2, (3, 1)), "input 2 (mean) has 3 elements"),
    ("LayerNormGradient", {}, replaced(SAVED, 3, (2, 3)), "input 3 (sigma) has 6 elements"),
    ("LayerNormGradient", {}, [()] * 5, "input 4 (x) has rank 0 (shape ())"),
    ("LayerNormGradient", {"axis": 2}, SAVED, "argument axis is 2, must be between -2 and 1"),
    ("LayerNormGradient", AFFINE, [*SAVED, (2,)], "input 5 (gamma) has 2 elements"),
    ("InstanceNorm", {}, [(3,), (3,), (3,)], "input 0 (x) has rank 1"),
    (
        "InstanceNorm",
        {},
        [(2, 3, 4), (4,), (3,)],
        "input 1 (scale) has 4 elements (shape (4,)), must",
    ),
    (
        "InstanceNorm",
        NHWC,
        [(2, 3, 4), (4,), (3,)],
        "input 2 (bias) has 3 elements (shape (3,)), mu",
    ),
    ("InstanceNormGradient", {}, replaced(PLANES, 0, (2,)), "input 0 (x) has rank 1"),
    ("InstanceNormGradient", {}, replaced(PLANES, 1, (2,)), "input 1 (scale) has 2 elements"),
    (
        "InstanceNormGradient",
        {},
        replaced(PLANES, 3, (2, 3)),
        "input 3 (dy) has shape (2, 3), must",
    ),
    ("InstanceNormGradient", {}, replaced(PLANES, 4, (6,)), "input 4 (mean) has shape (6,), must"),
    ("InstanceNormGradient", {}, replaced(PLANES, 5, (3, 2)), "input 5 (inv_std) has shape (3, 2)"),
    ("RMSNorm", {}, [(5,)] * 3, "argument axis is 1, must be between -1 and 0"),
    ("RMSNorm", {"axis": 0}, [()] * 3, "input 0 (x) has rank 0 (shape ())"),
    ("RMSNorm", {}, [(2, 3), (4,), (3,)], "input 1 (gamma) has 4 elements (shape (4,)), must"),
    ("RMSNorm", {}, [(2, 3), (3,), (2,)], "input 2 (beta) has 2 elements (shape (2,)), must"),
    ("RMSNormGradient", {}, replaced(RMS, 0, (3, 2)), "input 0 (dy) has shape (3, 2), must"),
    ("RMSNormGradient", {}, replaced(RMS, 2, (2,)), "input 2 (gamma) has 2 elements"),
    ("RMSNormGradient", {}, replaced(RMS, 3, (3,)), "input 3 (rrms) has 3 elements"),
    ("GroupNorm", {}, [(3,)] * 3, "input 0 (x) has rank 1"),
    ("GroupNorm", {}, [(2, 48), (48,), (48,)], "argument group is 32, must divide 48, the number"),
    (
        "GroupNorm",
        {"num_groups": 2, **NHWC},
        [(2, 4, 3), (3,), (3,)],
        "argument group is 2, must divide 3, the number of channels of input 0 (x) "
        "(shape (2, 4, 3)) in NHWC",
    ),
    ("GroupNorm", OF_TWO, [(2, 4, 3), (2,), (4,)], "input 1 (scale) has 2 elements"),
    ("GroupNorm", OF_TWO, [(2, 4, 3), (4,), (3,)], "input 2 (bias) has 3 elements"),
    ("GroupNormGradient", OF_TWO, replaced(GROUPS, 0, (2, 3, 4)), "input 0 (dy) has shape (2, 3"),
    ("GroupNormGradient", OF_TWO, replaced(GROUPS, 2, (2,)), "input 2 (scale) has 2 elements"),
    ("GroupNormGradient", OF_TWO, replaced(GROUPS, 4, (2, 4)), "input 4 (mean) has shape (2, 4)"),
    ("GroupNormGradient", OF_TWO, replaced(GROUPS, 5, (4,)), "input 5 (inv_std) has shape (4,)"),
    ("LRN", LRN, [(2, 3)], "input 0 (x) has rank 2 (shape (2, 3)), must have rank 3 to 5"),
    ("LRN", LRN, [(1,) * 6], "input 0 (x) has rank 6"),
    ("LRNGradient", LRN, [(2, 3)] * 3, "input 0 (x) has rank 2"),
    ("LRNGradient", LRN, [(2, 3, 4), (2, 3), (2, 3, 4)], "input 1 (y) has shape (2, 3), must have"),
    (
        "LRNGradient",
        LRN,
        [(2, 3, 4), (2, 3, 4), (2, 3)],
        "input 2 (dy) has shape (2, 3), must have",
    ),
    ("Sum", {}, [(2, 3), (2, 3), (3,)], "input 2 (x) has shape (3,), must have (2, 3)"),
    ("LRN", LRN, [(2, -3, 4)], "input 0 (x) has shape (2, -3, 4), must have no negative extent"),
]


@pytest.mark.parametrize("case", WRONG_SHAPES, ids=lambda case: case[3])
def test_wrong_shapes(case):
    """Refused alike by inference and by the operator, before it has written anything."""
    name, args, shapes, message = case
    outputs = len(operators.schema(name).outputs)
    op_def = definition(name, args, len(shapes), outputs)
    pattern = f"^{name}: {re.escape(message)}"
    with pytest.raises(ValueError, match=pattern):
        operators.infer(op_def, shapes, [F32] * len(shapes))
    if min(extent for shape in shapes for extent in (*shape, 0)) < 0:
        return  # no such array
    workspace = operators.Workspace({f"in{i}": np.ones(s, F32) for i, s in enumerate(shapes)})
    with pytest.raises(ValueError, match=pattern):
        workspace.run([op_def])
    assert workspace.names() == op_def.inputs


# What is read of each operator that has several inputs; the first one sets the dtype.
READ = {
    "LayerNorm": (AFFINE, [(2, 3), (3,), (3,)], [0, 1, 2]),
    "LayerNormGradient": (AFFINE, [*SAVED, (3,)], [4, 0, 2, 3, 5]),
    "InstanceNorm": ({}, PLANES[:3], [0, 1, 2]),
    "InstanceNormGradient": ({}, PLANES, [0, 1, 3, 4, 5]),
    "RMSNorm": ({}, [(2, 3), (3,), (3,)], [0, 1, 2]),
    "RMSNormGradient": ({}, RMS, [1, 0, 2, 3]),
    "GroupNorm": (OF_TWO, [(2, 4, 3), (4,), (4,)], [0, 1, 2]),
    "GroupNormGradient": (OF_TWO, GROUPS, [1, 0, 2, 4, 5]),
    "LRN": (LRN, [(2, 3, 4)], [0]),
    "LRNGradient": (LRN, [(2, 3, 4)] * 3, [0, 1, 2]),
}


@pytest.mark.parametrize("name", READ)
def test_wrong_dtypes(name):
    args, shapes, read = READ[name]
    op_def = definition(name, args, len(shapes), len(operators.schema(name).outputs))
    for wrong in (np.longdouble, np.int64, np.complex64, bool):
        message = f"^{name}: input {read[0]} \\(x\\) has dtype {np.dtype(wrong)}, must be float32,"
        with pytest.raises(TypeError, match=message):
            operators.infer(op_def, shapes, [wrong] * len(shapes))
    for i in range(len(shapes)):
        dtypes = replaced([F64] * len(shapes), i, F32)
        if i in read[1:]:
            message = (
                f"^{name}: input {i} \\(\\w+\\) has dtype float32, must be float64, the dtype of"
            )
            with pytest.raises(TypeError, match=message):
                operators.infer(op_def, shapes, dtypes)
        elif i not in read:
            assert operators.infer(op_def, shapes, dtypes)[0].dtype == F64


@pytest.mark.parametrize(
    ("shapes", "dtypes", "message"),
    [([], [F32], "shapes has 0 entries"), ([(2, 3)], [F32, F32], "dtypes has 2 entries")],
)
def test_one_shape_and_dtype_for_each_input(shapes, dtypes, message):
    with pytest.raises(ValueError, match=f"^LayerNorm: {message}, must have 1, one for each input"):
        operators.infer(definition("LayerNorm", {}, 1, 3), shapes, dtypes)


def test_inference_checks_the_definition_first():
    with pytest.raises(ValueError, match=r"^LayerNorm: has 2 inputs, must have 1 or 3$"):
        operators.infer(definition("LayerNorm", {}, 2, 3), [(2, 3), (3,)], [F32, F32])
    with pytest.raises(ValueError, match=r"^LRN: argument size is not given"):
        operators.infer(definition("LRN", {}, 1, 1), [(2, 3, 4)], [F32])
