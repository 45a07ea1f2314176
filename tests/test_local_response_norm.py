"""Local response norm, forward and backward, against the reference.

alpha is 0.5 to 1 throughout: with the usual 1e-4 the second term of the gradient would not be seen.
"""

import itertools

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import OFFSETS, Guarded, guarded, normal, ordered, same_bits, simd_sizes
from reference import LRN_BACKWARD, LRN_FORWARD, LRN_SCALE, assert_within

SIZES = [1, 2, 3, 4, 5, 8, 11]
BETAS = [0.5, 0.75, 1.0, 0.6, 2.0, 3.3, 0.0, -0.75, -1.0]

# As NCHW. Fewer channels than any window, as many, more; spatial and channel tails; ranks 3 to 5.
CHANNELS = [(2, c, 3) for c in simd_sizes(70)]
SPATIAL = [(1, 6, p) for p in simd_sizes(140)]
RANKS = [(2, 5, 4), (2, 5, 3, 4), (1, 5, 2, 3, 4), (1, 1, 1), (3, 96, 5, 5), (1, 300, 9)]
LARGER = [(1, 13, 1031), (2, 64, 257), (1, 3, 20011)]


def each_shape_with_parameters():
    """Every size with every beta once, and every shape with some size and beta."""
    shapes = CHANNELS + SPATIAL + RANKS + LARGER
    pairs = list(itertools.product(SIZES, BETAS))
    for i in range(max(len(shapes), len(pairs))):
        size, beta = pairs[i % len(pairs)]
        options = {"alpha": (0.5, 0.7, 1.0)[i % 3], "beta": beta, "bias": (1.0, 2.0)[i % 2]}
        yield shapes[5 * i % len(shapes)], size, options


CASES = list(each_shape_with_parameters())
each_case = pytest.mark.parametrize("case", CASES, ids=lambda v: str(v).replace("'", ""))


def test_the_cases_meet_every_shape():
    assert {case[0] for case in CASES} == set(CHANNELS + SPATIAL + RANKS + LARGER)


@each_case
def test_forward(isa, dtype, order, case):
    shape, size, options = case
    source = ordered(normal(shape, dtype, std=2), order)
    offset = OFFSETS[sum(shape) % len(OFFSETS)]
    options = {**options, "order": order}
    (x,) = guarded(source, offset=offset)
    exact = reference.local_response_norm(x, size, **options)
    for return_scale in (True, False):
        out = Guarded(x.shape, dtype, OFFSETS[(offset + return_scale) % len(OFFSETS)])
        actual = nk.local_response_norm(
            x, size, out=out.array, return_scale=return_scale, **options
        )
        y = actual.y if return_scale else actual
        assert y is out.array
        assert_within(y, exact.y, LRN_FORWARD, "y")
        assert out.margins_are_intact()
        if return_scale:
            assert_within(actual.scale, exact.scale, LRN_SCALE[x.dtype], "scale")
    assert same_bits(x, source)


@each_case
def test_backward(isa, dtype, order, case):
    shape, size, options = case
    """With y and scale, one of them, or neither."""
    source = ordered(normal(shape, dtype, std=2), order)
    above = ordered(normal(shape, dtype, seed=1), order)
    options = {**options, "order": order}
    x, dy = guarded(source, above, offset=OFFSETS[sum(shape) % len(OFFSETS)])
    saved = guarded(*nk.local_response_norm(x, size, return_scale=True, **options), offset=1)
    exact = reference.local_response_norm_backward(dy, x, size, **options)
    for y, scale in itertools.product((None, saved[0]), (None, saved[1])):
        out = Guarded(x.shape, dtype, OFFSETS[(y is None) + (scale is None)])
        dx = nk.local_response_norm_backward(
            dy, x, size, y=y, scale=scale, out=out.array, **options
        )
        assert dx is out.array
        assert_within(dx, exact, LRN_BACKWARD, f"y {y is not None}, scale {scale is not None}")
        assert out.margins_are_intact()
    assert same_bits(x, source)
    assert same_bits(dy, above)


@pytest.mark.parametrize("alpha_bias", [(-0.01, 2.0), (0.5, -0.25), (-0.5, -1.0)], ids=str)
@pytest.mark.parametrize("beta", [1.0, 2.0, 0.75])
def test_negative_alpha_or_bias(isa, dtype, order, alpha_bias, beta):
    """Right to the terms of the bracket; NaN where the exact answer is not real."""
    x = ordered(normal((2, 7, 30), dtype), order)
    dy = ordered(normal((2, 7, 30), dtype, seed=1), order)
    alpha, bias = alpha_bias
    options = {"alpha": alpha, "beta": beta, "bias": bias, "order": order}
    y, scale = nk.local_response_norm(x, 3, return_scale=True, **options)
    exact = reference.local_response_norm(x, 3, **options)
    assert_within(scale, exact.scale, LRN_SCALE[x.dtype], "scale")
    assert_within(y, exact.y, LRN_FORWARD, "y")
    dx = nk.local_response_norm_backward(dy, x, 3, **options)
    assert_within(dx, reference.local_response_norm_backward(dy, x, 3, **options), LRN_BACKWARD)


