/* The docstrings of instance norm. Each opens with the signature: it says what the function
 * takes (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_INSTANCE_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_INSTANCE_NORM_H_

namespace normkernels::python::bind_instance_norm {

constexpr const char* kInstanceNormDoc = R"(instance_norm(
    x, scale=None, bias=None, *, order='NCHW', epsilon=1e-05, out=None, return_stats=False,
    num_threads=None)
--

Instance norm: every channel of every image by its own mean and deviation.

    y = (x - mean) * inv_std * scale + bias
    mean = E[x],  inv_std = 1 / sqrt(E[(x - mean)**2] + epsilon),  E over the spatial dimensions

x             float32, float64, float16 or bfloat16, rank 2 or more: (N, C, ...) or (N, ..., C), as
              `order` says; of any strides.
scale, bias   None (1 and 0), or C elements; of x's dtype, beside a half type each may be float32.
order         'NCHW' or 'NHWC', in lower case too, whatever the number of spatial dimensions.
epsilon       Finite and >= 0. A constant plane gives exactly bias, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x. None: a new array.
return_stats  Also return mean and inv_std, both (N, C), of half types in float32.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns y, or InstanceNorm(y, mean, inv_std).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: Caffe2's InstanceNorm; ONNX's InstanceNormalization.

>>> x = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)  # an image of 2 channels
>>> nk.instance_norm(x)[0, 1].round(3)
array([[-1.342, -0.447],
       [ 0.447,  1.342]], dtype=float32)
>>> nk.instance_norm(x, order="NHWC", return_stats=True).mean
array([[3., 4.]], dtype=float32))";

constexpr const char* kInstanceNormBackwardDoc = R"(instance_norm_backward(
    dy, x, scale=None, mean=None, inv_std=None, *, order='NCHW', epsilon=1e-05, out=None,
    num_threads=None)
--

Gradients of instance norm. With xhat = (x - mean) * inv_std and E over the spatial dimensions:

    dx = scale * inv_std * (dy - E[dy] - xhat * E[dy * xhat])
    dscale = sum of dy * xhat,  dbias = sum of dy,  both over images and spatial dimensions

dy, x          Of one shape and dtype, float32, float64, float16 or bfloat16, laid out as `order`
               says; of any strides.
scale          None (1), or C elements; of x's dtype, or float32 beside a half type.
mean, inv_std  (N, C), as instance_norm(..., return_stats=True) returned them, or both None: then
               they are computed again from x, with `epsilon`.
order          As in instance_norm.
epsilon        Finite and >= 0; has no effect when mean and inv_std are given.
out            Receives dx: shape and dtype of x, of any strides; may be dy or x. None: a new array.
num_threads    Threads for this call; None or 0: normkernels.num_threads().

Returns InstanceNormGradient(dx, dscale, dbias); dscale and dbias have shape (C,), with or without
a scale, and the dtype of scale, or without one of x. Where inv_std is infinite (constant plane,
epsilon 0) no gradient exists: dx is 0.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's InstanceNormGradient.

>>> x, dy = np.array([[[[1, 2, 4]]], [[[1, 0, 0]]]], np.float32)
>>> dx, dscale, dbias = nk.instance_norm_backward(dy, x)
>>> dx.round(3), dbias
(array([[[ 0.229, -0.344,  0.115]]], dtype=float32), array([1.], dtype=float32)))";

constexpr const char* kInstanceNormWithGradientDoc = R"(instance_norm_with_gradient(
    x, scale, bias, dy, *, order='NCHW', epsilon=1e-05, out=None, num_threads=None)
--

Instance norm forward and backward at once, for a dy that is known before y.

The same bits as instance_norm(x, scale, bias) and instance_norm_backward(dy, x, scale), but the
statistics are computed once.

x, dy        Of one shape and dtype, float32, float64, float16 or bfloat16, laid out as `order`
             says; of any strides.
scale, bias  None (1 and 0), or C elements; of x's dtype, beside a half type each may be float32.
order        As in instance_norm.
epsilon      Finite and >= 0.
out          A pair of arrays that receive y and dx: shape and dtype of x, of any strides; the
             first may be x, the second dy; either may be None. None: new arrays.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns InstanceNormWithGradient(y, dx, dscale, dbias); dscale and dbias have shape (C,) and the
dtypes of scale and bias. Without a scale, dscale has x's; without a bias, dbias has dscale's.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: the formulas of instance_norm and instance_norm_backward.

>>> x, dy = np.array([[[[1, 2, 4]]], [[[1, 0, 0]]]], np.float32)
>>> y, dx, dscale, dbias = nk.instance_norm_with_gradient(x, None, None, dy)
>>> y.round(3)
array([[[-1.069, -0.267,  1.336]]], dtype=float32)
>>> dx.round(3)
array([[[ 0.229, -0.344,  0.115]]], dtype=float32))";

constexpr const char* kMomentsDoc = R"(compute_moments(
    x, *, order='NCHW', epsilon=1e-05, num_threads=None)
--

The statistics of instance norm, as normkernels.instance_norm computes them.

    mean = E[x],  rstd = 1 / sqrt(E[(x - mean)**2] + epsilon),  E over the spatial dimensions

x            float32 or float64, rank 2 or more, laid out as `order` says.
order        As in normkernels.instance_norm.
epsilon      Finite and >= 0.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns Moments(mean, rstd), both (N, C).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeMoments, without its loss of digits.

>>> x = np.array([[[1.0, 5.0], [2.0, 4.0]]])
>>> nk.helpers.compute_moments(x, epsilon=0)
Moments(mean=array([[3., 3.]]), rstd=array([[0.5, 1. ]])))";

constexpr const char* kFusedParamsDoc = R"(compute_fused_params(
    mean, rstd, gamma, beta, *, num_threads=None)
--

A step of Caffe2's instance norm: what its y = x * scale + bias needs.

    scale = rstd * gamma,  bias = beta - scale * mean

mean, rstd   (N, C), as compute_moments returned them.
gamma, beta  C elements.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns InstanceFusedParams(scale, bias), both (N, C).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeFusedParams (instance norm).

>>> mean, rstd = np.array([[3.0]]), np.array([[0.5]])
>>> nk.helpers.compute_fused_params(mean, rstd, np.array([2.0]), np.array([1.0]))
InstanceFusedParams(scale=array([[1.]]), bias=array([[-2.]])))";

constexpr const char* kInternalGradientsDoc = R"(compute_internal_gradients(
    dy, x, *, order='NCHW', num_threads=None)
--

A step of Caffe2's instance norm gradient: the sums of every plane.

    ds = sum of dy * x,  db = sum of dy,  over the spatial dimensions

dy, x        Of one shape and dtype, float32 or float64, laid out as `order` says.
order        As in normkernels.instance_norm.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns InstanceInternalGradients(ds, db), both (N, C).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's ComputeInternalGradientsNHWC, for both orders.

>>> x = np.array([[[1.0, 5.0], [2.0, 4.0]]])
>>> nk.helpers.compute_internal_gradients(np.ones_like(x), x)
InstanceInternalGradients(ds=array([[6., 6.]]), db=array([[2., 2.]])))";

constexpr const char* kForwardDoc = R"(instance_norm_forward(
    x, scale, bias, *, order='NCHW', num_threads=None)
--

The last step of Caffe2's instance norm.

    y = x * scale + bias

x            float32 or float64, rank 2 or more, laid out as `order` says.
scale, bias  (N, C), as compute_fused_params returned them.
order        As in normkernels.instance_norm.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns y, of x's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's InstanceNormForwardNHWC, for both orders.

>>> x = np.array([[[1.0, 5.0]]])
>>> nk.helpers.instance_norm_forward(x, np.array([[0.5]]), np.array([[-1.5]]))
array([[[-1.,  1.]]]))";

constexpr const char* kBackwardDoc = R"(instance_norm_backward(
    dy, x, mean, rstd, gamma, ds, db, *, order='NCHW', num_threads=None)
--

The last step of Caffe2's instance norm gradient.

    dx = c1 * dy + c2 * x + c3,  with M positions per plane and
    c1 = rstd * gamma
    c2 = (db * mean - ds) * gamma * rstd**3 / M
    c3 = -c2 * mean - db * gamma * rstd / M

dy, x                 Of one shape and dtype, float32 or float64, laid out as `order` says.
mean, rstd, ds, db    (N, C), as compute_moments and compute_internal_gradients returned them.
gamma                 C elements.
order                 As in normkernels.instance_norm.
num_threads           Threads for this call; None or 0: normkernels.num_threads().

Returns dx, of x's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's InstanceNormBackwardNCHW and InstanceNormBackwardNHWC.

>>> x, dy = np.array([[[1.0, 5.0]]]), np.array([[[1.0, 2.0]]])
>>> mean, rstd = nk.helpers.compute_moments(x, epsilon=4)
>>> ds, db = nk.helpers.compute_internal_gradients(dy, x)
>>> nk.helpers.instance_norm_backward(dy, x, mean, rstd, np.array([1.0]), ds, db).round(3)
array([[[-0.088,  0.088]]]))";

constexpr const char* kGammaBetaBackwardDoc = R"(gamma_beta_backward(
    ds, db, mean, rstd, *, num_threads=None)
--

A step of Caffe2's instance norm gradient: the gradients of gamma and beta.

    dgamma = sum of (ds - db * mean) * rstd,  dbeta = sum of db,  over the images

ds, db       (N, C), as compute_internal_gradients returned them.
mean, rstd   (N, C), as compute_moments returned them.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns GammaBetaGradient(dgamma, dbeta), both (C,).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

Source: Caffe2's GammaBetaBackward (instance norm).

>>> ds, db, mean, rstd = (np.array([[v]]) for v in (11.0, 3.0, 3.0, 0.5))
>>> nk.helpers.gamma_beta_backward(ds, db, mean, rstd)
GammaBetaGradient(dgamma=array([1.]), dbeta=array([3.])))";

}  // namespace normkernels::python::bind_instance_norm

#endif  // NORMKERNELS_PYTHON_DOCS_INSTANCE_NORM_H_
