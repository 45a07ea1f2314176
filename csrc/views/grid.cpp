#include "views/grid.h"

#include <algorithm>
#include <cstdlib>

namespace normkernels {
namespace {

// How many indices from this one on are equally far apart in an array: to the end of the last axis,
// or of more of them that are one to it.
int64_t even_run(const Axes& axes, const int64_t* strides, int64_t index) {
  int k = axes.count - 1;
  if (k < 0) return 1;
  int64_t run = axes.extents[k];
  for (; k > 0 && strides[k - 1] == run * strides[axes.count - 1]; --k) run *= axes.extents[k - 1];
  return run - index % run;
}

// Rows whose offsets are known at a time.
constexpr int64_t kRows = 64;
// Of rows that lie closer together than columns, so many are copied column by column: their lines
// of the array are read once, and those of the buffer stay in L1.
constexpr int64_t kRowsAcross = 16;

// A square of so many elements is turned in registers.
template <class T>
constexpr int64_t kSide = 16 / sizeof(T);

// to[j][i] = from[i][j]
template <class T>
void turn(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  T turned[kSide<T>][kSide<T>];
  for (int64_t i = 0; i < kSide<T>; ++i) {
    for (int64_t j = 0; j < kSide<T>; ++j) turned[j][i] = from[i * from_stride + j];
  }
  for (int64_t j = 0; j < kSide<T>; ++j) {
    for (int64_t i = 0; i < kSide<T>; ++i) to[j * to_stride + i] = turned[j][i];
  }
}

// One element of an array to a buffer, or back; or a square of rows that are neighbours in the
// array and columns that are in the buffer.
template <class T>
struct Gather {
  const T* array;
  T* buffer;

  static constexpr int64_t kSquare = kSide<T>;
  void operator()(int64_t at, int64_t to) const { buffer[to] = array[at]; }
  void square(int64_t at, int64_t step, int64_t to, int64_t stride) const {
    turn(array + at, step, buffer + to, stride);
  }
};
template <class T>
struct Scatter {
  T* array;
  const T* buffer;

  static constexpr int64_t kSquare = kSide<T>;
  void operator()(int64_t at, int64_t from) const { array[at] = buffer[from]; }
  void square(int64_t at, int64_t step, int64_t from, int64_t stride) const {
    turn(buffer + from, stride, array + at, step);
  }
};

// Some rows of a run of columns along the last axis: where their first elements are.
struct Rows {
  const int64_t *in_array, *in_buffer;
  int64_t count;
};
struct Run {
  int64_t at, column, cols, step;
};

template <class Move>
void move_along(const Run& run, const Rows& rows, const Move& move) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t at = rows.in_array[i] + run.at, to = rows.in_buffer[i] + run.column;
    if (run.step == 1) {
      for (int64_t j = 0; j < run.cols; ++j) move(at + j, to + j);
    } else {
      for (int64_t j = 0; j < run.cols; ++j) move(at + j * run.step, to + j);
    }
  }
}

// kRowsAcross rows that are neighbours in the array.
template <class Move>
void move_squares(const Run& run, int64_t at, int64_t to, int64_t stride, const Move& move) {
  constexpr int64_t side = Move::kSquare;
  int64_t j = 0;
  for (; j + side <= run.cols; j += side) {
    for (int64_t i = 0; i < kRowsAcross; i += side)
      move.square(at + j * run.step + i, run.step, to + j + i * stride, stride);
  }
  for (; j < run.cols; ++j) {
    for (int64_t i = 0; i < kRowsAcross; ++i) move(at + j * run.step + i, to + j + i * stride);
  }
}

template <class Move>
void move_across(const Run& run, const Rows& rows, const Move& move) {
  const int64_t stride = rows.in_buffer[1] - rows.in_buffer[0];
  for (int64_t begin = 0; begin < rows.count; begin += kRowsAcross) {
    const int64_t n = std::min(kRowsAcross, rows.count - begin);
    const int64_t* const in_array = rows.in_array + begin;
    const int64_t to = rows.in_buffer[begin] + run.column;
    bool neighbours = n == kRowsAcross;
    for (int64_t i = 1; i < n; ++i) neighbours = neighbours && in_array[i] == in_array[0] + i;
    if (neighbours) {
      move_squares(run, in_array[0] + run.at, to, stride, move);
      continue;
    }
    for (int64_t j = 0; j < run.cols; ++j) {
      for (int64_t i = 0; i < n; ++i)
        move(in_array[i] + run.at + j * run.step, to + j + i * stride);
    }
  }
}

