"""The gradients of layer, RMS, instance and group norm: exact at any offset and magnitude, whether
the forward's rounded statistics are handed in or not."""

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
    ONE_TERM_IS_MOST,
    ORDERS,
    drawn,
    each_isa,
    each_of_few_isas,
    in_groups,
    normal,
    ordered,
    same_bits,
)
from reference import BACKWARD, FORWARD, ONE_TERM, assert_within, worst_backward

F32, F64 = np.float32, np.float64


class Gradients(NamedTuple):
    """Rows for layer norm and RMS norm: the channels of one image for instance norm, groups of them
    for group norm."""

    rows: np.ndarray
    epsilon: float
    dy: np.ndarray
    gamma: np.ndarray
    scale: np.ndarray
    layer_norm: reference.LayerNormGradient
    rms_norm: reference.LayerNormGradient
    instance_norm: reference.InstanceNormGradient
    group_norm: reference.GroupNormGradient


def gradients_of(rows, epsilon=1e-5, dy=None):
    dtype, (m, n) = rows.dtype.type, rows.shape
    dy = normal((m, n), dtype, seed=1) if dy is None else dy
    gamma, scale = normal((n,), dtype, seed=2), normal((m,), dtype, seed=3)
    exact = reference.layer_norm_backward(dy, rows, gamma, epsilon=epsilon)
    rms = reference.rms_norm_backward(dy, rows, gamma, epsilon=epsilon)
    planes = reference.instance_norm_backward(dy[None], rows[None], scale, epsilon=epsilon)
    groups = reference.group_norm_backward(
        in_groups(dy), in_groups(rows), m, per_channel(rows), epsilon=epsilon
    )
    return Gradients(rows, epsilon, dy, gamma, scale, exact, rms, planes, groups)


def per_channel(rows):
    return normal(in_groups(rows).shape[1:2], rows.dtype.type, seed=3)


def each_way_of_rms_norm(case):
    """(what, actual, exact) with rstd saved, where it is a number, and recomputed."""
    rows, options = case.rows, {"epsilon": case.epsilon}
    _, rstd = nk.rms_norm(rows, **options, return_stats=True)
    if np.isfinite(rstd).all() and (rstd >= np.finfo(rows.dtype).tiny).all():
        saved = nk.rms_norm_backward(case.dy, rows, rstd, case.gamma, **options)
        yield "RMS norm with saved rstd", saved, case.rms_norm
    anew = nk.rms_norm_backward(case.dy, rows, None, case.gamma, **options)
    yield "RMS norm", anew, case.rms_norm


def each_way(case):
    """The same of every way to centred gradients: layer norm, and instance and group norm in both
    layouts, with saved statistics, without, and together with the forward."""
    rows, dy = case.rows, case.dy
    _, mean, sigma = nk.layer_norm(rows, epsilon=case.epsilon, return_stats=True)
    actual = nk.layer_norm_backward(dy, rows, mean, sigma, case.gamma)
    yield "layer norm", actual, case.layer_norm
    for order in ORDERS:
        x, above = ordered(rows[None], order), ordered(dy[None], order)
        dx = reference.Exact(*(ordered(a, order) for a in case.instance_norm.dx))
        exact = case.instance_norm._replace(dx=dx)
        options = {"order": order, "epsilon": case.epsilon}
        _, mean, inv_std = nk.instance_norm(x, **options, return_stats=True)
        saved = nk.instance_norm_backward(above, x, case.scale, mean, inv_std, **options)
        anew = nk.instance_norm_backward(above, x, case.scale, **options)
        both = nk.instance_norm_with_gradient(x, case.scale, None, above, **options)
        yield f"instance norm {order} with saved statistics", saved, exact
        yield f"instance norm {order}", anew, exact
        yield f"instance norm {order} with the forward", both[1:], exact

        x, above = ordered(in_groups(rows), order), ordered(in_groups(dy), order)
        dx = reference.Exact(*(ordered(a, order) for a in case.group_norm.dx))
        exact, groups, scale = case.group_norm._replace(dx=dx), len(rows), per_channel(rows)
        _, *statistics = nk.group_norm(x, groups, **options, return_stats=True)
        saved = nk.group_norm_backward(above, x, groups, scale, *statistics, **options)
        anew = nk.group_norm_backward(above, x, groups, scale, **options)
        yield f"group norm {order} with saved statistics", saved, exact
        yield f"group norm {order}", anew, exact


