"""normkernels, with out= and with fresh outputs."""

from collections.abc import Iterator

import normkernels as nk
import numpy as np

from ..case import ALPHA, BIAS, Array, Case, Data
from . import Library, Variant


def one(y: Array) -> tuple[Array, ...]:
    return (y,)


class Ours(Library):
    """The first variant writes into out=, the second allocates."""

    version = nk.__version__

    def layer_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, gamma, beta = data.x, data.gamma, data.beta
        y, options = np.empty_like(x), {"axis": -1, "epsilon": case.epsilon}
        yield Variant("out=", lambda: nk.layer_norm(x, gamma, beta, out=y, **options), one)
        yield Variant("fresh", lambda: nk.layer_norm(x, gamma, beta, **options), one)

    def layer_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy, gamma = data.x, data.dy, data.gamma
        _, mean, sigma = nk.layer_norm(x, axis=-1, epsilon=case.epsilon, return_stats=True)
        dx = np.empty_like(x)
        backward = nk.layer_norm_backward
        yield Variant("out=", lambda: backward(dy, x, mean, sigma, gamma, axis=-1, out=dx), tuple)
        yield Variant("fresh", lambda: backward(dy, x, mean, sigma, gamma, axis=-1), tuple)

    def instance_norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, scale, bias = data.x, data.gamma, data.beta
        y, options = np.empty_like(x), {"order": case.order, "epsilon": case.epsilon}
        yield Variant("out=", lambda: nk.instance_norm(x, scale, bias, out=y, **options), one)
        yield Variant("fresh", lambda: nk.instance_norm(x, scale, bias, **options), one)

    def instance_norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        dx, options = np.empty_like(data.x), {"order": case.order, "epsilon": case.epsilon}
        _, mean, inv_std = nk.instance_norm(data.x, return_stats=True, **options)
        arguments = (data.dy, data.x, data.gamma, mean, inv_std)
        backward = nk.instance_norm_backward
        yield Variant("out=", lambda: backward(*arguments, out=dx, **options), tuple)
        yield Variant("fresh", lambda: backward(*arguments, **options), tuple)

    def lrn_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, size, y = data.x, case.size, np.empty_like(data.x)
        options = {"alpha": ALPHA, "beta": case.beta, "bias": BIAS, "order": case.order}
        norm = nk.local_response_norm
        yield Variant("out=", lambda: norm(x, size, out=y, **options), one)
        yield Variant("fresh", lambda: norm(x, size, **options), one)

    def lrn_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        x, dy, size, dx = data.x, data.dy, case.size, np.empty_like(data.x)
        options = {"alpha": ALPHA, "beta": case.beta, "bias": BIAS, "order": case.order}
        backward = nk.local_response_norm_backward
        yield Variant("out=", lambda: backward(dy, x, size, out=dx, **options), one)
        yield Variant("fresh", lambda: backward(dy, x, size, **options), one)
