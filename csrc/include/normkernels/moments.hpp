// Moments of rows, for data that comes in parts: count, mean and the sum of the squared deviations
// from it, in about twice the precision of x, and their merge. Rows are the places along the axes
// that are not normalised. normkernels.h has the whole of it.
#ifndef NORMKERNELS_MOMENTS_HPP_
#define NORMKERNELS_MOMENTS_HPP_

#include <cstdint>
#include <iterator>
#include <normkernels/call.hpp>

namespace normkernels {
inline namespace v0 {

/// The moments of one row.
using RowMoments = normkernels_row_moments;

/// Options of moments.
struct Moments {
  Axes axes = Axes::from(1);       // those of a row
  Workspace* workspace = nullptr;  // not for dense rows of float or double
  const normkernels_executor* executor = nullptr;
};

namespace detail {

// The address of as many moments as a container must hold.
template <class M>
auto moments_of(Call& call, const char* name, M& moments, std::int64_t rows) noexcept
    -> decltype(std::data(moments)) {
  const auto held = static_cast<std::int64_t>(std::size(moments));
  if (call.ok() && rows >= 0 && held != rows)
    call.refuse(NORMKERNELS_BAD_EXTENT, name) << "holds " << held << " moments, must hold " << rows;
  return std::data(moments);
}

}  // namespace detail

/// The moments of every row of x into a container of RowMoments, one for each.
template <class X, class M>
Status try_moments(const X& input, M&& moments, const Moments& o = {}) noexcept {
  constexpr normkernels_dtype type = dtype<Element<X>>;
  const auto& x = detail::array_of(input);
  detail::Call call("moments", "x", x.layout());
  const detail::Matrix m = call.matrix(o.axes);
  RowMoments* const to = detail::moments_of(call, "moments", moments, m.rows);
  if (call.is_dense())
    return call.run(normkernels_moments, "dtype rows cols x moments executor", type, m.rows, m.cols,
                    x.data(), to, o.executor);
  const detail::Scratch scratch(
      call, o.workspace,
      normkernels_moments_view_workspace_bytes(type, x.rank(), x.shape(), m.axes));
  return call.run(normkernels_moments_view,
                  "dtype rank shape axes x x_strides moments workspace executor", type, x.rank(),
                  x.shape(), m.axes, x.data(), x.strides(), to, scratch.data(), o.executor);
}

/// out[i] = the moments of a row whose parts have a[i] and b[i]. Containers of one length; out may
/// be a or b.
template <class A, class B, class M>
Status try_merge_moments(const A& a, const B& b, M&& out) noexcept {
  const auto n = static_cast<std::int64_t>(std::size(a));
  detail::Call call("merge_moments");
  const RowMoments* const from = detail::moments_of(call, "b", b, n);
  RowMoments* const to = detail::moments_of(call, "out", out, n);
  return call.run(normkernels_merge_moments, "n a b out", n, std::data(a), from, to);
}

#ifdef __cpp_exceptions
template <class X, class M>
void moments(const X& x, M&& moments, const Moments& options = {}) {
  detail::throw_unless_ok(try_moments(x, moments, options));
}
template <class A, class B, class M>
void merge_moments(const A& a, const B& b, M&& out) {
  detail::throw_unless_ok(try_merge_moments(a, b, out));
}
#endif

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_MOMENTS_HPP_
