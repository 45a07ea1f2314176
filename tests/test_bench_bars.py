"""The bars of the comparison say what holds, and its page and pictures show what was measured."""

from xml.etree import ElementTree

import pytest

from bench.common.case import Case
from bench.speed.bars import Run, bar_lines, failure_lines, judge
from bench.speed.caches import cache_sizes, place
from bench.speed.cases import QUICK, TINY
from bench.speed.outcome import Outcome, from_json, pair_up
from bench.speed.page import write_page
from bench.speed.readme import BEGIN, END, write_readme
from bench.speed.result import Best, Result

CACHES = {1: 48 << 10, 2: 1280 << 10, 3: 48 << 20}
ROWS = "r of layer, RMS, instance and group norm"
COMMON = "r of layer and instance norm forward, 64 to 4096 elements, x of 0.1 to 4 MiB"


def made(case, *, threads=1, ours=1.0, copy=1.0, other=2.0, **more):
    """A result with these times; the best other library takes other."""
    others = {"torch": Best(other, "eager"), "NumPy": Best(9.0, "numpy")}
    return Result(case, threads, ours=ours, fresh=2 * ours, copy=copy, others=others, **more)


def verdict(results, name, threads=1, isa="avx2", other=None):
    """(worst value, how many hold, of how many, holds) of the bar with that name, or None."""
    for each in judge(Run(results, CACHES, isa, other)):
        if (each.bar.name, each.threads) == (name, threads):
            return pytest.approx(each.worst), each.holding, len(each.found), each.holds
    return None


def judged(results, caches=CACHES):
    return {each.bar.name for each in judge(Run(results, caches, "avx2"))}


def test_r():
    wide = Case("layer norm", "forward", (128, 512))
    tall = Case("layer norm", "backward", (512, 512))
    mean = "r, geometric mean"
    results = [made(wide, other=2.0), made(tall, other=8.0)]
    assert verdict(results, ROWS) == (2.0, 2, 2, True)
    assert verdict(results, mean) == (4.0, 1, 2, True)
    results = [made(wide, other=1.15), made(tall, other=1.3)]
    assert verdict(results, ROWS) == (1.15, 2, 2, True)
    assert verdict(results, ROWS, isa="avx512") == (1.15, 1, 2, False)
    assert verdict(results, mean)[-1] is False
    assert verdict(results, COMMON) == (1.15, 0, 1, False)


@pytest.mark.parametrize(
    ("operator", "shape", "order", "meant"),
    [
        ("layer norm", (1000, 64), "", True),
        ("layer norm", (1000, 63), "", False),
        ("layer norm", (1000, 1024), "", True),
        ("layer norm", (1000, 1050), "", False),
        ("layer norm", (200, 100), "", False),
        ("RMS norm", (1000, 1024), "", False),
        ("instance norm", (4, 8, 8, 300), "NHWC", True),
        ("instance norm", (4, 7, 7, 300), "NHWC", False),
        ("instance norm", (1, 64, 64, 64), "NCHW", True),
        ("instance norm", (1, 64, 65, 64), "NCHW", False),
    ],
)
def test_common_sizes(operator, shape, order, meant):
    assert (COMMON in judged([made(Case(operator, "forward", shape, order))])) is meant
    assert COMMON not in judged([made(Case(operator, "backward", shape, order))])


def test_lrn():
    case = Case("LRN", "forward", (1, 55, 55, 96), "NHWC")
    assert verdict([made(case, other=1.9)], "r of LRN") == (1.9, 0, 1, False)
    assert ROWS not in judged([made(case)])


@pytest.mark.parametrize(
    ("shape", "direction", "threads", "meant"),
    [
        ((128, 512), "forward", 1, False),
        ((330, 512), "forward", 1, True),
        ((330, 512), "forward", 2, False),
        ((330, 512), "backward", 1, True),
        ((4096, 4096), "forward", 2, True),
    ],
)
def test_floor(shape, direction, threads, meant):
    name, needed = f"f of norms {direction}, out of L2", {"forward": 0.85, "backward": 0.75}
    case = Case("layer norm", direction, shape)
    for share, holds in ((1.01, True), (0.99, False)):
        floor = share * needed[direction]
        results = [made(case, threads=threads, floor=floor)]
        expected = (floor, holds, 1, holds) if meant else None
        assert verdict(results, name, threads) == expected
    assert not any(bar.startswith("f ") for bar in judged(results, {}))


def test_avx512_is_faster_only_where_arithmetic_counts():
    name = "time over AVX-512's, 32 MiB and more"
    cases = [Case("layer norm", "forward", shape) for shape in ((4096, 4096), (64, 768))]
    wide = Outcome({"CPU": "some"}, CACHES, [made(case, ours=0.8) for case in cases], "avx512")
    narrow = Outcome({"CPU": "some"}, CACHES, [made(case) for case in cases], "avx2")
    elsewhere = Outcome({"CPU": "other"}, CACHES, [made(case) for case in cases], "avx2")
    pair_up([wide, narrow, elsewhere])
    assert elsewhere.wider is None
    (found,) = [each for each in narrow.verdicts if each.bar.name == name]
    assert found.found == [(pytest.approx(1.25), "layer norm forward (4096, 4096)")]
    assert not any(each.bar.name == name for each in [*wide.verdicts, *elsewhere.verdicts])


def test_powers_of_two():
    """By element, beside neighbours on either side."""
    name = "width a power of two / its neighbours"
    times = {(1000, 1008): 1.008, (1000, 1024): 1.2288, (1000, 1040): 1.04, (1000, 512): 9.0}
    results = [made(Case("layer norm", "forward", s), ours=t) for s, t in times.items()]
    results.append(made(Case("layer norm", "backward", (1000, 1040)), ours=7.0))
    assert verdict(results, name) == (1.2, 0, 1, False)


