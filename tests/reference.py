"""The specification as code: every operator in NumPy, one precision above the kernels, and the
error measure.

float32 arrays are computed in float64 and float64 arrays in longdouble. Every output comes as
Exact(value, scale): `scale` is the size of the terms that make up the output, so that a correct
kernel errs by a small constant times u * scale, where u is the unit roundoff of its dtype.
assert_within() checks that.

Three rules give all the scales below, with e a small multiple of u:
  * a sum of terms t_k, each right to e * |t_k|, is right to e * sum |t_k|;
  * xhat = (x - mean) / sigma carries the rounding of x - mean and of 1/sigma, which is e * |xhat|;
    the backward adds that of the mean of xhat, which is e * 1: together e * max(1, |xhat|), which
    is what stands for |xhat| in all that the backward counts as terms;
  * s^p carries |p| times the relative error of s, next to its own rounding.
"""

import math
from typing import Any, NamedTuple

import numpy as np

# Bounds in units of u * scale, which count the roundings in a row that an output goes through. What
# statistics depend on is summed in twice the precision of the data, in which even the worst case of
# a sum is below 2^-10 u; so that sums do not count in the forward.
STATISTICS = 2  # one rounding at the end; one to spare, which float64 uses: variance + epsilon
FORWARD = 4  # x - mean; 1/sigma; the product of the two; times gamma plus beta, which is one fma
# Sums over dy are of at most 16 additions in the dtype itself, then go on in twice the precision:
# 4 where roundings are independent, which they are in data that nobody made for it. The others:
# xhat, 3, and the combination of the terms.
BACKWARD = 8
ONE_TERM = 8  # more in the backward, where one term is most of a sum: all 16 may round alike
# Whatever the data, with all roundings in one direction: docs/numerics.md adds them up. The second
# number comes for every addition of block sums, which float64 does in float64.
WORST = {"dbeta": (18, 1), "dgamma": (100, 5), "dx": (150, 6)}
WORST |= {"dbias": WORST["dbeta"], "dscale": WORST["dgamma"]}
# The bracket of local response norm: in float64 for float32, so that it is rounded once and has one
# to spare; float64 rounds squares, sum, factor and bias, of which 4 is left where these roundings
# are independent.
LRN_SCALE = {np.dtype(np.float32): 2, np.dtype(np.float64): 4}
# The power is rounded up to twice (s^-0.75 = 1 / (sqrt(s) * sqrt(sqrt(s))) is the longest way), its
# product with x once. The error of s comes |beta| times, which stands in the scale: 3 of it, too.
LRN_FORWARD = 3
LRN_BACKWARD = 16  # two powers, the products around them and a window sum

# What is left of a mean whose terms cancel: 2 u * 2^-20 = 2^-43 of their size (float32), which is
# 1024 additions in float64.
CANCELLED = 2.0**-20


class Exact(NamedTuple):
    value: np.ndarray
    scale: np.ndarray


class LayerNorm(NamedTuple):
    y: Exact
    mean: Exact
    sigma: Exact


class LayerNormGradient(NamedTuple):  # and of RMS norm
    dx: Exact
    dgamma: Exact
    dbeta: Exact


class RmsNorm(NamedTuple):
    y: Exact
    rstd: Exact


class InstanceNorm(NamedTuple):
    y: Exact
    mean: Exact
    inv_std: Exact


class InstanceNormGradient(NamedTuple):
    dx: Exact
    dscale: Exact
    dbias: Exact


class GroupNorm(NamedTuple):
    y: Exact
    mean: Exact
    inv_std: Exact


class GroupNormGradient(NamedTuple):
    dx: Exact
    dscale: Exact
    dbias: Exact


class LocalResponseNorm(NamedTuple):
    y: Exact
    scale: Exact


# ---- The error measure


def u(dtype: Any) -> float:
    """Unit roundoff: the largest relative error of rounding to nearest, 2^-24 or 2^-53."""
    return float(np.finfo(dtype).eps) / 2


def error(actual: np.ndarray, exact: Exact) -> float:
    """The largest |actual - exact| in units of u * scale; inf where one is finite and the other is
    not.

    Gradual underflow adds up to one smallest subnormal per rounding, whatever the scale."""
    with np.errstate(over="ignore"):
        value = exact.value.astype(actual.dtype)
    finite = np.isfinite(value)
    if actual.shape != value.shape or not np.array_equal(finite, np.isfinite(actual)):
        return math.inf
    if not np.array_equal(actual[~finite], value[~finite], equal_nan=True):
        return math.inf
    if not finite.any():
        return 0.0
    unit = u(actual.dtype) * exact.scale[finite] + np.finfo(actual.dtype).smallest_subnormal
    return float(np.max(np.abs(actual[finite] - exact.value[finite]) / unit))


