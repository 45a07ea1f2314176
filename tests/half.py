"""What a call with arrays of a half type must give: the float32 call's results on the widened
arrays, each rounded once."""

import itertools

import normkernels as nk
import numpy as np
import pytest
from conftest import HALVES, is_half, normal, same_bits
from good_calls import ARGUMENTS
from views import ADDS

F32 = np.float32
STATISTICS = {"mean", "sigma", "inv_std", "rstd"}
FIRST, SECOND = ("gamma", "scale"), ("beta", "bias")  # in the order of the parameters

each_half = pytest.mark.parametrize("half", HALVES, ids=lambda half: np.dtype(half).name)


def parameter_dtypes(half, number=2):
    """Every choice for so many parameters; None: not given."""
    return itertools.product((None, half, F32), repeat=number)


# What is too large for a dtype is infinite there, and NaN may be a signalling one.
quiet = np.errstate(over="ignore", invalid="ignore")


@quiet
def widened(value):
    return value.astype(F32) if isinstance(value, np.ndarray) and is_half(value.dtype) else value


@quiet
def rounded(a, dtype):
    return a.astype(dtype)


@quiet
def equal(actual, expected):
    """To the bit, but for the payloads of NaN."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    nan = np.isnan(expected)
    return bool((np.isnan(actual) == nan).all()) and same_bits(actual[~nan], expected[~nan])


def given(arguments, names):
    arrays = [arguments.get(name) for name in names]
    return next((a.dtype for a in arrays if isinstance(a, np.ndarray)), None)


def dtype_of(field, arguments):
    """What a field of a result must have, with an x of a half type."""
    x = arguments["x"].dtype
    first = given(arguments, FIRST) or x
    if field in STATISTICS:
        return np.dtype(F32)
    if field in {"dgamma", "dscale"}:
        return first
    return (given(arguments, SECOND) or first) if field in {"dbeta", "dbias"} else x


def named_results(name, arguments):
    result = getattr(nk, name)(**arguments)
    if isinstance(result, np.ndarray):
        return {"dx" if "dy" in arguments else "y": result}
    return result._asdict()


def wanted(name, arguments):
    """Field -> what it must be."""
    wide = {key: widened(value) for key, value in arguments.items()}
    if name in ADDS:  # the norm is that of the rounded total
        total = rounded(named_results(name, wide)["total"], arguments["x"].dtype)
        others = {k: v for k, v in arguments.items() if k not in {"x", "residual", "bias"}}
        y, *statistics = wanted(name.removeprefix("add_"), {"x": total, **others}).items()
        return dict([y, ("total", total), *statistics])
    return {
        field: rounded(value, dtype_of(field, arguments))
        for field, value in named_results(name, wide).items()
    }


def check(name, arguments):
    """The results, which are as they must be."""
    expected = wanted(name, arguments)
    actual = named_results(name, arguments)
    assert list(actual) == list(expected)
    for field, value in expected.items():
        assert equal(actual[field], value), f"{name}: {field}"
    return list(actual.values())


def good_arguments(name, half):
    """Those of good_calls.py with all but the statistics of a half type."""
    return {
        key: value.astype(half)
        if isinstance(value, np.ndarray) and key not in STATISTICS
        else value
        for key, value in ARGUMENTS[name].items()
    }


# ---- All calls of an operator family on x, dy and two parameters, forward and backward


def made(shape, dtype, seed):
    return None if dtype is None else normal(shape, dtype, seed)


def check_layer_norm(x, dy, gamma, beta, epsilon=1e-3, **options):
    forward = {"x": x, "gamma": gamma, "beta": beta, "epsilon": epsilon, **options}
    _, mean, sigma = check("layer_norm", {**forward, "return_stats": True})
    saved = {"dy": dy, "x": x, "mean": mean, "sigma": sigma, "gamma": gamma}
    check("layer_norm_backward", {**saved, **options})


def check_rms_norm(x, dy, gamma, beta, epsilon=1e-3, **options):
    options = {"epsilon": epsilon, **options}
    forward = {"x": x, "gamma": gamma, "beta": beta, **options}
    _, rstd = check("rms_norm", {**forward, "return_stats": True})
    for saved in (rstd, None):
        check("rms_norm_backward", {"dy": dy, "x": x, "rstd": saved, "gamma": gamma, **options})


def check_norms_of_a_sum(x, residual, gamma, beta, bias, **options):
    parameters = {"gamma": gamma, "beta": beta, "bias": bias}
    for name in ADDS:
        for stats in (True, False):
            values = {"x": x, "residual": residual, **parameters, "return_stats": stats}
            check(name, {**values, **options})


def check_instance_norm(x, dy, scale, bias, **options):
    forward = {"x": x, "scale": scale, "bias": bias, "epsilon": 1e-3, **options}
    _, mean, inv_std = check("instance_norm", {**forward, "return_stats": True})
    backward = {"dy": dy, "x": x, "scale": scale, "epsilon": 1e-3, **options}
    check("instance_norm_backward", backward)
    check("instance_norm_backward", {**backward, "mean": mean, "inv_std": inv_std})
    check("instance_norm_with_gradient", {**forward, "dy": dy})


def check_group_norm(x, dy, scale, bias, groups, **options):
    options = {"groups": groups, "epsilon": 1e-3, **options}
    forward = {"x": x, "scale": scale, "bias": bias, **options}
    _, mean, inv_std = check("group_norm", {**forward, "return_stats": True})
    backward = {"dy": dy, "x": x, "scale": scale, **options}
    for saved in ({}, {"mean": mean, "inv_std": inv_std}):
        check("group_norm_backward", {**backward, **saved})


def check_local_response_norm(x, dy, **options):
    options = {"size": 5, "alpha": 0.5, **options}
    y, scale = check("local_response_norm", {"x": x, "return_scale": True, **options})
    for saved in ({}, {"y": y}, {"scale": scale}, {"y": y, "scale": scale}):
        check("local_response_norm_backward", {"dy": dy, "x": x, **saved, **options})
