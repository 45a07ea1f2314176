"""What the tests share: the instruction sets of this machine, sizes that meet every tail, inputs
of every kind, and arrays between guard zones."""

import functools
import sys

import ml_dtypes
import normkernels as nk
import numpy as np
import pytest
from embedding import ROOT, WHEEL_LIB, cmake_build, run
from normkernels.operators import gradient, registry

DTYPES = [np.float32, np.float64]
HALVES = [np.float16, ml_dtypes.bfloat16]
ORDERS = ["NCHW", "NHWC"]
ISAS = [isa.name for isa in nk.isas() if isa.supported]
FUSED_ISAS = [name for name in ISAS if name != "baseline"]  # those that promise the same bits
# Where a case is long: the one without fma and, for all that have the same bits, one with it.
FEW_ISAS = [name for name in ISAS if name == "baseline"] + FUSED_ISAS[-1:]

GUARD = 128  # elements: more than all the lanes that a kernel handles at once
OFFSETS = (0, 1, 3)  # in elements, from a cache line's border


each_isa = pytest.mark.parametrize("isa", ISAS, indirect=True)
each_of_few_isas = pytest.mark.parametrize("isa", FEW_ISAS, indirect=True)


@pytest.fixture(autouse=True, scope="module")
def torch_gradients():
    """The benchmarks, which need none, turn torch's gradients off for the whole process."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_grad_enabled(True)


@pytest.fixture(params=ISAS)
def isa(request):
    """Every instruction set of this machine in turn.

    With one of the decorators above, put first, it is what changes fastest, so that what a test
    caches serves all of them."""
    nk.force_isa(request.param)
    yield request.param
    nk.force_isa(None)


def has_array_of_nothing(torch):
    """Whether this torch makes an array of a tensor that has no memory, of whatever lies there."""
    try:
        torch._efficientzerotensor((1,)).numpy()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def own_registry(monkeypatch):
    """Operators that a test registers are gone afterwards."""
    monkeypatch.setattr(registry, "_operators", dict(registry._operators))
    monkeypatch.setattr(gradient, "_makers", dict(gradient._makers))


@pytest.fixture(params=DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request):
    return request.param


@pytest.fixture(params=ORDERS)
def order(request):
    return request.param


def is_half(dtype):
    return dtype in HALVES


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


# ---- Inputs of every kind: functions of (generator, shape), of a spread of about 1


def _with_one(values, index, value):
    values[:, index] = value
    return values


def _of_two_values(shape):
    return np.broadcast_to(np.where(np.arange(shape[1]) % 2, 1.0, -1.0), shape).copy()


DISTRIBUTIONS = {
    "normal": lambda generator, shape: generator.standard_normal(shape),
    "uniform": lambda generator, shape: generator.uniform(-1, 1, shape),
    "log-normal": lambda generator, shape: generator.lognormal(0, 3, shape),
    "Cauchy": lambda generator, shape: generator.standard_cauchy(shape),
    "spike": lambda g, shape: _with_one(g.standard_normal(shape), shape[1] // 3, 1e30),
    "spike-first": lambda g, shape: _with_one(g.standard_normal(shape), 0, 1e30),
    "alternating": lambda g, shape: 1e4 * _of_two_values(shape) + g.standard_normal(shape),
    "two-valued": lambda _, shape: _of_two_values(shape),
    "constant": lambda _, shape: np.full(shape, 0.1),
    "one-hot": lambda _, shape: _with_one(np.zeros(shape), shape[1] // 2, 1),
}
ONE_TERM_IS_MOST = {"log-normal", "Cauchy", "spike", "spike-first", "one-hot"}
# |mean| over the spread, as far as the dtype can hold the spread beside it.
OFFSETS_OVER_STD = {
    np.float32: (0, 1, 1e2, 1e4, 1e6),
    np.float64: (0, 1, 1e2, 1e4, 1e6, 1e12),
}
LENGTHS = (1, 2, 3, 5, 17, 64, 65, 1000, 1023, 4096, 4097, 5000)
LONG_LENGTHS = (65537, 300001)
LONGEST = 4194304


def rows_for(n):
    """How many rows of n to test: as channels in NHWC, the short ones fill any vector and more."""
    return 19 if n < 4096 else 3 if n < LONG_LENGTHS[0] else 1


def drawn(distribution, dtype, n, offset=0.0):
    """Rows of n."""
    generator = np.random.default_rng([n, *distribution.encode()])
    return (DISTRIBUTIONS[distribution](generator, (rows_for(n), n)) + offset).astype(dtype)


def groups_of(c):
    """A number of groups of c channels: of two and more, where they can be."""
    return next((groups for groups in range(2, c // 2 + 1) if c % groups == 0), 1)


def in_groups(rows):
    """Rows as the groups of an image: of two channels or more, where they can be."""
    positions = groups_of(rows.shape[1])
    return rows.reshape(1, rows.size // positions, positions)


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


# Kernels of a third of the time to compile.
UNOPTIMISED = [
    "-DCMAKE_BUILD_TYPE=Debug",
    "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
    "-DNORMKERNELS_OPTIMIZE=OFF",
]


@pytest.fixture(scope="session")
def subproject(tmp_path_factory):
    """The build of a project that fetches ours: shared, and without optimisation, which shows
    symbols that inlining hides."""
    build = tmp_path_factory.mktemp("subproject")
    cmake_build(
        ROOT / "examples/embed/fetch",
        build,
        *UNOPTIMISED,
        "-DBUILD_SHARED_LIBS=ON",
        "-DNORMKERNELS_INSTALL=ON",
        "-DCMAKE_INSTALL_LIBDIR=lib",
    )
    return build


@pytest.fixture(scope="session")
def installed(subproject, tmp_path_factory):
    """An install tree that has been moved since."""
    directory = tmp_path_factory.mktemp("installed")
    run("cmake", "--install", subproject, "--prefix", directory / "before")
    return (directory / "before").rename(directory / "after")


@pytest.fixture(scope="session")
def installed_static(tmp_path_factory):
    """The install tree of a build as it comes, which is static; for one instruction set."""
    directory = tmp_path_factory.mktemp("static")
    cmake_build(
        ROOT,
        directory / "build",
        *UNOPTIMISED,
        f"-DNORMKERNELS_ISAS={nk.isas()[0].name}",
        "-DNORMKERNELS_TESTS=OFF",
        "-DNORMKERNELS_BENCH=OFF",
        "-DCMAKE_INSTALL_LIBDIR=lib",
    )
    run("cmake", "--install", directory / "build", "--prefix", directory / "installed")
    return directory / "installed"


@pytest.fixture(scope="session")
def static_library(installed_static):
    return installed_static / "lib/libnormkernels.a"


@pytest.fixture(params=["shared", "static", "wheel"])
def lib(request):
    """The directory of the library and its packages, of each kind that there is."""
    if request.param == "wheel":
        return WHEEL_LIB
    tree = {"shared": "installed", "static": "installed_static"}[request.param]
    return request.getfixturevalue(tree) / "lib"
