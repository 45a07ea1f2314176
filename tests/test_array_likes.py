"""Objects that are no NumPy arrays: which of their exports is read, what is refused and why, and
`out=` that is one."""

import array
import ctypes

import normkernels as nk
import numpy as np
import pytest
from conftest import same_bits
from good_calls import ARGUMENTS, DY, GRADIENT, ROW, X, all_same, call, each_array, each_operator
from test_arrays import Exchanged, read_only

F32 = np.float32


class Array:
    """What a data frame or a tensor is: NumPy's view of it."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Copies(Array):
    def __array__(self, dtype=None, copy=None):
        return self.array.copy()


class Both(Array):
    """As a torch tensor that is negative by a flag: its memory holds the opposite of what it is."""

    def __dlpack__(self, **keywords):
        return (-self.array).__dlpack__(**keywords)

    def __dlpack_device__(self):
        return (1, 0)


class Refuses(Both):
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("it has the negative bit set")


class Interface:
    def __init__(self, array):
        self.keep, self.__array_interface__ = array, array.__array_interface__


class Struct:
    def __init__(self, array):
        self.keep, self.__array_struct__ = array, array.__array_struct__


KINDS = {
    "__array__": Array,
    "a copy": Copies,
    "__array__ and DLPack": Both,
    "__array_interface__": Interface,
    "__array_struct__": Struct,
    "memoryview": memoryview,
    "subclass": lambda a: a.view(type("Labelled", (np.ndarray,), {})),
    "subclass in an array": lambda a: Array(a.view(type("Labelled", (np.ndarray,), {}))),
    "recarray": lambda a: a.view(np.recarray),
    "memory map": lambda a: a.view(np.memmap),
}


@each_array
@pytest.mark.parametrize("kind", KINDS)
def test_array_likes(name, argument, kind):
    actual = call(name, **{argument: KINDS[kind](ARGUMENTS[name][argument].copy())})
    assert all_same(actual, call(name))
    assert all(type(a) is np.ndarray for a in actual)


@pytest.mark.parametrize(
    "make",
    [np.asmatrix, lambda a: array.array("f", a[0]), lambda a: (ctypes.c_float * 4)(*a[0])],
    ids=["matrix", "array", "ctypes"],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_what_has_a_shape_of_its_own(make):
    x = make(ROW)
    y = nk.layer_norm(x, axis=-1)
    assert type(y) is np.ndarray
    assert same_bits(y, nk.layer_norm(np.array(x), axis=-1))


@pytest.mark.parametrize("kind", [Array, Interface, Exchanged])
def test_array_likes_are_read_where_they_lie(kind):
    """An output that begins one element later would not be seen to overlap a copy."""
    memory = np.zeros(X.size + 1, F32)
    x, out = memory[:-1].reshape(X.shape), memory[1:].reshape(X.shape)
    with pytest.raises(ValueError, match="shares memory"):
        nk.layer_norm(kind(x), out=out)


@each_array
def test_what_refuses_is_not_read_another_way(name, argument):
    message = rf"^{name}: {argument} is of type Refuses .*\(it has the negative bit set\), must be"
    with pytest.raises(TypeError, match=message):
        call(name, **{argument: Refuses(ARGUMENTS[name][argument])})


def test_a_read_only_array_whose_export_is_refused():
    class Constant(Both):
        def __dlpack__(self, **keywords):
            raise BufferError("cannot be exported read-only")

    assert all_same(call("layer_norm", x=Constant(read_only(X))), call("layer_norm"))


@pytest.mark.parametrize(("device", "text"), [((2, 0), r"2 \(CUDA\)"), ((99, 1), "99")])
def test_the_device_is_said(device, text):
    class Elsewhere(Exchanged):
        def __dlpack_device__(self):
            return device

    with pytest.raises(TypeError, match=rf"^layer_norm: x is of type Elsewhere .*{text}, must be"):
        nk.layer_norm(Elsewhere(X))


# ---- What is refused for what it holds


@each_array
@pytest.mark.parametrize("mask", [True, False], ids=["masked", "nothing masked"])
@pytest.mark.parametrize("kind", [lambda a: a, Array], ids=["itself", "in an array-like"])
def test_masked_arrays(name, argument, mask, kind):
    value = np.ma.array(ARGUMENTS[name][argument])
    if mask:
        value[..., -1] = np.ma.masked
    message = rf"^{name}: {argument} is a masked array, must be without a mask"
    with pytest.raises(TypeError, match=message):
        call(name, **{argument: kind(value)})


def test_masked_arrays_as_out():
    out = np.ma.zeros(X.shape, F32)
    with pytest.raises(TypeError, match=r"^layer_norm: out is a masked array, must be"):
        nk.layer_norm(X, out=out)
    assert not out.any()


@each_array
@pytest.mark.parametrize("dtype", ["O", "i4", "c8", "S4"])
def test_array_likes_of_another_dtype(name, argument, dtype):
    value = np.zeros(ARGUMENTS[name][argument].shape, dtype)
    expected = rf"^{name}: {argument} has dtype {value.dtype}.*, must be float32, "
    with pytest.raises(TypeError, match=expected.replace("|", r"\|")):
        call(name, **{argument: Array(value)})


@pytest.mark.parametrize("result", [[[1.0, 2.0]], None, 1.0, "text"], ids=repr)
def test_exports_that_are_no_array(result):
    with pytest.raises(TypeError, match=r"^layer_norm: x is of type Array and cannot be viewed"):
        nk.layer_norm(Array(result))


def test_array_like_of_rank_0():
    with pytest.raises(ValueError, match=r"^layer_norm: x has rank 0 \(shape \(\)\), must have"):
        nk.layer_norm(Array(np.array(1, F32)))


# ---- out


def view_of(kind, memory):
    return {"memoryview": memoryview, "DLPack": Exchanged}.get(kind, KINDS.get(kind))(memory)


@each_operator
@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k not in {"a copy", "memory map"}] + ["DLPack"]
)
def test_out_that_numpy_views(name, kind):
    expected = call(name)
    memory = [np.zeros_like(X), np.zeros_like(X)]
    outs = [view_of(kind, m) for m in memory]
    if kind == "DLPack" and not np.from_dlpack(memory[0]).flags.writeable:
        pytest.skip("this NumPy imports everything read-only")
    result = getattr(nk, name)(**ARGUMENTS[name], out=tuple(outs) if name == GRADIENT else outs[0])
    results = list(result) if isinstance(result, tuple) else [result]
    for given, m, i in zip(outs[: 1 + (name == GRADIENT)], memory, (0, 1), strict=False):
        assert results[i] is given
        assert same_bits(m, expected[i])


def test_an_array_of_ctypes():
    """Its dtype names the machine's own order of bytes, where others say that it is native."""
    memory = ((ctypes.c_float * 4) * 2)()
    x = np.arange(8, dtype=F32).reshape(2, 4)
    assert nk.layer_norm(x, out=memory) is memory
    assert same_bits(np.array(memory), nk.layer_norm(x))
    memory[0][0] = 40
    assert same_bits(nk.layer_norm(memory), nk.layer_norm(np.array(memory)))


