"""The steps of the originals as code, each from its own arguments as they are given.

The scale is the sum of the absolute terms: where these cancel, the steps lose digits, as the
originals do."""

import numpy as np
from reference import Exact, exact_from_planes, or_neutral, planes_of, reshaped, rows_of, wide

STEP = 12  # in units of u * scale: x_scale takes nine roundings, stands in a bias with two more


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
    gamma, beta = or_neutral(gamma, 1), or_neutral(beta, 0)
    scale, bias = wide(scale).reshape(-1, 1), wide(bias).reshape(-1, 1)
    y = _sum(rows_of(x, axis) * scale * gamma, bias * gamma, beta)
    return reshaped(y, np.shape(x))


def compute_internal_gradients(dy, x, gamma=None, *, axis=1) -> tuple[Exact, Exact, Exact]:
    """dyx = dy * x, ds = sum_j dyx * gamma, db = sum_j dy * gamma."""
    dyx, dy = rows_of(dy, axis) * rows_of(x, axis), rows_of(dy, axis)
    gamma = or_neutral(gamma, 1)
    each_row = (*np.shape(x)[: axis % np.ndim(x)], 1)
    ds, db = (reshaped(_sum_over(a * gamma, 1), each_row) for a in (dyx, dy))
    return reshaped(_relative(dyx), np.shape(x)), ds, db


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
    dy_term = rows_of(dy, axis) * or_neutral(gamma, 1) * per_row[0]
    dx = _sum(dy_term, rows * per_row[1], np.broadcast_to(per_row[2], rows.shape))
    return reshaped(dx, np.shape(x))


def instance_norm_fused_params(mean, rstd, gamma, beta) -> tuple[Exact, Exact]:
    """scale = rstd * gamma, bias = beta - scale * mean."""
    scale = wide(rstd) * wide(gamma)
    return _relative(scale), _sum(np.broadcast_to(wide(beta), scale.shape), -scale * wide(mean))


def instance_norm_apply(x, scale, bias, *, order="NCHW") -> Exact:
    """y = x * scale + bias."""
    planes = planes_of(x, order)
    bias = np.broadcast_to(wide(bias)[:, :, None], planes.shape)
    return exact_from_planes(_sum(planes * wide(scale)[:, :, None], bias), np.shape(x), order)


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
    return exact_from_planes(Exact(value, scale), shape, order)


def instance_norm_gamma_beta_backward(ds, db, mean, rstd) -> tuple[Exact, Exact]:
    """dgamma = sum_n (ds - db * mean) * rstd, dbeta = sum_n db."""
    ds, db, mean, rstd = (wide(a) for a in (ds, db, mean, rstd))
    value = ((ds - db * mean) * rstd).sum(0)
    return Exact(value, ((abs(ds) + abs(db * mean)) * abs(rstd)).sum(0)), _sum_over(db, 0)
