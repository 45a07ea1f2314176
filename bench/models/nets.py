"""Models as their authors write them in torch, with torch.nn's own norms in residual blocks.

Blocks are written out. torch.nn.TransformerEncoderLayer has a fused path for inference, which takes
the parameters of its norms and never calls them, whoever computes them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

HEAD = 64  # elements of an attention head


class Attention(nn.Module):
    """Self-attention of (batch, tokens, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, HEAD)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """x + f(norm(x))."""

    def __init__(self, norm: nn.Module, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(norm, *layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Permuted(nn.Module):
    """A module of (N, H, W, C) on (N, C, H, W), as ConvNeXt has its norms and linear layers."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def transformer(norm: Callable[[int], nn.Module], width: int, depth: int = 12) -> nn.Module:
    """Blocks of attention and of two linear layers, on embedded tokens."""

    def blocks() -> Iterator[nn.Module]:
        for _ in range(depth):
            yield Residual(norm(width), Attention(width))
            hidden = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            yield Residual(norm(width), *hidden)

    return nn.Sequential(*blocks(), norm(width), nn.Linear(width, 10))


def residual_net(norm: Callable[[int], nn.Module], channels: int, depth: int = 6) -> nn.Module:
    """Blocks of two 3 x 3 convolutions, a norm and an activation before each."""

    def convolution(inputs: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)

    def block() -> nn.Module:
        first = norm(channels), nn.ReLU(), convolution(channels)
        return Residual(*first, norm(channels), nn.ReLU(), convolution(channels))

    blocks = (block() for _ in range(depth))
    return nn.Sequential(convolution(3, 2), *blocks, norm(channels), nn.ReLU(), *head(channels))


def convnext(channels: int, depth: int = 6) -> nn.Module:
    """Blocks of a depthwise convolution, layer norm over the channels and two linear layers."""

    def block() -> nn.Module:
        depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        hidden = nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        return Residual(depthwise, Permuted(nn.LayerNorm(channels), *hidden))

    stem = nn.Conv2d(3, channels, 4, 4), Permuted(nn.LayerNorm(channels))
    return nn.Sequential(*stem, *(block() for _ in range(depth)), *head(channels))


def head(channels: int) -> tuple[nn.Module, ...]:
    """From the last image to ten numbers."""
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)


@dataclass(frozen=True)
class Net:
    """A model and what goes into it."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    memory_format: torch.memory_format = torch.contiguous_format

    def build(self) -> tuple[nn.Module, Tensor]:
        """The model and its input, the same every time."""
        torch.manual_seed(0)
        like: Any = {"memory_format": self.memory_format}
        return self.make().to(**like), torch.randn(self.shape).to(**like)


NETS = (
    Net("transformer, layer norm", lambda: transformer(nn.LayerNorm, 384), (2, 128, 384)),
    Net("transformer, RMS norm", lambda: transformer(nn.RMSNorm, 384), (2, 128, 384)),
    Net("small transformer", lambda: transformer(nn.LayerNorm, 128), (1, 64, 128)),
    Net(
        "residual net, instance norm",
        lambda: residual_net(lambda c: nn.InstanceNorm2d(c, affine=True), 32),
        (4, 3, 128, 128),
    ),
    Net(
        "residual net, group norm",
        lambda: residual_net(lambda c: nn.GroupNorm(8, c), 32),
        (4, 3, 128, 128),
    ),
    Net(
        "residual net, group norm, channels_last",
        lambda: residual_net(lambda c: nn.GroupNorm(8, c), 32),
        (4, 3, 128, 128),
        torch.channels_last,
    ),
    Net("ConvNeXt", lambda: convnext(96), (4, 3, 128, 128), torch.channels_last),
)
QUICK = (
    Net("transformer", lambda: transformer(nn.LayerNorm, 64, 1), (2, 8, 64)),
    Net("residual net", lambda: residual_net(lambda c: nn.GroupNorm(2, c), 8, 1), (2, 3, 16, 16)),
    Net("ConvNeXt", lambda: convnext(8, 1), (2, 3, 16, 16), torch.channels_last),
)
