"""Views of larger memory, and the calls on dense copies that they must equal to the bit."""

import itertools
from typing import NamedTuple

import normkernels as nk
import numpy as np
from conftest import groups_of, is_half, normal

# ---- Layouts: functions of values that return an equal view into memory of its own


def dense(a):
    return a.copy()


def wider(shape, dtype, index):
    """The part `index` of memory that is NaN, which has room for the shape."""
    memory = np.full(shape, np.nan, dtype)
    return memory[index]


def filled(view, a):
    view[...] = a
    return view


def columns(a):
    """As x[..., 3:k + 3]: rows in one piece, too far apart."""
    return filled(wider((*a.shape[:-1], a.shape[-1] + 5), a.dtype, np.s_[..., 3:-2]), a)


def steps(a):
    """As x[..., ::2]."""
    return filled(wider((*a.shape[:-1], 2 * a.shape[-1]), a.dtype, np.s_[..., ::2]), a)


def rows(a):
    """As x[::3]."""
    return filled(wider((3 * a.shape[0], *a.shape[1:]), a.dtype, np.s_[::3]), a)


def backwards(a):
    """As x[::-1, ::-1]: every stride is negative."""
    return np.flip(a).copy()[(np.s_[::-1],) * a.ndim]


def first_backwards(a):
    return a[::-1].copy()[::-1]


def permuted(a):
    """As an NHWC array that is seen as NCHW: the second dimension is the innermost one."""
    second = min(1, a.ndim - 1)
    return np.moveaxis(np.moveaxis(a, second, -1).copy(), -1, second)


def moved(a):
    """The first dimension is the innermost one."""
    return np.moveaxis(np.moveaxis(a, 0, -1).copy(), -1, 0)


def part(a):
    """From the middle of an array that is larger in every dimension: no two are one."""
    return filled(wider([n + 3 for n in a.shape], a.dtype, (np.s_[1:-2],) * a.ndim), a)


def part_of_fortran(a):
    return part(a.T).T


def repeated(a):
    """The first of each dimension but the last, with strides of 0."""
    first = a[(np.s_[:1],) * (a.ndim - 1)].copy()
    return np.broadcast_to(first, a.shape)


def repeated_columns(a):
    return np.broadcast_to(a[..., :1].copy(), a.shape)


def fortran(a):
    return a.copy(order="F")


WRITABLE = {
    f.__name__: f
    for f in (
        *(dense, columns, steps, rows, backwards, first_backwards, permuted, moved, part),
        *(fortran, part_of_fortran),
    )
}
LAYOUTS = {**WRITABLE, "repeated": repeated, "repeated_columns": repeated_columns}


def laid_out(layout, a):
    """An empty array has no first element to repeat, but dense copies of all of its views."""
    return LAYOUTS[layout if a.size or layout in WRITABLE else "dense"](a)


def memory_of(view):
    while view.base is not None:
        view = view.base
    return view


def layouts_from(i, n):
    """n layouts, other ones for each i, so that all kinds meet."""
    names = list(LAYOUTS)
    return [names[(i + 5 * k) % len(names)] for k in range(n)]


# ---- Operators


def axes_of(rank):
    """Every choice of axes, as tuples."""
    counts = range(1, rank + 1)
    return [axes for n in counts for axes in itertools.combinations(range(rank), n)]


class Operator(NamedTuple):
    large: tuple  # the inputs of x's shape
    outputs: tuple  # the results of x's shape, by index
    in_place: tuple  # for each of them the inputs that it may be


OPERATORS = {
    "layer_norm": Operator(("x",), (0,), (("x",),)),
    "layer_norm_backward": Operator(("dy", "x"), (0,), (("dy", "x"),)),
    "rms_norm": Operator(("x",), (0,), (("x",),)),
    "rms_norm_backward": Operator(("dy", "x"), (0,), (("dy", "x"),)),
    "add_layer_norm": Operator(("x", "residual"), (0, 1), (("x", "residual"), ("residual", "x"))),
    "add_rms_norm": Operator(("x", "residual"), (0, 1), (("x", "residual"), ("residual", "x"))),
    "instance_norm": Operator(("x",), (0,), (("x",),)),
    "instance_norm_backward": Operator(("dy", "x"), (0,), (("dy", "x"),)),
    "instance_norm_with_gradient": Operator(("x", "dy"), (0, 1), (("x",), ("dy",))),
    "group_norm": Operator(("x",), (0,), (("x",),)),
    "group_norm_backward": Operator(("dy", "x"), (0,), (("dy", "x"),)),
    "local_response_norm": Operator(("x",), (0, 1), ((), ())),
    "local_response_norm_backward": Operator(("dy", "x", "y", "scale"), (0,), ((),)),
}
BOTH = "instance_norm_with_gradient"  # has a pair of arrays to write to
ADDS = ["add_layer_norm", "add_rms_norm"]  # have two of them by name
LAYER_NORMS = [name for name in OPERATORS if name.startswith(("layer", "rms", "add"))]  # take axes
OTHERS = [name for name in OPERATORS if name not in LAYER_NORMS]


