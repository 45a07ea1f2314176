"""normkernels.dask: the results of the NumPy functions, known in type and extents beforehand."""

import itertools

import numpy as np
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

import ml_dtypes  # noqa: E402
import normkernels as nk  # noqa: E402
import normkernels.dask as nkd  # noqa: E402
from conftest import normal  # noqa: E402
from dask_cases import CUTS, SHAPE, arguments, saved, to_order  # noqa: E402

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
IDS = [np.dtype(dtype).name for dtype in DTYPES]
NORMS = ["layer_norm", "rms_norm", "instance_norm", "group_norm"]
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=IDS)
# One type with every cut, all types where all is cut and where nothing is.
PAIRS = [(np.float32, cut) for cut in CUTS]
PAIRS += [(dtype, cut) for dtype in DTYPES[1:] for cut in ("all", "whole")]
each_dtype_and_cut = pytest.mark.parametrize(
    ("dtype", "cut"), PAIRS, ids=[f"{np.dtype(dtype).name}-{cut}" for dtype, cut in PAIRS]
)
each_norm = pytest.mark.parametrize("norm", NORMS)


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def in_chunks(x, cut, order="NCHW"):
    n, c, *spatial = CUTS[cut]
    return da.from_array(x, chunks=(n, c, *spatial) if order == "NCHW" else (n, *spatial, c))


def unit(a):
    """u of its values: those of a half type are off by a unit in their last place."""
    half = a.dtype.itemsize < 4
    finest = ml_dtypes.finfo(a.dtype) if half else np.finfo(a.dtype)
    return float(finest.eps) * (1 if half else 0.5)


def assert_like(lazy, wanted, most):
    """Types and extents known before, values within `most` units of the largest."""
    for a, computed, b in zip(lazy, dask.compute(*lazy), wanted, strict=True):
        assert (a.shape, a.dtype, a._meta.dtype) == (b.shape, b.dtype, b.dtype)
        assert (computed.shape, computed.dtype) == (b.shape, b.dtype)
        assert tuple(map(sum, a.chunks)) == b.shape
        difference = np.abs(computed.astype(np.float64) - b.astype(np.float64))
        largest = np.abs(b.astype(np.float64)).max(initial=1)
        assert difference.max(initial=0) <= most * unit(b) * largest


def cases(norm, dtype, orders=("NCHW", "NHWC")):
    for order in orders if norm in ("instance_norm", "group_norm") else ["NCHW"]:
        for parameters, options in arguments(norm, dtype, order):
            yield order, parameters, options


@each_dtype_and_cut
@each_norm
def test_forward(norm, cut, dtype):
    for order, parameters, options in cases(norm, dtype):
        x = to_order(normal(SHAPE, dtype, mean=3.0), order)
        lazy_x = in_chunks(x, cut, order)
        lazy = getattr(nkd, norm)(lazy_x, *parameters, **options, return_stats=True)
        wanted = getattr(nk, norm)(x, *parameters, **options, return_stats=True)
        assert type(lazy) is type(wanted)
        assert lazy.y.chunks == lazy_x.chunks
        assert_like(lazy, wanted, 8)


@each_dtype_and_cut
@each_norm
def test_backward(norm, cut, dtype):
    for order, parameters, options in cases(norm, dtype):
        x = to_order(normal(SHAPE, dtype, mean=3.0), order)
        dy = to_order(normal(SHAPE, dtype, seed=7), order)
        lazy_x, lazy_dy = in_chunks(x, cut, order), in_chunks(dy, "all", order)
        forward = getattr(nk, norm)(x, *parameters, **options, return_stats=True)
        statistics = saved(norm, forward)
        groups = parameters[:1] if norm == "group_norm" else []
        scale = next(iter(parameters[len(groups) :]), None)
        own = {
            key: value for key, value in options.items() if key != "epsilon" or norm != "layer_norm"
        }
        own["scale" if "instance" in norm or groups else "gamma"] = scale
        function, wanted = getattr(nkd, norm + "_backward"), getattr(nk, norm + "_backward")
        given = [statistics] if norm == "layer_norm" else [statistics, {}]
        for s in given:
            lazy = function(lazy_dy, lazy_x, *groups, **s, **own)
            expected = wanted(dy, x, *groups, **s, **own)
            assert type(lazy) is type(expected)
            assert lazy.dx.chunks == lazy_x.chunks
            assert_like(lazy, expected, 16)


