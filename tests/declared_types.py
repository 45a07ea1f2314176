"""What type checkers know of results; never run: mypy checks it, as it does the package."""

from typing import Any

import normkernels as nk
import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray
from typing_extensions import assert_type

half, single, double = np.zeros(3, np.float16), np.zeros(3, np.float32), np.zeros(3)

assert_type(nk.layer_norm(half, single, half), NDArray[np.float16])
assert_type(nk.layer_norm(single, return_stats=False), NDArray[np.float32])
assert_type(nk.instance_norm(double, order="nhwc", out=double), NDArray[np.float64])
assert_type(nk.rms_norm(half, single), NDArray[np.float16])
assert_type(nk.group_norm(half, 3, order="NHWC"), NDArray[np.float16])
assert_type(nk.local_response_norm(half, 5), NDArray[np.float16])
assert_type(nk.local_response_norm_backward(half, half, 5, y=half), NDArray[np.float16])
assert_type(nk.layer_norm(memoryview(b"")), NDArray[np.floating[Any]])

y, mean, sigma = nk.layer_norm(half, return_stats=True)
assert_type(mean, NDArray[np.floating[Any]])
assert_type(nk.layer_norm_backward(half, half, mean, sigma), nk.LayerNormGradient)

# mypy finds no types in ml_dtypes.
other: NDArray[bfloat16] = np.zeros(3, bfloat16)
nk.layer_norm(other, single)
