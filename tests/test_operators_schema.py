"""Operator definitions, and what the schemas of the built-in operators allow and refuse."""

import copy
import dataclasses
import itertools
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from normkernels import operators
from normkernels.operators import Argument, Input, OperatorDef, OperatorSchema, Output, Range

# From the original schemas: numbers of inputs, numbers of outputs.
COUNTS = {
    "GroupNorm": ({3}, {1, 3}),
    "GroupNormGradient": ({6}, {3}),
    "InstanceNorm": ({3}, {1, 2, 3}),
    "InstanceNormGradient": ({4, 5, 6}, {3}),
    "LRN": ({1}, {1, 2}),
    "LRNGradient": ({3}, {1}),
    "LayerNorm": ({1, 3}, {3}),
    "LayerNormGradient": ({5, 6}, {1, 3}),
    "RMSNorm": ({3}, {2}),
    "RMSNormGradient": ({4}, {3}),
}
IN_WORDS = {
    "GroupNorm": ("3", "1 or 3"),
    "GroupNormGradient": ("6", "3"),
    "InstanceNorm": ("3", "1 to 3"),
    "InstanceNormGradient": ("4 to 6", "3"),
    "LRN": ("1", "1 to 2"),
    "LRNGradient": ("3", "1"),
    "LayerNorm": ("1 or 3", "3"),
    "LayerNormGradient": ("5 to 6", "1 or 3"),
    "RMSNorm": ("3", "2"),
    "RMSNormGradient": ("4", "3"),
}
INPLACE = {"InstanceNorm": {(0, 0)}, "Sum": {(0, 0)}}

LAYER_NORM_ARGS = {"axis": 1, "epsilon": 1e-5, "elementwise_affine": False}
RMS_NORM_ARGS = {"axis": 1, "eps": 0.0}
INSTANCE_NORM_ARGS = {"epsilon": 1e-5, "order": "NCHW"}
GROUP_NORM_ARGS = {"group": 32, **INSTANCE_NORM_ARGS, "is_test": True}
LRN_ARGS = {"size": 0, "alpha": 0.0, "beta": 0.0, "bias": 1.0, "order": "NCHW"}
DEFAULTS = {
    "GroupNorm": GROUP_NORM_ARGS,
    "GroupNormGradient": GROUP_NORM_ARGS,
    "InstanceNorm": INSTANCE_NORM_ARGS,
    "InstanceNormGradient": INSTANCE_NORM_ARGS,
    "LRN": LRN_ARGS,
    "LRNGradient": LRN_ARGS,
    "LayerNorm": LAYER_NORM_ARGS,
    "LayerNormGradient": LAYER_NORM_ARGS,
    "RMSNorm": RMS_NORM_ARGS,
    "RMSNormGradient": RMS_NORM_ARGS,
}
# By name of an operator: by argument its other name.
ALIASES = {"RMSNorm": {"eps": "epsilon"}, "GroupNorm": {"group": "num_groups"}}
ALIASES = {**ALIASES, **{f"{name}Gradient": aliases for name, aliases in ALIASES.items()}}
WRONG_TYPES = {
    int: [True, 3.0, "3"],
    float: [False, "0.5"],
    str: [0, 1.0, True],
    bool: [0, 1, 1.0, "true"],
}
WRONG_VALUES = {
    "epsilon": [-1e-9, -1, float("nan"), float("inf")],
    "eps": [-1e-9, -1, float("nan"), float("inf")],
    "group": [0, -1, 2**63, 2**70],
    "order": ["NCWH", "Nchw", "", "UNKNOWN"],
    "size": [0, -1, 2**63 - 1, 2**70],
    "alpha": [float("nan"), float("inf")],
    "beta": [float("nan"), -float("inf")],
    "bias": [float("nan"), float("inf")],
}
MUST_BE = {
    "epsilon": "finite and >= 0",
    "eps": "finite and >= 0",
    "order": "'NCHW' or 'NHWC'",
    "size": "1 to 2**63 - 2",
    "group": "1 to 2**63 - 1",
}
RIGHT_VALUES = {
    "epsilon": [0, 0.0, 1, 1e-3, np.float32(0.5)],
    "eps": [0, 0.0, 1, 1e-3, np.float32(0.5)],
    "group": [1, 3, np.int64(4), 2**63 - 1],
    "is_test": [False, np.bool_(False)],
    "order": ["NCHW", "nchw", "NHWC", "nhwc"],
    "size": [1, 2, 5, 1000, np.int64(3), 2**63 - 2],
    "alpha": [-1, 0, 0.5],
    "beta": [-0.5, 0, 2],
    "bias": [-1.0, 0, 2],
    "axis": [-3, 0, 7],
    "elementwise_affine": [False, np.bool_(False)],
}
each_operator = pytest.mark.parametrize("name", COUNTS)


