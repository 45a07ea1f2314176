"""The comparison compares the same thing, refuses wrong answers and prints what it says."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parent.parent / "bench"
MODULES = ("cases", "compare", "libraries", "progress", "report", "timing")


@pytest.fixture(scope="module")
def bench():
    """bench/ as the directory of the running script; its modules are forgotten afterwards."""
    sys.path.insert(0, str(BENCH))
    import compare  # noqa: PLC0415

    yield compare
    sys.path.remove(str(BENCH))
    for name in [name for name in sys.modules if name.split(".")[0] in MODULES]:
        del sys.modules[name]


def test_cases_are_named_apart_and_come_in_both_directions(bench):
    names = [case.name for case in bench.USUAL + bench.ODD]
    assert len(names) == len(set(names))
    assert len(bench.USUAL) == 56
    turned = {name.replace("forward", "backward") for name in names if "forward" in name}
    assert turned == {name for name in names if "backward" in name}


def small_cases(bench):
    """Every operator, direction and layout, on shapes that are no multiple of anything."""
    return [
        *bench_cases(bench, "layer norm", (3, 5, 7), "", 5, 0.75),
        *bench_cases(bench, "instance norm", (2, 3, 5, 7), "NCHW", 5, 0.75),
        *bench_cases(bench, "instance norm", (2, 5, 7, 3), "NHWC", 5, 0.75),
        *bench_cases(bench, "LRN", (2, 7, 3, 5), "NCHW", 3, 0.6),
        *bench_cases(bench, "LRN", (2, 3, 5, 7), "NHWC", 11, 0.5),
    ]


def bench_cases(bench, *arguments):
    operator, *rest = arguments
    return [bench.Case(operator, direction, *rest) for direction in ("forward", "backward")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("title", ["ours", "NumPy", "torch", "ONNX Runtime", "OpenVINO"])
def test_answers_are_right(bench, title, dtype):
    library = bench.Ours(1, dtype) if title == "ours" else bench.load(title, 1, dtype)
    if library is None:
        pytest.skip(f"{title} is not installed")
    for case in small_cases(bench):
        data = bench.make_data(case, dtype)
        exact = bench.exact_answer(case, data)
        for variant in library.variants(case, data):
            found = variant.read(variant.call())
            assert [array.dtype for array in found] == [dtype] * len(exact)
            assert found[0].shape == case.shape
            assert bench.difference(found, exact) <= bench.RIGHT[dtype], variant.label


def test_wrong_and_failing_libraries_are_noted_not_timed(bench):
    case = bench.Case("layer norm", "forward", (4, 8))
    ours = bench.Ours(1, "float32")

    class Other(bench.Library):
        def layer_norm_forward(self, case, data):
            out, _ = ours.variants(case, data)
            yield bench.Variant("rough", out.call, lambda y: (y + np.float32(1e-4),))
            yield bench.Variant("off by one", out.call, lambda y: (y + 1,))
            raise RuntimeError("no such kernel\nand a trace")

    result = bench.measure(case, {"Other": Other(1, "float32")}, ours, rounds=1)
    assert not result.wrong
    assert result.best == "Other"
    assert result.others["Other"][1] == "rough"
    assert re.fullmatch(r"Other rough is off by \d\.\de-05, counted", result.notes[0])
    assert re.fullmatch(r"Other off by one is off by \d\.\de-01, not counted", result.notes[1])
    assert result.notes[2:] == ["Other cannot: no such kernel"]


def test_a_wrong_answer_of_ours_is_an_error(bench, monkeypatch, capsys):
    right = bench.Ours.layer_norm_forward

    def wrong(self, case, data):
        for variant in right(self, case, data):
            yield bench.Variant(variant.label, variant.call, lambda y: (y + np.float32(1e-4),))

    arguments = ["--filter", r"layer norm forward \(32,", "--libraries", "", "--rounds", "1"]
    assert bench.main(arguments) == 0
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setattr(bench.Ours, "layer_norm_forward", wrong)
    assert bench.main(arguments) == 1
    assert "ours out= is off by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "exact", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0),
        ([[1.0, 2.5]], [[1.0, 2.0]], 0.25),
        ([[0.0, 0.5]], [[0.0, 0.0]], 0.5),
        ([[math.nan, 0.0]], [[0.0, 0.0]], math.inf),
        ([[0.0]], [[0.0, 0.0]], math.inf),
        ([[0.0], [0.0]], [[0.0]], math.inf),
    ],
)
def test_difference(bench, found, exact, expected):
    assert bench.difference([*map(np.array, found)], [*map(np.array, exact)]) == expected


def test_summary(bench):
    def result(ours, other):
        made = bench.Result(bench.Case("LRN", "forward", (1, 2, 3), "NCHW"), ours, 2 * ours, ours)
        made.others = {"torch": (other, ""), "NumPy": (2 * other, "")}
        return made

    results = [result(1.0, 8.0), result(1.0, 0.5)]
    *_, line = bench.summary_lines(results)
    cells = ["LRN forward", "2.00", "1.00", "1.00", "1 of 2", "0.50", "LRN forward nchw (1, 2, 3)"]
    assert [cell.strip() for cell in line.strip("|").split("|")] == cells
    row = list(bench.table_lines(results, ["torch", "NumPy", "JAX"]))[-1]
    assert "| 500000 | 1000000 | - |" in row
    assert row.endswith("| torch | 0.50 | 1.00 |")


def run(*arguments):
    command = [sys.executable, str(BENCH / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_command_line(tmp_path):
    output = tmp_path / "numbers.json"
    finished = run(
        "--quick", "--filter", r"^layer norm .*768", "--libraries", "numpy", "--rounds", "1",
        "--json", str(output),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "| layer norm forward (1, 768) |" in finished.stdout
    assert "| layer norm backward (1, 768) |" in finished.stdout
    numbers = json.loads(output.read_text())
    assert len(numbers["cases"]) == 2
    for case in numbers["cases"]:
        assert all(0 < seconds < 1 for seconds in case["seconds"].values())
        assert case["r"] == pytest.approx(case["seconds"]["NumPy"] / case["seconds"]["ours"])
        assert case["c"] == pytest.approx(case["seconds"]["copy"] / case["seconds"]["ours"])
        assert case["notes"] == []


@pytest.mark.parametrize(
    "arguments",
    [["--threads", "0"], ["--filter", "("], ["--filter", "nothing"], ["--libraries", "numpyy"]],
)
def test_command_line_refuses(arguments):
    finished = run(*arguments)
    assert finished.returncode == 2
    assert arguments[0] in finished.stderr


def test_pins_and_lets_go(bench):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot pin")
    before = os.sched_getaffinity(0)
    with bench.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
