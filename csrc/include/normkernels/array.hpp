// Arrays as the C++ functions take them: an address, a shape and strides. Like std::span they own
// nothing, and what they show must outlive the call.
//
//     std::vector<float> v(6);
//     Array(v)                          // [6]
//     Array(v, {2, 3})                  // [2, 3], whose product must be v.size()
//     Array(v.data(), {2, 3})           // the same of a pointer, which knows no size
//     Array(v.data(), {3, 2}, {1, 3})   // its transpose: strides in elements, also 0 or negative
//     float c[2][3];  Array(c)          // [2, 3]
//     Array(m)                          // of a std::mdspan, or what has its interface
//
// Making one never throws and never allocates. What cannot be right, such as a shape of more
// elements than the container has, is kept, and refused by the function that is given the array.
#ifndef NORMKERNELS_ARRAY_HPP_
#define NORMKERNELS_ARRAY_HPP_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <normkernels/layout.hpp>
#include <normkernels/types.hpp>
#include <type_traits>
#include <utility>

namespace normkernels {
inline namespace v0 {

namespace detail {

template <class M, class = void>
inline constexpr bool is_mdspan = false;
template <class M>
inline constexpr bool
    is_mdspan<M, std::void_t<decltype(std::declval<const M&>().data_handle()),
                             decltype(M::is_always_strided()), decltype(M::rank())>> = true;

template <class A, std::size_t... axis>
Extents extents_of_c_array(std::index_sequence<axis...>) noexcept {
  return {Extent(std::extent_v<A, axis>)...};
}

}  // namespace detail

/// A view of an array of T: float, double, float16 or bfloat16, const where it is only read.
template <class T>
class Array {
  template <class Other>
  static constexpr bool shows = std::is_convertible_v<Other (*)[], T (*)[]>;
  template <class C>
  static constexpr bool shows_container =
      shows<std::remove_pointer_t<detail::DataOf<std::remove_reference_t<C>>>>;

 public:
  using element_type = T;
  static_assert(is_element<T>, "arrays of float, double, float16 or bfloat16");

  /// No array: what an optional one is by default.
  Array(std::nullptr_t = nullptr) noexcept : is_absent_(true) {}
  /// At an address: dense and row-major, or with strides in elements.
  Array(T* data, const Extents& shape) noexcept : data_(data), layout_(shape) {}
  Array(T* data, const Extents& shape, const Extents& strides) noexcept
      : data_(data), layout_(shape, strides) {}

  /// std::vector, std::array, std::span and their like: of one axis, or of a shape that has as many
  /// elements, or with strides that stay inside.
  template <class C, class = std::enable_if_t<detail::is_container<C>>,
            class = std::enable_if_t<shows_container<C>>>
  Array(C&& container) noexcept : Array(std::data(container), std::size(container)) {}
  template <class C, class = std::enable_if_t<detail::is_container<C>>,
            class = std::enable_if_t<shows_container<C>>>
  Array(C&& container, const Extents& shape) noexcept : Array(std::data(container), shape) {
    layout_.check_size(std::size(container));
  }
  template <class C, class = std::enable_if_t<detail::is_container<C>>,
            class = std::enable_if_t<shows_container<C>>>
  Array(C&& container, const Extents& shape, const Extents& strides) noexcept
      : Array(std::data(container), shape, strides) {
    layout_.check_reach(std::size(container));
  }

  /// An array of C, with its extents.
  template <class A, std::size_t n, class = std::enable_if_t<shows<std::remove_all_extents_t<A>>>>
  Array(A (&array)[n]) noexcept
      : Array(reinterpret_cast<T*>(&array),
              detail::extents_of_c_array<A[n]>(std::make_index_sequence<std::rank_v<A[n]>>())) {}

  /// A std::mdspan, or what has its interface, of any layout with strides.
  template <class M, class = std::enable_if_t<detail::is_mdspan<M>>,
            class = std::enable_if_t<shows<typename M::element_type>>>
  Array(const M& mdspan) noexcept : data_(mdspan.data_handle()) {
    static_assert(M::is_always_strided(), "a layout with strides");
    std::int64_t shape[M::rank() + 1] = {}, strides[M::rank() + 1] = {};
    for (std::size_t i = 0; i < M::rank(); ++i) {
      shape[i] = static_cast<std::int64_t>(mdspan.extent(static_cast<typename M::rank_type>(i)));
      strides[i] = static_cast<std::int64_t>(mdspan.stride(static_cast<typename M::rank_type>(i)));
    }
    layout_ = detail::Layout({shape, M::rank()}, {strides, M::rank()});
  }

  /// To be read alone.
  template <class Other, class = std::enable_if_t<std::is_same_v<const Other, T>>>
  Array(const Array<Other>& other) noexcept
      : data_(other.data()), layout_(other.layout()), is_absent_(other.is_absent()) {}

  /// One that every function refuses, and says why.
  static Array refused(const detail::Fault& fault) noexcept {
    Array array;
    array.is_absent_ = false;
    array.layout_.fail(fault);
    return array;
  }

  /// The element of all indices 0, and how many axes there are, of which extents.
  T* data() const noexcept { return data_; }
  int rank() const noexcept { return layout_.shape.rank(); }
  std::int64_t extent(int axis) const noexcept { return layout_.shape[axis]; }
  const std::int64_t* shape() const noexcept { return layout_.shape.data(); }
  /// In elements; NULL if it is dense.
  const std::int64_t* strides() const noexcept {
    return is_dense() ? nullptr : layout_.strides.data();
  }
  bool is_dense() const noexcept { return layout_.is_dense(); }
  bool is_absent() const noexcept { return is_absent_; }
  const detail::Layout& layout() const noexcept { return layout_; }

 private:
  T* data_ = nullptr;
  detail::Layout layout_;
  bool is_absent_ = false;
};

template <class C, class = std::enable_if_t<detail::is_container<C>>>
Array(C&&) -> Array<std::remove_pointer_t<detail::DataOf<std::remove_reference_t<C>>>>;
template <class C, class = std::enable_if_t<detail::is_container<C>>>
Array(C&&, const Extents&)
    -> Array<std::remove_pointer_t<detail::DataOf<std::remove_reference_t<C>>>>;
template <class C, class = std::enable_if_t<detail::is_container<C>>>
Array(C&&, const Extents&, const Extents&)
    -> Array<std::remove_pointer_t<detail::DataOf<std::remove_reference_t<C>>>>;
template <class A, std::size_t n>
Array(A (&)[n]) -> Array<std::remove_all_extents_t<A>>;
template <class M, class = std::enable_if_t<detail::is_mdspan<M>>>
Array(const M&) -> Array<typename M::element_type>;

namespace detail {

// Whatever an Array is made of as one, which is not copied if it is one already. Element asks these
// what that is: there GCC 11 takes `Array(...)` for a cast to X if X is an array of arrays.
template <class T>
const Array<T>& array_of(const Array<T>& array) noexcept {
  return array;
}
template <class X>
auto array_of(const X& x) noexcept -> decltype(Array(x)) {
  return Array(x);
}

}  // namespace detail

/// The elements of whatever an Array is made of.
template <class X>
using Element = std::remove_const_t<
    typename std::decay_t<decltype(detail::array_of(std::declval<const X&>()))>::element_type>;
/// What goes beside an X of the caller's: arrays of the same elements, to read or to write.
template <class X>
using Input = Array<const Element<X>>;
template <class X>
using Output = Array<Element<X>>;

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_ARRAY_HPP_
