"""The reference against closed forms, central differences and published numbers, which the library
must meet too."""

import decimal

import normkernels as nk
import numpy as np
import pytest
import reference
import reference_steps as steps
from conftest import DISTRIBUTIONS, OFFSETS_OVER_STD, drawn

# In longdouble a step of 1e-6 leaves h^2 of the third derivative and u / h of rounding.
STEP = 1e-6
DIFFERENCE = 1e-9


def assert_gradient(f, x, dy, analytic):
    numeric = reference.numeric_gradient(f, x.astype(np.longdouble), dy, STEP)
    np.testing.assert_allclose(analytic.value, numeric, rtol=DIFFERENCE, atol=DIFFERENCE)


def uniform(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape)


# ---- Closed forms


def test_layer_norm_of_two_values():
    """Of (a, b): mean (a+b)/2, var ((a-b)/2)^2."""
    x, epsilon = np.array([[3.0, 7.0]]), 0.25
    y, mean, sigma = reference.layer_norm(x, [2.0, 3.0], [10.0, 20.0], epsilon=epsilon)
    s = np.sqrt(4 + epsilon)
    np.testing.assert_allclose(sigma.value, [[s]], rtol=1e-15)
    np.testing.assert_allclose(mean.value, [[5]], rtol=0)
    np.testing.assert_allclose(y.value, [[10 - 4 / s, 20 + 6 / s]], rtol=1e-15)


def test_instance_norm_is_layer_norm_of_planes():
    x = uniform(2, 3, 4, 5)
    a = reference.instance_norm(x, epsilon=1e-3)
    b = reference.layer_norm(x, axis=2, epsilon=1e-3)
    np.testing.assert_array_equal(a.y.value, b.y.value)
    np.testing.assert_array_equal(a.inv_std.value, 1 / b.sigma.value[:, :, 0])


def test_rms_norm_of_two_values():
    """Of (a, b): mean of squares (a^2 + b^2) / 2. Of what has the mean 0 it is layer norm."""
    x, epsilon = np.array([[3.0, 7.0]]), 0.25
    y, rstd = reference.rms_norm(x, [2.0, 3.0], [10.0, 20.0], epsilon=epsilon)
    s = np.sqrt(29 + epsilon)
    np.testing.assert_allclose(rstd.value, [[1 / s]], rtol=1e-15)
    np.testing.assert_allclose(y.value, [[10 + 6 / s, 20 + 21 / s]], rtol=1e-15)
    x = np.array([[1.0, -2.0, 1.0]])
    y = reference.layer_norm(x, epsilon=epsilon).y.value
    np.testing.assert_allclose(reference.rms_norm(x, epsilon=epsilon).y.value, y, rtol=1e-15)


def test_backward_is_orthogonal_to_constants():
    """A constant added to x changes nothing, so dx sums to 0; with epsilon 0 nor does a factor."""
    x, dy = uniform(3, 17), uniform(3, 17, seed=1)
    dx = reference.layer_norm_backward(dy, x, epsilon=0).dx.value
    np.testing.assert_allclose(dx.sum(1), 0, atol=1e-15)
    np.testing.assert_allclose((dx * x).sum(1), 0, atol=1e-15)


def test_backward_of_instance_norm_equals_the_original_form():
    """dx = c1 * dy + c2 * x + c3 with raw sums, as the originals have it."""
    x, dy, scale = uniform(2, 3, 20), uniform(2, 3, 20, seed=1), uniform(3, seed=2)
    _, mean, rstd = (e.value for e in reference.instance_norm(x))
    ds, db = (e.value for e in steps.instance_norm_internal_gradients(dy, x))
    dx = steps.instance_norm_backward_apply(dy, x, mean, rstd, scale, ds, db)
    dscale, dbias = steps.instance_norm_gamma_beta_backward(ds, db, mean, rstd)
    exact = reference.instance_norm_backward(dy, x, scale)
    for ours, theirs in zip(exact, (dx, dscale, dbias), strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-13, atol=1e-15)


def test_backward_of_layer_norm_equals_the_original_form():
    x, dy, gamma = uniform(4, 9), uniform(4, 9, seed=1), uniform(9, seed=2)
    _, mean, sigma = (e.value for e in reference.layer_norm(x))
    dyx, ds, db = (e.value for e in steps.compute_internal_gradients(dy, x, gamma))
    rstd, x_scale, bias, g_scale = (
        e.value for e in steps.compute_fused_params(mean, sigma, ds, db, 9)
    )
    dx = steps.layer_norm_backward_apply(dy, x, gamma, rstd, x_scale, bias)
    dgamma, dbeta = steps.gamma_beta_backward(dyx, dy, rstd, g_scale)
    exact = reference.layer_norm_backward(dy, x, gamma)
    for ours, theirs in zip(exact, (dx, dgamma, dbeta), strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-13, atol=1e-15)


