"""The specification as code: every operator in NumPy, one precision above the kernels, and the
error measure.

float32 arrays are computed in float64 and float64 arrays in longdouble. Every output comes as
Exact(value, scale): `scale` is the size of the terms that make up the output, so that a correct
kernel errs by a small constant times u * scale, where u is the unit roundoff of its dtype.
assert_within() checks that.

Three rules give all the scales below, with e a small multiple of u:
  * a sum of terms t_k, each right to e * |t_k|, is right to e * sum |t_k|;
  * xhat = (x - mean) / sigma carries the rounding of x - mean and of 1/sigma, which is e * |xhat|,
    and that of the mean, which is e * |x - mean| / sigma for an average x and hence e * 1:
    together e * max(1, |xhat|);
  * s^p carries |p| times the relative error of s, next to its own rounding.
"""

import math
from typing import Any, NamedTuple

import numpy as np

# Bounds in units of u * scale. The worst case of k roundings in a row is k; what is met in practice
# is near sqrt(k). Sums take at most 16 additions in a row before they go on in float64, which is 4.
STATISTICS = 4  # a sum of squares, 4, of which the root leaves 2; the root; the reciprocal
FORWARD = STATISTICS + 4  # in 1/sigma; then centre, times 1/sigma, times gamma, plus beta
BACKWARD = STATISTICS + 4  # in 1/sigma; centre, times 1/sigma, times g, the combination of terms
ONE_TERM = 8  # more, where one term is most of a sum: then 16 additions may all round the same way
LRN_SCALE = 5  # square, sum over the window, alpha / size, times that, plus bias
LRN_FORWARD = LRN_SCALE  # in the power; the power itself and the product with x take less
LRN_BACKWARD = 16  # two powers, the products around them and a window sum
STEP = 12  # the originals' steps: x_scale takes nine roundings and stands in a bias with two more


class Exact(NamedTuple):
    value: np.ndarray
    scale: np.ndarray


class LayerNorm(NamedTuple):
    y: Exact
    mean: Exact
    sigma: Exact


class LayerNormGradient(NamedTuple):
    dx: Exact
    dgamma: Exact
    dbeta: Exact


class InstanceNorm(NamedTuple):
    y: Exact
    mean: Exact
    inv_std: Exact


class InstanceNormGradient(NamedTuple):
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


def _or(a: Any, neutral: float, shape: Any = -1) -> np.ndarray:
    return np.float64(neutral) if a is None else wide(a).reshape(shape)


# ---- Norms over the last axis


class _Statistics(NamedTuple):
    xhat: np.ndarray
    mean: Exact
    sigma: Exact


def _statistics(x: np.ndarray, epsilon: float) -> _Statistics:
    """mean, sigma = sqrt(var + epsilon) and xhat = (x - mean) / sigma, kept dimensions.

    From the first element on, so that a constant row has no deviation at all. xhat of a deviation
    of 0 is 0.

    The mean is |mean| plus the mean of deviations of size std, so its scale is |mean| + std. sigma
    is a root of a sum of positive terms: its scale is sigma."""
    n = x.shape[-1]
    first = x[..., :1] if n else np.zeros_like(x, shape=(*x.shape[:-1], 1))
    deviation = x - first
    shift = deviation.sum(-1, keepdims=True) / max(n, 1)
    deviation = deviation - shift
    var = np.square(deviation).sum(-1, keepdims=True) / max(n, 1)
    mean, sigma = first + shift, np.sqrt(var + x.dtype.type(epsilon))
    xhat = np.divide(deviation, sigma, out=np.zeros_like(x), where=deviation != 0)
    return _Statistics(xhat, Exact(mean, abs(mean) + np.sqrt(var)), Exact(sigma, sigma))


