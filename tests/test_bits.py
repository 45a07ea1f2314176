"""The same bits, whoever computes them: any number of threads, any alignment, any instruction set
with fma, with the rest of the batch or without. Outputs are compared as integers."""

import normkernels as nk
import numpy as np
import pytest
from conftest import (
    FUSED_ISAS,
    LONGEST,
    OFFSETS,
    ORDERS,
    Guarded,
    each_of_few_isas,
    groups_of,
    guarded,
    normal,
    ordered,
    same_bits,
)

# Short and long rows, many and few, and more than the least that is shared between threads.
ROWS = [
    (7, 5),
    (129, 1023),
    (600, 701),
    (40000, 8),
    (3000, 97),
    (33, 20011),
    (2, 65537),
    (1, 300001),
]

# As NCHW. For NHWC with few and many channels; spatial extents of one, several and many blocks.
PLANES = [(3, 5), (40, 5, 7, 7), (2, 64, 60, 61), (1, 3, 400, 401), (1, 1, 300001), (3, 1, 2910)]
PLANES += [(2, 3, 9973), (2, 7, 9973), (2, 16, 9973), (1, 100, 9973), (2, 150, 353)]
# Rows and planes longer than one core should bear; more threads than planes.
LONG_ROWS, LONG_PLANES = [(1, LONGEST)], [(1, 3, 1080, 1920)]
WINDOWS = [(3, 5, 7), (2, 64, 60, 61), (1, 3, 300, 401), (2, 1, 997), (2, 7, 2003), (1, 100, 2003)]

LRN = {"alpha": 0.5, "beta": 0.6}


def layer_norm(x, dy, gamma, beta, **options):
    """All outputs, forward and backward."""
    y, mean, sigma = nk.layer_norm(x, gamma, beta, return_stats=True, **options)
    return [y, mean, sigma, *nk.layer_norm_backward(dy, x, mean, sigma, gamma, **options)]


def rms_norm(x, dy, gamma, beta, **options):
    y, rstd = nk.rms_norm(x, gamma, beta, return_stats=True, **options)
    saved = nk.rms_norm_backward(dy, x, rstd, gamma, **options)
    return [y, rstd, *saved, *nk.rms_norm_backward(dy, x, None, gamma, **options)]


def add_norms(x, dy, gamma, beta, **options):
    """Of x + dy, one of them with a bias."""
    options = {"return_stats": True, **options}
    rms = nk.add_rms_norm(x, dy, gamma, beta, **options)
    return [*nk.add_layer_norm(x, dy, gamma, beta, bias=beta, **options), *rms]


def instance_norm(x, dy, scale, bias, **options):
    y, mean, inv_std = nk.instance_norm(x, scale, bias, return_stats=True, **options)
    saved = nk.instance_norm_backward(dy, x, scale, mean, inv_std, **options)
    again = nk.instance_norm_backward(dy, x, scale, **options)
    return [y, mean, inv_std, *saved, *again]


def group_norm(x, dy, scale, bias, **options):
    groups = groups_of(len(scale))
    y, mean, inv_std = nk.group_norm(x, groups, scale, bias, return_stats=True, **options)
    saved = nk.group_norm_backward(dy, x, groups, scale, mean, inv_std, **options)
    again = nk.group_norm_backward(dy, x, groups, scale, **options)
    return [y, mean, inv_std, *saved, *again]


def local_response_norm(x, dy, _gamma, _beta, **options):
    y, scale = nk.local_response_norm(x, 5, return_scale=True, **LRN, **options)
    saved = nk.local_response_norm_backward(dy, x, 5, y=y, scale=scale, **LRN, **options)
    even = nk.local_response_norm_backward(dy, x, 4, **LRN, **options)
    return [y, scale, saved, even]


def operations(rows, planes, windows):
    """One of the functions above, a shape as NCHW and the order to have it in."""
    result = [(f, shape, {}) for f in (layer_norm, rms_norm, add_norms) for shape in rows]
    for function, shapes in (
        (instance_norm, planes),
        (group_norm, planes),
        (local_response_norm, windows),
    ):
        result += [(function, shape, {"order": order}) for shape in shapes for order in ORDERS]
    return result


def each_of(cases):
    return pytest.mark.parametrize(
        ("function", "shape", "options"),
        cases,
        ids=lambda v: (
            v.__name__
            if callable(v)
            else "-".join(map(str, v.values() if isinstance(v, dict) else v))
        ),
    )


each_operation = each_of(operations(ROWS, PLANES, WINDOWS))
each_smaller_operation = each_of(
    [case for case in operations(ROWS, PLANES, WINDOWS) if np.prod(case[1]) < 350000]
)
each_long_operation = each_of(operations(LONG_ROWS, LONG_PLANES, []))


def inputs(shape, dtype, options):
    """x with an offset, dy, gamma and beta."""
    x, dy = normal(shape, dtype, mean=100), normal(shape, dtype, seed=1)
    gamma, beta = normal((shape[1],), dtype, seed=2), normal((shape[1],), dtype, seed=3)
    order = options.get("order", "NCHW")
    return ordered(x, order), ordered(dy, order), gamma, beta


