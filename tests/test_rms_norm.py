"""RMS norm, forward and backward, against the reference."""

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import FUSED_ISAS, OFFSETS, Guarded, guarded, normal, same_bits, simd_sizes
from reference import BACKWARD, FORWARD, STATISTICS, assert_within
from test_layer_norm import CASES as SHAPES_OF_LAYER_NORM, SPANNING, parameters

EPSILON = 1e-3
# The loops are those of layer norm: fewer widths.
CASES = [*(((3, n), 1) for n in simd_sizes(70)), *SHAPES_OF_LAYER_NORM[-27:], *SPANNING]
each_case = pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)


@each_case
def test_forward(isa, dtype, shape, axis):
    source = normal(shape, dtype, mean=3, std=2)
    for i, affine in enumerate(parameters(shape, axis, dtype)):
        x, gamma, beta = guarded(source, *affine, offset=OFFSETS[(i + sum(shape)) % len(OFFSETS)])
        out = Guarded(shape, dtype, OFFSETS[i % len(OFFSETS)])
        y, rstd = nk.rms_norm(
            x, gamma, beta, axis=axis, epsilon=EPSILON, out=out.array, return_stats=True
        )
        exact = reference.rms_norm(x, gamma, beta, axis=axis, epsilon=EPSILON)
        assert y is out.array
        assert_within(y, exact.y, FORWARD, "y")
        assert_within(rstd, exact.rstd, STATISTICS, "rstd")
        assert rstd.dtype == dtype
        assert out.margins_are_intact()
        assert same_bits(x, source)


@each_case
def test_backward(isa, dtype, shape, axis):
    source, above = normal(shape, dtype, mean=3, std=2), normal(shape, dtype, seed=3)
    options = {"axis": axis, "epsilon": EPSILON}
    for i, factor in enumerate((None, normal(shape[axis % len(shape) :], dtype, seed=1))):
        x, dy, gamma = guarded(
            source, above, factor, offset=OFFSETS[(i + sum(shape)) % len(OFFSETS)]
        )
        _, rstd = nk.rms_norm(x, **options, return_stats=True)
        exact = reference.rms_norm_backward(dy, x, gamma, **options)
        out = Guarded(shape, dtype, OFFSETS[i % len(OFFSETS)])
        saved = nk.rms_norm_backward(dy, x, rstd, gamma, axis=axis, out=out.array)
        assert saved.dx is out.array
        for name, a, e in zip(saved._fields, saved, exact, strict=True):
            assert a.dtype == dtype
            assert_within(a, e, BACKWARD, name)
        assert out.margins_are_intact()
        anew = nk.rms_norm_backward(dy, x, None, gamma, **options)
        for name, a, e in zip(anew._fields, anew, exact, strict=True):
            assert_within(a, e, BACKWARD, f"{name}, rstd anew")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_backward_against_differences_of_the_forward(isa, axis):
    """Central differences with step h of a function that is right to u: h^2 and u / h remain."""
    x, dy = normal((2, 3, 4), np.float64), normal((2, 3, 4), np.float64, seed=1)
    cols = x.shape[axis:]
    gamma, beta = normal(cols, np.float64, seed=2), normal(cols, np.float64, seed=3)
    options = {"axis": axis, "epsilon": 0.1}

    def y(x=x, gamma=gamma, beta=beta):
        return nk.rms_norm(x, gamma, beta, **options)

    actual = nk.rms_norm_backward(dy, x, gamma=gamma, **options)
    numeric = (
        reference.numeric_gradient(y, x, dy, 1e-5),
        reference.numeric_gradient(lambda g: y(gamma=g), gamma, dy, 1e-5),
        reference.numeric_gradient(lambda b: y(beta=b), beta, dy, 1e-5),
    )
    for a, n in zip(actual, numeric, strict=True):
        np.testing.assert_allclose(a, n, rtol=0, atol=1e-8)


def test_defaults(dtype):
    """The last axis, epsilon 1e-5, nothing but y."""
    x = normal((2, 3, 4), dtype)
    y = nk.rms_norm(x)
    assert isinstance(y, np.ndarray)
    assert_within(y, reference.rms_norm(x, axis=2, epsilon=1e-5).y, FORWARD)
    exact = reference.rms_norm_backward(x, x, axis=2, epsilon=1e-5)
    for a, e in zip(nk.rms_norm_backward(x, x), exact, strict=True):
        assert_within(a, e, BACKWARD)


def test_results_have_names_and_shapes(dtype):
    x = normal((2, 3, 4), dtype)
    forward = nk.rms_norm(x, axis=1, return_stats=True)
    assert forward._fields == ("y", "rstd")
    assert type(forward) is nk.RmsNorm
    assert forward.rstd.shape == nk.layer_norm(x, axis=1, return_stats=True).sigma.shape == (2, 1)
    assert nk.rms_norm(x, axes=(0, 2), return_stats=True).rstd.shape == (1, 3, 1)
    gradient = nk.rms_norm_backward(x, x, axes=(0, 2))
    assert gradient._fields == ("dx", "dgamma", "dbeta")
    assert type(gradient) is nk.RmsNormGradient
    assert gradient.dgamma.shape == gradient.dbeta.shape == (2, 4)


