"""The norms and their derivatives of higher order, in operators of torch.

Second derivatives, and derivatives forward, are rare: they need no kernel, but they must be exact
and have derivatives themselves. All is computed in float64.

With xhat = (x - mean) * r (RMS norm: x * r), r = 1 / sqrt(E[(x - mean)**2] + epsilon) and
P v = v - E[v] - xhat * E[v * xhat] (RMS norm: without E[v]), which is symmetric,

    y = xhat * gamma + beta
    d xhat = r * P dx,  d r = -r**2 * E[xhat * dx]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Space:
    """What of an array is normalised together.

    shape   in which the array is looked at
    dims    of that shape: those normalised
    affine  the shape of gamma and beta beside it
    summed  the dims over which the gradients of gamma and beta are sums
    """

    shape: Sequence[int]
    dims: Sequence[int]
    affine: Sequence[int]
    summed: Sequence[int]
    centred: bool
    epsilon: float

    def see(self, a: Tensor) -> Tensor:
        """An array of x's shape."""
        return a.double().reshape(self.shape)

    def parameter(self, p: Tensor | None, absent: float) -> Tensor | float:
        """An array of gamma's shape."""
        return absent if p is None else p.double().reshape(self.affine)

    def mean(self, a: Tensor) -> Tensor:
        """E[a]."""
        return a.mean(self.dims, keepdim=True)

    def over_rows(self, a: Tensor, like: Tensor) -> Tensor:
        """The gradient of gamma or beta."""
        total = a.sum(self.summed) if self.summed else a
        return total.reshape(like.shape).to(like.dtype)

    def normalised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Xhat and r."""
        x = self.see(x)
        if self.centred:
            x = x - self.mean(x)
        r = (self.mean(x.square()) + self.epsilon).rsqrt()
        return x * r, r

    def projected(self, v: Tensor, xhat: Tensor) -> Tensor:
        """P v."""
        if self.centred:
            v = v - self.mean(v)
        return v - xhat * self.mean(v * xhat)


def rows(x: Tensor, axes: Sequence[int], epsilon: float, *, centred: bool) -> Space:
    """The space of layer and RMS norm."""
    dims = sorted(axis % x.dim() for axis in axes)
    others = [d for d in range(x.dim()) if d not in dims]
    affine = [n if d in dims else 1 for d, n in enumerate(x.shape)]
    return Space(x.shape, dims, affine, others, centred, epsilon)


def groups(x: Tensor, count: int, epsilon: float) -> Space:
    """The space of group norm, of x seen as (N, groups, C / groups, ...)."""
    n, c, *positions = x.shape
    shape = (n, count, c // count if count else 0, *positions)
    dims = range(2, len(shape))
    affine = (1, *shape[1:3], *(1 for _ in positions))
    return Space(shape, tuple(dims), affine, (0, *dims[1:]), True, epsilon)


def norm_jvp(
    space: Space,
    x: Tensor,
    gamma: Tensor | None,
    tangents: Sequence[Tensor | None],
) -> Tensor:
    """The tangent of y = xhat * gamma + beta, from those of x, gamma and beta."""
    dx, dgamma, dbeta = tangents
    xhat, r = space.normalised(x)
    dy = xhat * space.parameter(dgamma, 0.0) + space.parameter(dbeta, 0.0)
    if dx is not None:
        dy = dy + space.parameter(gamma, 1.0) * r * space.projected(space.see(dx), xhat)
    return dy.reshape(x.shape).to(x.dtype)


def gradient_jvp(
    space: Space,
    primals: tuple[Tensor, Tensor, Tensor | None],
    tangents: Sequence[Tensor | None],
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The tangents of dx = r * P g, dgamma = sum of dy * xhat, dbeta = sum of dy; g = dy * gamma.

    The primals and tangents are those of dy, x and gamma; `like` has dgamma's shape and dtype.
    """
    dy, x, gamma = space.see(primals[0]), primals[1], space.parameter(primals[2], 1.0)
    t_dy = torch.zeros_like(dy) if tangents[0] is None else space.see(tangents[0])
    t_x = torch.zeros_like(dy) if tangents[1] is None else space.see(tangents[1])
    xhat, r = space.normalised(x)
    g, t_g = dy * gamma, t_dy * gamma + dy * space.parameter(tangents[2], 0.0)
    t_xhat = r * space.projected(t_x, xhat)
    along = space.mean(g * xhat)
    t_dx = r * (
        space.projected(t_g, xhat)
        - t_xhat * along
        - xhat * space.mean(g * t_xhat)
        - r * space.mean(xhat * t_x) * space.projected(g, xhat)
    )
    return (
        t_dx.reshape(x.shape).to(x.dtype),
        space.over_rows(t_dy * xhat + dy * t_xhat, like),
        space.over_rows(t_dy, like),
    )


