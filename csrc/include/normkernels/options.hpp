// What options are made of beside arrays: axes, the workspace, who runs the work.
//
// An operator's options are a struct, of which only what differs from the default is named:
//
//     layer_norm_forward(x, y, {.axes = {-1}, .gamma = gamma});  // C++20
//     LayerNormForward<float> options;                           // C++17
//     options.gamma = gamma;
#ifndef NORMKERNELS_OPTIONS_HPP_
#define NORMKERNELS_OPTIONS_HPP_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <utility>

namespace normkernels {
inline namespace v0 {

/// Some axes of an array, in any order and however often; those below 0 count from the last.
class Axes {
 public:
  constexpr Axes(std::initializer_list<int> axes) noexcept {
    for (const int axis : axes) add(axis);
  }
  constexpr Axes(const int* first, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) add(first[i]);
  }
  /// This axis and all after it.
  static constexpr Axes from(int axis) noexcept {
    Axes axes{axis};
    axes.to_the_last_ = true;
    return axes;
  }

  /// Whether an array of a rank below 64 has all of them; if not, one that it has not.
  constexpr bool fit(int rank, int* missing) const noexcept {
    if (!has_far_ && ((first_ | last_) >> rank) == 0) return true;
    *missing = far_;
    for (int i = rank; i < 64 && !has_far_; ++i) {
      if ((first_ >> i & 1) != 0) *missing = i;
      if ((last_ >> i & 1) != 0) *missing = -1 - i;
    }
    return false;
  }
  /// A bit for each, of an array that has them.
  constexpr std::uint64_t bits(int rank) const noexcept {
    std::uint64_t bits = first_;
    for (int i = 0; last_ >> i != 0; ++i) bits |= (last_ >> i & 1) << (rank - 1 - i);
    return to_the_last_ ? ((std::uint64_t{1} << rank) - 1) & ~(bits - 1) : bits;
  }

 private:
  constexpr void add(int axis) noexcept {
    if (axis >= 0 && axis < 64) {
      first_ |= std::uint64_t{1} << axis;
    } else if (axis < 0 && axis >= -64) {
      last_ |= std::uint64_t{1} << (-1 - axis);
    } else {
      has_far_ = true;
      far_ = axis;
    }
  }

  std::uint64_t first_ = 0, last_ = 0;  // bit k: axis k, axis -1 - k
  bool to_the_last_ = false, has_far_ = false;
  int far_ = 0;
};

/// Scratch memory for calls, one at a time. Its own, which grows to what the largest call needed
/// and is kept, so that later calls allocate nothing; or the caller's, aligned to 64 bytes, of a
/// size that must do.
class Workspace {
 public:
  Workspace() noexcept = default;
  Workspace(void* data, std::size_t bytes) noexcept : data_(data), size_(bytes), is_fixed_(true) {}
  Workspace(Workspace&& other) noexcept { swap(other); }
  Workspace& operator=(Workspace&& other) noexcept {
    swap(other);
    return *this;
  }

  void* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool is_fixed() const noexcept { return is_fixed_; }
  /// Whether there are as many bytes now.
  bool reserve(std::size_t bytes) noexcept {
    if (bytes <= size_) return true;
    if (is_fixed_) return false;
    own_.reset();  // before there is another: its contents are of no use
    own_.reset(::operator new(bytes, alignment, std::nothrow));
    data_ = own_.get();
    size_ = data_ == nullptr ? 0 : bytes;
    return data_ != nullptr;
  }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Delete {
    void operator()(void* p) const noexcept { ::operator delete(p, alignment); }
  };

  void swap(Workspace& other) noexcept {
    own_.swap(other.own_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(is_fixed_, other.is_fixed_);
  }

  std::unique_ptr<void, Delete> own_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
  bool is_fixed_ = false;
};

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_OPTIONS_HPP_
