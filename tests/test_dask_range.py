"""normkernels.dask at the ends of float64's range, where chunks cut what is normalised."""

import itertools

import numpy as np
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

import normkernels as nk  # noqa: E402
import normkernels.dask as nkd  # noqa: E402
from conftest import normal  # noqa: E402
from dask_cases import saved  # noqa: E402

SHAPE, CUT = (3, 4, 16), (2, 3, 5)
U = 2.0**-53
SMALLEST = np.finfo(np.float64).smallest_subnormal
NORMS = {"layer_norm": (), "rms_norm": (), "instance_norm": (), "group_norm": (2,)}
each_norm = pytest.mark.parametrize("norm", NORMS)


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def lazy(a):
    return da.from_array(a, chunks=CUT)


def assert_like(actual, wanted, what):
    """Infinite in the same places; else within 16 u of the largest, as either may be off by 8, and
    a subnormal number for each term of the sums, times its dy, of at most 2."""
    for name, a, b in zip(wanted._fields, dask.compute(*actual), wanted, strict=True):
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite], f"{name}, {what}")
        most = 16 * U * np.abs(b[finite]).max(initial=0) + 2 * np.prod(SHAPE) * SMALLEST
        np.testing.assert_allclose(a[finite], b[finite], 0, most, err_msg=f"{name}, {what}")


def assert_norm_like(norm, x, epsilon, what):
    groups = NORMS[norm]
    options = {} if norm == "layer_norm" else {"epsilon": epsilon}
    dy = np.where(np.arange(x.size).reshape(x.shape) % 2, 1.0, -2.0)
    forward = getattr(nk, norm)(x, *groups, epsilon=epsilon, return_stats=True)
    actual = getattr(nkd, norm)(lazy(x), *groups, epsilon=epsilon, return_stats=True)
    assert_like(actual, forward, what)
    theirs, ours = (getattr(m, norm + "_backward") for m in (nk, nkd))
    statistics = saved(norm, forward)
    for given in [statistics] if norm == "layer_norm" else [statistics, {}]:
        actual = ours(lazy(dy), lazy(x), *groups, **given, **options)
        wanted = theirs(dy, x, *groups, **given, **options)
        assert_like(actual, wanted, f"{what}, given {list(given)}")


@pytest.mark.parametrize("exponent", [300, 160, -160, -300])
@each_norm
def test_epsilon_counts_beside_numbers_of_any_size(norm, exponent):
    size = 10.0**exponent
    mixed = normal(SHAPE, np.float64)
    mixed[0] *= size
    mixed[2] = 3.0
    xs = {
        "all": normal(SHAPE, np.float64) * size,
        "constant": np.full(SHAPE, 0.1 * size),
        "one image": mixed,
    }
    for (what, x), epsilon in itertools.product(xs.items(), (1e-5, 0.0, 1e300)):
        assert_norm_like(norm, x, epsilon, f"{what}, epsilon {epsilon}")


@each_norm
def test_subnormal_numbers(norm):
    for x in (normal(SHAPE, np.float64) * 1e-200 * 1e-110, np.full(SHAPE, 1e-308)):
        assert_norm_like(norm, x, 0.0, "subnormal")


@each_norm
def test_largest_numbers(norm):
    index = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    for negative, epsilon in itertools.product((index % 2, index % 16 == 3), (0.0, 1e-5)):
        x = np.where(negative, -1.7e308, 1.7e308)
        assert_norm_like(norm, x, epsilon, "ends")


def test_epsilon_alone():
    x = da.from_array(np.full((1, 64), 1e300), chunks=(1, 16))
    assert nkd.layer_norm(x, return_stats=True).sigma.compute() == np.sqrt(1e-5)
    x = da.from_array(normal((2, 64), np.float64) * 1e-300, chunks=(2, 16))
    dy = da.ones_like(x)
    np.testing.assert_allclose(nkd.rms_norm_backward(dy, x).dx.compute(), 1e5**0.5)
