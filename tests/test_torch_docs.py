"""docs/torch.md: its code runs, as one program. The examples of the docstrings, each by itself."""

import re
import subprocess
import sys

import pytest
from declarations import ROOT
from docstring_examples import functions_of, run_examples

pytest.importorskip("torch")
import normkernels.torch as nkt
import torch

TEXT = (ROOT / "docs/torch.md").read_text()


def test_torch_is_imported_with_its_package_and_not_before():
    code = "import sys, normkernels; assert 'torch' not in sys.modules; import normkernels.torch"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_snippets(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.S | re.M)
    assert len(blocks) == TEXT.count("```") // 2
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "replaced 5\n  5 LayerNorm\n"


@pytest.mark.parametrize("name", functions_of(nkt))
def test_examples_of_the_docstrings(name):
    run_examples(getattr(nkt, name), {"torch": torch, "nkt": nkt})