def assert_within(actual: np.ndarray, exact: Exact, bound: float, what: str = "") -> None:
    assert actual.shape == exact.value.shape, f"{what}: {actual.shape}, must be {exact.value.shape}"
    worst = error(actual, exact)
    assert worst <= bound, f"{what}: error is {worst:.3g} u * scale, must be at most {bound:.3g}"


def wide(a: Any) -> np.ndarray:
    """`a` in the precision of the oracle."""
    a = np.asarray(a)
    return a.astype(np.longdouble if a.dtype.itemsize >= 8 else np.float64)


def worst_backward(name: str, dtype: Any, terms: int) -> float:
    """What the error of a gradient, made of sums of so many terms, stays below for any data.

    float64: at most one addition of a block for every 16 terms, and 48 of what these make."""
    base, more = WORST[name]
    return base if np.dtype(dtype) == np.float32 else base + more * (48 + terms / 16)


def counted(terms: np.ndarray, dtype: Any) -> np.ndarray:
    """The size of terms of `dtype`: a denormal number is rounded as the smallest normal one is."""
    return np.where(terms == 0, 0, np.maximum(abs(terms), np.finfo(dtype).tiny))


# ---- Shapes


def rows_of(x: Any, axis: int) -> np.ndarray:
    """x as [rows, cols], all dimensions from `axis` on being columns."""
    x = wide(x)
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def planes_of(x: Any, order: str) -> np.ndarray:
    """x as [n, c, spatial], whatever its order."""
    x = wide(x)
    x = np.moveaxis(x, -1, 1) if order.upper() == "NHWC" else x
    return np.ascontiguousarray(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def from_planes(planes: np.ndarray, shape: tuple[int, ...], order: str) -> np.ndarray:
    if order.upper() == "NCHW":
        return planes.reshape(shape)
    return np.moveaxis(planes.reshape(shape[0], shape[-1], *shape[1:-1]), 1, -1)


def or_neutral(a: Any, neutral: float, shape: Any = -1) -> np.ndarray:
    return np.float64(neutral) if a is None else wide(a).reshape(shape)


# ---- Norms over the last axis


class _Statistics(NamedTuple):
    xhat: np.ndarray
    mean: Exact
    sigma: Exact


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a + b and what its rounding lost, exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _careful_sum(a: np.ndarray) -> np.ndarray:
    """The sum over the last axis as if in twice the precision: by halves, what is lost on the way
    beside."""
    lost = 0
    while a.shape[-1] > 1:
        half = a.shape[-1] // 2
        s, e = _two_sum(a[..., :half], a[..., half : 2 * half])
        lost = lost + e.sum(-1, keepdims=True)
        a = np.concatenate((s, a[..., 2 * half :]), -1) if a.shape[-1] % 2 else s
    return a.sum(-1, keepdims=True) + lost


def _statistics(x: np.ndarray, epsilon: float) -> _Statistics:
    """mean, sigma = sqrt(var + epsilon) and xhat = (x - mean) / sigma, kept dimensions.

    From the first element on, so that a constant row has no deviation at all and an offset costs no
    digits; then from about the mean on, so that a first element far from the others costs none,
    either. xhat of a deviation of 0 is 0.

    The mean is first + mean(x - first): its scale is |mean|, and CANCELLED of the terms of that
    sum, where they cancel. sigma is a root of a sum of positive terms: its scale is sigma."""
    n = max(x.shape[-1], 1)
    first = x[..., :1] if x.shape[-1] else np.zeros_like(x, shape=(*x.shape[:-1], 1))
    deviation, lost = _two_sum(x, -first)
    terms = abs(deviation).sum(-1, keepdims=True) / n
    shift = deviation.sum(-1, keepdims=True) / n
    deviation, more = _two_sum(deviation, -shift)
    lost = lost + more
    rest = (_careful_sum(deviation) + lost.sum(-1, keepdims=True)) / n
    deviation = (deviation - rest) + lost
    mean, more = _two_sum(first, shift)
    mean = mean + (more + rest)
    var = np.square(deviation).sum(-1, keepdims=True) / n
    sigma = np.sqrt(var + x.dtype.type(epsilon))
    xhat = np.divide(deviation, sigma, out=np.zeros_like(x), where=deviation != 0)
    return _Statistics(xhat, Exact(mean, abs(mean) + CANCELLED * terms), Exact(sigma, sigma))


def _rms_statistics(x: np.ndarray, epsilon: float) -> _Statistics:
    """The same about 0: sigma = sqrt(E[x^2] + epsilon) and xhat = x / sigma, of 0 0."""
    sigma = np.sqrt(
        np.square(x).sum(-1, keepdims=True) / max(x.shape[-1], 1) + x.dtype.type(epsilon)
    )
    xhat = np.divide(x, sigma, out=np.zeros_like(x), where=x != 0)
    zero = np.zeros_like(sigma)
    return _Statistics(xhat, Exact(zero, zero), Exact(sigma, sigma))


def _affine(xhat: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> Exact:
    """y = xhat * gamma + beta: two terms; below 1, the size of y, an error may stay what it is at
    1."""
    return Exact(xhat * gamma + beta, np.maximum(1, abs(xhat * gamma) + abs(beta)))


def _input_gradient(
    g: np.ndarray, xhat: np.ndarray, factor: np.ndarray, dtype: Any, *, centred: bool = True
) -> Exact:
    """dx = factor * (g - mean(g) - xhat * mean(g * xhat)), where factor is 1 / sigma and g = dy *
    gamma; or factor is gamma / sigma, with one gamma for the row, and g = dy.

    From dxhat_i/dx_j = (delta_ij - 1/n - xhat_i * xhat_j / n) / sigma. Three terms, with max(1,
    |xhat|) for xhat. Not centred, as RMS norm is: without mean(g), and 1/n of dxhat_i/dx_j."""

    def mean(a: np.ndarray) -> np.ndarray:
        return a.sum(-1, keepdims=True) / max(a.shape[-1], 1)

    size = np.maximum(1, abs(xhat))
    terms = counted(g, dtype) + size * counted(mean(counted(g * size, dtype)), dtype)
    dx = g - xhat * mean(g * xhat)
    if centred:
        terms = terms + counted(mean(counted(g, dtype)), dtype)
        dx = dx - mean(g)
    return Exact(dx * factor, terms * counted(factor, dtype))


def inverse(sigma: np.ndarray) -> np.ndarray:
    """1 / sigma, of which that of 0 is taken as 0: a constant row has no gradient."""
    return np.divide(1, sigma, out=np.zeros_like(sigma), where=sigma != 0)


def _parameter_gradients(
    dy: np.ndarray, xhat: np.ndarray, axes: Any, dtype: Any
) -> tuple[Exact, Exact]:
    """dgamma = sum dy * xhat and dbeta = sum dy, over `axes`."""
    size = np.maximum(1, abs(xhat))
    return (
        Exact((dy * xhat).sum(axes), counted(dy * size, dtype).sum(axes)),
        Exact(dy.sum(axes), abs(dy).sum(axes)),
    )


def reshaped(exact: Exact, shape: tuple[int, ...]) -> Exact:
    return Exact(exact.value.reshape(shape), exact.scale.reshape(shape))


# ---- Layer norm


def layer_norm(x, gamma=None, beta=None, *, axis=1, epsilon=1e-5) -> LayerNorm:
    """y = (x - mean) / sigma * gamma + beta over the dimensions from `axis` on."""
    s = _statistics(rows_of(x, axis), epsilon)
    y = _affine(s.xhat, or_neutral(gamma, 1), or_neutral(beta, 0))
    each_row = (*np.shape(x)[: axis % np.ndim(x)], 1)
    return LayerNorm(
        reshaped(y, np.shape(x)), reshaped(s.mean, each_row), reshaped(s.sigma, each_row)
    )


def layer_norm_backward(dy, x, gamma=None, *, axis=1, epsilon=1e-5) -> LayerNormGradient:
    """With the true mean and sigma of x, whatever has been saved of them."""
    xhat, _, sigma = _statistics(rows_of(x, axis), epsilon)
    dy = rows_of(dy, axis)
    dtype = np.asarray(x).dtype
    dx = _input_gradient(dy * or_neutral(gamma, 1), xhat, inverse(sigma.value), dtype)
    dgamma, dbeta = _parameter_gradients(dy, xhat, 0, dtype)
    cols = np.shape(x)[axis % np.ndim(x) :]
    return LayerNormGradient(
        reshaped(dx, np.shape(x)), reshaped(dgamma, cols), reshaped(dbeta, cols)
    )


# ---- RMS norm


def rms_norm(x, gamma=None, beta=None, *, axis=-1, epsilon=1e-5) -> RmsNorm:
    """y = x * rstd * gamma + beta over the dimensions from `axis` on."""
    s = _rms_statistics(rows_of(x, axis), epsilon)
    y = _affine(s.xhat, or_neutral(gamma, 1), or_neutral(beta, 0))
    with np.errstate(divide="ignore"):
        rstd = 1 / s.sigma.value
    each_row = (*np.shape(x)[: axis % np.ndim(x)], 1)
    return RmsNorm(reshaped(y, np.shape(x)), reshaped(Exact(rstd, rstd), each_row))


def rms_norm_backward(dy, x, gamma=None, *, axis=-1, epsilon=1e-5) -> LayerNormGradient:
    """With the true rstd of x, whatever has been saved of it."""
    xhat, _, sigma = _rms_statistics(rows_of(x, axis), epsilon)
    dy = rows_of(dy, axis)
    dtype = np.asarray(x).dtype
    g = dy * or_neutral(gamma, 1)
    dx = _input_gradient(g, xhat, inverse(sigma.value), dtype, centred=False)
    dgamma, dbeta = _parameter_gradients(dy, xhat, 0, dtype)
    cols = np.shape(x)[axis % np.ndim(x) :]
    return LayerNormGradient(
        reshaped(dx, np.shape(x)), reshaped(dgamma, cols), reshaped(dbeta, cols)
    )


# ---- Norms of a sum


def total(x, residual, bias=None, *, axis=-1) -> Exact:
    """x + residual + bias, the bias along the dimensions from `axis` on, rounded once: its scale is
    the sum, and 2^-10 of its terms, which is what is left where they cancel."""
    terms = [rows_of(x, axis), rows_of(residual, axis), or_neutral(bias, 0)]
    value = sum(terms)
    return reshaped(Exact(value, abs(value) + 2.0**-10 * sum(map(abs, terms))), np.shape(x))


# ---- Instance norm


def exact_from_planes(exact: Exact, shape: tuple[int, ...], order: str) -> Exact:
    return Exact(*(from_planes(a, shape, order) for a in exact))


def instance_norm(x, scale=None, bias=None, *, order="NCHW", epsilon=1e-5) -> InstanceNorm:
    """y = (x - mean) * inv_std * scale + bias over the spatial positions of each image and
    channel."""
    planes = planes_of(x, order)
    s = _statistics(planes, epsilon)
    y = _affine(s.xhat, or_neutral(scale, 1, (-1, 1)), or_neutral(bias, 0, (-1, 1)))
    with np.errstate(divide="ignore"):
        inv_std = 1 / s.sigma.value
    nc = planes.shape[:2]
    return InstanceNorm(
        exact_from_planes(y, np.shape(x), order),
        reshaped(s.mean, nc),
        reshaped(Exact(inv_std, inv_std), nc),
    )


def instance_norm_backward(
    dy, x, scale=None, *, order="NCHW", epsilon=1e-5
) -> InstanceNormGradient:
    """With the true statistics of x, whatever has been saved of them."""
    xhat, _, sigma = _statistics(planes_of(x, order), epsilon)
    dy = planes_of(dy, order)
    dtype, factor = np.asarray(x).dtype, or_neutral(scale, 1, (-1, 1)) * inverse(sigma.value)
    dx = _input_gradient(dy, xhat, factor, dtype)
    return InstanceNormGradient(
        exact_from_planes(dx, np.shape(x), order), *_parameter_gradients(dy, xhat, (0, 2), dtype)
    )


# ---- Group norm


def _groups_of(planes: np.ndarray, groups: int) -> np.ndarray:
    """A group's planes, which are neighbours, as one row."""
    n, c, spatial = planes.shape
    return planes.reshape(n, groups, c // groups * spatial)


def group_norm(x, groups, scale=None, bias=None, *, order="NCHW", epsilon=1e-5) -> GroupNorm:
    """y = (x - mean) * inv_std * scale + bias over the channels of a group and the spatial
    positions of each image."""
    planes = planes_of(x, order)
    s = _statistics(_groups_of(planes, groups), epsilon)
    xhat = s.xhat.reshape(planes.shape)
    y = _affine(xhat, or_neutral(scale, 1, (-1, 1)), or_neutral(bias, 0, (-1, 1)))
    with np.errstate(divide="ignore"):
        inv_std = 1 / s.sigma.value
    each = (len(planes), groups)
    return GroupNorm(
        exact_from_planes(y, np.shape(x), order),
        reshaped(s.mean, each),
        reshaped(Exact(inv_std, inv_std), each),
    )


def group_norm_backward(
    dy, x, groups, scale=None, *, order="NCHW", epsilon=1e-5
) -> GroupNormGradient:
    """With the true statistics of x, whatever has been saved of them."""
    planes, dy = planes_of(x, order), planes_of(dy, order)
    xhat, _, sigma = _statistics(_groups_of(planes, groups), epsilon)
    g = _groups_of(dy * or_neutral(scale, 1, (-1, 1)), groups)
    dtype = np.asarray(x).dtype
    dx = reshaped(_input_gradient(g, xhat, inverse(sigma.value), dtype), planes.shape)
    return GroupNormGradient(
        exact_from_planes(dx, np.shape(x), order),
        *_parameter_gradients(dy, xhat.reshape(planes.shape), (0, 2), dtype),
    )


# ---- Local response norm


def window(channel: int, size: int, channels: int) -> slice:
    """The channels whose squares count for `channel`, as ONNX has it also for even sizes."""
    below = (size - 1) // 2
    return slice(max(0, channel - below), min(channels, channel - below + size))


def mirrored_window(channel: int, size: int, channels: int) -> slice:
    """The channels in whose windows `channel` is."""
    above = size - 1 - (size - 1) // 2
    return slice(max(0, channel - above), min(channels, channel - above + size))


def _window_sums(a: np.ndarray, size: int, which: Any) -> np.ndarray:
    sums = [a[:, which(k, size, a.shape[1])].sum(1) for k in range(a.shape[1])]
    return np.stack(sums, 1) if sums else a


def _bracket(planes: np.ndarray, size: int, alpha: float, bias: float) -> Exact:
    """s = bias + alpha / size * (sum of squares): two terms, which differ in sign where alpha or
    bias is negative."""
    squares = _window_sums(np.square(planes), size, window) / size
    return Exact(bias + alpha * squares, abs(bias) + abs(alpha) * squares)


def _cancelled(s: Exact) -> np.ndarray:
    """How many times larger the terms of the bracket are than the bracket; 1 unless alpha or bias
    is negative."""
    finite = np.isfinite(s.value)
    return np.divide(s.scale, abs(s.value), out=np.ones_like(s.value), where=finite)


def local_response_norm(
    x, size, *, alpha=1e-4, beta=0.75, bias=1.0, order="NCHW"
) -> LocalResponseNorm:
    """y = x * s^-beta.

    s is right to e * (its terms), so y to e * |y| * (1 + |beta| * terms / |s|): in units of u,
    LRN_FORWARD * (1 + |beta|) where alpha and bias are not negative."""
    planes = planes_of(x, order)
    s = _bracket(planes, size, alpha, bias)
    with np.errstate(all="ignore"):
        y = planes * np.power(s.value, -beta)
        y = Exact(y, abs(y) * (1 + abs(beta) * _cancelled(s)))
    shape = np.shape(x)
    return LocalResponseNorm(exact_from_planes(y, shape, order), exact_from_planes(s, shape, order))


def local_response_norm_backward(
    dy, x, size, *, alpha=1e-4, beta=0.75, bias=1.0, order="NCHW"
) -> Exact:
    """dx[k] = dy[k] * s[k]^-beta - 2 * alpha * beta / size * x[k] * sum_j r[j],
    r[j] = dy[j] * x[j] * s[j]^(-beta-1), over the j in whose windows k is.

    From dy[j]/dx[k] = delta_jk * s[j]^-beta - beta * x[j] * s[j]^(-beta-1) * ds[j]/dx[k], where
    ds[j]/dx[k] = 2 * alpha / size * x[k]. Each power brings in the terms of its bracket."""
    planes, dy = planes_of(x, order), planes_of(dy, order)
    s = _bracket(planes, size, alpha, bias)
    with np.errstate(all="ignore"):
        direct = dy * np.power(s.value, -beta)
        through = dy * planes * np.power(s.value, -beta) / s.value  # -beta - 1 would be rounded
    cancelled = _cancelled(s)
    factor = 2 * alpha * beta / size * planes
    dx = direct - factor * _window_sums(through, size, mirrored_window)
    terms = abs(direct) * cancelled + abs(factor) * _window_sums(
        abs(through) * cancelled, size, mirrored_window
    )
    return exact_from_planes(Exact(dx, terms), np.shape(x), order)


# ---- Central differences


def numeric_gradient(f: Any, x: np.ndarray, dy: np.ndarray, h: float) -> np.ndarray:
    """d/dx sum(dy * f(x)), element by element."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (dy * (f(up) - f(down))).sum() / (up[i] - down[i])
    return gradient
