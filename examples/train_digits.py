"""Trains a small net with instance, local response and layer norm on the handwritten digits that
scikit-learn brings, with normkernels' norms beside torch's.

    python examples/train_digits.py [--epochs 8] [--seed 0] [--output train_digits.png]

The same net is trained four times, from the same weights on the same batches: with either
library's norms, and with the norms on 1 and on 2 threads. All else (convolutions, products of
matrices, Adam) runs on one thread in all four, because the bits of torch's products depend on
threads as well. What differs after training therefore comes from the norms alone.

Prints the accuracy on digits held out, the seconds of an epoch, and a digest of all weights; draws
the loss curves. Needs the extra: pip install 'normkernels[examples-torch]'.
"""

import argparse
import copy
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

# Threads of OpenMP that wait for work sleep: if they spin, torch on 2 threads takes ten times as
# long as on 1 where another program uses a core. Read once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import matplotlib
    import normkernels.torch as nkt
    import torch
    from rich.progress import track
    from sklearn.datasets import load_digits
    from torch import Tensor, nn
except ImportError as error:
    sys.exit(f"train_digits: {error}; pip install 'normkernels[examples-torch]'")

import normkernels as nk

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BATCH = 64
HELD_OUT = 360
NORMS = (nn.InstanceNorm2d, nn.LocalResponseNorm, nn.LayerNorm)
COLOURS = {"normkernels": "#1f77b4", "torch": "#ff7f0e"}


class Digits(NamedTuple):
    """Images (N, 1, 8, 8) in [0, 1] and labels (N,), to learn from and held out."""

    images: Tensor
    labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor


def read_digits(seed: int) -> Digits:
    digits = load_digits()
    images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    return Digits(images[rest], labels[rest], images[held_out], labels[held_out])


def new_net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.InstanceNorm2d(16, affine=True),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1.0),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.InstanceNorm2d(32, affine=True),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.LayerNorm(64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


class NormThreads:
    """Runs the norms of a net, forward and backward, on so many threads and the rest on one."""

    def __init__(self, net: nn.Module, threads: int) -> None:
        self.threads = threads
        self.seconds = 0.0
        self.start = 0.0
        for norm in (module for module in net.modules() if isinstance(module, NORMS)):
            norm.register_forward_pre_hook(self.begin)
            norm.register_forward_hook(self.end)
            norm.register_full_backward_pre_hook(self.begin)
            norm.register_full_backward_hook(self.end)

    def begin(self, *_: Any) -> None:
        torch.set_num_threads(self.threads)
        self.start = time.perf_counter()

    def end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self.start
        torch.set_num_threads(1)


class Training:
    """One net, its optimizer, and what each step and epoch brought."""

    def __init__(self, library: str, threads: int, net: nn.Module, seed: int) -> None:
        self.library, self.threads = library, threads
        self.net = copy.deepcopy(net)
        if library == "normkernels":
            nkt.replace_norms(self.net)
        self.norms = NormThreads(self.net, threads)
        self.optimizer = torch.optim.Adam(self.net.parameters(), 2e-3)
        self.shuffle = torch.Generator().manual_seed(seed)
        self.losses: list[float] = []  # of each step
        self.seconds: list[tuple[float, float]] = []  # of each epoch: all, those of the norms

    def epoch(self, digits: Digits) -> None:
        order = torch.randperm(len(digits.labels), generator=self.shuffle)
        start, self.norms.seconds = time.perf_counter(), 0.0
        for batch in order.split(BATCH):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.net(digits.images[batch]), digits.labels[batch])
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
        self.seconds.append((time.perf_counter() - start, self.norms.seconds))

    def right(self, digits: Digits) -> int:
        """How many of the digits held out the net labels right."""
        with torch.inference_mode():
            labels = self.net(digits.held_out_images).argmax(1)
        return int((labels == digits.held_out_labels).sum())

    def digest(self) -> str:
        """SHA-256 of the bytes of all weights."""
        digest = hashlib.sha256()
        for name, weight in self.net.state_dict().items():
            digest.update(name.encode() + weight.numpy().tobytes())
        return digest.hexdigest()


