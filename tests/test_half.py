"""float16 and bfloat16: the float32 results on the widened arrays, rounded once, to the bit."""

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import (
    FUSED_ISAS,
    each_isa,
    each_of_few_isas,
    groups_of,
    normal,
    ordered,
    same_bits,
    simd_sizes,
)
from half import (
    F32,
    check_group_norm,
    check_instance_norm,
    check_layer_norm,
    check_local_response_norm,
    check_norms_of_a_sum,
    check_rms_norm,
    each_half,
    equal,
    made,
    parameter_dtypes,
    quiet,
    rounded,
    widened,
)
from test_arrays import empty_shapes

COLS = [*simd_sizes(130), 1009, 4097, 65537]
# More than the 16 rows of a tile and the 32 of a block, fewer than 4.
ROWS = (1, 3, 18, 37)
PLANES = [
    *((1, 1), (3, 17), (2, 1, 5), (2, 9, 1), (3, 17, 6), (2, 3, 4, 5), (1, 5, 7, 19)),
    *((2, 33, 15, 9), (2, 130, 3), (1, 64, 9, 15), (2, 3, 131), (2, 3, 4100), (1, 1, 65539)),
    (1, 16, 2, 3, 5),
]


def drawn(shape, half, order="NCHW"):
    return [
        ordered(normal(shape, half, seed, mean), order) for seed, mean in ((0, 3), (1, 0))
    ]  # x and dy


# ---- Every dtype of the parameters, every tail


@each_isa
@each_half
@pytest.mark.parametrize("cols", COLS)
def test_layer_norm(isa, half, cols):
    for rows in ROWS if cols < 5000 else ROWS[:2]:
        x, dy = drawn((rows, cols), half)
        for gamma, beta in parameter_dtypes(half):
            check_layer_norm(x, dy, made((cols,), gamma, 2), made((cols,), beta, 3))


@each_isa
@each_half
@pytest.mark.parametrize("cols", COLS)
def test_rms_norm(isa, half, cols):
    for rows in ROWS if cols < 5000 else ROWS[:2]:
        x, dy = drawn((rows, cols), half)
        for gamma, beta in parameter_dtypes(half):
            check_rms_norm(x, dy, made((cols,), gamma, 2), made((cols,), beta, 3))


@each_isa
@each_half
@pytest.mark.parametrize("cols", COLS[::2])
def test_norms_of_a_sum(isa, half, cols):
    x, residual = drawn((3, cols), half)
    for dtypes in parameter_dtypes(half, 3):
        parameters = [made((cols,), dtype, 2 + i) for i, dtype in enumerate(dtypes)]
        check_norms_of_a_sum(x, residual, *parameters, axis=1)


@each_isa
@each_half
@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_instance_norm(isa, half, order, shape):
    x, dy = drawn(shape, half, order)
    for scale, bias in parameter_dtypes(half):
        c = shape[1:2]
        check_instance_norm(x, dy, made(c, scale, 2), made(c, bias, 3), order=order)


@each_isa
@each_half
@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_group_norm(isa, half, order, shape):
    x, dy = drawn(shape, half, order)
    c = shape[1]
    for groups in sorted({1, c, groups_of(c)}):
        for scale, bias in parameter_dtypes(half):
            parameters = made((c,), scale, 2), made((c,), bias, 3)
            check_group_norm(x, dy, *parameters, groups, order=order)


@each_isa
@each_half
@pytest.mark.parametrize("shape", [s for s in PLANES if len(s) > 2], ids=str)
def test_local_response_norm(isa, half, order, shape):
    x, dy = drawn(shape, half, order)
    for size, beta in ((1, 0.75), (4, 0.5), (5, 0.75), (5, 0.6), (150, 1)):
        check_local_response_norm(x, dy, size=size, beta=beta, order=order)


# ---- The same bits, whoever computes them


def outputs(half, num_threads):
    """Of calls that are shared between threads, with every dtype of the parameters."""
    results = []
    for gamma, beta in parameter_dtypes(half):
        for shape in ((600, 701), (2, 65537), (20000, 8)):
            x, dy = drawn(shape, half)
            parameters = made(shape[1:], gamma, 2), made(shape[1:], beta, 3)
            y, mean, sigma = nk.layer_norm(
                x, *parameters, return_stats=True, num_threads=num_threads
            )
            gradient = nk.layer_norm_backward(
                dy, x, mean, sigma, parameters[0], num_threads=num_threads
            )
            results += [y, mean, sigma, *gradient]
        for order in ("NCHW", "NHWC"):
            x, dy = drawn((2, 16, 90, 97), half, order)
            options = {"order": order, "num_threads": num_threads}
            parameters = made((16,), gamma, 2), made((16,), beta, 3)
            results += nk.instance_norm(x, *parameters, return_stats=True, **options)
            results += nk.instance_norm_backward(dy, x, parameters[0], **options)
            results += nk.instance_norm_with_gradient(x, *parameters, dy, **options)
        # A long row is shared in the midst of a channel.
        x, _ = drawn((1, 200, 701), half)
        parameters = made((200,), gamma, 2), made((200,), beta, 3)
        results.append(nk.group_norm(x, 1, *parameters, num_threads=num_threads))
    for order in ("NCHW", "NHWC"):
        x, dy = drawn((2, 16, 60, 61), half, order)
        options = {"order": order, "num_threads": num_threads}
        results += nk.local_response_norm(x, 5, return_scale=True, **options)
        results.append(nk.local_response_norm_backward(dy, x, 4, **options))
    return results


