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
  // row-major. `to` is what the layouts below fill in. Returned is the array.
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
  // in all arrays the rows (of NHWC: pixels) are each in one piece and equally far apart. Of a half
  // type it is never null: kernels know these on a grid alone.
  //
  // Of a matrix: these axes are its columns, the others its rows. Neighbours that are one axis in
  // all arrays become one.
  const Grid* matrix(uint64_t columns);
  // Of images. In NCHW rows are image and group of channels, and columns the channels of a group
  // and the positions; in NHWC rows are image and channel, and columns the positions.
  const Grid* images(normkernels_order order, int64_t groups);
  // Of their pixels: the rows are the channels, the columns all other axes, in the order in which
  // they lie. Never null.
  const Grid* pixels(normkernels_order order);
  // The extents of images. `position` is that of the rank, which must be 2 at least.
  Images extents(int32_t position, normkernels_order order) const;

 private:
  static constexpr int kMostArrays = 5,
                       kMostAxes = kMaxRank + 1;  // channels may be cut into groups

  // An axis, or one of two that it is cut into: every `step` indices.
  struct Cut {
    int axis;
    int64_t extent, step;
  };

  int channel_axis(normkernels_order order) const {
    return order == NORMKERNELS_NCHW ? 1 : rank_ - 1;
  }
  Call::View array(int32_t position, const int64_t* strides, Strides* to);
  void append(const Cut& cut, bool may_join, int first, int& count);
  void append(int axis, bool may_join, int first, int& count) {
    append({axis, shape_[axis], 1}, may_join, first, count);
  }
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
  int64_t extents_[kMostAxes], strides_[kMostArrays][kMostAxes];
};

// The grid of dense arrays of a half type, which kernels take on a grid alone. What its functions
// return is null for other types.
class DenseGrid {
 public:
  DenseGrid() = default;
  DenseGrid(const DenseGrid&) = delete;
  DenseGrid& operator=(const DenseGrid&) = delete;

  // As Views::matrix, images and pixels have them.
  const Placement* of_matrix(const Call& call, const Matrix& shape);
  const Placement* of_images(const Call& call, normkernels_order order, const Images& shape,
                             int64_t groups);
  const Placement* of_pixels(const Call& call, normkernels_order order, const Images& shape);

 private:
  struct Side {
    int count;
    int64_t extents[2], strides[2];
  };

  const Placement* set(const Call& call, const Side& rows, const Side& cols);

  // Of other types nothing of this is written.
  Side rows_, cols_;
  Grid grid_;
  Placement at_;
};

}  // namespace normkernels

#endif  // NORMKERNELS_API_VIEWS_H_
