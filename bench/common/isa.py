"""Everybody kept to one instruction set, by variables that libraries read as they load."""

import os
import sys

import normkernels as nk
import numpy as np

# What each library calls the set. Those that take no advice say so (Library.limited).
VARIABLES = {
    "baseline": {"ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
}
XLA = {"baseline": "SSE4_2", "avx2": "AVX2"}
XLA_FLAG = "--xla_cpu_max_isa="


def known_isas() -> list[str]:
    return [isa.name for isa in nk.isas()]


def supported_isas() -> list[str]:
    """The narrowest first."""
    return [isa.name for isa in nk.isas() if isa.supported]


def is_limit(isa: str | None) -> bool:
    """Whether the machine has more than that."""
    return isa is not None and isa != supported_isas()[-1]


def environment(isa: str) -> dict[str, str]:
    """The variables that keep a new process to it; the same in such a process."""
    variables = {"NORMKERNELS_ISA": isa, **VARIABLES.get(isa, {})}
    if isa in XLA:
        flags = os.environ.get("XLA_FLAGS", "").split()
        kept = [flag for flag in flags if not flag.startswith(XLA_FLAG)]
        variables["XLA_FLAGS"] = " ".join([*kept, XLA_FLAG + XLA[isa]])
    if is_limit(isa) and isa in VARIABLES:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(numpy_features_beyond(isa))
    return variables


def numpy_features_beyond(isa: str) -> list[str]:
    """Of those that NumPy chooses at run time; it passes over what the machine lacks."""
    core = np._core if hasattr(np, "_core") else np.core
    chosen = core._multiarray_umath.__cpu_dispatch__
    return [name for name in chosen if isa == "baseline" or "512" in name or name == "X86_V4"]


def missing_variables(isa: str | None) -> dict[str, str]:
    """Those that this process should have been started with."""
    if isa is None:
        return {}
    wanted = environment(isa)
    return {name: text for name, text in wanted.items() if os.environ.get(name) != text}


def module_again(module: str, arguments: list[str], variables: dict[str, str]) -> None:
    """Replaces this process by one that has the variables from its start."""
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, os.environ | variables)