def test_statistics_may_be_dask_arrays():
    x, dy = normal(SHAPE, np.float32), normal(SHAPE, np.float32, 1)
    lazy, lazy_dy = in_chunks(x, "all"), in_chunks(dy, "planes")
    g = normal((12,), np.float32, 2)
    forward = nkd.group_norm(lazy, 3, da.from_array(g, chunks=5), return_stats=True)
    gradient = nkd.group_norm_backward(
        lazy_dy, lazy, 3, da.from_array(g, chunks=4), forward.mean, forward.inv_std
    )
    wanted = nk.group_norm_backward(dy, x, 3, g)
    assert_like(gradient, wanted, 16)
    forward = nkd.layer_norm(lazy, axis=2, return_stats=True)
    gradient = nkd.layer_norm_backward(lazy_dy, lazy, forward.mean, forward.sigma, axis=2)
    wanted = nk.layer_norm_backward(dy, x, *nk.layer_norm(x, axis=2, return_stats=True)[1:], axis=2)
    assert_like(gradient, wanted, 16)


@each_dtype
@each_norm
def test_whole_rows_have_the_bits_of_the_numpy_function(norm, dtype):
    x = normal(SHAPE, dtype, mean=100.0)
    for _, parameters, options in cases(norm, dtype, ["NCHW"]):
        axes = (0,) if options.get("axes", (1,))[0] == 0 or options.get("axis") == 0 else ()
        chunks = tuple(-1 if axis in axes else (1 if axis == 0 else -1) for axis in range(4))
        y = getattr(nkd, norm)(da.from_array(x, chunks=chunks), *parameters, **options)
        wanted = getattr(nk, norm)(x, *parameters, **options)
        assert y.compute().tobytes() == wanted.tobytes()


@each_dtype_and_cut
@pytest.mark.parametrize("size", [1, 5, 6, 40])
def test_local_response_norm_has_the_bits_of_the_numpy_function(size, cut, dtype):
    options = {"alpha": 0.3, "bias": 1.5}
    for order in ("NCHW", "NHWC"):
        x, dy = (to_order(normal(SHAPE, dtype, seed), order) for seed in (0, 1))
        lazy_x, lazy_dy = in_chunks(x, cut, order), in_chunks(dy, "planes", order)
        options["order"] = order
        lazy = nkd.local_response_norm(lazy_x, size, return_scale=True, **options)
        wanted = nk.local_response_norm(x, size, return_scale=True, **options)
        for a, b in zip(lazy, wanted, strict=True):
            assert a.chunks == lazy_x.chunks
            assert (a.dtype, a.compute().tobytes()) == (b.dtype, b.tobytes())
        dx = nkd.local_response_norm_backward(lazy_dy, lazy_x, size, **options)
        assert dx.chunks == lazy_x.chunks
        wanted_dx = nk.local_response_norm_backward(dy, x, size, **options)
        assert dx.compute().tobytes() == wanted_dx.tobytes()
        given = nkd.local_response_norm_backward(
            lazy_dy, lazy_x, size, y=lazy.y, scale=lazy.scale, **options
        )
        wanted_dx = nk.local_response_norm_backward(
            dy, x, size, y=wanted.y, scale=wanted.scale, **options
        )
        assert given.compute().tobytes() == wanted_dx.tobytes()


def assert_channel_norms_like(x, chunks, groups):
    """Forward and backward, of statistics and without, of group and instance norm."""
    lazy = da.from_array(x, chunks=chunks)
    for norm, own in (("group_norm", [groups]), ("instance_norm", [])):
        forward = getattr(nkd, norm)(lazy, *own, return_stats=True)
        wanted = getattr(nk, norm)(x, *own, return_stats=True)
        assert_like(forward, wanted, 8)
        for given in ({}, {"mean": forward.mean, "inv_std": forward.inv_std}):
            gradient = getattr(nkd, norm + "_backward")(lazy, lazy, *own, **given)
            assert_like(gradient, getattr(nk, norm + "_backward")(x, x, *own), 16)


