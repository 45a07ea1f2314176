"""What the tests of normkernels.dask share: every function, with arguments, and ways to cut x."""

import numpy as np
from conftest import normal

SHAPE = (2, 12, 6, 5)
# How chunks lie: whole images; planes whole, groups cut; planes cut; all cut, unevenly.
CUTS = {
    "whole": (1, 12, 6, 5),
    "channels": (2, 7, 6, 5),
    "planes": (2, 12, 4, 5),
    "all": (1, 7, 4, 3),
}


def parameter(n, dtype, seed):
    return normal((n,), dtype, seed)


def arguments(function, dtype, order="NCHW"):
    """Lists of (positional arguments after x, options) for a forward."""
    g, b = parameter(12, dtype, 1), parameter(12, dtype, 2)
    rows = [normal(SHAPE[1:], dtype, seed) for seed in (3, 4)]
    columns = parameter(SHAPE[-1], dtype, 5)
    return {
        "layer_norm": [
            (rows, {}),
            (rows[:1], {"axis": -3}),
            ([], {"axes": (0, 2)}),
            ([], {"axis": 0}),
        ],
        "rms_norm": [
            ([columns, columns], {}),
            ([], {"axes": (1,)}),
            ([None, rows[0]], {"axis": 1}),
        ],
        "instance_norm": [([g, b], {"order": order}), ([], {"order": order, "epsilon": 0.1})],
        "group_norm": [
            ([3, g, b], {"order": order}),
            ([1], {"order": order}),
            ([12, None, b], {"order": order}),
        ],
    }[function]


def saved(function, results):
    """What a backward takes of what the forward returned, by name."""
    names = {"layer_norm": ("mean", "sigma"), "rms_norm": ("rstd",)}.get(
        function, ("mean", "inv_std")
    )
    return {name: getattr(results, name) for name in names}


def to_order(x, order):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if order == "NHWC" else x