def every_way(case):
    yield from each_way_of_rms_norm(case)
    yield from each_way(case)


def assert_exact(case, bound=BACKWARD, what=""):
    for operator, actual, exact in every_way(case):
        for name, a, e in zip(exact._fields, actual, exact, strict=True):
            assert_within(a, e, bound, f"{operator}, {name}, {what}")


# ---- Offsets


@functools.lru_cache(maxsize=8)
def gradients_about(offset, shape, dtype):
    """Once for all instruction sets."""
    return gradients_of(normal(shape, dtype, mean=offset))


def kinds_of_error(case):
    """The largest errors in u * scale of dx, of dgamma and dscale, and of dbeta and dbias."""
    errors = [
        [reference.error(a, e) for a, e in zip(actual, exact, strict=True)]
        for _, actual, exact in every_way(case)
    ]
    return np.array(errors).max(0)


@each_isa
@pytest.mark.parametrize("shape", [(128, 65), (48, 1024), (16, 5000)], ids=str)
def test_nothing_is_lost_to_the_offset(dtype, shape, isa):
    """The saved mean is wrong by up to half a unit of the offset's last place; the gradients are
    not: their errors are within a factor of 2 of those without an offset."""
    without = kinds_of_error(gradients_about(0, shape, dtype))
    assert without.max() <= BACKWARD
    for offset in OFFSETS_OVER_STD[dtype][1:]:
        errors = kinds_of_error(gradients_about(offset, shape, dtype))
        assert (errors <= 2 * without).all(), f"offset {offset}: {errors}, without {without}"


@pytest.mark.parametrize("offset", [0, 100, 1e4, 1e5])
def test_offsets_on_which_others_fail(isa, offset):
    x, dy = normal((128, 1024), F32, mean=offset), normal((128, 1024), F32, seed=1)
    _, mean, sigma = nk.layer_norm(x, return_stats=True)
    dx, dgamma, _ = nk.layer_norm_backward(dy, x, mean, sigma)
    exact = reference.layer_norm_backward(dy, x)
    assert abs(dx - exact.dx.value).max() <= 2e-6
    assert abs(dgamma - exact.dgamma.value).max() <= 1e-5  # of sums of 128 terms


def test_parameter_gradients_on_one_thread_and_two(isa, dtype):
    """Others' differ in bits."""
    x, dy = normal((4096, 256), dtype, mean=100), normal((4096, 256), dtype, seed=1)
    _, mean, sigma = nk.layer_norm(x, return_stats=True)
    one, two = (nk.layer_norm_backward(dy, x, mean, sigma, num_threads=n) for n in (1, 2))
    assert same_bits(one.dgamma, two.dgamma)
    assert same_bits(one.dbeta, two.dbeta)


# ---- Lengths, distributions, magnitudes


@functools.lru_cache(maxsize=32)
def gradients_drawn(distribution, dtype, offset, n):
    """Once for all instruction sets."""
    return gradients_of(drawn(distribution, dtype, n, offset))


def assert_drawn_exact(distribution, dtype, lengths):
    bound = BACKWARD + (ONE_TERM if distribution in ONE_TERM_IS_MOST else 0)
    for offset, n in itertools.product((0, OFFSETS_OVER_STD[dtype][-1]), lengths):
        case = gradients_drawn(distribution, dtype, offset, n)
        assert_exact(case, bound, f"offset {offset}, n {n}")


@each_isa
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions(dtype, distribution, isa):
    assert_drawn_exact(distribution, dtype, LENGTHS)


