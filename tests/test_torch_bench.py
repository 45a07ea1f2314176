"""The benchmarks of functions on tensors and of whole models: what they compare, and the page."""

import itertools

import pytest

torch = pytest.importorskip("torch")

from test_bench_libraries import small_cases  # noqa: E402

from bench.common.case import make_data  # noqa: E402
from bench.common.libraries.through_torch import OursInTorch, TorchByAutograd  # noqa: E402
from bench.models.__main__ import main  # noqa: E402
from bench.models.measure import Timing, take_turns, without_norms  # noqa: E402
from bench.models.nets import NETS, QUICK  # noqa: E402
from bench.models.page import table  # noqa: E402
from bench.speed.measure import RIGHT, difference, exact_answer  # noqa: E402

NORMS = (torch.nn.LayerNorm, torch.nn.RMSNorm, torch.nn.GroupNorm, torch.nn.InstanceNorm2d)


def test_every_model_has_norms_and_the_one_without_none():
    for net in (*NETS, *QUICK):
        model, _ = net.build()
        parameters = sum(p.numel() for p in model.parameters())
        assert any(isinstance(m, NORMS) for m in model.modules()), net.name
        without = without_norms(model)
        assert not any(isinstance(m, NORMS) for m in without.modules()), net.name
        assert sum(p.numel() for p in without.parameters()) < parameters


def test_the_page(capsys):
    before = torch.get_num_threads()
    assert main(["--quick", "--threads", "1"]) == 0
    assert torch.get_num_threads() == before
    rows = [line for line in capsys.readouterr().out.splitlines() if " 1 thread |" in line]
    assert [row.split(" | ")[1] for row in rows] == ["training", "inference"] * len(QUICK)


def test_a_row_says_how_much_longer_and_which_part():
    timing = Timing("net", "training", 2, torch=10.0, ours=8.0, without=6.0, ratio=1.25)
    row = table([timing])[-1]
    assert row == "| net | training | 2 threads | 10 | 8 | 1.25 | 40% | 25% |"


def test_each_round_begins_with_another_model():
    calls = []
    take_turns([lambda i=i: calls.append(i) or sum(range(10**6)) for i in range(3)], rounds=3)
    order = [i for i, _ in itertools.groupby(calls)]
    assert order[-9:] == [0, 1, 2, 1, 2, 0, 2, 0, 1]


def test_functions_on_tensors_answer_every_case_by_autograd():
    for dtype in ("float32", "float64"):
        for case in small_cases():
            data = make_data(case, dtype)
            exact = exact_answer(case, data)
            ways = list(OursInTorch(1, dtype).variants(case, data))
            assert ways[0] is ways[1]
            assert len(ways) == 2
            assert difference(ways[0].read(ways[0].call()), exact) <= RIGHT[dtype], case.name
            theirs = list(TorchByAutograd(1, dtype).variants(case, data))
            assert theirs
            forward = case.direction == "forward"
            assert all(("autograd" in v.label) is not forward for v in [*ways, *theirs])
