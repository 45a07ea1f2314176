"""The pages whose code needs torch: it runs, page by page as one program. The examples of the
docstrings, each by itself."""

import subprocess
import sys

import pytest
from declarations import ROOT
from docstring_examples import functions_of, run_examples
from snippets import PAGES, needs_torch, run_python

pytest.importorskip("torch")
import normkernels.torch as nkt
import torch


def test_torch_is_imported_with_its_package_and_not_before():
    code = "import sys, normkernels; assert 'torch' not in sys.modules; import normkernels.torch"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if needs_torch(page)], ids=lambda page: page.name
)
def test_the_snippets(page, tmp_path):
    printed = run_python(page, tmp_path, "-W", "ignore")
    if page == ROOT / "docs/torch.md":
        assert printed == "replaced 5\n  5 LayerNorm\n"


@pytest.mark.parametrize("name", functions_of(nkt))
def test_examples_of_the_docstrings(name):
    run_examples(getattr(nkt, name), {"torch": torch, "nkt": nkt})
