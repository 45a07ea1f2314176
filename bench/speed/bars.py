"""The bars: what the speed must reach, case by case, and which of them hold.

A new bar is one line in BARS. r is the time of the best other library over ours, f that of the
floor over ours, both with out=. All but one are for float32 and float64.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..common.case import HALVES, Case
from ..common.markdown import count_threads, markdown_table
from .caches import MIB, Caches, place
from .cases import TINY
from .result import Result, by_threads, geometric_mean

NORMS = ("layer norm", "RMS norm", "instance norm", "group norm")
SUMMED = range(64, 4097)  # elements that a norm takes together
COMMON = (0.1 * MIB, 4 * MIB)  # bytes of x
MEMORY = 32 * MIB  # bytes that must move: memory is the bound
NEIGHBOUR = 1 / 16  # of a width: so far away is a neighbour's
NOISE = 1.03  # of two times of the same code
SHOWN = 5  # cases named below the table for a bar that fails


class Run:
    """All results of a run, so that a bar can hold one case against another.

    other is the same machine's run with AVX-512, where this one is with AVX2.
    """

    def __init__(
        self, results: Sequence[Result], caches: Caches, isa: str, other: "Run | None" = None
    ) -> None:
        self.caches, self.isa, self.other = caches, isa, other
        self.by_case = {(x.case, x.threads, x.dtype): x for x in results}

    def seconds(self, result: Result, *, case: Case | None = None, threads: int = 0) -> float:
        """The time of a result like this one."""
        key = (case or result.case, threads or result.threads, result.dtype)
        return self.by_case[key].ours if key in self.by_case else math.nan

    def neighbours(self, result: Result) -> list[float]:
        """The times of results alike on rows that are a little wider or narrower, by element."""
        width = result.case.shape[-1]
        found = []
        for other in self.by_case.values():
            distance = abs(other.case.shape[-1] - width)
            if 0 < distance <= NEIGHBOUR * width and but_for_width(other) == but_for_width(result):
                found.append(other.ours * width / other.case.shape[-1])
        return found


def but_for_width(result: Result) -> tuple[object, ...]:
    case = replace(result.case, shape=result.case.shape[:-1])
    return case, result.threads, result.dtype


Value = Callable[[Result, Run], float]  # NaN: the bar is not for this case


@dataclass(frozen=True)
class Bar:
    name: str
    wide: float  # what is needed with AVX-512
    narrow: float  # with anything else
    value: Value
    at_most: bool = False
    mean: bool = False  # what counts is the geometric mean over the cases
    half: bool = False  # for half types
    beside: bool = False  # others: the floor can be held against them as well

    def needed(self, isa: str) -> float:
        return self.wide if isa == "avx512" else self.narrow

    def reached(self, value: float, isa: str) -> bool:
        return value <= self.needed(isa) if self.at_most else value >= self.needed(isa)


def ahead(result: Result, run: Run) -> float:
    return result.r if result.case.operator in NORMS else math.nan


def ahead_forward(result: Result, run: Run) -> float:
    case = result.case
    meant = case.operator in ("layer norm", "instance norm") and case.direction == "forward"
    meant = meant and case.extent in SUMMED and COMMON[0] <= result.x_bytes <= COMMON[1]
    return result.r if meant else math.nan


def lrn(result: Result, run: Run) -> float:
    return result.r if result.case.operator == "LRN" else math.nan


def near_floor(direction: str) -> Value:
    def value(result: Result, run: Run) -> float:
        case = result.case
        where = place(result.moved, run.caches, result.threads)
        meant = case.operator != "LRN" and case.direction == direction and run.caches
        return result.f if meant and where not in ("L1", "L2") else math.nan

    return value


def ahead_of_torch(result: Result, run: Run) -> float:
    torch = result.others.get("torch")
    meant = torch and result.dtype == "bfloat16" and result.case.direction == "forward"
    return torch.seconds / result.ours if meant else math.nan


def over_avx512(result: Result, run: Run) -> float:
    if run.other is None or result.case.operator == "LRN" or result.moved < MEMORY:
        return math.nan
    return result.ours / run.other.seconds(result)


def power_of_two(result: Result, run: Run) -> float:
    """Over the mean of the neighbours, by element."""
    width = result.case.shape[-1]
    times = run.neighbours(result) if width & (width - 1) == 0 and width >= 64 else []
    return result.ours / geometric_mean(times) if times else math.nan


def tiny(key: str) -> Value:
    def value(result: Result, run: Run) -> float:
        return getattr(result, key) / result.add if result.case == TINY else math.nan

    return value


def speedup(result: Result, run: Run) -> float:
    """Over one thread."""
    return run.seconds(result, threads=1) / result.ours if result.threads == 2 else math.nan


BARS = (
    Bar("r, geometric mean", 3, 2.5, lambda result, run: result.r, mean=True, beside=True),
    Bar("r of layer, RMS, instance and group norm", 1.2, 1.1, ahead, beside=True),
    Bar(
        "r of layer and instance norm forward, 64 to 4096 elements, x of 0.1 to 4 MiB",
        *(1.6, 1.4),
        ahead_forward,
        beside=True,
    ),
    Bar("r of LRN", 2, 2, lrn, beside=True),
    Bar("f of norms forward, out of L2", 0.85, 0.85, near_floor("forward")),
    Bar("f of norms backward, out of L2", 0.8, 0.75, near_floor("backward")),
    Bar("time over AVX-512's, 32 MiB and more", 1.25, 1.25, over_avx512, at_most=True),
    Bar("width a power of two / its neighbours", 1.1, 1.1, power_of_two, at_most=True),
    Bar("call on (1, 768) / np.add, out=", 2.5, 2.5, tiny("ours"), at_most=True),
    Bar("call on (1, 768) / np.add, fresh", 4, 4, tiny("fresh"), at_most=True),
    Bar("2 threads over 1", 1 / NOISE, 1 / NOISE, speedup),
    Bar("bfloat16 forward, torch / ours", 1.5, 1.5, ahead_of_torch, half=True, beside=True),
)


@dataclass(frozen=True)
class Verdict:
    """found: each case that the bar is for with its value, the worst first; never empty.

    floors: what the values were if ours took as long as the floor, where that is asked for.
    """

    bar: Bar
    isa: str
    threads: int
    found: Sequence[tuple[float, str]]
    floors: Sequence[float]

    @property
    def needed(self) -> float:
        return self.bar.needed(self.isa)

    @property
    def worst(self) -> float:
        values = [value for value, _ in self.found]
        return geometric_mean(values) if self.bar.mean else values[0]

    @property
    def at(self) -> str:
        return "all" if self.bar.mean else self.found[0][1]

    @property
    def failing(self) -> list[tuple[float, str]]:
        return [pair for pair in self.found if not self.bar.reached(pair[0], self.isa)]

    @property
    def holding(self) -> int:
        return len(self.found) - len(self.failing)

    @property
    def floor_score(self) -> str:
        """How many cases the floor would hold, or its mean."""
        if not self.bar.beside:
            return "-"
        if self.bar.mean:
            return f"{geometric_mean(self.floors):.2f}"
        return str(sum(self.bar.reached(value, self.isa) for value in self.floors))

    @property
    def holds(self) -> bool:
        return self.bar.reached(self.worst, self.isa)


def judge(run: Run) -> list[Verdict]:
    """Bar by bar and by number of threads; without the bars that are for none of the cases."""
    verdicts = []
    for bar in BARS:
        meant = [x for x in run.by_case.values() if (x.dtype in HALVES) == bar.half]
        for threads, group in by_threads(meant).items():
            values = ((bar.value(result, run), result.name) for result in group)
            found = [pair for pair in values if not math.isnan(pair[0])]
            if found:
                found.sort(key=lambda pair: pair[0], reverse=bar.at_most)
                of_floor = (bar.value(replace(x, ours=x.floor), run) for x in group)
                floors = [value for value in of_floor if not math.isnan(value)]
                verdicts.append(Verdict(bar, run.isa, threads, found, floors))
    return verdicts


def bar_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = []
    for verdict in verdicts:
        bar = verdict.bar
        needed = f"{'<=' if bar.at_most else '>='} {verdict.needed:.3g}"
        score = "-" if bar.mean else f"{verdict.holding} of {len(verdict.found)}"
        worst = f"{verdict.worst:.2f}"
        holds = "yes" if verdict.holds else "**no**"
        floor = verdict.floor_score
        rows.append(
            [bar.name, str(verdict.threads), needed, worst, verdict.at, score, floor, holds]
        )
    heads = ["bar", "threads", "needed", "worst", "at", "cases holding", "the floor", "holds"]
    return markdown_table(heads, rows, left=(0, 4, 7))


def failure_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The worst cases of each bar that fails."""
    for verdict in verdicts:
        failing = verdict.failing
        if verdict.holds or verdict.bar.mean:
            continue
        named = ", ".join(f"{name} ({value:.2f})" for value, name in failing[:SHOWN])
        rest = f" and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
        yield f"- {verdict.bar.name}, {count_threads(verdict.threads)}: {named}{rest}"
