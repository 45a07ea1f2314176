"""The comparison compares the same thing, refuses wrong answers and prints what it says."""

import json
import math
import os
import re
import threading
import time

import numpy as np
import pytest
from bench_command import run

from bench.common.case import Case
from bench.common.libraries import Library, Variant, load
from bench.common.libraries.ours import Ours
from bench.common.machine import pinned
from bench.speed import timing
from bench.speed.__main__ import main
from bench.speed.cases import CASES, FAR, QUICK, TINY
from bench.speed.measure import ask, difference, errors_at, measure
from bench.speed.result import Best, Result
from bench.speed.tables import summary_lines, table_lines
from bench.speed.timing import any_other_runs, seconds_of_others, wait_until_quiet


def test_cases_are_named_apart_and_come_in_both_directions():
    for cases in (CASES, QUICK, FAR):
        names = [case.name for case in cases]
        assert len(names) == len(set(names))
        forward = {name for name in names if "forward" in name and not name.startswith("add ")}
        turned = {name.replace("forward", "backward") for name in forward}
        assert turned == {name for name in names if "backward" in name}
    assert TINY in CASES
    operators = {case.operator for case in CASES}
    assert (
        operators == {case.operator for case in QUICK} == {case.operator for case in FAR} | {"LRN"}
    )


def test_wrong_and_failing_libraries_are_noted_not_timed():
    case = Case("layer norm", "forward", (4, 8))
    ours = Ours(1, "float32")

    class Other(Library):
        def layer_norm_forward(self, case, data):
            out, _ = ours.variants(case, data)
            yield Variant("rough", out.call, lambda y: (y + np.float32(1e-4),))
            yield Variant("off by one", out.call, lambda y: (y + 1,))
            raise RuntimeError("no such kernel\nand a trace")

    question = ask(case, "float32")
    result = measure(question, {"Other": Other(1, "float32")}, ours, rounds=1)
    assert not result.wrong
    assert result.best == "Other"
    assert result.others["Other"][1] == "rough"
    assert re.fullmatch(r"Other rough is off by \d\.\de-05, counted", result.notes[0])
    assert re.fullmatch(r"Other off by one is off by \d\.\de-01, not counted", result.notes[1])
    assert result.notes[2:] == ["Other cannot: no such kernel"]


def test_a_wrong_answer_of_ours_is_an_error(monkeypatch, capsys):
    right = Ours.layer_norm_forward

    def wrong(self, case, data):
        for variant in right(self, case, data):
            yield Variant(variant.label, variant.call, lambda y: (y + np.float32(1e-4),))

    arguments = ["--filter", r"^layer norm forward \(64,", "--libraries", "", "--rounds", "1"]
    arguments += ["--threads", "1"]
    assert main(arguments) == 0
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setattr(Ours, "layer_norm_forward", wrong)
    assert main(arguments) == 1
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
def test_difference(found, exact, expected):
    assert difference([*map(np.array, found)], [*map(np.array, exact)]) == expected


def test_errors_at_an_offset_count_what_is_lost_after_storing():
    """A sum of large numbers is exact there, so ours is as right as without the offset."""
    for case in (
        Case("layer norm", "forward", (8, 64)),
        Case("add layer norm", "forward", (8, 64)),
    ):
        errors = errors_at(case, {"NumPy": load("NumPy", 1, "float32")}, Ours(1, "float32"), 1e4)
        assert errors["ours"] < 1e-6
        assert errors["NumPy"] > 1e-5


def test_summary():
    """Like is held against like: what is bound against out=, what allocates against fresh."""

    def result(ours, bound, allocating):
        case = Case("LRN", "forward", (1, 2, 3), "NCHW")
        made = Result(case, ours=ours, fresh=2 * ours, copy=ours, floor=ours / 2)
        made.others = {"torch": Best(allocating, ""), "NumPy": Best(2 * allocating, "")}
        made.others["OpenVINO"] = Best(bound, "", bound=True)
        return made

    results = [result(1.0, 8.0, 16.0), result(1.0, 2.0, 0.5)]
    *_, line = summary_lines(results)
    cells = ["LRN forward", "2.00", "4.00", "1.41", "1.00", "0.50", "2.00", "1 of 2", "0.50"]
    cells += ["LRN forward nchw (1, 2, 3)"]
    assert [cell.strip() for cell in line.strip("|").split("|")] == cells
    lines = list(table_lines(results, ["torch", "NumPy", "JAX"], ["NumPy"]))
    assert "| torch | NumPy (not limited) | JAX |" in lines[0]
    assert "| 500000 | 1000000 | - |" in lines[-1]
    assert lines[-1].endswith("| torch | 0.50 | 2.00 | 0.25 | 1.00 | 0.50 |")


