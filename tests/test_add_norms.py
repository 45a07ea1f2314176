"""The norms of a sum: the sum rounded once, and the norm of what it was rounded to, bit for bit."""

import itertools
from fractions import Fraction

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import FUSED_ISAS, OFFSETS, Guarded, guarded, normal, same_bits, simd_sizes
from reference import FORWARD, assert_within

NORMS = {
    "add_layer_norm": (nk.add_layer_norm, nk.layer_norm, nk.layer_norm_backward),
    "add_rms_norm": (nk.add_rms_norm, nk.rms_norm, nk.rms_norm_backward),
}
each_norm = pytest.mark.parametrize("name", NORMS)

CASES = [
    *(((3, n), -1) for n in simd_sizes(70)),
    *(((m, n), 1) for m, n in ((1, 7), (33, 2), (9, 1), (130, 1), (300, 129), (5, 1023))),
    *(((2, n), 1) for n in (4095, 4097, 8193, 70001)),
    *(((7,), -1), ((2, 3, 5), 0), ((4, 1, 7, 3), -2)),
]


def inputs(shape, axis, dtype):
    """x, residual, gamma, beta and bias."""
    cols = shape[axis % len(shape) :]
    large = [normal(shape, dtype, seed=i, mean=i) for i in range(2)]
    return [*large, *(normal(cols, dtype, seed=i) for i in range(2, 5))]


@each_norm
@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_the_norm_of_the_sum(isa, dtype, name, shape, axis):
    add, norm, _ = NORMS[name]
    sources = inputs(shape, axis, dtype)
    for i, has_bias in enumerate((False, True)):
        x, residual, gamma, beta, bias = guarded(
            *sources, offset=OFFSETS[(i + shape[-1]) % len(OFFSETS)]
        )
        bias = bias if has_bias else None
        out, total = (Guarded(shape, dtype, OFFSETS[(i + k) % len(OFFSETS)]) for k in range(2))
        options = {"axis": axis, "epsilon": 1e-3, "return_stats": True}
        actual = add(
            x, residual, gamma, beta, bias=bias, out=out.array, total=total.array, **options
        )
        assert actual.y is out.array
        assert actual.total is total.array
        exact = reference.total(x, residual, bias, axis=axis)
        assert_within(actual.total, exact, 1, "total")  # rounded once, to nearest
        expected = norm(actual.total, gamma, beta, **options)
        for a, e in zip((actual.y, *actual[2:]), expected, strict=True):
            assert same_bits(a, e)
        assert out.margins_are_intact()
        assert total.margins_are_intact()
        assert all(map(same_bits, (x, residual), sources[:2]))


@each_norm
@pytest.mark.parametrize("shape", [(5, 37), (9, 1), (300, 40), (2, 5000), (1, 70001)], ids=str)
def test_in_place(isa, dtype, name, shape):
    add = NORMS[name][0]
    x, residual, gamma, beta, bias = inputs(shape, 1, dtype)
    expected = add(x, residual, gamma, beta, bias=bias, axis=1)
    free = {"x": None, "residual": None}
    for of_total, of_y in itertools.permutations([*free, None], 2):
        arrays = {"x": x.copy(), "residual": residual.copy(), None: None}
        actual = add(
            arrays["x"],
            arrays["residual"],
            gamma,
            beta,
            bias=bias,
            axis=1,
            total=arrays[of_total],
            out=arrays[of_y],
        )
        assert all(map(same_bits, actual, expected))


@each_norm
@pytest.mark.parametrize(
    "shape", [(7, 5), (129, 1023), (3000, 97), (33, 20011), (2, 65537), (1, 300001)], ids=str
)
def test_threads_and_instruction_sets_do_not_matter(dtype, name, shape):
    add = NORMS[name][0]
    x, residual, gamma, beta, bias = inputs(shape, 1, dtype)
    expected = None
    try:
        for isa, threads in itertools.product(FUSED_ISAS, (1, 2, 3, 8)):
            nk.force_isa(isa)
            options = {"axis": 1, "return_stats": True, "num_threads": threads}
            actual = add(x, residual, gamma, beta, bias=bias, **options)
            expected = expected or actual
            assert all(map(same_bits, actual, expected)), f"{isa}, {threads} threads"
    finally:
        nk.force_isa(None)


def test_a_sum_of_three_is_rounded_once(isa, dtype):
    """Of terms that cancel, of which two roundings would leave nothing, and of halves of a unit."""
    u = dtype(reference.u(dtype))
    x, residual, bias = (
        np.array([values], dtype)
        for values in (
            (1, 1, 1, 1, -0.0, 1),
            (u, u, u / 2, -1, -0.0, u),
            (-1, u / 4, u, u, -0.0, u),
        )
    )
    assert not np.array_equal(
        (x + residual) + bias, [[u, 1 + 2 * u, 1 + 2 * u, u, -0.0, 1 + 2 * u]]
    )
    total = nk.add_rms_norm(x, residual, bias=bias).total
    assert same_bits(total, np.array([[u, 1 + 2 * u, 1 + 2 * u, u, -0.0, 1 + 2 * u]], dtype))


