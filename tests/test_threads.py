"""Threads: what forks and limits do to them, and that they keep out of the way."""

import multiprocessing
import subprocess
import threading

import normkernels as nk
import numpy as np
import pytest
from embedding import WHEEL_LIBRARY
from scenes import run

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
    nm = ["nm", "-D", WHEEL_LIBRARY]
    listed = subprocess.run(nm, capture_output=True, text=True, check=True).stdout
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


# ---- Many callers, and none ----------------------------------------------------------------------


def test_many_callers_at_once():
    x = np.random.default_rng(2).standard_normal((64, 300, 24)).astype(np.float32)
    calls = [
        lambda n: nk.layer_norm(x, num_threads=n),
        lambda n: nk.instance_norm(x, num_threads=n),
        lambda n: nk.group_norm(x, 3, num_threads=n),
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


@pytest.mark.parametrize("plugin", ["carries it", "links it", "is it"])
def test_the_library_stays_loaded_once_it_has_threads(plugin, static_library, tmp_path):
    """dlclose() of a plugin that has the library must not take their code away."""
    path = WHEEL_LIBRARY if plugin == "is it" else tmp_path / "plugin.so"
    if plugin == "carries it":
        whole = ["-Wl,--whole-archive", static_library, "-Wl,--no-whole-archive"]
        subprocess.run(["cc", "-shared", "-o", path, *whole], check=True)
    elif plugin == "links it":
        linked = ["-Wl,--no-as-needed", WHEEL_LIBRARY, f"-Wl,-rpath,{WHEEL_LIBRARY.parent}"]
        subprocess.run(["cc", "-shared", "-o", path, *linked], check=True)
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
    run(scene, str(path), prelude="")