@pytest.mark.long
@each_of_few_isas
@pytest.mark.parametrize("distribution", ["normal", "spike-first", "alternating"])
def test_long_rows(dtype, distribution, isa):
    assert_drawn_exact(distribution, dtype, LONG_LENGTHS[-1:])


@pytest.mark.long
def test_longest_row():
    gradients_drawn.cache_clear()  # hundreds of megabytes, which this needs
    assert_exact(gradients_of(drawn("normal", F32, LONGEST, OFFSETS_OVER_STD[F32][-1])))


def test_any_magnitude_without_epsilon(isa, dtype):
    """dx is as small as x is large."""
    exponents = {F32: (-36, -25, -15, 15, 30, 36), F64: (-300, -150, 150, 300)}[dtype]
    for exponent, n in itertools.product(exponents, (3, 200, 5000)):
        rows = (normal((6, n), F64).clip(-3, 3) * 10.0**exponent).astype(dtype)
        assert_exact(gradients_of(rows, epsilon=0), what=f"1e{exponent}, n {n}")


def test_constant_rows_have_no_gradient_without_epsilon(isa, dtype):
    """None exists: dx is taken as 0, and xhat is 0."""
    rows = np.repeat(np.array([[0], [0.1], [-1e30]], dtype), 300, axis=1)
    for operator, (dx, dgamma, dbeta), exact in each_way(gradients_of(rows, epsilon=0)):
        assert not dx.any(), operator
        assert not dgamma.any(), operator
        assert_within(dbeta, exact[2], BACKWARD, operator)


def test_instance_norm_with_gradient_has_the_forwards_y(isa, dtype, order):
    x = ordered(normal((2, 19, 301), dtype, mean=1e4), order)
    scale, bias = normal((19,), dtype, seed=2), normal((19,), dtype, seed=3)
    y = nk.instance_norm_with_gradient(x, scale, bias, x, order=order).y
    assert_within(y, reference.instance_norm(x, scale, bias, order=order).y, FORWARD)


# ---- Whatever the data: rows and dy that are made for roundings to go one way


def few_units(generator, shape, value, units):
    """Numbers a few units in the last place from a value."""
    return value + np.spacing(value) * generator.choice(units, shape)


def x_of_every_kind(dtype, shape):
    """By name: (rows, epsilon). Their statistics are normal numbers, but for those of constants."""
    generator, one = np.random.default_rng(shape), dtype(1)
    most = {F32: 30, F64: 150}[dtype]
    rows = generator.standard_normal(shape)
    yield "normal", rows, 1e-5
    for offset in (1e3, -1e7, 1e16, 10.0**most):
        yield f"offset {offset:g}", rows + offset, 0
    for name, units in {
        "neighbours": (0, 1),
        "one of 100": [1] + 99 * [0],
        "units": (-3, 0, 1, 2),
    }.items():
        yield name, few_units(generator, shape, one * 1000, units), 0
    yield "below a power of two", few_units(generator, shape, one, (-0.5, 0, 1)), 0
    yield "large", rows * 10.0**most, 0
    yield "small", rows / 10.0**most, 0
    yield "log-normal", np.exp(4 * rows), 0
    yield "near zero", rows * np.where(generator.random(shape) < 0.1, 1, 1e-6), 1e-5
    yield "steps", np.cumsum(np.ones(shape), -1) + 1e4, 1e-5
    yield "constant", np.full(shape, 0.1), 1e-5


