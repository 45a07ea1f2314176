"""ONNX's own suites with our operators: the node tests of the installed onnx package, and those of
its light models that contain LRN.

The recorded outputs of the light models say little: their weights are constants, so that all 1000
classes are equally likely whatever LRN does. Each LRN of a model is therefore checked against the
reference, too, and the smaller models run once more with random weights.
"""

import functools
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import reference
from normkernels.onnx import LRN, OPS, backend
from onnx.backend.test import BackendTest
from onnx.backend.test.runner import Runner
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from reference import LRN_FORWARD, assert_within

# Cases in onnx 1.23, and how many of them reach our operators: those whose names have "expanded" in
# them consist of simpler ones. A later version may have more.
FAMILIES = {
    "lrn": (2, 2),
    "instancenorm": (2, 2),
    "layer_normalization": (57, 19),
    "rms_normalization": (38, 19),
    "group_normalization": (4, 2),
    "mvn": (3, 1),
}


@functools.cache
def node_cases():
    """The test functions of each family by name, as BackendTest makes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx makes the data of all its cases, with overflows
        suite = BackendTest(backend, __name__)
    suite.include("^test_(" + "|".join(FAMILIES) + ")")
    functions = vars(suite.test_cases["OnnxBackendNodeModelTest"])
    return {
        family: {
            name: function
            for name, function in functions.items()
            if name.startswith(f"test_{family}") and name.endswith("_cpu")
        }
        for family in FAMILIES
    }


def counted(monkeypatch, op):
    """The calls of an operator from here on, as a list that grows."""
    calls, run = [], op._run

    def count(self, *inputs, **attributes):
        calls.append(self)
        return run(self, *inputs, **attributes)

    monkeypatch.setattr(op, "_run", count)
    return calls


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family, cases in node_cases().items() for name in cases]
)
def test_node(monkeypatch, family, name):
    calls = [counted(monkeypatch, op) for op in OPS]
    node_cases()[family][name](None)
    assert sum(map(len, calls)) == (0 if "expanded" in name else 1)


def test_number_of_node_cases(capsys):
    """Printed, so that a log shows it."""
    counts = {
        family: (len(cases), sum("expanded" not in name for name in cases))
        for family, cases in node_cases().items()
    }
    with capsys.disabled():
        print(f"\nnode tests of onnx {onnx.__version__} through our backend, and of our operators:")
        print(counts)
    for family, least in FAMILIES.items():
        assert counts[family] >= least
        assert counts[family][1] >= least[1]


# ---- Light models

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
TOLERANCE = {"rtol": 1e-3, "atol": 1e-7}  # that of onnx's own test of their outputs


def light_model(name):
    """The model, and its inputs as onnx's own test makes them."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [x for x in model.graph.input if x.name not in initialized]
    return model, {x.name: Runner.generate_dummy_data(x) for x in inputs}


def lrn_nodes(model):
    return [node for node in model.graph.node if node.op_type == "LRN"]


SCORES = {  # by ONNX Runtime
    "bvlc_alexnet": 3.6412643e12,
    "inception_v1": 1.190478e21,
    "zfnet512": 4.107599e12,
}


@pytest.mark.parametrize("name", SCORES)
def test_light_model(monkeypatch, name):
    model, feeds = light_model(name)
    calls = counted(monkeypatch, LRN)
    values = ReferenceEvaluator(model, new_ops=OPS).run(None, feeds, intermediate=True)
    assert len(calls) == len(lrn_nodes(model)) == 2

    softmax = model.graph.node[-1]
    output, scores = values[softmax.output[0]], values[softmax.input[0]]
    recorded = onnx.numpy_helper.to_array(onnx.load_tensor(LIGHT / f"light_{name}_output_0.pb"))
    assert (output.shape, output.dtype) == (recorded.shape, recorded.dtype)
    # The weights are constants, so that all classes have one score. It is so large that softmax of
    # it, which is recorded, would tell how many threads summed each.
    assert np.ptp(recorded) == 0
    np.testing.assert_allclose(scores, np.full_like(scores, SCORES[name]), rtol=1e-4)
    for node in lrn_nodes(model):
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        exact = reference.local_response_norm(values[node.input[0]], **attributes).y
        assert_within(values[node.output[0]], exact, LRN_FORWARD, f"{name}: {node.name}")


class ConstantOfShape(OpRun):
    """Random weights where the light models have constant ones, of a size that keeps activations
    what they are."""

    op_domain = ""

    def _run(self, shape, value=None):
        generator = np.random.default_rng([int(n) for n in shape])
        fan_in = max(1, int(np.prod(shape[1:])))
        return (generator.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32),)


class ExactLRN(OpRun):
    """The reference as an operator."""

    op_domain = ""

    def _run(self, x, **attributes):
        return (reference.local_response_norm(x, **attributes).y.value.astype(x.dtype),)


ExactLRN.__name__ = "LRN"  # by which the evaluator finds it


class IdentityLRN(OpRun):
    """What must be noticed."""

    op_domain = ""

    def _run(self, x, **attributes):
        return (x,)


IdentityLRN.__name__ = "LRN"


@pytest.mark.parametrize("name", ["bvlc_alexnet", "zfnet512"])
def test_light_model_with_random_weights(name):
    model, feeds = light_model(name)
    ours, exact, without = (
        ReferenceEvaluator(model, new_ops=[ConstantOfShape, lrn]).run(None, feeds)[0]
        for lrn in (LRN, ExactLRN, IdentityLRN)
    )
    np.testing.assert_allclose(ours, exact, **TOLERANCE)
    assert not np.allclose(without, exact, **TOLERANCE)
