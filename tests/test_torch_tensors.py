"""Tensors of torch and arrays of JAX, where those are installed."""

import importlib.util
import subprocess
import sys

import ml_dtypes
import normkernels as nk
import numpy as np
import pytest
from conftest import has_array_of_nothing, normal, same_bits

X = normal((4, 6), np.float32)


def special(torch):
    """What is no plain tensor in the CPU's memory, and what the error must say."""
    z = torch.complex(torch.from_numpy(X), torch.from_numpy(X))
    plain = torch.from_numpy(X)
    with torch._subclasses.fake_tensor.FakeTensorMode():
        fake = torch.ones(4, 6)
    return {
        "negative": (z.conj().imag, "negative bit"),
        "conjugate": (z.conj(), "conjugate bit"),
        "fake": (fake, "not supported"),
        "zero": (torch._efficientzerotensor((4, 6)), "ZeroTensor"),
        "requires grad": (plain.clone().requires_grad_(), "detach()"),
        "parameter": (torch.nn.Parameter(plain.clone()), "detach()"),
        "bfloat16": (plain.bfloat16(), "BFloat16"),
        "sparse": (plain.to_sparse(), "Sparse"),
        "meta": (plain.to("meta"), "meta"),
    }


SPECIAL = [
    *("negative", "conjugate", "fake", "zero", "requires grad", "parameter", "bfloat16"),
    *("sparse", "meta"),
]


@pytest.mark.parametrize("kind", SPECIAL)
def test_tensors_that_are_refused_say_why(kind):
    torch = pytest.importorskip("torch")
    if kind == "zero" and has_array_of_nothing(torch):
        pytest.skip("this torch does not refuse it")
    tensor, reason = special(torch)[kind]
    for argument, call in {
        "x": lambda: nk.layer_norm(tensor),
        "out": lambda: nk.layer_norm(X, out=tensor),
    }.items():
        # Whatever a library that the tests compare with has set.
        with pytest.raises(TypeError) as caught, torch.enable_grad():
            call()
        assert str(caught.value).startswith(f"layer_norm: {argument} ")
        assert reason in str(caught.value)
    detached = tensor.detach() if "detach" in reason else None
    if detached is not None:
        assert same_bits(nk.layer_norm(detached), nk.layer_norm(X))


def test_tensors_are_read_and_written_where_they_lie():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X.copy())
    y, mean, sigma = nk.layer_norm(x, return_stats=True)
    assert same_bits(y, nk.layer_norm(X))
    out = torch.empty(4, 6)
    result = nk.layer_norm_backward(x, x, mean, sigma, out=out)
    assert result.dx is out
    assert same_bits(out.numpy(), nk.layer_norm_backward(X, X, mean, sigma).dx)
    assert nk.layer_norm(x, out=x) is x
    assert same_bits(x.numpy(), y)
    transposed = torch.empty(6, 4).T
    assert nk.layer_norm(X, out=transposed) is transposed
    assert same_bits(transposed.numpy(), y)
    with pytest.raises(ValueError, match=r"out has strides .* must name no element twice"):
        nk.layer_norm(X, out=torch.empty(4, 1).expand(4, 6))
    with pytest.raises(ValueError, match="out has shape"):
        nk.layer_norm(X, out=torch.empty(4, 1).expand(4, 5))


def test_half_tensors_are_read_and_written_where_they_lie():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X).half()
    gamma = torch.from_numpy(X[0].copy())
    y, mean, sigma = nk.layer_norm(x, gamma, return_stats=True)
    assert (y.dtype, mean.dtype) == (np.float16, np.float32)
    assert same_bits(y, nk.layer_norm(x.numpy(), gamma.numpy()))
    out = torch.empty(4, 6, dtype=torch.float16)
    assert nk.layer_norm_backward(x, x, mean, sigma, gamma, out=out).dx is out
    assert same_bits(out.numpy(), nk.layer_norm_backward(x, x, mean, sigma, gamma).dx)


def test_tensors_of_bfloat16_are_read_as_the_error_says():
    """NumPy cannot view them, and the view that it can have is the caller's to make."""
    torch = pytest.importorskip("torch")
    t = torch.from_numpy(X).bfloat16()
    with pytest.raises(TypeError, match="ml_dtypes") as caught:
        nk.layer_norm(t)
    x = eval(str(caught.value).split("must be viewed as an array: ")[1])
    assert same_bits(x, X.astype(ml_dtypes.bfloat16))
    assert nk.layer_norm(x, out=x) is x
    assert same_bits(t.float().numpy(), x.astype(np.float32))


JAX = """
import jax
import normkernels as nk
import numpy as np
import pytest

x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
given = jax.numpy.asarray(x)
assert nk.layer_norm(given).tobytes() == nk.layer_norm(x).tobytes()
with pytest.raises(ValueError, match="^layer_norm: out is read-only, must be writable"):
    nk.layer_norm(x, out=given)
half = given.astype(jax.numpy.bfloat16)
assert nk.layer_norm(half).tobytes() == nk.layer_norm(np.asarray(half)).tobytes()
with pytest.raises(TypeError, match="x is of type .*Tracer.* and cannot be viewed"):
    jax.jit(nk.layer_norm)(given)
"""


def test_jax_arrays():
    """In a process of its own: once imported, JAX warns of every fork."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("JAX is not installed")
    done = subprocess.run(
        [sys.executable, "-c", JAX], timeout=120, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
