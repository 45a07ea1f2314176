/* The docstrings of RMS norm. Each opens with the signature: it says what the function
 * takes (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_RMS_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_RMS_NORM_H_

namespace normkernels::python::bind_rms_norm {

constexpr const char* kRmsNormDoc = R"(rms_norm(
    x, gamma=None, beta=None, *, axis=-1, axes=None, epsilon=1e-05, out=None, return_stats=False,
    num_threads=None)
--

RMS norm over the dimensions of x from `axis` on, or those in `axes`, all of them together.

    y = x * rstd * gamma + beta
    rstd = 1 / sqrt(E[x**2] + epsilon),  E over the normalised dimensions

x             float32, float64, float16 or bfloat16, rank 1 or more, of any strides.
gamma, beta   None (1 and 0), or as many elements as the normalised dimensions have, in any shape;
              they count in the order of x.shape. Of x's dtype; beside a half type each may be
              float32.
axis          First normalised dimension, -x.ndim <= axis < x.ndim; -1: the last one alone.
axes          The normalised dimensions instead, of which `axis` is then not given: an int or a
              sequence of ints, in any order.
epsilon       Finite and >= 0. A row of zeros gives exactly beta, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x. None: a new array.
return_stats  Also return rstd, of shape x.shape[:axis] + (1,); with axes of x.shape with 1 for
              those. Of half types it is float32.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns y, or RmsNorm(y, rstd).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: ONNX's RMSNormalization and PyTorch's rms_norm, which have no beta.

>>> x = np.array([[3, 4], [6, 8]], np.float32)
>>> nk.rms_norm(x).round(3)
array([[0.849, 1.131],
       [0.849, 1.131]], dtype=float32)
>>> nk.rms_norm(x, np.array([1, 10], np.float32)).round(3)
array([[ 0.849, 11.314],
       [ 0.849, 11.314]], dtype=float32))";

constexpr const char* kRmsNormBackwardDoc = R"(rms_norm_backward(
    dy, x, rstd=None, gamma=None, *, axis=-1, axes=None, epsilon=1e-05, out=None, num_threads=None)
--

Gradients of RMS norm. With xhat = x * rstd and g = dy * gamma:

    dx = (g - xhat * E[g * xhat]) * rstd,  E over the normalised dimensions
    dgamma = sum of dy * xhat,  dbeta = sum of dy,  both over the other ones

dy, x        Of one shape and dtype, float32, float64, float16 or bfloat16, rank 1 or more, of any
             strides.
rstd         As rms_norm(..., return_stats=True) returned it: as many elements as the other
             dimensions have. None: recomputed from x.
gamma        None (1), or as many elements as the normalised dimensions have; of x's dtype, or
             float32 beside a half type.
axis, axes   As in rms_norm.
epsilon      Finite and >= 0; used only where rstd is None.
out          Receives dx: shape and dtype of x, of any strides; may be dy or x. None: a new array.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns RmsNormGradient(dx, dgamma, dbeta); dgamma and dbeta have shape x.shape[axis:], or the
extents of the axes in the order of x.shape, with or without a gamma, and the dtype of gamma, or
without one of x. Where rstd is infinite (row of zeros, epsilon 0) no gradient exists: dx is 0.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: the gradient of ONNX's RMSNormalization.

>>> x = np.array([[3, 4]], np.float32)
>>> y, rstd = nk.rms_norm(x, return_stats=True)
>>> nk.rms_norm_backward(np.ones_like(x), x, rstd).dx.round(3)
array([[ 0.045, -0.034]], dtype=float32))";

}  // namespace normkernels::python::bind_rms_norm

#endif  // NORMKERNELS_PYTHON_DOCS_RMS_NORM_H_
