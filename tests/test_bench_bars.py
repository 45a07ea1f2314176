"""The bars of the comparison say what holds, and its page and pictures show what was measured."""

from xml.etree import ElementTree

import pytest

from bench.common.case import Case
from bench.speed.bars import bar_lines, failure_lines, judge
from bench.speed.caches import cache_sizes, place
from bench.speed.cases import QUICK, TINY
from bench.speed.outcome import Outcome, from_json
from bench.speed.page import write_page
from bench.speed.result import Result

CACHES = {1: 48 << 10, 2: 1280 << 10, 3: 48 << 20}


def made(case, *, threads=1, ours=1.0, copy=1.0, other=2.0, **more):
    """A result with these times; the best other library takes other."""
    others = {"torch": (other, "eager"), "NumPy": (9.0, "numpy")}
    return Result(case, threads, ours=ours, fresh=2 * ours, copy=copy, others=others, **more)


def verdict(results, name, threads=1):
    """(worst value, how many hold, of how many, holds) of the bar with that name, or None."""
    for each in judge(results, CACHES):
        if (each.bar.name, each.threads) == (name, threads):
            return pytest.approx(each.worst), each.holding, len(each.found), each.holds
    return None


def test_r():
    wide = Case("layer norm", "forward", (128, 512))
    tall = Case("layer norm", "forward", (512, 512))
    near, mean = "r where another is within 1.4 of the copy", "r, geometric mean"
    results = [made(wide, other=2.0), made(tall, other=8.0)]
    assert verdict(results, "r") == (2.0, 2, 2, True)
    assert verdict(results, near) is None
    assert verdict(results, mean)[0] == 4.0
    results = [made(wide, other=1.2, copy=0.9), made(tall, other=1.2, copy=0.5)]
    assert verdict(results, "r") == (1.2, 0, 1, False)
    assert verdict(results, near) == (1.2, 1, 1, True)
    assert verdict(results, mean)[-1] is False


@pytest.mark.parametrize(
    ("shape", "direction", "threads", "bar"),
    [
        ((128, 512), "forward", 1, ("c of norms forward, in L2", 0.4)),
        ((128, 512), "backward", 1, ("c of norms backward, in L2", 0.3)),
        ((256, 1024), "forward", 1, ("c of norms forward, in L3", 0.55)),
        ((256, 1024), "forward", 2, ("c of norms forward, in L2", 0.4)),
        ((2048, 1024), "backward", 1, ("c of norms backward, in L3", 0.4)),
        ((4096, 4096), "forward", 1, ("c of norms forward, out of cache", 0.8)),
        ((4096, 4096), "backward", 1, ("c of norms backward, out of cache", 0.6)),
        ((16384, 16), "backward", 1, ("c of norms over 2 to 64 elements", 0.4)),
        ((65536, 64), "forward", 1, ("c of norms over 2 to 64 elements", 0.4)),
    ],
)
def test_c_of_norms(shape, direction, threads, bar):
    name, needed = bar
    case = Case("layer norm", direction, shape)
    for share, holds in ((1.01, True), (0.99, False)):
        results = [made(case, threads=threads, copy=share * needed)]
        assert verdict(results, name, threads) == (share * needed, holds, 1, holds)
        judged = {each.bar.name for each in judge(results, CACHES)}
        assert {bar for bar in judged if bar.startswith("c ")} == {name}


def test_c_is_not_judged_in_l1_nor_without_caches():
    results = [made(TINY), made(Case("layer norm", "forward", (3, 7)))]
    assert not [each for each in judge(results, CACHES) if each.bar.name.startswith("c ")]
    results = [made(Case("layer norm", "forward", (4096, 4096)))]
    assert not [each for each in judge(results, {}) if each.bar.name.startswith("c ")]


def test_lrn():
    shape, order = (1, 55, 55, 96), "NHWC"
    usual = made(Case("LRN", "forward", shape, order), copy=0.3)
    large = made(Case("LRN", "forward", shape, order, 11), copy=0.24)
    assert verdict([usual, large], "c of LRN forward") == (0.24, 1, 2, False)
    general = made(Case("LRN", "forward", shape, order, 5, 0.6), ours=1.9)
    assert verdict([usual, general], "LRN, general beta / beta 0.75") == (1.9, 1, 1, True)
    assert verdict([general], "LRN, general beta / beta 0.75") is None
    backward = made(Case("LRN", "backward", shape, order), copy=0.19)
    assert verdict([backward], "c of LRN backward") == (0.19, 0, 1, False)


def test_layouts():
    first = made(Case("instance norm", "forward", (2, 5, 30, 40), "NCHW"))
    last = Case("instance norm", "forward", (2, 30, 40, 5), "NHWC")
    for ours, holds in ((1.2, True), (1.3, False)):
        results = [first, made(last, ours=ours)]
        assert verdict(results, "NHWC / NCHW") == (ours, holds, 1, holds)


