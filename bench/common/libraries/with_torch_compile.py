"""torch.compile of torch's functional operators, for each shape on its own; gradients by autograd.

The first call of each case runs the C++ compiler, for one to three seconds. The number of threads
is part of what it writes.
"""

from collections.abc import Iterator

import torch
import torch._functorch.config

from ..case import Case, Data
from . import Variant
from .with_torch import Formula, Torch, channels_first, formulas

torch._functorch.config.donated_buffer = False  # or the gradient cannot be taken again


class TorchCompile(Torch):
    limited = False  # it asks the machine what it has

    def variants(self, case: Case, data: Data) -> Iterator[Variant]:
        torch._dynamo.reset()  # what other cases have compiled, and the count of it
        yield from super().variants(case, data)

    def norm_forward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield self.forward(case, compiled(case, data))

    add_norm_forward = lrn_forward = norm_forward

    def norm_backward(self, case: Case, data: Data) -> Iterator[Variant]:
        yield self.backward(case, compiled(case, data), channels_first(case, data.dy))

    lrn_backward = norm_backward


def compiled(case: Case, data: Data) -> Formula:
    label, function, tensors = formulas(case, data)[0]
    return Formula(f"compiled {label}", torch.compile(function, dynamic=False), tensors)
