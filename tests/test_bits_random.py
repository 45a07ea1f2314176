"""The same bits for numbers of any size, among them those of which products and sums are too small
or too large for their type: whoever computes them, and wherever the arrays lie."""

import math

import hypothesis
import numpy as np
from conftest import DTYPES, FUSED_ISAS, ORDERS, guarded
from half import equal
from hypothesis import strategies as st
from test_bits import (
    add_norms,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from test_property import SETTINGS, on


def of_any_bits(generator, shape, dtype):
    """Numbers of every exponent alike, but none that is infinite or NaN."""
    bits = generator.bytes(math.prod(shape) * np.dtype(dtype).itemsize)
    numbers = np.frombuffer(bits, dtype).reshape(shape)
    return np.where(np.isfinite(numbers), numbers, dtype(1))


def of_few_numbers(generator, shape, dtype):
    tiny = np.finfo(dtype).tiny
    return generator.choice(np.array([0, -0.0, 1, -1, tiny, -tiny], dtype), shape)


def normal(generator, shape, dtype):
    return generator.standard_normal(shape).astype(dtype)


numbers = st.sampled_from([of_any_bits, of_few_numbers, normal])
few = st.sampled_from([1, 2, 3, 4, 7, 8, 16, 17, 40])
many = st.sampled_from([1, 2, 5, 8, 16, 17, 33, 64, 100, 256, 768, 1000, 1024, 1025, 5000])


def assert_same_bits(function, arrays, generator, options):
    """Of all outputs. What lies between two calls' arrays moves the latter's outputs in memory."""
    expected, between = [], []

    def check():
        for threads in (1, 2, 3):
            placed = guarded(*arrays, offset=int(generator.integers(16)))
            between.append(np.empty(16 * generator.integers(1, 64), np.uint8))
            actual = function(*placed, num_threads=threads, **options)
            if not expected:
                expected.extend(actual)
            assert all(map(equal, actual, expected)), f"{threads} threads"

    for isa in FUSED_ISAS:
        on(isa, check)


@SETTINGS
@hypothesis.given(
    st.sampled_from([layer_norm, rms_norm, add_norms]),
    st.tuples(few, many),
    st.sampled_from(DTYPES),
    st.tuples(*[numbers] * 4),
    st.integers(0, 2**32 - 1),
)
def test_rows(function, shape, dtype, kinds, seed):
    shape = (min(shape[0], 20000 // shape[1]), shape[1])
    generator = np.random.default_rng(seed)
    shapes = [shape, shape, shape[1:], shape[1:]]
    arrays = [kind(generator, s, dtype) for kind, s in zip(kinds, shapes, strict=True)]
    assert_same_bits(function, arrays, generator, {})


@SETTINGS
@hypothesis.given(
    st.sampled_from([instance_norm, group_norm, local_response_norm]),
    st.tuples(st.sampled_from([1, 2, 3]), few, many, st.sampled_from(ORDERS)),
    st.sampled_from(DTYPES),
    st.tuples(*[numbers] * 4),
    st.integers(0, 2**32 - 1),
)
def test_images(function, images, dtype, kinds, seed):
    n, c, spatial, order = images
    spatial = min(spatial, 20000 // (n * c))
    shape = (n, c, spatial) if order == "NCHW" else (n, spatial, c)
    generator = np.random.default_rng(seed)
    shapes = [shape, shape, (c,), (c,)]
    arrays = [kind(generator, s, dtype) for kind, s in zip(kinds, shapes, strict=True)]
    assert_same_bits(function, arrays, generator, {"order": order})
