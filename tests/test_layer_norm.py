"""Layer norm, forward and backward, against the reference."""

import itertools

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import OFFSETS, Guarded, guarded, normal, same_bits, simd_sizes
from reference import BACKWARD, FORWARD, STATISTICS, assert_within

EPSILON = 1e-3

# (shape, axis): every width with a tail of its own, few and many rows, every axis of higher ranks.
WIDTHS = [((3, n), 1) for n in simd_sizes(260)]
LONGER = [((2, n), 1) for n in (509, 1009, 1023, 1024, 1025, 4095, 4097, 5000, 8193)]
ROWS = [((m, n), 1) for m, n in ((1, 7), (2, 64), (7, 3), (33, 2), (65, 16), (130, 1), (1000, 5))]
RANKS = [
    ((1,), 0),
    ((7,), -1),
    ((1009,), 0),
    ((2, 3, 5), 0),
    ((2, 3, 5), 1),
    ((2, 3, 5), -1),
    ((4, 1, 7, 3), -2),
    ((1, 1), 1),
    ((1, 1009), 0),
    ((2, 2, 2, 2, 3), 4),
    ((2, 2, 2, 2, 3), -5),
]
CASES = WIDTHS + LONGER + ROWS + RANKS
SPANNING = [((1, 70001), 1), ((2, 20011), 1), ((300, 129), 1)]  # more than one block or chunk

each_case = pytest.mark.parametrize(("shape", "axis"), CASES + SPANNING, ids=str)


def parameters(shape, axis, dtype):
    """gamma and beta, each there or not."""
    cols = shape[axis % len(shape) :]
    gamma, beta = normal(cols, dtype, seed=1), normal(cols, dtype, seed=2)
    return itertools.product((None, gamma), (None, beta))


@each_case
def test_forward(isa, dtype, shape, axis):
    source = normal(shape, dtype, mean=3, std=2)
    for i, affine in enumerate(parameters(shape, axis, dtype)):
        x, gamma, beta = guarded(source, *affine, offset=OFFSETS[(i + sum(shape)) % len(OFFSETS)])
        out = Guarded(shape, dtype, OFFSETS[i % len(OFFSETS)])
        y, mean, sigma = nk.layer_norm(
            x, gamma, beta, axis=axis, epsilon=EPSILON, out=out.array, return_stats=True
        )
        exact = reference.layer_norm(x, gamma, beta, axis=axis, epsilon=EPSILON)
        assert y is out.array
        assert_within(y, exact.y, FORWARD, "y")
        assert_within(mean, exact.mean, STATISTICS, "mean")
        assert_within(sigma, exact.sigma, STATISTICS, "sigma")
        assert mean.dtype == sigma.dtype == dtype
        assert out.margins_are_intact()
        assert same_bits(x, source)


@each_case
def test_backward(isa, dtype, shape, axis):
    source, above = normal(shape, dtype, mean=3, std=2), normal(shape, dtype, seed=3)
    for i, factor in enumerate((None, normal(shape[axis % len(shape) :], dtype, seed=1))):
        offset = OFFSETS[(i + sum(shape)) % len(OFFSETS)]
        x, dy, gamma = guarded(source, above, factor, offset=offset)
        _, mean, sigma = nk.layer_norm(x, axis=axis, epsilon=EPSILON, return_stats=True)
        out = Guarded(shape, dtype, OFFSETS[i % len(OFFSETS)])
        actual = nk.layer_norm_backward(dy, x, mean, sigma, gamma, axis=axis, out=out.array)
        exact = reference.layer_norm_backward(dy, x, gamma, axis=axis, epsilon=EPSILON)
        assert actual.dx is out.array
        for name, a, e in zip(actual._fields, actual, exact, strict=True):
            assert a.dtype == dtype
            assert_within(a, e, BACKWARD, name)
        assert out.margins_are_intact()
        assert same_bits(x, source)
        assert same_bits(dy, above)


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 37), 1), ((3, 4, 8), -1), ((2, 5000), 1)], ids=str
)
def test_in_place(isa, dtype, shape, axis):
    source, above = normal(shape, dtype), normal(shape, dtype, seed=1)
    fresh = nk.layer_norm(source, axis=axis, return_stats=True)
    gradient = nk.layer_norm_backward(above, source, fresh.mean, fresh.sigma, axis=axis)

    x = Guarded.of(source, 1)
    assert nk.layer_norm(x.array, axis=axis, out=x.array) is x.array
    assert same_bits(x.array, fresh.y)
    assert x.margins_are_intact()
    for which in (0, 1):
        both = [Guarded.of(above, 1), Guarded.of(source, 3)]
        dy, x = (g.array for g in both)
        actual = nk.layer_norm_backward(
            dy, x, fresh.mean, fresh.sigma, axis=axis, out=(dy, x)[which]
        )
        assert all(same_bits(a, b) for a, b in zip(actual, gradient, strict=True))
        assert all(g.margins_are_intact() for g in both)