def definition(name, inputs=None, outputs=None, **args):
    """With as many inputs and outputs; the largest numbers that are allowed where none is given."""
    if "size" in DEFAULTS.get(name, ()):
        args = {"size": 3, **args}
    inputs = max(COUNTS[name][0]) if inputs is None else inputs
    outputs = max(COUNTS[name][1]) if outputs is None else outputs
    return OperatorDef(
        name, [f"in{i}" for i in range(inputs)], [f"out{j}" for j in range(outputs)], args
    )


def verify(op_def):
    return operators.schema(op_def.type).verify(op_def)


# ---- Definitions


def test_a_definition_is_a_value():
    op_def = OperatorDef("LRN", ["x"], ["y"], {"size": np.int32(5), "order": "NHWC"})
    assert op_def == OperatorDef("LRN", ("x",), ("y",), {"order": "NHWC", "size": 5})
    assert op_def != OperatorDef("LRN", ("x",), ("y",), {"order": "NHWC", "size": 3})
    assert (op_def.inputs, op_def.outputs) == (("x",), ("y",))
    assert type(op_def.args["size"]) is int
    assert len({op_def, copy.deepcopy(op_def), pickle.loads(pickle.dumps(op_def))}) == 1
    assert eval(repr(op_def)) == op_def
    assert dict(OperatorDef("LRN", [], []).args) == {}
    several = OperatorDef("M", ["x"], ["y"], {"axes": [np.int64(0), 2]})
    assert several.args["axes"] == (0, 2)
    assert eval(repr(several)) == several == pickle.loads(pickle.dumps(several))


def test_a_definition_cannot_be_changed():
    args = {"size": 5}
    op_def = OperatorDef("LRN", ["x"], ["y"], args)
    args["size"] = 7
    assert op_def.args["size"] == 5
    with pytest.raises(TypeError):
        op_def.args["size"] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        op_def.inputs = ("z",)


@pytest.mark.parametrize(
    ("error", "arguments", "message"),
    [
        (TypeError, ("LRN", "x", ["y"]), "LRN: inputs is 'x', must be a list or tuple of names"),
        (TypeError, ("LRN", ["x"], {"y"}), "LRN: outputs is {'y'}, must be a list"),
        (TypeError, ("LRN", ["x", 3], ["y"]), "LRN: inputs[1] is of type int, must be a string"),
        (ValueError, ("LRN", ["x"], [""]), "LRN: outputs[0] is empty"),
        (TypeError, (3, ["x"], ["y"]), "OperatorDef: type is of type int"),
        (TypeError, ("LRN", ["x"], ["y"], {3: 1}), "name of an argument is of type int"),
        (TypeError, ("LRN", ["x"], ["y"], {"size": {3}}), "LRN: argument size is of type set"),
        (
            TypeError,
            ("M", ["x"], ["y"], {"axes": [1, 2.0]}),
            "M: argument axes has an item of type",
        ),
        (TypeError, ("M", ["x"], ["y"], {"axes": [True]}), "axes has an item of type bool, must"),
        (TypeError, ("LRN", ["x"], ["y"], {"size": None}), "LRN: argument size is of type NoneTy"),
    ],
)
def test_what_is_no_definition(error, arguments, message):
    with pytest.raises(error, match=re.escape(message)):
        OperatorDef(*arguments)


# ---- Counts


@pytest.mark.parametrize("outputs", range(6))
@pytest.mark.parametrize("inputs", range(9))
@each_operator
def test_counts(name, inputs, outputs):
    op_def = definition(name, inputs, outputs)
    allowed = COUNTS[name]
    words = IN_WORDS[name]
    if inputs in allowed[0] and outputs in allowed[1]:
        assert set(verify(op_def)) == set(DEFAULTS[name])
        return
    message = f"{name}: has {outputs} outputs, must have {words[1]}"
    if inputs not in allowed[0]:
        message = f"{name}: has {inputs} inputs, must have {words[0]}"
    with pytest.raises(ValueError, match=f"^{message}$"):
        verify(op_def)


def test_counts_of_sum():
    for inputs in (1, 2, 50):
        assert verify(OperatorDef("Sum", [f"in{i}" for i in range(inputs)], ["y"])) == {}
    with pytest.raises(ValueError, match=r"^Sum: has 0 inputs, must have 1 or more$"):
        verify(OperatorDef("Sum", [], ["y"]))
    with pytest.raises(ValueError, match=r"^Sum: has 2 outputs, must have 1$"):
        verify(OperatorDef("Sum", ["x"], ["y", "z"]))


