"""The steps that Caffe2's operators are made of, each against the reference, and put together."""

import normkernels as nk
import numpy as np
import pytest
import reference
import reference_steps as steps
from conftest import guarded, normal, ordered
from normkernels import helpers
from reference import STATISTICS, assert_within
from reference_steps import STEP

LAYER_NORM_CASES = [
    ((7,), -1),
    ((3, 7), 1),
    ((2, 3, 5), -1),
    ((2, 3, 5), 0),
    ((5, 1), 1),
    ((4, 129), 1),
    ((70, 33), 1),
    ((2, 5000), 1),
    ((300, 3), 1),
]
INSTANCE_NORM_CASES = [(2, 3, 7), (1, 1), (3, 17, 4, 5), (2, 65, 3), (1, 2, 5000), (1, 4, 2, 3, 5)]

each_layer_norm_case = pytest.mark.parametrize(("shape", "axis"), LAYER_NORM_CASES, ids=str)
each_instance_norm_case = pytest.mark.parametrize("shape", INSTANCE_NORM_CASES, ids=str)


def assert_all_within(actual, exact, fields):
    assert actual._fields == fields
    for name, a, e in zip(fields, actual, exact, strict=True):
        assert_within(a, e, STEP, name)


def per_row(shape, axis, dtype, *seeds):
    """Positive vectors with one value a row, in the shape of mean and sigma."""
    shape = (*shape[: axis % len(shape)], 1)
    return guarded(*(abs(normal(shape, dtype, seed)) + dtype(0.5) for seed in seeds), offset=1)


# ---- Layer norm


@each_layer_norm_case
def test_compute_sigma_and_fused_params(isa, dtype, shape, axis):
    mean, var = per_row(shape, axis, dtype, 0, 1)
    actual = nk.compute_sigma_and_fused_params(mean, var, epsilon=0.01)
    exact = steps.compute_sigma_and_fused_params(mean, var, epsilon=0.01)
    assert_all_within(actual, exact, ("sigma", "scale", "bias"))


@each_layer_norm_case
@pytest.mark.parametrize("affine", [False, True])
def test_compute_internal_gradients(isa, dtype, shape, axis, affine):
    dy, x = guarded(normal(shape, dtype), normal(shape, dtype, 1), offset=1)
    gamma = normal(shape[axis % len(shape) :], dtype, 2) if affine else None
    actual = nk.compute_internal_gradients(dy, x, gamma, axis=axis)
    exact = steps.compute_internal_gradients(dy, x, gamma, axis=axis)
    assert_all_within(actual, exact, ("dyx", "ds", "db"))


@each_layer_norm_case
def test_compute_fused_params(isa, dtype, shape, axis):
    arguments = per_row(shape, axis, dtype, 0, 1, 2, 3)
    actual = nk.compute_fused_params(*arguments, 37)
    exact = steps.compute_fused_params(*arguments, 37)
    assert_all_within(actual, exact, ("rstd", "x_scale", "bias", "g_scale"))


@each_layer_norm_case
def test_gamma_beta_backward(isa, dtype, shape, axis):
    dyx, dy = guarded(normal(shape, dtype), normal(shape, dtype, 1), offset=1)
    rstd, g_scale = per_row(shape, axis, dtype, 2, 3)
    actual = nk.gamma_beta_backward(dyx, dy, rstd, g_scale, axis=axis)
    exact = steps.gamma_beta_backward(dyx, dy, rstd, g_scale, axis=axis)
    assert actual.dgamma.size == np.prod(shape[axis % len(shape) :])
    assert_all_within(type(actual)(*(a.ravel() for a in actual)), exact, ("dgamma", "dbeta"))


@each_layer_norm_case
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_forward(isa, dtype, shape, axis, affine):
    (x,) = guarded(normal(shape, dtype), offset=3)
    scale, bias = per_row(shape, axis, dtype, 1, 2)
    cols = shape[axis % len(shape) :]
    parameters = (normal(cols, dtype, 3), normal(cols, dtype, 4)) if affine else (None, None)
    actual = helpers.layer_norm_forward(x, scale, bias, *parameters, axis=axis)
    exact = steps.layer_norm_apply(x, scale, bias, *parameters, axis=axis)
    assert_within(actual, exact, STEP)


@each_layer_norm_case
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm_backward(isa, dtype, shape, axis, affine):
    dy, x = guarded(normal(shape, dtype), normal(shape, dtype, 1), offset=1)
    gamma = normal(shape[axis % len(shape) :], dtype, 2) if affine else None
    rows = per_row(shape, axis, dtype, 3, 4, 5)
    actual = helpers.layer_norm_backward(dy, x, gamma, *rows, axis=axis)
    assert_within(actual, steps.layer_norm_backward_apply(dy, x, gamma, *rows, axis=axis), STEP)