def assert_same(actual, expected, what):
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert same_bits(a, b), f"{what}: output {i} differs"


# ---- Threads and instruction sets


def assert_threads_do_not_matter(function, shape, dtype, options):
    arrays = inputs(shape, dtype, options)
    expected = function(*arrays, num_threads=1, **options)
    for num_threads in (2, 3, 4, 5, 6, 7, 8, None):
        actual = function(*arrays, num_threads=num_threads, **options)
        assert_same(actual, expected, f"{num_threads} threads")


@each_of_few_isas
@each_operation
def test_threads(isa, dtype, function, shape, options):
    assert_threads_do_not_matter(function, shape, dtype, options)


@pytest.mark.long
@each_long_operation
def test_threads_share_a_long_row(dtype, function, shape, options):
    assert_threads_do_not_matter(function, shape, dtype, options)


several_isas = pytest.mark.skipif(
    len(FUSED_ISAS) < 2, reason="this machine has one instruction set with fma"
)


def assert_instruction_sets_do_not_matter(function, shape, dtype, options, threads=(1, 3)):
    """Nor with any of them the threads."""
    arrays = inputs(shape, dtype, options)
    expected = None
    try:
        for name in FUSED_ISAS:
            nk.force_isa(name)
            for num_threads in threads:
                actual = function(*arrays, num_threads=num_threads, **options)
                expected = expected or actual
                assert_same(actual, expected, f"{name}, {num_threads} threads")
    finally:
        nk.force_isa(None)


@several_isas
@each_operation
def test_instruction_sets(dtype, function, shape, options):
    assert_instruction_sets_do_not_matter(function, shape, dtype, options)


@several_isas
@pytest.mark.long
@each_long_operation
def test_instruction_sets_and_long_rows(dtype, function, shape, options):
    assert_instruction_sets_do_not_matter(function, shape, dtype, options, threads=(3,))


# ---- Where inputs and outputs are


@each_smaller_operation
def test_alignment(isa, dtype, function, shape, options):
    arrays = inputs(shape, dtype, options)
    expected = function(*arrays, **options)
    for offset in OFFSETS:
        actual = function(*guarded(*arrays, offset=offset), **options)
        assert_same(actual, expected, f"offset {offset}")


@each_smaller_operation
def test_out_and_optional_outputs(isa, dtype, function, shape, options):
    """y and dx, fresh or into an array of the caller's, without the statistics."""
    x, dy, gamma, beta = inputs(shape, dtype, options)
    expected = function(x, dy, gamma, beta, **options)
    out, groups = Guarded(x.shape, dtype, offset=1), groups_of(len(gamma))
    calls = {
        layer_norm: (
            lambda out: nk.layer_norm(x, gamma, beta, out=out),
            lambda out: nk.layer_norm_backward(dy, x, *expected[1:3], gamma, out=out).dx,
        ),
        rms_norm: (
            lambda out: nk.rms_norm(x, gamma, beta, out=out),
            lambda out: nk.rms_norm_backward(dy, x, None, gamma, out=out).dx,
        ),
        add_norms: (
            lambda out: nk.add_layer_norm(x, dy, gamma, beta, bias=beta, out=out).y,
            lambda out: nk.add_rms_norm(x, dy, gamma, beta, total=out).total,
        ),
        instance_norm: (
            lambda out: nk.instance_norm(x, gamma, beta, out=out, **options),
            lambda out: nk.instance_norm_backward(dy, x, gamma, out=out, **options).dx,
        ),
        group_norm: (
            lambda out: nk.group_norm(x, groups, gamma, beta, out=out, **options),
            lambda out: nk.group_norm_backward(dy, x, groups, gamma, out=out, **options).dx,
        ),
        local_response_norm: (
            lambda out: nk.local_response_norm(x, 5, out=out, **LRN, **options),
            lambda out: nk.local_response_norm_backward(dy, x, 4, out=out, **LRN, **options),
        ),
    }
    whole = {layer_norm: (0, 3), local_response_norm: (0, 3), rms_norm: (0, 5), add_norms: (0, 5)}
    for call, index in zip(calls[function], whole.get(function, (0, 6)), strict=True):
        for array in (None, out.array):
            assert same_bits(call(array), expected[index])
        assert out.margins_are_intact()


@each_of(
    [
        case
        for case in operations(ROWS, PLANES, [])
        if np.prod(case[1]) < 350000 and case[0] is not add_norms
    ]
)
def test_in_place(isa, dtype, function, shape, options):
    """y over x; dx over dy and over x."""
    x, dy, gamma, beta = inputs(shape, dtype, options)
    expected = function(x, dy, gamma, beta, **options)
    if function is layer_norm:
        y, dx = nk.layer_norm, nk.layer_norm_backward
        statistics, index = expected[1:3], 3
    elif function is rms_norm:
        y, dx = nk.rms_norm, nk.rms_norm_backward
        statistics, index = expected[1:2], 2
    elif function is instance_norm:
        y, dx = nk.instance_norm, nk.instance_norm_backward
        statistics, index = (), 6
    else:
        groups = groups_of(len(gamma))

        def y(x, *parameters, **options):
            return nk.group_norm(x, groups, *parameters, **options)

        def dx(dy, x, *parameters, **options):
            return nk.group_norm_backward(dy, x, groups, *parameters, **options)

        statistics, index = (), 6
    place = x.copy()
    y(place, gamma, beta, out=place, **options)
    assert same_bits(place, expected[0])
    place = dy.copy()
    gradient = dx(place, x, *statistics, gamma, out=place, **options)
    assert_same(gradient, expected[index : index + 3], "over dy")
    place = x.copy()
    gradient = dx(dy, place, *statistics, gamma, out=place, **options)
    assert_same(gradient, expected[index : index + 3], "over x")


