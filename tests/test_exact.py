"""Exact at any offset and magnitude: inputs on which others lose digits or return NaN."""

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import normal, ordered, same_bits
from reference import (
    BACKWARD,
    FORWARD,
    LRN_BACKWARD,
    LRN_FORWARD,
    ONE_TERM,
    STATISTICS,
    assert_within,
)

F32, F64 = np.float32, np.float64
OFFSETS_OVER_STD = {F32: (0, 1, 1e2, 1e4, 1e5, 1e6), F64: (0, 1, 1e4, 1e8, 1e12)}


def both_layouts(rows):
    """[rows, cols] as an image per row: one channel in NCHW; and all rows as the channels of
    NHWC."""
    return ((rows[:, None, :], "NCHW"), (np.ascontiguousarray(rows.T)[None], "NHWC"))


def assert_norms_exact(rows, epsilon=1e-5, more=0):
    """Layer norm of the rows, and instance norm of the same in both layouts."""
    forward, statistics = FORWARD + more, STATISTICS + more
    y, mean, sigma = nk.layer_norm(rows, epsilon=epsilon, return_stats=True)
    exact = reference.layer_norm(rows, epsilon=epsilon)
    assert_within(y, exact.y, forward, "layer norm, y")
    assert_within(mean, exact.mean, statistics, "layer norm, mean")
    assert_within(sigma, exact.sigma, statistics, "layer norm, sigma")
    for x, order in both_layouts(rows):
        y, mean, inv_std = nk.instance_norm(x, order=order, epsilon=epsilon, return_stats=True)
        exact = reference.instance_norm(x, order=order, epsilon=epsilon)
        assert_within(y, exact.y, forward, f"instance norm {order}, y")
        assert_within(mean, exact.mean, statistics, f"instance norm {order}, mean")
        assert_within(inv_std, exact.inv_std, statistics, f"instance norm {order}, inv_std")


# ---- Norms, forward


def test_offset_of_ten_thousand(isa):
    """N(1e4, 1), rows of 1024: at most 2e-6 from the exact y."""
    rows = normal((64, 1024), F32, mean=1e4)
    error = abs(nk.layer_norm(rows) - reference.layer_norm(rows).y.value).max()
    assert error <= 2e-6
    for x, order in both_layouts(rows):
        exact = reference.instance_norm(x, order=order)
        assert abs(nk.instance_norm(x, order=order) - exact.y.value).max() <= 2e-6


def test_offsets(isa, dtype):
    for offset in OFFSETS_OVER_STD[dtype]:
        for n in (3, 64, 1000, 5000):
            assert_norms_exact(normal((6, n), dtype, mean=offset))
            assert_norms_exact(normal((6, n), dtype, mean=-offset, std=0.01), epsilon=1e-12)


@pytest.mark.parametrize(
    ("rows", "epsilon"),
    [
        (np.arange(40000, 40004, dtype=F32)[None], 1e-5),
        (normal((2, 32768), F32, mean=100, std=0.01), 1e-5),
        (normal((2, 1024), F32, mean=1e5, std=0.01), 1e-6),
        (normal((1, 4194304), F32), 1e-5),
        (normal((1, 4194304), F32, mean=1e4), 1e-5),
        (1e20 * normal((2, 1024), F32), 1e-5),
        (1e30 * normal((2, 1024), F32), 1e-5),
        (1e37 * normal((2, 1024), F32), 0),
        (1e-25 * normal((2, 1024), F32), 0),
        (1e-38 * normal((2, 1024), F32), 0),
        (1e300 * normal((2, 1024), F64), 0),
        (1e-300 * normal((2, 1024), F64), 0),
    ],
    ids=lambda v: f"{v.shape}-{v.dtype}-{abs(v).max():.2g}" if np.ndim(v) else str(v),
)
def test_where_others_fail(isa, rows, epsilon):
    assert_norms_exact(rows, epsilon)


def test_denormal_rows(isa, dtype):
    """Numbers as others are: multiples of the smallest one, normalised with epsilon 0."""
    for n in (3, 300, 5000):
        multiples = np.arange(2 * n, dtype=dtype).reshape(2, n) ** 2
        rows = multiples * np.finfo(dtype).smallest_subnormal
        assert_norms_exact(rows, epsilon=0)


