// The shape of an array and where its elements are, whatever they are: what array.hpp is made of.
#ifndef NORMKERNELS_LAYOUT_HPP_
#define NORMKERNELS_LAYOUT_HPP_

#include <normkernels/normkernels.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <type_traits>
#include <utility>

namespace normkernels {
inline namespace v0 {

/// The most axes that an Array has. The C functions take 64.
inline constexpr int max_rank = 8;

/// An extent or a stride, of any type of integer.
struct Extent {
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  constexpr Extent(Integer number) noexcept : value(static_cast<std::int64_t>(number)) {}
  std::int64_t value;
};

namespace detail {

template <class C>
using DataOf = decltype(std::data(std::declval<C&>()));
// Of contiguous elements.
template <class C, class = void>
inline constexpr bool is_contiguous = false;
template <class C>
inline constexpr bool
    is_contiguous<C, std::void_t<DataOf<C>, decltype(std::size(std::declval<C&>()))>> = true;
// Which arrays of C are, too, but have a shape of their own.
template <class C>
inline constexpr bool is_container =
    is_contiguous<C> && !std::is_array_v<std::remove_reference_t<C>>;

}  // namespace detail

/// One number for each axis: extents or strides.
class Extents {
 public:
  constexpr Extents() noexcept = default;
  constexpr Extents(std::initializer_list<Extent> numbers) noexcept {
    for (const Extent number : numbers) add(number.value);
  }
  /// Of one axis.
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  constexpr Extents(Integer number) noexcept : Extents({Extent(number)}) {}
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  constexpr Extents(const Integer* first, std::size_t rank) noexcept {
    for (std::size_t i = 0; i < rank; ++i) add(static_cast<std::int64_t>(first[i]));
  }
  /// What a container or an array of integers holds.
  template <
      class C, class = std::enable_if_t<detail::is_contiguous<const C>>,
      class = std::enable_if_t<std::is_integral_v<std::remove_pointer_t<detail::DataOf<const C>>>>>
  constexpr Extents(const C& container) noexcept
      : Extents(std::data(container), std::size(container)) {}

  /// How many there are. Those after max_rank are counted and not kept.
  constexpr int rank() const noexcept { return rank_; }
  constexpr std::int64_t operator[](int axis) const noexcept { return numbers_[axis]; }
  constexpr const std::int64_t* data() const noexcept { return numbers_; }
  friend constexpr bool operator==(const Extents& a, const Extents& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_ && i < max_rank; ++i) {
      if (a.numbers_[i] != b.numbers_[i]) return false;
    }
    return true;
  }

 private:
  constexpr void add(std::int64_t number) noexcept {
    if (rank_ < max_rank) numbers_[rank_] = number;
    ++rank_;
  }

  std::int64_t numbers_[max_rank] = {};
  int rank_ = 0;
};

namespace detail {

// Why an array is refused, if anything is wrong: "holds " 7 " elements, must hold those of its
// shape", which may follow.
struct Fault {
  normkernels_status kind = NORMKERNELS_OK;
  const char* before = "";
  std::int64_t number = 0;
  const char* after = nullptr;  // nor is there a number then
  bool shape_follows = false;

  bool is_none() const noexcept { return kind == NORMKERNELS_OK; }
};

// Where the elements of an array are, whatever they are.
struct Layout {
  Extents shape, strides;  // no strides: dense and row-major
  Fault fault;

  Layout() noexcept = default;
  explicit Layout(const Extents& array_shape) noexcept : shape(array_shape) { check_rank(); }
  Layout(const Extents& array_shape, const Extents& array_strides) noexcept
      : shape(array_shape), strides(array_strides) {
    check_rank();
    if (strides.rank() != shape.rank())
      fail({NORMKERNELS_BAD_EXTENT, "has ", strides.rank(),
            " strides, must have one for each axis of its shape"});
    if (fault.is_none() && is_row_major()) strides = {};
  }

  bool is_dense() const noexcept { return strides.rank() == 0; }
  void fail(const Fault& found) noexcept {
    if (fault.is_none()) fault = found;
  }

  // The product of the extents of some axes; -1 if it is no int64_t.
  std::int64_t product(std::uint64_t axes = ~std::uint64_t{0}) const noexcept {
    std::int64_t product = 1;
    bool fits = true;
    for (int i = 0; i < shape.rank() && i < max_rank; ++i) {
      if ((axes >> i & 1) == 0) continue;
      if (shape[i] == 0) return 0;
      // Small numbers need no division, which is most of what a small call would cost here.
      fits = fits && shape[i] > 0 &&
             ((product | shape[i]) >> 31 == 0 || product <= INT64_MAX / shape[i]);
      if (fits) product *= shape[i];
    }
    return fits ? product : -1;
  }

  // A container must hold as many elements.
  void check_size(std::size_t size) noexcept {
    const auto held = static_cast<std::int64_t>(size);
    if (product() != held)
      fail({NORMKERNELS_BAD_EXTENT, "holds ", held, " elements, must hold those of its shape",
            true});
  }
  // With strides it must hold all that they lead to.
  void check_reach(std::size_t size) noexcept {
    const auto held = static_cast<std::int64_t>(size);
    const std::int64_t elements = product();
    if (elements == 0 || !fault.is_none()) return;
    if (is_dense() ? elements < 0 || elements > held : !reaches_less_than(held))
      fail({NORMKERNELS_BAD_EXTENT, "holds ", held,
            " elements, must hold all that its strides lead to in its shape", true});
  }

 private:
  void check_rank() noexcept {
    static_assert(max_rank == 8, "which the text says");
    if (shape.rank() > max_rank)
      fail({NORMKERNELS_BAD_EXTENT, "has ", shape.rank(), " axes, must have 8 at most"});
  }
  bool is_row_major() const noexcept {
    if (product() == 0) return true;
    std::uint64_t expected = 1;
    for (int i = shape.rank(); i-- > 0;) {
      if (shape[i] == 1) continue;
      if (static_cast<std::uint64_t>(strides[i]) != expected) return false;
      expected *= static_cast<std::uint64_t>(shape[i]);
    }
    return true;
  }
  bool reaches_less_than(std::int64_t size) const noexcept {
    std::int64_t last = 0;
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] < 0) return true;  // which is refused for itself
      if (shape[i] == 1) continue;
      if (strides[i] < 0 || strides[i] > (size - 1 - last) / (shape[i] - 1)) return false;
      last += strides[i] * (shape[i] - 1);
    }
    return last < size;
  }
};

}  // namespace detail

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_LAYOUT_HPP_
