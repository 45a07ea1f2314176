// What goes beside the arrays of a call, always in one piece: parameters, statistics, gradients of
// parameters. Absent by default.
#ifndef NORMKERNELS_LINE_HPP_
#define NORMKERNELS_LINE_HPP_

#include <cstddef>
#include <cstdint>
#include <normkernels/array.hpp>
#include <type_traits>

namespace normkernels {
inline namespace v0 {

/// A dense array of as many elements as its place in a call asks for: of T or, where T is a half
/// type, of T or of float.
///
///     options.gamma = gamma;              // what an Array can be made of: its length is checked
///     options.gamma = {pointer, length};  // likewise
///     options.gamma = pointer;            // taken to be long enough
template <class T>
class Line {
  using Wide = std::conditional_t<std::is_const_v<T>, const float, float>;
  using Void = std::conditional_t<std::is_const_v<T>, const void, void>;
  template <class P>
  static constexpr bool is_narrow_pointer = std::is_pointer_v<P>&& std::is_convertible_v<P, T*>;
  template <class P>
  static constexpr bool is_wide_pointer =
      is_half<T>&& std::is_pointer_v<P>&& std::is_convertible_v<P, Wide*>;
  template <class A>
  static constexpr bool is_array = std::is_constructible_v<Array<T>, A> ||
                                   (is_half<T> && std::is_constructible_v<Array<Wide>, A>);
  static constexpr std::int64_t unknown = -1;

 public:
  Line(std::nullptr_t = nullptr) noexcept {}
  template <class P, class = std::enable_if_t<is_narrow_pointer<P> || is_wide_pointer<P>>>
  Line(const P& pointer) noexcept : data_(pointer), is_wide_(!is_narrow_pointer<P>) {}
  template <class P, class = std::enable_if_t<is_narrow_pointer<P> || is_wide_pointer<P>>>
  Line(const P& pointer, std::size_t length) noexcept : Line(pointer) {
    length_ = static_cast<std::int64_t>(length);
  }
  template <class A, class = std::enable_if_t<is_array<A>>,
            class = std::enable_if_t<!std::is_same_v<std::decay_t<A>, std::nullptr_t>>>
  Line(A&& array) noexcept {
    if constexpr (detail::is_container<A>) {
      *this = Line(std::data(array), std::size(array));
    } else if constexpr (std::is_constructible_v<Array<T>, A>) {
      set(Array<T>(array));
    } else {
      set(Array<Wide>(array));
    }
  }
  /// To be read alone.
  template <class Other, class = std::enable_if_t<std::is_same_v<const Other, T>>>
  Line(const Line<Other>& other) noexcept
      : data_(other.data()),
        length_(other.length()),
        is_wide_(other.is_wide()),
        fault_(other.fault()) {}

  Void* data() const noexcept { return data_; }
  bool is_absent() const noexcept { return data_ == nullptr && length_ == unknown; }
  /// -1 if it is not known.
  std::int64_t length() const noexcept { return length_; }
  /// Of float beside arrays of a half type.
  bool is_wide() const noexcept { return is_wide_ && data_ != nullptr; }
  const detail::Fault& fault() const noexcept { return fault_; }

 private:
  template <class Any>
  void set(const Array<Any>& array) noexcept {
    if (array.is_absent()) return;
    data_ = array.data();
    length_ = array.layout().product();
    is_wide_ = !std::is_same_v<Any, T>;
    fault_ = array.layout().fault;
    if (!array.is_dense() && fault_.is_none())
      fault_ = {NORMKERNELS_BAD_EXTENT, "has strides, must be in one piece"};
  }

  Void* data_ = nullptr;
  std::int64_t length_ = unknown;
  bool is_wide_ = false;
  detail::Fault fault_;
};

/// Statistics of arrays of T, to read or to write.
template <class T>
using InStatistic = Line<const Computed<T>>;
template <class T>
using OutStatistic = Line<Computed<T>>;

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_LINE_HPP_
