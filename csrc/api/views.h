// The start of a function whose arrays have a shape and strides: its checks, as call.h has them for
// dense arrays, and the fewest axes that say the same.
#ifndef NORMKERNELS_API_VIEWS_H_
#define NORMKERNELS_API_VIEWS_H_

#include "api/call.h"
#include "views/overlap.h"

namespace normkernels {

class Views {
 public:
  // The positions of `rank` and, after it, `shape`.
  Views(Call& call, int32_t position, int32_t rank, const int64_t* shape);
  Views(const Views&) = delete;
  Views& operator=(const Views&) = delete;

  int64_t elements() const { return elements_; }
  // A bit for each of some axes: there must be one, and none beyond the rank.
  uint64_t axes(int32_t position, uint64_t axes);
  // The product of the extents of these axes.
  int64_t elements_of(uint64_t axes) const;

  // The position of an array and, after it, of its strides, of which null means dense and
  // row-major. `to` is what lay_out fills in. Returned is the array.
  const void* input(int32_t position, const void* p, const int64_t* strides, Strides* to);
  const void* optional_input(int32_t position, const void* p, const int64_t* strides, Strides* to) {
    return p == nullptr ? p : input(position, p, strides, to);
  }
  void* output(int32_t position, void* p, const int64_t* strides, Strides* to,
               int32_t in_place = Call::kNone, int32_t or_in_place = Call::kNone);
  void* optional_output(int32_t position, void* p, const int64_t* strides, Strides* to) {
    return p == nullptr ? p : output(position, p, strides, to);
  }

  // What follows fills in the Strides, once all arrays are there, and returns the grid, or null if
  // in all arrays the rows (of NHWC: pixels) are each in one piece and equally far apart.
  //
  // Of a matrix: these axes are its columns, the others its rows. Neighbours that are one axis in
  // all arrays become one.
  const Grid* matrix(uint64_t columns);
  // Of images, whose rows are image and channel and whose columns are the positions.
  const Grid* images(normkernels_order order);
  // Of their pixels: the rows are the channels, the columns all other axes, in the order in which
  // they lie. Never null.
  const Grid* pixels(normkernels_order order);
  // The extents of images. `position` is that of the rank, which must be 2 at least.
  Images extents(int32_t position, normkernels_order order) const;

 private:
  static constexpr int kMostArrays = 5;

  int channel_axis(normkernels_order order) const {
    return order == NORMKERNELS_NCHW ? 1 : rank_ - 1;
  }
  Call::View array(int32_t position, const int64_t* strides, Strides* to);
  void lay_out(uint64_t columns, bool join_rows);
  void append(int axis, bool may_join, int first, int& count);
  void make_grid(int rows, int count);
  int64_t farthest(int axis) const;
  bool rows_in_one_piece(int array) const;
  bool planes_in_one_piece(int array) const;
  bool pixels_in_one_piece(int array) const;

  Call& call_;
  int rank_ = 0;
  const int64_t* shape_ = nullptr;
  int64_t elements_ = 0;
  int64_t dense_[kMaxRank];
  int arrays_ = 0;
  const int64_t* given_[kMostArrays];
  Strides* to_[kMostArrays];
  // What is laid out: the axes of rows, then those of columns.
  Grid grid_ = {};
  int64_t extents_[kMaxRank], strides_[kMostArrays][kMaxRank];
};

}  // namespace normkernels

#endif  // NORMKERNELS_API_VIEWS_H_
