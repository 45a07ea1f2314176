"""The norms with torch's signatures: what torch.nn.functional has, and the norms of a sum.

What holds for all of them:

input    float32, float64, bfloat16 or float16, in the CPU's memory, of any strides: slices,
         transposed and channels_last tensors are read where they lie, and the result has their
         memory format. Parameters are of its dtype, or float32 beside a half type.
Results  have the shape and dtype of the input, also under autocast. They are differentiable as
         often as you like, backward and forward; gradients of first order are kernels' as well.
out      receives the result instead: shape and dtype of the input, of any strides; may be the
         input, save in local_response_norm. As in torch there is no gradient through it.
Errors   are ValueError and TypeError, name the argument, what it was and what it must be. Nested
         tensors are refused so, and tensors on meta beside others.
Threads  are those of the kernels, as many as torch.get_num_threads() at most. The bits of results
         and gradients do not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import normkernels as nk

from . import add_norms, norms, response
from .arrays import statistics_dtype
from .checks import check_parameters, check_rank, check_residual, normalized_axes
from .out import into, into_image, response_into

__all__ = [
    "add_layer_norm",
    "add_rms_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "layer_norm_2d",
    "local_response_norm",
    "rms_norm",
]


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Layer norm over the last dimensions, as torch.nn.functional.layer_norm.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    weight and bias are None (1 and 0) or have normalized_shape.

    >>> x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> nkt.layer_norm(x, (4,))
    tensor([[-1.3416, -0.4472,  0.4472,  1.3416]])
    """
    axes = normalized_axes("layer_norm", input, normalized_shape, weight, bias)
    if out is not None:
        return into(out, nk.layer_norm, input, weight, bias, axes=axes, epsilon=eps)
    return norms.layer_norm.main((input, weight, bias), (axes, eps))


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """RMS norm over the last dimensions, as torch.nn.functional.rms_norm.

        y = x / sqrt(E[x**2] + eps) * weight

    weight is None (1) or has normalized_shape. eps None is the machine epsilon of the type that is
    computed in, as in torch's kernels: of half types float32's.

    >>> x = torch.tensor([[3.0, 4.0]])
    >>> nkt.rms_norm(x, (2,), torch.tensor([1.0, 10.0]))
    tensor([[ 0.8485, 11.3137]])
    """
    axes = normalized_axes("rms_norm", input, normalized_shape, weight)
    if eps is None:
        eps = torch.finfo(statistics_dtype(input)).eps
    if out is not None:
        return into(out, nk.rms_norm, input, weight, None, axes=axes, epsilon=eps)
    return norms.rms_norm.main((input, weight, None), (axes, eps))


