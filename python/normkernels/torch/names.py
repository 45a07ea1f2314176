"""What the functions with torch's signatures call the arguments of those on arrays, for errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

OF_NORMS = {
    "x": "input",
    "gamma": "weight",
    "scale": "weight",
    "beta": "bias",
    "epsilon": "eps",
    "groups": "num_groups",
}
OF_SUMS = {"gamma": "weight", "beta": "bias", "bias": "add_bias", "epsilon": "eps"}
OF_RESPONSE = {"x": "input", "bias": "k"}


def torchs_names(function: str) -> Mapping[str, str]:
    """From the names of an operator's arguments, and of its function on arrays, to torch's."""
    if function.startswith("add_"):
        return OF_SUMS
    return OF_RESPONSE if function.startswith("local_response_norm") else OF_NORMS


def rename(error: Exception, function: str) -> None:
    """Puts torch's names into an error about an argument, which starts with the function's name."""
    head, colon, message = str(error).partition(": ")
    if type(error) not in (TypeError, ValueError) or not colon or head != function:
        return
    names = torchs_names(function)
    error.args = (
        f"{head}: " + re.sub(r"[a-z_]+", lambda word: names.get(word[0], word[0]), message),
    )
