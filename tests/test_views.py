"""Arrays of any strides and any axes: the bits of the call on dense copies, whatever the layout."""

from pathlib import Path

import normkernels as nk
import numpy as np
import pytest
from conftest import each_of_few_isas, normal, same_bits
from scenes import run
from views import (
    LAYER_NORMS,
    LAYOUTS,
    OPERATORS,
    OTHERS,
    WRITABLE,
    axes_of,
    laid_out,
    layouts_from,
    memory_of,
    on_copies,
    out_option,
    parameters,
    results,
    written,
)

each_layer_norm = pytest.mark.parametrize("name", LAYER_NORMS)
each_other = pytest.mark.parametrize("name", OTHERS)
each_layout = pytest.mark.parametrize("layout", LAYOUTS)

# Rows of 1 and of more than 4096 and 65536 elements, more than 16, 32 and 16 * 32 rows, and, by
# the axes, rows along two dimensions that are not one.
MATRICES = [
    *((1,), (9,), (1, 1), (7, 1), (1, 40), (5, 13), (33, 20), (3, 4, 1), (2, 17, 5), (1, 9, 1)),
    *((4, 3, 35), (1, 1, 1, 3), (2, 3, 4, 5), (3, 1, 18, 2)),
]
LONG_MATRICES = [(3, 4099), (4099, 3), (2, 65539), (65539, 2), (3, 5, 4100), (35, 4, 600)]
EMPTY = [(0,), (3, 0), (0, 3), (2, 0, 4), (2, 3, 0, 5), (0, 0, 2, 3)]
# Fewer than 16 channels and more than 128 in both orders, more than 128 pixels.
IMAGES = [
    *((1, 1, 1), (2, 1, 5), (2, 9, 1), (3, 17, 6), (2, 3, 4, 5), (1, 5, 7, 19), (2, 20, 9, 15)),
    *((2, 130, 3), (2, 3, 131), (2, 1, 3, 33), (2, 3, 2, 4, 5), (1, 150, 12, 14), (1, 12, 11, 140)),
]
LONG_IMAGES = [(2, 3, 4100), (1, 2, 65539), (1, 3000, 5), (1, 140, 3, 140)]
EMPTY_IMAGES = [(0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 3, 0, 5), (0, 3, 2, 0)]


def views_of(name, shape, dtype, i):
    """The large inputs of an operator, each in a layout of its own: the i-th way to choose them."""
    large = OPERATORS[name].large
    values = {key: normal(shape, dtype, k) for k, key in enumerate(large)}
    if "scale" in values:
        values["scale"] = 1 + abs(values["scale"])
    layouts = layouts_from(i, len(large))
    return {key: laid_out(kind, values[key]) for kind, key in zip(layouts, large, strict=True)}


def all_same(actual, expected):
    return all(same_bits(a, e) for a, e in zip(actual, expected, strict=True))


def check_outs(name, views, expected, i, **options):
    """Into fresh arrays, into views of larger memory, and in the place of an input."""
    places = written(name)
    actual = results(name, views, **options)
    assert all_same(actual, expected)
    x = views["x"]
    for k in OPERATORS[name].outputs:
        kept = np.empty_like(x)
        assert all(
            a == b
            for a, b, n in zip(actual[k].strides, kept.strides, x.shape, strict=True)
            if n > 1 and x.size > 0
        )
    for k in range(3):
        kinds = [list(WRITABLE)[(i + k + 4 * j) % len(WRITABLE)] for j in places]
        outs = [WRITABLE[kind](np.full(x.shape, np.nan, x.dtype)) for kind in kinds]
        memories = [memory_of(out) for out in outs]
        actual = results(name, views, **options, **out_option(name, outs))
        assert all(actual[j] is out for j, out in zip(places, outs, strict=True))
        assert all_same(actual, expected)
        for out, memory in zip(outs, memories, strict=True):
            out[...] = np.nan
            assert np.isnan(memory).all()
    for which in zip(*(OPERATORS[name].in_place[j] for j in places), strict=True):
        kinds = [list(WRITABLE)[(i + 3 * j) % len(WRITABLE)] for j in places]
        outs = [
            WRITABLE[kind](np.array(views[key])) for kind, key in zip(kinds, which, strict=True)
        ]
        changed = {**views, **dict(zip(which, outs, strict=True))}
        actual = results(name, changed, **options, **out_option(name, outs))
        assert all_same(actual, expected)


# ---- Norms of rows over any axes