def dy_of_every_kind(dtype, shape, xhat):
    generator, u = np.random.default_rng([1, *shape]), reference.u(dtype)
    info, signs = np.finfo(dtype), np.where(xhat < 0, -1, 1)
    dy = generator.standard_normal(shape)
    # To 1 comes what is a little less than half a unit of its last place, again and again.
    dust = np.where(np.arange(shape[0])[:, None] % 16 == 0, 1, u * 0.999) * np.ones(shape)
    lanes = np.where(np.arange(shape[1]) % 1024 < 64, 1, u * 0.999) * np.ones(shape)
    inverse = 1 / np.maximum(abs(xhat), 1e-3)
    yield "normal", dy
    yield "signs of xhat", abs(dy) * signs
    yield "dust down the columns", dust
    yield "dust along the rows", lanes
    yield "dust of dy xhat down the columns", dust * inverse * signs
    yield "dust of dy xhat along the rows", lanes * inverse * signs
    yield "cancelling", np.where(np.arange(shape[0])[:, None] % 2, -1, 1) * abs(dy[:1])
    yield "denormal", np.round(50 * dy) * float(info.smallest_subnormal)
    yield "huge", dy / dy.size * (float(info.max) / 1e6)
    yield "of every size", dy * 10.0 ** generator.uniform(-8, 8, shape)


@functools.lru_cache(maxsize=2)
def cases_of_every_kind(dtype, shape):
    """(what, case) for one of five pairs of x and dy. Once for all instruction sets."""
    cases = []
    for i, (name, rows, epsilon) in enumerate(x_of_every_kind(dtype, shape)):
        x = rows.astype(dtype)
        xhat = reference.layer_norm(x, epsilon=epsilon).y.value.astype(F64)
        for j, (kind, dy) in enumerate(dy_of_every_kind(dtype, shape, xhat)):
            if (i + 2 * j) % 5 == 0:
                case = gradients_of(x, epsilon, dy.astype(dtype))
                cases.append((f"x {name}, dy {kind}", case))
    return cases


@each_of_few_isas
@pytest.mark.parametrize("shape", [(1, 1), (17, 3), (600, 31), (16, 1025), (3, 4097)], ids=str)
def test_the_worst_case(dtype, shape, isa):
    """The bounds of docs/numerics.md for whatever data."""
    for what, case in cases_of_every_kind(dtype, shape):
        for operator, actual, exact in every_way(case):
            for field, a, e in zip(exact._fields, actual, exact, strict=True):
                bound = worst_backward(field, dtype, max(shape))
                assert_within(a, e, bound, f"{operator}, {field}, {what}")


@each_of_few_isas
def test_the_worst_case_of_means_that_are_off(dtype, isa):
    """By a few units in the last place, which is up to hundreds of standard deviations: it costs as
    many times as much."""
    shape = (16, 1025)
    for what, case in cases_of_every_kind(dtype, shape):
        x, rows = case.rows, reference.layer_norm(case.rows, epsilon=case.epsilon)
        _, mean, sigma = nk.layer_norm(x, epsilon=case.epsilon, return_stats=True)
        for _ in range(3):
            mean = np.nextafter(
                mean, np.where(np.arange(16)[:, None] % 2, dtype(np.inf), -dtype(np.inf))
            )
        off = reference.inverse(rows.sigma.value) * abs(mean - rows.mean.value)
        if off.max() > 1000:
            continue  # of an almost constant row, beside epsilon
        actual = nk.layer_norm_backward(case.dy, x, mean, sigma, case.gamma)
        for field, a, e in zip(case.layer_norm._fields, actual, case.layer_norm, strict=True):
            bound = worst_backward(field, dtype, max(shape)) * max(1, off.max())
            assert_within(a, e, bound, f"{field}, {what}")


def test_the_worst_case_of_a_sum_is_met(dtype):
    """16 numbers: what all but the first would add is lost, 15 times."""
    u = reference.u(dtype)
    dy = np.where(np.arange(16)[:, None], u * 0.999, 1).astype(dtype) * np.ones((1, 3), dtype)
    x = normal((16, 3), dtype)
    _, mean, sigma = nk.layer_norm(x, return_stats=True)
    dbeta = nk.layer_norm_backward(dy, x, mean, sigma).dbeta
    exact = reference.layer_norm_backward(dy, x).dbeta
    assert 14 < reference.error(dbeta, exact) <= worst_backward("dbeta", F32, 16)