def test_local_response_norm_of_size_one():
    """size 1: s = bias + alpha * x^2 and dy/dx = s^-beta * (1 - 2 * alpha * beta * x^2 / s)."""
    x = uniform(1, 4, 3)
    y, s = reference.local_response_norm(x, 1, alpha=0.5, beta=2, bias=3)
    np.testing.assert_allclose(s.value, 3 + 0.5 * x * x, rtol=1e-15)
    np.testing.assert_allclose(y.value, x / s.value**2, rtol=1e-15)
    dx = reference.local_response_norm_backward(np.ones_like(x), x, 1, alpha=0.5, beta=2, bias=3)
    np.testing.assert_allclose(dx.value, (1 - 2 * x * x / s.value) / s.value**2, rtol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11])
def test_windows_mirror_each_other(size):
    for channels in (1, 2, 5, 13):
        for k in range(channels):
            held_by = [
                j
                for j in range(channels)
                if k in range(channels)[reference.window(j, size, channels)]
            ]
            assert held_by == list(range(channels)[reference.mirrored_window(k, size, channels)])


def test_even_window_has_one_more_above():
    assert reference.window(5, 4, 10) == slice(4, 8)
    assert reference.mirrored_window(5, 4, 10) == slice(3, 7)


def test_error_counts_in_units_of_rounding():
    exact = reference.Exact(np.array([1.0, np.inf]), np.array([1.0, np.inf]))
    actual = np.array([1 + 2.0**-23, np.inf], np.float32)
    assert reference.error(actual, exact) == pytest.approx(2)
    assert reference.error(np.array([np.nan, np.inf], np.float32), exact) == np.inf
    assert reference.error(np.array([1, -np.inf], np.float32), exact) == np.inf


# ---- Decimals of 400 digits, which hold all sums of squares of floating-point numbers below


def in_decimals(row, epsilon):
    """y, mean and sigma of one row."""
    values, n = [decimal.Decimal(v) for v in row.tolist()], len(row)
    mean = sum(values) / n
    deviations = [v - mean for v in values]
    sigma = (sum(d * d for d in deviations) / n + decimal.Decimal(epsilon)).sqrt()
    return [d / sigma for d in deviations], [mean], [sigma]


def as_decimal(a):
    """A longdouble, exactly."""
    return decimal.Decimal(float(a)) + decimal.Decimal(float(a - np.longdouble(float(a))))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_oracle_is_right_to_a_hundredth_of_the_bounds(dtype, distribution):
    bounds = (reference.FORWARD, reference.STATISTICS, reference.STATISTICS)
    for offset in OFFSETS_OVER_STD[dtype]:
        for n in (1, 2, 3, 17, 1000):
            for row in drawn(distribution, dtype, n, offset)[:3]:
                exact = reference.layer_norm(row[None], epsilon=1e-5)
                with decimal.localcontext() as context:
                    context.prec = 400
                    true = in_decimals(row, 1e-5)
                    for e, t, bound in zip(exact, true, bounds, strict=True):
                        unit = bound / 100 * reference.u(dtype) * e.scale
                        for v, most, d in zip(e.value.flat, unit.flat, t, strict=True):
                            assert abs(as_decimal(v) - d) <= as_decimal(most), (offset, n, e)


# ---- Central differences


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_layer_norm_backward_against_differences(axis):
    x, dy = uniform(2, 3, 4), uniform(2, 3, 4, seed=1)
    cols = x.shape[axis % 3 :]
    gamma, beta = uniform(*cols, seed=2), uniform(*cols, seed=3)
    dx, dgamma, dbeta = reference.layer_norm_backward(dy, x, gamma, axis=axis, epsilon=1e-3)

    def y(x=x, gamma=gamma, beta=beta):
        return reference.layer_norm(x, gamma, beta, axis=axis, epsilon=1e-3).y.value

    assert_gradient(y, x, dy, dx)
    assert_gradient(lambda g: y(gamma=g), gamma, dy, dgamma)
    assert_gradient(lambda b: y(beta=b), beta, dy, dbeta)


def test_rms_norm_backward_against_differences():
    x, dy = uniform(2, 3, 4), uniform(2, 3, 4, seed=1)
    gamma, beta = uniform(12, seed=2), uniform(12, seed=3)
    options = {"axis": 1, "epsilon": 1e-3}
    dx, dgamma, dbeta = reference.rms_norm_backward(dy, x, gamma, **options)

    def y(x=x, gamma=gamma, beta=beta):
        return reference.rms_norm(x, gamma, beta, **options).y.value

    assert_gradient(y, x, dy, dx)
    assert_gradient(lambda g: y(gamma=g), gamma, dy, dgamma._replace(value=dgamma.value.ravel()))
    assert_gradient(lambda b: y(beta=b), beta, dy, dbeta._replace(value=dbeta.value.ravel()))


def test_instance_norm_backward_against_differences(order):
    x, dy = uniform(2, 3, 2, 3), uniform(2, 3, 2, 3, seed=1)
    scale, bias = uniform(3, seed=2), uniform(3, seed=3)
    dx, dscale, dbias = reference.instance_norm_backward(dy, x, scale, order=order, epsilon=1e-3)

    def y(x=x, scale=scale, bias=bias):
        return reference.instance_norm(x, scale, bias, order=order, epsilon=1e-3).y.value

    assert_gradient(y, x, dy, dx)
    assert_gradient(lambda s: y(scale=s), scale, dy, dscale)
    assert_gradient(lambda b: y(bias=b), bias, dy, dbias)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize("beta", [0.5, 0.75, 2.0, -1.0])
