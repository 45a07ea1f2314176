"""Import in a sub-interpreter, as WSGI servers make them: an error at once."""

import subprocess
import sys

import pytest

IMPORT = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def said(code):
    interpreter = interpreters.create()
    try:
        result = interpreters.run_string(interpreter, code)
    except Exception as error:
        return str(error)
    return "" if result is None else str(result)

if "first" in sys.argv:
    import normkernels
    import numpy
error = said("import normkernels")
if "ImportError" not in error and "normkernels" not in error:
    sys.exit("no ImportError: " + (error or "it works"))
import normkernels, numpy
sys.exit(int(normkernels.layer_norm(numpy.ones((2, 3))).any()))
"""


@pytest.mark.parametrize("before", ["first in the main one", "nowhere else"])
def test_import_in_a_sub_interpreter(before):
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, *before.split()],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    if "No module named '_xxsubinterpreters'" in done.stderr:
        pytest.skip("this Python makes none")
    assert done.returncode == 0, done.stderr
