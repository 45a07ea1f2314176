"""Who computes: torch's own threads, as many as torch says, and none that a fork left behind."""

import pytest
from scenes import run

pytest.importorskip("torch")

PRELUDE = """
import multiprocessing, os, signal, sys, threading
import torch
import normkernels as nk, normkernels.torch as nkt
from normkernels.torch.threads import EXECUTORS

torch.set_num_threads(2)
x = torch.randn(700, 1100, generator=torch.Generator().manual_seed(0))
want = nk.layer_norm(x.numpy(), num_threads=1).tobytes()

def ours():
    "And no function of torch's that runs in parallel: after a fork, those hang."
    assert nkt.layer_norm(x, (1100,)).numpy().tobytes() == want

def theirs():
    torch.nn.functional.layer_norm(x, (1100,))

def arrays():
    nk.layer_norm(x.numpy(), num_threads=2)

def threads_now():
    return len(os.listdir("/proc/self/task"))

def child(f):
    "The exit status of a forked child that runs f; SIGALRM's if it hangs."
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 1
        try:
            f()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def torch_scene(scene, *arguments, **variables):
    return run(scene, *arguments, prelude=PRELUDE, **variables)


def test_calls_run_on_the_threads_of_torch():
    scene = """
theirs()
before = threads_now()
for _ in range(3):
    ours()
assert threads_now() == before, (threads_now(), before)
arrays()
assert threads_now() == before + 1, (threads_now(), before)
"""
    torch_scene(scene)


def test_no_more_threads_than_torch_says():
    scene = """
torch.set_num_threads(1)
before = threads_now()
ours()
assert threads_now() == before, (threads_now(), before)
torch.set_num_threads(3)
ours()
assert threads_now() == before + 2, (threads_now(), before)
"""
    torch_scene(scene)


def test_without_openmp_they_are_the_librarys():
    scene = """
EXECUTORS.clear()
EXECUTORS.addresses = None
before = threads_now()
ours()
assert EXECUTORS == {2: 2}
assert threads_now() == before + 1
"""
    torch_scene(scene)


@pytest.mark.parametrize("before", ["ours", "theirs", "theirs+ours+arrays"])
def test_a_forked_child_computes_on_threads_of_its_own(before):
    """The runtime's region would wait there for workers that only the parent has."""
    scene = """
for name in sys.argv[1].split("+"):
    {"ours": ours, "theirs": theirs, "arrays": arrays}[name]()
def parallel():
    ours()
    assert threads_now() == 2, threads_now()
    ours()
    assert child(ours) == 0
assert child(parallel) == 0
ours()
"""
    torch_scene(scene, before)


def test_training_in_several_threads_at_once():
    scene = """
weight = torch.ones(1100, requires_grad=True)
def gradient():
    return torch.autograd.grad(nkt.layer_norm(x, (1100,), weight).square().sum(), weight)[0]
expected, found = gradient(), []
threads = [threading.Thread(target=lambda: found.append(gradient())) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 8
assert all(torch.equal(g, expected) for g in found)
"""
    torch_scene(scene)


LOADER = """
class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        w = torch.ones(1100, requires_grad=True)
        y = nkt.layer_norm(x, (1100,), w)
        y.sum().backward()
        assert torch.get_num_threads() == 1
        return y.detach()

if __name__ == "__main__":
    theirs(), ours()
    method = sys.argv[1]
    loader = torch.utils.data.DataLoader(
        Rows(), num_workers=2, timeout=40, multiprocessing_context=method
    )
    assert all(y.numpy().tobytes() == want for y in loader)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader(method, tmp_path):
    file = tmp_path / "loader.py"  # workers that are spawned import it
    file.write_text(PRELUDE + LOADER)
    run("import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')", file, method)


PROCESSES = """
def work(model, results):
    torch.set_num_threads(1)  # as torch's own workers do: torch itself hangs after a fork otherwise
    model(x).square().sum().backward()
    results.put(model.weight.grad.numpy().tobytes())

if __name__ == "__main__":
    theirs(), ours()
    model = nkt.LayerNorm(1100)
    model.share_memory()
    processes = torch.multiprocessing.get_context(sys.argv[1])
    results = processes.SimpleQueue()
    workers = [processes.Process(target=work, args=(model, results)) for _ in range(2)]
    for worker in workers: worker.start()
    found = {results.get() for _ in workers}
    for worker in workers: worker.join()
    work(model, results)
    assert found == {results.get()}
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_share_a_model(method, tmp_path):
    file = tmp_path / "processes.py"
    file.write_text(PRELUDE + PROCESSES)
    run("import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')", file, method)