def test_local_response_norm_backward_against_differences(size, beta, order):
    x, dy = uniform(2, 6, 2, 6), uniform(2, 6, 2, 6, seed=1)
    arguments = {"alpha": 0.9, "beta": beta, "bias": 1.0, "order": order}
    dx = reference.local_response_norm_backward(dy, x, size, **arguments)
    assert_gradient(
        lambda x: reference.local_response_norm(x, size, **arguments).y.value, x, dy, dx
    )


# ---- Published numbers
#
# Programs in float32 printed them to its last digit: their own error is theirs, a few roundings.

PUBLISHED = 4 * reference.u(np.float32)

INSTANCE_NORM_X = """
    .97856593 -1.1832817 -.2540021 -1.3315694 -.7485018 .3787225 -.6826597 -1.4637762 .57116514
    -.44948956 .85544354 -.9315333 -.37202677 -.22266895 -.27194235 .4948163 -.7296504 1.3393803"""
INSTANCE_NORM_Y = """
    3.5017493 -.3791256 1.2890853 -.6453266 .40137637 2.4249308 .5195738 -.8826599 2.7703972
    .12639964 2.856744 -.8821926 .28847694 .60098207 .49788612 2.1021945 -.45978796 3.869297"""
INSTANCE_NORM_STATISTICS = ([-0.41503748, -0.03196347], [1.19677722, 1.39488355])


def numbers(text, *shape):
    return np.array(text.split(), np.float32).reshape(shape)


class Reference:
    """The reference behind the library's names: values only, rounded to the dtype of x."""

    @staticmethod
    def instance_norm(x, *arguments, return_stats=False, **keywords):
        exact = reference.instance_norm(x, *arguments, **keywords)
        values = [e.value.astype(x.dtype) for e in exact]
        return values if return_stats else values[0]

    @staticmethod
    def local_response_norm(x, *arguments, return_scale=False, **keywords):
        exact = reference.local_response_norm(x, *arguments, **keywords)
        values = [e.value.astype(x.dtype) for e in exact]
        return values if return_scale else values[0]


each_implementation = pytest.mark.parametrize("our", [Reference, nk], ids=["reference", "library"])


@each_implementation
def test_instance_norm_of_caffe2s_documentation(our):
    x = numbers(INSTANCE_NORM_X, 2, 1, 3, 3)
    y, mean, inv_std = our.instance_norm(
        x, np.float32([1.5]), np.float32([1]), epsilon=1e-5, return_stats=True
    )
    expected = numbers(INSTANCE_NORM_Y, 2, 1, 3, 3)
    np.testing.assert_allclose(y, expected, rtol=PUBLISHED, atol=PUBLISHED)
    np.testing.assert_allclose(mean[:, 0], INSTANCE_NORM_STATISTICS[0], rtol=0, atol=5e-8)
    np.testing.assert_allclose(inv_std[:, 0], INSTANCE_NORM_STATISTICS[1], rtol=0, atol=2e-7)


@each_implementation
def test_instance_norm_of_onnx(our):
    """The input of ONNX's own example; of (-d, 0, d) the deviation is d * sqrt(2/3)."""
    x = np.float32([[[[-1, 0, 1]], [[2, 3, 4]]]])
    y = our.instance_norm(x, np.float32([1, 1.5]), np.float32([0, 1]), epsilon=1e-5)
    e = 1 / np.sqrt(2 / 3 + 1e-5)
    np.testing.assert_allclose(y.ravel(), [-e, 0, e, 1 - 1.5 * e, 1, 1 + 1.5 * e], atol=4e-7)
    np.testing.assert_allclose(y.ravel()[[2, 5]], [1.2247356, 2.8371034], rtol=0, atol=4e-7)


@each_implementation
@pytest.mark.parametrize(
    ("x", "y", "s"), [(0.72985137, 0.5160766, 2.0000484), (2.7344604, 1.9332271, 2.0006797)]
)
def test_local_response_norm_of_caffe2s_documentation(our, x, y, s):
    x = np.float32(x).reshape(1, 1, 1, 1)
    actual = our.local_response_norm(
        x, 11, alpha=0.001, beta=0.5, bias=2.0, order="NHWC", return_scale=True
    )
    np.testing.assert_allclose(actual[0].item(), y, rtol=PUBLISHED)
    np.testing.assert_allclose(actual[1].item(), s, rtol=PUBLISHED)


@each_implementation
def test_local_response_norm_of_tensorrts_documentation(our):
    """alpha is divided by the window, at the borders too."""
    x = np.arange(5, dtype=np.float32).reshape(1, 5, 1, 1)
    y = our.local_response_norm(x, 3, alpha=1.0, beta=1.0, bias=0.1)
    expected = [0, 0.56603765, 0.4195804, 0.3071672, 0.47430828]
    np.testing.assert_allclose(y.ravel(), expected, rtol=PUBLISHED)
