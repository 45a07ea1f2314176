"""Clocks and processors: the best of several rounds in which the contestants take turns."""

import contextlib
import gc
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SAMPLE_NS = 2_000_000  # one sample: long enough that the clock's own cost does not show
BUDGET_NS = 1_500_000_000  # a contestant that used this much stops after MIN_ROUNDS
MIN_ROUNDS = 3


def sample(call: Callable[[], Any], repeats: int) -> int:
    """Nanoseconds of so many calls."""
    start = time.perf_counter_ns()
    for _ in itertools.repeat(None, repeats):
        call()
    return time.perf_counter_ns() - start


def repeats_per_sample(call: Callable[[], Any]) -> int:
    """How often to call so that one sample takes SAMPLE_NS; warms up on the way."""
    repeats = 1
    while (taken := sample(call, repeats)) < SAMPLE_NS:
        repeats = max(repeats + 1, min(10 * repeats, math.ceil(1.2 * repeats * SAMPLE_NS / taken)))
    return repeats


def best_seconds(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """The shortest time of one call of each, over rounds in which they take turns."""
    for call in calls:
        call()
    repeats = [repeats_per_sample(call) for call in calls]
    best = [math.inf] * len(calls)
    spent = [0] * len(calls)
    with no_garbage_collection():
        for turn, (i, call) in itertools.product(range(rounds), enumerate(calls)):
            if turn >= MIN_ROUNDS and spent[i] > BUDGET_NS:
                continue
            taken = sample(call, repeats[i])
            spent[i] += taken
            best[i] = min(best[i], taken / repeats[i])
    return [nanoseconds / 1e9 for nanoseconds in best]


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keeps the process on the last CPUs that it may use (the first gets most interrupts).

    Must come before a library starts its threads, since those keep the CPUs they were born with.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
