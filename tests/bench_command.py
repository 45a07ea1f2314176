"""The comparison as a command."""

import subprocess
import sys

from embedding import ROOT


def run(*arguments):
    command = [sys.executable, "-m", "bench.speed", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
