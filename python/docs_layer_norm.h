/* The docstrings of layer norm. Each opens with the signature: it says what the function
 * takes (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_LAYER_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_LAYER_NORM_H_

namespace normkernels::python::bind_layer_norm {

constexpr const char* kLayerNormDoc = R"(layer_norm(
    x, gamma=None, beta=None, *, axis=1, axes=None, epsilon=1e-05, out=None, return_stats=False,
    num_threads=None)
--

Layer norm over the dimensions of x from `axis` on, or those in `axes`, all of them together.

    y = (x - mean) / sigma * gamma + beta
    mean = E[x],  sigma = sqrt(E[(x - mean)**2] + epsilon),  E over the normalised dimensions

x             float32, float64, float16 or bfloat16, rank 1 or more, of any strides.
gamma, beta   None (1 and 0), or as many elements as the normalised dimensions have, in any shape;
              they count in the order of x.shape. Of x's dtype; beside a half type each may be
              float32.
axis          First normalised dimension, -x.ndim <= axis < x.ndim: 0 or -1 for a single vector.
axes          The normalised dimensions instead, of which `axis` is then not given: an int or a
              sequence of ints, in any order.
epsilon       Finite and >= 0. A constant row gives exactly beta, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x. None: a new array.
return_stats  Also return mean and sigma, of shape x.shape[:axis] + (1,); with axes of x.shape with
              1 for those. Of half types they are float32.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns y, or LayerNorm(y, mean, sigma).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: Caffe2's LayerNorm (sigma is its `stddev`, epsilon included). ONNX's LayerNormalization
returns 1 / sigma and has axis=-1 by default.

>>> x = np.array([[1, 2, 3, 4], [10, 20, 30, 40]], np.float32)
>>> nk.layer_norm(x).round(3)
array([[-1.342, -0.447,  0.447,  1.342],
       [-1.342, -0.447,  0.447,  1.342]], dtype=float32)
>>> y, mean, sigma = nk.layer_norm(x, return_stats=True)
>>> mean.ravel(), sigma.ravel().round(3)
(array([ 2.5, 25. ], dtype=float32), array([ 1.118, 11.18 ], dtype=float32)))";

constexpr const char* kLayerNormBackwardDoc = R"(layer_norm_backward(
    dy, x, mean, sigma, gamma=None, *, axis=1, axes=None, out=None, num_threads=None)
--

Gradients of layer norm. With xhat = (x - mean) / sigma and g = dy * gamma:

    dx = (g - E[g] - xhat * E[g * xhat]) / sigma,  E over the normalised dimensions
    dgamma = sum of dy * xhat,  dbeta = sum of dy,  both over the other ones

dy, x        Of one shape and dtype, float32, float64, float16 or bfloat16, rank 1 or more, of any
             strides.
mean, sigma  As layer_norm(..., return_stats=True) returned them: as many elements as the other
             dimensions have. The rounding error of a saved mean is found and taken out.
gamma        None (1), or as many elements as the normalised dimensions have; of x's dtype, or
             float32 beside a half type.
axis, axes   As in layer_norm.
out          Receives dx: shape and dtype of x, of any strides; may be dy or x. None: a new array.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns LayerNormGradient(dx, dgamma, dbeta); dgamma and dbeta have shape x.shape[axis:], or the
extents of the axes in the order of x.shape, with or without a gamma, and the dtype of gamma, or
without one of x. Where sigma is 0 (constant row, epsilon 0) no gradient exists: dx is 0.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's LayerNormGradient.

>>> x = np.array([[1, 2, 3, 4]], np.float32)
>>> y, mean, sigma = nk.layer_norm(x, return_stats=True)
>>> dy = np.array([[1, 0, 0, 0]], np.float32)
>>> dx, dgamma, dbeta = nk.layer_norm_backward(dy, x, mean, sigma)
>>> dx.round(3)
array([[ 0.268, -0.358, -0.089,  0.179]], dtype=float32)
>>> dgamma.round(3), dbeta
(array([-1.342,  0.   ,  0.   ,  0.   ], dtype=float32), array([1., 0., 0., 0.], dtype=float32)))";

constexpr const char* kSigmaAndFusedParamsDoc = R"(compute_sigma_and_fused_params(
    mean, var, *, epsilon=1e-05, num_threads=None)
--

A step of Caffe2's layer norm: what its y = x * scale + bias needs.

    sigma = sqrt(var + epsilon),  scale = 1 / sigma,  bias = -mean / sigma

mean, var    As many elements each, float32 or float64.
epsilon      Finite and >= 0.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns SigmaAndFusedParams(sigma, scale, bias), each of mean's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeSigmaAndFusedParams. layer_norm itself does not lose the digits that
x * scale + bias loses when the mean is large against sigma.

>>> mean, var = np.array([2.0, 6.0]), np.array([4.0, 16.0])
>>> nk.compute_sigma_and_fused_params(mean, var, epsilon=0).bias
array([-1. , -1.5]))";

constexpr const char* kInternalGradientsDoc = R"(compute_internal_gradients(
    dy, x, gamma=None, *, axis=1, num_threads=None)
--

A step of Caffe2's layer norm gradient: the sums of every row.

    dyx = dy * x,  ds = sum of dy * x * gamma,  db = sum of dy * gamma,  over x.shape[axis:]

dy, x        Of one shape and dtype, float32 or float64, rank 1 or more.
gamma        None (1), or prod(x.shape[axis:]) elements.
axis         As in layer_norm.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns InternalGradients(dyx, ds, db): dyx of x's shape, ds and db of x.shape[:axis] + (1,).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeInternalGradients (layer norm).

>>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
>>> dyx, ds, db = nk.compute_internal_gradients(np.ones_like(x), x)
>>> ds.ravel(), db.ravel()
(array([3., 7.]), array([2., 2.])))";

constexpr const char* kFusedParamsDoc = R"(compute_fused_params(
    mean, sigma, ds, db, n, *, num_threads=None)
--

A step of Caffe2's layer norm gradient: the coefficients of its dx, from the sums of every row.

    rstd = 1 / sigma
    x_scale = (db * mean - ds) * rstd**3 / n
    bias = -x_scale * mean - db * rstd / n
    g_scale = -rstd * mean

mean, sigma  As layer_norm returned them, float32 or float64.
ds, db       As compute_internal_gradients returned them; as many elements as mean.
n            Elements per row, prod(x.shape[axis:]).
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns FusedParams(rstd, x_scale, bias, g_scale), each of mean's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeFusedParams (layer norm). Instance norm's is in normkernels.helpers.

>>> mean, sigma, ds, db = (np.array([v]) for v in (3.0, 2.0, 8.0, 4.0))
>>> rstd, x_scale, bias, g_scale = nk.compute_fused_params(mean, sigma, ds, db, 4)
>>> x_scale, bias, g_scale
(array([0.125]), array([-0.875]), array([-1.5])))";

constexpr const char* kGammaBetaBackwardDoc = R"(gamma_beta_backward(
    dyx, dy, rstd, g_scale, *, axis=1, num_threads=None)
--

A step of Caffe2's layer norm gradient: the gradients of gamma and beta.

    dgamma = sum of dyx * rstd + dy * g_scale,  dbeta = sum of dy,  over dyx.shape[:axis]

dyx, dy        Of one shape and dtype, float32 or float64, rank 1 or more; dyx = dy * x.
rstd, g_scale  As compute_fused_params returned them: prod(dyx.shape[:axis]) elements.
axis           As in layer_norm.
num_threads    Threads for this call; None or 0: normkernels.num_threads().

Returns GammaBetaGradient(dgamma, dbeta), both of shape dyx.shape[axis:].

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's GammaBetaBackward (layer norm). Instance norm's is in normkernels.helpers.

>>> dyx, dy = np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2))
>>> nk.gamma_beta_backward(dyx, dy, np.array([0.5, 1.0]), np.array([-1.0, -3.0]))
GammaBetaGradient(dgamma=array([-0.5,  1. ]), dbeta=array([2., 2.])))";

constexpr const char* kLayerNormForwardDoc = R"(layer_norm_forward(
    x, scale, bias, gamma=None, beta=None, *, axis=1, num_threads=None)
--

The last step of Caffe2's layer norm.

    y = (x * scale + bias) * gamma + beta

x            float32 or float64, rank 1 or more.
scale, bias  As compute_sigma_and_fused_params returned them: prod(x.shape[:axis]) elements.
gamma, beta  None (1 and 0), or prod(x.shape[axis:]) elements.
axis         As in normkernels.layer_norm.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns y, of x's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's LayerNormForward.

>>> x = np.array([[1.0, 3.0], [2.0, 6.0]])
>>> nk.helpers.layer_norm_forward(x, np.array([1.0, 0.5]), np.array([-2.0, -2.0]))
array([[-1.,  1.],
       [-1.,  1.]]))";

constexpr const char* kLayerNormBackwardStepDoc = R"(layer_norm_backward(
    dy, x, gamma, dy_scale, x_scale, bias, *, axis=1, num_threads=None)
--

The last step of Caffe2's layer norm gradient.

    dx = dy * gamma * dy_scale + x * x_scale + bias

dy, x                    Of one shape and dtype, float32 or float64, rank 1 or more.
gamma                    None (1), or prod(x.shape[axis:]) elements.
dy_scale, x_scale, bias  rstd, x_scale and bias as normkernels.compute_fused_params returned
                         them: prod(x.shape[:axis]) elements.
axis                     As in normkernels.layer_norm.
num_threads              Threads for this call; None or 0: normkernels.num_threads().

Returns dx, of x's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's LayerNormBackward.

>>> x, dy = np.array([[1.0, 3.0]]), np.array([[2.0, 4.0]])
>>> dy_scale, x_scale, bias = np.array([1.0]), np.array([-0.5]), np.array([0.25])
>>> nk.helpers.layer_norm_backward(dy, x, None, dy_scale, x_scale, bias)
array([[1.75, 2.75]]))";

}  // namespace normkernels::python::bind_layer_norm

#endif  // NORMKERNELS_PYTHON_DOCS_LAYER_NORM_H_
