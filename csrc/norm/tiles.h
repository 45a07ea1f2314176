// Rows that lie anywhere: read and written some at a time, where they are or through a small
// buffer.
//
// Those of a half type always go through the buffer, where they are float32.
//
// A tile is some rows, of which all columns or, of rows longer than a chunk, a chunk at a time.
// What is computed of it, and in which order, is what is computed of rows in one piece.
#ifndef NORMKERNELS_NORM_TILES_H_
#define NORMKERNELS_NORM_TILES_H_

#include "norm/rows.h"
#include "simd/half_parts.h"

namespace normkernels::NORMKERNELS_ISA {

// The buffer of one array. Rows of it are whole cache lines, and an odd number of them, so that
// they do not fall on the same sets.
template <class T>
struct TileShape {
  static constexpr int64_t kLine = kLineBytes / sizeof(T);
  // What stays in L2 with those of the other arrays, but never fewer rows than make use of whole
  // lines where rows are next to each other and columns are not.
  static constexpr int64_t kElements = 16384, kLeastRows = 16, kMostRows = 1024;

  int64_t rows, cols, stride;

  TileShape(int64_t all_rows, int64_t all_cols, int64_t most_rows = kMostRows)
      : cols(smaller(all_cols, kChunk)), stride(parts_of(cols, kLine) / 2 * 2 * kLine + kLine) {
    if (all_cols == 1) stride = 1;  // of rows of one element vectors are made
    rows = smaller(larger(kElements / stride, kLeastRows), smaller(all_rows, most_rows));
  }
  // In whole lines.
  int64_t elements() const { return parts_of(rows * stride, kLine) * kLine; }
};

// Tasks, each with buffers of its own. Their number follows from the shape alone, and so that all
// buffers of an array are a fraction of it, but for the first: an eighth, or half of it for half
// types, of which no array goes without.
template <class T>
struct TileSlots {
  static constexpr int64_t kMost = 16;
  int64_t count, bytes;  // of each

  TileSlots(int64_t units, int64_t elements, Storage storage, const TileShape<T>& tile,
            int64_t arrays)
      : count(smaller(larger(elements / (fraction(storage) * tile.elements()), 1),
                      smaller(units, kMost))),
        bytes(arrays * tile.elements() * static_cast<int64_t>(sizeof(T))) {}
  static int64_t fraction(Storage storage) { return storage == Storage::kComputed ? 8 : 2; }
  size_t all_bytes() const { return static_cast<size_t>(count * bytes); }
  T* buffers(void* workspace, int64_t slot) const {
    return reinterpret_cast<T*>(static_cast<char*>(workspace) + slot * bytes);
  }

  // f(begin, end, buffers) for the units of each slot.
  template <class F>
  NORMKERNELS_INLINE void for_each(int64_t units, void* workspace, const Executor& executor,
                                   F&& f) const {
    const int64_t each = parts_of(units, count);
    for_each_task(executor, parts_of(units, each), [&](int64_t slot) {
      f(slot * each, part_end(slot * each, each, units), buffers(workspace, slot));
    });
  }
};

// Whether parts that could be worked on where they are go through the buffer all the same.
enum class Through { kBufferIfNeeded, kBuffer };

template <class T>
class TiledOutput;

// An input, a part at a time. What the buffer holds is not copied again.
template <class T>
class TiledInput {
 public:
  TiledInput(const void* p, const Grid& grid, const Strides& strides, const TileShape<T>& shape,
             T* buffer, Through through = Through::kBufferIfNeeded)
      : p_(p),
        grid_(grid),
        strides_(strides),
        stride_(shape.stride),
        in_place_(through == Through::kBufferIfNeeded && grid.storage == Storage::kComputed),
        buffer_(buffer) {}

  __attribute__((noinline)) Rows<const T> read(const Part& part) {
    int64_t row_stride;
    if (in_place_ && is_plain(grid_, strides_, part, &row_stride)) {
      return {static_cast<const T*>(p_) + offset_of(grid_, strides_, part.row, part.col),
              row_stride};
    }
    if (!holds(part)) fill(part);
    held_ = part;
    return {buffer_, stride_};
  }

 private:
  friend class TiledOutput<T>;

  void fill(const Part& part) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (grid_.storage != Storage::kComputed)
        return widen_part(grid_, strides_, part, p_, buffer_, stride_);
    }
    gather(sizeof(T), grid_, strides_, part, p_, buffer_, stride_);
  }
  bool holds(const Part& part) const {
    return part.row == held_.row && part.rows == held_.rows && part.col == held_.col &&
           part.cols == held_.cols;
  }

  const void* p_;
  Grid grid_;
  Strides strides_;
  int64_t stride_;
  bool in_place_;  // where that is possible
  T* buffer_;
  Part held_ = {};
};

// An output, or none. It has the buffer of an input, which is overwritten.
template <class T>
class TiledOutput {
 public:
  TiledOutput(void* p, const Strides& strides, TiledInput<T>& input)
      : p_(p), strides_(strides), input_(input) {}

  bool wanted() const { return p_ != nullptr; }
  // Where the part is to be written; then comes close().
  __attribute__((noinline)) Rows<T> open(const Part& part) {
    if (p_ == nullptr) return {nullptr, 0};
    const Grid& grid = input_.grid_;
    int64_t row_stride;
    in_place_ = input_.in_place_ && is_plain(grid, strides_, part, &row_stride);
    if (in_place_)
      return {static_cast<T*>(p_) + offset_of(grid, strides_, part.row, part.col), row_stride};
    input_.held_ = {};
    return {input_.buffer_, input_.stride_};
  }
  bool in_place() const { return in_place_; }
  __attribute__((noinline)) void close(const Part& part) {
    if (p_ == nullptr || in_place_) return;
    if constexpr (sizeof(T) == sizeof(float)) {
      if (input_.grid_.storage != Storage::kComputed)
        return narrow_part(input_.grid_, strides_, part, input_.buffer_, input_.stride_, p_);
    }
    scatter(sizeof(T), input_.grid_, strides_, part, input_.buffer_, input_.stride_, p_);
  }

 private:
  void* p_;
  Strides strides_;
  TiledInput<T>& input_;
  bool in_place_ = true;
};

// The rows of the next tile: no more than are equally far apart, if that is work enough.
template <class T>
NORMKERNELS_INLINE int64_t rows_of_tile(const Grid& grid, const TileShape<T>& shape, int64_t row,
                                        int64_t end) {
  const int64_t rows = smaller(shape.rows, end - row), run = run_of(grid.rows, row);
  return run * shape.cols >= kElementsTogether ? smaller(rows, run) : rows;
}

// f(part) for rows [row, row + rows), a chunk of columns at a time.
template <class F>
NORMKERNELS_INLINE void for_each_chunk(int64_t row, int64_t rows, int64_t begin, int64_t end,
                                       F&& f) {
  for (int64_t i = begin; i < end; i += kChunk) f(Part{row, rows, i, smaller(kChunk, end - i)});
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_TILES_H_
