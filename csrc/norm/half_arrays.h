// The arrays of a forward of rows of a half type: where a row lies, its sum with another, and lines
// of gamma, beta and bias as float32.
#ifndef NORMKERNELS_NORM_HALF_ARRAYS_H_
#define NORMKERNELS_NORM_HALF_ARRAYS_H_

#include "norm/half_lines.h"
#include "norm/row_norm.h"
#include "norm/tiled_rows.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Rows as float32, or a chunk of one; and some columns of gamma and beta, where one of them is of
// the half type and the other is not, nor is there a workspace for lines of it.
struct HalfTile {
  static constexpr int64_t kElements = kChunk, kStrip = 64;

  alignas(kLineBytes) float x[kElements];
  alignas(kLineBytes) float gamma[kStrip], beta[kStrip];
  int64_t strip = -1;  // the first of these columns
};

class HalfArrays {
 protected:
  HalfArrays(const RowNorm<float>& a, const WideFlags& wide, const Placement& at)
      : a_(a), wide_(wide), at_(at), storage_(at.grid->storage) {}

  const uint16_t* at(const void* p, const Strides& strides, int64_t row, int64_t col) const {
    return static_cast<const uint16_t*>(p) + offset_of(at_.grid->rows, strides.rows, row) + col;
  }
  uint16_t* at(void* p, const Strides& strides, int64_t row, int64_t col) const {
    return const_cast<uint16_t*>(at(const_cast<const void*>(p), strides, row, col));
  }
  // Whether some rows are equally far apart in x and y.
  bool alike(int64_t row, int64_t rows) const {
    int64_t stride;
    const Part part = {row, rows, 0, a_.cols};
    return is_plain(*at_.grid, x_strides(), part, &stride) &&
           (a_.y.p == nullptr || is_plain(*at_.grid, at_.y, part, &stride));
  }
  // How far.
  int64_t stride_of(const Strides& strides) const {
    const int axes = at_.grid->rows.count;
    return axes == 0 ? 0 : strides.rows[axes - 1];
  }
  const Strides& x_strides() const { return a_.adds() ? at_.total : at_.x; }
  const uint16_t* x(int64_t row, int64_t col) const { return at(a_.x.p, x_strides(), row, col); }

  // Columns [begin, begin + n) of a parameter, which `to` may have already.
  const float* line(const float* p, bool wide, int64_t begin, int64_t n, float* to,
                    bool has_it = false) const {
    if (p == nullptr) return nullptr;
    if (wide) return p + begin;
    if (!has_it) widen_line(storage_, reinterpret_cast<const uint16_t*>(p) + begin, n, to);
    return to;
  }

  __attribute__((noinline)) void add(int64_t row, int64_t begin, int64_t end,
                                     HalfTile& tile) const {
    const Addition<float>& all = a_.addition;
    const uint16_t* const x = at(all.x.p, at_.x, row, begin);
    const uint16_t* const residual = at(all.residual.p, at_.residual, row, begin);
    uint16_t* const total = at(all.total.p, at_.total, row, begin);
    const int64_t n = end - begin;
    if (all.bias == nullptr) {
      storage_ == Storage::kFloat16 ? write_sum<Float16>(x, residual, n, total)
                                    : write_sum<Bfloat16>(x, residual, n, total);
      return;
    }
    // In float32, three lines of which a tile has.
    constexpr int64_t kStrip = HalfTile::kElements / 4;
    float *const sum = tile.x, *const other = sum + kStrip, *const bias_line = other + kStrip;
    for (int64_t i = 0, count; i < n; i += count) {
      count = smaller(kStrip, n - i);
      const float* const bias = line(all.bias, wide_.bias, begin + i, count, bias_line);
      widen_line(storage_, x + i, count, sum);
      widen_line(storage_, residual + i, count, other);
      add_rows<float>({{sum, count}, {other, count}, bias, {sum, count}}, 0, 1, 0, count);
      narrow_line(storage_, sum, count, total + i);
    }
  }

  const RowNorm<float>& a_;
  const WideFlags& wide_;
  const Placement& at_;
  const Storage storage_;
};

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_ARRAYS_H_