def train(digits: Digits, epochs: int, seed: int) -> list[Training]:
    """The four trainings, an epoch of each in turn so that all meet the same neighbours."""
    net = new_net(seed)
    trainings = [Training(name, threads, net, seed) for name in COLOURS for threads in (1, 2)]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in track(range(epochs), "epochs", transient=True, disable=not sys.stdout.isatty()):
            for training in trainings:
                training.epoch(digits)
    finally:
        torch.set_num_threads(threads_before)
    return trainings


def print_table(trainings: list[Training], digits: Digits) -> None:
    print(f"{'norms':22} {'held out':>14} {'loss':>8} {'s/epoch':>8} {'in norms':>8}  weights")
    for training in trainings:
        right, count = training.right(digits), len(digits.held_out_labels)
        seconds, norm_seconds = min(training.seconds)
        plural = "threads" if training.threads > 1 else "thread"
        print(
            f"{training.library + ',':12} {training.threads} {plural:7} "
            f"{right:4}/{count} {right / count:6.1%} {training.losses[-1]:8.4f} "
            f"{seconds:8.3f} {norm_seconds:8.3f}  {training.digest()[:16]}"
        )
    print("s/epoch: the fastest epoch; in norms: how much of it; weights: their SHA-256")
    for one, two in (trainings[:2], trainings[2:]):
        verdict = "the same" if one.digest() == two.digest() else "different"
        print(f"{one.library}: {verdict} weights from 1 and from 2 threads")


def draw(trainings: list[Training], output: str) -> None:
    ours, _, theirs, _ = trainings
    figure, (curves, gaps, bars) = plt.subplots(1, 3, figsize=(16, 4.6), layout="constrained")
    curves.semilogy(ours.losses, color=COLOURS["normkernels"], lw=3.5, alpha=0.5)
    curves.semilogy(theirs.losses, color="k", lw=0.9, ls="--")
    curves.legend(["normkernels", "torch"], frameon=False)
    curves.set_title("Loss of each batch", fontsize=11, loc="left")

    gaps.set_yscale("log")
    pairs = {"normkernels and torch, 1 thread": (ours, theirs, "0.4")}
    for one, two in (trainings[:2], trainings[2:]):
        pairs[f"{one.library}, 1 and 2 threads"] = (one, two, COLOURS[one.library])
    for label, (one, two, colour) in pairs.items():
        gap = [abs(a - b) for a, b in zip(one.losses, two.losses, strict=True)]
        seen = [value or float("nan") for value in gap]
        title = label if any(gap) else f"{label}: 0 throughout"
        gaps.plot(seen, ".", ms=4, color=colour, label=title)
    gaps.set_ylim(bottom=1e-12)  # room for the legend: no gap but 0 is as small
    gaps.legend(frameon=False, fontsize=9, loc="lower left")
    gaps.set_title("How far two losses are apart", fontsize=11, loc="left")

    for at, training in enumerate(trainings):
        seconds, norm_seconds = min(training.seconds)
        rest = seconds - norm_seconds
        bars.barh(at, norm_seconds, color=COLOURS[training.library])
        bars.barh(at, rest, left=norm_seconds, color="0.85")
        bars.text(norm_seconds, at, f" {norm_seconds:.3f}", va="center", fontsize=9)
    bars.set_yticks(range(4), [f"{t.library}\nthreads: {t.threads}" for t in trainings])
    bars.invert_yaxis()
    bars.set_title("Seconds of an epoch: in norms, and grey in all else", fontsize=11, loc="left")
    for axis, label in ((curves, "step"), (gaps, "step"), (bars, "seconds")):
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(output, dpi=110)
    except (OSError, ValueError) as error:
        raise SystemExit(f"train_digits: cannot write {output!r}: {error}") from None
    finally:
        plt.close(figure)


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {value}, must be at least 1")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--epochs", type=at_least_one, default=8, help="passes over the digits (8)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, split and batches (0)")
    parser.add_argument("--output", default="train_digits.png", help="picture to write")
    options = parser.parse_args(arguments)
    digits = read_digits(options.seed)
    trainings = train(digits, options.epochs, options.seed)
    print(
        f"{len(digits.labels)} digits, {options.epochs} epochs, batches of {BATCH}; normkernels "
        f"{nk.__version__} ({nk.active_isa()}), torch {torch.__version__}"
    )
    print_table(trainings, digits)
    draw(trainings, options.output)
    print(f"picture: {options.output}")


if __name__ == "__main__":
    main()
