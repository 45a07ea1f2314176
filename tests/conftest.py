"""What the tests share: the instruction sets of this machine, sizes that meet every tail, and
arrays between guard zones."""

import functools

import normkernels as nk
import numpy as np
import pytest

DTYPES = [np.float32, np.float64]
ORDERS = ["NCHW", "NHWC"]
ISAS = [isa.name for isa in nk.isas() if isa.supported]
FUSED_ISAS = [name for name in ISAS if name != "baseline"]  # those that promise the same bits

GUARD = 128  # elements: more than all the lanes that a kernel handles at once
OFFSETS = (0, 1, 3)  # in elements, from a cache line's border


@pytest.fixture(params=ISAS)
def isa(request):
    """Every instruction set of this machine in turn."""
    nk.force_isa(request.param)
    yield request.param
    nk.force_isa(None)


@pytest.fixture(params=DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return request.param


@pytest.fixture(params=ORDERS)
def order(request):
    return request.param


def simd_sizes(limit):
    """Powers of two, three times powers of two, one less and one more of each, and a few primes."""
    powers = [2**k for k in range(limit.bit_length())]
    around = {m * p + d for p in powers for m in (1, 3) for d in (-1, 0, 1)}
    primes = {5, 11, 13, 19, 29, 37, 43, 53, 61, 101, 211, 509, 1009}
    return sorted(n for n in around | primes if 1 <= n <= limit)


@functools.lru_cache(maxsize=16)
def _standard_normal(shape, seed):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def normal(shape, dtype, seed=0, mean=0.0, std=1.0):
    """N(mean, std), the same for every dtype and instruction set."""
    return (mean + std * _standard_normal(tuple(shape), seed)).astype(dtype)


def ordered(a, order):
    """An NCHW array in `order`, contiguous."""
    return a if order == "NCHW" else np.ascontiguousarray(np.moveaxis(a, 1, -1))


class Guarded:
    """An array at `offset` elements from a cache line's border, with NaN on both sides.

    What is read there spoils the result, what is written there is noticed. Without `values` the
    array is NaN itself."""

    def __init__(self, shape, dtype, offset=0, values=None):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64))
        self._bytes = np.full((size + 2 * GUARD + 64) * dtype.itemsize, 0xFF, np.uint8)
        to_border = -self._bytes.ctypes.data % 64
        self._begin = to_border + (GUARD + offset) * dtype.itemsize
        self._end = self._begin + size * dtype.itemsize
        self.array = self._bytes[self._begin : self._end].view(dtype).reshape(shape)
        if values is not None:
            self.array[...] = values

    @classmethod
    def of(cls, values, offset=0):
        return cls(values.shape, values.dtype, offset, values)

    def margins_are_intact(self):
        return bool(
            (self._bytes[: self._begin] == 0xFF).all() and (self._bytes[self._end :] == 0xFF).all()
        )

    def is_untouched(self):
        return bool((self._bytes == 0xFF).all())


def guarded(*arrays, offset=0):
    """Copies of the arrays between guard zones, each one element further off than the last."""
    return [a if a is None else Guarded.of(a, offset + i).array for i, a in enumerate(arrays)]


def same_bits(a, b):
    """Whether two arrays are equal as integers: NaN equals itself and -0 differs from 0."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
