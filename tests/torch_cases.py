"""The operators of normkernels.torch, each with arguments that suit it."""

import torch
from normkernels.torch import add_norms, norms, response

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
HALVES = [torch.bfloat16, torch.float16]
IDS = [str(dtype).removeprefix("torch.") for dtype in DTYPES]


def normal(*shape, dtype=torch.float64, seed=0, mean=0.0, grad=False):
    """N(mean, 1), the same for every dtype."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    x = mean + torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype).requires_grad_(grad)


# Shape of x, tensors beside it (shapes; of add_* the first is the residual), attributes.
FORWARDS = {
    "layer_norm": (norms.layer_norm, (3, 4, 5), [(4, 5), (4, 5)], ([-2, -1], 1e-3)),
    "layer_norm over channels": (norms.layer_norm, (2, 4, 3), [(4,), (4,)], ([1], 1e-3)),
    "layer_norm, no parameters": (norms.layer_norm, (3, 5), [None, None], ([1], 1e-3)),
    "rms_norm": (norms.rms_norm, (3, 5), [(5,), (5,)], ([-1], 1e-3)),
    "group_norm": (norms.group_norm, (2, 4, 3), [(4,), (4,)], (2, 1e-3)),
    "instance_norm": (norms.instance_norm, (2, 3, 2, 3), [(3,), (3,)], (1e-3,)),
    "local_response_norm": (response.local_response_norm, (2, 5, 3), [], (3, 0.3, 0.75, 1.5)),
    "even window": (response.local_response_norm, (1, 5, 3), [], (4, 0.3, 0.5, 1.5)),
    "add_layer_norm": (
        add_norms.add_layer_norm,
        (3, 5),
        [(3, 5), (5,), (5,), (5,)],
        ([-1], 1e-3),
    ),
    "add_rms_norm": (add_norms.add_rms_norm, (3, 5), [(3, 5), (5,), (5,), (5,)], ([-1], 1e-3)),
}
BACKWARDS = {
    norms.layer_norm: norms.layer_norm_backward,
    norms.rms_norm: norms.rms_norm_backward,
    norms.group_norm: norms.group_norm_backward,
    norms.instance_norm: norms.instance_norm_backward,
    response.local_response_norm: response.local_response_norm_backward,
}


def arguments(name, dtype=torch.float64, *, parameters=None, grad=True):
    """The operator and its arguments; `parameters` is the dtype of gamma and beta."""
    op, shape, beside, attributes = FORWARDS[name]
    tensors = [
        None
        if s is None
        else normal(*s, dtype=dtype if s == shape else parameters or dtype, seed=i, grad=grad)
        for i, s in enumerate(beside, 1)
    ]
    return op, (normal(*shape, dtype=dtype, grad=grad), *tensors, *attributes)


def backward_arguments(name, dtype=torch.float64, *, parameters=None):
    """The backward operator and its arguments."""
    op, args = arguments(name, dtype, parameters=parameters)
    x, *rest = args
    dy = normal(*x.shape, dtype=dtype, seed=9, grad=True)
    if op is response.local_response_norm:
        return BACKWARDS[op], (dy, *args)
    statistics = [s.detach() for s in op(*args)[1:]]
    return BACKWARDS[op], (dy, x, *statistics, rest[0], *rest[2:])


def main_results(op, outputs):
    """What of an operator's outputs has a gradient."""
    if isinstance(outputs, torch.Tensor):
        return (outputs,)
    if op.name.endswith("_backward"):
        return outputs
    return outputs[: 2 if op.name.startswith("add_") else 1]