def spike(generator, shape):
    rows = generator.standard_normal(shape)
    rows[:, shape[1] // 3] = 1e30
    return rows


def alternating(generator, shape):
    return np.where(np.arange(shape[1]) % 2, 1e4, -1e4) + generator.standard_normal(shape)


DISTRIBUTIONS = {
    "uniform": lambda generator, shape: generator.uniform(-1, 1, shape),
    "log-normal": lambda generator, shape: generator.lognormal(0, 3, shape),
    "Cauchy": lambda generator, shape: generator.standard_cauchy(shape),
    "spike": spike,
    "alternating": alternating,
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions(isa, dtype, distribution):
    generator = np.random.default_rng(0)
    for n in (2, 5, 100, 1024, 5000):
        rows = DISTRIBUTIONS[distribution](generator, (8, n)).astype(dtype)
        assert_norms_exact(rows, more=ONE_TERM if distribution in {"spike", "Cauchy"} else 0)


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_constant_rows_are_beta(isa, dtype, epsilon):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    constants = np.array([0, 0.1, -1234, 1e-30, 1e4 / 3, tiny, huge, -huge], dtype)
    for n in (1, 3, 256, 1000, 5000):
        rows = np.repeat(constants[:, None], n, axis=1)
        gamma, beta = normal((n,), dtype), normal((n,), dtype, seed=1)
        y, mean, sigma = nk.layer_norm(rows, gamma, beta, epsilon=epsilon, return_stats=True)
        assert np.array_equal(y, np.broadcast_to(beta, y.shape))
        assert np.array_equal(mean[:, 0], constants)
        assert np.array_equal(sigma[:, 0], np.full(len(constants), np.sqrt(dtype(epsilon))))
        for x, order in both_layouts(rows):
            channels = x.shape[1 if order == "NCHW" else 2]
            scale, bias = normal((channels,), dtype), normal((channels,), dtype, seed=1)
            y, mean, _ = nk.instance_norm(
                x, scale, bias, order=order, epsilon=epsilon, return_stats=True
            )
            each = bias[:, None] if order == "NCHW" else bias
            assert np.array_equal(y, np.broadcast_to(each, y.shape))
            assert np.array_equal(mean.ravel(), constants)


# ---- Norms, backward


def backward_errors(rows, dy, parameter):
    """The errors of all gradients in u * scale: layer norm, then instance norm in both layouts,
    with saved statistics and without."""
    _, mean, sigma = nk.layer_norm(rows, return_stats=True)
    actual = nk.layer_norm_backward(dy, rows, mean, sigma, parameter)
    exact = reference.layer_norm_backward(dy, rows, parameter)
    errors = [reference.error(a, e) for a, e in zip(actual, exact, strict=True)]
    for (x, order), (above, _) in zip(both_layouts(rows), both_layouts(dy), strict=True):
        scale = parameter[: x.shape[1 if order == "NCHW" else 2]]
        exact = reference.instance_norm_backward(above, x, scale, order=order)
        _, mean, inv_std = nk.instance_norm(x, order=order, return_stats=True)
        for saved in ((mean, inv_std), (None, None)):
            actual = nk.instance_norm_backward(above, x, scale, *saved, order=order)
            errors += [reference.error(a, e) for a, e in zip(actual, exact, strict=True)]
    return np.array(errors)


def test_backward_loses_nothing_to_the_offset(isa, dtype):
    """The saved mean is wrong by up to half a unit of the offset's last place; the gradients are
    not: their errors are within a factor of 2 of those without an offset."""
    shape = (48, 1024)
    dy, parameter = normal(shape, dtype, seed=1), normal(shape[1:], dtype, seed=2)
    without = backward_errors(normal(shape, dtype), dy, parameter)
    assert without.max() <= BACKWARD
    for offset in OFFSETS_OVER_STD[dtype][2:]:
        errors = backward_errors(normal(shape, dtype, mean=offset), dy, parameter)
        assert errors.max() <= 2 * without.max(), offset


@pytest.mark.parametrize("magnitude", [1e-30, 1e-15, 1e15, 1e30])
def test_backward_at_any_magnitude(isa, dtype, magnitude):
    """x large or small with epsilon 0; dx is then as small or large."""
    x, dy = normal((6, 200), dtype, std=magnitude), normal((6, 200), dtype, seed=1)
    _, mean, sigma = nk.layer_norm(x, epsilon=0, return_stats=True)
    actual = nk.layer_norm_backward(dy, x, mean, sigma)
    for a, e in zip(actual, reference.layer_norm_backward(dy, x, epsilon=0), strict=True):
        assert_within(a, e, BACKWARD)
    for (planes, order), (above, _) in zip(both_layouts(x), both_layouts(dy), strict=True):
        actual = nk.instance_norm_backward(above, planes, order=order, epsilon=0)
        exact = reference.instance_norm_backward(above, planes, order=order, epsilon=0)
        for a, e in zip(actual, exact, strict=True):
            assert_within(a, e, BACKWARD)


# ---- Local response norm


def test_one_large_channel(isa, dtype, order):
    """One channel times 1e4 with alpha 1, bias 1: a running window would keep its rounding
    error."""
    nchw = normal((1, 64, 8, 8), dtype)
    nchw[:, 20] *= 1e4
    x, dy = ordered(nchw, order), ordered(normal((1, 64, 8, 8), dtype, seed=1), order)
    options = {"alpha": 1.0, "beta": 0.75, "bias": 1.0, "order": order}
    y = nk.local_response_norm(x, 5, **options)
    dx = nk.local_response_norm_backward(dy, x, 5, **options)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert_within(y, reference.local_response_norm(x, 5, **options).y, LRN_FORWARD)
    assert_within(dx, reference.local_response_norm_backward(dy, x, 5, **options), LRN_BACKWARD)


def with_a_spike(dtype, order):
    """x with one element whose square overflows the dtype, and dy."""
    nchw = normal((2, 12, 19), dtype)
    nchw[0, 4, 7] = {F32: 1e30, F64: 1e250}[dtype]
    return ordered(nchw, order), ordered(normal((2, 12, 19), dtype, seed=1), order)


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_a_spike_stays_finite(isa, dtype, order, beta, size):
    x, dy = with_a_spike(dtype, order)
    options = {"alpha": 1.0, "beta": beta, "bias": 1.0, "order": order}
    y = nk.local_response_norm(x, size, **options)
    assert np.isfinite(y).all()
    assert_within(y, reference.local_response_norm(x, size, **options).y, LRN_FORWARD)
    assert np.isfinite(nk.local_response_norm_backward(dy, x, size, **options)).all()


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6])
def test_gradient_at_a_spike(isa, dtype, order, beta):
    """Its two terms are tiny and cancel; neither may vanish in an underflow on the way."""
    x, dy = with_a_spike(dtype, order)
    options = {"alpha": 1.0, "beta": beta, "bias": 1.0, "order": order}
    dx = nk.local_response_norm_backward(dy, x, 5, **options)
    assert_within(dx, reference.local_response_norm_backward(dy, x, 5, **options), LRN_BACKWARD)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_what_is_not_finite_stays_in_its_windows(isa, dtype, order, value, size):
    nchw, above = normal((2, 12, 37), dtype), normal((2, 12, 37), dtype, seed=1)
    spoiled = nchw.copy()
    spoiled[1, 6, 21] = value
    options = {"alpha": 1.0, "order": order}
    holds = np.zeros(nchw.shape, bool)  # the windows that contain it
    holds[1, reference.mirrored_window(6, size, 12), 21] = True
    reaches = np.zeros(nchw.shape, bool)  # what those windows make of their members
    for k in np.flatnonzero(holds[1, :, 21]):
        reaches[1, reference.window(k, size, 12), 21] = True
    holds, reaches = ordered(holds, order), ordered(reaches, order)

    clean, x, dy = ordered(nchw, order), ordered(spoiled, order), ordered(above, order)
    y, scale = nk.local_response_norm(x, size, **options, return_scale=True)
    expected, expected_scale = nk.local_response_norm(clean, size, **options, return_scale=True)
    assert same_bits(y[~holds], expected[~holds])
    assert same_bits(scale[~holds], expected_scale[~holds])
    exact = reference.local_response_norm(x, size, **options)
    assert_within(y, exact.y, LRN_FORWARD)

    dx = nk.local_response_norm_backward(dy, x, size, **options)
    expected = nk.local_response_norm_backward(dy, clean, size, **options)
    assert same_bits(dx[~reaches], expected[~reaches])


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6, 2.0, 3.3])
def test_lrn_at_any_magnitude(isa, dtype, order, beta):
    """Where squares overflow or underflow, and y does or does not."""
    for magnitude in (1e-40, 1e-25, 1e-12, 1e5, 1e12, 1e19, 1e25, 1e38):
        x = ordered(normal((1, 7, 30), F64).clip(-3, 3) * magnitude, order).astype(dtype)
        options = {"alpha": 0.5, "beta": beta, "bias": 1.0, "order": order}
        y = nk.local_response_norm(x, 5, **options)
        exact = reference.local_response_norm(x, 5, **options)
        assert_within(y, exact.y, LRN_FORWARD, f"magnitude {magnitude}")
