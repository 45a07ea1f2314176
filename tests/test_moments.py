"""Moments against exact rational arithmetic, alone and merged; layer norm from them; the same bits
for whoever computes them and however x lies."""

import functools
import re
import subprocess
import sys
from fractions import Fraction

import normkernels as nk
import numpy as np
import pytest
import reference
from conftest import (
    DISTRIBUTIONS,
    FUSED_ISAS,
    HALVES,
    OFFSETS_OVER_STD,
    drawn,
    each_isa,
    each_of_few_isas,
    normal,
    same_bits,
)
from declarations import ROOT
from reference import FORWARD, assert_within
from views import LAYOUTS, axes_of, laid_out

F32, F64 = np.float32, np.float64
FIELDS = ("count", "scale", "mean", "mean_low", "m2", "m2_low")
# Of a row and of its parts: around the lanes, a chunk of 4096 and a span.
LENGTHS = (1, 2, 3, 7, 16, 17, 65, 1000, 4097)
# mean is a pair, and so is m2 of float64: 2**-104 at each step, of which there are few in a row.
# Sums of float32 have float64's 53 digits, of which a chunk of 2**12 about one pivot takes up to
# 12, and 2**8 additions in a row 8 (sums/moments.h).
PAIR, SUM = 2.0**-96, {F32: 2.0**-33, F64: 2.0**-84}


@functools.lru_cache(maxsize=256)
def exact_of(row):
    """Count, mean, m2, the largest element and deviation of a tuple of floats. All of them are
    whole numbers of 2**-1074, and sums of such are fast."""
    ratios = [value.as_integer_ratio() for value in row]
    whole = [p << (1075 - q.bit_length()) for p, q in ratios]
    n, total, unit = len(row), sum(whole), 1 << 1074
    m2 = Fraction(n * sum(v * v for v in whole) - total * total, n * unit * unit)
    largest, spread = max(map(abs, whole)), max(abs(n * v - total) for v in whole)
    return n, Fraction(total, n * unit), m2, Fraction(largest, unit), Fraction(spread, n * unit)


def number(m, field):
    return Fraction(float(m[field])) + Fraction(float(m[f"{field}_low"]))


def is_power_of_two(scale):
    return np.frexp(scale)[0] == 0.5


def assert_moments(m, row, what=""):
    """Of a row of an array of moments, whose m2 the mean's own rounding enters squared."""
    count, mean, m2, largest, spread = exact_of(tuple(row.astype(F64).tolist()))
    scale, kind = Fraction(float(m["scale"])), F64 if row.dtype == F64 else F32
    assert m["count"] == count
    assert is_power_of_two(m["scale"])
    assert scale == 1 or kind == F64
    # A mean of float32 is off by its sum's error, which is of the size of the deviations.
    off = Fraction(PAIR) * largest + Fraction(SUM[kind]) * spread
    assert abs(number(m, "mean") - scale * mean) <= scale * off, f"mean, {what}"
    most = Fraction(SUM[kind]) * m2 + count * Fraction(PAIR) * largest * spread
    assert abs(number(m, "m2") - scale**2 * m2) <= scale**2 * most, f"m2, {what}"


