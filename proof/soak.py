"""The random tests of the suite, with new seeds for as long as is given: every operator, dtype,
layout, stride, out=, number of threads and instruction set, against the reference.

Every few rounds run in several Python threads at once. What is allocated is sampled after each
round and must not grow once there were rounds of all kinds. What the process holds is not looked
at: it grows by the gaps that malloc leaves between arrays of all sizes.
"""

import argparse
import ctypes
import functools
import gc
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import hypothesis
import numpy as np
import test_bits_random
import test_half_random
import test_property
import test_views_random

from proof.figures import print_figures

Test = Callable[[], None]
AT_ONCE = 7  # every so many rounds tests run side by side; shares no factor with their number
WARM_UP = 3 * AT_ONCE  # rounds, until every test and as many threads have had their memory
GROWTH = 8 << 20  # bytes that Python, NumPy and hypothesis may keep back in half of the rest
JUDGED = 10 * WARM_UP  # rounds: in fewer, what hypothesis caches of each new example still grows
MOST_FINDINGS = 5


class Soak:
    """Runs rounds of tests, and counts."""

    def __init__(self, seed: int) -> None:
        self.cases, self.rounds, self.findings = 0, 0, list[str]()
        self._seed = seed
        # Those whose bounds hold whichever instruction set another thread forces meanwhile.
        self._within_bounds = self._tests(test_property)
        self._alone = [
            *self._within_bounds,
            *self._tests(test_bits_random),
            *self._tests(test_half_random),
            *self._tests(test_views_random),
        ]

    def _tests(self, module: object) -> list[Test]:
        return [self._counted(test) for name, test in vars(module).items() if name[:5] == "test_"]

    def _counted(self, test: Test) -> Test:
        inner = test.hypothesis.inner_test  # type: ignore[attr-defined]

        @functools.wraps(inner)
        def counted(*arguments: object, **keywords: object) -> None:
            self.cases += 1
            inner(*arguments, **keywords)

        test.hypothesis.inner_test = counted  # type: ignore[attr-defined]
        return test

    def round(self) -> None:
        """One test, or several in as many threads."""
        self.rounds += 1
        if self.rounds % AT_ONCE:
            self._run(self._alone[self.rounds % len(self._alone)], self._seed + self.rounds)
            return
        threads = [
            threading.Thread(target=self._run, args=(test, self._seed + self.rounds))
            for test in self._within_bounds
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, test: Test, seed: int) -> None:
        try:
            hypothesis.seed(seed)(test)()
        except Exception:
            self.findings.append(f"round {self.rounds}, seed {seed}:\n{traceback.format_exc()}")


class Malloc(ctypes.Structure):
    """What glibc's mallinfo2() returns."""

    _fields_ = [
        *[(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")],
        *[(name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")],
        ("keepcost", ctypes.c_size_t),
    ]


def allocated() -> int:
    """Bytes that are allocated and not freed."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Malloc
    found = ask()
    return found.uordblks + found.hblkhd


def main() -> None:
    """Status 1 for a mismatch, or for memory that grows."""
    parser = argparse.ArgumentParser(prog="python -m proof.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=hypothesis.errors.NonInteractiveExampleWarning)
    soak, samples = Soak(arguments.seed), list[int]()
    began = time.monotonic()
    end = began + 60 * arguments.minutes
    while time.monotonic() < end and len(soak.findings) < MOST_FINDINGS:
        soak.round()
        gc.collect()
        samples.append(allocated())
    halves = [np.median(half) for half in np.array_split(samples[WARM_UP:], 2) if half.size]
    judged = len(samples) >= JUDGED
    growth = halves[1] - halves[0] if judged else 0
    if growth > GROWTH:
        soak.findings.append(f"memory grows, bytes after each round: {samples}")
    for finding in soak.findings:
        print(finding)
    figures = {
        **{"rounds": soak.rounds, "cases": soak.cases},
        "MiB allocated on the way": " ".join(
            f"{n / 2**20:.0f}" for n in samples[:: max(1, len(samples) // 8)]
        ),
        "growth after the warm-up in MiB": f"{growth / 2**20:.1f}" if judged else "too short",
        "findings": len(soak.findings),
    }
    print_figures("soak", arguments.seed, time.monotonic() - began, figures)
    sys.exit(bool(soak.findings))


if __name__ == "__main__":
    main()
