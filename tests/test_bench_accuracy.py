"""The page about accuracy has all its parts, every number of ours keeps the promise, and what is
wrong in an answer is said."""

import numpy as np
import pytest
import reference

from bench.accuracy.__main__ import main
from bench.accuracy.cases import sections
from bench.accuracy.measure import Finding, Row, judge, measure
from bench.accuracy.page import cell, growths, refusals, score, table
from bench.common.libraries import Library
from bench.common.libraries.ours import Ours

# Heading -> rows under it with --quick.
SECTIONS = {
    "Layer norm, forward": 16,
    "Instance norm, forward": 10,
    "LRN, forward": 6,
    "Layer norm, backward": 15,
    "Instance norm, backward": 30,
    "LRN, backward": 6,
    "Layer norm, forward, float64": 4,
    "Instance norm, forward, float64": 8,
    "Layer norm, backward, float64": 12,
    "Instance norm, backward, float64": 24,
}


def tables(page):
    """Heading -> the cells of each row, as dictionaries."""
    found = {}
    for block in page.split("\n### ")[1:]:
        lines = block.splitlines()
        rows = [split(line) for line in lines if line.startswith("|")]
        found[lines[0]] = [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    return found


def split(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def promise(heading):
    backward = "backward" in heading
    if heading.startswith("LRN"):
        return reference.LRN_BACKWARD if backward else reference.LRN_FORWARD
    return reference.BACKWARD if backward else reference.FORWARD


def test_every_number_of_ours_keeps_the_promise(tmp_path, capsys):
    assert main(["--quick", "--libraries", "", "--output", str(tmp_path / "docs")]) == 0
    assert "ours keeps every promise" in capsys.readouterr().out
    page = (tmp_path / "docs" / "accuracy.md").read_text()
    found = tables(page)
    assert {heading: len(rows) for heading, rows in found.items()} == SECTIONS
    for heading, rows in found.items():
        errors = [float(row["ours"].strip("*")) for row in rows]
        assert 0 < max(errors) <= promise(heading)
        assert all(row["ours"].startswith("**") for row in rows)
    assert "\n- normkernels: " in page
    assert "\n## What the numbers show\n" in page
    assert "](accuracy.svg)" in page
    picture = (tmp_path / "docs" / "accuracy.svg").read_text()
    assert picture.rstrip().endswith("</svg>")


def test_a_broken_promise_is_an_error(tmp_path, monkeypatch, capsys):
    right = Ours.lrn_forward

    def wrong(self, case, data):
        for variant in right(self, case, data):
            yield type(variant)(variant.label, variant.call, lambda y: (y * np.float32(1.00001),))

    monkeypatch.setattr(Ours, "lrn_forward", wrong)
    assert main(["--quick", "--libraries", "", "--output", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("LRN, forward, y, ") == len(out.splitlines()) == SECTIONS["LRN, forward"]
    assert not any(
        row["ours"].startswith("**")
        for row in tables((tmp_path / "accuracy.md").read_text())["LRN, forward"]
    )


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("found", "exact", "words"),
    [
        ([NAN, NAN], [1, 2], "NaN"),
        ([NAN, 2, INF], [1, 2, 3], "1 NaN, 1 Inf"),
        ([INF, -INF], [1, 2], "Inf"),
        ([NAN, 2, 0], [NAN, 2, NAN], "1 finite"),
        ([INF, 2], [NAN, 2], "other Inf or NaN"),
        ([NAN, 2], [NAN, 2], ""),
    ],
)
def test_words(found, exact, words):
    exact = np.array(exact, np.float64)
    finding = judge("way", np.array(found, np.float32), reference.Exact(exact, abs(exact)))
    assert finding.words == words
    assert finding.error == (INF if words else 0)


def rows_of(findings):
    each = sections(quick=True)[0].inputs[0]
    return [Row(each.name, each.case, "y", findings)]


def test_cells():
    findings = {
        "one": [Finding("a", 2.0)],
        "two": [Finding("a", 123.4), Finding("b", 5.37e9)],
        "same": [Finding("a", 0.123), Finding("b", 0.1234)],
        "worse": [Finding("", INF, "refuses", "no such kernel")],
        "none": [],
    }
    rows = rows_of(findings)
    cells = [cell(rows[0], library) for library in findings]
    assert cells == ["**2**", "120 / 5.4e9", "**0.12**", "refuses", "-"]
    *_, line = table("Title", rows)
    assert line == "\ntwo: a / b."


def test_notes():
    low = rows_of({"ours": [Finding("a", 2.0)], "NaN": [Finding("a", 1.0)], "none": []})
    high = rows_of({"ours": [Finding("a", 3.0)], "NaN": [Finding("a", INF, "NaN")], "none": []})
    panels = {"y": {1.0: low[0], 1e6: high[0]}}
    assert growths(panels) == {"ours": 1.5}
    rows = [*low, *high]
    assert [score(library, rows) for library in ("ours", "NaN", "none")] == [
        "2 of 2",
        "1 of 2",
        "0 of 0",
    ]


def test_a_library_that_raises_refuses():
    class Other(Library):
        def layer_norm_forward(self, case, data):
            raise RuntimeError("no such kernel\nand a trace")

    each = sections(quick=True)[0].inputs[0]
    rows = measure(each, {"Other": Other(1, "float32")})
    assert [cell(row, "Other") for row in rows] == ["refuses"]
    assert refusals(rows) == ["- Other refuses layer norm forward, N(0, 1): `no such kernel`"]
