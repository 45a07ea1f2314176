/* The docstrings of the norms of a sum. Each opens with the signature: it says what the function
 * takes (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_ADD_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_ADD_NORM_H_

namespace normkernels::python::bind_add_norm {

constexpr const char* kAddLayerNormDoc = R"(add_layer_norm(
    x, residual, gamma=None, beta=None, *, bias=None, axis=1, axes=None, epsilon=1e-05, out=None,
    total=None, return_stats=False, num_threads=None)
--

Layer norm of the sum of a residual connection, in one pass over memory.

    total = x + residual + bias,  rounded once
    y = layer_norm(total, gamma, beta, axis=axis, axes=axes, epsilon=epsilon),  bit for bit

x, residual   Of one shape and dtype, float32, float64, float16 or bfloat16, rank 1 or more, of any
              strides.
gamma, beta   None (1 and 0), or as many elements as the normalised dimensions have, in any shape;
              they count in the order of x.shape.
bias          None (0), or as many elements as gamma. All three are of x's dtype; beside a half type
              each may be float32.
axis, axes    As in layer_norm.
epsilon       Finite and >= 0. A constant row of total gives exactly beta, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x or residual. None: a new
              array.
total         Receives total, likewise; not in the memory of out.
return_stats  Also return mean and sigma of total, as layer_norm does.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns AddNorm(y, total), or AddLayerNorm(y, total, mean, sigma).

The gradient is that of layer norm at total:

    dx, dgamma, dbeta = layer_norm_backward(dy, total, mean, sigma, gamma, axis=axis, axes=axes)

dx plus the gradient that reaches total itself is that of x and of residual; its sum over the
dimensions that are not normalised is that of bias.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: ONNX Runtime's SkipLayerNormalization.

>>> x, residual = np.array([[1.0, 2.0]]), np.array([[2.0, 5.0]])
>>> y, total = nk.add_layer_norm(x, residual)
>>> y.round(3), total
(array([[-1.,  1.]]), array([[3., 7.]])))";

constexpr const char* kAddRmsNormDoc = R"(add_rms_norm(
    x, residual, gamma=None, beta=None, *, bias=None, axis=-1, axes=None, epsilon=1e-05, out=None,
    total=None, return_stats=False, num_threads=None)
--

RMS norm of the sum of a residual connection, in one pass over memory.

    total = x + residual + bias,  rounded once
    y = rms_norm(total, gamma, beta, axis=axis, axes=axes, epsilon=epsilon),  bit for bit

x, residual   Of one shape and dtype, float32, float64, float16 or bfloat16, rank 1 or more, of any
              strides.
gamma, beta   None (1 and 0), or as many elements as the normalised dimensions have, in any shape;
              they count in the order of x.shape.
bias          None (0), or as many elements as gamma. All three are of x's dtype; beside a half type
              each may be float32.
axis, axes    As in rms_norm.
epsilon       Finite and >= 0. A row of total of zeros gives exactly beta, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x or residual. None: a new
              array.
total         Receives total, likewise; not in the memory of out.
return_stats  Also return rstd of total, as rms_norm does.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns AddNorm(y, total), or AddRmsNorm(y, total, rstd).

The gradient is that of RMS norm at total:

    dx, dgamma, dbeta = rms_norm_backward(dy, total, rstd, gamma, axis=axis, axes=axes)

dx plus the gradient that reaches total itself is that of x and of residual; its sum over the
dimensions that are not normalised is that of bias.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: ONNX Runtime's SkipSimplifiedLayerNormalization.

>>> x, residual = np.array([[1.0, 2.0]]), np.array([[2.0, 2.0]])
>>> y, total = nk.add_rms_norm(x, residual)
>>> y.round(3), total
(array([[0.849, 1.131]]), array([[3., 4.]])))";

}  // namespace normkernels::python::bind_add_norm

#endif  // NORMKERNELS_PYTHON_DOCS_ADD_NORM_H_
