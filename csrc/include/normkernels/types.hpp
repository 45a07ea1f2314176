// The element types of the C++ interface, what is computed in, and the order of images.
#ifndef NORMKERNELS_TYPES_HPP_
#define NORMKERNELS_TYPES_HPP_

#include <normkernels/normkernels.h>

#include <normkernels/half.hpp>
#include <type_traits>

namespace normkernels {
// The library's own C++ symbols live in `normkernels`, too; an inline namespace keeps the two apart
// in a static link.
inline namespace v0 {

namespace detail {

template <class T>
constexpr normkernels_dtype dtype_or_none() {
  using Element = std::remove_const_t<T>;
  if (std::is_same_v<Element, float>) return NORMKERNELS_F32;
  if (std::is_same_v<Element, double>) return NORMKERNELS_F64;
  if (std::is_same_v<Element, float16>) return NORMKERNELS_F16;
  if (std::is_same_v<Element, bfloat16>) return NORMKERNELS_BF16;
  return 0;
}

}  // namespace detail

/// Whether arrays of T can be normalised: float, double, float16, bfloat16.
template <class T>
inline constexpr bool is_element = detail::dtype_or_none<T>() != 0;

/// The dtype of an element type.
template <class T>
inline constexpr normkernels_dtype dtype = [] {
  static_assert(is_element<T>, "arrays of float, double, float16 or bfloat16");
  return detail::dtype_or_none<T>();
}();

template <class T>
inline constexpr bool is_half = dtype<T> == NORMKERNELS_F16 || dtype<T> == NORMKERNELS_BF16;

/// What is computed with arrays of T, and the type of their statistics: float for a half type.
template <class T>
using Computed = std::conditional_t<is_half<T>, float, T>;

/// Where the channels of images are: [n, c, positions...] or [n, positions..., c].
enum Order : normkernels_order { nchw = NORMKERNELS_NCHW, nhwc = NORMKERNELS_NHWC };

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_TYPES_HPP_
