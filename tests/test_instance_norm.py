"""Instance norm, forward, backward and both at once, against the reference."""

import itertools

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import OFFSETS, Guarded, guarded, normal, ordered, same_bits, simd_sizes
from reference import BACKWARD, FORWARD, STATISTICS, assert_within

EPSILON = 1e-3

# As NCHW: every spatial size with a tail of its own (the vectors of NCHW), every number of channels
# likewise (those of NHWC), all ranks, single positions, and more than one block of either.
SPATIAL = [(2, 3, p) for p in simd_sizes(70)]
CHANNELS = [(2, c, 5) for c in simd_sizes(140)]
RANKS = [(3, 5), (1, 1), (2, 17, 1, 1), (2, 3, 4, 5), (1, 4, 2, 3, 5), (3, 16, 7, 7)]
LARGER = [(1, 1, 20011), (1, 3, 4097), (2, 100, 1030), (1, 64, 257), (40, 9, 3), (1, 300, 70)]
LARGER += [(1, 3, 30011), (1, 2, 70001)]  # planes that are split into spans
CASES = SPATIAL + CHANNELS + RANKS + LARGER

each_case = pytest.mark.parametrize("shape", CASES, ids=str)


def parameters(c, dtype):
    """scale and bias, each there or not."""
    scale, bias = normal((c,), dtype, seed=1), normal((c,), dtype, seed=2)
    return itertools.product((None, scale), (None, bias))


@each_case
def test_forward(isa, dtype, order, shape):
    source = ordered(normal(shape, dtype, mean=3, std=2), order)
    for i, affine in enumerate(parameters(shape[1], dtype)):
        x, scale, bias = guarded(source, *affine, offset=OFFSETS[(i + sum(shape)) % len(OFFSETS)])
        out = Guarded(source.shape, dtype, OFFSETS[i % len(OFFSETS)])
        y, mean, inv_std = nk.instance_norm(
            x, scale, bias, order=order, epsilon=EPSILON, out=out.array, return_stats=True
        )
        exact = reference.instance_norm(x, scale, bias, order=order, epsilon=EPSILON)
        assert y is out.array
        assert_within(y, exact.y, FORWARD, "y")
        assert_within(mean, exact.mean, STATISTICS, "mean")
        assert_within(inv_std, exact.inv_std, STATISTICS, "inv_std")
        assert out.margins_are_intact()
        assert same_bits(x, source)


@each_case
def test_backward(isa, dtype, order, shape):
    """With the saved statistics and with recomputed ones."""
    source = ordered(normal(shape, dtype, mean=3, std=2), order)
    above = ordered(normal(shape, dtype, seed=3), order)
    for i, factor in enumerate((None, normal((shape[1],), dtype, seed=1))):
        offset = OFFSETS[(i + sum(shape)) % len(OFFSETS)]
        x, dy, scale = guarded(source, above, factor, offset=offset)
        _, mean, inv_std = nk.instance_norm(x, order=order, epsilon=EPSILON, return_stats=True)
        exact = reference.instance_norm_backward(dy, x, scale, order=order, epsilon=EPSILON)
        for saved in ((mean, inv_std), (None, None)):
            out = Guarded(source.shape, dtype, OFFSETS[i % len(OFFSETS)])
            actual = nk.instance_norm_backward(
                dy, x, scale, *saved, order=order, epsilon=EPSILON, out=out.array
            )
            assert actual.dx is out.array
            for name, a, e in zip(actual._fields, actual, exact, strict=True):
                assert a.dtype == dtype
                assert_within(a, e, BACKWARD, name)
            assert out.margins_are_intact()
        assert same_bits(x, source)
        assert same_bits(dy, above)


@pytest.mark.parametrize(
    "shape",
    [(2, 3, 29), (3, 17, 4, 5), (2, 64, 7, 7), (1, 1, 9001), (5, 8), (1, 130, 513)],
    ids=str,
)
def test_both_at_once_are_forward_and_backward(isa, dtype, order, shape):
    source = ordered(normal(shape, dtype, mean=3), order)
    above = ordered(normal(shape, dtype, seed=3), order)
    options = {"order": order, "epsilon": EPSILON}
    for i, (scale, bias) in enumerate(parameters(shape[1], dtype)):
        x, dy = guarded(source, above, offset=i)
        y = nk.instance_norm(x, scale, bias, **options)
        gradient = nk.instance_norm_backward(dy, x, scale, **options)
        out = [Guarded(source.shape, dtype, offset) for offset in (0, 3)]
        for pair in (None, tuple(g.array for g in out)):
            both = nk.instance_norm_with_gradient(x, scale, bias, dy, out=pair, **options)
            assert type(both) is nk.InstanceNormWithGradient
            assert both._fields == ("y", "dx", "dscale", "dbias")
            assert all(same_bits(a, b) for a, b in zip(both, (y, *gradient), strict=True))
        assert both.y is pair[0]
        assert both.dx is pair[1]
        assert all(g.margins_are_intact() for g in out)

        in_place = nk.instance_norm_with_gradient(x, scale, bias, dy, out=(x, dy), **options)
        assert same_bits(x, y)
        assert all(same_bits(a, b) for a, b in zip(in_place[1:], gradient, strict=True))


