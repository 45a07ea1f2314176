"""normkernels, with out= and with fresh outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import normkernels as nk
import numpy as np

from ..case import ALPHA, BIAS, HALVES, Array, Case, Data
from . import Library, Variant

Reader = Callable[[Any], tuple[Array, ...]]


def one(y: Array) -> tuple[Array, ...]:
    return (y,)


def without_dbeta(gradient: Any) -> tuple[Array, ...]:
    return gradient.dx, gradient.dgamma


def both(
    function: Callable[..., Any], arguments: tuple, options: dict, out: dict, read: Reader = one
) -> Iterator[Variant]:
    """A call that writes into `out`, and one that allocates."""
    written = options | out
    yield Variant("out=", lambda: function(*arguments, **written), read, bound=True)
    yield Variant("fresh", lambda: function(*arguments, **options), read)


class Ours(Library):
    """The first variant writes into out=, the second allocates."""

    version = nk.__version__
    dtypes = ("float32", "float64", *HALVES)

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.x, data.gamma, data.beta)
        return both(nk.layer_norm, arguments, rows(case), like(data))

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        _, mean, sigma = nk.layer_norm(data.x, return_stats=True, **rows(case))
        arguments = (data.dy, data.x, mean, sigma, data.gamma)
        return both(nk.layer_norm_backward, arguments, {"axis": -1}, like(data), tuple)

    def rms_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        return both(nk.rms_norm, (data.x, data.gamma), rows(case), like(data))

    def rms_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        _, rstd = nk.rms_norm(data.x, return_stats=True, **rows(case))
        arguments = (data.dy, data.x, rstd, data.gamma)
        return both(nk.rms_norm_backward, arguments, {"axis": -1}, like(data), without_dbeta)

    def add_layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.x, data.residual, data.gamma, data.beta)
        return both(nk.add_layer_norm, arguments, rows(case), like(data, "out", "total"), tuple)

    def add_rms_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.x, data.residual, data.gamma)
        return both(nk.add_rms_norm, arguments, rows(case), like(data, "out", "total"), tuple)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.x, data.gamma, data.beta)
        return both(nk.instance_norm, arguments, images(case), like(data))

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        _, mean, inv_std = nk.instance_norm(data.x, return_stats=True, **images(case))
        arguments = (data.dy, data.x, data.gamma, mean, inv_std)
        return both(nk.instance_norm_backward, arguments, images(case), like(data), tuple)

    def group_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.x, case.groups, data.gamma, data.beta)
        return both(nk.group_norm, arguments, images(case), like(data))

    def group_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        _, mean, inv_std = nk.group_norm(data.x, case.groups, return_stats=True, **images(case))
        arguments = (data.dy, data.x, case.groups, data.gamma, mean, inv_std)
        return both(nk.group_norm_backward, arguments, images(case), like(data), tuple)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        return both(nk.local_response_norm, (data.x, case.size), window(case), like(data))

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        arguments = (data.dy, data.x, case.size)
        return both(nk.local_response_norm_backward, arguments, window(case), like(data))


def rows(case: Case) -> dict[str, Any]:
    return {"axis": -1, "epsilon": case.epsilon}


def images(case: Case) -> dict[str, Any]:
    return {"order": case.order, "epsilon": case.epsilon}


def window(case: Case) -> dict[str, Any]:
    return {"alpha": ALPHA, "beta": case.beta, "bias": BIAS, "order": case.order}


def like(data: Data, *names: str) -> dict[str, Array]:
    """Outputs of x's shape and dtype."""
    return {name: np.empty_like(data.x) for name in names or ("out",)}
