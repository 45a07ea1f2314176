"""Clocks: the best of several rounds in which the contestants take turns."""

import contextlib
import gc
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..common.machine import TASKS, tasks

SAMPLE_NS = 200_000  # one sample: long enough that the clock's own cost does not show, and short
# beside the milliseconds for which another process may take a CPU away
TURN_NS = 2_000_000  # so many samples make a turn
BUDGET_NS = 300_000_000  # a contestant that used this much stops after MIN_ROUNDS
MIN_ROUNDS = 3
HOPELESS = 1.5  # a rival that takes so many times as long as another stops then, too
WARM_NS = 20_000_000  # a shorter call is made once before its sample: the others had the caches
SPIN_SECONDS = 0.1  # no library's threads wait for work in a loop for longer than this

MACHINE = Path("/proc/stat")


def sample(call: Callable[[], Any], repeats: int) -> int:
    """Nanoseconds of so many calls."""
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, repeats):
        call()
    return time.perf_counter_ns() - start


def plan(call: Callable[[], Any]) -> tuple[int, int]:
    """The calls in a sample and the samples in a turn; warms up on the way."""
    repeats = 1
    while (taken := sample(call, repeats)) < SAMPLE_NS:
        repeats = max(repeats + 1, min(10 * repeats, math.ceil(1.2 * repeats * SAMPLE_NS / taken)))
    return repeats, math.ceil(TURN_NS / taken)


def best_seconds(calls: Sequence[Callable[[], Any]], rounds: int, rivals: int = 0) -> list[float]:
    """The shortest time of one call of each, over rounds in which they take turns.

    The last `rivals` of them are there for the fastest of them alone.
    """
    for call in calls:
        call()
    plans = [plan(call) for call in calls]
    best = [math.inf] * len(calls)
    spent = [0] * len(calls)
    first = len(calls) - rivals
    with no_garbage_collection():
        for turn, place in itertools.product(range(rounds), range(len(calls))):
            i = (place + turn) % len(calls)  # nobody is always the one after the same other
            call = calls[i]
            hopeless = i >= first and best[i] > HOPELESS * min(best[first:])
            if turn >= MIN_ROUNDS and (hopeless or spent[i] > BUDGET_NS):
                continue
            wait_until_quiet()
            if best[i] < WARM_NS:
                call()
            repeats, samples = plans[i]
            taken = [sample(call, repeats) for _ in range(samples)]
            spent[i] += sum(taken)
            best[i] = min(best[i], min(taken) / repeats)
    return [nanoseconds / 1e9 for nanoseconds in best]


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def wait_until_quiet() -> None:
    """Lets the threads of the last contestant fall asleep: pools wait for more in a busy loop."""
    end = time.perf_counter() + SPIN_SECONDS
    while any_other_runs() and time.perf_counter() < end:
        time.sleep(0.0005)


def any_other_runs() -> bool:
    """Whether a thread of this process other than the calling one is running."""
    me = str(threading.get_native_id())
    for task in tasks():
        if task != me:
            with contextlib.suppress(OSError):  # it has ended
                state = (TASKS / task / "stat").read_text().rpartition(")")[2].split()[0]
                if state == "R":
                    return True
    return False


def seconds_of_others() -> float:
    """What the machine's CPUs have spent on all but this process; NaN where it does not tell."""
    if not MACHINE.exists():
        return math.nan
    # After the word cpu: user, nice, system, idle, iowait, irq, softirq, steal, in ticks.
    ticks = [int(text) for text in MACHINE.read_text().split("\n", 1)[0].split()[1:9]]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])
