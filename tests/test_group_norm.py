"""Group norm, forward and backward, against the reference and what it has in common with others."""

import itertools

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import OFFSETS, Guarded, guarded, normal, ordered, same_bits, simd_sizes
from reference import BACKWARD, FORWARD, STATISTICS, assert_within

EPSILON = 1e-3

# As NCHW, with a number of groups: every spatial size with a tail of its own, of few channels and
# of many; channels per group of every size, which are vectors of NHWC and, where there is a single
# position, rows; all ranks; one group, groups of one channel.
SPATIAL = [((2, 6, p), 2) for p in simd_sizes(70)]
CHANNELS = [((2, 3 * c, 5), 3) for c in simd_sizes(70)]
SINGLE = [((2, 3 * c), 3) for c in (1, 2, 5, 17, 67, 700)]
RANKS = [((2, 4, 1, 1), 2), ((2, 6, 4, 5), 3), ((1, 4, 2, 3, 5), 2), ((3, 16, 7, 7), 4)]
ENDS = [((2, 12, 9), groups) for groups in (1, 2, 3, 4, 6, 12)]
# Groups longer than a chunk of planes that are not, planes that are, planes that are split into
# spans, and more than one block of images.
LARGER = [((1, 200, 30), 1), ((1, 6, 4097), 2), ((1, 300, 70), 100), ((40, 9, 3), 3)]
LARGER += [((1, 4, 20011), 2), ((1, 2, 70001), 1), ((1, 9000), 1)]
CASES = SPATIAL + CHANNELS + SINGLE + RANKS + ENDS + LARGER

each_case = pytest.mark.parametrize(("shape", "groups"), CASES, ids=str)


def parameters(c, dtype):
    """scale and bias, each there or not."""
    scale, bias = normal((c,), dtype, seed=1), normal((c,), dtype, seed=2)
    return itertools.product((None, scale), (None, bias))


@each_case
def test_forward(isa, dtype, order, shape, groups):
    source = ordered(normal(shape, dtype, mean=3, std=2), order)
    for i, affine in enumerate(parameters(shape[1], dtype)):
        x, scale, bias = guarded(source, *affine, offset=OFFSETS[(i + sum(shape)) % len(OFFSETS)])
        out = Guarded(source.shape, dtype, OFFSETS[i % len(OFFSETS)])
        options = {"order": order, "epsilon": EPSILON}
        y, mean, inv_std = nk.group_norm(
            x, groups, scale, bias, **options, out=out.array, return_stats=True
        )
        exact = reference.group_norm(x, groups, scale, bias, **options)
        assert y is out.array
        assert_within(y, exact.y, FORWARD, "y")
        assert_within(mean, exact.mean, STATISTICS, "mean")
        assert_within(inv_std, exact.inv_std, STATISTICS, "inv_std")
        assert out.margins_are_intact()
        assert same_bits(x, source)


@each_case
def test_backward(isa, dtype, order, shape, groups):
    """With the saved statistics and with recomputed ones."""
    source = ordered(normal(shape, dtype, mean=3, std=2), order)
    above = ordered(normal(shape, dtype, seed=3), order)
    options = {"order": order, "epsilon": EPSILON}
    for i, factor in enumerate((None, normal((shape[1],), dtype, seed=1))):
        offset = OFFSETS[(i + sum(shape)) % len(OFFSETS)]
        x, dy, scale = guarded(source, above, factor, offset=offset)
        _, mean, inv_std = nk.group_norm(x, groups, **options, return_stats=True)
        exact = reference.group_norm_backward(dy, x, groups, scale, **options)
        for saved in ((mean, inv_std), (None, None)):
            out = Guarded(source.shape, dtype, OFFSETS[i % len(OFFSETS)])
            actual = nk.group_norm_backward(dy, x, groups, scale, *saved, **options, out=out.array)
            assert actual.dx is out.array
            for name, a, e in zip(actual._fields, actual, exact, strict=True):
                assert a.dtype == dtype
                assert_within(a, e, BACKWARD, name)
            assert out.margins_are_intact()
        assert same_bits(x, source)
        assert same_bits(dy, above)


