"""The bars: what the speed must reach, case by case, and which of them hold.

A new bar is one line in BARS. r is the time of the best other library over ours, c that of the
copy over ours, both with out=.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..common.case import Case
from ..common.markdown import count_threads, markdown_table
from .caches import MIB, Caches, place
from .cases import TINY
from .result import Result, by_threads, geometric_mean

NEAR_COPY = 1.4  # another library within this many times the copy leaves less room above it
SHORT = range(2, 65)  # elements that a norm takes together
SIZES = range(3, 12)
FAST_BETAS = (0.5, 0.75, 1.0)
NOISE = 1.03  # of two times of the same code
SHOWN = 5  # cases named below the table for a bar that fails


class Run:
    """All results, so that a bar can hold one case against another."""

    def __init__(self, results: Sequence[Result], caches: Caches) -> None:
        self.caches = caches
        self.by_case = {(result.case, result.threads): result for result in results}

    def seconds(self, case: Case, threads: int) -> float:
        found = self.by_case.get((case, threads))
        return found.ours if found else math.nan

    def place(self, result: Result) -> str:
        return place(result.moved, self.caches, result.threads)


Value = Callable[[Result, Run], float]  # NaN: the bar is not for this case


@dataclass(frozen=True)
class Bar:
    name: str
    needed: float
    value: Value
    at_most: bool = False
    mean: bool = False  # what counts is the geometric mean over the cases

    def reached(self, value: float) -> bool:
        return value <= self.needed if self.at_most else value >= self.needed


def near_copy(result: Result) -> bool:
    return result.best_seconds <= NEAR_COPY * result.copy


def ahead(result: Result, run: Run) -> float:
    return math.nan if near_copy(result) else result.r


def ahead_near_copy(result: Result, run: Run) -> float:
    return result.r if near_copy(result) else math.nan


def norm(direction: str, where: str) -> Value:
    """c of a norm whose bytes sit there; short rows have a bar of their own."""

    def value(result: Result, run: Run) -> float:
        case = result.case
        meant = case.operator != "LRN" and case.direction == direction and case.extent not in SHORT
        return result.c if meant and run.place(result) == where else math.nan

    return value


def short_rows(result: Result, run: Run) -> float:
    meant = result.case.operator != "LRN" and result.case.extent in SHORT
    # What sits in L1 is a matter of the call, not of the rows.
    return result.c if meant and run.place(result) != "L1" else math.nan


def lrn(direction: str) -> Value:
    def value(result: Result, run: Run) -> float:
        case = result.case
        meant = case.operator == "LRN" and case.direction == direction
        meant = meant and case.size in SIZES and case.beta in FAST_BETAS
        return result.c if meant else math.nan

    return value


def general_beta(result: Result, run: Run) -> float:
    """Over the time at beta 0.75."""
    case = result.case
    if case.operator != "LRN" or case.beta in FAST_BETAS:
        return math.nan
    usual = Case(case.operator, case.direction, case.shape, case.order, case.size)
    return result.ours / run.seconds(usual, result.threads)


def channels_last(result: Result, run: Run) -> float:
    """Over the time in NCHW."""
    if result.case.order != "NHWC":
        return math.nan
    return result.ours / run.seconds(result.case.in_nchw, result.threads)


def tiny(key: str) -> Value:
    def value(result: Result, run: Run) -> float:
        return getattr(result, key) / result.add if result.case == TINY else math.nan

    return value


def speedup(result: Result, run: Run) -> float:
    """Over one thread."""
    return run.seconds(result.case, 1) / result.ours if result.threads == 2 else math.nan


def speedup_in_cache(result: Result, run: Run) -> float:
    in_cache = run.place(result) in {"L1", "L2", "L3"}
    return speedup(result, run) if in_cache and result.moved > MIB else math.nan


BARS = (
    Bar("r", 1.3, ahead),
    Bar(f"r where another is within {NEAR_COPY:g} of the copy", 1.15, ahead_near_copy),
    Bar("r, geometric mean", 3, lambda result, run: result.r, mean=True),
    Bar("c of norms forward, in L2", 0.4, norm("forward", "L2")),
    Bar("c of norms forward, in L3", 0.55, norm("forward", "L3")),
    Bar("c of norms forward, out of cache", 0.8, norm("forward", "memory")),
    Bar("c of norms backward, in L2", 0.3, norm("backward", "L2")),
    Bar("c of norms backward, in L3", 0.4, norm("backward", "L3")),
    Bar("c of norms backward, out of cache", 0.6, norm("backward", "memory")),
    Bar("c of norms over 2 to 64 elements", 0.4, short_rows),
    Bar("c of LRN forward", 0.25, lrn("forward")),
    Bar("c of LRN backward", 0.2, lrn("backward")),
    Bar("LRN, general beta / beta 0.75", 2, general_beta, at_most=True),
    Bar("NHWC / NCHW", 1.25, channels_last, at_most=True),
    Bar("call on (1, 768) / np.add, out=", 2.5, tiny("ours"), at_most=True),
    Bar("call on (1, 768) / np.add, fresh", 4, tiny("fresh"), at_most=True),
    Bar("2 threads, in cache above 1 MiB, over 1", 1.7, speedup_in_cache),
    Bar("2 threads, any case, over 1", 1 / NOISE, speedup),
)


@dataclass(frozen=True)
class Verdict:
    """found: each case that the bar is for with its value, the worst first; never empty."""

    bar: Bar
    threads: int
    found: Sequence[tuple[float, str]]

    @property
    def worst(self) -> float:
        values = [value for value, _ in self.found]
        return geometric_mean(values) if self.bar.mean else values[0]

    @property
    def at(self) -> str:
        return "all" if self.bar.mean else self.found[0][1]

    @property
    def holding(self) -> int:
        return sum(self.bar.reached(value) for value, _ in self.found)

    @property
    def holds(self) -> bool:
        return self.bar.reached(self.worst)


def judge(results: Sequence[Result], caches: Caches) -> list[Verdict]:
    """Bar by bar and by number of threads; without the bars that are for none of the cases."""
    run = Run(results, caches)
    verdicts = []
    for bar in BARS:
        for threads, group in by_threads(results).items():
            values = ((bar.value(result, run), result.case.name) for result in group)
            found = [pair for pair in values if not math.isnan(pair[0])]
            if found:
                found.sort(key=lambda pair: pair[0], reverse=bar.at_most)
                verdicts.append(Verdict(bar, threads, found))
    return verdicts


def bar_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = []
    for verdict in verdicts:
        bar = verdict.bar
        needed = f"{'<=' if bar.at_most else '>='} {bar.needed:.3g}"
        score = "-" if bar.mean else f"{verdict.holding} of {len(verdict.found)}"
        cells = [bar.name, str(verdict.threads), needed, f"{verdict.worst:.2f}", verdict.at, score]
        rows.append([*cells, "yes" if verdict.holds else "**no**"])
    heads = ["bar", "threads", "needed", "worst", "at", "cases holding", "holds"]
    return markdown_table(heads, rows, left=(0, 4, 6))


def failure_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The worst cases of each bar that fails."""
    for verdict in verdicts:
        bar = verdict.bar
        failing = [pair for pair in verdict.found if not bar.reached(pair[0])]
        if verdict.holds or bar.mean:
            continue
        named = ", ".join(f"{name} ({value:.2f})" for value, name in failing[:SHOWN])
        rest = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
        yield f"- {bar.name}, {count_threads(verdict.threads)}: {named}{rest}"
