"""How many threads: what the environment, other libraries and our own setting say."""

import subprocess
import sys

import normkernels as nk
import numpy as np
import pytest
from scenes import plain_environment, run

# ---- The number of threads -----------------------------------------------------------------------

NUMBERS = "print(nk.num_threads(), len(os.sched_getaffinity(0)))"


@pytest.mark.parametrize(
    ("expected", "variables"),
    [
        ("3", {"NORMKERNELS_NUM_THREADS": "3"}),
        ("3", {"NORMKERNELS_NUM_THREADS": " 3 ", "OMP_NUM_THREADS": "2", "OMP_THREAD_LIMIT": "1"}),
        ("1024", {"NORMKERNELS_NUM_THREADS": "99999999999999999999"}),
        ("5", {"OMP_NUM_THREADS": "5"}),
        ("5", {"OMP_NUM_THREADS": "5", "NORMKERNELS_NUM_THREADS": "0"}),
        ("4", {"OMP_NUM_THREADS": "4,2"}),
        ("4", {"OMP_NUM_THREADS": " 4 , 2"}),
        ("2", {"OMP_NUM_THREADS": "4,2", "OMP_THREAD_LIMIT": "2"}),
        ("1", {"OMP_THREAD_LIMIT": "1"}),
        ("1024", {"OMP_NUM_THREADS": "5000"}),
        (None, {}),
        (None, {"NORMKERNELS_NUM_THREADS": "", "OMP_NUM_THREADS": ""}),
        (None, {"NORMKERNELS_NUM_THREADS": "0", "OMP_NUM_THREADS": "many"}),
        (None, {"OMP_NUM_THREADS": "0", "OMP_THREAD_LIMIT": "-1"}),
        (None, {"OMP_NUM_THREADS": "2.5"}),
    ],
)
def test_the_environments_number(expected, variables):
    prelude = "import os, normkernels as nk\n"
    found, affine = run(NUMBERS, prelude=prelude, **variables)
    if expected is None:  # a quota may leave fewer
        assert 1 <= int(found) <= int(affine)
    else:
        assert found == expected


@pytest.mark.parametrize("value", ["many", "-1", "2.5", "4,2", "0x2", "3 threads", "- 3", "\udcff"])
def test_a_number_that_cannot_be_understood_stops_the_import(value):
    done = subprocess.run(
        [sys.executable, "-c", "import normkernels"],
        env=plain_environment(NORMKERNELS_NUM_THREADS=value),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last == (
        "ImportError: the environment variable NORMKERNELS_NUM_THREADS is "
        f"'{value.replace(chr(0xDCFF), chr(92) + 'xff')}', "
        "must be a whole number of 0 (automatic) or more"
    )


def test_affinity_limits_the_number():
    scene = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import normkernels as nk
print(nk.num_threads())
"""
    assert run(scene, prelude="") == ["1"]


def test_the_number_of_an_openmp_runtime_in_the_process_holds():
    scene = """
runtime = ctypes.CDLL("libgomp.so.1")
runtime.omp_set_num_threads(1)
before = threads_now()
nk.layer_norm(x)
print(nk.num_threads(), threads_now() - before)
nk.set_num_threads(2)
nk.layer_norm(x)
print(nk.num_threads(), threads_now() - before)
"""
    assert run(scene, OMP_NUM_THREADS="4") == ["1", "0", "2", "1"]


def test_a_call_in_a_parallel_region_of_openmp_starts_no_threads():
    scene = """
before = threads_now()
seen = []
@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def region(_):
    own()
    seen.append(threads_now() - before)
ctypes.CDLL("libgomp.so.1").GOMP_parallel(region, None, ctypes.c_uint(2), ctypes.c_uint(0))
own()
print(*seen, threads_now() - before)
"""
    # The region's other thread; then ours, too.
    assert run(scene) == ["1", "1", "2"]


def test_the_default_number_of_threads_is_set_and_reset():
    automatic = nk.num_threads()
    assert automatic >= 1
    try:
        nk.set_num_threads(3)
        assert nk.num_threads() == 3
        x = np.random.default_rng(0).standard_normal((512, 1024))
        assert np.array_equal(nk.layer_norm(x), nk.layer_norm(x, num_threads=1))
        nk.set_num_threads(1025)
        assert nk.num_threads() == 1024
    finally:
        nk.set_num_threads(0)
    assert nk.num_threads() == automatic
    with pytest.raises(ValueError, match="-1"):
        nk.set_num_threads(-1)


# ---- Other pools ---------------------------------------------------------------------------------


def test_threadpoolctl_sees_and_limits_the_threads():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    (seen,) = [api for api in threadpoolctl.threadpool_info() if api["user_api"] == "normkernels"]
    automatic = nk.num_threads()
    assert seen["num_threads"] == automatic
    assert seen["version"] == nk.__version__
    with threadpoolctl.threadpool_limits(1):
        assert nk.num_threads() == 1
    assert nk.num_threads() == automatic
    try:
        nk.set_num_threads(5)
        with threadpoolctl.threadpool_limits({"normkernels": 2}):
            assert nk.num_threads() == 2
        assert nk.num_threads() == 5
    finally:
        nk.set_num_threads(0)


def _threads_and_bits(x, want):
    return nk.num_threads(), np.array_equal(nk.layer_norm(x), want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend):
    joblib = pytest.importorskip("joblib")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    x = np.random.default_rng(1).standard_normal((600, 1024)).astype(np.float32)
    want = nk.layer_norm(x, num_threads=1)
    with (
        threadpoolctl.threadpool_limits(1),
        joblib.parallel_config(backend, n_jobs=2, inner_max_num_threads=None),
    ):
        results = joblib.Parallel()(joblib.delayed(_threads_and_bits)(x, want) for _ in range(8))
    # loky tells its workers their share of the processors by OMP_NUM_THREADS.
    share = max(1, joblib.cpu_count() // 2) if backend == "loky" else 1
    assert results == [(share, True)] * 8


def test_dask():
    pytest.importorskip("distributed")
    scene = """
import distributed
if __name__ == "__main__":
    settings = dict(n_workers=1, threads_per_worker=2, dashboard_address=None)
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        numbers = client.map(lambda i: (nk.num_threads(), own(None))[0], range(4))
        print(*client.gather(numbers))
"""
    assert set(run(scene)) == {"1"}
