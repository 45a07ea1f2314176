"""A model three times, taking turns: with torch's norms, with ours, and without any."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import normkernels.torch as nkt
import torch
from torch import Tensor, nn

from ..speed.timing import no_garbage_collection
from .nets import Net

SAMPLE_SECONDS = 0.03  # one sample; shorter calls are repeated


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the best round, but for the ratio."""

    net: str
    step: str
    threads: int
    torch: float
    ours: float
    without: float
    ratio: float  # torch's / ours, of the two samples of a round; the median of the rounds

    @property
    def norms(self) -> tuple[float, float]:
        """The part of the time that norms take, torch's and ours."""
        return 1 - self.without / self.torch, 1 - self.without / self.ours


def training_step(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """Forward, backward and a step of no length: every step has the same numbers to work on."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return step


def inference(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """A forward pass."""

    def infer() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return infer


STEPS = {"training": training_step, "inference": inference}


def without_norms(model: nn.Module) -> nn.Module:
    """The model, with nothing in the place of its norms."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if "norm" in type(child).__name__.lower():
                setattr(module, name, nn.Identity())
    return model


def measure(net: Net, threads: tuple[int, ...], rounds: int) -> Iterator[Timing]:
    """Every step on every number of threads."""
    model, x = net.build()
    ours, without = copy.deepcopy(model), without_norms(copy.deepcopy(model))
    report = nkt.replace_norms(ours)
    if report.left or not report.changed:
        raise AssertionError(f"{net.name}: {report}")
    with torch.no_grad():
        torch.testing.assert_close(ours(x), model(x), rtol=1e-3, atol=1e-3)
    for step, make in STEPS.items():
        calls = [make(m, x) for m in (model, ours, without)]
        for count in threads:
            torch.set_num_threads(count)
            samples = take_turns(calls, rounds)
            ratio = statistics.median(a / b for a, b in zip(*samples[:2], strict=True))
            yield Timing(net.name, step, count, *(1e3 * min(s) for s in samples), ratio)


def take_turns(calls: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Seconds of one call of each, in every round; each round begins with another one."""
    repeats = [max(1, math.ceil(SAMPLE_SECONDS / seconds(call, 1))) for call in calls]
    samples: list[list[float]] = [[] for _ in calls]
    with no_garbage_collection():
        for turn in range(rounds):
            for place in range(len(calls)):
                i = (turn + place) % len(calls)
                samples[i].append(seconds(calls[i], repeats[i]))
    return samples


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Of one call, after one that is not counted."""
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
