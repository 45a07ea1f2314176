"""The page about speed: a template, the tables, and the two pictures beside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.markdown import count_threads
from .bars import NEAR_COPY, NOISE, bar_lines, failure_lines
from .outcome import Outcome
from .pictures import save_ratios, save_roofline
from .result import Result, by_threads
from .tables import error_lines, note_lines, summary_lines, table_lines

RATIOS, ROOFLINE = "speed.svg", "roofline.svg"

TEMPLATE = """\
# Speed

normkernels beside other libraries and beside a copy of the same bytes. This writes the page and its
pictures; it needs `pip install '.[bench]'` and whichever of the other libraries are to be compared:

```bash
python -m bench.speed --docs docs
```

`--libraries all` adds torch.compile, whose compilation takes longer than all the rest.

{machine}

One process; all contestants take turns in rounds and the best round counts, on CPUs that are quiet
when each begins. Every answer is checked against NumPy in float64 before it is timed. Times are
in microseconds: "ours" writes into `out=`, "fresh" allocates its outputs as most calls do. The copy
moves as many bytes as the operator must, x and y, or x, dy and dx; it is the fastest of memcpy,
ordinary and streaming stores. **r** is the time of the best other library over ours, **c** that of
the copy over ours: larger is better, and above 1 ours is the faster.

![r of every case, by operator]({ratios})

![GB/s over the bytes that must move, with the line of the copy]({roofline})

## The bars

{bars}

The bars for c go by where the bytes that must move sit; what fits L1 has none, since the call
itself is its cost. Norms over 2 to 64 elements have a bar of their own. Out of cache is more than
the last cache, and at least 64 MiB. Where another library is within {near:g} of the copy, r has
less room. Up to {noise:.0%} of a time is noise: so much longer on 2 threads is not slower.

{failures}

## Means

{summaries}

## All cases

{tables}

## Errors

The largest error of any output against float64, relative to the largest entry of that output, at
least 1. [accuracy.md](accuracy.md) has the harder inputs.

{errors}

## Notes

{notes}
"""


def joined(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def sections(title: str, results: Sequence[Result], titles: Sequence[str]) -> str:
    """A section for each number of threads, made by summary_lines or table_lines."""
    blocks = []
    for threads, group in by_threads(results).items():
        lines = summary_lines(group) if title == "means" else table_lines(group, titles)
        blocks.append(f"### {count_threads(threads).capitalize()}, {title}\n\n{joined(lines)}")
    return "\n\n".join(blocks)


def page(outcome: Outcome) -> str:
    results, titles, verdicts = outcome.results, outcome.titles, outcome.verdicts
    failures = joined(failure_lines(verdicts))
    return TEMPLATE.format(
        machine=joined(f"- {name}: {text}" for name, text in outcome.machine.items()),
        ratios=RATIOS,
        roofline=ROOFLINE,
        bars=joined(bar_lines(verdicts)),
        near=NEAR_COPY,
        noise=NOISE - 1,
        failures=f"The worst cases of those that fail:\n\n{failures}" if failures else "All hold.",
        summaries=sections("means", results, titles),
        tables=sections("times", results, titles),
        errors=joined(error_lines(results, titles)),
        notes=joined(note_lines(results)) or "None.",
    )


def write_page(directory: Path, outcome: Outcome) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    save_ratios(directory / RATIOS, outcome.results)
    save_roofline(directory / ROOFLINE, outcome.results, outcome.caches)
    (directory / "speed.md").write_text(page(outcome))
