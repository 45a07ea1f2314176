"""What the comparison is held against: everybody on one instruction set, the copy, the floor."""

import json

import numpy as np
import pytest
from bench_command import run

from bench.common import isa
from bench.common.case import Case
from bench.common.isa import supported_isas
from bench.speed.__main__ import main
from bench.speed.cases import TINY
from bench.speed.traffic import WAYS, copy_variants, describe_copies, floor_variants, mover

# ---- Instruction sets


def test_keeps_all_to_an_instruction_set(tmp_path):
    """The command starts itself anew with the variables that libraries read as they load."""
    output, narrowest = tmp_path / "numbers.json", supported_isas()[0]
    finished = run(
        "--quick", "--filter", r"^layer norm forward \(1,", "--libraries", "numpy", "--rounds", "1",
        "--threads", "1", "--isa", narrowest, "--json", str(output),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    numbers = json.loads(output.read_text())
    assert numbers["isa"] == narrowest
    assert narrowest in numbers["machine"]["normkernels"]
    best = supported_isas()[-1]
    more = best != narrowest
    assert (f"the machine has {best}" in numbers["machine"]["normkernels"]) is more


def test_variables_of_an_instruction_set(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_other=1 --xla_cpu_max_isa=AVX512")
    monkeypatch.setattr(isa, "is_limit", lambda name: name == "avx2")
    variables = isa.environment("avx2")
    assert variables["XLA_FLAGS"] == "--xla_other=1 --xla_cpu_max_isa=AVX2"
    assert variables["NORMKERNELS_ISA"] == "avx2"
    assert "ATEN_CPU_CAPABILITY" in variables
    assert "AVX2" not in variables["NPY_DISABLE_CPU_FEATURES"].split()
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert isa.missing_variables("avx2") == {}
    assert isa.missing_variables(None) == {}


def test_an_instruction_set_that_the_machine_lacks_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr("bench.speed.__main__.supported_isas", lambda: ["baseline"])
    with pytest.raises(SystemExit, match="2"):
        main(["--isa", "avx2"])
    assert "--isa: this machine lacks avx2" in capsys.readouterr().err


# ---- The copy and the floor


KINDS = [
    (Case("layer norm", "forward", (37, 131)), 2),
    (Case("layer norm", "backward", (37, 131)), 3),
    (Case("add layer norm", "forward", (37, 131)), 4),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("case", "arrays"), KINDS)
def test_copies_copy_as_many_bytes(threads, case, arrays):
    labels = []
    for variant in copy_variants(case, 4, threads):
        source, target = variant.read(None)
        assert 0 <= source.nbytes + target.nbytes - arrays * 37 * 131 * 4 <= 2 * 64
        source[:] = np.arange(source.size) % 251
        target[:] = 0
        variant.call()
        np.testing.assert_array_equal(target, source)
        assert source.ctypes.data % 64 == target.ctypes.data % 64 == 0
        labels.append(variant.label)
    if mover() is None:
        pytest.skip("there is no C++ compiler")
    assert set(labels) == (set(WAYS) if arrays > 2 else {"memcpy"})  # the floor is the rest


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("case", "arrays"), KINDS)
def test_the_floor_reads_all_inputs_and_writes_all_outputs(threads, case, arrays):
    if mover() is None:
        pytest.skip("there is no C++ compiler")
    labels = []
    for variant in floor_variants(case, 4, threads):
        found = variant.read(None)
        assert len(found) == arrays
        inputs, outputs = found[: case.arrays[0]], found[case.arrays[0] :]
        for number, each in enumerate(inputs):
            each[:] = np.arange(each.size) % (251 - number)
        variant.call()
        expected = inputs[0] if len(inputs) == 1 else inputs[0] & inputs[1]
        for each in outputs:
            np.testing.assert_array_equal(each, expected)
        labels.append(variant.label)
    assert labels == [*WAYS[1:]]


def test_without_a_compiler_memcpy_is_the_copy(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    mover.cache_clear()
    try:
        (variant,) = copy_variants(TINY, 4, 2)
        assert variant.label == "memcpy"
        assert not list(floor_variants(TINY, 4, 2))
        assert describe_copies().startswith("memcpy alone")
    finally:
        mover.cache_clear()