// All of a part, in a buffer whose rows are `stride` apart. Copies of one length follow each other:
// row after row, run after run in each, they were slower.
template <class Move>
void move_part(const Grid& grid, const Strides& strides, const Part& part, int64_t stride,
               const Move& move) {
  const int last = grid.cols.count - 1;
  const int64_t step = last < 0 ? 1 : strides.cols[last];
  int64_t in_array[kRows], in_buffer[kRows];
  for (int64_t row = 0; row < part.rows; row += kRows) {
    const Rows rows = {in_array, in_buffer, std::min(kRows, part.rows - row)};
    for (int64_t i = 0; i < rows.count; ++i) {
      in_array[i] = offset_of(grid.rows, strides.rows, part.row + row + i);
      in_buffer[i] = (row + i) * stride;
    }
    const int64_t apart = rows.count == 1 ? INT64_MAX : std::abs(in_array[1] - in_array[0]);
    const bool across = apart < std::abs(step);
    for (int64_t done = 0; done < part.cols;) {
      const int64_t col = part.col + done,
                    n = std::min(even_run(grid.cols, strides.cols, col), part.cols - done);
      const Run run = {offset_of(grid.cols, strides.cols, col), done, n, step};
      across ? move_across(run, rows, move) : move_along(run, rows, move);
      done += n;
    }
  }
}

}  // namespace

int64_t offset_of(const Axes& axes, const int64_t* strides, int64_t index) {
  int64_t offset = 0;
  for (int k = axes.count; k-- > 0;) {
    if (k == 0) return offset + index * strides[0];
    offset += index % axes.extents[k] * strides[k];
    index /= axes.extents[k];
  }
  return offset;
}

int64_t offset_of(const Grid& grid, const Strides& strides, int64_t row, int64_t col) {
  return offset_of(grid.rows, strides.rows, row) + offset_of(grid.cols, strides.cols, col);
}

int64_t run_of(const Axes& axes, int64_t row) {
  if (axes.count == 0) return 1;
  const int64_t extent = axes.extents[axes.count - 1];
  return extent - row % extent;
}

bool is_plain(const Grid& grid, const Strides& strides, const Part& part, int64_t* row_stride) {
  const int rows = grid.rows.count, cols = grid.cols.count;
  if (cols > 0 && part.cols > 1 &&
      (strides.cols[cols - 1] != 1 || even_run(grid.cols, strides.cols, part.col) < part.cols)) {
    return false;
  }
  if (part.rows > 1 && even_run(grid.rows, strides.rows, part.row) < part.rows) return false;
  *row_stride = rows == 0 ? part.cols : strides.rows[rows - 1];
  return cols > 0 || part.rows == 1 || *row_stride == 1;
}

void gather(size_t element_bytes, const Grid& grid, const Strides& strides, const Part& part,
            const void* from, void* to, int64_t stride) {
  if (element_bytes == 2) {
    move_part(grid, strides, part, stride,
              Gather<uint16_t>{static_cast<const uint16_t*>(from), static_cast<uint16_t*>(to)});
  } else if (element_bytes == 4) {
    move_part(grid, strides, part, stride,
              Gather<float>{static_cast<const float*>(from), static_cast<float*>(to)});
  } else {
    move_part(grid, strides, part, stride,
              Gather<double>{static_cast<const double*>(from), static_cast<double*>(to)});
  }
}

void scatter(size_t element_bytes, const Grid& grid, const Strides& strides, const Part& part,
             const void* from, int64_t stride, void* to) {
  if (element_bytes == 2) {
    move_part(grid, strides, part, stride,
              Scatter<uint16_t>{static_cast<uint16_t*>(to), static_cast<const uint16_t*>(from)});
  } else if (element_bytes == 4) {
    move_part(grid, strides, part, stride,
              Scatter<float>{static_cast<float*>(to), static_cast<const float*>(from)});
  } else {
    move_part(grid, strides, part, stride,
              Scatter<double>{static_cast<double*>(to), static_cast<const double*>(from)});
  }
}

}  // namespace normkernels
