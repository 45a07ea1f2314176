"""What an import loads, and what comes later: types of results, helpers, threadpoolctl."""

import pickle
import subprocess
import sys

import normkernels as nk
import numpy as np
import pytest
from scenes import run


def test_an_import_loads_little_beside_numpy():
    scene = """
import sys, numpy
before = set(sys.modules)
import normkernels
print(*sorted(set(sys.modules) - before))
"""
    assert run(scene, prelude="") == [
        *("normkernels", "normkernels._core", "normkernels._core.helpers"),
        "normkernels._threadpoolctl",
    ]


# ---- Result types and helpers --------------------------------------------------------------------


def test_a_result_is_of_the_public_type():
    scene = """
import sys, numpy as np, normkernels as nk
nk.layer_norm(np.ones((2, 3)))
print("normkernels._types" in sys.modules)
made = nk.layer_norm(np.ones((2, 3)), return_stats=True)
print(type(made) is nk.LayerNorm, type(nk.isas()[0]) is nk.Isa)
print(nk.moments(np.ones((2, 3))).dtype is nk.moments_dtype)
print(nk.helpers.Moments._fields == ("mean", "rstd"))
"""
    assert run(scene, prelude="") == ["False", "True", "True", "True", "True"]


def test_a_pickled_result_is_read_by_a_process_that_has_imported_nothing():
    made = nk.layer_norm(np.arange(6.0).reshape(2, 3), return_stats=True)
    code = "import pickle, sys; print(repr(pickle.load(sys.stdin.buffer)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(made),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.decode().strip() == repr(made)


def test_threads_that_come_first_find_one_type():
    scene = """
import threading, numpy as np, normkernels as nk
start, types = threading.Barrier(16), set()
def first():
    start.wait()
    types.add(type(nk.layer_norm(np.ones((2, 3)), return_stats=True)))
    types.add(nk.LayerNorm)
threads = [threading.Thread(target=first) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(types))
"""
    assert run(scene, prelude="") == ["1"]


def test_every_name_is_there_before_it_is_asked_for():
    scene = """
import normkernels as nk
print(set(nk.__all__) <= set(dir(nk)))
from normkernels import *
print(all(name in globals() for name in nk.__all__))
"""
    assert run(scene, prelude="") == ["True", "True"]
    with pytest.raises(AttributeError, match="module 'normkernels' has no attribute 'layernorm'"):
        nk.layernorm  # noqa: B018


# ---- threadpoolctl -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["normkernels, threadpoolctl", "threadpoolctl, normkernels"])
def test_limits_hold_whichever_is_imported_first(order):
    pytest.importorskip("threadpoolctl")
    scene = f"""
import {order}
with threadpoolctl.threadpool_limits(1):
    print(normkernels.num_threads())
print(normkernels.num_threads(), threadpoolctl._ALL_USER_APIS.count("normkernels"))
"""
    assert run(scene, prelude="", OMP_NUM_THREADS="3") == ["1", "3", "1"]


def test_threadpoolctl_is_imported_as_ever():
    """Asked about only, imported, reloaded; its own loader is what inspect and others see."""
    pytest.importorskip("threadpoolctl")
    scene = """
import importlib, importlib.util, inspect, sys, normkernels
spec = importlib.util.find_spec("threadpoolctl")
print("threadpoolctl" in sys.modules, spec.origin.endswith("threadpoolctl.py"))
import threadpoolctl
print(type(threadpoolctl.__loader__) is type(inspect.__loader__))
print(threadpoolctl.__spec__.loader is threadpoolctl.__loader__)
print("def register" in inspect.getsource(threadpoolctl))
print(importlib.reload(threadpoolctl)._ALL_USER_APIS.count("normkernels"))
"""
    assert run(scene, prelude="") == ["False", "True", "True", "True", "True", "1"]


@pytest.mark.parametrize("order", ["normkernels, threadpoolctl", "threadpoolctl, normkernels"])
def test_a_threadpoolctl_before_3_2_is_left_alone(order, tmp_path):
    (tmp_path / "threadpoolctl.py").write_text("def threadpool_limits(): ...\n")
    scene = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import {order}
print(threadpoolctl.__file__.startswith(sys.path[0]), normkernels.num_threads())
"""
    assert run(scene, prelude="", OMP_NUM_THREADS="3") == ["True", "3"]


def test_a_process_without_threadpoolctl():
    scene = """
import sys
sys.modules["threadpoolctl"] = None
import normkernels
try:
    import threadpoolctl
except ModuleNotFoundError:
    print("not found")
class Old:
    "A finder as they were before Python 3.4, without find_spec."
    def find_module(self, name, path=None):
        return None
sys.meta_path[1:] = [Old(), *sys.meta_path[1:]]
del sys.modules["threadpoolctl"]
sys.path[:] = []
try:
    import threadpoolctl
except ModuleNotFoundError:
    print("nowhere")
"""
    assert run(scene, prelude="") == ["not", "found", "nowhere"]
