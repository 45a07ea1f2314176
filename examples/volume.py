"""Normalises a volume that is larger than memory, on this machine: from disk to disk.

    python examples/volume.py [--size 2GB] [--memory 512MB] [--output volume.png]

A real scan of a head, in two channels whose units differ, is tiled to a volume of any size and
written with Zarr, in chunks. Then Dask reads, normalises and writes it on two workers whose memory
is limited: instance norm, for which every chunk needs the mean and the deviation of its whole
channel. A slice before and after goes into a picture.

Needs the extra: pip install 'normkernels[examples]'.
"""

import argparse
import logging
import math
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import dask.array as da
    import matplotlib
    import nibabel
    from dask.utils import format_bytes, parse_bytes
    from distributed import Client, LocalCluster, progress
except ImportError as error:
    sys.exit(f"volume: {error}; pip install 'normkernels[examples]'")

import normkernels.dask as nkd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Array = NDArray[np.float32]

WORKERS = 2
SCANS_IN_A_CHUNK = (2, 2, 2)  # 9 MB: next to that, what Dask takes for a task is little
LEAST_MEMORY = 256_000_000  # of which Python, Dask and Zarr take half


def read_scan() -> Array:
    """A head at two times, (C, D, H, W), which nibabel brings along to test itself with.

    The second is in the counts of another instrument: 3 units each, and 30000 more."""
    path = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    scan = np.asarray(nibabel.load(path).dataobj, np.float32)
    scan = np.ascontiguousarray(scan.transpose(3, 2, 1, 0)[:, :, ::-1])
    scan[1] = scan[1] / 3 + 30000
    return scan


def tiled(scan: Array, size: int) -> da.Array:
    """The scan beside itself, (1, C, D, H, W), of `size` bytes or somewhat more, lazily."""
    block = [n * times for n, times in zip(scan.shape[1:], SCANS_IN_A_CHUNK, strict=True)]
    blocks = math.ceil(size / (len(scan) * math.prod(block) * scan.itemsize))
    deep = math.ceil(blocks ** (1 / 3))
    high = math.ceil(math.sqrt(blocks / deep))
    counts = (deep, high, math.ceil(blocks / (deep * high)))
    spatial = ((n,) * count for n, count in zip(block, counts, strict=True))
    chunks = ((1,), (1,) * len(scan), *spatial)
    return da.map_blocks(_chunk, scan, chunks=chunks, dtype=scan.dtype, meta=scan[None, :0])


def _chunk(scan: Array, block_info: Any = None) -> Array:
    channel = block_info[None]["chunk-location"][1]
    return np.tile(scan[channel], (1, 1, *SCANS_IN_A_CHUNK))


def run(client: Client, title: str, writing: Any) -> float:
    """Computes what writes an array, with a progress bar; the seconds it took."""
    print(title)
    start = time.perf_counter()
    future = client.compute(writing)
    progress(future, notebook=False)
    print()
    future.result()
    return time.perf_counter() - start


def most_memory() -> int:
    """In bytes, that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def normalise(scan: Array, size: int, memory: int, directory: Path) -> tuple[da.Array, da.Array]:
    """Writes the volume and its instance norm, and says what that took; both, lazily."""
    paths = [str(directory / name) for name in ("volume.zarr", "normalised.zarr")]
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            memory_limit=memory,
            dashboard_address=None,
            local_directory=str(directory),
            silence_logs=logging.ERROR,  # at the end, for one, of workers that take their time
        ) as cluster,
        Client(cluster) as client,
    ):
        volume = tiled(scan, size)
        run(client, "writing the volume", volume.to_zarr(paths[0], compute=False))
        x = da.from_zarr(paths[0])
        seconds = run(
            client, "normalising it", nkd.instance_norm(x).to_zarr(paths[1], compute=False)
        )
        most = max(client.run(most_memory).values())
    extents = " x ".join(str(n) for n in x.shape[1:])
    print(
        f"{extents} {x.dtype}, {format_bytes(x.nbytes)} in {x.npartitions} chunks: "
        f"{seconds:.1f} s, {format_bytes(int(x.nbytes / seconds))}/s\n"
        f"most memory of a worker: {format_bytes(most)} of {format_bytes(memory)}"
    )
    return x, da.from_zarr(paths[1])


def draw(before: da.Array, after: da.Array, scan: Array, output: str) -> None:
    """A slice of both channels, on one scale of greys: of the values before, and after."""
    deep, high, wide = (
        min(n, 2 * m) for n, m in zip(before.shape[2:], scan.shape[1:], strict=True)
    )
    at = (0, slice(None), min(deep, scan.shape[1]) // 2, slice(high), slice(wide))
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.6), layout="constrained")
    figure.suptitle("Instance norm of a volume larger than memory: four of its tiles")
    titles = (("Before: as measured", before), ("After: deviations from the channel's mean", after))
    for row, (title, array) in zip(axes, titles, strict=True):
        channels = array[at].compute()
        limits = {"vmin": channels.min(), "vmax": channels.max(), "cmap": "gray"}
        for axis, image, channel in zip(row, channels, ("1", "2"), strict=False):
            shown = axis.imshow(image, **limits)
            axis.set_title(f"{title}, channel {channel}", fontsize=10, loc="left")
            axis.set_axis_off()
        figure.colorbar(shown, ax=row[1], shrink=0.8)
        row[2].hist([c.ravel() for c in channels], bins=60, label=["channel 1", "channel 2"])
        row[2].set_yscale("log")
        row[2].set_title("Values of the slice", fontsize=10, loc="left")
        row[2].spines[["top", "right"]].set_visible(False)
        row[2].legend(frameon=False)
    try:
        figure.savefig(output, dpi=100)
    except (OSError, ValueError) as error:
        raise SystemExit(f"volume: cannot write {output!r}: {error}") from None
    finally:
        plt.close(figure)


def bytes_of(text: str) -> int:
    try:
        value = parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is {text!r}, must be a size such as 2GB") from error
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}, must be at least 1 byte")
    return int(value)


def memory_of(text: str) -> int:
    if (value := bytes_of(text)) < LEAST_MEMORY:
        least = format_bytes(LEAST_MEMORY)
        raise argparse.ArgumentTypeError(f"is {text!r}, must be at least {least}")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--size", type=bytes_of, default="2GB", help="of the volume (default: %(default)s)"
    )
    parser.add_argument(
        "--memory", type=memory_of, default="512MB", help="of each worker (default: %(default)s)"
    )
    parser.add_argument(
        "--directory", help="where the volume and its norm are kept (default: they are not)"
    )
    parser.add_argument("--output", default="volume.png", help="picture to write")
    options = parser.parse_args(arguments)
    scan = read_scan()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(options.directory or temporary)
        volumes = normalise(scan, options.size, options.memory, directory)
        draw(*volumes, scan, options.output)
    print(f"picture: {options.output}")


if __name__ == "__main__":
    main()
