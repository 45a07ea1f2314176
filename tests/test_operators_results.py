"""What an operator of one's own may return and raise, and what may be fed: arrays of numbers; what
is refused leaves the workspace as it was."""

import re

import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import (
    Input,
    OperatorDef,
    OperatorSchema,
    Output,
    TensorShape,
    Workspace,
)

X = np.arange(3.0)

# NumPy 1.23 makes an array of objects of what later ones refuse, and warns.
pytestmark = pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged nested sequences")
OLD = np.lib.NumpyVersion(np.__version__) < "1.24.0"
RAGGED = (TypeError, "of type list") if OLD else (ValueError, "no array: ")


@pytest.fixture
def register(own_registry):
    """register(run, infer): the operator Own, of x to y and, if wanted, z; gone after the test."""

    def register_own(run, infer=None):
        outputs = (Output("y", ""), Output("z", "", True))
        schema = OperatorSchema("", (Input("x", ""),), outputs, inplace={(0, 0)})
        operators.register_cpu_operator("Own", schema=schema, run=run, infer=infer)

    return register_own


def own(*outputs):
    return OperatorDef("Own", ["x"], outputs or ("y",))


def same_shape(x):
    return [x, x]


NO_NUMBERS = {
    "None": (None, TypeError, "None"),
    "string": ("abc", TypeError, "of type str"),
    "bytes": (b"abc", TypeError, "of type bytes"),
    "generator": ((x for x in X), TypeError, "of type generator"),
    "dict": ({"y": X}, TypeError, "of type dict"),
    "set": ({1.0, 2.0}, TypeError, "of type set"),
    "function": (np.add, TypeError, "of type ufunc"),
    "object": (object(), TypeError, "of type object"),
    "objects": (np.array([None, 1.0]), TypeError, "an array of dtype object"),
    "strings": (np.array(["a"]), TypeError, "an array of dtype <U1"),
    "dates": (np.array(["2026-11-25"], "M8[D]"), TypeError, "an array of dtype datetime64[D]"),
    "records": (np.ones(3, [("a", float)]), TypeError, "an array of dtype [('a', '<f8')]"),
    "mask": (np.ma.masked_array(X, [True, False, False]), TypeError, "a masked array"),
    "shape": (TensorShape((3,), float), TypeError, "of type TensorShape"),
    "huge int": (10**400, TypeError, "of type int"),
    "of several lengths": ([[1.0], [1.0, 2.0]], *RAGGED),
}
each_of_no_numbers = pytest.mark.parametrize("what", NO_NUMBERS)


@each_of_no_numbers
@pytest.mark.parametrize("inferred", [False, True])
@pytest.mark.parametrize("position", [0, 1])
def test_results_that_are_no_numbers(register, what, inferred, position):
    result, error, described = NO_NUMBERS[what]
    results = [X + 1, X + 2]
    results[position] = result
    register(lambda x, out: results, same_shape if inferred else None)
    workspace = Workspace({"x": X, "y": 5 * X, "z": 6 * X})
    label = ("0 (y)", "1 (z)")[position]
    with pytest.raises(error, match=f"^Own: output {re.escape(f'{label} is {described}')}"):
        workspace.run([own("y", "z")])
    assert [workspace[blob].tolist() for blob in "xyz"] == [X.tolist(), [0, 5, 10], [0, 6, 12]]
    assert workspace.names() == ("x", "y", "z")
    workspace = Workspace({"x": X})
    with pytest.raises(error):
        workspace.run([own("y", "z")])
    assert workspace.names() == ("x",)


