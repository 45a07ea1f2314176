"""Threads and processes under stress: many callers, forks in every state of the pool, one
processor, a quota, no threads, no memory, signals. Right results or MemoryError, and no hang.

Each scenario is a process of its own; those that tests/test_threads.py has, too, are longer here.
"""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import scenes

from proof.figures import print_figures

# ---- Many callers

CALLERS = """
calls = [
    lambda n: nk.layer_norm(x, num_threads=n),
    lambda n: nk.rms_norm_backward(x, x, num_threads=n).dx,
    lambda n: nk.instance_norm(x.reshape(7, 100, 1100), num_threads=n),
    lambda n: nk.group_norm(x.reshape(7, 100, 1100), 5, order="NCHW", num_threads=n),
    lambda n: nk.local_response_norm(x[:60].reshape(6, 10, 1100), 5, num_threads=n),
    lambda n: nk.instance_norm_backward(x.reshape(7, 1100, 100), x.reshape(7, 1100, 100),
                                        order="NHWC", num_threads=n).dx,
    lambda n: nk.layer_norm(x.astype(np.float16), num_threads=n),
]
wanted = [call(1).tobytes() for call in calls]
end, done, wrong = time.monotonic() + float(sys.argv[1]), [0] * 32, []
def caller(number):
    while time.monotonic() < end:
        which = (number + done[number]) % len(calls)
        if calls[which](number % 4).tobytes() != wanted[which]:
            wrong.append(which)
        done[number] += 1
threads = [threading.Thread(target=caller, args=(number,)) for number in range(32)]
for thread in threads: thread.start()
while any(thread.is_alive() for thread in threads):
    nk.set_num_threads(done[0] % 4)  # meanwhile
    time.sleep(0.01)
assert not wrong, wrong
assert min(done) > 0
print(sum(done))
"""

# ---- Forks: 200 in each state of the pool

FORKS = """
stop = threading.Event()
def calls():
    while not stop.is_set():
        own()
def fork_all():
    for i in range(int(sys.argv[2])):
        code = child(lambda: (own(2 + i % 3), own()))
        assert code == 0, (i, code)
state = sys.argv[1]
callers = [threading.Thread(target=calls) for _ in range(2 if state == "in calls" else 0)]
for caller in callers: caller.start()
if state == "idle": own()
if state == "set": own(); nk.set_num_threads(3)
if state == "in a thread":
    own()
    result = []
    thread = threading.Thread(target=lambda: (fork_all(), result.append(1)))
    thread.start()
    thread.join()
    assert result
else:
    fork_all()
stop.set()
for caller in callers: caller.join()
own()
print(sys.argv[2])
"""
STATES = ["before", "idle", "in calls", "set", "in a thread"]

# ---- What the system does not give

LIMITS = """
which, number = sys.argv[1], 0
def as_nobody():
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
if which == "one processor":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if which == "quota":
    assert nk.num_threads() == 1, nk.num_threads()
if which == "no threads":
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    as_nobody()
y = np.empty_like(x)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for threads in (None, 1, 2, 8, 64):
        nk.layer_norm(x, out=y, num_threads=threads)
        assert np.array_equal(y, want)
        number += 1
print(number)
"""

# Every limit from what the process has now on, until a large call finds the memory that it needs.
# Large arrays are to be the system's each time, not what malloc has kept of the last one.
MEMORY = """
M_MMAP_THRESHOLD = -3
assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
number, errors = 0, 0
rows = np.concatenate([x] * 4)
calls = [lambda: nk.layer_norm(rows), lambda: nk.layer_norm_backward(rows, rows, means, means).dx,
         lambda: nk.instance_norm_backward(rows.reshape(4, 700, 1100), rows.reshape(4, 700, 1100),
                                           order="NHWC").dx]
means = np.ones((len(rows), 1), np.float32)
wanted = [call().tobytes() for call in calls]
for which, call in enumerate(calls):
    for kib in range(0, 16384, 256):
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 1024 * kib, resource.RLIM_INFINITY))
        try:
            result = call()
        except MemoryError:
            result, errors = None, errors + 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert result is None or result.tobytes() == wanted[which], (which, kib)
        del result
        number += 1
assert 0 < errors < number, (errors, number)
print(number)
"""

# ---- Signals

SIGNALS = """
came = {}
def handler(number, frame):
    came[number] = came.get(number, 0) + 1
for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGPROF):
    signal.signal(number, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
end, number = time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    if number % 50 == 0:
        pid = os.fork()
        if pid == 0: os._exit(0)
        os.waitpid(pid, 0)
    own(1 + number % 4)
    number += 1
signal.setitimer(signal.ITIMER_REAL, 0)
signal.setitimer(signal.ITIMER_PROF, 0)
assert all(came.get(n, 0) > 0 for n in (signal.SIGCHLD, signal.SIGALRM, signal.SIGPROF)), came
print(number)
"""


def _quota(seconds: str) -> list[str]:
    """In a control group of half a processor: of version 1 or 2, where one can be made."""
    for root, name, text in (
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"),
        ("/sys/fs/cgroup", "cpu.max", "50000 100000"),
    ):
        try:
            group = Path(tempfile.mkdtemp(prefix="normkernels-", dir=root))
        except OSError:
            continue
        try:
            (group / name).write_text(text)
            enter = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
            return _run(enter + "\n" + scenes.PRELUDE + LIMITS, "quota", seconds, prelude="")
        except FileNotFoundError:
            continue  # the other version
        finally:
            group.rmdir()
    return ["no control group can be made here: not run"]


def _run(scene: str, *arguments: str, **options: str) -> list[str]:
    return scenes.run(scene, *arguments, timeout=3600, **options)  # type: ignore[arg-type]


def scenarios(seconds: float, forks: int) -> dict[str, Callable[[], list[str]]]:
    """By name; each returns how many calls (or forks) there were."""
    each, short = str(seconds), str(min(seconds, 5))
    limits = {
        f"calls with {which}": lambda which=which: _run(LIMITS, which, short)
        for which in ("one processor", "no threads")
    }
    return {
        "calls of 32 threads": lambda: _run(CALLERS, each),
        **{
            f"forks, {state}": lambda state=state: _run(FORKS, state, str(forks))
            for state in STATES
        },
        **limits,
        "calls with half a processor's quota": lambda: _quota(short),
        "calls at the limit of memory": lambda: _run(MEMORY),
        "calls under signals": lambda: _run(SIGNALS, short),
    }


def main() -> None:
    """Status 1 for a scenario that fails."""
    parser = argparse.ArgumentParser(prog="python -m proof.processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of the many callers")
    parser.add_argument("--forks", type=int, default=200, help="in each state of the pool")
    arguments = parser.parse_args()
    began, figures, findings = time.monotonic(), dict[str, object](), 0
    for name, scenario in scenarios(arguments.seconds, arguments.forks).items():
        try:
            figures[name] = " ".join(scenario())
        except Exception:
            findings += 1
            print(f"{name}:\n{traceback.format_exc(limit=-2)}")
            figures[name] = "failed"
    print_figures("processes", None, time.monotonic() - began, {**figures, "findings": findings})
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