def layer_norm_2d(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-6,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Layer norm over the channels of (N, C, ...), each position by itself: LayerNorm2d.

    weight and bias are None (1 and 0) or have C elements.

    >>> x = torch.tensor([[[[1.0, 5.0]], [[3.0, 5.0]]]])  # 2 channels of 1 x 2
    >>> nkt.layer_norm_2d(x).flatten()
    tensor([-1.0000,  0.0000,  1.0000,  0.0000])
    """
    check_rank("layer_norm_2d", input, 2)
    check_parameters("layer_norm_2d", (input.shape[1],), weight=weight, bias=bias)
    if out is not None:
        return into(out, nk.layer_norm, input, weight, bias, axes=1, epsilon=eps)
    return norms.layer_norm.main((input, weight, bias), ([1], eps))


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Group norm of (N, C, ...), as torch.nn.functional.group_norm.

        y = (x - mean) / sqrt(var + eps) * weight + bias,
        mean and var over C / num_groups channels and all positions

    weight and bias are None (1 and 0) or have C elements. A group of a single element is
    normalised to bias, where torch refuses some.

    >>> x = torch.arange(4.0).view(1, 4, 1)
    >>> nkt.group_norm(x, 2, torch.full((4,), 2.0)).flatten()
    tensor([-2.0000,  2.0000, -2.0000,  2.0000])
    """
    check_rank("group_norm", input, 2)
    if num_groups < 1 or input.shape[1] % num_groups:
        raise ValueError(
            f"group_norm: num_groups is {num_groups}, must divide the {input.shape[1]} channels "
            "of input"
        )
    check_parameters("group_norm", (input.shape[1],), weight=weight, bias=bias)
    if out is not None:
        return into_image(out, nk.group_norm, input, num_groups, weight, bias, epsilon=eps)
    return norms.group_norm.main((input, weight, bias), (num_groups, eps))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Instance norm of (N, C, ...), as torch.nn.functional.instance_norm.

        y = (x - mean) / sqrt(var + eps) * weight + bias,  mean and var over all positions

    weight, bias, running_mean and running_var are None or have C elements. With use_input_stats,
    the running ones are moved by momentum towards the means over the batch of mean and of the
    unbiased var. Without, they take the place of mean and var, which leaves nothing to a kernel:
    that is torch's own function.

    >>> x = torch.tensor([[[1.0, 3.0], [10.0, 30.0]]])
    >>> nkt.instance_norm(x)
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])
    """
    name = "instance_norm"
    check_rank(name, input, 2)
    shape = (input.shape[1],)
    check_parameters(name, shape, running_mean=running_mean, running_var=running_var)
    check_parameters(name, shape, weight=weight, bias=bias)
    if not use_input_stats:
        if out is not None:
            raise ValueError(f"{name}: out was given, must be None where use_input_stats is False")
        if running_mean is None or running_var is None:
            raise ValueError(
                f"{name}: use_input_stats is False, must be True without running_mean and "
                "running_var"
            )
        return torch.nn.functional.instance_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    if input.shape[2:].numel() == 1:
        raise ValueError(
            f"{name}: input has shape {tuple(input.shape)}, must have more than one position"
        )
    if out is not None:
        if running_mean is not None or running_var is not None:
            raise ValueError(f"{name}: out was given, must be None where statistics are kept")
        return into_image(out, nk.instance_norm, input, weight, bias, epsilon=eps)
    if running_mean is None and running_var is None:
        return norms.instance_norm.main((input, weight, bias), (eps,))
    y, mean, inv_std = norms.instance_norm(input, weight, bias, eps)
    if running_mean is not None:
        _move(running_mean, mean, momentum)
    if running_var is not None:
        positions = input.shape[2:].numel()
        var = inv_std.double().square().reciprocal() - eps
        _move(running_var, var * (positions / (positions - 1)), momentum)
    return y


def local_response_norm(
    input: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Local response norm of (N, C, ...), as torch.nn.functional.local_response_norm.

        y[c] = x[c] / (k + alpha / size * sum of x[j]**2)**beta,
        c - size // 2 <= j <= c + (size - 1) // 2

    The window of an even size has one channel more before c than after it, which is torch's;
    normkernels.local_response_norm has ONNX's, the mirrored one. out may not be the input.

    >>> x = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> nkt.local_response_norm(x, 3, alpha=3.0, beta=1.0).flatten()
    tensor([0.1667, 0.1333, 0.2143])
    """
    check_rank("local_response_norm", input, 3)
    if size < 1:
        raise ValueError(f"local_response_norm: size is {size}, must be 1 or more")
    if out is not None:
        return response_into(out, input, size, alpha, beta, k)
    x = input.flatten(2) if input.dim() > 5 else input
    return response.local_response_norm.main((x,), (size, alpha, beta, k)).view(input.shape)


def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    add_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Layer norm of a sum, and the sum, in one pass over memory: (y, total).

        total = x + residual + add_bias,  y = layer_norm(total, normalized_shape, weight, bias, eps)

    x and residual have one shape; of two dtypes, as under autocast, total has the wider one.
    weight, bias and add_bias are None (1, 0 and 0) or have normalized_shape.

    >>> x, residual = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 5.0]])
    >>> nkt.add_layer_norm(x, residual, (2,))
    (tensor([[-1.0000,  1.0000]]), tensor([[3., 7.]]))
    """
    return _add_norm("add_layer_norm", x, residual, normalized_shape, (weight, bias, add_bias), eps)


def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    add_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """RMS norm of a sum, and the sum, in one pass over memory: (y, total).

        total = x + residual + add_bias,  y = rms_norm(total, normalized_shape, weight, eps)

    As in add_layer_norm; eps None as in rms_norm.

    >>> x, residual = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    >>> nkt.add_rms_norm(x, residual, (2,))
    (tensor([[0.8485, 1.1314]]), tensor([[3., 4.]]))
    """
    return _add_norm("add_rms_norm", x, residual, normalized_shape, (weight, None, add_bias), eps)


def _add_norm(
    name: str,
    x: Tensor,
    residual: Tensor,
    normalized_shape: Sequence[int],
    parameters: tuple[Tensor | None, Tensor | None, Tensor | None],
    eps: float | None,
) -> tuple[Tensor, Tensor]:
    axes = normalized_axes(name, x, normalized_shape, *parameters)
    check_residual(name, x, residual)
    if x.dtype is not residual.dtype:
        dtype = torch.promote_types(x.dtype, residual.dtype)
        x, residual = x.to(dtype), residual.to(dtype)
    if eps is None:
        eps = torch.finfo(statistics_dtype(x)).eps
    y, total = getattr(add_norms, name).main((x, residual, *parameters), (axes, eps))
    return y, total


def _move(running: Tensor, statistic: Tensor, momentum: float) -> None:
    if statistic.shape[0]:
        with torch.no_grad():
            running.lerp_(statistic.mean(0).to(running.dtype), momentum)