@pytest.mark.parametrize("shape", [(5, 3, 37), (2, 33, 5, 5), (1, 2, 9000)], ids=str)
def test_in_place(isa, dtype, order, shape):
    source = ordered(normal(shape, dtype), order)
    above = ordered(normal(shape, dtype, seed=1), order)
    fresh = nk.instance_norm(source, order=order, return_stats=True)

    x = Guarded.of(source, 1)
    assert nk.instance_norm(x.array, order=order, out=x.array) is x.array
    assert same_bits(x.array, fresh.y)
    assert x.margins_are_intact()
    for saved in (fresh[1:], (None, None)):
        gradient = nk.instance_norm_backward(above, source, None, *saved, order=order)
        for which in (0, 1):
            both = [Guarded.of(above, 1), Guarded.of(source, 3)]
            dy, x = (g.array for g in both)
            actual = nk.instance_norm_backward(dy, x, None, *saved, order=order, out=(dy, x)[which])
            assert all(same_bits(a, b) for a, b in zip(actual, gradient, strict=True))
            assert all(g.margins_are_intact() for g in both)


@pytest.mark.parametrize("shape", [(2, 40, 60, 61), (1, 3, 300, 301)], ids=str)
def test_num_threads(dtype, order, shape):
    x = ordered(normal(shape, dtype, mean=5), order)
    dy = ordered(normal(shape, dtype, seed=1), order)
    scale, bias = normal(shape[1:2], dtype, seed=2), normal(shape[1:2], dtype, seed=3)
    forward = reference.instance_norm(x, scale, bias, order=order)
    backward = reference.instance_norm_backward(dy, x, scale, order=order)
    for num_threads in (1, 2, 3, None):
        options = {"order": order, "num_threads": num_threads}
        y = nk.instance_norm(x, scale, bias, **options)
        assert_within(y, forward.y, FORWARD, f"{num_threads} threads")
        actual = nk.instance_norm_backward(dy, x, scale, **options)
        for a, e in zip(actual, backward, strict=True):
            assert_within(a, e, BACKWARD, f"{num_threads} threads")


def test_defaults(dtype):
    """NCHW, epsilon 1e-5, nothing but y."""
    x = normal((2, 3, 4, 5), dtype)
    y = nk.instance_norm(x)
    assert isinstance(y, np.ndarray)
    assert same_bits(y, nk.instance_norm(x, order="NCHW", epsilon=1e-5))
    assert_within(y, reference.instance_norm(x).y, FORWARD)


def test_results_have_names(dtype):
    x = normal((2, 3, 4), dtype)
    forward = nk.instance_norm(x, return_stats=True)
    assert type(forward) is nk.InstanceNorm
    assert forward._fields == ("y", "mean", "inv_std")
    gradient = nk.instance_norm_backward(x, x)
    assert type(gradient) is nk.InstanceNormGradient
    assert gradient._fields == ("dx", "dscale", "dbias")


def test_order_in_either_case(dtype, order):
    x = normal((2, 3, 4), dtype)
    assert same_bits(nk.instance_norm(x, order=order.lower()), nk.instance_norm(x, order=order))


def test_backward_against_differences_of_the_forward(isa, order):
    """Central differences with step h of a function that is right to u: h^2 and u / h remain."""
    x, dy = normal((2, 3, 2, 3), np.float64), normal((2, 3, 2, 3), np.float64, seed=1)
    scale, bias = normal((3,), np.float64, seed=2), normal((3,), np.float64, seed=3)
    options = {"order": order, "epsilon": 0.1}
    h = 1e-5

    def y(x=x, scale=scale, bias=bias):
        return nk.instance_norm(x, scale, bias, **options)

    numeric = (
        reference.numeric_gradient(y, x, dy, h),
        reference.numeric_gradient(lambda s: y(scale=s), scale, dy, h),
        reference.numeric_gradient(lambda b: y(bias=b), bias, dy, h),
    )
    for a, n in zip(nk.instance_norm_backward(dy, x, scale, **options), numeric, strict=True):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-8)


