"""examples/volume.py: a small volume from disk to disk, a picture, and sentences about failures."""

import importlib
import os
import sys

import numpy as np
import pytest
from declarations import ROOT

for module in ("dask.array", "distributed", "matplotlib", "nibabel", "zarr"):
    pytest.importorskip(module)

import dask.array as da  # noqa: E402
from PIL import Image  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # what a cluster has to say is not ours


@pytest.fixture(scope="module")
def example():
    """The example as a module, which workers find, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "examples")
        patch.setenv("PYTHONPATH", str(ROOT / "examples"), prepend=os.pathsep)
        yield importlib.import_module("volume")
        del sys.modules["volume"]


def test_scan_is_a_head_in_two_units(example):
    scan = example.read_scan()
    assert scan.dtype == np.float32
    assert scan.shape == (2, 24, 96, 128)
    first, second = scan.reshape(2, -1)
    assert np.corrcoef(first, second)[0, 1] > 0.99
    assert second.mean() > 20 * first.max()


@pytest.mark.parametrize("size", [1, 50_000_000, 3_000_000_000])
def test_volume_is_as_large_as_wanted(example, size):
    scan = example.read_scan()
    volume = example.tiled(scan, size)
    chunk = 8 * scan[0].nbytes
    assert size <= volume.nbytes <= 1.7 * size + 2 * chunk
    assert volume.chunksize == (1, 1, 48, 192, 256)
    corner = volume[0, :, :30, :100, :130].compute(scheduler="synchronous")
    np.testing.assert_array_equal(corner[:, :24, :96, :128], scan)
    np.testing.assert_array_equal(corner[:, 24:, 96:, 128:], scan[:, :6, :4, :2])


def test_whole_run(example, tmp_path, capsys):
    output = tmp_path / "picture.png"
    options = ["--size", "30MB", "--memory", "400MB", "--directory", str(tmp_path)]
    example.main([*options, "--output", str(output)])
    printed = capsys.readouterr().out
    assert "2 x 96 x 192 x 256 float32, 36.00 MiB in 4 chunks" in printed
    assert printed.endswith(f"picture: {output}\n")
    assert np.asarray(Image.open(output)).std() > 10  # something was drawn
    before, after = (
        da.from_zarr(str(tmp_path / name)).compute() for name in ("volume.zarr", "normalised.zarr")
    )
    wide = before.astype(np.float64)
    deviation = wide - wide.mean((2, 3, 4), keepdims=True)
    exact = deviation / np.sqrt(np.square(deviation).mean((2, 3, 4), keepdims=True) + 1e-5)
    assert (np.abs(after - exact) <= 4 * 2.0**-24 * np.maximum(1, np.abs(exact))).all()


@pytest.mark.parametrize(
    "arguments", [["--size", "0"], ["--size", "large"], ["--memory", "1MB"], ["--memory", "1 x"]]
)
def test_refuses_bad_arguments(example, arguments):
    with pytest.raises(SystemExit) as error:
        example.main(arguments)
    assert error.value.code == 2


def test_says_what_cannot_be_written(example, tmp_path):
    scan = example.read_scan()
    volume = example.tiled(scan, 1)
    with pytest.raises(SystemExit, match=r"volume: cannot write .*nowhere"):
        example.draw(volume, volume, scan, str(tmp_path / "nowhere" / "picture.png"))
