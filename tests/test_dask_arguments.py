"""normkernels.dask: what is refused, while the graph is built, and what graphs look like."""

import inspect
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

import normkernels as nk  # noqa: E402
import normkernels.dask as nkd  # noqa: E402
from conftest import normal  # noqa: E402
from dask_cases import SHAPE  # noqa: E402

X = da.from_array(normal(SHAPE, np.float32), chunks=(1, 7, 4, 3))
V = np.ones(12, np.float32)


def refused(call, *arguments, **options):
    with pytest.raises((TypeError, ValueError)) as error:
        call(*arguments, **options)
    return str(error.value)


def test_dask_is_imported_with_its_package_and_not_before():
    code = "import sys, normkernels; assert 'dask' not in sys.modules; import normkernels.dask"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", nkd.__all__)
def test_parameters_are_those_of_the_numpy_function(name):
    """`recompute` for `out` and `num_threads`, in its place."""

    def parameters(function, left_out):
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in found if p.name not in left_out]

    theirs = parameters(getattr(nk, name), ("out", "num_threads"))
    assert parameters(getattr(nkd, name), ("recompute",)) == theirs
    assert ("recompute" in inspect.signature(getattr(nkd, name)).parameters) == (
        "response" not in name
    )


OF_NUMPY = {
    "dtype": lambda m, x: m.layer_norm(x.astype(np.int32)),
    "axis": lambda m, x: m.layer_norm(x, axis=4),
    "axes": lambda m, x: m.rms_norm(x, axes=(1, 1)),
    "no axes": lambda m, x: m.rms_norm(x, axes=()),
    "epsilon": lambda m, x: m.rms_norm(x, epsilon=-1),
    "gamma's dtype": lambda m, x: m.layer_norm(x, np.ones(360)),
    "gamma's type": lambda m, x: m.layer_norm(x, [1.0] * 360),
    "a mask": lambda m, x: m.layer_norm(x, np.ma.ones(360, np.float32)),
    "order": lambda m, x: m.instance_norm(x, order="CHWN"),
    "scale": lambda m, x: m.group_norm(x, 3, V.astype(np.float64)),
    "groups": lambda m, x: m.group_norm(x, 2.0),
    "no groups": lambda m, x: m.group_norm(x, 0),
    "size": lambda m, x: m.local_response_norm(x, 0),
    "size's type": lambda m, x: m.local_response_norm(x, 1.5),
    "alpha": lambda m, x: m.local_response_norm(x, 3, alpha=np.inf),
    "mean": lambda m, x: m.layer_norm_backward(x, x, None, V[:2]),
    "inv_std": lambda m, x: m.instance_norm_backward(x, x, None, np.ones((2, 12), np.float32)),
    "dy's dtype": lambda m, x: m.rms_norm_backward(x.astype(np.float64), x),
    "dy's shape": lambda m, x: m.rms_norm_backward(x[1:], x),
    "y's shape": lambda m, x: m.local_response_norm_backward(x, x, 3, y=x[1:]),
}


@pytest.mark.parametrize("what", OF_NUMPY)
def test_refused_in_the_words_of_the_numpy_function(what):
    assert refused(OF_NUMPY[what], nkd, X) == refused(OF_NUMPY[what], nk, np.asarray(X))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nkd.layer_norm(X, V), "layer_norm: gamma has 12 elements"),
        (lambda: nkd.rms_norm(X, None, V), "rms_norm: beta has 12 elements"),
        (lambda: nkd.instance_norm(X, V[1:]), "instance_norm: scale has 11 elements"),
        (lambda: nkd.group_norm(X, 5), "group_norm: groups is 5, must divide 12"),
        (
            lambda: nkd.layer_norm_backward(X, X, V, V),
            "layer_norm_backward: sigma has 12 elements (shape (12,)), must have 2",
        ),
        (
            lambda: nkd.group_norm_backward(X, X, 3, None, V.reshape(4, 3), V.reshape(4, 3)),
            "group_norm_backward: inv_std has shape (4, 3), must have (2, 3)",
        ),
        (lambda: nkd.instance_norm(np.ones(SHAPE)), "x is of type ndarray, must be a dask.array"),
        (lambda: nkd.rms_norm_backward(np.ones(SHAPE), X), "dy is of type ndarray, must be"),
        (lambda: nkd.local_response_norm_backward(X, X, 3, y=V), "y is of type ndarray, must be"),
    ],
)
def test_refused_with_a_sentence(call, said):
    assert said in refused(call)