def test_num_threads(dtype):
    x, dy = normal((317, 1031), dtype, mean=5), normal((317, 1031), dtype, seed=1)
    gamma, beta = normal((1031,), dtype, seed=2), normal((1031,), dtype, seed=3)
    forward = reference.layer_norm(x, gamma, beta)
    backward = reference.layer_norm_backward(dy, x, gamma)
    for num_threads in (1, 2, 3, None):
        options = {"num_threads": num_threads}
        y, mean, sigma = nk.layer_norm(x, gamma, beta, return_stats=True, **options)
        assert_within(y, forward.y, FORWARD, f"{num_threads} threads")
        actual = nk.layer_norm_backward(dy, x, mean, sigma, gamma, **options)
        for a, e in zip(actual, backward, strict=True):
            assert_within(a, e, BACKWARD, f"{num_threads} threads")


def test_defaults(dtype):
    """axis 1, epsilon 1e-5, nothing but y."""
    x = normal((2, 3, 4), dtype)
    y = nk.layer_norm(x)
    assert isinstance(y, np.ndarray)
    assert_within(y, reference.layer_norm(x, axis=1, epsilon=1e-5).y, FORWARD)


def test_results_have_names(dtype):
    x = normal((2, 3), dtype)
    forward = nk.layer_norm(x, return_stats=True)
    assert forward._fields == ("y", "mean", "sigma")
    assert type(forward) is nk.LayerNorm
    gradient = nk.layer_norm_backward(x, x, forward.mean, forward.sigma)
    assert gradient._fields == ("dx", "dgamma", "dbeta")
    assert type(gradient) is nk.LayerNormGradient


def test_gamma_and_beta_have_any_shape_of_their_size(dtype):
    x, gamma = normal((2, 3, 4), dtype), normal((12,), dtype)
    flat = nk.layer_norm(x, gamma, gamma)
    assert same_bits(flat, nk.layer_norm(x, gamma.reshape(3, 4), gamma.reshape(1, 12, 1)))
    _, mean, sigma = nk.layer_norm(x, return_stats=True)
    for shape in ((12,), (3, 4), (2, 6)):
        gradient = nk.layer_norm_backward(x, x, mean, sigma, gamma.reshape(shape))
        assert gradient.dgamma.shape == gradient.dbeta.shape == (3, 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_backward_against_differences_of_the_forward(isa, axis):
    """Central differences with step h of a function that is right to u: h^2 and u / h remain."""
    x, dy = normal((2, 3, 4), np.float64), normal((2, 3, 4), np.float64, seed=1)
    cols = x.shape[axis:]
    gamma, beta = normal(cols, np.float64, seed=2), normal(cols, np.float64, seed=3)
    options = {"axis": axis, "epsilon": 0.1}
    h = 1e-5

    def y(x=x, gamma=gamma, beta=beta):
        return nk.layer_norm(x, gamma, beta, **options)

    _, mean, sigma = nk.layer_norm(x, gamma, beta, **options, return_stats=True)
    actual = nk.layer_norm_backward(dy, x, mean, sigma, gamma, axis=axis)
    numeric = (
        reference.numeric_gradient(y, x, dy, h),
        reference.numeric_gradient(lambda g: y(gamma=g), gamma, dy, h),
        reference.numeric_gradient(lambda b: y(beta=b), beta, dy, h),
    )
    for a, n in zip(actual, numeric, strict=True):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-8)


@pytest.mark.parametrize("n", [2, 6, 64, 130, 1024, 4098])
def test_what_can_be_exact_is_exact(isa, dtype, n):
    """x = m +- s with powers of two, and epsilon 0: y = beta +- gamma."""
    sign = np.where(np.arange(n) % 2, -1, 1).astype(dtype)
    x = np.stack([16 + 4 * sign, -0.5 - 0.125 * sign, sign])
    gamma, beta = np.full(n, 3, dtype), np.full(n, 0.5, dtype)
    y, mean, sigma = nk.layer_norm(x, gamma, beta, epsilon=0, return_stats=True)
    assert np.array_equal(y, np.stack([3 * sign + 0.5, -3 * sign + 0.5, 3 * sign + 0.5]))
    assert np.array_equal(mean, [[16], [-0.5], [0]])
    assert np.array_equal(sigma, [[4], [0.125], [1]])


def test_single_column_is_beta(isa, dtype):
    x, gamma, beta = normal((9, 1), dtype), np.full(1, 7, dtype), np.full(1, 0.1, dtype)
    y, mean, sigma = nk.layer_norm(x, gamma, beta, epsilon=4.0, return_stats=True)
    assert np.array_equal(y, np.broadcast_to(beta, y.shape))
    assert same_bits(mean, x)
    assert np.array_equal(sigma, np.full_like(x, 2))
    dx, dgamma, dbeta = nk.layer_norm_backward(np.ones_like(x), x, mean, sigma, gamma)
    assert not dx.any()
    assert not dgamma.any()
    assert dbeta == 9


def test_backward_where_sigma_is_zero(isa, dtype):
    """No gradient exists there: dx and xhat count as 0, and the other rows are not disturbed."""
    x, dy = normal((3, 40), dtype), normal((3, 40), dtype, seed=1)
    x[1] = 1234
    _, mean, sigma = nk.layer_norm(x, epsilon=0, return_stats=True)
    assert sigma[1] == 0
    actual = nk.layer_norm_backward(dy, x, mean, sigma)
    assert not actual.dx[1].any()
    for a, e in zip(actual, reference.layer_norm_backward(dy, x, epsilon=0), strict=True):
        assert_within(a, e, BACKWARD)
