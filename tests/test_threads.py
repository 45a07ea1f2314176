"""Threads: the number of them, and what happens to them in a forked child."""

import subprocess
import sys

import normkernels as nk
import numpy as np
import pytest

FORK = """
import os, sys
import numpy as np, normkernels as nk
x = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
y = nk.layer_norm(x, num_threads=2)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(nk.layer_norm(x, num_threads=2), y) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_computes_the_same_and_does_not_hang():
    """The threads that the parent has started are not in the child."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=60, check=False)
    assert done.returncode == 0


def test_the_default_number_of_threads_is_set_and_reset():
    automatic = nk.num_threads()
    assert automatic >= 1
    try:
        nk.set_num_threads(3)
        assert nk.num_threads() == 3
        x = np.random.default_rng(0).standard_normal((512, 1024))
        assert np.array_equal(nk.layer_norm(x), nk.layer_norm(x, num_threads=1))
    finally:
        nk.set_num_threads(0)
    assert nk.num_threads() == automatic
    with pytest.raises(ValueError, match="-1"):
        nk.set_num_threads(-1)
