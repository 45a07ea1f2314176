"""Moves the colours of one photograph onto another with instance norm, then evens out its local
contrast with local response norm.

    python examples/style_transfer.py [CONTENT STYLE] [--output style_transfer.png]

Instance norm takes the mean and the standard deviation of every colour channel out of the content;
scale and bias then put the style's own in their place (Huang and Belongie 2017, on pixels instead
of features). For the contrast, the result's luminance is split into octaves of spatial scale that
add up to it. The octaves are the channels of an LRN whose window spans them all, so each is divided
by the strength of all scales at that pixel: faint texture rises, hard edges fall.

Without arguments, two photographs from scikit-image. Every step is timed against the same step in
NumPy. Needs the extra: pip install 'normkernels[examples]'.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import normkernels as nk
import numpy as np
from numpy.typing import NDArray

try:
    import matplotlib
    from PIL import Image, ImageOps
    from scipy.ndimage import gaussian_filter
    from skimage import data
except ImportError as error:
    sys.exit(f"style_transfer: {error}; pip install 'normkernels[examples]'")

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = NDArray[np.floating[Any]]

EPSILON = 1e-5
BLENDS = (0.25, 0.5, 0.75, 1.0)
OCTAVES = 6
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
# The part of the mean contrast below which a pixel counts as flat and is not amplified further.
FLAT = 0.2


class Statistics(NamedTuple):
    """Mean and standard deviation of every colour channel, shape (3,)."""

    mean: Array
    std: Array

    def towards(self, other: "Statistics", t: float) -> "Statistics":
        """A part t of the way to the other's statistics."""
        return Statistics(
            self.mean + (other.mean - self.mean) * self.mean.dtype.type(t),
            self.std + (other.std - self.std) * self.std.dtype.type(t),
        )


class OurSteps:
    """The steps with normkernels. Images are (1, H, W, C), C last."""

    def __init__(self, threads: int | None) -> None:
        self.threads = threads

    def statistics(self, image: Array) -> Statistics:
        _, mean, inv_std = nk.instance_norm(
            image, order="NHWC", epsilon=EPSILON, return_stats=True, num_threads=self.threads
        )
        return Statistics(mean[0], 1 / inv_std[0])

    def normalise(self, image: Array) -> Array:
        return nk.instance_norm(image, order="NHWC", epsilon=EPSILON, num_threads=self.threads)

    def restyle(self, image: Array, style: Statistics) -> Array:
        return nk.instance_norm(
            image, style.std, style.mean, order="NHWC", epsilon=EPSILON, num_threads=self.threads
        )

    def even_out(self, octaves: Array, **window: Any) -> Array:
        return nk.local_response_norm(octaves, order="NHWC", num_threads=self.threads, **window)