@pytest.mark.parametrize(
    ("shape", "groups"), [((5, 6, 37), 3), ((2, 32, 5, 5), 2), ((1, 4, 9000), 2)], ids=str
)
def test_in_place(isa, dtype, order, shape, groups):
    source = ordered(normal(shape, dtype), order)
    above = ordered(normal(shape, dtype, seed=1), order)
    scale = normal(shape[1:2], dtype, seed=2)
    fresh = nk.group_norm(source, groups, scale, order=order)
    x = Guarded.of(source, 1)
    assert nk.group_norm(x.array, groups, scale, order=order, out=x.array) is x.array
    assert same_bits(x.array, fresh)
    assert x.margins_are_intact()
    gradient = nk.group_norm_backward(above, source, groups, scale, order=order)
    for which in (0, 1):
        both = [Guarded.of(above, 1), Guarded.of(source, 3)]
        dy, x = (g.array for g in both)
        actual = nk.group_norm_backward(dy, x, groups, scale, order=order, out=(dy, x)[which])
        assert all(same_bits(a, b) for a, b in zip(actual, gradient, strict=True))
        assert all(g.margins_are_intact() for g in both)


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 40, 60, 61), 8), ((1, 4, 300, 301), 1), ((1, 320, 40, 41), 1)]
)
def test_num_threads(dtype, order, shape, groups):
    """One group of one image, too, is shared."""
    x = ordered(normal(shape, dtype, mean=5), order)
    dy = ordered(normal(shape, dtype, seed=1), order)
    scale, bias = normal(shape[1:2], dtype, seed=2), normal(shape[1:2], dtype, seed=3)
    forward = reference.group_norm(x, groups, scale, bias, order=order)
    backward = reference.group_norm_backward(dy, x, groups, scale, order=order)
    for num_threads in (1, 3, None):
        options = {"order": order, "num_threads": num_threads}
        y = nk.group_norm(x, groups, scale, bias, **options)
        assert_within(y, forward.y, FORWARD, f"{num_threads} threads")
        actual = nk.group_norm_backward(dy, x, groups, scale, **options)
        for a, e in zip(actual, backward, strict=True):
            assert_within(a, e, BACKWARD, f"{num_threads} threads")


def test_defaults(dtype):
    """NCHW, epsilon 1e-5, nothing but y."""
    x = normal((2, 6, 4, 5), dtype)
    y = nk.group_norm(x, 2)
    assert isinstance(y, np.ndarray)
    assert same_bits(y, nk.group_norm(x, groups=2, order="NCHW", epsilon=1e-5))
    assert_within(y, reference.group_norm(x, 2).y, FORWARD)


def test_results_have_names(dtype):
    x = normal((2, 6, 4), dtype)
    forward = nk.group_norm(x, 3, return_stats=True)
    assert type(forward) is nk.GroupNorm
    assert forward._fields == ("y", "mean", "inv_std")
    assert forward.mean.shape == forward.inv_std.shape == (2, 3)
    gradient = nk.group_norm_backward(x, x, 3)
    assert type(gradient) is nk.GroupNormGradient
    assert gradient._fields == ("dx", "dscale", "dbias")


@pytest.mark.parametrize("shape", [(2, 5), (3, 17, 6), (2, 64, 9, 9), (1, 3, 9001)], ids=str)
def test_as_many_groups_as_channels_are_instance_norm(isa, dtype, order, shape):
    """To the bit."""
    x, dy = ordered(normal(shape, dtype, mean=9), order), ordered(normal(shape, dtype, 1), order)
    scale, bias = normal(shape[1:2], dtype, seed=2), normal(shape[1:2], dtype, seed=3)
    options, c = {"order": order}, shape[1]
    forward = nk.group_norm(x, c, scale, bias, return_stats=True, **options)
    expected = nk.instance_norm(x, scale, bias, return_stats=True, **options)
    assert all(same_bits(a, b) for a, b in zip(forward, expected, strict=True))
    for saved in (expected[1:], (None, None)):
        gradient = nk.group_norm_backward(dy, x, c, scale, *saved, **options)
        expected = nk.instance_norm_backward(dy, x, scale, *saved, **options)
        assert all(same_bits(a, b) for a, b in zip(gradient, expected, strict=True))


def test_groups_of_a_vector_are_rows(isa, dtype, order):
    """Without positions, a group is a row of layer norm."""
    x = normal((7, 3 * 65), dtype, mean=9)
    y, mean, _ = nk.group_norm(x, 3, order=order, return_stats=True)
    rows = nk.layer_norm(x.reshape(21, 65), return_stats=True)
    assert same_bits(y, rows.y.reshape(x.shape))
    assert same_bits(mean, rows.mean.reshape(7, 3))


@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5, 7), 3), ((3, 32, 20), 8)], ids=str)
def test_agrees_with_torch(shape, groups):
    torch = pytest.importorskip("torch")
    x, scale, bias, dy = (
        torch.from_numpy(normal(s, np.float64, seed=i))
        for i, s in enumerate((shape, shape[1:2], shape[1:2], shape))
    )
    for a in (x, scale, bias):
        a.requires_grad_()
    y = torch.nn.functional.group_norm(x, groups, scale, bias)
    y.backward(dy)
    arrays = [a.detach().numpy() for a in (x, scale, bias)]
    ours = nk.group_norm(arrays[0], groups, *arrays[1:])
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-12, atol=1e-12)
    gradient = nk.group_norm_backward(dy.numpy(), arrays[0], groups, arrays[1])
    for actual, expected in zip(gradient, (x.grad, scale.grad, bias.grad), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-11, atol=1e-12)


