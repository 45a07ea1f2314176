"""The page about accuracy: a template, the tables, and notes that are made from the numbers."""

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..common.case import ALPHA, BIAS, EPSILON
from ..common.markdown import markdown_table, number
from .measure import LRN_PROMISES, NORM_PROMISES, Row

TEMPLATE = """\
# Accuracy

The largest error of each output, over all its elements, of normkernels and of other libraries on
the same inputs. `python -m bench.accuracy` writes this page and its picture.

The unit of all errors is u * scale: u = 2^-24 in float32 and 2^-53 in float64, and the scale is the
size of the terms that make up the output, derived in [tests/reference.py](../tests/reference.py).
The same file is the oracle: the operators in NumPy, in float64 for float32 and in long double for
float64. It takes x as it is stored, so digits that were lost in storing x count against nobody. An
error of 1 is one rounding in the largest term; one of 1/u (2e7 in float32, 9e15 in float64) leaves
no digit right.

{machine}

![Largest error over |mean| / std, one line for each library]({picture})

x is from N(mean, 1), float32. Where a library has several ways to say the same, its best counts.

## How to read the tables

**Bold** keeps our promise: at most {y:g} forward and {dx:g} backward for the norms, {lrn_y:g}
and {lrn_dx:g} for LRN. "NaN" and "Inf": not finite where the exact answer is, with the number of
such elements unless it is all of them; "finite": the reverse. "refuses": the library raises an
error. "-": it has no such operator, layout or dtype. "a / b": two ways to say it in that library,
named below the table.

gamma is from N(1, 0.1), beta and dy are from N(0, 1), and epsilon is {epsilon} where the table says
nothing else. LRN has alpha {alpha:g}, beta 0.75 and bias {bias:g}. Gradients of norms start from
the statistics that a forward pass saves in the dtype of x. JAX has only jax.nn.standardize: all
else is the formula that one would write, compiled. torch's window of an even size reaches one
channel further down, not up as in ONNX, so torch gets the channels reversed.

{tables}

## What the numbers show

{notes}
"""


def page(
    machine: Mapping[str, str],
    tables: Mapping[str, Sequence[Row]],
    panels: Mapping[str, Mapping[float, Row]],
    picture: str,
) -> str:
    """tables and panels by title; picture is its file's name."""
    return TEMPLATE.format(
        machine="\n".join(f"- {name}: {text}" for name, text in machine.items()),
        picture=picture,
        y=NORM_PROMISES["forward"],
        dx=NORM_PROMISES["backward"],
        lrn_y=LRN_PROMISES["forward"],
        lrn_dx=LRN_PROMISES["backward"],
        epsilon=number(EPSILON),
        alpha=ALPHA,
        bias=BIAS,
        tables="\n\n".join("\n".join(table(title, rows)) for title, rows in tables.items()),
        notes=notes([row for rows in tables.values() for row in rows], panels),
    )


# ---- Tables


def table(title: str, rows: Sequence[Row]) -> Iterator[str]:
    """Output by output, so that the inputs of each stand together."""
    libraries = list(rows[0].findings)
    outputs = list(dict.fromkeys(row.output for row in rows))
    yield f"### {title}\n"
    yield from markdown_table(
        ["output", "input", "shape", *libraries],
        [
            [row.output, row.name, shape(row), *(cell(row, library) for library in libraries)]
            for output in outputs
            for row in rows
            if row.output == output
        ],
        left=(0, 1, 2),
    )
    named = {library: ways(rows, library) for library in libraries}
    lines = [f"{library}: {' / '.join(names)}." for library, names in named.items() if names]
    if lines:
        yield "\n" + " ".join(lines)


def shape(row: Row) -> str:
    return "x".join(map(str, row.case.shape))


def cell(row: Row, library: str) -> str:
    """What all ways have in common once, else each of them."""
    texts = [
        finding.words or bold(number(finding.error), finding.error <= row.promise)
        for finding in row.findings[library]
    ]
    return " / ".join(texts if len(set(texts)) > 1 else texts[:1]) or "-"


def bold(text: str, really: bool) -> str:
    return f"**{text}**" if really else text


def ways(rows: Sequence[Row], library: str) -> list[str]:
    """The names of a library's ways, where a cell has several."""
    for row in rows:
        if " / " in cell(row, library):
            return [finding.way for finding in row.findings[library]]
    return []


# ---- Notes


def notes(rows: Sequence[Row], panels: Mapping[str, Mapping[float, Row]]) -> str:
    """A paragraph, and what libraries refuse."""
    libraries = list(rows[0].findings)
    sentences = [
        "A mean kept in the dtype of x is off by up to u * |mean|, and a sum of x or of dy * x",
        "rounds in proportion to |mean|, too: what stops there grows with |mean| / std.",
        "From the left of the picture to its right the error grows, at most, by a factor of",
        listed(f"{number(times)} ({library})" for library, times in growths(panels).items()) + ".",
        "The promise is kept",
        listed(f"by {library} in {score(library, rows)}" for library in libraries),
        "of the rows that each has an operator for, in the best of its ways.",
    ]
    return "\n\n".join([textwrap.fill(" ".join(sentences), 100), *refusals(rows)])


def listed(texts: Iterable[str]) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def growths(panels: Mapping[str, Mapping[float, Row]]) -> dict[str, float]:
    """By library, the largest of any panel."""
    largest: dict[str, float] = {}
    for rows in panels.values():
        first, last = rows[min(rows)], rows[max(rows)]
        for library in first.findings:
            times = last.least(library) / first.least(library)
            if math.isfinite(times):  # else it has no such operator, or gave NaN
                largest[library] = max(times, largest.get(library, 0))
    return largest


def score(library: str, rows: Sequence[Row]) -> str:
    answered = [row for row in rows if row.findings[library]]
    return f"{sum(row.least(library) <= row.promise for row in answered)} of {len(answered)}"


def refusals(rows: Sequence[Row]) -> list[str]:
    """Each reason that a library gives, with the first input that it is given for."""
    reasons: dict[tuple[str, str], str] = {}
    for row in rows:
        for library, findings in row.findings.items():
            for finding in findings:
                if finding.reason:
                    where = f"{row.case.operator} {row.case.direction}, {row.name}"
                    reasons.setdefault((library, finding.reason), where)
    lines = [
        f"- {library} refuses {where}: `{reason.strip()}`"
        for (library, reason), where in reasons.items()
    ]
    return ["\n".join(lines)] if lines else []