@pytest.mark.parametrize("n", [1, 2, 6, 64, 130, 1024, 4098, 70000])
def test_what_can_be_exact_is_exact(isa, dtype, n):
    """x = +- s with a power of two, and epsilon 0: y = beta +- gamma, also where s^2 is no number
    of the type."""
    sign = np.where(np.arange(n) % 2, -1, 1).astype(dtype)
    info = np.finfo(dtype)
    most = dtype(2) ** (info.maxexp - 1)
    sizes = np.array([4, 0.125, 1, most, info.tiny, info.smallest_subnormal], dtype)[:, None]
    gamma, beta = np.full(n, 3, dtype), np.full(n, 0.5, dtype)
    y, rstd = nk.rms_norm(sizes * sign, gamma, beta, epsilon=0, return_stats=True)
    assert np.array_equal(y, np.broadcast_to(3 * sign + dtype(0.5), y.shape))
    with np.errstate(over="ignore"):
        assert np.array_equal(rstd, 1 / sizes)


def test_rows_of_one_element(isa, dtype):
    """Of any magnitude, with an epsilon beside it or none."""
    for exponent in range(-30, 31, 5):
        x = (normal((40, 1), np.float64) * 10.0**exponent).astype(dtype)
        for epsilon in (0, 1e-5):
            y, rstd = nk.rms_norm(x, epsilon=epsilon, return_stats=True)
            exact = reference.rms_norm(x, epsilon=epsilon)
            assert_within(y, exact.y, FORWARD, f"1e{exponent}")
            assert_within(rstd, exact.rstd, STATISTICS, f"1e{exponent}")
            gradient = nk.rms_norm_backward(x, x, epsilon=epsilon)
            exact = reference.rms_norm_backward(x, x, epsilon=epsilon)
            assert_within(gradient.dgamma, exact.dgamma, BACKWARD, f"1e{exponent}")


@pytest.mark.parametrize("n", [1, 3, 64, 1000, 5000])
def test_rows_of_zeros(isa, dtype, n):
    x, dy = np.zeros((3, n), dtype), normal((3, n), dtype)
    x[1] = normal((n,), dtype)
    beta = normal((n,), dtype, seed=1)
    for epsilon in (0, 0.25):
        y, rstd = nk.rms_norm(x, None, beta, epsilon=epsilon, return_stats=True)
        assert np.array_equal(y[::2], np.stack([beta, beta]))
        assert np.array_equal(rstd[::2], np.full((2, 1), np.inf if epsilon == 0 else 2, dtype))
        exact = reference.rms_norm_backward(dy, x, epsilon=epsilon)
        for saved in (rstd, None):
            actual = nk.rms_norm_backward(dy, x, saved, epsilon=epsilon)
            if epsilon == 0:
                assert not actual.dx[::2].any()
            assert_within(actual.dbeta, exact.dbeta, BACKWARD)
            assert_within(actual.dgamma, exact.dgamma, BACKWARD)


def test_signs_of_zeros(dtype):
    """By instruction sets with fma; without, a sum of two zeros stands for one."""
    x = np.array([[0, -0.0, 0], [3, 0, -0.0]], dtype)
    try:
        for isa in FUSED_ISAS:
            nk.force_isa(isa)
            assert np.array_equal(np.signbit(nk.rms_norm(x)), np.signbit(x)), isa
    finally:
        nk.force_isa(None)


@pytest.mark.parametrize("cols", [64, 256, 1000, 1024, 1025])
@pytest.mark.parametrize("rows", [1, 2, 3, 40])
def test_products_below_all_numbers_leave_a_positive_zero(isa, dtype, rows, cols):
    """In whichever way a column is added up, which depends on where dx lies."""
    x, dy = np.ones((2, rows, cols), dtype) * np.finfo(dtype).tiny
    x[:, 0], dy[:] = 1, -dy
    for offset in OFFSETS:
        dx = Guarded((rows, cols), dtype, offset).array
        dgamma = nk.rms_norm_backward(dy, x, epsilon=0, out=dx).dgamma
        assert same_bits(dgamma[1:], np.zeros(cols - 1, dtype)), offset


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 3, 40, 5000])
def test_what_is_not_finite(isa, dtype, value, n):
    x = normal((3, n), dtype)
    clean = nk.rms_norm(x, return_stats=True)
    x[1, n // 2] = value
    y, rstd = nk.rms_norm(x, return_stats=True)
    assert np.isnan(y[1]).all()
    assert np.isnan(rstd[1])
    assert same_bits(y[::2], clean.y[::2])
    assert same_bits(rstd[::2], clean.rstd[::2])


def test_torch_has_the_same(dtype):
    torch = pytest.importorskip("torch")
    x, gamma = normal((5, 70), dtype), normal((70,), dtype, seed=1)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, gamma)]
    theirs = torch.nn.functional.rms_norm(tensors[0], (70,), tensors[1], eps=1e-5)
    np.testing.assert_allclose(nk.rms_norm(x, gamma), theirs.detach().numpy(), atol=1e-5)
    theirs.backward(torch.ones_like(theirs))
    gradient = nk.rms_norm_backward(np.ones_like(x), x, gamma=gamma)
    np.testing.assert_allclose(gradient.dx, tensors[0].grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(gradient.dgamma, tensors[1].grad.numpy(), atol=1e-5)
