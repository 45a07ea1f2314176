"""Numbers and tables as the pages show them."""

import math
from collections.abc import Iterable, Iterator, Sequence


def number(value: float) -> str:
    """Two significant digits: 0.12, 120, 1.2e5."""
    if math.isinf(value):
        return "inf"
    if value == 0 or 1e-2 <= value < 1e3:
        return f"{float(f'{value:.2g}'):g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def count_threads(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def markdown_table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)
) -> Iterator[str]:
    """The lines of a table, numbers to the right but for the columns in `left`."""
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "".join("---|" if i in left else "---:|" for i in range(len(heads)))
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"
