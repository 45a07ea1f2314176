"""A view takes no second array: with out= a call needs a small workspace and nothing else.

In a process of its own, whose address space ends 24 MiB beyond its arrays."""

import pytest
from scenes import run

MARGIN = 24 << 20

# Everything that a call maps counts, touched or not.
PRELUDE = """
import resource, sys
import numpy as np, normkernels as nk

MARGIN, dtype = int(sys.argv[1]), np.dtype(sys.argv[2])

def end_here():
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MARGIN,) * 2)

def ends():
    try:
        np.ones(2 * MARGIN, np.int8)
    except MemoryError:
        return True
    return False

memory = np.ones(1 << 26, dtype)  # 256 MiB in float32
outs = [np.zeros(1 << 26, dtype) for _ in range(2)]
"""

VIEWS = {
    "transposed": "lambda a: a.reshape(8192, 8192).T",
    "sliced columns": "lambda a: a.reshape(8192, 8192)[:, :8000]",
    "every second": "lambda a: a.reshape(8192, 8192)[::2, ::2]",
}
IMAGES = {
    "permuted": "lambda a: a.reshape(16, 256, 256, 64).transpose(0, 3, 1, 2)",
    "permuted to the front": "lambda a: a.reshape(16, 64, 256, 256).transpose(0, 2, 3, 1)",
    "sliced": "lambda a: a.reshape(16, 64, 256, 256)[:, :, :, :250]",
    "reversed": "lambda a: a.reshape(16, 64, 256, 256)[::-1, ::-1, ::-1, ::-1]",
}

MATRIX_CALLS = """
x, (y, dx) = view(memory), map(view, outs)
dy, rows, cols = x[::-1], len(x), x.shape[1]
each = np.ones((rows, 1), np.float32), np.ones((1, cols), np.float32)
end_here()
nk.layer_norm(x, out=y, num_threads=1)
nk.layer_norm(x, out=x, num_threads=1)
nk.layer_norm(x, axes=0, out=y, return_stats=True, num_threads=1)
nk.layer_norm_backward(dy, x, each[0], each[0], out=dx, num_threads=1)
nk.layer_norm_backward(dy, x, each[1], each[1], axes=0, out=dx, num_threads=1)
nk.rms_norm(x, axes=0, out=y, num_threads=1)
nk.rms_norm_backward(dy, x, axes=0, out=dx, num_threads=1)
nk.add_layer_norm(x, dy, axes=0, total=dx, out=y, num_threads=1)
print(ends())
"""

IMAGE_CALLS = """
x, (y, dx) = view(memory), map(view, outs)
dy = x[:, ::-1]
end_here()
nk.instance_norm(x, out=y, **options)
nk.instance_norm_backward(dy, x, out=dx, **options)
nk.instance_norm_with_gradient(x, None, None, dy, out=(y, dx), **options)
nk.local_response_norm(x, 5, out=y, **options)
nk.local_response_norm_backward(dy, x, 5, out=dx, **options)
nk.local_response_norm_backward(dy, x, 5, y=y, scale=x, out=dx, **options)
print(ends())
"""


# As dense arrays, and as such as are read tile by tile.
HALF_VIEWS = {"dense": "lambda a: a.reshape(8192, 8192)", "transposed": VIEWS["transposed"]}
HALF_IMAGES = {
    "dense": "lambda a: a.reshape(16, 64, 256, 256)",
    "permuted": IMAGES["permuted"],
}


def run_with(view, calls, dtype="float32"):
    assert run(f"view = {view}\n{calls}", str(MARGIN), dtype, prelude=PRELUDE) == ["True"]


@pytest.mark.parametrize("view", VIEWS)
def test_matrices(view):
    run_with(VIEWS[view], MATRIX_CALLS)


@pytest.mark.parametrize("view", IMAGES)
def test_images(view, order):
    options = {"order": order, "num_threads": 1}
    run_with(IMAGES[view], f"options = {options}\n{IMAGE_CALLS}")


@pytest.mark.parametrize("view", HALF_VIEWS)
def test_half_matrices(view):
    """Nor is there one in float32."""
    run_with(HALF_VIEWS[view], MATRIX_CALLS, "float16")


@pytest.mark.parametrize("view", HALF_IMAGES)
def test_half_images(view, order):
    options = {"order": order, "num_threads": 1}
    run_with(HALF_IMAGES[view], f"options = {options}\n{IMAGE_CALLS}", "float16")
