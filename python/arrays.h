/* The arrays of a call: what each argument becomes before any of them is looked at.
 *
 * To convert an argument can run any code (__array__, __dlpack__, the look-up of either), which can
 * reshape, resize or retype the arrays of this call. So nothing of an array is read here, and an
 * operator gets no object that it could convert itself: it hands what it got to its Call, whose
 * functions read the arrays and run no code but NumPy's copying.
 */
#ifndef NORMKERNELS_PYTHON_ARRAYS_H_
#define NORMKERNELS_PYTHON_ARRAYS_H_

#include <algorithm>
#include <initializer_list>

#include "scalars.h"

namespace normkernels::python {

/* NumPy's own limit of dimensions (32 before NumPy 2). */
constexpr int kMaxRank = 64;

/* The extents of an array, copied: the array's own can change. */
class Shape {
 public:
  Shape() {} /* not `= default`, here and below: that would write zeros, for 20 ns each */
  Shape(const py::ssize_t* extents, int rank) : rank_(rank) {
    std::copy_n(extents, rank, extents_);
  }
  Shape(std::initializer_list<int64_t> extents) {
    for (const int64_t extent : extents) append(extent);
  }
  Shape(const Shape& other) : Shape(other.extents_, other.rank_) {}
  Shape& operator=(const Shape& other) {
    rank_ = other.rank_;
    std::copy_n(other.extents_, rank_, extents_);
    return *this;
  }

  int rank() const { return rank_; }
  py::ssize_t operator[](int i) const { return extents_[i]; }
  const py::ssize_t* data() const { return extents_; }
  bool operator==(const Shape& other) const {
    return rank_ == other.rank_ && std::equal(extents_, extents_ + rank_, other.extents_);
  }
  bool operator!=(const Shape& other) const { return !(*this == other); }
  /* The extents from `first` on and before `last`. */
  Shape part(int first, int last) const { return {extents_ + first, last - first}; }
  void append(int64_t extent) { extents_[rank_++] = static_cast<py::ssize_t>(extent); }
  /* Of all extents, if that of those that are not 0 fits in 63 bits. */
  int64_t product() const;
  bool has_product() const;
  std::string text() const;

 private:
  int rank_ = 0;
  py::ssize_t extents_[kMaxRank];
};

/* An array-like as a NumPy array, which is held: another holder could not free it meanwhile. Its
 * shape is remembered; conversion of a later argument must not have changed it. */
class Array {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  Array() {}
  explicit Array(const Argument& argument);
  bool given() const { return static_cast<bool>(array_); }
  const char* name() const { return name_; }

 private:
  friend class Call;
  const char* name_ = nullptr;
  py::object array_;
  Shape shape_;
};

/* The same, or None. */
class OptionalArray : public Array {
 public:
  OptionalArray() {}
  explicit OptionalArray(const Argument& argument)
      : Array(argument.value.is_none() ? Array() : Array(argument)) {}
};

/* None, or what the caller wants the result in: an array, or anything that NumPy sees as one
 * without a copy. */
class Out {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  Out() = default;
  explicit Out(const Argument& argument);
  bool given() const { return static_cast<bool>(array_); }

 private:
  friend class Call;
  const char* name_ = nullptr;
  py::object given_; /* what the result will be */
  py::object array_;
};

/* None, or a sequence of two of them. */
class OutPair {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  OutPair() = default;
  explicit OutPair(const Argument& argument);
  const Out& first() const { return first_; }
  const Out& second() const { return second_; }

 private:
  Out first_, second_;
};

/* Looks up what conversion needs of NumPy; once, before the first call. */
void prepare_arrays();

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_ARRAYS_H_