def merged_in_a_tree(parts, tree):
    parts = list(parts)
    if tree == "left":
        return functools.reduce(nk.merge_moments, parts)
    if tree == "right":
        return functools.reduce(lambda a, b: nk.merge_moments(b, a), reversed(parts))
    while len(parts) > 1:
        pairs = [nk.merge_moments(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


def parts_of(x, count):
    return [nk.moments(part) for part in np.array_split(x, count, axis=1)]


def y_from(x, m, epsilon):
    """What moments are for, as the docstring has it."""
    variance = (m["m2"] + m["m2_low"]) / m["count"]
    rstd = 1 / np.sqrt(variance + epsilon * m["scale"] ** 2)
    return ((m["scale"] * x.astype(F64) - m["mean"] - m["mean_low"]) * rstd).astype(x.dtype)


# ---- Against rational numbers


@each_isa
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_rows_and_their_parts(dtype, distribution, isa):
    for offset in (0, OFFSETS_OVER_STD[dtype][-1], 2.0**24):
        for n in LENGTHS:
            x = drawn(distribution, dtype, n, offset)[:2]
            whole = nk.moments(x)
            assert whole.shape == (2, 1)
            for i, row in enumerate(x):
                assert_moments(whole[i, 0], row, f"offset {offset}, n {n}")
            if n > 1:
                merged = merged_in_a_tree(parts_of(x, min(n, 5)), "pairs")
                for i, row in enumerate(x):
                    assert_moments(merged[i, 0], row, f"merged, offset {offset}, n {n}")


@each_of_few_isas
@pytest.mark.parametrize("half", HALVES)
def test_half_types_are_their_values(isa, half):
    for n in LENGTHS:
        x = normal((3, n), F32, mean=20).astype(half)
        assert same_bits(nk.moments(x), nk.moments(x.astype(F32)))


@pytest.mark.parametrize("exponent", [-1060, -1000, -460, -430, 430, 470, 490, 1000, 1020])
def test_squares_out_of_range(isa, exponent):
    for n in (2, 17, 5000):
        x = np.ldexp(normal((2, n), F64).clip(-3, 3), exponent)
        own = nk.moments(x)
        assert ((own["scale"] != 1) == (not -450 < exponent < 480)).all()
        for tree in ("left", "right", "pairs"):
            merged = merged_in_a_tree(parts_of(x, 5), tree)
            for i, row in enumerate(x):
                assert_moments(own[i, 0], row, f"n {n}")
                assert_moments(merged[i, 0], row, f"merged, n {n}")


@each_of_few_isas
def test_parts_of_different_scales(isa):
    """Each row is one part, of a magnitude of its own."""
    generator = np.random.default_rng(0)
    for _ in range(300):
        parts = [
            np.ldexp(generator.standard_normal((1, generator.integers(1, 5))), exponent)
            for exponent in generator.choice([-1000, -500, -300, 0, 300, 440, 479, 500, 1000], 4)
        ]
        for i in np.flatnonzero(generator.integers(0, 3, 4) == 0):
            parts[i][:] = generator.choice([0.0, parts[i][0, 0]])  # constant
        x = np.concatenate(parts, axis=1)
        for tree in ("left", "right", "pairs"):
            merged = merged_in_a_tree([nk.moments(part) for part in parts], tree)
            assert_moments(merged[0, 0], x[0], f"{tree} of {parts}")


def test_constant_rows_have_no_scale_but_at_the_ends(isa):
    for value, scale in ((5.0, 1), (0.0, 1), (-1e-80, 1), (1e300, 2.0**-996), (1e-300, 2.0**997)):
        m = nk.moments(np.full((1, 9), value))[0, 0]
        assert list(m)[:2] == [9, scale]
        assert m["mean"] == value * scale
        assert list(m)[3:] == [0, 0, 0]


# ---- NaN, infinity, nothing


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_stays_in_its_row(isa, dtype, bad):
    for n in (1, 3, 100, 5000):
        x = normal((3, n), dtype)
        clean = nk.moments(x)
        x[1, n // 2] = bad
        m = nk.moments(x)
        assert same_bits(m[[0, 2]], clean[[0, 2]])
        for some in (m[1, 0], nk.merge_moments(clean, m)[1, 0], nk.merge_moments(m, clean)[1, 0]):
            assert some["scale"] == 1
            assert np.isnan([some["mean"], some["m2"]]).all()


def test_empty_parts_are_neutral(isa, dtype):
    empty = nk.moments(np.empty((3, 0), dtype))
    assert [list(m) for m in empty[:, 0]] == 3 * [[0, 1, 0, 0, 0, 0]]
    own = nk.moments(normal((3, 7), dtype, std=1e-30) * dtype(2) ** -100)
    assert same_bits(nk.merge_moments(own, empty), own)
    assert same_bits(nk.merge_moments(empty, own), own)
    assert same_bits(nk.merge_moments(empty, empty), empty)
    assert nk.moments(np.empty((0, 4), dtype)).shape == (0, 1)
    assert nk.moments(np.empty((2, 0, 3), dtype), axes=(0, 1)).shape == (1, 1, 3)


# ---- Layer norm from them


@each_isa
@pytest.mark.parametrize("tree", ["left", "right", "pairs"])
def test_layer_norm_of_parts(isa, dtype, tree):
    """Within what layer_norm promises, however the row was cut and merged."""
    for offset in (0, 2.0**24, *OFFSETS_OVER_STD[dtype][-1:]):
        for epsilon in (0, 1e-5):
            x = normal((3, 5000), dtype, mean=offset)
            m = merged_in_a_tree(parts_of(x, 13), tree)
            y = y_from(x, m, epsilon) if dtype == F32 else y_of_pairs(x, m, epsilon)
            assert_within(y, reference.layer_norm(x, epsilon=epsilon).y, FORWARD, f"{offset}")


def y_of_pairs(x, m, epsilon):
    """In long doubles, as the last digits of float64 need it."""
    of = {name: m[name].astype(np.longdouble) for name in FIELDS}
    variance = (of["m2"] + of["m2_low"]) / of["count"]
    rstd = 1 / np.sqrt(variance + epsilon * of["scale"] ** 2)
    return ((of["scale"] * x - of["mean"] - of["mean_low"]) * rstd).astype(x.dtype)


# ---- Bits, layouts, shapes


SHAPES = [(7, 5), (600, 701), (3000, 97), (33, 20011), (1, 300001), (2, 65537)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_do_not_depend_on_threads_and_instruction_sets(dtype, shape):
    x = normal(shape, dtype, mean=100)
    bits = set()
    for isa in FUSED_ISAS:
        nk.force_isa(isa)
        for num_threads in (1, 2, 3, 8, None):
            m = nk.moments(x, num_threads=num_threads)
            bits |= {m.tobytes(), nk.moments(x[::-1], num_threads=num_threads)[::-1].tobytes()}
            bits |= {nk.moments(np.asfortranarray(x), num_threads=num_threads).tobytes()}
        merged = {nk.merge_moments(m, m[::-1]).tobytes()}
    nk.force_isa(None)
    assert len(bits) == len(merged) == 1


@pytest.mark.parametrize("dtype", [F32, F64, *HALVES], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 5, 7), (4, 3, 130, 20)], ids=str)
def test_every_layout_and_axes(dtype, shape):
    values = normal(shape, F32, mean=3).astype(dtype)
    for axes in axes_of(len(shape)):
        kept = np.mean(values.astype(F64), axis=axes, keepdims=True).shape
        rows = np.moveaxis(values, axes, range(-len(axes), 0)).reshape(
            -1, np.prod([shape[i] for i in axes])
        )
        expected = nk.moments(rows, axis=1).reshape(kept)
        for layout in LAYOUTS:
            if not layout.startswith("repeated"):
                assert same_bits(nk.moments(laid_out(layout, values), axes=axes), expected), layout


def test_shapes_are_those_of_statistics(dtype):
    x = normal((2, 3, 4), dtype)
    for options in ({}, {"axis": 0}, {"axis": 2}, {"axis": -1}, {"axes": 1}, {"axes": (0, -1)}):
        m = nk.moments(x, **options)
        assert m.dtype == nk.moments_dtype
        _, mean, sigma = nk.layer_norm(x, return_stats=True, epsilon=0, **options)
        assert m.shape == mean.shape
        assert (m["mean"].astype(dtype) == mean).all()
        variance = (m["m2"] + m["m2_low"]) / m["count"]
        np.testing.assert_allclose(sigma, np.sqrt(variance), rtol=2 * np.finfo(dtype).eps)


def test_the_dtype_is_the_struct_of_the_header():
    assert nk.moments_dtype.names == FIELDS
    assert nk.moments_dtype.itemsize == 48
    assert [nk.moments_dtype.fields[name][1] for name in FIELDS] == list(range(0, 48, 8))


# ---- Arguments of merge_moments


M = nk.moments(normal((4, 3, 5), F32), axes=2)[..., 0]


def test_out_may_be_either():
    a, b = M.copy(), M[::-1].copy()
    expected = nk.merge_moments(a, b)
    other = np.empty_like(a)
    assert nk.merge_moments(a, b, out=other) is other
    assert same_bits(other, expected)
    for out in (a, b):
        x, y = a.copy(), b.copy()
        target = x if out is a else y
        assert nk.merge_moments(x, y, out=target) is target
        assert same_bits(target, expected)


def test_strided_misaligned_and_packed_parts_are_copied():
    a, b = M.copy(), M[::-1].copy()
    expected = nk.merge_moments(a, b)
    packed = np.dtype([(name, nk.moments_dtype[name]) for name in FIELDS])
    shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(packed).reshape(a.shape)
    shifted[...] = a
    wide = np.zeros((4, 6), nk.moments_dtype)
    wide[:, ::2] = a
    for same in (a.astype(packed), shifted, wide[:, ::2], a.T.copy().T, a[::-1].copy()[::-1]):
        assert same_bits(nk.merge_moments(same, b), expected)


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (TypeError, "a has dtype float64, must be of moments_dtype", {"a": np.zeros(3)}),
        (TypeError, "b has dtype int64, must be of moments_dtype", {"b": np.zeros(3, int)}),
        (TypeError, "a is None, must be an array", {"a": None}),
        (ValueError, r"b has shape \(3,\), must have \(4, 3\), the shape of a", {"b": M[0]}),
        (TypeError, "out has dtype float32, must be of", {"out": np.zeros((4, 3), F32)}),
        (ValueError, r"out has shape \(3,\), must have \(4, 3\)", {"out": M[0].copy()}),
        (
            ValueError,
            "out is not contiguous or misaligned, must be C-contiguous",
            {"out": M.T.copy().T},
        ),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value[:20],
)
def test_what_is_refused(error, message, changes):
    with pytest.raises(error, match=f"^merge_moments: {message}"):
        nk.merge_moments(**{"a": M, "b": M, **changes})


def test_out_is_refused_where_it_is_not_its_own():
    memory = np.concatenate([M.ravel(), M.ravel()])
    a, half = memory[:12], memory[6:18]
    with pytest.raises(ValueError, match=r"out shares memory .*, must be a or b itself or share"):
        nk.merge_moments(a, a.copy(), out=half)
    with pytest.raises(ValueError, match="out shares memory with another argument"):
        nk.merge_moments(memory[::2], M.ravel(), out=memory[:12])  # a was copied
    read_only = M.copy()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only, must be writable"):
        nk.merge_moments(M, M, out=read_only)


def test_the_snippet_of_the_docs(tmp_path):
    (snippet,) = re.findall(
        r"^```python\n(.*?)^```$",
        (ROOT / "docs/numerics.md").read_text(),
        flags=re.S | re.M,
    )
    subprocess.run([sys.executable, "-W", "error", "-c", snippet], check=True, cwd=tmp_path)
