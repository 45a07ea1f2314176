// Arrays between guard zones, and the inputs of a call.
#ifndef NORMKERNELS_TESTS_PROBLEM_H_
#define NORMKERNELS_TESTS_PROBLEM_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <normkernels/normkernels.hpp>
#include <vector>

#include "forbidden.h"
#include "unwritten.h"

namespace nk = normkernels;

/// As what is computed with.
template <class T>
nk::Computed<T> computed(T element) {
  return static_cast<nk::Computed<T>>(element);
}
template <class T>
bool is_nan(T element) {
  return computed(element) != computed(element);
}

/// `size` elements that begin `offset` elements after a 64-byte boundary, between two zones of NaN.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t size, int offset = 0)
      : size_(static_cast<std::size_t>(size)), storage_(size_ + 2 * zone + 64 / sizeof(T), nan()) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data() + zone);
    begin_ = zone + (64 - address % 64) % 64 / sizeof(T) + static_cast<std::size_t>(offset);
    zones(forbid);
  }
  /// With what has been written into its zones.
  Guarded(const Guarded& other) : parts(other.parts), size_(other.size_), begin_(other.begin_) {
    other.zones(allow);
    storage_ = other.storage_;
    other.zones(forbid);
    zones(forbid);
  }
  Guarded(Guarded&&) = default;
  Guarded& operator=(const Guarded& other) { return *this = Guarded(other); }
  Guarded& operator=(Guarded&&) = default;
  ~Guarded() = default;

  T* data() { return storage_.data() + begin_; }
  const T* data() const { return storage_.data() + begin_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return storage_[begin_ + i]; }
  const T& operator[](std::size_t i) const { return storage_[begin_ + i]; }

  /// Nothing outside has been written.
  bool intact() const {
    const auto begin = storage_.begin() + static_cast<std::ptrdiff_t>(begin_);
    zones(allow);
    const bool all_nan =
        std::all_of(storage_.begin(), begin, is_nan<T>) &&
        std::all_of(begin + static_cast<std::ptrdiff_t>(size_), storage_.end(), is_nan<T>);
    zones(forbid);
    return all_nan;
  }
  bool same_bits(const Guarded& other) const {
    return size_ == other.size_ &&
           (size_ == 0 || std::memcmp(data(), other.data(), size_ * sizeof(T)) == 0);
  }

  /// How many elements a number takes, where it is wider than one.
  std::size_t parts = 1;

 private:
  static constexpr std::size_t zone = 64;
  template <class F>
  void zones(F f) const {
    f(storage_.data(), begin_ * sizeof(T));
    f(data() + size_, (storage_.size() - begin_ - size_) * sizeof(T));
  }
  static T nan() { return static_cast<T>(std::numeric_limits<nk::Computed<T>>::quiet_NaN()); }
  std::size_t size_, begin_;
  std::vector<T> storage_;
};

/// Numbers of what is computed with, in an array of as many bytes: statistics, and parameters where
/// `wide` says that they are of float.
template <class T>
Guarded<T> computed_array(std::int64_t size, int offset = 0) {
  constexpr int each = sizeof(nk::Computed<T>) / sizeof(T);
  Guarded<T> array(each * size, each * offset);
  array.parts = each;
  return array;
}
template <class T>
nk::Computed<T>* statistic(Guarded<T>& array) {
  return reinterpret_cast<nk::Computed<T>*>(array.data());
}
template <class T>
const nk::Computed<T>* statistic(const Guarded<T>& array) {
  return reinterpret_cast<const nk::Computed<T>*>(array.data());
}
template <class T>
nk::Line<T> parameter(Guarded<T>& array, bool wide) {
  if (wide) return statistic(array);
  return array.data();
}
template <class T>
nk::Line<const T> parameter(const Guarded<T>& array, bool wide) {
  if (wide) return statistic(array);
  return array.data();
}

/// Which parameters are of float.
struct Wide {
  bool gamma, beta, bias;
};

struct Window {
  std::int64_t size;
  double alpha, beta, bias;
};

/// An array as rows and columns, and as images of an order.
template <class T>
nk::Array<T> matrix(T* data, nk::Rows size) {
  return {data, {size.rows, size.cols}};
}
template <class T>
nk::Array<T> images(T* data, nk::Tensor size) {
  if (size.order == nk::nhwc) return {data, {size.n, size.spatial, size.c}};
  return {data, {size.n, size.c, size.spatial}};
}

/// The inputs of one call. Layer norm sees n rows of c * spatial.
template <class T>
struct Problem {
  Problem(nk::Tensor tensor, Window lrn_window, int element_offset = 0, Wide wide_parameters = {})
      : shape(tensor), window(lrn_window), offset(element_offset), wide(wide_parameters) {
    const std::int64_t features = shape.c * shape.spatial;
    for (Guarded<T>* array : {&x, &dy}) *array = any_numbers(shape.n * features, false);
    // Of every channel, also of those without pixels.
    const std::int64_t each = std::max(features, shape.c);
    gamma = any_numbers(each, wide.gamma);
    const std::uint64_t state = state_;
    beta = any_numbers(each, wide.beta);
    state_ = state;
    bias = any_numbers(each, wide.bias);
  }
  Guarded<T> output(std::int64_t size) const { return unwritten(Guarded<T>(size, offset)); }
  Guarded<T> statistics(std::int64_t size) const {
    return unwritten(computed_array<T>(size, offset));
  }
  Guarded<T> parameters(std::int64_t size, bool is_wide) const {
    return is_wide ? statistics(size) : output(size);
  }
  Guarded<T> tensor() const { return output(shape.n * shape.c * shape.spatial); }
  nk::Rows rows() const { return {shape.n, shape.c * shape.spatial}; }
  /// x, or another array of its size.
  nk::Array<T> matrix(Guarded<T>& array) const { return ::matrix(array.data(), rows()); }
  nk::Array<const T> matrix(const Guarded<T>& array) const {
    return ::matrix(array.data(), rows());
  }
  nk::Array<T> images(Guarded<T>& array) const { return ::images(array.data(), shape); }
  nk::Array<const T> images(const Guarded<T>& array) const { return ::images(array.data(), shape); }

  nk::Tensor shape;
  Window window;
  int offset;
  Wide wide;
  double epsilon = 1e-5;
  Guarded<T> x{0}, dy{0}, gamma{0}, beta{0}, bias{0};  // the bias is beta once more

 private:
  using Number = nk::Computed<T>;

  static Guarded<T> unwritten(Guarded<T> array) {
    make_unwritten(array.data(), array.size() * sizeof(T));
    return array;
  }
  Guarded<T> any_numbers(std::int64_t size, bool is_wide) {
    Guarded<T> array = parameters(size, is_wide);
    for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
      const Number number = next();
      if (is_wide) {
        statistic(array)[i] = number;
      } else {
        array[i] = static_cast<T>(number);
      }
    }
    return array;
  }
  // Uniform in [-0.5, 1.5), the same numbers on every platform: as many random bits as a number
  // has, so that conversion, division and subtraction are exact.
  Number next() {
    constexpr int digits = std::numeric_limits<Number>::digits;
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<Number>(state_ >> (64 - digits)) /
               static_cast<Number>(std::uint64_t{1} << (digits - 1)) -
           Number(0.5);
  }
  std::uint64_t state_ = 1;
};

/// The outputs of a call, all as arrays of T.
template <class T>
using Outputs = std::vector<Guarded<T>>;

#endif  // NORMKERNELS_TESTS_PROBLEM_H_