def test_bfloat16():
    case = Case("layer norm", "forward", (128, 512))
    results = [made(case, other=1.6, dtype="bfloat16"), made(case, other=8.0)]
    assert verdict(results, "bfloat16 forward, torch / ours") == (1.6, 1, 1, True)
    assert verdict(results, ROWS) == (8.0, 1, 1, True)
    assert verdict(results, "r, geometric mean") == (8.0, 1, 1, True)


def test_tiny_call():
    for add, out, fresh in ((0.5, True, True), (0.45, True, False), (0.3, False, False)):
        results = [made(TINY, add=add)]
        assert verdict(results, "call on (1, 768) / np.add, out=")[-1] is out
        assert verdict(results, "call on (1, 768) / np.add, fresh")[-1] is fresh


def test_two_threads_are_never_slower():
    case = Case("layer norm", "forward", (32, 128))
    for ours, holds in ((1.01, True), (1.1, False)):
        results = [made(case), made(case, threads=2, ours=ours)]
        assert verdict(results, "2 threads over 1", 2) == (1 / ours, holds, 1, holds)
        assert verdict(results, "2 threads over 1", 1) is None


def test_bar_table_names_the_worst():
    shapes = [(128, 20 + n) for n in range(8)]
    results = [
        made(Case("layer norm", "forward", shape), other=1.0 + 0.01 * n, floor=0.5 + 0.1 * n)
        for n, shape in enumerate(shapes)
    ]
    verdicts = judge(Run(results, CACHES, "avx2"))
    row = f"| {ROWS} | 1 | >= 1.1 | 1.00 | layer norm forward (128, 20) | 0 of 8 | 5 | **no** |"
    lines = [*bar_lines(verdicts)]
    assert row in lines
    assert any(line.startswith("| r, geometric mean |") and "| 1.27 |" in line for line in lines)
    line = next(failure_lines(verdicts))
    assert line.startswith(f"- {ROWS}, 1 thread: layer norm forward (128, 20) (1.00), ")
    assert line.endswith("(128, 24) (1.04) and 3 more")


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
def outcomes():
    return [made_outcome("avx2", 1), made_outcome("avx512", 2)]


SHOWN = [case for case in QUICK if case.operator in ("layer norm", "instance norm", "LRN")]


def made_outcome(isa, speed):
    results = [
        made(
            case, threads=threads, ours=case.moved(4) * 1e-10 / threads / speed, copy=1e-6, add=0.1
        )
        for case in SHOWN
        for threads in (1, 2)
    ]
    for result in results:
        result.errors = {"ours out=": 1e-7, "torch eager": 1e-6, "NumPy numpy": 0.0}
    results[0].notes.append("torch eager is off by 1.0e-04, counted")
    far = {"layer norm forward": {"ours": 2e-7, "torch": 3e-4}}
    return Outcome({"CPU": "some"}, CACHES, results, isa, ["NumPy"], far)


def test_json_and_back(outcomes):
    again = from_json(outcomes[0].as_json())
    assert again.markdown() == outcomes[0].markdown()
    assert again.caches == CACHES
    assert again.results[0].case == outcomes[0].results[0].case


def test_page_and_pictures(outcomes, tmp_path):
    """All cases of all runs are there, and the same numbers make the same files."""
    names = [
        f"{kind}-{run}.svg" for kind in ("roofline", "speed") for run in ("1-avx2", "2-avx512")
    ]
    texts = []
    for name in ("first", "second"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "speed-9-old.svg").write_text("of an earlier page")
        write_page(directory, outcomes)
        files = sorted(directory.iterdir())
        assert [path.name for path in files] == sorted([*names, "speed.md"])
        texts.append({path.name: path.read_text() for path in files})
    assert texts[0] == texts[1]
    page = texts[0].pop("speed.md")
    assert all(page.count(f"| {case.name} |") >= 4 for case in SHOWN)  # two runs, two threads
    assert page.count("- CPU: some") == 2
    assert "- [Run 2: some, avx512](#run-2-some-avx512)\n" in page
    assert "\n## Run 2: some, avx512\n" in page
    assert "| NumPy (not limited) |" in page
    assert "| layer norm forward, mean 1e4 | 2.0e-07 | - | 3.0e-04 |" in page
    for picture in texts[0].values():
        assert ElementTree.fromstring(picture).tag.endswith("svg")
    # matplotlib writes each text as a comment beside its outlines.
    ratios = texts[0]["speed-1-avx2.svg"]
    assert all(f"<!-- {case.shape} -->" in ratios for case in SHOWN if not case.order)
    assert "<!-- nhwc (16, 14, 14, 64) -->" in ratios


def test_readme(outcomes, tmp_path):
    """Only what stands between the marks is written; a second time changes nothing."""
    path = tmp_path / "README.md"
    path.write_text(f"first\n{BEGIN}\nold\n{END}\nlast\n")
    write_readme(path, outcomes)
    text = path.read_text()
    assert text.startswith(f"first\n{BEGIN}\nHow many times")
    assert text.endswith(f"\n{END}\nlast\n")
    heads = "|  | avx2 (1), 1 thread | avx2 (1), 2 threads | avx512 (2), 1 thread |"
    assert heads in text
    (row,) = [line for line in text.splitlines() if line.startswith("| layer norm forward |")]
    assert row.endswith("| 2e-7 | 3e-4 |")  # with x about an offset
    (row,) = [line for line in text.splitlines() if line.startswith("| LRN forward |")]
    assert row.endswith("| 1e-7 | 1e-6 |")
    write_readme(path, outcomes)
    assert path.read_text() == text
    path.write_text("no marks")
    with pytest.raises(ValueError, match="README"):
        write_readme(path, outcomes)