def test_alpha_zero_is_a_factor(isa, dtype, order):
    x = ordered(normal((1, 5, 33), dtype), order)
    y = nk.local_response_norm(x, 3, alpha=0.0, beta=0.5, bias=4.0, order=order)
    assert np.array_equal(y, x / 2)
    dx = nk.local_response_norm_backward(x, x, 3, alpha=0.0, beta=0.5, bias=4.0, order=order)
    assert np.array_equal(dx, x / 2)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 0.0, -1.0])
def test_what_can_be_exact_is_exact(isa, dtype, order, beta):
    """All ones and alpha = 3 * size over a window of c channels: s = 1 + 3 * c, 4 or 16."""
    for channels, s in ((1, 4), (5, 16)):
        x = np.ones((2, channels, 19), dtype)
        y, scale = nk.local_response_norm(
            ordered(x, order), 11, alpha=33.0, beta=beta, bias=1.0, order=order, return_scale=True
        )
        assert np.array_equal(scale, np.full_like(scale, s))
        assert np.array_equal(y, np.full_like(y, float(s) ** -beta))


def test_a_window_beyond_all_channels(isa, dtype, order):
    x = ordered(normal((1, 4, 6), dtype), order)
    options = {"alpha": 0.5, "order": order}
    for size in (100, 2**40):
        exact = reference.local_response_norm(x, size, **options)
        assert_within(nk.local_response_norm(x, size, **options), exact.y, LRN_FORWARD)
        exact = reference.local_response_norm_backward(x, x, size, **options)
        assert_within(nk.local_response_norm_backward(x, x, size, **options), exact, LRN_BACKWARD)


@pytest.mark.parametrize("shape", [(2, 20, 40, 41), (1, 6, 120, 121)], ids=str)
def test_num_threads(dtype, order, shape):
    x = ordered(normal(shape, dtype), order)
    dy = ordered(normal(shape, dtype, seed=1), order)
    options = {"alpha": 0.5, "order": order}
    forward = reference.local_response_norm(x, 5, **options)
    backward = reference.local_response_norm_backward(dy, x, 5, **options)
    for num_threads in (1, 2, 3, None):
        y = nk.local_response_norm(x, 5, **options, num_threads=num_threads)
        assert_within(y, forward.y, LRN_FORWARD, f"{num_threads} threads")
        dx = nk.local_response_norm_backward(dy, x, 5, **options, num_threads=num_threads)
        assert_within(dx, backward, LRN_BACKWARD, f"{num_threads} threads")


def test_defaults(dtype):
    """alpha 1e-4, beta 0.75, bias 1, NCHW, nothing but y."""
    x = normal((2, 7, 4, 5), dtype, std=100)
    y = nk.local_response_norm(x, 5)
    assert isinstance(y, np.ndarray)
    assert_within(y, reference.local_response_norm(x, 5).y, LRN_FORWARD)
    dx = nk.local_response_norm_backward(x, x, 5)
    assert_within(dx, reference.local_response_norm_backward(x, x, 5), LRN_BACKWARD)


def test_results_have_names(dtype):
    both = nk.local_response_norm(normal((1, 2, 3), dtype), 3, return_scale=True)
    assert type(both) is nk.LocalResponseNorm
    assert both._fields == ("y", "scale")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("beta", [0.5, 0.75, 0.6, 2.0])
def test_backward_against_differences_of_the_forward(isa, order, size, beta):
    """Central differences with step h of a function that is right to u: h^2 and u / h remain."""
    x, dy = normal((1, 6, 4), np.float64), normal((1, 6, 4), np.float64, seed=1)
    x, dy = ordered(x, order), ordered(dy, order)
    options = {"alpha": 1.0, "beta": beta, "bias": 1.0, "order": order}
    numeric = reference.numeric_gradient(
        lambda x: nk.local_response_norm(x, size, **options), x, dy, h=1e-5
    )
    dx = nk.local_response_norm_backward(dy, x, size, **options)
    np.testing.assert_allclose(dx, numeric, rtol=0, atol=1e-8)