# ---- Alone or with others


@pytest.mark.parametrize("shape", ROWS, ids=str)
def test_rows_alone(isa, dtype, shape):
    x, dy, gamma, beta = inputs(shape, dtype, {})
    y, mean, sigma, dx, *_ = layer_norm(x, dy, gamma, beta)
    of_rms = rms_norm(x, dy, gamma, beta)[:3]
    of_sums = add_norms(x, dy, gamma, beta)
    rows = shape[0]
    for some in (slice(0, 1), slice(rows - 1, rows), slice(rows // 3, rows // 3 + 3)):
        arrays = x[some], dy[some], gamma, beta
        actual = layer_norm(*arrays)
        assert_same(actual[:4], [a[some] for a in (y, mean, sigma, dx)], f"rows {some}")
        assert_same(rms_norm(*arrays)[:3], [a[some] for a in of_rms], f"RMS norm, rows {some}")
        assert_same(add_norms(*arrays), [a[some] for a in of_sums], f"sums, rows {some}")


@pytest.mark.parametrize("shape", PLANES, ids=str)
def test_images_and_planes_alone(isa, dtype, order, shape):
    """An image alone in either order; in NCHW some channels of it, too."""
    x, dy, scale, bias = inputs(shape, dtype, {"order": order})
    y, mean, inv_std, dx, *_ = instance_norm(x, dy, scale, bias, order=order)
    parts = [(slice(n, n + 1), slice(None)) for n in (0, shape[0] - 1)]
    if order == "NCHW":
        parts += [(slice(None), slice(k, k + 2)) for k in (0, shape[1] - 1)]
    for n, k in parts:
        where = (n, k) if order == "NCHW" else n
        x_part, dy_part = (np.ascontiguousarray(a[where]) for a in (x, dy))
        actual = instance_norm(x_part, dy_part, scale[k], bias[k], order=order)
        expected = [y[where], mean[n, k], inv_std[n, k], dx[where]]
        assert_same(actual[:4], expected, f"image {n}, channels {k}")


@pytest.mark.parametrize("shape", WINDOWS, ids=str)
def test_pixels_alone(isa, dtype, order, shape):
    """Local response norm of some pixels of some image."""
    x, dy, *_ = inputs((*shape[:2], int(np.prod(shape[2:]))), dtype, {"order": order})
    expected = local_response_norm(x, dy, None, None, order=order)
    for pixels in (slice(0, 1), slice(1, 6)):
        where = (slice(0, 1), slice(None), pixels) if order == "NCHW" else (slice(0, 1), pixels)
        x_part, dy_part = (np.ascontiguousarray(a[where]) for a in (x, dy))
        actual = local_response_norm(x_part, dy_part, None, None, order=order)
        assert_same(actual, [a[where] for a in expected], f"pixels {pixels}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(9, 33), (17, 1030), (20, 3)], ids=str)
def test_what_is_not_finite_stays_in_its_row_or_plane(isa, dtype, value, shape):
    x, dy, gamma, beta = inputs(shape, dtype, {})
    spoiled = x.copy()
    spoiled[4, 2] = value
    others = np.arange(shape[0]) != 4
    for norm in (layer_norm, rms_norm):
        clean = norm(x, dy, gamma, beta)
        actual = norm(spoiled, dy, gamma, beta)
        assert np.isnan(actual[0][4]).all()
        per_row = [i for i, a in enumerate(clean) if len(a) == shape[0]]
        for i in per_row:
            assert same_bits(actual[i][others], clean[i][others]), norm.__name__

    for order in ("NCHW", "NHWC"):
        planes = [ordered(a.reshape(1, *shape), order) for a in (x, spoiled, dy)]
        scale, bias = normal(shape[:1], dtype, seed=4), normal(shape[:1], dtype, seed=5)
        clean = instance_norm(planes[0], planes[2], scale, bias, order=order)
        actual = instance_norm(planes[1], planes[2], scale, bias, order=order)
        elsewhere = (slice(None), others) if order == "NCHW" else (slice(None), slice(None), others)
        assert_same(
            [actual[i][elsewhere] for i in (0, 3, 6)],
            [clean[i][elsewhere] for i in (0, 3, 6)],
            order,
        )
        per_channel = [others if a.ndim == 1 else (slice(None), others) for a in actual]
        for i in (1, 2, 4, 5, 7, 8):
            assert same_bits(actual[i][per_channel[i]], clean[i][per_channel[i]])