def parameters_of_rows(name, shape, axes, saved, dtypes):
    of_gamma, of_beta, dtype = dtypes
    cols = tuple(shape[i] for i in axes)
    each = tuple(1 if i in axes else n for i, n in enumerate(shape))
    gamma = normal(cols, of_gamma, 7)
    if not name.endswith("backward"):
        bias = {"bias": normal(cols, of_beta, 9)} if name in ADDS else {}
        return {"gamma": gamma, "beta": normal(cols, of_beta, 8), "return_stats": True, **bias}
    mean, sigma = normal(each, dtype, 9, std=0.1), 1 + abs(normal(each, dtype, 10))
    if name == "rms_norm_backward":
        return {"gamma": gamma, **({"rstd": sigma} if saved else {})}
    return {"mean": mean, "sigma": sigma, "gamma": gamma}


def parameters(name, x, *, axes=None, order=None, saved=True, dtypes=None):
    """The arguments that do not have x's shape; of x only the shape and the dtype count.

    `dtypes`: of gamma and beta, where they are not x's."""
    shape, dtype = x.shape, np.dtype(np.float32) if is_half(x.dtype) else x.dtype
    of_gamma, of_beta = dtypes or (x.dtype, x.dtype)
    if name in LAYER_NORMS:
        return parameters_of_rows(name, shape, axes, saved, (of_gamma, of_beta, dtype))
    if name.startswith("local"):
        statistics = {"return_scale": True} if name == "local_response_norm" else {}
        return {"size": 5, "alpha": 0.5, "order": order, **statistics}
    c = shape[1] if order == "NCHW" else shape[-1]
    scale, bias = normal((c,), of_gamma, 7), normal((c,), of_beta, 8)
    groups = {"groups": groups_of(c)} if name.startswith("group") else {}
    if name in {"instance_norm", "group_norm"}:
        return {**groups, "scale": scale, "bias": bias, "order": order, "return_stats": True}
    if name == BOTH:
        return {"scale": scale, "bias": bias, "order": order}
    each = (shape[0], groups.get("groups", c))
    mean, inv_std = normal(each, dtype, 9, std=0.1), 1 + abs(normal(each, dtype, 10))
    statistics = {"mean": mean, "inv_std": inv_std} if saved else {}
    return {**groups, "scale": scale, "order": order, **statistics}


def results(name, arrays, **options):
    result = getattr(nk, name)(**arrays, **options)
    return [result] if isinstance(result, np.ndarray) else list(result)


def on_copies(name, arrays, axes=None, **options):
    """The results of the call on dense copies; of other axes than the last, on transposed ones."""
    copies = {key: np.ascontiguousarray(a) for key, a in arrays.items()}
    if axes is None:
        return results(name, copies, **options)
    shape = arrays["x"].shape
    order = [i for i in range(len(shape)) if i not in axes] + list(axes)
    copies = {key: np.ascontiguousarray(a.transpose(order)) for key, a in copies.items()}
    first = len(shape) - len(axes)
    computed = results(name, copies, axis=first, **options)
    n = len(OPERATORS[name].outputs)
    large = [a.transpose(np.argsort(order)) for a in computed[:n]]
    each = [1 if i in axes else n for i, n in enumerate(shape)]
    rest = computed[n:] if name.endswith("backward") else [a.reshape(each) for a in computed[n:]]
    return [*large, *rest]


def written(name):
    """The results, by index, that a caller may have in arrays of his own."""
    return OPERATORS[name].outputs if name == BOTH or name in ADDS else (0,)


def out_option(name, outs):
    if name in ADDS:
        return {"out": outs[0], "total": outs[1]}
    return {"out": tuple(outs) if name == BOTH else outs[0]}
