"""Scenes: what may hang or end the process runs in a process of its own, with a time limit."""

import os
import subprocess
import sys

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


def run(scene, *arguments, prelude=PRELUDE, timeout=60, **variables):
    """The output of a scene that must end well and in time, and print nothing by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prelude + scene, *arguments],
        env=plain_environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert not done.stderr
    return done.stdout.split()
