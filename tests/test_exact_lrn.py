"""Local response norm: exact for any size, power and magnitude, and no channel touches the windows
that do not contain it."""

import itertools
import subprocess
import sys

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import normal, ordered, same_bits
from reference import LRN_BACKWARD, LRN_FORWARD, LRN_SCALE, assert_within

F32, F64 = np.float32, np.float64
BETAS = [0.5, 0.75, 1.0, 2.0, 4.0, *np.random.default_rng(0).uniform(0, 4, 5).round(3)]


def assert_exact(x, dy, size, what="", **options):
    """y, scale and dx, which has to come out from x alone and from saved y and scale."""
    actual = nk.local_response_norm(x, size, return_scale=True, **options)
    exact = reference.local_response_norm(x, size, **options)
    what = f"{what} size {size}, {options}"
    assert_within(actual.y, exact.y, LRN_FORWARD, f"y, {what}")
    assert_within(actual.scale, exact.scale, LRN_SCALE[x.dtype], f"scale, {what}")
    exact = reference.local_response_norm_backward(dy, x, size, **options)
    for y, scale in ((None, None), actual):
        dx = nk.local_response_norm_backward(dy, x, size, y=y, scale=scale, **options)
        assert_within(dx, exact, LRN_BACKWARD, f"dx, {what}, saved {y is not None}")


def images(shape, dtype, order, std=1.0):
    """x and dy."""
    x, dy = normal(shape, dtype, std=std), normal(shape, dtype, seed=1)
    return ordered(x, order), ordered(dy, order)


# ---- Sizes and parameters


@pytest.mark.parametrize("beta", BETAS)
def test_sizes_and_factors(isa, dtype, order, beta):
    """alpha and bias so that either term of the bracket is most of it, and both count."""
    generator = np.random.default_rng(round(1000 * beta))
    for size in range(1, 12):
        for alpha, bias in ((1e-4, 1), (10, 0.5), (10 ** generator.uniform(-4, 1), 2), (1, 1)):
            x, dy = images((2, 13, 37), dtype, order, std=10 ** generator.uniform(-1, 1))
            options = {"alpha": alpha, "beta": beta, "bias": bias, "order": order}
            assert_exact(x, dy, size, **options)


@pytest.mark.parametrize("beta", [0.75, 2.3, 4.0])
def test_many_windows(isa, dtype, order, beta):
    """Enough of them to come near the worst case of their roundings."""
    x, dy = images((4, 64, 300), dtype, order)
    assert_exact(x, dy, 11, alpha=10.0, beta=beta, bias=1.0, order=order)


@pytest.mark.parametrize("bias", [0.0, 1e-30, 1e-6])
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6, 2.5])
def test_next_to_no_bias(isa, dtype, order, bias, beta):
    x, dy = images((2, 9, 37), dtype, order)
    for size, alpha in itertools.product((1, 2, 5), (1e-4, 1, 10)):
        assert_exact(x, dy, size, alpha=alpha, beta=beta, bias=bias, order=order)


@pytest.mark.parametrize(
    "alpha_bias", [(-0.01, 2.0), (-0.3, 0.7), (0.5, -0.25), (10, -1), (-0.5, -1.0)], ids=str
)
@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 2.0, 3.0, 0.6, 3.3])
def test_brackets_of_either_sign(isa, dtype, order, alpha_bias, beta):
    """Right to the terms of the bracket, which cancel; NaN where the exact answer is not real."""
    x, dy = images((2, 7, 60), dtype, order)
    options = {"alpha": alpha_bias[0], "beta": beta, "bias": alpha_bias[1], "order": order}
    for size in (1, 2, 3, 5):
        assert_exact(x, dy, size, **options)
        s = reference.local_response_norm(x, size, **options).scale.value
        y = nk.local_response_norm(x, size, **options)
        assert np.array_equal(np.isnan(y), (s < 0) & (beta != round(beta)))


# ---- Magnitudes


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6, 2.0, 3.3])
def test_any_magnitude(isa, dtype, order, beta):
    """Where squares overflow or underflow, and y does or does not."""
    for magnitude in (1e-40, 1e-25, 1e-12, 1e5, 1e12, 1e19, 1e25, 1e38):
        x = ordered(normal((1, 7, 30), F64).clip(-3, 3) * magnitude, order).astype(dtype)
        options = {"alpha": 0.5, "beta": beta, "bias": 1.0, "order": order}
        y = nk.local_response_norm(x, 5, **options)
        exact = reference.local_response_norm(x, 5, **options)
        assert np.isfinite(y).all()
        assert_within(y, exact.y, LRN_FORWARD, f"magnitude {magnitude}")


