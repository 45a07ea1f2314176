"""Layer, RMS, instance and group norm, forward: exact at any offset and magnitude, also where
others lose digits or return NaN."""

import functools
import itertools
from typing import NamedTuple

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import (
    DISTRIBUTIONS,
    LENGTHS,
    LONG_LENGTHS,
    LONGEST,
    OFFSETS_OVER_STD,
    ORDERS,
    drawn,
    each_isa,
    each_of_few_isas,
    in_groups,
    normal,
    ordered,
)
from reference import FORWARD, STATISTICS, assert_within

F32, F64 = np.float32, np.float64
AFFINE = [(True, True), (True, False), (False, True), (False, False)]  # gamma and beta


class Norms(NamedTuple):
    """Rows for layer norm and RMS norm: the channels of one image for instance norm, groups of them
    for group norm."""

    rows: np.ndarray
    epsilon: float
    parameters: list  # gamma and beta, one of each per column, or None
    per_row: list  # scale and bias, one of each per channel, or None
    per_channel: list  # scale and bias of the channels of groups, or None
    layer_norm: reference.LayerNorm
    rms_norm: reference.RmsNorm
    instance_norm: reference.InstanceNorm
    group_norm: reference.GroupNorm


def norms_of(rows, epsilon=1e-5, affine=(False, False)):
    dtype, grouped = rows.dtype.type, in_groups(rows)
    parameters, per_row, per_channel = (
        [normal((n,), dtype, seed=i) if affine[i] else None for i in range(2)]
        for n in (*reversed(rows.shape), grouped.shape[1])
    )
    return Norms(
        rows,
        epsilon,
        parameters,
        per_row,
        per_channel,
        reference.layer_norm(rows, *parameters, epsilon=epsilon),
        reference.rms_norm(rows, *parameters, epsilon=epsilon),
        reference.instance_norm(rows[None], *per_row, epsilon=epsilon),
        reference.group_norm(grouped, len(rows), *per_channel, epsilon=epsilon),
    )


def assert_exact(norms, what=""):
    """Layer norm and RMS norm of the rows, and instance and group norm of the same in both
    layouts."""
    bounds = (FORWARD, STATISTICS, STATISTICS)
    options = {"epsilon": norms.epsilon, "return_stats": True}
    actual = nk.layer_norm(norms.rows, *norms.parameters, **options)
    for name, a, e, bound in zip(actual._fields, actual, norms.layer_norm, bounds, strict=True):
        assert_within(a, e, bound, f"layer norm, {name}, {what}")
    actual = nk.rms_norm(norms.rows, *norms.parameters, **options)
    for name, a, e, bound in zip(actual._fields, actual, norms.rms_norm, bounds[:2], strict=True):
        assert_within(a, e, bound, f"RMS norm, {name}, {what}")
    for order, (operator, x, arguments, exact) in itertools.product(
        ORDERS,
        (
            ("instance_norm", norms.rows[None], norms.per_row, norms.instance_norm),
            (
                "group_norm",
                in_groups(norms.rows),
                [len(norms.rows), *norms.per_channel],
                norms.group_norm,
            ),
        ),
    ):
        actual = getattr(nk, operator)(ordered(x, order), *arguments, order=order, **options)
        y = reference.Exact(*(ordered(a, order) for a in exact.y))
        for name, a, e, bound in zip(
            actual._fields, actual, exact._replace(y=y), bounds, strict=True
        ):
            assert_within(a, e, bound, f"{operator} {order}, {name}, {what}")


# ---- Offsets, lengths and distributions


@functools.lru_cache(maxsize=128)
def norms_drawn(distribution, dtype, offset, n, affine):
    """Once for all instruction sets."""
    return norms_of(drawn(distribution, dtype, n, offset), affine=affine)


@each_isa
@pytest.mark.parametrize("affine", AFFINE, ids=["gamma-beta", "gamma", "beta", "plain"])
def test_offsets_and_lengths(dtype, affine, isa):
    for offset, n in itertools.product(OFFSETS_OVER_STD[dtype], LENGTHS):
        assert_exact(norms_drawn("normal", dtype, offset, n, affine), f"offset {offset}, n {n}")


