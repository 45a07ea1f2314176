"""Threads: how many, what forks and limits do to them, and that they keep out of the way.

What may hang or end the process runs in a process of its own, with a time limit.
"""

import multiprocessing
import os
import subprocess
import sys
import threading

import normkernels as nk
import numpy as np
import pytest

PRELUDE = """
import ctypes, os, resource, signal, sys, threading, time
os.sched_setaffinity(0, range(os.cpu_count()))
import numpy as np, normkernels as nk

x = np.random.default_rng(4).standard_normal((700, 1100)).astype(np.float32)
want = nk.layer_norm(x, num_threads=1)

def own(threads=2):
    assert np.array_equal(nk.layer_norm(x, num_threads=threads), want)

def threads_now():
    return len(os.listdir("/proc/self/task"))

def foreign():
    "A parallel region of GNU's OpenMP, as torch or a BLAS would run one."
    runtime, libc = ctypes.CDLL("libgomp.so.1"), ctypes.CDLL(None)
    nothing = ctypes.cast(libc.getpid, ctypes.c_void_p)
    runtime.GOMP_parallel(nothing, None, ctypes.c_uint(2), ctypes.c_uint(0))

def child(f):
    "The exit status of a forked child that runs f; SIGALRM's if it hangs."
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            f()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def plain_environment(**variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "NORMKERNELS_"))}
    return kept | variables


def run(scene, *arguments, prelude=PRELUDE, **variables):
    """The output of a scene that must end well, within a minute, and print nothing by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prelude + scene, *arguments],
        env=plain_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert not done.stderr
    return done.stdout.split()


# ---- Fork ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["nothing", "own", "foreign", "own+foreign", "foreign+own"])
def test_a_forked_child_computes_in_parallel(before):
    """The parent's threads are not in the child, whoever started them."""
    scene = """
for name in sys.argv[1].split("+"):
    {"nothing": lambda: None, "own": own, "foreign": foreign}[name]()
def parallel():
    own()
    assert threads_now() == 2, threads_now()
    own()
assert child(parallel) == 0
own()
"""
    run(scene, before)


def test_a_child_of_a_child_and_many_children():
    scene = """
own()
def grandchild():
    own()
    assert child(own) == 0
assert child(grandchild) == 0
for _ in range(200):
    assert child(own) == 0
own()
"""
    run(scene)


def test_fork_in_the_middle_of_another_threads_call():
    scene = """
stop = False
def calls():
    while not stop:
        own()
callers = [threading.Thread(target=calls) for _ in range(2)]
for thread in callers: thread.start()
codes = [child(lambda: (own(), own())) for _ in range(40)]
stop = True
for thread in callers: thread.join()
assert codes == [0] * 40, codes
"""
    run(scene)


def _same_bits_in_a_process(x, want):
    return np.array_equal(nk.layer_norm(x, num_threads=2), want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    x = np.random.default_rng(1).standard_normal((600, 1024)).astype(np.float32)
    want = nk.layer_norm(x, num_threads=2)
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = [pool.apply_async(_same_bits_in_a_process, (x, want)) for _ in range(6)]
        assert all(result.get(timeout=60) for result in results)


def test_data_loader_after_a_torch_operator():
    pytest.importorskip("torch")
    scene = """
import torch
class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, i):
        own(None)
        return nk.num_threads()
torch.set_num_threads(2)
torch.nn.functional.layer_norm(torch.ones(2000, 1000), (1000,))
own(None)
load = torch.utils.data.DataLoader
numbers = load(Rows(), num_workers=2, timeout=20, multiprocessing_context="fork")
print(*{int(n) for n in numbers})
"""
    # torch sets its workers' OpenMP to one thread, and that holds here, too.
    assert run(scene) == ["1"]


# ---- No thread to be had -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["processes", "memory"])
@pytest.mark.parametrize("started", ["0", "1"])
def test_what_cannot_be_started_is_done_without(limit, started):
    scene = """
if sys.argv[2] == "1": own()
if sys.argv[1] == "processes":  # as `ulimit -u`; it does not hold for root
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
else:
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
y = nk.layer_norm(x, out=x, num_threads=8)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert np.array_equal(y, want)
"""
    run(scene, limit, started)


def test_no_memory_is_asked_for_by_a_thread_that_has_started():
    """Variables of the thread would: without memory for them, the C library ends the process."""
    library = os.path.join(nk.get_cmake_dir(), "../../libnormkernels.a")
    listed = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
    assert "pthread_create" in listed
    assert "__tls_get_addr" not in listed
    scene = """
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
out = np.empty_like(x)
resource.setrlimit(resource.RLIMIT_AS, (size + 24000 * 1024, resource.RLIM_INFINITY))
for _ in range(5):
    nk.layer_norm(x, out=out, num_threads=64)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert np.array_equal(out, want)
"""
    run(scene)


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


# ---- Many callers, and none ----------------------------------------------------------------------


def test_many_callers_at_once():
    x = np.random.default_rng(2).standard_normal((64, 300, 24)).astype(np.float32)
    calls = [
        lambda n: nk.layer_norm(x, num_threads=n),
        lambda n: nk.instance_norm(x, num_threads=n),
        lambda n: nk.local_response_norm(x, 5, num_threads=n),
        lambda n: nk.instance_norm_backward(x, x, order="NHWC", num_threads=n).dx,
    ]
    wanted = [call(1) for call in calls]
    wrong = []

    def caller(number):
        for i in range(number, number + 40):
            which = i % len(calls)
            if not np.array_equal(calls[which](2 + i % 3), wanted[which]):
                wrong.append(which)

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_idle_workers_use_no_processor_time():
    scene = """
alone = threads_now()
own()
assert threads_now() == alone + 1
time.sleep(0.05)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before)
"""
    (used,) = run(scene)
    assert float(used) < 0.02


def test_the_interpreter_ends_while_threads_call():
    scene = """
def calls():
    while True:
        own()
for _ in range(3):
    threading.Thread(target=calls, daemon=True).start()
time.sleep(0.2)
"""
    run(scene)


def test_the_library_stays_loaded_once_it_has_threads(tmp_path):
    """dlclose() of a plugin that carries the library must not take their code away."""
    plugin = tmp_path / "plugin.so"
    library = os.path.join(nk.get_cmake_dir(), "../../libnormkernels.a")
    subprocess.run(
        ["cc", "-shared", "-o", plugin, "-Wl,--whole-archive", library, "-Wl,--no-whole-archive"],
        check=True,
    )
    scene = """
import ctypes, _ctypes, sys, time
for _ in range(3):
    plugin = ctypes.CDLL(sys.argv[1])
    data, two = (ctypes.c_float * 2000000)(), ctypes.create_string_buffer(24)
    ctypes.c_uint32.from_buffer(two, 0).value = 24
    ctypes.c_int32.from_buffer(two, 4).value = 2
    forward = plugin.normkernels_layer_norm_forward
    extent, epsilon = ctypes.c_int64(1000), ctypes.c_double(1e-5)
    columns = ctypes.c_int64(2000)
    status = forward(1, extent, columns, data, None, None, epsilon, data, None, None, two)
    assert status == 0, status
    _ctypes.dlclose(plugin._handle)
    time.sleep(0.05)
"""
    run(scene, str(plugin), prelude="")
