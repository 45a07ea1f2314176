"""The types of ONNX's operators, and what their rounding may be off by."""

import ml_dtypes
import numpy as np
import pytest
from reference import u

TYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
each_type = pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)


def float32(value):
    """What an attribute makes of a number."""
    return float(np.float32(value))


def assert_rounded(actual, exact, dtype, bound, cast=0.0):
    """actual is exact up to `bound` roundings where it was computed, and one to dtype; one more
    where a term of it, `cast`, was cast to dtype before."""
    assert actual.dtype == dtype
    assert actual.shape == exact.value.shape
    computed = u(np.float64 if dtype == np.float64 else np.float32)
    own = 0 if computed <= u(np.float64) or dtype == np.float32 else ml_dtypes.finfo(dtype).eps / 2
    error = abs(actual.astype(np.float64) - exact.value)
    roundings = (1 + 2.0**-7) * (abs(exact.value) + abs(cast))
    allowed = bound * computed * exact.scale + own * roundings
    assert (error <= allowed).all(), f"{np.max(error / allowed):.3g} times what is allowed"