@each_isa
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions(dtype, distribution, isa):
    for offset in OFFSETS_OVER_STD[dtype]:
        for n, affine in zip(LENGTHS, itertools.cycle(AFFINE)):
            norms = norms_drawn(distribution, dtype, offset, n, affine)
            assert_exact(norms, f"offset {offset}, n {n}, affine {affine}")


@pytest.mark.parametrize("offset", [1e3, 1e6, -1e6])
def test_offset_of_a_small_spread_with_next_to_no_epsilon(isa, dtype, offset):
    for n in (3, 64, 1000, 5000):
        assert_exact(norms_of(normal((6, n), dtype, mean=offset / 100, std=0.01), 1e-12))


@pytest.mark.long
@each_of_few_isas
@pytest.mark.parametrize("n", LONG_LENGTHS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_long_rows(dtype, distribution, n, isa):
    for offset in (0, OFFSETS_OVER_STD[dtype][-1]):
        norms = norms_drawn(distribution, dtype, offset, n, (False, False))
        assert_exact(norms, f"offset {offset}")


def assert_longest_row_exact(distribution, dtype, offset):
    norms_drawn.cache_clear()  # hundreds of megabytes, which this needs
    assert_exact(norms_of(drawn(distribution, dtype, LONGEST, offset)))


@pytest.mark.long
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_longest_row(distribution):
    assert_longest_row_exact(distribution, F32, 0)


@pytest.mark.long
@each_of_few_isas
def test_longest_row_with_an_offset(dtype, isa):
    assert_longest_row_exact("normal", dtype, OFFSETS_OVER_STD[dtype][-1])


# ---- Where others fail: offsets, magnitudes and lengths on which releases of today are wrong


@pytest.mark.parametrize(
    ("rows", "epsilon"),
    [
        pytest.param(np.arange(40000, 40004, dtype=F32)[None], 1e-5, id="40000-to-40003"),
        pytest.param(normal((64, 1024), F32, mean=1e4), 1e-5, id="N(1e4,1)"),
        pytest.param(normal((2, 32768), F32, mean=100, std=0.01), 1e-5, id="N(100,0.01)"),
        pytest.param(normal((2, 1024), F32, mean=1e5, std=0.01), 1e-6, id="N(1e5,0.01)"),
        pytest.param(normal((2, 1024), F32, std=1e20), 1e-5, id="N(0,1e20)"),
        pytest.param(normal((2, 1024), F32, std=1e30), 1e-5, id="N(0,1e30)"),
        pytest.param(normal((2, 1024), F32, std=1e-25), 0, id="N(0,1e-25)"),
    ],
)
def test_rows_on_which_others_fail(isa, rows, epsilon):
    assert_exact(norms_of(rows, epsilon))


@pytest.mark.long
@each_of_few_isas
def test_row_of_four_million_on_which_others_fail(isa):
    x = normal((1, LONGEST), F32)
    assert abs(nk.layer_norm(x) - reference.layer_norm(x).y.value).max() <= 1e-6


@pytest.mark.parametrize("offset", [100, 1e4])
def test_planes_on_which_others_fail(isa, order, offset):
    x = ordered(normal((2, 32, 28, 28), F32, mean=offset), order)
    y = nk.instance_norm(x, order=order)
    assert_within(y, reference.instance_norm(x, order=order).y, FORWARD)


def test_offset_of_ten_thousand(isa):
    """N(1e4, 1), rows of 1024: at most 1e-6 from the exact y, which is of size 1."""
    rows = normal((64, 1024), F32, mean=1e4)
    error = abs(nk.layer_norm(rows) - reference.layer_norm(rows).y.value).max()
    assert error <= 1e-6


# ---- Range


def test_every_magnitude_without_epsilon(isa, dtype):
    """Squares, and products on the way to them, overflow and underflow where x does not."""
    most = {F32: 38, F64: 307}[dtype]
    for exponent in range(-most, most + 1):
        for n in (2, 3, 100):
            rows = (normal((5, n), F64).clip(-3, 3) * 10.0**exponent).astype(dtype)
            assert_exact(norms_of(rows, epsilon=0), f"1e{exponent}, n {n}")
    for exponent in range(-most, most + 1, {F32: 4, F64: 34}[dtype]):
        for n in (1000, 5000):
            rows = (normal((3, n), F64).clip(-3, 3) * 10.0**exponent).astype(dtype)
            assert_exact(norms_of(rows, epsilon=0), f"1e{exponent}, n {n}")


@pytest.mark.parametrize("epsilon", [0, 1e-5])
def test_rows_whose_deviations_overflow(isa, dtype, epsilon):
    """Both signs of almost the largest number: x - mean is larger than any number."""
    for n in (2, 3, 100, 1000, 5000):
        signs = np.where(normal((4, n), F64) > 0.3, 0.9, -0.9)
        signs[:, :2] = 0.9, -0.9
        signs[2:] *= np.random.default_rng(n).uniform(0, 1, (2, n))
        assert_exact(norms_of((signs * np.finfo(dtype).max).astype(dtype), epsilon), f"n {n}")


def test_rows_of_both_the_largest_and_the_smallest_magnitudes(isa, dtype):
    info = np.finfo(dtype)
    for n in (5, 100, 5000):
        exponents = np.random.default_rng(n).uniform(info.minexp, info.maxexp - 2, (4, n))
        rows = (np.exp2(exponents) * np.sign(normal((4, n), F64))).astype(dtype)
        assert_exact(norms_of(rows, epsilon=0), f"n {n}")


def test_denormal_rows(isa, dtype):
    """Numbers as others are: multiples of the smallest one, normalised with epsilon 0."""
    for n in (3, 300, 5000):
        multiples = np.arange(2 * n, dtype=dtype).reshape(2, n) ** 2
        rows = multiples * np.finfo(dtype).smallest_subnormal
        assert_exact(norms_of(rows, epsilon=0), f"n {n}")


# ---- Constant rows, and almost constant ones


def constants(dtype):
    info = np.finfo(dtype)
    return np.array(
        [0, 0.1, -1234, 1e-30, 1e4 / 3, info.smallest_subnormal, info.tiny, info.max, -info.max],
        dtype,
    )


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_constant_rows_are_beta(isa, dtype, epsilon):
    values = constants(dtype)
    for n in (*LENGTHS, LONG_LENGTHS[0]):
        rows = np.repeat(values[:, None], n, axis=1)
        gamma, beta = normal((n,), dtype), normal((n,), dtype, seed=1)
        y, mean, sigma = nk.layer_norm(rows, gamma, beta, epsilon=epsilon, return_stats=True)
        assert np.array_equal(y, np.broadcast_to(beta, y.shape))
        assert np.array_equal(mean[:, 0], values)
        assert np.array_equal(sigma[:, 0], np.full(len(values), np.sqrt(dtype(epsilon))))
        scale = normal(values.shape, dtype)
        for order in ORDERS:
            bias = normal(values.shape, dtype, seed=1)
            y, mean, inv_std = nk.instance_norm(
                ordered(rows[None], order),
                scale,
                bias,
                order=order,
                epsilon=epsilon,
                return_stats=True,
            )
            expected = np.broadcast_to(bias[None, :, None], (1, *rows.shape))
            assert np.array_equal(y, ordered(expected, order))
            assert np.array_equal(mean[0], values)
            assert np.isinf(inv_std).all() == (epsilon == 0)

            groups = in_groups(rows)
            bias = normal(groups.shape[1:2], dtype, seed=1)
            y, mean, inv_std = nk.group_norm(
                ordered(groups, order),
                len(rows),
                None,
                bias,
                order=order,
                epsilon=epsilon,
                return_stats=True,
            )
            expected = np.broadcast_to(bias[None, :, None], groups.shape)
            assert np.array_equal(y, ordered(expected, order))
            assert np.array_equal(mean[0], values)
            assert np.isinf(inv_std).all() == (epsilon == 0)


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
def test_rows_of_which_one_element_is_one_unit_away(isa, dtype, position):
    """With epsilon 0, xhat of that element is sqrt(n - 1)."""
    values = constants(dtype)
    for n in (2, 3, 64, 257, 1000, 4097, 5000):
        rows = np.repeat(values[:, None], n, axis=1)
        index = round(position * (n - 1))
        rows[:, index] = np.nextafter(values, dtype(0.5))
        y = nk.layer_norm(rows, epsilon=0)
        np.testing.assert_allclose(
            abs(y[:, index]), np.sqrt(n - 1), rtol=FORWARD * reference.u(dtype)
        )
        assert_exact(norms_of(rows, epsilon=0), f"n {n}")
