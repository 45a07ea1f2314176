"""Random shapes, layouts, dtypes of parameters and bit patterns of the half types, all at once:
the float32 results on the widened arrays, rounded once."""

import math

import hypothesis
import numpy as np
from conftest import HALVES, ISAS, ORDERS, groups_of
from half import (
    F32,
    check_group_norm,
    check_instance_norm,
    check_layer_norm,
    check_local_response_norm,
    check_norms_of_a_sum,
    check_rms_norm,
    quiet,
)
from hypothesis import strategies as st
from test_property import SETTINGS, on

# Which of the bits of an element are drawn, the others being 0.
ALL, DENORMAL, FEW = 0xFFFF, 0x807F, 0xC400


@st.composite
def halves(draw, min_rank, max_rank):
    """Two arrays of one shape, laid out in a random order of axes, and their generator."""
    extents = st.one_of(st.integers(0, 9), st.sampled_from([16, 17, 31, 33, 64, 70, 300, 5000]))
    shape = draw(st.lists(extents, min_size=min_rank, max_size=max_rank))
    while math.prod(max(n, 1) for n in shape) > 10000:  # the statistics of nothing are many
        shape[int(np.argmax(shape))] //= 4
    half = draw(st.sampled_from(HALVES))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = []
    for _ in range(2):
        axes, step = draw(st.permutations(range(len(shape)))), draw(st.sampled_from([1, 2, -1]))
        bits = {"mask": draw(st.sampled_from([ALL, DENORMAL, FEW])), "finite": draw(st.booleans())}
        memory = patterns(generator, [shape[a] * abs(step) for a in axes], half, **bits)
        view = memory[(slice(None, None, step),) * len(axes)]
        arrays.append(view.transpose(np.argsort(axes)))
    return arrays, generator


@quiet
def patterns(generator, shape, half, mask=ALL, finite=True):
    bits = generator.integers(0, 1 << 16, shape, np.uint16) & np.uint16(mask)
    if finite:
        bits[~np.isfinite(bits.view(half))] ^= 0x4000  # the highest bit of the exponent
    return bits.view(half)


def parameter(generator, shape, kind, half):
    if kind == "float32":
        with np.errstate(all="ignore"):
            return generator.standard_cauchy(shape).astype(F32)
    return patterns(generator, shape, half) if kind == "half" else None


kinds = st.tuples(*[st.sampled_from(["none", "half", "float32"])] * 2)
processes = st.tuples(st.sampled_from(ISAS), st.sampled_from([None, 1, 2, 3]))


@SETTINGS
@hypothesis.given(halves(1, 4), st.integers(-4, 3), kinds, processes)
def test_layer_norm(drawn, axis, kinds, process):
    ((x, dy), generator), (isa, num_threads) = drawn, process
    axis = max(-x.ndim, min(axis, x.ndim - 1))
    both = [parameter(generator, x.shape[axis % x.ndim :], kind, x.dtype) for kind in kinds]
    options = {"axis": axis, "num_threads": num_threads}

    def check():
        check_layer_norm(x, dy, *both, **options)
        check_rms_norm(x, dy, *both, **options)
        check_norms_of_a_sum(x, dy, *both, both[0], **options)

    on(isa, check)


@SETTINGS
@hypothesis.given(halves(2, 5), st.sampled_from(ORDERS), kinds, processes)
def test_instance_norm(drawn, order, kinds, process):
    ((x, dy), generator), (isa, num_threads) = drawn, process
    channels = x.shape[1 if order == "NCHW" else -1]
    both = [parameter(generator, (channels,), kind, x.dtype) for kind in kinds]
    options = {"order": order, "num_threads": num_threads}

    def check():
        check_instance_norm(x, dy, *both, **options)
        if channels > 0:
            check_group_norm(x, dy, *both, groups_of(channels), **options)

    on(isa, check)


@SETTINGS
@hypothesis.given(
    halves(3, 5),
    st.integers(1, 11),
    st.fixed_dictionaries(
        {
            "alpha": st.one_of(st.floats(1e-4, 10), st.floats(-1, -1e-4)),
            "beta": st.one_of(st.sampled_from([0.5, 0.75, 1.0, 3.0]), st.floats(-1, 4)),
            "bias": st.one_of(st.floats(0.5, 2), st.sampled_from([0.0, 1e-6, -1.0])),
            "order": st.sampled_from(ORDERS),
        }
    ),
    processes,
)
def test_local_response_norm(drawn, size, options, process):
    ((x, dy), _), (isa, num_threads) = drawn, process
    options = {"size": size, "num_threads": num_threads, **options}
    on(isa, lambda: check_local_response_norm(x, dy, **options))
