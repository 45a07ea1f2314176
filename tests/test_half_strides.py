"""float16 and bfloat16 of any strides and any axes: the bits of the call on dense copies, which
test_half.py holds to float32's."""

import pytest
from conftest import each_of_few_isas
from half import F32, check, each_half
from test_views import (
    EMPTY,
    EMPTY_IMAGES,
    IMAGES,
    LONG_IMAGES,
    LONG_MATRICES,
    MATRICES,
    check_outs,
    each_layer_norm,
    each_other,
    views_of,
)
from views import LAYOUTS, axes_of, on_copies, parameters

# Backward, and without the saved ones, too.
SAVE_STATISTICS = {"rms_norm_backward", "instance_norm_backward", "group_norm_backward"}


def check_views(name, shape, half, i, **where):
    """The i-th way to lay the arrays out and to choose the dtypes of the parameters."""
    views = views_of(name, shape, half, i)
    dtypes = [(half, half), (half, F32), (F32, half), (F32, F32)][i % 4]
    for saved in (True, False) if name in SAVE_STATISTICS else (True,):
        options = parameters(name, views["x"], saved=saved, dtypes=dtypes, **where)
        if "axes" in where:
            expected = on_copies(name, views, **where, **options)
            options = {**options, **where}
        else:
            expected = on_copies(name, views, **options)
        check_outs(name, views, expected, i, **options)
        check(name, {**views, **options})


def some_layouts(i, step=1):
    return range(i % step, len(LAYOUTS), step)


@each_of_few_isas
@each_half
@each_layer_norm
@pytest.mark.parametrize("shape", MATRICES + EMPTY, ids=str)
def test_layer_norm(name, shape, half, isa):
    for n, axes in enumerate(axes_of(len(shape))):
        for i in some_layouts(n, 3):
            check_views(name, shape, half, i, axes=axes)


@each_of_few_isas
@each_half
@each_layer_norm
@pytest.mark.parametrize("shape", LONG_MATRICES, ids=str)
def test_layer_norm_of_long_rows(name, shape, half, isa):
    for n, axes in enumerate(axes_of(len(shape))):
        for i in some_layouts(n, 7):
            check_views(name, shape, half, i, axes=axes)


@each_of_few_isas
@each_half
@each_other
@pytest.mark.parametrize("shape", IMAGES + EMPTY_IMAGES, ids=str)
def test_images(name, shape, half, order, isa):
    for i in some_layouts(len(shape) + shape[1], 3):
        check_views(name, in_order(shape, order), half, i, order=order)


@each_of_few_isas
@each_half
@each_other
@pytest.mark.parametrize("shape", LONG_IMAGES, ids=str)
def test_large_images(name, shape, half, order, isa):
    for i in some_layouts(shape[1], 7):
        check_views(name, in_order(shape, order), half, i, order=order)


def in_order(shape, order):
    return shape if order == "NCHW" else (shape[0], *shape[2:], shape[1])
