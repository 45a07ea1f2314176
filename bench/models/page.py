"""The page about whole models: a template and a table."""

from collections.abc import Mapping, Sequence

from ..common.markdown import count_threads, markdown_table
from .measure import Timing

TEMPLATE = """\
# Whole models

Models with their norms replaced by `normkernels.torch.replace_norms` beside the same with torch's
own. `python -m bench.models` writes this page.

{machine}

A training step is a forward pass, a backward pass and a step of SGD; inference is a forward pass in
`inference_mode`. float32, eager. Milliseconds are those of the best round. torch / ours is the
median over rounds, in each of which the models take turns: above 1, the model with our norms is
faster. The share of the norms is what a model takes less that has nothing in their place.

{table}
"""


def page(machine: Mapping[str, str], timings: Sequence[Timing]) -> str:
    """The whole page."""
    lines = "\n".join(f"- {name}: {text}" for name, text in machine.items())
    return TEMPLATE.format(machine=lines, table="\n".join(table(timings)))


def table(timings: Sequence[Timing]) -> list[str]:
    """A row for each model, step and number of threads."""
    heads = ["model", "step", "threads", "torch", "ours", "torch / ours", "norms: torch", "ours"]
    rows = (
        [
            *(t.net, t.step, count_threads(t.threads)),
            *(f"{t.torch:.3g}", f"{t.ours:.3g}", f"{t.ratio:.2f}"),
            *(f"{share:.0%}" for share in t.norms),
        ]
        for t in timings
    )
    return list(markdown_table(heads, rows, left=(0, 1, 2)))