def test_backward_against_differences_of_the_forward(isa, order):
    """Central differences with step h of a function that is right to u: h^2 and u / h remain."""
    shape = (2, 4, 2, 3) if order == "NCHW" else (2, 2, 3, 4)
    x, dy = normal(shape, np.float64), normal(shape, np.float64, seed=1)
    scale, bias = normal((4,), np.float64, seed=2), normal((4,), np.float64, seed=3)
    options = {"order": order, "epsilon": 0.1}
    h = 1e-5

    def y(x=x, scale=scale, bias=bias):
        return nk.group_norm(x, 2, scale, bias, **options)

    numeric = (
        reference.numeric_gradient(y, x, dy, h),
        reference.numeric_gradient(lambda s: y(scale=s), scale, dy, h),
        reference.numeric_gradient(lambda b: y(bias=b), bias, dy, h),
    )
    for a, n in zip(nk.group_norm_backward(dy, x, 2, scale, **options), numeric, strict=True):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-8)


@pytest.mark.parametrize("spatial", [1, 3, 64, 1025, 4098])
def test_what_can_be_exact_is_exact(isa, dtype, order, spatial):
    """x = m +- s with powers of two, of two channels per group, and epsilon 0."""
    sign = np.stack([np.ones(spatial), -np.ones(spatial)]).astype(dtype)
    x = ordered(np.concatenate([16 + 4 * sign, -0.5 - 0.125 * sign])[None], order)
    scale, bias = np.array([3, 2, 3, 2], dtype), np.array([0.5, 0, 1, 0], dtype)
    y, mean, inv_std = nk.group_norm(x, 2, scale, bias, order=order, epsilon=0, return_stats=True)
    each = np.concatenate([sign, -sign]) * scale[:, None] + bias[:, None]
    assert np.array_equal(y, ordered(each[None], order))
    assert np.array_equal(mean, [[16, -0.5]])
    assert np.array_equal(inv_std, [[0.25, 8]])


def test_scales_of_zero_and_of_any_size(isa, dtype, order):
    """A channel without a scale still has a part in its group's means."""
    shape, groups = (2, 6, 41), 2
    x, dy = ordered(normal(shape, dtype), order), ordered(normal(shape, dtype, seed=1), order)
    scale = np.array([0, 1, -3, 0, 1e-20, 1e20], dtype)
    actual = nk.group_norm_backward(dy, x, groups, scale, order=order)
    exact = reference.group_norm_backward(dy, x, groups, scale, order=order)
    for name, a, e in zip(actual._fields, actual, exact, strict=True):
        assert_within(a, e, BACKWARD, name)


def test_backward_of_a_constant_group_with_epsilon_zero(isa, dtype, order):
    """No gradient exists there: dx and xhat count as 0, and the other groups are not disturbed."""
    nchw, above = normal((2, 6, 40), dtype), normal((2, 6, 40), dtype, seed=1)
    nchw[1, 2:4] = 1234
    x, dy = ordered(nchw, order), ordered(above, order)
    _, mean, inv_std = nk.group_norm(x, 3, order=order, epsilon=0, return_stats=True)
    assert inv_std[1, 1] == np.inf
    exact = reference.group_norm_backward(dy, x, 3, order=order, epsilon=0)
    for saved in ((mean, inv_std), (None, None)):
        actual = nk.group_norm_backward(dy, x, 3, None, *saved, order=order, epsilon=0)
        for name, a, e in zip(actual._fields, actual, exact, strict=True):
            assert_within(a, e, BACKWARD, name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("spatial", [1, 37, 1100])
def test_what_is_not_finite_stays_in_its_group(isa, dtype, order, value, spatial):
    nchw, above = (normal((2, 12, spatial), dtype, seed=i) for i in range(2))
    spoiled = nchw.copy()
    spoiled[1, 5, spatial // 2] = value
    others = np.ones(nchw.shape, bool)
    others[1, 4:8] = False
    scale = normal((12,), dtype, seed=2)

    def outputs(x):
        x, dy = ordered(x, order), ordered(above, order)
        y, mean, _ = nk.group_norm(x, 3, scale, order=order, return_stats=True)
        return y, nk.group_norm_backward(dy, x, 3, scale, order=order).dx, mean

    (*clean, clean_mean), (*actual, mean) = outputs(nchw), outputs(spoiled)
    for a, b in zip(actual, clean, strict=True):
        assert same_bits(a[ordered(others, order)], b[ordered(others, order)])
        assert np.isnan(a[~ordered(others, order)]).all()
    assert np.array_equal(np.isnan(mean) | (mean != clean_mean), [[0, 0, 0], [0, 1, 0]])


def test_messages(order):
    x = ordered(normal((2, 6, 5), np.float32), order)
    shape = ", ".join(map(str, x.shape))
    with pytest.raises(
        ValueError,
        match=rf"^group_norm: groups is 4, must divide 6, the number of channels of x \(shape "
        rf"\({shape}\), order {order}\)$",
    ):
        nk.group_norm(x, 4, order=order)
    statistics = np.ones((2, 6), np.float32)
    with pytest.raises(
        ValueError,
        match=r"^group_norm_backward: mean has shape \(2, 6\), must have \(2, 3\), one value per "
        r"image and group of x$",
    ):
        nk.group_norm_backward(x, x, 3, None, statistics, statistics, order=order)