@each_half
def test_threads_and_instruction_sets(half):
    """NaN does not come about here."""
    expected = None
    try:
        for name in FUSED_ISAS:
            nk.force_isa(name)
            for num_threads in (1, 3):
                actual = outputs(half, num_threads)
                expected = expected or actual
                assert all(same_bits(a, e) for a, e in zip(actual, expected, strict=True))
    finally:
        nk.force_isa(None)


# ---- Every value of the types


@quiet
def finite_values(half):
    """All of them, from the least to the largest."""
    values = np.arange(1 << 16, dtype=np.uint16).view(half)
    return np.sort(values[np.isfinite(values)])


@each_isa
@each_half
def test_every_value_is_read_and_written_as_it_is(isa, half):
    """Divided by 1**0.75."""
    x = finite_values(half).reshape(-1, 4, 64)
    for order in ("NCHW", "NHWC"):
        assert equal(nk.local_response_norm(x, 1, alpha=0, order=order), x)


@each_isa
@each_half
def test_every_rounding(isa, half):
    """Of rows of -1 and 1, xhat is x itself, and y is gamma or its negative: all that lies half way
    between two neighbours, the numbers of float32 beside it, and neighbours themselves."""
    values = finite_values(half).astype(np.float64)
    beyond = 2 * values[-1] - values[-2]  # where the next one were, and from half way to it: inf
    between = (values + np.append(values[1:], beyond)) / 2
    gamma = np.concatenate([values, between]).astype(F32)
    gamma = np.concatenate([np.nextafter(gamma, F32(to)) for to in (-np.inf, np.inf)] + [gamma])
    signs = np.where(np.arange(gamma.size * 2) % 2, 1, -1).astype(half)
    x = np.stack([signs, -signs])
    both = np.repeat(gamma, 2)
    y = nk.layer_norm(x, both, epsilon=0)
    assert equal(y, rounded(x.astype(F32) * both, half))


# ---- Values that a half type cannot sum


@each_of_few_isas
@each_half
@pytest.mark.parametrize("level", [6e4, -6e4, 1e-7, 3e-5, 1.0])
def test_rows_of_large_and_of_small_values(isa, half, level):
    """Sums of 6e4 leave the range of float16, squares of 1e-7 that of float32's normal numbers."""
    spread = level * normal((5, 1000), np.float64, 1, std=0.02)
    x, dy = (level + spread).astype(half), normal((5, 1000), half, 2)
    gamma, beta = normal((1000,), F32, 3), normal((1000,), half, 4)
    for epsilon in (0, 1e-5):
        check_layer_norm(x, dy, gamma, beta, epsilon=epsilon)
        for order in ("NCHW", "NHWC"):
            planes = [ordered(a.reshape(1, 5, 1000), order) for a in (x, dy)]
            check_instance_norm(*planes, gamma[:5], beta[:5], epsilon=epsilon, order=order)
            check_group_norm(*planes, gamma[:5], beta[:5], 1, epsilon=epsilon, order=order)
        y = nk.layer_norm(x, gamma, beta, epsilon=epsilon)
        exact = reference.layer_norm(*map(widened, (x, gamma, beta)), axis=1, epsilon=epsilon).y
        half_ulp = np.spacing(abs(y)).astype(np.float64) / 2
        float32_error = reference.FORWARD * 2.0**-24 * exact.scale
        assert (abs(y.astype(np.float64) - exact.value) <= half_ulp + float32_error).all()


@each_of_few_isas
@each_half
def test_constant_rows_are_beta(isa, half):
    for value in (6e4, 1e-7, 0.1, 0):
        x = np.full((3, 77), value, half)
        for dtype in (half, F32):
            beta = normal((77,), dtype, 4)
            for epsilon in (0, 1e-5):
                y = nk.layer_norm(x, beta=beta, epsilon=epsilon)
                assert same_bits(y, np.broadcast_to(beta.astype(half), x.shape))


@each_of_few_isas
@each_half
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_row(isa, half, value):
    x, dy = drawn((20, 33), half)
    clean = nk.layer_norm(x)
    x[4, 2] = value
    check_layer_norm(x, dy, None, None)
    y = nk.layer_norm(x)
    others = np.arange(20) != 4
    assert np.isnan(y[4]).all()
    assert same_bits(y[others], clean[others])


# ---- Nothing


@each_of_few_isas
@each_half
@pytest.mark.parametrize("shape", empty_shapes((1, 2, 3, 4)), ids=str)
def test_empty_arrays(isa, half, shape):
    x = np.zeros(shape, half)
    for gamma, beta in parameter_dtypes(half):
        for axis in range(len(shape)):
            cols = shape[axis:]
            parameters = made(cols, gamma, 2), made(cols, beta, 3)
            check_layer_norm(x, x, *parameters, axis=axis)
            check_rms_norm(x, x, *parameters, axis=axis)
            check_norms_of_a_sum(x, x, *parameters, parameters[0], axis=axis)
        for order in ("NCHW", "NHWC") if len(shape) > 1 else ():
            c = (shape[1 if order == "NCHW" else -1],)
            parameters = made(c, gamma, 2), made(c, beta, 3)
            check_instance_norm(x, x, *parameters, order=order)
            if c[0] > 0:
                check_group_norm(x, x, *parameters, 1, order=order)
            if len(shape) > 2:
                check_local_response_norm(x, x, order=order)