def gradient_vjp(
    space: Space,
    primals: tuple[Tensor, Tensor, Tensor | None],
    cotangents: Sequence[Tensor | None],
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of dy, x and gamma, from those of dx, dgamma and dbeta (v, v_gamma, v_beta).

    With S = <v, r * P g> = n * r * (E[v * g] - E[v] * E[g] - E[v * xhat] * E[g * xhat]) for a row:

        of dy: r * P v * gamma + v_gamma * xhat + v_beta,  of gamma: sum of dy * r * P v
        of x: r * P q - xhat * r**2 * S / (n * r),
        q = dy * v_gamma - r * (v * E[g * xhat] + g * E[v * xhat]), the gradient of xhat
    """
    dy, x, gamma = space.see(primals[0]), primals[1], space.parameter(primals[2], 1.0)
    v = torch.zeros_like(dy) if cotangents[0] is None else space.see(cotangents[0])
    v_gamma, v_beta = (space.parameter(c, 0.0) for c in cotangents[1:])
    xhat, r = space.normalised(x)
    g, projected = dy * gamma, r * space.projected(v, xhat)
    q = dy * v_gamma - r * (v * space.mean(g * xhat) + g * space.mean(v * xhat))
    of_x = r * space.projected(q, xhat) - xhat * r * space.mean(projected * g)
    of_dy = projected * gamma + v_gamma * xhat + v_beta
    of_gamma = None if primals[2] is None else space.over_rows(dy * projected, primals[2])
    return of_dy.reshape(x.shape).to(x.dtype), of_x.reshape(x.shape).to(x.dtype), of_gamma


def _window(a: Tensor, before: int, after: int) -> Tensor:
    """The sums over channels k - before to k + after."""
    padded = torch.nn.functional.pad(a.movedim(1, -1), (before, after))
    return padded.unfold(-1, before + after + 1, 1).sum(-1).movedim(-1, 1)


@dataclass(frozen=True)
class Windows:
    """Local response norm: y = x * s**-beta, s = k + c * W x**2, where W is the sum over a window.

    W' is the sum over the mirrored window, and c = alpha / size:

        dx = dy * s**-beta - 2 * c * beta * x * W'(dy * x * s**(-beta - 1))
    """

    size: int
    alpha: float
    beta: float
    k: float

    def sum(self, a: Tensor) -> Tensor:
        """W a."""
        return _window(a, self.size // 2, (self.size - 1) // 2)

    def mirrored_sum(self, a: Tensor) -> Tensor:
        """W' a."""
        return _window(a, (self.size - 1) // 2, self.size // 2)

    def scale(self, x: Tensor) -> Tensor:
        """The s of the formulas."""
        return self.k + self.alpha / self.size * self.sum(x.square())

    def jvp(self, x: Tensor, t_x: Tensor) -> Tensor:
        """The tangent of y."""
        wide, t, s = x.double(), t_x.double(), self.scale(x.double())
        t_s = 2 * self.alpha / self.size * self.sum(wide * t)
        return (t * s**-self.beta - self.beta * wide * s ** (-self.beta - 1) * t_s).to(x.dtype)

    def gradient(self, dy: Tensor, x: Tensor) -> Tensor:
        """The gradient of x, in float64."""
        dy, x = dy.double(), x.double()
        s = self.scale(x)
        inner = self.mirrored_sum(dy * x * s ** (-self.beta - 1))
        return dy * s**-self.beta - 2 * self.alpha / self.size * self.beta * x * inner

    def gradient_jvp(
        self, dy: Tensor, x: Tensor, t_dy: Tensor | None, t_x: Tensor | None
    ) -> Tensor:
        """The tangent of dx."""
        total = self.gradient(torch.zeros_like(x) if t_dy is None else t_dy, x)
        if t_x is not None:
            # The Jacobian of dx by x is symmetric: it is a matrix of second derivatives.
            total = total + self.gradient_vjp(dy, x, t_x)[1].double()
        return total.to(x.dtype)

    def gradient_vjp(self, dy: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of dy and x, from that of dx."""
        beta, c2, dtype = self.beta, 2 * self.alpha / self.size, x.dtype
        dy, x, v = dy.double(), x.double(), v.double()
        s = self.scale(x)
        power = s ** (-beta - 1)
        w = self.sum(v * x)
        of_dy = v * s * power - c2 * beta * x * power * w
        of_s = beta * dy * (c2 * (beta + 1) * x * power / s * w - v * power)
        of_x = c2 * x * self.mirrored_sum(of_s) - c2 * beta * (
            v * self.mirrored_sum(dy * x * power) + dy * power * w
        )
        return of_dy.to(dtype), of_x.to(dtype)
