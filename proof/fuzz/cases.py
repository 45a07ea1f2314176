"""Numbered random cases in a process of their own, so that a crash is a finding like any other.

Case i of a seed is the same whenever it runs: `--case i` runs it alone.
"""

import argparse
import collections
import faulthandler
import gc
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from proof.figures import print_figures

Check = Callable[[random.Random], str]  # returns how the case came out, to be counted
MOST_FINDINGS = 5
PATIENCE = 60  # seconds that one case may take, on a busy machine


def main(name: str, check: Check, doc: str) -> None:
    """The command: status 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog=f"python -m proof.fuzz.{name}", description=doc)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this one alone")
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(check(_generator(arguments.seed, arguments.case)))
        return
    findings = _search(name, check, arguments.seed, arguments.seconds)
    for finding in findings:
        print(finding)
    sys.exit(bool(findings))


def _generator(seed: int, case: int) -> random.Random:
    return random.Random(f"{seed}/{case}")


def _search(name: str, check: Check, seed: int, seconds: float) -> list[str]:
    context = multiprocessing.get_context("fork")
    case = context.RawValue("q", 0)
    receive, send = context.Pipe(duplex=False)
    began = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryFile() as printed:
        arguments = (check, seed, began + seconds, case, (send, printed.fileno()))
        child = context.Process(target=_work, args=arguments)
        child.start()
        send.close()
        if not receive.poll(seconds + PATIENCE):
            child.kill()
        try:
            counts, findings = receive.recv()
        except EOFError:
            child.join()
            how = "does not end" if child.exitcode == -signal.SIGKILL else "ends the process"
            findings = [f"case {case.value} (seed {seed}) {how}: status {child.exitcode}"]
        child.join()
        printed.seek(0)
        if text := printed.read().decode(errors="replace"):
            findings.append(f"printed, in or before case {case.value}:\n{text}")
    figures = {"cases": case.value, **dict(counts.most_common()), "findings": len(findings)}
    print_figures(f"fuzz.{name}", seed, time.monotonic() - began, figures)
    return findings


def _work(check: Check, seed: int, end: float, case: Any, outlets: tuple[Connection, int]) -> None:
    pipe, printed = outlets
    for stream in (1, 2):
        os.dup2(printed, stream)
    faulthandler.enable()
    gc.freeze()  # cases that collect have less to go through
    warnings.simplefilter("error")
    counts: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    while time.monotonic() < end and len(findings) < MOST_FINDINGS:
        try:
            counts[check(_generator(seed, case.value))] += 1
        except Exception:
            findings.append(f"case {case.value} (seed {seed}):\n{traceback.format_exc()}")
        case.value += 1
    pipe.send((counts, findings))
