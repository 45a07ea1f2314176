"""What came out of one case, and what follows from it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..common.case import Case

USUAL = "float32"  # the dtype that goes without saying


class Best(NamedTuple):
    """The fastest of a library's ways; bound: it writes into memory that it was given."""

    seconds: float
    label: str
    bound: bool = False


@dataclass
class Result:
    """The times of one case in seconds; those of others by library."""

    case: Case
    threads: int = 1
    dtype: str = USUAL
    ours: float = math.nan
    fresh: float = math.nan
    copy: float = math.nan
    floor: float = math.nan
    add: float = math.nan  # np.add of arrays like x, where that is asked for
    others: dict[str, Best] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: bool = False  # ours

    @property
    def kind(self) -> str:
        """Operator and direction, and the dtype unless it is the usual one."""
        words = [self.case.operator, self.case.direction]
        return " ".join(words if self.dtype == USUAL else [*words, self.dtype])

    @property
    def name(self) -> str:
        return self.kind + self.case.name.removeprefix(
            f"{self.case.operator} {self.case.direction}"
        )

    @property
    def moved(self) -> int:
        """The bytes that must move."""
        return self.case.moved(np.dtype(self.dtype).itemsize)

    @property
    def x_bytes(self) -> int:
        return math.prod(self.case.shape) * np.dtype(self.dtype).itemsize

    @property
    def best(self) -> str | None:
        return min(self.others, key=lambda title: self.others[title].seconds, default=None)

    @property
    def r(self) -> float:
        """The best of all over ours, which writes into out=."""
        return self.best_seconds / self.ours

    @property
    def r_bound(self) -> float:
        """The best of those that write into given memory, over ours with out=."""
        return self.best_of(bound=True) / self.ours

    @property
    def r_fresh(self) -> float:
        """The best of those that allocate, over ours without out=."""
        return self.best_of(bound=False) / self.fresh

    @property
    def best_seconds(self) -> float:
        return self.others[self.best].seconds if self.best else math.nan

    def best_of(self, *, bound: bool) -> float:
        alike = [best.seconds for best in self.others.values() if best.bound == bound]
        return min(alike, default=math.nan)

    @property
    def c(self) -> float:
        return self.copy / self.ours

    @property
    def f(self) -> float:
        return self.floor / self.ours


def by_threads(results: Iterable[Result]) -> dict[int, list[Result]]:
    groups: dict[int, list[Result]] = {}
    for result in results:
        groups.setdefault(result.threads, []).append(result)
    return groups


def by_kind(results: Iterable[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.kind, []).append(result)
    return groups


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values if math.isfinite(value)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