def test_a_tie_of_three_float32_is_none(isa):
    """What is lost beyond float64's digits decides between two neighbours; and -0 stays."""
    terms = [(-0.0, -0.0, -0.0), (1, 2.0**-60, -1), (3.0e38, 3.0e38, -3.0e38)]
    terms += [(1, 2.0**-24, s * 2.0**-60) for s in (1, -1)]
    terms += [(2.0**-24, s * 2.0**-60, 1) for s in (1, -1)]
    terms += [(1, 2.0**-24, s * 3 * 2.0**-54) for s in (1, -1)]  # odd in float64 as it is
    rng = np.random.default_rng(5)
    terms += [
        tuple(rng.integers(-(2**24), 2**24, 3) * 2.0 ** rng.integers(-60, 20, 3))
        for _ in range(300)
    ]
    x, residual, bias = np.array(terms, np.float32).T.reshape(3, 1, -1).copy()
    _, total = nk.add_rms_norm(x, residual, bias=bias[0])
    for a, *given in zip(total[0], x[0], residual[0], bias[0], strict=True):
        exact = sum(map(Fraction, map(float, given)))
        ends = np.float32([-np.inf, np.inf])  # with Python's floats, NumPy 1 takes a for a float64
        near = [abs(Fraction(float(b)) - exact) for b in np.nextafter(a, ends)]
        assert abs(Fraction(float(a)) - exact) <= min(near), given
    assert np.signbit(total[0, 0])


def test_sums_that_are_not_finite(isa, dtype):
    """As NumPy's sums are."""
    inf, nan, most = np.inf, np.nan, np.finfo(dtype).max
    x = np.array([[inf, -inf, inf, nan, most, 1]], dtype)
    residual = np.array([[1, 2, -inf, 1, most, 2]], dtype)
    bias = np.array([[1, inf, 1, 1, most, inf]], dtype)
    for terms in ((x, residual), (x, residual, bias)):
        with np.errstate(all="ignore"):
            expected = sum(terms[1:], terms[0])
        total = nk.add_rms_norm(*terms[:2], bias=(*terms, None)[2]).total
        assert np.array_equal(total, expected, equal_nan=True)


@each_norm
def test_the_gradient_is_that_of_the_norm_at_total(name):
    """Against central differences of a loss that takes y and total, with step h: h^2 and u / h
    remain."""
    add, _, backward = NORMS[name]
    x, residual, gamma, beta, bias = inputs((3, 7), 1, np.float64)
    dy, dtotal = normal((3, 7), np.float64, seed=8), normal((3, 7), np.float64, seed=9)
    options = {"axis": 1, "epsilon": 0.1}

    def both(x=x, residual=residual, bias=bias):
        return np.stack(add(x, residual, gamma, beta, bias=bias, **options))

    _, total, *saved = add(x, residual, gamma, beta, bias=bias, **options, return_stats=True)
    dx = backward(dy, total, *saved, gamma, axis=1).dx + dtotal
    above = np.stack([dy, dtotal])
    for f, argument, expected in (
        (both, x, dx),
        (lambda r: both(residual=r), residual, dx),
        (lambda b: both(bias=b), bias, dx.sum(0)),
    ):
        numeric = reference.numeric_gradient(f, argument, above, 1e-5)
        np.testing.assert_allclose(expected, numeric, rtol=0, atol=1e-8)


def test_defaults_and_names(dtype):
    """Layer norm from axis 1 on, RMS norm over the last one, as without a sum."""
    x, residual = normal((2, 3, 4), dtype), normal((2, 3, 4), dtype, seed=1)
    for add, norm, with_statistics in (
        (nk.add_layer_norm, nk.layer_norm, nk.AddLayerNorm),
        (nk.add_rms_norm, nk.rms_norm, nk.AddRmsNorm),
    ):
        result = add(x, residual)
        assert type(result) is nk.AddNorm
        assert result._fields == ("y", "total")
        assert same_bits(result.total, x + residual)
        assert same_bits(result.y, norm(x + residual))
        result = add(x, residual, return_stats=True)
        assert type(result) is with_statistics
        assert result[2].shape == norm(x, return_stats=True)[1].shape
    assert nk.AddLayerNorm._fields == ("y", "total", "mean", "sigma")
    assert nk.AddRmsNorm._fields == ("y", "total", "rstd")


@each_norm
def test_total_is_checked_as_out_is(name):
    add = NORMS[name][0]
    x, residual, *_ = inputs((3, 4), 1, np.float32)
    free = np.full((3, 4), 7, np.float32)
    for bad, error, message in (
        (np.zeros((3, 5), np.float32), ValueError, r"has shape \(3, 5\), must have \(3, 4\)"),
        (np.zeros((3, 4)), TypeError, "has dtype float64, must be float32"),
        (x.tolist(), TypeError, "is of type list"),
        (np.broadcast_to(x[0], (3, 4)), ValueError, "is read-only, must be writable"),
    ):
        with pytest.raises(error, match=f"^{name}: total {message}"):
            add(x, residual, out=free, total=bad)
        assert (free == 7).all()
    message = "shares memory with another argument, must be x or residual itself or share none"
    with pytest.raises(ValueError, match=f"^{name}: out {message}"):
        add(x, residual, out=free, total=free)
    with pytest.raises(ValueError, match=f"^{name}: out {message}"):
        add(x, residual, out=x, total=x)
    memory = np.zeros(13, np.float32)
    with pytest.raises(ValueError, match=f"^{name}: total {message}"):
        add(memory[:12].reshape(3, 4), residual, total=memory[1:].reshape(3, 4))
    assert (free == 7).all()


@each_norm
def test_exactness_is_that_of_the_norm(isa, dtype, name):
    """y against the reference at the total that it was given, which the sum need not be near."""
    x, residual, gamma, beta, bias = inputs((9, 1000), 1, dtype)
    result = NORMS[name][0](x * dtype(1e10), residual, gamma, beta, bias=bias)
    norm = reference.layer_norm if name == "add_layer_norm" else reference.rms_norm
    assert_within(result.y, norm(result.total, gamma, beta).y, FORWARD)
