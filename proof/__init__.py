"""What searches for faults rather than checks for them: fuzzers, a soak, processes under stress.

Each is a command, from the root of the checkout: `python -m proof.soak --help`.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # which has the oracles
