"""Functions on tensors, ours and torch's own, both differentiated by autograd.

So both pay for what a call in torch costs, which for small tensors is all that counts.
"""

from collections.abc import Iterator

import normkernels as nk
import normkernels.torch as nkt

from ..case import Case, Data
from . import Variant
from .with_torch import Formula, Torch, channels_first, formulas, tensor


class TorchByAutograd(Torch):
    """Without the backward functions that only autograd calls."""

    def norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        for formula in self.formulas(case, data):
            yield self.backward(case, formula, channels_first(case, data.dy))

    lrn_backward = norm_backward


class OursInTorch(TorchByAutograd):
    """Each case twice: with out=, which is for NumPy's arrays, and without it are the same here."""

    version = nk.__version__

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        for variant in super().variants(case, data):
            yield from (variant, variant)

    def formulas(self, case: Case, data: Data) -> list[Formula]:
        if not case.adds:
            return formulas(case, data, nkt)[-1:]
        add = nkt.add_layer_norm if case.centred else nkt.add_rms_norm
        shape, epsilon = case.shape[-1:], case.epsilon
        arrays = (data.x, data.residual, data.gamma, data.beta)
        return [
            Formula(
                add.__name__,
                lambda x, residual, *w: add(x, residual, shape, *w, eps=epsilon),
                [tensor(a) for a in arrays[: 4 if case.centred else 3]],
            )
        ]