def test_command_line(tmp_path):
    output, docs = tmp_path / "numbers.json", tmp_path / "docs"
    finished = run(
        "--quick", "--filter", r"^layer norm .*768", "--libraries", "numpy", "--rounds", "1",
        "--threads", "1,2", "--json", str(output),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\n| layer norm forward (1, 768) |") == 2  # 1, 2 threads
    assert finished.stdout.count("\n| layer norm forward, mean 1e4 |") == 1
    assert "| call on (1, 768) / np.add, out= | 1 | <= 2.5 |" in finished.stdout
    numbers = json.loads(output.read_text())
    found = {(case["direction"], case["threads"]) for case in numbers["cases"]}
    assert found == {("forward", 1), ("forward", 2), ("backward", 1), ("backward", 2)}
    for case in numbers["cases"]:
        assert all(0 < seconds < 1 for seconds in case["seconds"].values())
        assert case["r"] == pytest.approx(case["seconds"]["NumPy"] / case["seconds"]["ours"])
        assert case["c"] == pytest.approx(case["seconds"]["copy"] / case["seconds"]["ours"])
        assert case["notes"] == []

    again = run("--from", str(output), "--docs", str(docs))
    assert again.stdout == finished.stdout
    isa = numbers["isa"]
    pictures = {f"speed-1-{isa}.svg", f"roofline-1-{isa}.svg"}
    assert {path.name for path in docs.iterdir()} == {"speed.md", *pictures}
    both = run("--from", str(output), str(output))
    assert both.stdout == f"{again.stdout.rstrip()}\n\n{again.stdout}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "0"],
        ["--threads", "1,x"],
        ["--rounds", "0"],
        ["--filter", "("],
        ["--filter", "nothing"],
        ["--libraries", "numpyy"],
        ["--dtype", "float32,int8"],
        ["--isa", "avx3"],
        ["--json", "x", "--from", "a", "b"],
    ],
)
def test_command_line_refuses(arguments):
    finished = run(*arguments)
    assert finished.returncode == 2
    assert arguments[0] in finished.stderr


needs_pinning = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system cannot pin"
)


@needs_pinning
def test_pins_all_threads_and_lets_go():
    before = os.sched_getaffinity(0)
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        with pinned(len(before)) as pin:
            pin(1)
            assert len(os.sched_getaffinity(0)) == 1
            assert os.sched_getaffinity(other.native_id) == os.sched_getaffinity(0)
        assert os.sched_getaffinity(other.native_id) == os.sched_getaffinity(0) == before
    finally:
        end.set()
        other.join()


@needs_pinning
def test_waits_for_threads_that_still_run():
    ends = []

    def compute():
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            np.sort(np.ones(100_000))  # lets other threads run
        ends.append(time.perf_counter())

    other = threading.Thread(target=compute)
    other.start()
    wait_until_quiet()
    assert ends
    assert not any_other_runs()
    other.join()


def test_knows_what_other_processes_use(monkeypatch, tmp_path):
    """All but idle and waiting, less what this process has used."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  100000 2000 30000 7 8 300 40 5000 6 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    monkeypatch.setattr(timing, "MACHINE", stat)
    busy = 137_340 / os.sysconf("SC_CLK_TCK")
    assert seconds_of_others() == pytest.approx(busy - sum(os.times()[:4]), abs=0.1)
    monkeypatch.setattr(timing, "MACHINE", tmp_path / "none")
    assert math.isnan(seconds_of_others())


def test_rivals_that_are_far_behind_stop_early():
    """Only the fastest of them counts; who is no rival takes all rounds."""
    calls = [0, 0, 0]

    def contestant(number, seconds):
        def call():
            calls[number] += 1
            time.sleep(seconds)

        return call

    contestants = [contestant(0, 0.004), contestant(1, 0.004), contestant(2, 0.002)]
    timing.best_seconds(contestants, 12, rivals=2)
    assert calls[1] < calls[0] - 10
    assert calls[2] > calls[0] - 3