def test_tiny_call():
    for add, out, fresh in ((0.5, True, True), (0.45, True, False), (0.3, False, False)):
        results = [made(TINY, add=add)]
        assert verdict(results, "call on (1, 768) / np.add, out=")[-1] is out
        assert verdict(results, "call on (1, 768) / np.add, fresh")[-1] is fresh


def test_two_threads():
    """In cache and above 1 MiB there must be a gain; nowhere a loss."""
    gain, loss = "2 threads, in cache above 1 MiB, over 1", "2 threads, any case, over 1"
    case = Case("layer norm", "forward", (2048, 1024))
    small = Case("layer norm", "forward", (32, 128))
    results = [made(each) for each in (case, small)]
    results += [made(case, threads=2, ours=0.55), made(small, threads=2, ours=1.01)]
    assert verdict(results, gain, 2) == (1 / 0.55, 1, 1, True)
    assert verdict(results, loss, 2) == (1 / 1.01, 2, 2, True)
    assert verdict(results, loss, 1) is None
    results[-1] = made(small, threads=2, ours=1.1)
    assert verdict(results, loss, 2) == (1 / 1.1, 1, 2, False)


def test_bar_table_names_the_worst():
    shapes = [(128, 512 + n) for n in range(8)]
    results = [
        made(Case("layer norm", "forward", shape), other=1.2 + 0.01 * n, copy=0.5)
        for n, shape in enumerate(shapes)
    ]
    verdicts = judge(results, CACHES)
    row = "| r | 1 | >= 1.3 | 1.20 | layer norm forward (128, 512) | 0 of 8 | **no** |"
    assert row in [*bar_lines(verdicts)]
    line = next(failure_lines(verdicts))
    assert line.startswith("- r, 1 thread: layer norm forward (128, 512) (1.20), ")
    assert line.endswith("(128, 516) (1.24) and 3 more")


def test_cache_sizes(tmp_path):
    for number, (level, kind, size) in enumerate(
        [
            (1, "Data", "48K"),
            (1, "Instruction", "32K"),
            (2, "Unified", "2048K"),
            (3, "Unified", "1M"),
        ]
    ):
        index = tmp_path / f"index{number}"
        index.mkdir()
        for name, text in (("level", str(level)), ("type", kind), ("size", size)):
            (index / name).write_text(text + "\n")
    assert cache_sizes(tmp_path) == {1: 48 << 10, 2: 2 << 20, 3: 1 << 20}
    assert cache_sizes(tmp_path / "none") == {}


def test_place():
    sizes = {48 << 10: "L1", (48 << 10) + 1: "L2", 48 << 20: "L3", 49 << 20: "", 64 << 20: "memory"}
    assert {size: place(size, CACHES) for size in sizes} == sizes
    assert place(2 << 20, CACHES, threads=2) == "L2"
    assert place(49 << 20, CACHES, threads=2) == ""


@pytest.fixture
def outcome():
    results = [
        made(case, threads=threads, ours=case.moved(4) * 1e-10 / threads, copy=1e-6, add=0.1)
        for case in QUICK
        for threads in (1, 2)
    ]
    for result in results:
        result.errors = {"ours out=": 1e-7, "torch eager": 1e-6, "NumPy numpy": 0.0}
    results[0].notes.append("torch eager is off by 1.0e-04, counted")
    return Outcome({"CPU": "some"}, CACHES, results)


def test_json_and_back(outcome):
    again = from_json(outcome.as_json())
    assert again.markdown() == outcome.markdown()
    assert again.caches == CACHES
    assert again.results[0].case == outcome.results[0].case


def test_page_and_pictures(outcome, tmp_path):
    """All cases are there, and the same numbers make the same files."""
    texts = []
    for name in ("first", "second"):
        write_page(tmp_path / name, outcome)
        files = sorted((tmp_path / name).iterdir())
        assert [path.name for path in files] == ["roofline.svg", "speed.md", "speed.svg"]
        texts.append([path.read_text() for path in files])
    assert texts[0] == texts[1]
    roofline, page, ratios = texts[0]
    assert all(page.count(f"| {case.name} |") >= 3 for case in QUICK)
    assert "- CPU: some" in page
    for picture in (roofline, ratios):
        assert ElementTree.fromstring(picture).tag.endswith("svg")
    # matplotlib writes each text as a comment beside its outlines.
    assert all(f"<!-- {case.shape} -->" in ratios for case in QUICK if not case.order)
    assert "<!-- nhwc (16, 14, 14, 64) -->" in ratios
