"""What the process chooses, instruction set and threads, and `python -m normkernels`."""

import os
import subprocess
import sys

import normkernels as nk
import pytest
from conftest import ISAS

# ---- Choices


def test_instruction_sets():
    isas = nk.isas()
    names = [isa.name for isa in isas]
    assert names[0] in {"baseline", "emulated_wide", "neon"}
    assert len(set(names)) == len(names)
    assert isas[0].supported
    before = nk.active_isa()
    assert before in ISAS
    try:
        for isa in isas:
            if isa.supported:
                nk.force_isa(isa.name)
                assert nk.active_isa() == isa.name
            else:
                with pytest.raises(ValueError, match=rf"{isa.name}.*this machine has"):
                    nk.force_isa(isa.name)
        for psabi, name in (("x86_64_v3", "avx2"), ("x86_64_v4", "avx512")):
            if name in ISAS:
                nk.force_isa(psabi)
                assert nk.active_isa() == name
        nk.force_isa("baseline")
        with pytest.raises(ValueError, match=rf"'avx9000', must be one of '{names[0]}'"):
            nk.force_isa("avx9000")
        with pytest.raises(TypeError, match=r"^force_isa: name "):
            nk.force_isa(2)
        assert nk.active_isa() == "baseline"
    finally:
        nk.force_isa(None)
    assert nk.active_isa() == before


def test_default_number_of_threads():
    before = nk.num_threads()
    assert before >= 1
    try:
        nk.set_num_threads(3)
        assert nk.num_threads() == 3
        for bad, error in (
            (-1, ValueError),
            (-(2**70), ValueError),
            (1.5, TypeError),
            (None, TypeError),
        ):
            with pytest.raises(error, match=r"^set_num_threads: n "):
                nk.set_num_threads(bad)
        assert nk.num_threads() == 3
        for more in (1025, 2**40, 2**70):
            nk.set_num_threads(more)
            assert nk.num_threads() == 1024
    finally:
        nk.set_num_threads(0)
    assert nk.num_threads() == before


# ---- python -m normkernels, and the environment


def run(*arguments, **environment):
    """The finished process, with the environment's choices only where they are given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NORMKERNELS_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_main_shows_the_machine_and_checks_itself():
    done = run("-m", "normkernels")
    assert done.returncode == 0, done.stdout + done.stderr
    assert nk.__version__ in done.stdout
    assert all(isa.name in done.stdout for isa in nk.isas())
    assert "threads" in done.stdout
    assert "FAIL" not in done.stdout
    for operator in (
        "layer norm",
        "RMS norm",
        "instance norm",
        "group norm",
        "local response norm",
    ):
        for direction in ("forward", "backward"):
            lines = [n for n in done.stdout.splitlines() if operator in n and direction in n]
            assert lines
            assert all(line.endswith("PASS") for line in lines)


def test_environment_names_the_instruction_set():
    show = "import normkernels as nk; print(nk.active_isa())"
    for name in ISAS:
        assert run("-c", show, NORMKERNELS_ISA=name).stdout.strip() == name


@pytest.mark.parametrize("name", ["avx9000", "", "AVX2 "])
def test_environment_names_no_instruction_set(name):
    done = run("-c", "import normkernels", NORMKERNELS_ISA=name)
    if name == "":  # as if it were not set
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode != 0
    assert "NORMKERNELS_ISA" in done.stderr
    assert repr(name) in done.stderr


def test_environment_sets_the_number_of_threads():
    show = "import normkernels as nk; print(nk.num_threads())"
    assert run("-c", show, NORMKERNELS_NUM_THREADS="3").stdout.strip() == "3"
