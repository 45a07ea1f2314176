/* The arrays of a call: what each argument becomes before any of them is looked at.
 *
 * To convert an argument can run any code (__array__, __dlpack__, the look-up of either), which can
 * reshape, resize or retype the arrays of this call. So nothing of an array is read here, and an
 * operator gets no object that it could convert itself: it hands what it got to its Call, whose
 * functions read the arrays and run no code but NumPy's copying.
 */
#ifndef NORMKERNELS_PYTHON_ARRAYS_H_
#define NORMKERNELS_PYTHON_ARRAYS_H_

#include <initializer_list>
#include <string>

#include "scalars.h"

namespace normkernels::python {

/* The extents of an array, or its strides, copied: the array's own can change. */
class Shape {
 public:
  Shape() {} /* not `= default`: in some places that writes 520 zeros, for 50 ns */
  template <class Extent>
  Shape(const Extent* extents, int rank) {
    set(extents, rank);
  }
  Shape(std::initializer_list<int64_t> extents) {
    for (const int64_t extent : extents) append(extent);
  }
  Shape(const Shape& other) { set(other.extents_, other.rank_); }
  Shape& operator=(const Shape&) = delete;
  template <class Extent> /* NumPy's or ours */
  void set(const Extent* extents, int rank) {
    rank_ = rank;
    for (int i = 0; i < rank; ++i) extents_[i] = extents[i];
  }
  void append(int64_t extent) { extents_[rank_++] = extent; }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[i]; }
  const int64_t* data() const { return extents_; }
  template <class Extent>
  bool is(const Extent* extents, int rank) const {
    if (rank != rank_) return false;
    for (int i = 0; i < rank; ++i) {
      if (extents[i] != extents_[i]) return false;
    }
    return true;
  }
  bool operator==(const Shape& other) const { return is(other.extents_, other.rank_); }
  bool operator!=(const Shape& other) const { return !(*this == other); }
  /* The extents from `first` on and before `last`. */
  Shape part(int first, int last) const { return {extents_ + first, last - first}; }
  /* Of the extents from `first` on and before `last`. */
  int64_t product(int first, int last) const;
  /* Of all, or -1 where that of those that are not 0 is 2**63 or more: that of a part could be. */
  int64_t size() const;
  std::string text() const;

 private:
  int rank_ = 0;
  int64_t extents_[kMaxRank];
};

/* An array-like as a NumPy array, which is held: another holder could not free it meanwhile. Its
 * shape is remembered; conversion of a later argument must not have changed it. */
class Array {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  Array() {} /* as for Shape */
  void convert(const Argument& argument);
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
  OptionalArray() {} /* as for Shape */
  void convert(const Argument& argument) {
    if (!argument.value.is_none()) Array::convert(argument);
  }
};

/* None, or what the caller wants the result in: an array, or anything that NumPy sees as one
 * without a copy. */
class Out {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  void convert(const Argument& argument) {
    if (!argument.value.is_none()) take(argument);
  }
  bool given() const { return static_cast<bool>(array_); }

 private:
  friend class Call;
  void take(const Argument& argument);

  const char* name_ = nullptr;
  py::object given_; /* what the result will be */
  py::object array_;
};

/* None, or a sequence of two of them. */
class OutPair {
 public:
  static constexpr Phase kPhase = Phase::kArray;
  void convert(const Argument& argument) {
    if (!argument.value.is_none()) take(argument);
  }
  const Out& first() const { return first_; }
  const Out& second() const { return second_; }

 private:
  void take(const Argument& argument);

  Out first_, second_;
};

/* Looks up what conversion needs of NumPy; once, before the first call. */
void prepare_arrays();

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_ARRAYS_H_
