/* The docstrings of local response norm. Each opens with the signature: it says what the function
 * takes (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_LOCAL_RESPONSE_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_LOCAL_RESPONSE_NORM_H_

namespace normkernels::python::bind_local_response_norm {

constexpr const char* kLocalResponseNormDoc = R"(local_response_norm(
    x, size, *, alpha=0.0001, beta=0.75, bias=1.0, order='NCHW', out=None, return_scale=False,
    num_threads=None)
--

Local response norm (LRN) across channels: each value by the energy of its neighbour channels.

    y[k] = x[k] * scale[k]**-beta
    scale[k] = bias + alpha / size * sum of x[j]**2 for
        max(0, k - floor((size - 1) / 2)) <= j <= min(C - 1, k + ceil((size - 1) / 2))

x                  float32, float64, float16 or bfloat16, rank 3 to 5: (N, C, ...) or
                   (N, ..., C), as `order` says; of any strides.
size               Channels in a window, an int >= 1; may be even, and may exceed C.
alpha, beta, bias  Finite numbers. Where scale is negative and beta no integer, y is NaN.
order              'NCHW' or 'NHWC', in lower case too, whatever the number of dimensions.
out                Receives y: shape and dtype of x, of any strides; may not be x. None: a new
                   array.
return_scale       Also return scale, of x's shape and dtype.
num_threads        Threads for this call; None or 0: normkernels.num_threads().

Returns y, or LocalResponseNorm(y, scale).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: ONNX's LRN and Caffe2's LRN, with ONNX's window for even sizes. AlexNet's paper and
TensorFlow do not divide alpha by size: pass their alpha times size.

>>> x = np.array([[[1.0], [2.0], [3.0]]])  # 3 channels of 1 position
>>> nk.local_response_norm(x, 3, alpha=3, beta=1).ravel().round(3)
array([0.167, 0.133, 0.214]))";

constexpr const char* kLocalResponseNormBackwardDoc = R"(local_response_norm_backward(
    dy, x, size, *, y=None, scale=None, alpha=0.0001, beta=0.75, bias=1.0, order='NCHW', out=None,
    num_threads=None)
--

Gradient of local response norm:

    dx[k] = dy[k] * scale[k]**-beta
            - 2 * alpha * beta / size * x[k] * sum of dy[j] * x[j] * scale[j]**(-beta - 1)

where j runs over the channels whose window contains k: the mirrored window.

dy, x              Of one shape and dtype, float32, float64, float16 or bfloat16, rank 3 to 5, of
                   any strides.
size, alpha, beta, bias, order
                   As they were in the forward.
y, scale           As local_response_norm(..., return_scale=True) returned them, each of x's
                   shape and dtype, of any strides; either may be None and is then computed again
                   from x.
out                Receives dx: shape and dtype of x, of any strides; may not be an input. None: a
                   new array.
num_threads        Threads for this call; None or 0: normkernels.num_threads().

Returns dx.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's LRNGradient.

>>> x = np.array([[[1.0], [2.0], [3.0]]])
>>> dy = np.ones_like(x)
>>> y, scale = nk.local_response_norm(x, 3, alpha=3, beta=1, return_scale=True)
>>> nk.local_response_norm_backward(dy, x, 3, scale=scale, alpha=3, beta=1).ravel().round(3)
array([ 0.093, -0.141, -0.074]))";

}  // namespace normkernels::python::bind_local_response_norm

#endif  // NORMKERNELS_PYTHON_DOCS_LOCAL_RESPONSE_NORM_H_
