"""The page about speed: what is measured and how, then each run with two pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .bars import MEMORY, NOISE
from .caches import MIB
from .outcome import Outcome
from .pictures import save_ratios, save_roofline

TEMPLATE = """\
# Speed

normkernels beside other libraries and beside what only moves the same bytes. A run measures one
machine with everybody kept to one instruction set; this makes the page and its pictures of several.
It needs `pip install '.[bench]'` and whichever of the other libraries are to be compared:

```bash
python -m bench.speed --isa avx2 --dtype float32,bfloat16 --json avx2.json
python -m bench.speed --from avx2.json avx512.json --docs docs --readme README.md
```

`--libraries all` adds torch.compile, whose compilation takes longer than all the rest.

{runs}

## How it is measured

A run names the commit that it measured; those of a page may differ in it.

One process; all contestants take turns in rounds and the best round counts, on CPUs that are quiet
when each begins. Every answer is checked against NumPy in float64 before it is timed. torch and JAX
allocate what they return; ONNX Runtime and OpenVINO are bound to outputs that exist. Ours does
either: "ours" writes into `out=`, "fresh" allocates. Who cannot be kept to an instruction set, as
ONNX Runtime, is marked as "not limited" where the machine has more, and counts all the same.

- **r**: time of the best other library over ours with `out=`. "r, bound": the best of those that
  are bound, over ours with `out=`. "r, fresh": the best of those that allocate, over ours without.
- **f**: time of the floor over ours. The floor reads every input once, writes every output once and
  computes nothing, on as many threads, by ordinary or streaming stores, whichever is the faster.
- **c**: time of a copy of as many bytes over ours, the fastest of memcpy and those stores.

Larger is better, and above 1 ours is the faster.

The bars are for float32, but for the one that names bfloat16. "the floor" is how many cases would
hold if ours took as long as the floor does, or the mean of these. Out of L2 goes by the bytes that
must move and the threads' L2 together. Where memory is the bound (from {memory:g} MiB on) AVX2 is
held against AVX-512, if both are here from one machine. A width that is a power of two is held
against widths of the same operator that are up to 1/16 away. Up to {noise:.0%} of a time is noise:
so much longer on 2 threads is not slower.

Errors are against float64, relative to the largest entry of an output, at least 1; one rounding to
bfloat16 alone is up to 3.9e-3. [accuracy.md](accuracy.md) has the harder inputs.

{sections}
"""


def heading(number: int, outcome: Outcome) -> str:
    return f"Run {number}: {outcome.name}"


def anchor(text: str) -> str:
    """The name under which a heading can be linked to."""
    kept = "".join(c for c in text.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def pictures(number: int, outcome: Outcome) -> tuple[str, str]:
    """The names of their files."""
    return f"speed-{number}-{outcome.isa}.svg", f"roofline-{number}-{outcome.isa}.svg"


def section(number: int, outcome: Outcome) -> Iterator[str]:
    ratios, roofline = pictures(number, outcome)
    yield f"## {heading(number, outcome)}"
    yield outcome.markdown()
    yield f"![r of every case, by operator]({ratios})"
    yield f"![GB/s over the bytes that must move, with the line of the copy]({roofline})"


def page(outcomes: Sequence[Outcome]) -> str:
    numbered = [*enumerate(outcomes, 1)]
    names = [heading(*each) for each in numbered]
    return TEMPLATE.format(
        runs="\n".join(f"- [{name}](#{anchor(name)})" for name in names),
        memory=MEMORY / MIB,
        noise=NOISE - 1,
        sections="\n\n".join(text for each in numbered for text in section(*each)),
    )


def write_page(directory: Path, outcomes: Sequence[Outcome]) -> None:
    """The page and its pictures, instead of those of an earlier page."""
    directory.mkdir(parents=True, exist_ok=True)
    for kind in ("speed", "roofline"):
        for old in directory.glob(f"{kind}*.svg"):
            old.unlink()
    for number, outcome in enumerate(outcomes, 1):
        ratios, roofline = pictures(number, outcome)
        save_ratios(directory / ratios, outcome.results, outcome.isa)
        save_roofline(directory / roofline, outcome.results, outcome.caches)
    (directory / "speed.md").write_text(page(outcomes))
