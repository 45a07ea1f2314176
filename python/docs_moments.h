/* The docstrings of moments, as those of layer norm. */
#ifndef NORMKERNELS_PYTHON_DOCS_MOMENTS_H_
#define NORMKERNELS_PYTHON_DOCS_MOMENTS_H_

namespace normkernels::python::bind_moments {

constexpr const char* kMomentsDoc = R"(moments(
    x, *, axis=1, axes=None, num_threads=None)
--

The moments of x over the dimensions from `axis` on, or those in `axes`, all of them together: what
layer_norm's statistics are made of, for data that comes in parts.

    mean + mean_low = E[scale * x],  m2 + m2_low = sum of (scale * x - mean - mean_low)**2

    y = (scale * x - mean - mean_low) / sqrt((m2 + m2_low) / count + epsilon * scale**2)

is layer norm, of any x of the row.

x            float32, float64, float16 or bfloat16, rank 1 or more, of any strides.
axis, axes   As in layer_norm.
num_threads  Threads for this call; None or 0: normkernels.num_threads().

Returns an array of moments_dtype: the fields count (int64), scale, mean, mean_low, m2, m2_low
(float64). Its shape is that of layer_norm's statistics, x.shape[:axis] + (1,), or with axes x.shape
with 1 for those. `scale` is a power of two: 1, but for rows of float64 whose squares would leave
its range. m2_low is 0 where x is not float64. A row with a NaN or an infinite element has NaN for
mean and m2; one without elements has count 0, which is neutral in merge_moments.

TypeError for a wrong type or dtype, ValueError for a wrong shape or value.)";

constexpr const char* kMergeMomentsDoc = R"(merge_moments(
    a, b, *, out=None)
--

The moments of rows, each of which consists of two parts, from the moments of these. With
delta = b.mean - a.mean:

    count = a.count + b.count
    mean = a.mean + delta * b.count / count
    m2 = a.m2 + b.m2 + delta**2 * a.count * b.count / count

in pairs of float64, at the smaller of the two scales, or at a smaller one where m2 would leave
float64's range. In whatever order parts are merged, some 2**-100 of the larger mean is lost.

a, b  Of moments_dtype and of one shape, as moments returned them.
out   Receives the result: of moments_dtype and a's shape, C-contiguous; may be a or b. None: a new
      array.

Returns an array of moments_dtype and of a's shape.

TypeError for a wrong type or dtype, ValueError for a wrong shape; nothing is written before every
argument has been checked.

Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances" (1979).)";

}  // namespace normkernels::python::bind_moments

#endif  // NORMKERNELS_PYTHON_DOCS_MOMENTS_H_
