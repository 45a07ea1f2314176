"""What came out of one case, and what follows from it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..common.case import Case


@dataclass
class Result:
    """The times of one case in seconds. others is by library; the label says which of its ways."""

    case: Case
    threads: int = 1
    dtype: str = "float32"
    ours: float = math.nan
    fresh: float = math.nan
    copy: float = math.nan
    copied_by: str = ""
    add: float = math.nan  # np.add of arrays like x, where that is asked for
    others: dict[str, tuple[float, str]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: bool = False  # ours

    @property
    def moved(self) -> int:
        """The bytes that must move."""
        return self.case.moved(np.dtype(self.dtype).itemsize)

    @property
    def best(self) -> str | None:
        return min(self.others, key=lambda title: self.others[title][0], default=None)

    @property
    def r(self) -> float:
        return self.best_seconds / self.ours

    @property
    def r_fresh(self) -> float:
        return self.best_seconds / self.fresh

    @property
    def best_seconds(self) -> float:
        return self.others[self.best][0] if self.best else math.nan

    @property
    def c(self) -> float:
        return self.copy / self.ours


def by_threads(results: Iterable[Result]) -> dict[int, list[Result]]:
    groups: dict[int, list[Result]] = {}
    for result in results:
        groups.setdefault(result.threads, []).append(result)
    return groups


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values if math.isfinite(value)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