def with_a_spike(dtype, order, value):
    """x with one element, and dy."""
    x = normal((2, 12, 19), dtype)
    x[0, 4, 7] = value
    return ordered(x, order), ordered(normal((2, 12, 19), dtype, seed=1), order)


@pytest.mark.parametrize("channels", [1, 9, 40])
@pytest.mark.parametrize("beta", [0.0, 0.75, 0.6, 2.0, -1.0])
def test_pixels_have_nothing_to_do_with_each_other(isa, dtype, order, channels, beta):
    """Bit for bit, wherever elements out of the ordinary are, and however many."""
    generator = np.random.default_rng(channels)
    large = 1e25 if dtype is F32 else 1e200
    values = np.array([0.0, -0.0, large, -large, 1 / large, np.inf, np.nan])
    for rarity, size in itertools.product((2, 50, 2000), (1, 2, 5, 6, 2 * channels + 1)):
        shape = (2, channels, 333)
        x, dy = normal(shape, dtype), normal(shape, dtype, seed=1)
        rare = generator.integers(rarity, size=shape) == 0
        x[rare] = generator.choice(values, rare.sum())
        options = {"alpha": generator.choice([1.0, -0.5]), "beta": beta, "order": order}
        options["bias"] = generator.choice([0.0, 0.25, 1.0])
        moved = generator.permutation(shape[2])

        def all_of(x, dy, size=size, options=options):
            x, dy = ordered(x, order), ordered(dy, order)
            y, scale = nk.local_response_norm(x, size, return_scale=True, **options)
            dx = nk.local_response_norm_backward(dy, x, size, **options)
            saved = nk.local_response_norm_backward(dy, x, size, y=y, scale=scale, **options)
            back = (0, 1, 2) if order == "NCHW" else (0, 2, 1)
            # Which sign a new NaN has is not promised.
            return [
                np.where(np.isnan(a), F32(np.nan), a).transpose(back) for a in (y, scale, dx, saved)
            ]

        expected = all_of(x, dy)
        actual = all_of(x[:, :, moved].copy(), dy[:, :, moved].copy())
        for a, e in zip(actual, expected, strict=True):
            assert same_bits(a.copy(), e[:, :, moved].copy())


