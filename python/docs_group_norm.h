/* The docstrings of group norm. Each opens with the signature: it says what the function takes
 * (function.h), and inspect.signature and help() show it. */
#ifndef NORMKERNELS_PYTHON_DOCS_GROUP_NORM_H_
#define NORMKERNELS_PYTHON_DOCS_GROUP_NORM_H_

namespace normkernels::python::bind_group_norm {

constexpr const char* kGroupNormDoc = R"(group_norm(
    x, groups, scale=None, bias=None, *, order='NCHW', epsilon=1e-05, out=None,
    return_stats=False, num_threads=None)
--

Group norm: groups of neighbouring channels of every image by their common mean and deviation.

    y = (x - mean) * inv_std * scale + bias
    mean = E[x],  inv_std = 1 / sqrt(E[(x - mean)**2] + epsilon),
    E over the C / groups channels of a group and the spatial dimensions

x             float32, float64, float16 or bfloat16, rank 2 or more: (N, C, ...) or (N, ..., C), as
              `order` says; of any strides.
groups        The number of groups: 1 or more, and divides C. As many as channels is
              instance_norm.
scale, bias   None (1 and 0), or C elements; of x's dtype, beside a half type each may be float32.
order         'NCHW' or 'NHWC', in lower case too, whatever the number of spatial dimensions.
epsilon       Finite and >= 0. A constant group gives exactly bias, also with epsilon 0.
out           Receives y: shape and dtype of x, of any strides; may be x. None: a new array.
return_stats  Also return mean and inv_std, both (N, groups), of half types in float32.
num_threads   Threads for this call; None or 0: normkernels.num_threads().

Returns y, or GroupNorm(y, mean, inv_std).

TypeError for a wrong type or dtype, ValueError for a wrong shape or value; nothing is written
before every argument has been checked.

Source: Wu and He, Group Normalization (2018); ONNX's GroupNormalization, version 21.

>>> x = np.arange(8, dtype=np.float32).reshape(1, 4, 2)  # 4 channels of 2 positions
>>> y, mean, inv_std = nk.group_norm(x, 2, return_stats=True)
>>> y[0, :2].round(3), mean
(array([[-1.342, -0.447],
       [ 0.447,  1.342]], dtype=float32), array([[1.5, 5.5]], dtype=float32)))";

constexpr const char* kGroupNormBackwardDoc = R"(group_norm_backward(
    dy, x, groups, scale=None, mean=None, inv_std=None, *, order='NCHW', epsilon=1e-05, out=None,
    num_threads=None)
--

Gradients of group norm. With xhat = (x - mean) * inv_std, g = dy * scale and E over the channels
of a group and the spatial dimensions:

    dx = inv_std * (g - E[g] - xhat * E[g * xhat])
    dscale = sum of dy * xhat,  dbias = sum of dy,  both over images and spatial dimensions

dy, x          Of one shape and dtype, float32, float64, float16 or bfloat16, laid out as `order`
               says; of any strides.
groups         As in group_norm.
scale          None (1), or C elements; of x's dtype, or float32 beside a half type.
mean, inv_std  (N, groups), as group_norm(..., return_stats=True) returned them, or both None: then
               they are computed again from x, with `epsilon`.
order          As in group_norm.
epsilon        Finite and >= 0; has no effect when mean and inv_std are given.
out            Receives dx: shape and dtype of x, of any strides; may be dy or x. None: a new array.
num_threads    Threads for this call; None or 0: normkernels.num_threads().

Returns GroupNormGradient(dx, dscale, dbias); dscale and dbias have shape (C,), with or without a
scale, and the dtype of scale, or without one of x. Where inv_std is infinite (constant group,
epsilon 0) no gradient exists: dx is 0.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.

>>> x = np.array([[[1, 2], [4, 5]]], np.float32)
>>> dy = np.array([[[1, 0], [0, 0]]], np.float32)
>>> nk.group_norm_backward(dy, x, 1).dx.round(3)
array([[[ 0.221, -0.285],
        [-0.032,  0.095]]], dtype=float32))";

}  // namespace normkernels::python::bind_group_norm

#endif  // NORMKERNELS_PYTHON_DOCS_GROUP_NORM_H_