def test_the_operators_that_are_there():
    """In a process of their own: other modules register operators, too."""
    code = "from normkernels import operators; print(*operators.names())"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert printed.decode().split() == [*sorted(COUNTS), "Sum"]


@pytest.mark.parametrize(("name", "inputs"), [("LayerNorm", 3), ("LayerNormGradient", 6)])
def test_affine_needs_gamma(name, inputs):
    for count in COUNTS[name][0]:
        op_def = definition(name, count, elementwise_affine=True)
        if count == inputs:
            assert verify(op_def)["elementwise_affine"] is True
        else:
            message = f"^{name}: argument elementwise_affine is True, must have {inputs} inputs"
            with pytest.raises(ValueError, match=message):
                verify(op_def)


# ---- In place


@pytest.mark.parametrize("name", [*COUNTS, "Sum"])
def test_in_place(name):
    inputs, outputs = (max(counts) for counts in COUNTS.get(name, ({3}, {1})))
    for i, j in itertools.product(range(inputs), range(outputs)):
        names = [f"out{k}" for k in range(outputs)]
        names[j] = f"in{i}"
        args = {"size": 3} if name.startswith("LRN") else {}
        op_def = OperatorDef(name, [f"in{k}" for k in range(inputs)], names, args)
        if (i, j) in INPLACE.get(name, ()):
            verify(op_def)
        else:
            message = (
                rf"^{name}: blob 'in{i}' is input {i} \(\w+\) and output {j} \(\w+\); in place"
            )
            with pytest.raises(ValueError, match=message) as error:
                verify(op_def)
            allowed = "input 0 (x) as output 0 (y)" if name in INPLACE else "none"
            assert str(error.value).endswith(f"in place is allowed for {allowed}")


def test_one_blob_cannot_be_two_outputs():
    op_def = OperatorDef("LayerNorm", ["x"], ["y", "s", "s"])
    with pytest.raises(ValueError, match=r"^LayerNorm: blob 's' is the name of more than one out"):
        verify(op_def)


# ---- Arguments


@each_operator
def test_defaults(name):
    schema = operators.schema(name)
    assert {key: argument.default for key, argument in schema.args.items()} == DEFAULTS[name]
    assert all(type(argument.default) is argument.type for argument in schema.args.values())
    assert all(argument.doc for argument in schema.args.values())
    if "size" not in DEFAULTS[name]:
        assert verify(definition(name)) == DEFAULTS[name]


@pytest.mark.parametrize("name", ["LRN", "LRNGradient"])
def test_size_has_to_be_given(name):
    op_def = dataclasses.replace(definition(name), args={"alpha": 1.0})
    message = f"^{name}: argument size is not given: its default is 0, must be 1 to "
    with pytest.raises(ValueError, match=message):
        verify(op_def)


@each_operator
def test_unknown_arguments(name):
    aliases = ALIASES.get(name, {})
    allowed = ", ".join([*operators.schema(name).args, *aliases.values()])
    assert set(allowed.split(", ")) == {*DEFAULTS[name], *aliases.values()}
    for wrong in ("Epsilon", "k", "num_threads", "out"):
        message = f"^{name}: has no argument '{wrong}', allowed: {allowed}$"
        with pytest.raises(ValueError, match=message):
            verify(definition(name, **{wrong: 1}))
    with pytest.raises(ValueError, match=r"^Sum: has no argument 'k', allowed: none$"):
        verify(OperatorDef("Sum", ["x"], ["y"], {"k": 1}))


@each_operator
def test_types_of_arguments(name):
    for key, default in DEFAULTS[name].items():
        for wrong in WRONG_TYPES[type(default)]:
            message = (
                f"^{name}: argument {key} is of type {type(wrong).__name__}, "
                f"must be {type(default).__name__}$"
            )
            with pytest.raises(TypeError, match=message):
                verify(definition(name, **{key: wrong}))


@each_operator
def test_values_of_arguments(name):
    for key, default in DEFAULTS[name].items():
        for right in RIGHT_VALUES[key]:
            value = verify(definition(name, **{key: right}))[key]
            assert value == right
            assert type(value) is type(default)
        for wrong in WRONG_VALUES.get(key, ()):
            with pytest.raises(ValueError, match=rf"^{name}: argument {key} is ") as error:
                verify(definition(name, **{key: wrong}))
            value = repr(type(default)(wrong))
            assert str(error.value).endswith(f"is {value}, must be {MUST_BE.get(key, 'finite')}")


