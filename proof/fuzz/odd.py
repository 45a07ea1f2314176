"""Arguments as others pass them: the same values in another dress, which must be read alike, and
what is wrong, which must be refused by name."""

import fractions
import math
import random
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import test_array_likes
import test_arrays
from test_hooks import OnlyDLPack, OwnError, Raises, RaisesInLookUp
from views import WRITABLE

Value = Any

# ---- The same values


class Index:
    def __init__(self, value: Value) -> None:
        self.value = value

    def __index__(self) -> Value:
        return self.value


class Float:
    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


ARRAYS: dict[str, Callable[[np.ndarray], Value]] = {
    **WRITABLE,
    **test_arrays.KINDS,
    **{name: kind for name, kind in test_array_likes.KINDS.items() if name != "memory map"},
}
# None of these protocols has a word for it in NumPy.
NOT_BFLOAT16 = {
    *("buffer", "memoryview", "DLPack", "DLPack, strided", "__array_interface__"),
    "__array_struct__",
}
NUMBERS: dict[type, list[Callable[[Any], Value]]] = {
    bool: [int, np.bool_],
    int: [np.int64, Index, np.array],
    float: [np.float64, Float, fractions.Fraction, np.array],
    str: [str.lower, lambda text: "".join(list(text))],
}


def dressed(rng: random.Random, value: Value) -> Value:
    """The same in another dress; what has none as it is."""
    if isinstance(value, np.ndarray):
        dress = rng.choice(list(ARRAYS))
        wordless = value.dtype == ml_dtypes.bfloat16 and dress in NOT_BFLOAT16
        # Moments, which are records, are given by who has computed them.
        return value if wordless or value.dtype.names or value.ndim == 0 else ARRAYS[dress](value)
    return rng.choice(NUMBERS[type(value)])(value) if type(value) in NUMBERS else value


# ---- What is wrong


def _reshaped(rng: random.Random, a: np.ndarray) -> np.ndarray:
    """An extent more or less, a dimension more or less, or the other way round."""
    shape = [*a.shape]
    kind = rng.randrange(5)
    if kind == 0 and shape:
        shape[rng.randrange(len(shape))] += rng.choice([-1, 1])
    elif kind == 1:
        shape.insert(rng.randint(0, len(shape)), rng.choice([0, 1, 2]))
    elif kind == 2 and shape:
        del shape[rng.randrange(len(shape))]
    elif kind == 3:
        shape.reverse()
    else:
        shape = [1] * rng.choice([0, 6, 31, 32])
    return np.resize(np.ones(1, a.dtype) if a.size == 0 else a, [max(n, 0) for n in shape])


DTYPES = ["i4", "u1", "?", "c16", "g", "O", "U3", "M8[s]", "f4,f4", "f2", "f4", "f8", "V4"]


def _retyped(rng: random.Random, a: np.ndarray) -> np.ndarray:
    return np.ones(a.shape, rng.choice(DTYPES)) if rng.random() < 0.9 else np.empty(a.shape, "V0")


def _broken(rng: random.Random, a: np.ndarray) -> Value:
    """Objects that promise an array and break the promise."""
    interface = dict(a.__array_interface__)
    interface[rng.choice(["shape", "typestr", "data", "strides", "version"])] = rng.choice(
        [None, -1, (-1,), "<f3", (0, False), (1 << 62,), 0, ()]
    )
    if interface["data"] != a.__array_interface__["data"]:
        interface["data"] = None  # NumPy believes every address
    methods: dict[str, Value] = {
        "__array__": lambda self, *_, **__: rng.choice([None, 3, "text", [1.0], self]),
        "__dlpack__": lambda self, *_, **__: rng.choice([None, 3, object()]),
        "__dlpack_device__": lambda self: rng.choice([None, (1,), (1, 0), (2, 0), ("x", 0), 7]),
        "__array_struct__": rng.choice([None, 3, object()]),
        "__len__": lambda self: rng.choice([-1, 2, 1 << 62]),
        "__getitem__": lambda self, i: a,
    }
    if interface["shape"] == a.shape and interface["strides"] is None:
        methods["__array_interface__"] = interface
    names = rng.sample(list(methods), rng.randint(1, 3))
    # An interface is an address: what has the memory lives as long.
    return type("Broken", (), {"owner": a, **{name: methods[name] for name in names}})()


def _masked(_: random.Random, a: np.ndarray) -> Value:
    return np.ma.masked_array(a)


def _raises(rng: random.Random, _: Value) -> Value:
    return rng.choice([Raises, RaisesInLookUp, OnlyDLPack])(OwnError("its own"))


NOTHING = [None, "text", b"NCHW", 3.5, [], {}, (), object(), [[1.0, 2.0]], int, Ellipsis]
EXTREMES = [
    *map(float, ("nan", "inf", "-inf", "5e-324", "1e308", "-0.0")),
    *(-1, 0, 1, 2**31, 2**63, 2**64, -(2**63), 2**70, -(2**70), 10**400),
    *("1", 1j, True, np.float16(1), np.ones(2), np.array(0.5)),
    *([1], (0, 0), (-1,), [2**70], Index(2**70), Float(math.nan), Index("no index")),
]


def spoiled(rng: random.Random, value: Value) -> Value:
    """Something else, which may still do by chance."""
    anything = rng.random()
    if anything < 0.1:
        return rng.choice(NOTHING)
    if anything < 0.2:
        return _raises(rng, value)
    if isinstance(value, np.ndarray) and value.ndim:
        return rng.choice([_reshaped, _reshaped, _retyped, _broken, _masked])(rng, value)
    if isinstance(value, str):
        return rng.choice(["NCWH", "", "NCHW ", "nCHW", "NCHW\0", "\ud800", 1, "N" * 10000])
    return rng.choice(EXTREMES)
