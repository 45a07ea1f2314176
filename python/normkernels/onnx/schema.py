"""What a schema of ours takes over from ONNX's operator of the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from ..operators import Argument, OperatorSchema, schema


def inherit_onnx_schema(name: str) -> OperatorSchema:
    """The schema of an operator with the documentation and the defaults of ONNX's of that name.

    `print(inherit_onnx_schema("LRN"))` says what ONNX says of LRN, and alpha, beta and bias have
    ONNX's defaults there. What ONNX does not have, such as LRN's argument `order` and its output
    `scale`, or has no words for, stays as it is. What is registered does not change.

    ValueError if ONNX has no operator of that name, UnknownNameError if there is none here,
    TypeError for what is no name.

    >>> inherit_onnx_schema("LRN").args["alpha"].default
    0.0001
    """
    if not isinstance(name, str):
        raise TypeError(
            f"inherit_onnx_schema: name is of type {type(name).__name__}, must be a string"
        )
    ours = schema(name)
    if not onnx.defs.has(name):
        raise ValueError(f"inherit_onnx_schema: ONNX has no operator {name!r}")
    theirs = onnx.defs.get_schema(name)
    return replace(
        ours,
        doc=(theirs.doc or ours.doc).strip(),
        inputs=_documented(ours.inputs, theirs.inputs),
        outputs=_documented(ours.outputs, theirs.outputs),
        args={
            arg: _inherited(argument, theirs.attributes.get(arg))
            for arg, argument in ours.args.items()
        },
    )


def _documented(ours: tuple[Any, ...], theirs: Any) -> tuple[Any, ...]:
    descriptions = [formal.description for formal in theirs] + [""] * len(ours)
    return tuple(
        item._replace(doc=_sentence(description) or item.doc)
        for item, description in zip(ours, descriptions, strict=False)
    )


def _inherited(argument: Argument, attribute: Any) -> Argument:
    if attribute is None:
        return argument
    argument = argument._replace(doc=_sentence(attribute.description) or argument.doc)
    if attribute.required:
        return argument
    default = onnx.helper.get_attribute_value(attribute.default_value)
    if isinstance(default, float):
        default = float(str(np.float32(default)))  # 1e-4 is meant, which float32 does not have
    return argument._replace(default=default)


def _sentence(description: str) -> str:
    """On one line, with a full stop."""
    words = " ".join(description.split())
    return words if not words or words.endswith(".") else f"{words}."