class NumPySteps:
    """The same steps in NumPy, in the dtype of the image, without a needless temporary."""

    def statistics(self, image: Array) -> Statistics:
        mean = image.mean((1, 2), keepdims=True)
        centred = image - mean
        np.multiply(centred, centred, out=centred)
        variance = centred.mean((1, 2))
        return Statistics(mean[0, 0, 0], np.sqrt(variance[0] + EPSILON))

    def normalise(self, image: Array) -> Array:
        y = image - image.mean((1, 2), keepdims=True)
        variance = (y * y).mean((1, 2), keepdims=True)
        y *= 1 / np.sqrt(variance + EPSILON)
        return y

    def restyle(self, image: Array, style: Statistics) -> Array:
        y = self.normalise(image)
        y *= style.std
        y += style.mean
        return y

    def even_out(
        self, octaves: Array, size: int, *, alpha: float, beta: float, bias: float
    ) -> Array:
        channels = octaves.shape[-1]
        squares = octaves * octaves
        total = np.zeros_like(squares)
        for offset in range(-((size - 1) // 2), size // 2 + 1):
            to = slice(max(0, -offset), max(0, min(channels, channels - offset)))
            total[..., to] += squares[..., max(0, offset) : max(0, channels + min(0, offset))]
        total *= alpha / size
        total += bias
        return octaves / total**beta


def read_photograph(path: str) -> Array:
    """Any photograph as (1, H, W, 3) float32 in [0, 1]: grey is repeated, alpha lies on white."""
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("F", "I") or image.mode.startswith("I;16"):
                grey = np.asarray(image, np.float32)[..., None] / 65535
                return np.ascontiguousarray(np.repeat(grey, 3, axis=-1).clip(0, 1)[None])
            rgba = np.asarray(image.convert("RGBA"), np.float32) / 255
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SystemExit(f"style_transfer: cannot read the photograph {path!r}: {reason}") from None
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    return np.ascontiguousarray((colour * alpha + (1 - alpha))[None])


def shrink(photograph: Array, size: int | None) -> Array:
    """The photograph with its longer edge at most size pixels long."""
    height, width = photograph.shape[1:3]
    if size is None or max(height, width) <= size:
        return photograph
    ratio = size / max(height, width)
    edges = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    image = Image.fromarray((photograph[0] * 255 + 0.5).astype(np.uint8))
    return np.asarray(image.resize(edges, Image.Resampling.LANCZOS), np.float32)[None] / 255


def split_octaves(image: Array) -> Array:
    """Luminance as differences of Gaussians, an octave of scale per channel: (1, H, W, OCTAVES)."""
    level = image[0] @ LUMINANCE
    octaves = np.empty((*level.shape, OCTAVES), np.float32)
    for k in range(OCTAVES):
        # Blurring level k (sigma s) by sqrt(3) s gives sigma 2 s: variances add.
        sigma = 0.8 if k == 0 else 0.8 * 2 ** (k - 1) * math.sqrt(3)
        blurred = gaussian_filter(level, sigma)
        octaves[..., k] = level - blurred
        level = blurred
    return octaves[None]


def contrast_window(octaves: Array) -> dict[str, Any]:
    """LRN arguments for which y = octave / sqrt(FLAT + local energy / mean energy)."""
    size = 2 * OCTAVES - 1
    energy = float(np.mean(octaves * octaves, dtype=np.float64)) or 1.0
    return {"size": size, "alpha": size / (OCTAVES * energy), "beta": 0.5, "bias": FLAT}


def best_seconds(calls: Sequence[Callable[[], Any]], seconds: float = 0.6) -> list[float]:
    """The shortest time of each call, taken in turns."""
    best = [math.inf] * len(calls)
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
        rounds += 1
    return best


def print_table(content: Array, style: Array, octaves: Array, ours: OurSteps) -> None:
    """Milliseconds of every step, ours and NumPy's, and how far both are from float64."""
    numpy_steps = NumPySteps()
    window = contrast_window(octaves)
    target = ours.statistics(style)
    wide = [a.astype(np.float64) for a in (content, style, octaves)]
    wide_target = Statistics(target.mean.astype(np.float64), target.std.astype(np.float64))

    def steps(library: Any, content: Array, style: Array, octaves: Array, target: Statistics):
        return {
            "style statistics": lambda: np.stack(library.statistics(style)),
            "normalise content": lambda: library.normalise(content),
            "restyle content": lambda: library.restyle(content, target),
            "LRN of the octaves": lambda: library.even_out(octaves, **window),
        }

    mine = steps(ours, content, style, octaves, target)
    theirs = steps(numpy_steps, content, style, octaves, target)
    exact = steps(numpy_steps, *wide, wide_target)
    print(
        f"{'':18} {'normkernels':>12} {'NumPy':>10} {'speed-up':>9} "
        f"{'difference':>11} {'error, ours':>12} {'error, NumPy':>13}"
    )
    for name in mine:
        a, b, truth = mine[name](), theirs[name](), exact[name]()
        ours_time, numpy_time = best_seconds([mine[name], theirs[name]])
        print(
            f"{name:18} {ours_time * 1e3:9.3f} ms {numpy_time * 1e3:7.2f} ms "
            f"{numpy_time / ours_time:8.1f}x {np.abs(a - b).max():11.1e} "
            f"{np.abs(a - truth).max():12.1e} {np.abs(b - truth).max():13.1e}"
        )
    print("difference: largest |normkernels - NumPy|; error: largest distance to NumPy in float64")


def show(axis: Any, image: Array, title: str, **options: Any) -> None:
    axis.imshow(image.clip(0, 1) if image.ndim == 3 else image, **options)
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def show_statistics(axis: Any, images: dict[str, Statistics]) -> None:
    """Mean and standard deviation of every channel: the result's must be the style's."""
    for j, (name, (mean, std)) in enumerate(images.items()):
        for channel, colour in enumerate(("#d62728", "#2ca02c", "#1f77b4")):
            at = channel + 0.22 * (j - 1)
            axis.errorbar(at, mean[channel], std[channel], fmt="osD"[j], color=colour, capsize=4)
        axis.plot([], [], "osD"[j], color="0.3", label=name)
    axis.legend(frameon=False, fontsize=9, ncols=3, loc="upper right")
    axis.set_title("Mean and std of the channels", fontsize=11, loc="left")
    axis.set_xticks(range(3), ["red", "green", "blue"])
    axis.set_ylim(0, 1.1)
    axis.spines[["top", "right"]].set_visible(False)


def contrast(octaves: Array) -> Array:
    """Root mean square over the scales, as a share of its own 99th percentile."""
    strength = np.sqrt((octaves[0] ** 2).mean(-1))
    return strength / max(float(np.percentile(strength, 99)), 1e-30)


def draw(content: Array, style: Array, ours: OurSteps, output: str) -> Array:
    """Writes the picture; returns the octaves of the restyled content."""
    own, target = ours.statistics(content), ours.statistics(style)
    normalised = ours.normalise(content)
    blends = [ours.restyle(content, own.towards(target, t)) for t in BLENDS]
    octaves = split_octaves(blends[-1])
    even = ours.even_out(octaves, **contrast_window(octaves))

    figure, axes = plt.subplots(3, 4, figsize=(17, 10.2), layout="constrained")
    figure.suptitle("Instance norm moves the colours, local response norm evens out the contrast")
    show(axes[0, 0], content[0], "Content")
    show(axes[0, 1], style[0], "Style")
    show(axes[0, 2], normalised[0] / 5 + 0.5, "Content normalised (0 is grey, one std 0.2)")
    moved = ours.statistics(blends[-1])
    show_statistics(axes[0, 3], {"content": own, "style": target, "result": moved})
    for axis, t, blend in zip(axes[1], BLENDS, blends, strict=True):
        show(axis, blend[0], "Result: all of the style" if t == 1 else f"{t:.0%} of the style")
    for axis, image, name in zip(axes[2], (octaves, even), ("before", "after"), strict=False):
        detail = image[0].sum(-1)
        reach = max(float(np.percentile(np.abs(detail), 99.5)), 1e-30)
        show(axis, detail, f"Detail {name} LRN", cmap="gray", vmin=-reach, vmax=reach)
    for axis, image, name in zip(axes[2, 2:], (octaves, even), ("before", "after"), strict=True):
        options = {"cmap": "inferno", "vmin": 0, "vmax": 1}
        show(axis, contrast(image), f"Local contrast {name} LRN", **options)
    try:
        figure.savefig(output, dpi=110)
    except (OSError, ValueError) as error:
        raise SystemExit(f"style_transfer: cannot write {output!r}: {error}") from None
    finally:
        plt.close(figure)
    return octaves


def at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {value}, must be at least 1")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("content", nargs="?", help="photograph to restyle (default: a rocket)")
    parser.add_argument("style", nargs="?", help="photograph with the colours (default: coffee)")
    parser.add_argument("--output", default="style_transfer.png", help="picture to write")
    parser.add_argument("--threads", type=at_least_one, help="threads (default: automatic)")
    parser.add_argument("--size", type=at_least_one, help="longest edge (default: as it is)")
    options = parser.parse_args(arguments)
    if options.content and not options.style:
        parser.error("give both a content and a style, or neither")
    if options.content:
        photographs = [read_photograph(options.content), read_photograph(options.style)]
    else:
        photographs = [image[None] / np.float32(255) for image in (data.rocket(), data.coffee())]
    content, style = (shrink(photograph, options.size) for photograph in photographs)

    ours = OurSteps(options.threads)
    octaves = draw(content, style, ours, options.output)
    sizes = [f"{image.shape[2]} x {image.shape[1]}" for image in (content, style)]
    print(
        f"content {sizes[0]}, style {sizes[1]}, float32 NHWC, normkernels {nk.__version__} "
        f"({nk.active_isa()}, threads: {options.threads or 'automatic'})"
    )
    print_table(content, style, octaves, ours)
    print(f"picture: {options.output}")


if __name__ == "__main__":
    main()