def test_chunks_of_unknown_size_are_refused_where_they_matter():
    unknown = X[:, :, X[0, 0, :, 0] > 0]
    said = "x has chunks of unknown size along dimension 2, must have known ones"
    for call in (nkd.instance_norm, nkd.layer_norm, lambda x: nkd.rms_norm(x, axes=2)):
        assert said in refused(call, unknown)
    gamma = da.ones(99, dtype=np.float32)
    assert "gamma has chunks of unknown size" in refused(nkd.rms_norm, X, gamma[gamma > 0])
    channels = X[:, X[0, :, 0, 0] > 0]
    for call in (nkd.instance_norm, lambda x: nkd.local_response_norm(x, 3)):
        assert "along dimension 1" in refused(call, channels)


# ---- Graphs


def tasks(*lazy):
    """How many of each name, after Dask's optimisations."""
    (first, *_) = optimised = dask.optimize(*lazy)
    keys = set().union(*(dict(a.dask) for a in optimised))
    assert first.dtype
    return Counter(str(key[0] if isinstance(key, tuple) else key).rsplit("-", 1)[0] for key in keys)


def source(blocks=(1, 2, 8, 4)):
    """Chunks that are read by tasks of their own."""
    shape = tuple(4 * n for n in blocks)
    return da.zeros(shape, chunks=4, dtype=np.float32) + 1, int(np.prod(blocks))


def test_whole_rows_are_one_task_a_chunk():
    x, chunks = source((8, 2, 1, 1))
    found = tasks(nkd.instance_norm(x))
    assert sum(found.values()) == chunks


def test_cut_rows_are_two_tasks_a_chunk_and_a_small_tree():
    x, chunks = source()
    found = tasks(nkd.instance_norm(x))
    assert found["moments"] == found["normalised"] == chunks
    assert sum(found.values()) <= 2.5 * chunks


SOURCES = {
    "read": (lambda x: x, True),
    "cast": (lambda x: x.astype(np.float64).T[..., 0], True),
    "sliced": (lambda x: x[:, :, 3:-2, ::2], True),
    "put together": (lambda x: x.rechunk((4, 4, 8, 8)), False),
    "reduced": (lambda x: x - x.mean(), False),
}


@pytest.mark.parametrize("made", SOURCES)
def test_chunks_that_need_one_chunk_each_are_computed_again(made):
    make, one_by_one = SOURCES[made]
    numbers = normal((4, 8, 32, 16), np.float32)
    read = []  # as by tasks of their own

    class Source:
        shape, dtype, ndim = numbers.shape, numbers.dtype, numbers.ndim

        def __getitem__(self, at):
            read.append(at)
            return numbers[at]

    x = make(da.from_array(Source(), chunks=4))
    results = {}
    for recompute in (False, True, None):
        read.clear()
        y = nkd.layer_norm(x, axis=0, recompute=recompute)
        results[recompute] = y.compute(scheduler="synchronous"), len(read)
    once = results[False][1]
    assert results[True][1] == 2 * once
    assert results[None][1] == (2 * once if one_by_one else once)
    assert len({y.tobytes() for y, _ in results.values()}) == 1


def test_equal_calls_have_equal_keys():
    for call in (nkd.layer_norm, nkd.instance_norm, lambda x: nkd.local_response_norm(x, 3)):
        assert call(X).name == call(X).name
    assert nkd.layer_norm(X).name != nkd.layer_norm(X, epsilon=1).name