def test_time_does_not_depend_on_values():
    """c * size per pixel; c * size^2 would take an hour."""
    program = """
import numpy as np, normkernels as nk
for dtype, tiny in ((np.float32, 1e-30), (np.float64, 1e-200)):
    for order, shape in (("NCHW", (2, 1000, 16)), ("NHWC", (2, 16, 1000))):
        for value in (0, tiny, np.nan):
            x = np.full(shape, value, dtype)
            options = dict(alpha=1.0, bias=0.0, order=order)
            y, scale = nk.local_response_norm(x, 1000, return_scale=True, **options)
            nk.local_response_norm_backward(x, x, 1000, **options)
            nk.local_response_norm_backward(x, x, 1000, y=y, scale=scale, **options)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_any_power(isa, dtype, order):
    """1 to any power is 1; next to 1 it is the power that counts; else it is nothing or all."""
    x = ordered(np.ones((1, 1, 5), dtype), order)
    for bias, beta, expected in (
        (1.0, 1e30, 1),
        (1.0, -1e308, 1),
        (1.5, 1e30, 0),
        (1.5, -1e30, np.inf),
        (0.75, 1e19, np.inf),
        (0.75, -1e308, 0),
        (1 - 2.0**-20, 2e6, (1 - 2.0**-20) ** -2e6),
        (1 + 2.0**-20, 2e6, (1 + 2.0**-20) ** -2e6),
        (1 - 2.0**-20, -2e6, (1 - 2.0**-20) ** 2e6),
        (-1.0, 2.0**53 - 1, -1),
        (-1.0, 2.0**53, 1),  # from here on every power is even
        (-1.0, -1e308, 1),
        (-1.5, 1e30, 0),
        (-0.75, 1e19, np.inf),
    ):
        y = nk.local_response_norm(x, 1, alpha=0.0, beta=beta, bias=bias, order=order)
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        dx = nk.local_response_norm_backward(x, x, 1, alpha=0.0, beta=beta, bias=bias, order=order)
        if np.isfinite(expected) and expected != 0:
            assert np.array_equal(dx, y)


SPIKES = {F32: (1e4, 1e10, 1e30, 3e38), F64: (1e4, 1e30, 1e100, 1e250)}


@pytest.mark.parametrize("beta", [0.5, 0.75, 1.0, 0.6])
def test_a_spike_stays_finite(isa, dtype, order, beta):
    """The two terms of its own gradient are tiny and cancel; neither may vanish in an underflow on
    the way."""
    for value, size in itertools.product(SPIKES[dtype], (1, 3, 4, 5)):
        x, dy = with_a_spike(dtype, order, value)
        options = {"alpha": 1.0, "beta": beta, "bias": 1.0, "order": order}
        y = nk.local_response_norm(x, size, **options)
        exact = reference.local_response_norm(x, size, **options)
        assert_within(y, exact.y, LRN_FORWARD, f"{value}, size {size}")
        dx = nk.local_response_norm_backward(dy, x, size, **options)
        exact = reference.local_response_norm_backward(dy, x, size, **options)
        assert_within(dx, exact, LRN_BACKWARD, f"{value}, size {size}")
        assert np.isfinite(y).all()
        assert np.isfinite(dx).all()


# ---- Windows


@pytest.mark.parametrize("value", [1e30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 11])
def test_one_element_changes_its_windows_only(isa, dtype, order, value, size):
    nchw, above = normal((2, 16, 37), dtype), normal((2, 16, 37), dtype, seed=1)
    spoiled = nchw.copy()
    spoiled[1, 6, 21] = value
    options = {"alpha": 1.0, "order": order}
    holds = np.zeros(nchw.shape, bool)  # the windows that contain it
    holds[1, reference.mirrored_window(6, size, 16), 21] = True
    reaches = np.zeros(nchw.shape, bool)  # what those windows make of their members
    for k in np.flatnonzero(holds[1, :, 21]):
        reaches[1, reference.window(k, size, 16), 21] = True
    holds, reaches = ordered(holds, order), ordered(reaches, order)

    clean, x, dy = ordered(nchw, order), ordered(spoiled, order), ordered(above, order)
    y, scale = nk.local_response_norm(x, size, **options, return_scale=True)
    expected, expected_scale = nk.local_response_norm(clean, size, **options, return_scale=True)
    assert same_bits(y[~holds], expected[~holds])
    assert same_bits(scale[~holds], expected_scale[~holds])
    assert (scale[holds] != expected_scale[holds]).all()
    assert_within(y, reference.local_response_norm(x, size, **options).y, LRN_FORWARD)

    dx = nk.local_response_norm_backward(dy, x, size, **options)
    expected = nk.local_response_norm_backward(dy, clean, size, **options)
    assert same_bits(dx[~reaches], expected[~reaches])


# ---- Where others fail


def test_one_large_channel(isa, dtype, order):
    """One channel times 1e4 with alpha 1, bias 1: a running window would keep its rounding error,
    and has given others NaN and Inf."""
    nchw = normal((1, 64, 8, 8), dtype)
    nchw[:, 20] *= 1e4
    x, dy = ordered(nchw, order), ordered(normal((1, 64, 8, 8), dtype, seed=1), order)
    assert_exact(x, dy, 5, alpha=1.0, beta=0.75, bias=1.0, order=order)
    assert np.isfinite(nk.local_response_norm(x, 5, alpha=1.0, order=order)).all()


def test_one_infinity_makes_one_nan(isa, dtype, order):
    """Inf times 0 is its own y; its neighbours' are 0."""
    nchw = normal((1, 64, 8, 8), dtype)
    nchw[0, 20, 3, 4] = np.inf
    y = nk.local_response_norm(ordered(nchw, order), 5, alpha=1.0, bias=1.0, order=order)
    assert np.isnan(y).sum() == 1
    assert np.isinf(y).sum() == 0
    assert (y == 0).sum() == 4


def test_a_term_too_large_for_a_neighbour_that_is_not(isa, dtype, order):
    """The sum of a small x overflows by the term of one whose bracket all but cancels; times x it
    is a number like any."""
    beta, small = (4.0, 1e-6) if dtype == F32 else (40.0, 1e-35)
    nchw = np.array([np.sqrt(2 * (1e-6 + 4.5e-9)), small, 1e-3, 0], dtype)[:, None]
    x = ordered(np.broadcast_to(nchw, (1, 4, 37)), order)
    dy = ordered(normal((1, 4, 37), dtype), order)
    options = {"alpha": -1.0, "beta": beta, "bias": 1e-6, "order": order}
    assert_exact(x, dy, 2, **options)
    dx = nk.local_response_norm_backward(dy, x, 2, **options)
    assert np.isfinite(dx if order == "NHWC" else dx.transpose(0, 2, 1))[..., 1].all()


@pytest.mark.parametrize("size", [2, 4, 6])
def test_even_sizes(isa, dtype, order, size):
    """Refused by some, off by 0.2 in others."""
    x, dy = images((1, 64, 8, 8), dtype, order)
    assert_exact(x, dy, size, alpha=1.0, beta=0.75, bias=1.0, order=order)