def test_ranks_and_empty_extents():
    for shape, chunks in itertools.chain(
        [((5, 12), (2, 5)), ((2, 12, 9), (2, 7, 4)), ((2, 12, 3, 4, 5), (1, 12, 2, 2, 5))],
        [((0, 12, 4), (0, 5, 2)), ((2, 12, 0), (2, 5, 0)), ((2, 12, 4), (2, 5, (3, 0, 1)))],
        [((0, 12, 4), (0, 12, 4)), ((2, 12, 4), ((0, 2, 0), 12, 4)), ((0, 12), (0, 5))],
    ):
        x = normal(shape, np.float32)
        assert_channel_norms_like(x, chunks, 3)
        lazy = da.from_array(x, chunks=chunks)
        assert_like([nkd.layer_norm(lazy)], [nk.layer_norm(x)], 8)


@pytest.mark.parametrize("spatial", [(8, 10), (5, 3)], ids=["whole planes", "cut planes"])
def test_chunks_without_channels(spatial):
    x = normal((4, 6, 8, 10), np.float32)
    for groups, channels in itertools.product((2, 6), ((0, 3, 3, 0), (0, 4, 2), (6, 0))):
        assert_channel_norms_like(x, (2, channels, *spatial), groups)


def test_without_channels():
    for shape, chunks in (((2, 0, 4), (1, 0, 3)), ((2, 0, 4), (2, (0, 0), 4)), ((2, 0), (1, 0))):
        for groups in (1, 3):
            assert_channel_norms_like(np.zeros(shape, np.float32), chunks, groups)


def test_axes_are_what_numpy_functions_take():
    class Two:
        def __index__(self):
            return 2

    x = normal(SHAPE, np.float32)
    for axes in (np.array([2, 3]), Two(), (Two(), 3), np.int64(2), [np.int64(1)]):
        assert_like(
            [nkd.layer_norm(in_chunks(x, "all"), axes=axes)], [nk.layer_norm(x, axes=axes)], 8
        )


def test_chunks_of_unknown_number_of_rows():
    x = normal((20, 7), np.float32)
    lazy = da.from_array(x, chunks=(5, 3))
    some = lazy[lazy[:, 0].compute() > 0]
    unknown = lazy[lazy[:, 0] > 0]
    for a, b in zip(
        nkd.layer_norm(unknown, return_stats=True),
        nkd.layer_norm(some, return_stats=True),
        strict=True,
    ):
        np.testing.assert_array_equal(a.compute(), b.compute())
    np.testing.assert_array_equal(
        nkd.rms_norm_backward(unknown, unknown).dgamma.compute(),
        nkd.rms_norm_backward(some, some).dgamma.compute(),
    )
    for axis in (1, -1):
        mean, sigma = nkd.layer_norm(unknown, axis=axis, return_stats=True)[1:]
        gradient = nkd.layer_norm_backward(unknown, unknown, mean, sigma, axis=axis)
        numbers = some.compute()
        kept = nk.layer_norm(numbers, axis=axis, return_stats=True)[1:]
        wanted = nk.layer_norm_backward(numbers, numbers, *kept, axis=axis)
        np.testing.assert_allclose(gradient.dx.compute(), wanted.dx, atol=1e-5)
        np.testing.assert_allclose(gradient.dgamma.compute(), wanted.dgamma, atol=1e-5)
        with pytest.raises(ValueError, match=r"sigma has shape .* must be what the forward"):
            nkd.layer_norm_backward(unknown, unknown, *kept, axis=axis)


def test_windows_of_an_unknown_number_of_images():
    x = normal((4, 12, 3, 2), np.float32)
    lazy = da.from_array(x, chunks=(2, 5, 3, 2))
    unknown = lazy[lazy[:, 0, 0, 0] > -100]
    y, scale = nkd.local_response_norm(unknown, 5, return_scale=True)
    assert y.compute().tobytes() == nk.local_response_norm(x, 5).tobytes()
    dx = nkd.local_response_norm_backward(unknown, unknown, 5, y=y, scale=scale)
    assert dx.compute().tobytes() == nk.local_response_norm_backward(x, x, 5).tobytes()
