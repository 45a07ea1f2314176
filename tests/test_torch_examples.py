"""The example that trains on digits: both learn alike, and ours the same on any threads."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("sklearn")
import normkernels.torch as nkt
import torch

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_digits.py"
LINE = r"^(\w+), +(\d) threads? +(\d+)/360 +[\d.]+% +([\d.]+) .* ([0-9a-f]{16})$"
# Nets that differ by rounding errors alone may disagree about digits between two classes: 4 of 360.
MARGIN = 4


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", dict(os.environ))  # the example sets what OpenMP reads
        spec = importlib.util.spec_from_file_location("train_digits", EXAMPLE)
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "train_digits", module)
        spec.loader.exec_module(module)
        yield module


def small(digits, count=128):
    return type(digits)(*(tensor[:count] for tensor in digits))


def test_whole_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--epochs", "5", "--output", "picture.png"],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        text=True,
    )
    assert done.stderr == ""
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    lines = re.findall(LINE, done.stdout, flags=re.M)
    names = ["normkernels", "normkernels", "torch", "torch"]
    assert [line[:2] for line in lines] == list(zip(names, "1212", strict=True))
    right = [int(line[2]) for line in lines]
    assert min(right) >= 0.97 * 360
    assert max(right) - min(right) <= MARGIN
    assert lines[0][2:] == lines[1][2:]
    assert lines[0][4] != lines[2][4]
    assert "\nnormkernels: the same weights from 1 and from 2 threads\n" in done.stdout
    assert done.stdout.endswith("picture: picture.png\n")


def test_all_weights_are_the_same_on_any_number_of_threads(example):
    digits = small(example.read_digits(1))
    net = example.new_net(1)
    trained = [example.Training("normkernels", threads, net, 1) for threads in (1, 2, 3)]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for training in trained:
            training.epoch(digits)
    finally:
        torch.set_num_threads(threads_before)
    assert len({training.digest() for training in trained}) == 1
    assert len({tuple(training.losses) for training in trained}) == 1
    assert trained[0].digest() != example.Training("normkernels", 1, net, 1).digest()


@pytest.mark.parametrize("library", ["normkernels", "torch"])
def test_norms_alone_have_more_threads_than_one(example, library):
    training = example.Training(library, 3, example.new_net(0), 0)
    seen = {"norm": set(), "other": set()}

    def note(module, *_):
        kind = "norm" if isinstance(module, example.NORMS) else "other"
        seen[kind].add(torch.get_num_threads())

    for module in training.net:
        assert type(module).__module__.startswith("normkernels") == (
            library == "normkernels" and isinstance(module, example.NORMS)
        )
        module.register_forward_pre_hook(note)
    for module in training.net[1:]:  # the gradient of the images is nobody's
        module.register_full_backward_pre_hook(note)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training.epoch(small(example.read_digits(0), 16))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads_before)
    assert seen == {"norm": {3}, "other": {1}}


def test_trainings_begin_alike_and_leave_the_threads_as_they_were(example, monkeypatch):
    monkeypatch.setattr(example.Training, "epoch", lambda training, digits: None)
    threads_before = torch.get_num_threads()
    trainings = example.train(small(example.read_digits(0)), 1, 0)
    assert torch.get_num_threads() == threads_before
    assert len({training.digest() for training in trainings}) == 1
    assert any(isinstance(module, nkt.LayerNorm) for module in trainings[0].net)


def test_digits_held_out_are_not_learnt_from(example):
    digits = example.read_digits(3)
    assert len(digits.labels) + len(digits.held_out_labels) == 1797
    assert len(digits.held_out_labels) == 360
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    images = torch.cat([digits.images, digits.held_out_images]).flatten(1)
    assert len(torch.unique(images, dim=0)) == 1797  # no image is there twice


def test_says_what_cannot_be_written(example, tmp_path):
    run = SimpleNamespace(library="torch", threads=1, losses=[1.0], seconds=[(2.0, 1.0)])
    output = str(tmp_path / "nowhere" / "picture.png")
    with pytest.raises(SystemExit, match=r"cannot write .*nowhere"):
        example.draw([run] * 4, output)


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--epochs", "few"], ["--seed", "x"]])
def test_refuses_bad_arguments(example, arguments):
    with pytest.raises(SystemExit) as error:
        example.main(arguments)
    assert error.value.code == 2