@pytest.mark.parametrize("name", ALIASES)
def test_other_names_of_arguments(name):
    """The name that Caffe2 reads wins over the one that it documents; both are checked."""
    for key, alias in ALIASES[name].items():
        assert verify(definition(name, **{alias: 3}))[key] == 3
        for args in ({key: 2, alias: 3}, {alias: 3, key: 2}):
            values = verify(definition(name, **args))
            assert values[key] == 2
            assert alias not in values
        for args in ({alias: -1}, {key: 2, alias: -1}):
            with pytest.raises(ValueError, match=rf"^{name}: argument {alias} is -1.*, must be "):
                verify(definition(name, **args))
        with pytest.raises(TypeError, match=rf"^{name}: argument {alias} is of type str, must"):
            verify(definition(name, **{key: 2, alias: "3"}))
        assert f" Or as {alias}." in str(operators.schema(name))


# ---- Schemas as objects


@each_operator
def test_help_says_everything(name):
    schema = operators.schema(name)
    text = str(schema)
    assert text == repr(schema)
    assert text.splitlines()[0] == schema.name == name
    assert f"\nInputs: {IN_WORDS[name][0]}\n" in text
    assert f"\nOutputs: {IN_WORDS[name][1]}\n" in text
    for item in (*schema.inputs, *schema.outputs):
        optional = "Optional. " if item.optional else ""
        assert re.search(rf"\n  {item.name} +{re.escape(optional + item.doc)}\n", text)
    for key, argument in schema.args.items():
        declaration = re.escape(f"{key}: {argument.type.__name__} = {argument.default!r}")
        assert re.search(rf"\n  {declaration} +{re.escape(argument.doc)}", text)
    assert max(map(len, text.splitlines())) <= 100


def test_help_of_lrn():
    lines = str(operators.schema("LRN")).splitlines()
    assert "  x  Floating-point, rank 3 to 5." in lines
    assert (
        "  size: int = 0        Channels in the window. Has to be given. Must be 1 to 2**63 - 2."
        in lines
    )
    assert lines[-1] == "In place: none"


def test_counts_follow_from_what_is_optional():
    x, y = Input("x", "An input."), Output("y", "An output.")
    schema = OperatorSchema("Doc.", (x, x._replace(optional=True)), (y,))
    assert schema.allowed_inputs() == Range(1, 2)
    assert schema.allowed_outputs() == Range(1, 1)
    schema = OperatorSchema("Doc.", (x,), (y,), num_inputs=Range(2), num_outputs={1, 4})
    assert [n for n in range(6) if n in schema.allowed_inputs()] == [2, 3, 4, 5]
    assert [n for n in range(6) if n in schema.allowed_outputs()] == [1, 4]


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (
            ValueError,
            {"inputs": (Input("a", "", True), Input("b", ""))},
            "a is optional, must be l",
        ),
        (ValueError, {"outputs": (Output("a", "", True), Output("b", ""))}, "a is optional, must"),
        (
            TypeError,
            {"args": {"k": Argument(float, 0, "")}},
            "default of k is 0, must be of type fl",
        ),
        (TypeError, {"args": {"k": Argument(int, True, "")}}, "default of k is True, must be of t"),
        (ValueError, {"args": {"out": Argument(int, 0, "")}}, "no argument may be named out"),
    ],
)
def test_schemas_that_contradict_themselves(error, options, message):
    with pytest.raises(error, match=f"^schema: .*{message}"):
        OperatorSchema(**{"doc": "", "inputs": (), "outputs": (), **options})


# ---- Registration


def test_unknown_operator():
    with pytest.raises(operators.UnknownNameError) as error:
        operators.schema("LayerNrom")
    assert isinstance(error.value, KeyError)
    assert str(error.value).startswith("LayerNrom: no such operator; did you mean 'LayerNorm'")
    with pytest.raises(
        operators.UnknownNameError, match="Conv2D: no such operator; there are '"
    ) as error:
        operators.infer(OperatorDef("Conv2D", ["x"], ["y"]), [(1,)], [np.float32])
    assert all(repr(name) in str(error.value) for name in COUNTS)


def test_a_name_is_registered_once(own_registry):
    schema = OperatorSchema("Nothing.", (), ())
    operators.register_cpu_operator("Nothing", schema=schema, run=lambda out: [])
    assert operators.schema("Nothing").name == "Nothing"
    assert schema.name == ""
    assert operators.tensor_inference_function("Nothing") is None
    operators.register_gradient("Nothing", None)
    with pytest.raises(
        ValueError, match=r"^register_cpu_operator: 'Nothing' is registered already"
    ):
        operators.register_cpu_operator("Nothing", schema=schema, run=lambda out: [])
    with pytest.raises(ValueError, match="gradient of 'Nothing' is registered already"):
        operators.register_gradient("Nothing", None)