@each_of_no_numbers
def test_what_is_fed_is_of_numbers(what):
    value, error, described = NO_NUMBERS[what]
    workspace = Workspace({"x": X})
    with pytest.raises(error, match=f"^Workspace: blob 'x' is {re.escape(described)}"):
        workspace.feed("x", value)
    assert workspace["x"].tolist() == X.tolist()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "output 0 (y) is None, must be an array of numbers"),
        ([], "its run function returned 0 arrays, must return 1"),
        ((), "its run function returned 0 arrays, must return 1"),
        (np.ones(2), "output 0 (y) has shape (2,) and dtype float64, its tensor inference"),
        (np.ones((3, 1)), "output 0 (y) has shape (3, 1) and dtype float64, its tensor"),
        (np.ones(3, np.float32), "output 0 (y) has shape (3,) and dtype float32, its tensor"),
        (np.ones(3, complex), "output 0 (y) has shape (3,) and dtype complex128, its tensor"),
        (1.0, "output 0 (y) has shape () and dtype float64, its tensor inference function"),
    ],
)
def test_results_that_are_not_what_was_inferred(register, result, message):
    register(lambda x, out: result, same_shape)
    workspace = Workspace({"x": X})
    with pytest.raises((TypeError, ValueError), match=f"^Own: {re.escape(message)}"):
        workspace.run([own()])
    assert workspace.names() == ("x",)


def test_an_array_alone_is_not_two_results(register):
    register(lambda x, out: np.ones((2, 3)))
    with pytest.raises(
        ValueError, match=r"^Own: its run function returned 1 arrays, must return 2"
    ):
        Workspace({"x": X}).run([own("y", "z")])


@pytest.mark.parametrize(
    "result",
    [2, 2.5, True, 1j, np.float32(3), np.ones(3, ">f8"), np.ones((2, 2)).T, [[1, 2], [3, 4]]],
    ids=["int", "float", "bool", "complex", "scalar", "swapped", "transposed", "list"],
)
def test_results_that_numpy_makes_numbers_of(register, result):
    register(lambda x, out: (result, X))
    workspace = Workspace({"x": X})
    workspace.run([own()])
    assert np.array_equal(workspace["y"], result)
    assert workspace._blobs["y"].dtype.isnative
    assert workspace._blobs["y"].flags.c_contiguous


def test_results_of_no_blob_are_not_looked_at(register):
    register(lambda x, out: (x + 1, None))
    workspace = Workspace({"x": X})
    workspace.run([own()])
    assert workspace["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("inferred", "message"),
    [
        (None, "its tensor inference function gave None, must give a TensorShape for each"),
        (3, "its tensor inference function gave 3, must give a TensorShape for each"),
        (TensorShape((3,), float), "its tensor inference function gave TensorShape("),
        ([(3,)], "its tensor inference function gave (3,) for output 0 (y), must give a Tensor"),
        ([None], "its tensor inference function gave None for output 0 (y), must give a Ten"),
        ([], "its tensor inference function gave 0 outputs, must give 1"),
    ],
)
def test_inference_that_gives_no_shapes(register, inferred, message):
    register(lambda x, out: x + 1, lambda x: inferred)
    workspace = Workspace({"x": X})
    for call in (
        lambda: workspace.run([own()]),
        lambda: operators.infer(own(), [(3,)], [float]),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^Own: {re.escape(message)}"):
            call()
    assert workspace.names() == ("x",)


class OwnError(Exception):
    pass


RAISED = [KeyboardInterrupt, MemoryError, OwnError, ValueError, TypeError, OverflowError]


def raising(error):
    def call(*_, **__):
        raise error("mine")

    return call


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("where", ["run", "infer", "__array__"])
def test_what_is_raised_comes_out_as_it_is(register, error, where):
    if where == "__array__":
        lazy = type("Lazy", (), {"__array__": raising(error)})
        register(lambda x, out: lazy())
    else:
        functions = {"run": lambda x, out: x + 1, "infer": same_shape, where: raising(error)}
        register(**functions)
    workspace = Workspace({"x": X})
    with pytest.raises(error, match=r"^mine$") as caught:
        workspace.run([own()])
    assert caught.value.__cause__ is None
    assert workspace.names() == ("x",)
