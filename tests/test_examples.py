"""The examples run on photographs of every kind and fail with a sentence."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
from PIL import Image
from skimage import data

EXAMPLE = Path(__file__).parent.parent / "examples" / "style_transfer.py"
U = 2.0**-24


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("style_transfer", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["style_transfer"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["style_transfer"]


@pytest.fixture
def photographs(tmp_path):
    """Paths to one small photograph each: RGB, grey, RGBA, 16-bit grey, palette."""
    colour = data.coffee()[::8, ::8]
    grey = data.camera()[::8, ::8]
    alpha = np.dstack([colour, np.full(colour.shape[:2], 128, np.uint8)])
    images = {
        "rgb.png": Image.fromarray(colour),
        "grey.jpg": Image.fromarray(grey),
        "rgba.png": Image.fromarray(alpha),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette.gif": Image.fromarray(colour).quantize(32),
    }
    for name, image in images.items():
        image.save(tmp_path / name)
    return {name.split(".")[0]: str(tmp_path / name) for name in images}


@pytest.fixture
def untimed(example, monkeypatch, tmp_path):
    """The example in a directory of its own, with a clock that costs nothing."""
    monkeypatch.setattr(example, "best_seconds", lambda calls: [1e-3 for call in calls])
    monkeypatch.chdir(tmp_path)
    return example


@pytest.mark.parametrize("kind", ["rgb", "grey", "rgba", "deep", "palette"])
def test_reads_every_kind(example, photographs, kind):
    photograph = example.read_photograph(photographs[kind])
    assert photograph.dtype == np.float32
    assert photograph.ndim == 4
    assert photograph.shape[-1] == 3
    assert 0 <= photograph.min() < photograph.max() <= 1
    if kind == "rgba":  # half transparent on white
        opaque = example.read_photograph(photographs["rgb"])
        np.testing.assert_allclose(photograph, 1 + (opaque - 1) * 128 / 255, atol=4 * U)
    if kind == "deep":
        np.testing.assert_allclose(
            photograph[0, :, :, 0], data.camera()[::8, ::8] / 255, atol=4 * U
        )


def test_result_has_the_statistics_of_the_style(example):
    content = data.rocket()[None, ::4, ::4] / np.float32(255)
    style = data.coffee()[None, ::4, ::4] / np.float32(255)
    ours = example.OurSteps(threads=1)
    own, target = ours.statistics(content), ours.statistics(style)
    moved = ours.restyle(content, own.towards(target, 1)).astype(np.float64)
    # Epsilon takes its share: std is reached but for the factor sqrt(var / (var + epsilon)).
    variance = content.var((0, 1, 2), dtype=np.float64)
    std = target.std * np.sqrt(variance / (variance + example.EPSILON))
    np.testing.assert_allclose(moved.mean((0, 1, 2)), target.mean, atol=8 * U)
    np.testing.assert_allclose(moved.std((0, 1, 2)), std, atol=8 * U)
    back = ours.restyle(content, own.towards(target, 0))
    np.testing.assert_allclose(back, content, atol=8 * U)


def test_octaves_add_up_and_lrn_evens_them_out(example):
    content = data.rocket()[None, ::4, ::4] / np.float32(255)
    octaves = example.split_octaves(content)
    assert octaves.shape == (*content.shape[:3], example.OCTAVES)
    rest = (content @ example.LUMINANCE)[0] - octaves[0].sum(-1)
    assert rest.std() < 0.3 * octaves[0].sum(-1).std() + 0.1  # what is left is a heavy blur

    window = example.contrast_window(octaves)
    y = example.OurSteps(threads=1).even_out(octaves, **window)
    energy = np.square(octaves, dtype=np.float64)
    share = energy.mean(-1, keepdims=True) / energy.mean()
    np.testing.assert_allclose(y, octaves / np.sqrt(example.FLAT + share), rtol=16 * U, atol=1e-12)


@pytest.mark.parametrize(("content", "style"), [("rgba", "grey"), ("deep", "palette")])
def test_whole_run(untimed, photographs, capsys, content, style):
    options = ["--output", "picture.png", "--size", "48", "--threads", "1"]
    untimed.main([photographs[content], photographs[style], *options])
    assert np.asarray(Image.open("picture.png")).std() > 10  # something was drawn
    printed = capsys.readouterr().out
    for step in ("style statistics", "normalise content", "restyle content", "LRN of the octaves"):
        assert step in printed
    assert printed.endswith("picture: picture.png\n")


def test_default_photographs_need_no_download(untimed, monkeypatch, capsys):
    monkeypatch.setattr("socket.socket", None)
    untimed.main(["--size", "64"])
    assert Path("style_transfer.png").stat().st_size > 0
    assert "content 64 x 43, style 64 x 43" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.png", "text.png", ""])
def test_says_which_photograph_cannot_be_read(example, tmp_path, name):
    (tmp_path / "text.png").write_text("not a picture")
    path = str(tmp_path / name)
    with pytest.raises(SystemExit, match=r"cannot read the photograph .*: \S"):
        example.main([path, path])


def test_says_what_cannot_be_written(example, photographs, tmp_path):
    output = str(tmp_path / "nowhere" / "picture.png")
    with pytest.raises(SystemExit, match=r"cannot write .*nowhere"):
        example.main([photographs["rgb"], photographs["rgb"], "--output", output])


@pytest.mark.parametrize("arguments", [["one.png"], ["--size", "0"], ["--threads", "-1"]])
def test_refuses_bad_arguments(example, arguments):
    with pytest.raises(SystemExit) as error:
        example.main(arguments)
    assert error.value.code == 2
