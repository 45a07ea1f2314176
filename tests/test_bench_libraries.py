"""Every library computes the operator that is asked for, in every dtype that it says it has."""

import pytest

from bench.common.case import Case, make_data
from bench.common.libraries import load
from bench.common.libraries.ours import Ours
from bench.speed.measure import RIGHT, SAME_OPERATOR, difference, exact_answer


def small_cases():
    """Every operator, direction and layout, on shapes that are no multiple of anything."""
    return [
        *bench_cases("layer norm", (3, 5, 7)),
        *bench_cases("RMS norm", (3, 5, 7)),
        Case("add layer norm", "forward", (3, 5, 7)),
        Case("add RMS norm", "forward", (3, 5, 7)),
        *bench_cases("instance norm", (2, 3, 5, 7), order="NCHW"),
        *bench_cases("instance norm", (2, 5, 7, 3), order="NHWC"),
        *bench_cases("group norm", (2, 6, 5, 7), order="NCHW", groups=3),
        *bench_cases("group norm", (2, 5, 7, 6), order="NHWC", groups=2),
        *bench_cases("LRN", (2, 7, 3, 5), order="NCHW", size=3, beta=0.6),
        *bench_cases("LRN", (2, 3, 5, 7), order="NHWC", size=11, beta=0.5),
    ]


def bench_cases(operator, shape, **more):
    return [Case(operator, direction, shape, **more) for direction in ("forward", "backward")]


def quantity(case):
    """How many outputs there are."""
    if case.direction == "forward" or case.operator == "LRN":
        return 2 if case.adds else 1
    return 3 if case.centred else 2


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    "title",
    [
        *("ours", "NumPy", "torch", "ONNX Runtime", "OpenVINO"),
        pytest.param("JAX", marks=pytest.mark.long),
        pytest.param(
            "torch.compile",
            marks=[pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning")],
        ),
    ],
)
def test_answers_are_right(title, dtype):
    library = Ours(1, dtype) if title == "ours" else load(title, 1, dtype)
    if library is None:
        pytest.skip(f"{title} is not installed")
    if dtype not in library.dtypes:
        pytest.skip(f"{title} is not asked for {dtype}")
    for case in small_cases():
        data = make_data(case, dtype)
        exact = exact_answer(case, data)
        assert len(exact) == quantity(case)
        for variant in answering(library, case, data):
            found = variant.read(variant.call())
            assert [array.dtype for array in found] == [dtype] * len(exact)
            assert found[0].size == exact[0].size
            limits = RIGHT if title == "ours" or dtype == "float32" else SAME_OPERATOR
            assert difference(found, exact) <= limits[dtype], variant.label
            if title == "ours":
                assert found[0].shape == case.shape
                assert variant.bound is (variant.label == "out=")


def answering(library, case, data):
    """Its ways that give an answer: in half types and float64 libraries lack operators."""
    try:
        for variant in library.variants(case, data):
            variant.call()
            yield variant
    except Exception:
        assert library.dtype != "float32"


def test_every_library_has_the_family_in_float32():
    """But for ONNX Runtime and OpenVINO, which have no gradients, nor everything in NHWC."""
    loaded = {title: load(title, 1, "float32") for title in ("NumPy", "torch", "JAX")}
    loaded["ours"] = Ours(1, "float32")
    for title, library in loaded.items():
        if library is not None:
            for case in small_cases():
                assert list(library.variants(case, make_data(case, "float32"))), (title, case.name)