@pytest.mark.parametrize("spatial", [2, 6, 64, 130, 1024, 4098])
def test_what_can_be_exact_is_exact(isa, dtype, order, spatial):
    """x = m +- s with powers of two, and epsilon 0: y = bias +- scale."""
    sign = np.where(np.arange(spatial) % 2, -1, 1).astype(dtype)
    x = ordered(np.stack([16 + 4 * sign, -0.5 - 0.125 * sign, sign])[None], order)
    scale, bias = np.full(3, 3, dtype), np.full(3, 0.5, dtype)
    y, mean, inv_std = nk.instance_norm(x, scale, bias, order=order, epsilon=0, return_stats=True)
    expected = np.stack([3 * sign + 0.5, -3 * sign + 0.5, 3 * sign + 0.5])[None]
    assert np.array_equal(y, ordered(expected, order))
    assert np.array_equal(mean, [[16, -0.5, 0]])
    assert np.array_equal(inv_std, [[0.25, 8, 1]])


def test_single_position_is_bias(isa, dtype, order):
    x, scale, bias = normal((4, 5), dtype), normal((5,), dtype, seed=1), normal((5,), dtype, seed=2)
    y, mean, inv_std = nk.instance_norm(
        x, scale, bias, order=order, epsilon=0.25, return_stats=True
    )
    assert np.array_equal(y, np.broadcast_to(bias, y.shape))
    assert same_bits(mean, x)
    assert np.array_equal(inv_std, np.full_like(x, 2))
    dx, dscale, dbias = nk.instance_norm_backward(np.ones_like(x), x, scale, order=order)
    assert not dx.any()
    assert not dscale.any()
    assert np.array_equal(dbias, np.full(5, 4))


def test_backward_of_a_constant_plane_with_epsilon_zero(isa, dtype, order):
    """No gradient exists there: dx and xhat count as 0, and the other planes are not disturbed."""
    nchw, above = normal((2, 3, 40), dtype), normal((2, 3, 40), dtype, seed=1)
    nchw[1, 2] = 1234
    x, dy = ordered(nchw, order), ordered(above, order)
    _, mean, inv_std = nk.instance_norm(x, order=order, epsilon=0, return_stats=True)
    assert inv_std[1, 2] == np.inf
    exact = reference.instance_norm_backward(dy, x, order=order, epsilon=0)
    for saved in ((mean, inv_std), (None, None)):
        actual = nk.instance_norm_backward(dy, x, None, *saved, order=order, epsilon=0)
        for name, a, e in zip(actual._fields, actual, exact, strict=True):
            assert_within(a, e, BACKWARD, name)


@pytest.mark.parametrize("at", [0, 7, 8, 31, 36])
@pytest.mark.parametrize("unusual", ["x", "dy", "mean"])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_backward_of_single_positions_beside_an_unusual_one(isa, dtype, zero, unusual, at):
    """Planes of one element have a shorter way, of an image none of which is unusual."""
    shape = (3, 37, 1)
    x, dy, scale = normal(shape, dtype), normal(shape, dtype, seed=1), normal((37,), dtype, seed=2)
    x[:, 1::4], dy[:, 4::5], scale[::3] = zero, -0.0, 0
    mean, inv_std = nk.instance_norm(x, return_stats=True)[1:]
    usual = nk.instance_norm_backward(dy, x, scale, mean, inv_std)
    array, value = {"x": (x, np.nan), "dy": (dy, np.inf), "mean": (mean, 100)}[unusual]
    array[:, at] = value
    actual = nk.instance_norm_backward(dy, x, scale, mean, inv_std)
    others = np.arange(37) != at
    assert same_bits(usual.dx[:, others], actual.dx[:, others])
    assert same_bits(usual.dscale[others], actual.dscale[others])
    assert same_bits(usual.dbias[others], actual.dbias[others])
    if unusual == "mean":
        xhat = (x[:, at, 0] - mean[:, at]) * inv_std[:, at]
        assert np.allclose(actual.dscale[at], (dy[:, at, 0] * xhat).sum(), rtol=1e-5)
    else:
        assert np.isnan(actual.dx[:, at]).all()


def test_single_positions_in_tiles_that_begin_in_the_midst_of_an_image(isa, dtype):
    """Each is the bias of its channel, whichever row its tile begins with."""
    n, c = 700, 65
    x = normal((c, n, 1), dtype).transpose(1, 0, 2)
    bias = normal((c,), dtype, seed=1)
    assert same_bits(nk.instance_norm(x, None, bias), np.broadcast_to(bias[:, None], x.shape))
