"""docs/dask.md: its code runs, as one program."""

import subprocess
import sys
import textwrap

import pytest
from declarations import ROOT
from snippets import blocks

for module in ("dask.array", "distributed", "xarray", "zarr"):
    pytest.importorskip(module)

PAGE = ROOT / "docs/dask.md"


def test_the_snippets(tmp_path):
    program = tmp_path / "program.py"  # workers import it, and then it is not __main__
    body = textwrap.indent("\n".join(blocks(PAGE, "python")), "    ")
    program.write_text(f"def main():\n{body}\n\nif __name__ == '__main__':\n    main()\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "100% Completed" in done.stdout
