"""normkernels.dask keeps docs/numerics.md's promises where chunks cut what is normalised."""

import itertools

import numpy as np
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

import normkernels as nk  # noqa: E402
import normkernels.dask as nkd  # noqa: E402
import reference  # noqa: E402
from conftest import DISTRIBUTIONS, OFFSETS_OVER_STD, drawn, normal  # noqa: E402
from reference import BACKWARD, FORWARD, STATISTICS, assert_within  # noqa: E402

F32, F64 = np.float32, np.float64
N = 1000
CUT = (7, 300)  # of rows, and of their elements


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def cut(x):
    return da.from_array(x, chunks=(*CUT, *x.shape[2:])[: x.ndim])


def assert_norms_exact(x, what="", epsilon=1e-5):
    """Layer, RMS, instance and group norm of rows, with parameters, forward."""
    gamma, beta = (normal((x.shape[1],), x.dtype.type, seed) for seed in (1, 2))
    options = {"epsilon": epsilon}
    bounds = (FORWARD, STATISTICS, STATISTICS)
    for norm in ("layer_norm", "rms_norm"):
        actual = getattr(nkd, norm)(cut(x), gamma, beta, **options, return_stats=True)
        exact = getattr(reference, norm)(x, gamma, beta, **options)
        for a, e, bound in zip(dask.compute(*actual), exact, bounds, strict=False):
            assert_within(a, e, bound, f"{norm}, {what}")
    planes = x[None]
    lazy = da.from_array(planes, chunks=(1, *CUT))
    scale, bias = (normal((x.shape[0],), x.dtype.type, seed) for seed in (3, 4))
    actual = nkd.instance_norm(lazy, scale, bias, **options, return_stats=True)
    exact = reference.instance_norm(planes, scale, bias, **options)
    for a, e, bound in zip(dask.compute(*actual), exact, bounds, strict=True):
        assert_within(a, e, bound, f"instance_norm, {what}")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
def test_forward(dtype, distribution):
    for offset in OFFSETS_OVER_STD[dtype][::2]:
        assert_norms_exact(drawn(distribution, dtype, N, offset), f"offset {offset}")


def test_magnitudes():
    for dtype, exponents in ((F32, (-140, -60, 0, 60, 120)), (F64, (-1040, -600, 0, 600, 1015))):
        for exponent, epsilon in itertools.product(exponents, (0.0, 1e-5)):
            x = np.ldexp(normal((19, N), dtype, mean=2.0), exponent).astype(dtype)
            assert_norms_exact(x, f"2^{exponent}, epsilon {epsilon}", epsilon)


@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
def test_groups_whose_channels_differ_in_offset(dtype):
    x = normal((2, 8, 40, 30), dtype) + dtype(1e4) * np.arange(8, dtype=dtype)[:, None, None]
    scale, bias = (normal((8,), dtype, seed) for seed in (1, 2))
    lazy = da.from_array(x, chunks=(1, 3, 17, 30))
    actual = nkd.group_norm(lazy, 2, scale, bias, return_stats=True)
    exact = reference.group_norm(x, 2, scale, bias)
    bounds = (FORWARD, STATISTICS, STATISTICS)
    for a, e, bound in zip(dask.compute(*actual), exact, bounds, strict=True):
        assert_within(a, e, bound, "group_norm")


@pytest.mark.parametrize("dtype", [F32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "two-valued", "alternating"])
def test_backward(dtype, distribution):
    for offset in OFFSETS_OVER_STD[dtype][::2]:
        x, dy = drawn(distribution, dtype, N, offset), drawn("normal", dtype, N)
        gamma = normal((N,), dtype, seed=1)
        what = f"offset {offset}"
        stats = nk.layer_norm(x, return_stats=True)[1:]
        exact = reference.layer_norm_backward(dy, x, gamma)
        actual = nkd.layer_norm_backward(cut(dy), cut(x), *stats, gamma)
        for a, e in zip(dask.compute(*actual), exact, strict=True):
            assert_within(a, e, BACKWARD, f"layer_norm_backward, {what}")
        exact = reference.rms_norm_backward(dy, x, gamma)
        actual = nkd.rms_norm_backward(cut(dy), cut(x), None, gamma)
        for a, e in zip(dask.compute(*actual), exact, strict=True):
            assert_within(a, e, BACKWARD, f"rms_norm_backward, {what}")
        scale = normal((len(x),), dtype, seed=2)
        _, mean, inv_std = nk.instance_norm(x[None], return_stats=True)
        lazy_dy, lazy = (da.from_array(a[None], chunks=(1, *CUT)) for a in (dy, x))
        exact = reference.instance_norm_backward(dy[None], x[None], scale)
        for saved in ((), (mean, inv_std)):
            actual = nkd.instance_norm_backward(lazy_dy, lazy, scale, *saved)
            for a, e in zip(dask.compute(*actual), exact, strict=True):
                assert_within(a, e, BACKWARD, f"instance_norm_backward, {what}")


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_types_are_rounded_float32(half):
    """float64 rounded to float32 and then once more is what float32's own result is rounded to, but
    for float32's errors, which reach a border between two numbers of the half type now and then."""
    dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16 if half == "bfloat16" else half)
    x = normal((19, N), np.float32, mean=3.0).astype(dtype)
    y, mean, sigma = dask.compute(*nkd.layer_norm(cut(x), return_stats=True))
    wide = nkd.layer_norm(cut(x.astype(np.float32)), return_stats=True)
    assert y.tobytes() == wide.y.compute().astype(dtype).tobytes()
    assert mean.tobytes() == wide.mean.compute().tobytes()
    assert sigma.tobytes() == wide.sigma.compute().tobytes()


def test_constant_rows_are_beta():
    for dtype, epsilon in itertools.product((F32, F64), (0.0, 1e-5)):
        x = np.full((9, N), 0.1, dtype)
        beta = normal((N,), dtype)
        y = nkd.layer_norm(cut(x), None, beta, epsilon=epsilon).compute()
        np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
        zero = np.zeros_like(x)
        y = nkd.rms_norm(cut(zero), None, beta, epsilon=epsilon).compute()
        np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
        stats = nk.layer_norm(x, epsilon=epsilon, return_stats=True)[1:]
        dx = nkd.layer_norm_backward(cut(x), cut(x), *stats).dx.compute()
        assert epsilon or not dx.any()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_row(value):
    x = normal((20, N), F32)
    clean = [a.compute() for a in nkd.layer_norm(cut(x), return_stats=True)]
    x[3, 700] = value
    for norm, results in (("layer_norm", clean), ("rms_norm", None)):
        spoilt = dask.compute(*getattr(nkd, norm)(cut(x), return_stats=True))
        for i, a in enumerate(spoilt):
            assert np.isnan(a[3]).all()
            if results:
                others = np.delete(a, 3, 0), np.delete(results[i], 3, 0)
                assert others[0].tobytes() == others[1].tobytes()
