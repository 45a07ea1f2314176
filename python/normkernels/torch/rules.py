"""What takes the place of a norm module: a rule for each type, torch's and other libraries'.

Libraries write norms of their own, hundreds of look-alikes (LlamaRMSNorm, ConvNextLayerNorm), some
of which compute something else: Gemma's weight counts from 1, others' take a gate. Their names say
little, so a look-alike is tried: what it computes is compared with what would take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from . import functional, modules

# What a rule finds for a module: the class that it becomes, the function that becomes its forward,
# or a str that says why it stays as it is.
Found: TypeAlias = type | Callable[..., Any] | str
Rule: TypeAlias = Callable[[nn.Module], Found]
Rules: TypeAlias = Mapping[type, Rule]

SAME_NAME = (
    *("LayerNorm", "RMSNorm", "GroupNorm", "LocalResponseNorm"),
    *("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"),
)


def _becomes(kind: type) -> Rule:
    return lambda _: kind


TORCH_RULES: Rules = {getattr(nn, name): _becomes(getattr(modules, name)) for name in SAME_NAME}


# ---- Forwards of look-alikes; as methods of the module that they are put into


def epsilon_of(module: Any) -> Any:
    """The epsilon of a look-alike, under any of its names; None if it has none."""
    for name in ("eps", "variance_epsilon", "epsilon"):
        if isinstance(value := getattr(module, name, None), float):
            return value
    return None


def _widened(x: Tensor, weight: Tensor) -> Tensor:
    # A float32 weight times a half xhat is float32 in these modules, as in the whole of torch.
    return x.to(torch.promote_types(x.dtype, weight.dtype))


def rms_forward(self: Any, hidden_states: Tensor) -> Tensor:
    """Y = weight * xhat, as in Llama, T5 and most others."""
    x, weight = _widened(hidden_states, self.weight), self.weight
    return functional.rms_norm(x, weight.shape, weight, epsilon_of(self))


def rms_forward_from_one(self: Any, hidden_states: Tensor) -> Tensor:
    """Y = (1 + weight) * xhat, as in Gemma: of x's dtype."""
    weight = 1.0 + self.weight.float()
    if hidden_states.dtype is torch.float64:
        weight = weight.double()
    return functional.rms_norm(hidden_states, weight.shape, weight, epsilon_of(self))


def layer_forward(self: Any, features: Tensor) -> Tensor:
    """Layer norm over the last dimension."""
    return functional.layer_norm(
        features, self.weight.shape, self.weight, self.bias, epsilon_of(self)
    )


def channels_forward(self: Any, features: Tensor) -> Tensor:
    """Layer norm over the channels of (N, C, ...), as in ConvNeXt's "channels_first"."""
    return functional.layer_norm_2d(features, self.weight, self.bias, epsilon_of(self))


def group_forward(self: Any, hidden_state: Tensor) -> Tensor:
    """Group norm, and the activation after it that some have, as in BiT."""
    y = functional.group_norm(
        hidden_state, self.num_groups, self.weight, self.bias, epsilon_of(self)
    )
    activation = getattr(self, "activation", None)
    return y if activation is None else activation(y)


class Candidate(NamedTuple):
    """A forward that a look-alike may have, and a shape with n channels to try it on."""

    forward: Callable[..., Tensor]
    shape: Callable[[int], tuple[int, ...]]


RMS_CANDIDATES = (
    Candidate(rms_forward, lambda n: (3, 5, n)),
    Candidate(rms_forward_from_one, lambda n: (3, 5, n)),
)
LAYER_CANDIDATES = (
    Candidate(layer_forward, lambda n: (2, 3, 5, n)),
    Candidate(channels_forward, lambda n: (2, n, 3, 5)),
    Candidate(channels_forward, lambda n: (2, n, 7)),
)
GROUP_CANDIDATES = (Candidate(group_forward, lambda n: (2, n, 3, 5)),)


def _candidates(module: nn.Module) -> tuple[Candidate, ...]:
    if isinstance(module, nn.GroupNorm):
        return GROUP_CANDIDATES
    return LAYER_CANDIDATES if hasattr(module, "bias") else RMS_CANDIDATES


def look_alike(module: nn.Module) -> Found:
    """The rule for norms of other libraries: the candidate that computes what the module does."""
    parameters = dict(module.named_parameters())
    names = {"weight", "bias"} if "bias" in parameters else {"weight"}
    if set(parameters) != names or any(True for _ in module.buffers()):
        return "it has other parameters than a weight and a bias"
    weight = parameters["weight"]
    if any(p.dim() != 1 or p.shape != weight.shape for p in parameters.values()):
        return "its parameters are no vectors of one length"
    if epsilon_of(module) is None:
        return "it has no epsilon"
    for candidate in _candidates(module):
        if _computes(module, candidate, weight.shape[0]):
            return candidate.forward
    return "it computes something else"


def _computes(module: nn.Module, candidate: Candidate, n: int) -> bool:
    """Whether the module's forward computes what the candidate does.

    Random parameters show how they count, and rows of about sqrt(epsilon) where epsilon is added.
    They are those of a module of the same attributes, and no hook runs.
    """
    generator = torch.Generator().manual_seed(n)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tried = object.__new__(type(module))
    parameters = {
        name: None if p is None else nn.Parameter(normal(n))
        for name, p in module._parameters.items()
    }
    tried.__dict__ = {**module.__dict__, "_parameters": parameters}
    x = normal(*candidate.shape(n))
    x[0] *= epsilon_of(module) ** 0.5
    x[1] = 3 + 30 * x[1]
    with torch.no_grad():
        try:
            given = tried.forward(x)
        except Exception:
            return False  # It does not take such an input, or not that alone
        expected = candidate.forward(tried, x)
    if not isinstance(given, Tensor) or given.shape != expected.shape:
        return False
    return torch.allclose(given.float(), expected.float(), rtol=1e-4, atol=1e-4)
