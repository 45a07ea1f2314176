"""Random shapes, views, axes, outputs, instruction sets and threads, all at once: the bits of the
call on dense copies. A failure prints the example and how to run it again."""

import math
from typing import NamedTuple

import hypothesis
import normkernels as nk
import numpy as np
from conftest import DTYPES, ISAS, ORDERS, same_bits
from hypothesis import strategies as st
from views import (
    LAYER_NORMS,
    OPERATORS,
    OTHERS,
    on_copies,
    out_option,
    parameters,
    results,
    written,
)

SETTINGS = hypothesis.settings(max_examples=300, deadline=None, print_blob=True, database=None)
EXTENTS = st.one_of(st.integers(0, 9), st.sampled_from([16, 17, 31, 33, 70, 130, 600, 4097]))
LARGEST = 30000  # elements, or as many without the extents that are 0


class Layout(NamedTuple):
    """Memory with its axes in some order, of which a view skips some and goes backwards along some;
    it may repeat the first of an axis."""

    order: tuple
    steps: tuple
    margins: tuple
    repeated: tuple  # never of an output

    def memory(self, shape, dtype):
        """NaN, and the view of it."""
        steps, margins = (tuple(a[k] for k in self.order) for a in (self.steps, self.margins))
        extents = [
            2 * m + (1 if self.repeated[k] else max(shape[k], 1)) * abs(s)
            for k, s, m in zip(self.order, steps, margins, strict=True)
        ]
        memory = np.full(extents, np.nan, dtype)
        cut = tuple(slice(m, n - m) for m, n in zip(margins, extents, strict=True))
        every = tuple(slice(None, None, s) for s in steps)
        view = memory[cut][every].transpose(np.argsort(self.order))
        return memory, view[tuple(slice(0, n) for n in shape)]

    def of(self, values):
        _, view = self.memory(values.shape, values.dtype)
        view[...] = values[tuple(slice(0, n) for n in view.shape)]
        return np.broadcast_to(view, values.shape) if any(self.repeated) else view


@st.composite
def layouts(draw, rank, may_repeat):
    """At most one axis with a step and one with a margin: memory stays as small as the view."""
    steps = [draw(st.sampled_from([1, 1, -1])) for _ in range(rank)]
    steps[draw(st.integers(0, rank - 1))] *= draw(st.sampled_from([1, 2, 3]))
    margins = [0] * rank
    margins[draw(st.integers(0, rank - 1))] = draw(st.sampled_from([0, 1, 5]))
    repeats = may_repeat and draw(st.booleans())
    repeated = [repeats and draw(st.booleans()) for _ in range(rank)]
    order = draw(st.permutations(range(rank)))
    return Layout(*map(tuple, (order, steps, margins, repeated)))


class Drawn(NamedTuple):
    name: str
    views: dict
    outs: list
    memories: list
    options: dict
    how: dict  # axes
    isa: str
    num_threads: int


@st.composite
def calls(draw, names, ranks):
    name = draw(st.sampled_from(names))
    shape = draw(st.lists(EXTENTS, min_size=ranks[0], max_size=ranks[1]))
    if name.startswith("local") and len(shape) < 3:
        shape += [1] * (3 - len(shape))
    while math.prod(max(n, 1) for n in shape) > LARGEST:
        shape[int(np.argmax(shape))] //= 4
    rank, dtype = len(shape), draw(st.sampled_from(DTYPES))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    views = {
        key: draw(layouts(rank, True)).of((1 + generator.random(shape)).astype(dtype))
        for key in OPERATORS[name].large
    }
    places = written(name)
    if any(OPERATORS[name].in_place) and draw(st.booleans()):
        sources = draw(
            st.sampled_from(list(zip(*(OPERATORS[name].in_place[j] for j in places), strict=True)))
        )
    else:
        sources = [None] * len(places)
    memories, outs = [], []
    for source in sources:
        memory, out = draw(layouts(rank, False)).memory(shape, dtype)
        if source is not None:
            out[...] = views[source]
            views[source] = out
        memories.append(memory)
        outs.append(out)
    how = {}
    if name in LAYER_NORMS:
        some = st.sets(st.integers(0, rank - 1), min_size=1).map(sorted).map(tuple)
        axes = how["axes"] = draw(some)
        options = parameters(name, views["x"], axes=axes, saved=draw(st.booleans()))
    else:
        order, saved = draw(st.sampled_from(ORDERS)), draw(st.booleans())
        options = parameters(name, views["x"], order=order, saved=saved)
    threads = draw(st.sampled_from([None, 1, 2, 5]))
    return Drawn(name, views, outs, memories, options, how, draw(st.sampled_from(ISAS)), threads)


def check(drawn):
    nk.force_isa(drawn.isa)
    try:
        expected = on_copies(drawn.name, drawn.views, **drawn.how, **drawn.options)
        options = {**drawn.how, **drawn.options, "num_threads": drawn.num_threads}
        fresh = results(drawn.name, drawn.views, **options)
        into = results(drawn.name, drawn.views, **options, **out_option(drawn.name, drawn.outs))
    finally:
        nk.force_isa(None)
    for a, b, e in zip(fresh, into, expected, strict=True):
        assert same_bits(a, e)
        assert same_bits(b, e)
    for memory, out in zip(drawn.memories, drawn.outs, strict=True):
        out[...] = np.nan
        assert np.isnan(memory).all()


@SETTINGS
@hypothesis.given(calls(LAYER_NORMS, (1, 5)))
def test_layer_norm(drawn):
    check(drawn)


@SETTINGS
@hypothesis.given(calls(OTHERS, (2, 5)))
def test_images(drawn):
    check(drawn)