def check_layer_norm(name, shape, dtype, i, axes):
    views = views_of(name, shape, dtype, i)
    options = parameters(name, views["x"], axes=axes, saved=i % 2 == 0)
    expected = on_copies(name, views, axes=axes, **options)
    check_outs(name, views, expected, i, axes=axes, **options)
    first = len(shape) - len(axes)
    if axes == tuple(range(first, len(shape))):
        assert all_same(results(name, views, axis=first, **options)[:1], expected[:1])


@each_of_few_isas
@each_layer_norm
@pytest.mark.parametrize("shape", MATRICES + EMPTY, ids=str)
def test_layer_norm(name, shape, dtype, isa):
    for axes in axes_of(len(shape)):
        for i in range(len(LAYOUTS)):
            check_layer_norm(name, shape, dtype, i, axes)


@each_of_few_isas
@each_layer_norm
@pytest.mark.parametrize("shape", LONG_MATRICES, ids=str)
def test_layer_norm_of_long_rows(name, shape, dtype, isa):
    for n, axes in enumerate(axes_of(len(shape))):
        for i in range(n % 3, len(LAYOUTS), 3):
            check_layer_norm(name, shape, dtype, i, axes)


def test_axes_are_a_set(dtype):
    x = laid_out("part", normal((3, 4, 5, 6), dtype))
    gamma = normal((4, 6), dtype)
    expected = nk.layer_norm(x, gamma, axes=(1, 3))
    for axes in ((3, 1), [-1, -3], np.array([3, 1]), (np.int8(1), -1), range(1, 4, 2)):
        assert same_bits(nk.layer_norm(x, gamma, axes=axes), expected)
    assert same_bits(nk.layer_norm(x, gamma.ravel(), axes=(1, 3)), expected)
    for axes in (2, -2, np.int64(2), np.array(2), (2,), [-2]):
        assert same_bits(nk.layer_norm(x, axes=axes), nk.layer_norm(x, axes=(2,)))


def test_shapes_with_axes(dtype):
    x = normal((3, 4, 5, 6), dtype)
    _, mean, sigma = nk.layer_norm(x, axes=(0, 2), return_stats=True)
    assert mean.shape == sigma.shape == (1, 4, 1, 6) == x.mean((0, 2), keepdims=True).shape
    _, dgamma, dbeta = nk.layer_norm_backward(x, x, mean, sigma, axes=(2, 0))
    assert dgamma.shape == dbeta.shape == (3, 5)
    for saved in (mean, mean.ravel(), mean[0, :, 0]):
        same = nk.layer_norm_backward(x, x, saved, sigma, axes=(2, 0))
        assert same_bits(same.dgamma, dgamma)


# ---- The others, in both orders


def check_image(name, shape, dtype, order, i):
    if order == "NHWC":
        shape = (shape[0], *shape[2:], shape[1])
    views = views_of(name, shape, dtype, i)
    for saved in (
        (True, False) if name in {"instance_norm_backward", "group_norm_backward"} else (True,)
    ):
        options = parameters(name, views["x"], order=order, saved=saved)
        check_outs(name, views, on_copies(name, views, **options), i, **options)


@each_of_few_isas
@each_other
@pytest.mark.parametrize("shape", IMAGES + EMPTY_IMAGES, ids=str)
def test_images(name, shape, dtype, order, isa):
    for i in range(len(LAYOUTS)):
        check_image(name, shape, dtype, order, i)


@each_of_few_isas
@each_other
@pytest.mark.parametrize("shape", LONG_IMAGES, ids=str)
def test_large_images(name, shape, dtype, order, isa):
    for i in range(0, len(LAYOUTS), 3):
        check_image(name, shape, dtype, order, i)


@pytest.mark.parametrize("name", [name for name in OTHERS if not name.startswith("local")])
def test_images_of_rank_2(name, dtype, order):
    for i in range(len(LAYOUTS)):
        check_image(name, (7, 19), dtype, order, i)


STREAMED = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_views import LAYER_NORMS, LAYOUTS, OTHERS, check_image, check_layer_norm

for dtype in (np.float32, np.float64):
    for i in range(len(LAYOUTS)):
        for shape in ((2, 300, 9, 15), (2, 3, 20, 40)):
            for order in ("NCHW", "NHWC"):
                for name in OTHERS:
                    check_image(name, shape, dtype, order, i)
            for name in LAYER_NORMS:
                check_layer_norm(name, shape, dtype, i, (2, 3))
                check_layer_norm(name, shape, dtype, i, (1,))
"""


def test_outputs_written_past_the_caches():
    tests = str(Path(__file__).parent)
    assert not run(STREAMED, tests, prelude="", timeout=600, NORMKERNELS_STREAM_BYTES="1")