def test_the_steps_make_layer_norm(isa):
    """In float64 and without an offset they agree with the operators to a few digits of u."""
    shape, axis, n = (3, 4, 10), 1, 40
    x, dy = normal(shape, np.float64), normal(shape, np.float64, 1)
    gamma, beta = normal(shape[1:], np.float64, 2), normal(shape[1:], np.float64, 3)
    y, mean, sigma = nk.layer_norm(x, gamma, beta, axis=axis, return_stats=True)
    var = x.reshape(3, -1).var(1).reshape(mean.shape)
    again, scale, bias = nk.compute_sigma_and_fused_params(mean, var)
    np.testing.assert_allclose(again, sigma, rtol=1e-14)
    stepwise = helpers.layer_norm_forward(x, scale, bias, gamma, beta, axis=axis)
    np.testing.assert_allclose(stepwise, y, rtol=0, atol=1e-13)

    dyx, ds, db = nk.compute_internal_gradients(dy, x, gamma, axis=axis)
    rstd, x_scale, bias, g_scale = nk.compute_fused_params(mean, sigma, ds, db, n)
    dgamma, dbeta = nk.gamma_beta_backward(dyx, dy, rstd, g_scale, axis=axis)
    dx = helpers.layer_norm_backward(dy, x, gamma, rstd, x_scale, bias, axis=axis)
    gradient = nk.layer_norm_backward(dy, x, mean, sigma, gamma, axis=axis)
    for step, whole in zip((dx, dgamma, dbeta), gradient, strict=True):
        np.testing.assert_allclose(step.ravel(), whole.ravel(), rtol=0, atol=1e-13)


# ---- Instance norm


def per_plane(shape, dtype, *seeds):
    """Positive vectors with one value for each image and channel."""
    return guarded(*(abs(normal(shape[:2], dtype, seed)) + dtype(0.5) for seed in seeds), offset=1)


@each_instance_norm_case
def test_compute_moments(isa, dtype, order, shape):
    (x,) = guarded(ordered(normal(shape, dtype, mean=5), order), offset=1)
    actual = helpers.compute_moments(x, order=order, epsilon=0.01)
    exact = reference.instance_norm(x, order=order, epsilon=0.01)
    assert actual._fields == ("mean", "rstd")
    assert_within(actual.mean, exact.mean, STATISTICS)
    assert_within(actual.rstd, exact.inv_std, STATISTICS)


@each_instance_norm_case
def test_instance_norm_fused_params(isa, dtype, shape):
    mean, rstd = per_plane(shape, dtype, 0, 1)
    gamma, beta = normal(shape[1:2], dtype, 2), normal(shape[1:2], dtype, 3)
    actual = helpers.compute_fused_params(mean, rstd, gamma, beta)
    exact = steps.instance_norm_fused_params(mean, rstd, gamma, beta)
    assert_all_within(actual, exact, ("scale", "bias"))


@each_instance_norm_case
def test_instance_norm_internal_gradients(isa, dtype, order, shape):
    dy, x = (ordered(normal(shape, dtype, seed), order) for seed in (0, 1))
    dy, x = guarded(dy, x, offset=1)
    actual = helpers.compute_internal_gradients(dy, x, order=order)
    exact = steps.instance_norm_internal_gradients(dy, x, order=order)
    assert_all_within(actual, exact, ("ds", "db"))


@each_instance_norm_case
def test_instance_norm_forward(isa, dtype, order, shape):
    (x,) = guarded(ordered(normal(shape, dtype), order), offset=3)
    scale, bias = per_plane(shape, dtype, 1, 2)
    actual = helpers.instance_norm_forward(x, scale, bias, order=order)
    assert_within(actual, steps.instance_norm_apply(x, scale, bias, order=order), STEP)


@each_instance_norm_case
def test_instance_norm_backward(isa, dtype, order, shape):
    dy, x = (ordered(normal(shape, dtype, seed), order) for seed in (0, 1))
    dy, x = guarded(dy, x, offset=1)
    mean, rstd, ds, db = per_plane(shape, dtype, 2, 3, 4, 5)
    gamma = normal(shape[1:2], dtype, 6)
    actual = helpers.instance_norm_backward(dy, x, mean, rstd, gamma, ds, db, order=order)
    exact = steps.instance_norm_backward_apply(dy, x, mean, rstd, gamma, ds, db, order=order)
    assert_within(actual, exact, STEP)


@each_instance_norm_case
def test_instance_norm_gamma_beta_backward(isa, dtype, shape):
    arguments = per_plane(shape, dtype, 0, 1, 2, 3)
    actual = helpers.gamma_beta_backward(*arguments)
    exact = steps.instance_norm_gamma_beta_backward(*arguments)
    assert_all_within(actual, exact, ("dgamma", "dbeta"))


def test_the_steps_make_instance_norm(isa, order):
    """In float64 and without an offset they agree with the operators to a few digits of u."""
    shape = (2, 3, 4, 5)
    x, dy = (ordered(normal(shape, np.float64, seed), order) for seed in (0, 1))
    gamma, beta = normal((3,), np.float64, 2), normal((3,), np.float64, 3)
    mean, rstd = helpers.compute_moments(x, order=order)
    scale, bias = helpers.compute_fused_params(mean, rstd, gamma, beta)
    y = helpers.instance_norm_forward(x, scale, bias, order=order)
    np.testing.assert_allclose(y, nk.instance_norm(x, gamma, beta, order=order), atol=1e-13)

    ds, db = helpers.compute_internal_gradients(dy, x, order=order)
    dx = helpers.instance_norm_backward(dy, x, mean, rstd, gamma, ds, db, order=order)
    dgamma, dbeta = helpers.gamma_beta_backward(ds, db, mean, rstd)
    gradient = nk.instance_norm_backward(dy, x, gamma, order=order)
    for step, whole in zip((dx, dgamma, dbeta), gradient, strict=True):
        np.testing.assert_allclose(step, whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_threads", [1, 2, None])
def test_num_threads(dtype, num_threads):
    x = normal((600, 700), dtype)
    actual = nk.compute_internal_gradients(x, x, num_threads=num_threads)
    assert_all_within(actual, steps.compute_internal_gradients(x, x), ("dyx", "ds", "db"))