def test_out_that_is_an_input_by_another_name():
    expected = nk.layer_norm(X)
    memory = X.copy()
    out = Array(memory)
    assert nk.layer_norm(Array(memory), out=out) is out
    assert same_bits(memory, expected)
    with pytest.raises(ValueError, match=r"^local_response_norm: out shares memory"):
        nk.local_response_norm(memory, 3, out=out)


@each_operator
def test_out_that_numpy_copies(name):
    memory, good = np.zeros_like(X), np.zeros_like(DY)
    for bad in (Copies(memory), Copies(memory[:, ::-1])):
        for out in ((bad, good), (good, bad)) if name == GRADIENT else (bad,):
            with pytest.raises(TypeError, match=rf"^{name}: out.* NumPy makes a copy, must be"):
                call(name, out=out)
    assert not memory.any()
    assert not good.any()


@pytest.mark.parametrize(
    ("out", "error", "was"),
    [
        (Array(np.zeros(X.shape)), TypeError, "has dtype float64"),
        (Array(np.zeros((2, 4, 3), F32)), ValueError, r"has shape \(2, 4, 3\)"),
        (Array(read_only(X)), ValueError, "is read-only"),
        (memoryview(bytes(X.nbytes)), TypeError, "has dtype"),
        (Refuses(X.copy()), TypeError, "is of type Refuses and cannot be viewed"),
        (X.tolist(), TypeError, "is of type list"),
        ("text", TypeError, "is of type str"),
        (3.0, TypeError, "is of type float"),
    ],
)
def test_outs_that_are_refused(out, error, was):
    with pytest.raises(error, match=rf"^layer_norm: out {was}.*, must "):
        nk.layer_norm(X, out=out)


def test_a_view_without_elements_may_be_out():
    out = Array(np.zeros((0, 3), F32))
    assert nk.layer_norm(np.zeros((0, 3), F32), out=out) is out


def test_a_pair_is_no_array_of_two_rows():
    with pytest.raises(TypeError, match=rf"^{GRADIENT}: out is not a pair, must be"):
        call(GRADIENT, out=Array(np.zeros((2, *X.shape), F32)))
