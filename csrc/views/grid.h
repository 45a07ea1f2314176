// Arrays that do not lie in one piece: where their elements are.
//
// A matrix, whose rows and columns each run along any number of axes with any strides, is read and
// written some rows and columns at a time. A part whose rows are each in one piece, and equally far
// apart, is worked on where it is; any other goes through a small buffer.
#ifndef NORMKERNELS_VIEWS_GRID_H_
#define NORMKERNELS_VIEWS_GRID_H_

#include <stddef.h>
#include <stdint.h>

namespace normkernels {

// One index that runs along several axes, the last of them the fastest. Without an axis it is 0.
struct Axes {
  int count;
  const int64_t* extents;
};

// How elements are stored, if not as what is computed with: as a half type, which is read as
// float32.
enum class Storage : int { kComputed, kFloat16, kBfloat16 };

struct Grid {
  Axes rows, cols;
  Storage storage;
};

// In elements. `image` and `row`: of an array without a grid, whose rows are each in one piece.
// `rows` and `cols`: along the axes of a grid.
struct Strides {
  int64_t image, row;
  const int64_t *rows, *cols;
};

// Rows [row, row + rows) and columns [col, col + cols).
struct Part {
  int64_t row, rows, col, cols;
};

// The offset of an index, and of an element, in elements.
int64_t offset_of(const Axes& axes, const int64_t* strides, int64_t index);
int64_t offset_of(const Grid& grid, const Strides& strides, int64_t row, int64_t col);

// How many rows from `row` on are equally far apart in all arrays: to the end of the last axis.
int64_t run_of(const Axes& axes, int64_t row);

// Whether the part's rows are each in one piece and equally far apart; by how much, then. Rows of a
// grid of one column must be neighbours: they are worked on as vectors.
bool is_plain(const Grid& grid, const Strides& strides, const Part& part, int64_t* row_stride);

// Copies a part of an array of elements of 2, 4 or 8 bytes to rows `stride` elements apart, and
// back.
void gather(size_t element_bytes, const Grid& grid, const Strides& strides, const Part& part,
            const void* from, void* to, int64_t stride);
void scatter(size_t element_bytes, const Grid& grid, const Strides& strides, const Part& part,
             const void* from, int64_t stride, void* to);

}  // namespace normkernels

#endif  // NORMKERNELS_VIEWS_GRID_H_