def _affine(xhat: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> Exact:
    """y = xhat * gamma + beta: two terms, and xhat is of size 1 where it is small."""
    return Exact(xhat * gamma + beta, np.maximum(1, abs(xhat * gamma) + abs(beta)))


def _input_gradient(g: np.ndarray, xhat: np.ndarray, sigma: np.ndarray) -> Exact:
    """dx = (g - mean(g) - xhat * mean(g * xhat)) / sigma with g = dy * gamma; 0 where sigma is 0.

    From dxhat_i/dx_j = (delta_ij - 1/n - xhat_i * xhat_j / n) / sigma. Three terms, with max(1,
    |xhat|) for xhat."""
    n = max(g.shape[-1], 1)
    size = np.maximum(1, abs(xhat))
    terms = (
        abs(g)
        + abs(g).sum(-1, keepdims=True) / n
        + size * (abs(g) * size).sum(-1, keepdims=True) / n
    )
    dx = g - g.sum(-1, keepdims=True) / n - xhat * (g * xhat).sum(-1, keepdims=True) / n
    rstd = np.divide(1, sigma, out=np.zeros_like(sigma), where=sigma != 0)
    return Exact(dx * rstd, terms * rstd)


def _parameter_gradients(dy: np.ndarray, xhat: np.ndarray, axes: Any) -> tuple[Exact, Exact]:
    """dgamma = sum dy * xhat and dbeta = sum dy, over `axes`."""
    size = np.maximum(1, abs(xhat))
    return (
        Exact((dy * xhat).sum(axes), (abs(dy) * size).sum(axes)),
        Exact(dy.sum(axes), abs(dy).sum(axes)),
    )


def _reshaped(exact: Exact, shape: tuple[int, ...]) -> Exact:
    return Exact(exact.value.reshape(shape), exact.scale.reshape(shape))


# ---- Layer norm


def layer_norm(x, gamma=None, beta=None, *, axis=1, epsilon=1e-5) -> LayerNorm:
    """y = (x - mean) / sigma * gamma + beta over the dimensions from `axis` on."""
    s = _statistics(rows_of(x, axis), epsilon)
    y = _affine(s.xhat, _or(gamma, 1), _or(beta, 0))
    each_row = (*np.shape(x)[: axis % np.ndim(x)], 1)
    return LayerNorm(
        _reshaped(y, np.shape(x)), _reshaped(s.mean, each_row), _reshaped(s.sigma, each_row)
    )


def layer_norm_backward(dy, x, gamma=None, *, axis=1, epsilon=1e-5) -> LayerNormGradient:
    """With the true mean and sigma of x, whatever has been saved of them."""
    xhat, _, sigma = _statistics(rows_of(x, axis), epsilon)
    dy = rows_of(dy, axis)
    dx = _input_gradient(dy * _or(gamma, 1), xhat, sigma.value)
    dgamma, dbeta = _parameter_gradients(dy, xhat, 0)
    cols = np.shape(x)[axis % np.ndim(x) :]
    return LayerNormGradient(
        _reshaped(dx, np.shape(x)), _reshaped(dgamma, cols), _reshaped(dbeta, cols)
    )


# ---- Instance norm


def _from_planes(exact: Exact, shape: tuple[int, ...], order: str) -> Exact:
    return Exact(*(from_planes(a, shape, order) for a in exact))


def instance_norm(x, scale=None, bias=None, *, order="NCHW", epsilon=1e-5) -> InstanceNorm:
    """y = (x - mean) * inv_std * scale + bias over the spatial positions of each image and
    channel."""
    planes = planes_of(x, order)
    s = _statistics(planes, epsilon)
    y = _affine(s.xhat, _or(scale, 1, (-1, 1)), _or(bias, 0, (-1, 1)))
    with np.errstate(divide="ignore"):
        inv_std = 1 / s.sigma.value
    nc = planes.shape[:2]
    return InstanceNorm(
        _from_planes(y, np.shape(x), order),
        _reshaped(s.mean, nc),
        _reshaped(Exact(inv_std, inv_std), nc),
    )


def instance_norm_backward(
    dy, x, scale=None, *, order="NCHW", epsilon=1e-5
) -> InstanceNormGradient:
    """With the true statistics of x, whatever has been saved of them."""
    xhat, _, sigma = _statistics(planes_of(x, order), epsilon)
    dy = planes_of(dy, order)
    dx = _input_gradient(dy * _or(scale, 1, (-1, 1)), xhat, sigma.value)
    return InstanceNormGradient(
        _from_planes(dx, np.shape(x), order), *_parameter_gradients(dy, xhat, (0, 2))
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

    s is right to e * (its terms), so y to e * |y| * (1 + |beta| * terms / |s|)."""
    planes = planes_of(x, order)
    s = _bracket(planes, size, alpha, bias)
    with np.errstate(all="ignore"):
        y = planes * np.power(s.value, -beta)
        y = Exact(y, abs(y) * (1 + abs(beta) * _cancelled(s)))
    shape = np.shape(x)
    return LocalResponseNorm(_from_planes(y, shape, order), _from_planes(s, shape, order))


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
    return _from_planes(Exact(dx, terms), np.shape(x), order)


# ---- The steps of the originals
#
# Each from its own arguments as they are given. The scale is the sum of the absolute terms: where
# these cancel, the steps lose digits, as the originals do.


def _relative(a: np.ndarray) -> Exact:
    return Exact(a, abs(a))


def _sum(*terms: np.ndarray) -> Exact:
    return Exact(sum(terms[1:], terms[0]), sum((abs(t) for t in terms[1:]), abs(terms[0])))


def _sum_over(a: np.ndarray, axis: int) -> Exact:
    return Exact(a.sum(axis), abs(a).sum(axis))


def compute_sigma_and_fused_params(mean, var, *, epsilon=1e-5) -> tuple[Exact, Exact, Exact]:
    """sigma = sqrt(var + epsilon), scale = 1 / sigma, bias = -mean / sigma."""
    mean = wide(mean)
    sigma = np.sqrt(wide(var) + mean.dtype.type(epsilon))
    return _relative(sigma), _relative(1 / sigma), _relative(-mean / sigma)


def layer_norm_apply(x, scale, bias, gamma=None, beta=None, *, axis=1) -> Exact:
    """y = (x * scale + bias) * gamma + beta."""
    gamma, beta = _or(gamma, 1), _or(beta, 0)
    scale, bias = wide(scale).reshape(-1, 1), wide(bias).reshape(-1, 1)
    y = _sum(rows_of(x, axis) * scale * gamma, bias * gamma, beta)
    return _reshaped(y, np.shape(x))


def compute_internal_gradients(dy, x, gamma=None, *, axis=1) -> tuple[Exact, Exact, Exact]:
    """dyx = dy * x, ds = sum_j dyx * gamma, db = sum_j dy * gamma."""
    dyx, dy = rows_of(dy, axis) * rows_of(x, axis), rows_of(dy, axis)
    gamma = _or(gamma, 1)
    each_row = (*np.shape(x)[: axis % np.ndim(x)], 1)
    ds, db = (_reshaped(_sum_over(a * gamma, 1), each_row) for a in (dyx, dy))
    return _reshaped(_relative(dyx), np.shape(x)), ds, db


def compute_fused_params(mean, sigma, ds, db, n) -> tuple[Exact, Exact, Exact, Exact]:
    """rstd = 1 / sigma, x_scale = (db * mean - ds) * rstd^3 / n, bias = -x_scale * mean - db * rstd
    / n, g_scale = -rstd * mean."""
    mean, ds, db = wide(mean), wide(ds), wide(db)
    rstd = 1 / wide(sigma)
    x_scale = _sum(db * mean * rstd**3 / n, -ds * rstd**3 / n)
    bias = Exact(
        -x_scale.value * mean - db * rstd / n, x_scale.scale * abs(mean) + abs(db * rstd / n)
    )
    return _relative(rstd), x_scale, bias, _relative(-rstd * mean)


def gamma_beta_backward(dyx, dy, rstd, g_scale, *, axis=1) -> tuple[Exact, Exact]:
    """dgamma = sum_i dyx * rstd + dy * g_scale, dbeta = sum_i dy."""
    dyx, dy = rows_of(dyx, axis), rows_of(dy, axis)
    rstd, g_scale = wide(rstd).reshape(-1, 1), wide(g_scale).reshape(-1, 1)
    value = (dyx * rstd + dy * g_scale).sum(0)
    dgamma = Exact(value, (abs(dyx * rstd) + abs(dy * g_scale)).sum(0))
    return dgamma, _sum_over(dy, 0)


def layer_norm_backward_apply(dy, x, gamma, dy_scale, x_scale, bias, *, axis=1) -> Exact:  # noqa: PLR0917
    """dx = dy * gamma * dy_scale + x * x_scale + bias."""
    per_row = [wide(a).reshape(-1, 1) for a in (dy_scale, x_scale, bias)]
    rows = rows_of(x, axis)
    dy_term = rows_of(dy, axis) * _or(gamma, 1) * per_row[0]
    dx = _sum(dy_term, rows * per_row[1], np.broadcast_to(per_row[2], rows.shape))
    return _reshaped(dx, np.shape(x))


def instance_norm_fused_params(mean, rstd, gamma, beta) -> tuple[Exact, Exact]:
    """scale = rstd * gamma, bias = beta - scale * mean."""
    scale = wide(rstd) * wide(gamma)
    return _relative(scale), _sum(np.broadcast_to(wide(beta), scale.shape), -scale * wide(mean))


def instance_norm_apply(x, scale, bias, *, order="NCHW") -> Exact:
    """y = x * scale + bias."""
    planes = planes_of(x, order)
    bias = np.broadcast_to(wide(bias)[:, :, None], planes.shape)
    return _from_planes(_sum(planes * wide(scale)[:, :, None], bias), np.shape(x), order)


def instance_norm_internal_gradients(dy, x, *, order="NCHW") -> tuple[Exact, Exact]:
    """ds = sum_p dy * x, db = sum_p dy."""
    dy = planes_of(dy, order)
    return _sum_over(dy * planes_of(x, order), 2), _sum_over(dy, 2)


def instance_norm_backward_apply(dy, x, mean, rstd, gamma, ds, db, *, order="NCHW") -> Exact:  # noqa: PLR0917
    """dx = c1 * dy + c2 * x + c3 with c1 = rstd * gamma, c2 = (db * mean - ds) * gamma * rstd^3 /
    spatial, c3 = -c2 * mean - db * gamma * rstd / spatial."""
    dy, x, shape = planes_of(dy, order), planes_of(x, order), np.shape(x)
    mean, rstd, ds, db = (wide(a)[:, :, None] for a in (mean, rstd, ds, db))
    gamma, spatial = wide(gamma)[:, None], max(x.shape[2], 1)
    c2 = _sum(db * mean * gamma * rstd**3 / spatial, -ds * gamma * rstd**3 / spatial)
    last = db * gamma * rstd / spatial
    value = rstd * gamma * dy + c2.value * x - c2.value * mean - last
    scale = abs(rstd * gamma * dy) + c2.scale * (abs(x) + abs(mean)) + abs(last)
    return _from_planes(Exact(value, scale), shape, order)


def instance_norm_gamma_beta_backward(ds, db, mean, rstd) -> tuple[Exact, Exact]:
    """dgamma = sum_n (ds - db * mean) * rstd, dbeta = sum_n db."""
    ds, db, mean, rstd = (wide(a) for a in (ds, db, mean, rstd))
    value = ((ds - db * mean) * rstd).sum(0)
    return Exact(value, ((abs(ds) + abs(db * mean)) * abs(rstd)).sum(0)), _sum_over(db, 0)


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
