// The forward of dense rows of a half type without a workspace, which the functions for dense
// arrays do not take: one row, or some short ones, at a time on the stack, and of gamma, beta and
// bias some columns.
//
// Longer rows than those columns are written after their sums, and their parameters, if of the half
// type, converted once for each of them: on a grid, with a workspace, it is up to 1.4 times as
// fast (AVX2, Zen 3, 4096 columns).
#ifndef NORMKERNELS_NORM_HALF_ROWS_H_
#define NORMKERNELS_NORM_HALF_ROWS_H_

#include "norm/row_grid.h"

namespace normkernels::NORMKERNELS_ISA {

class HalfRows {
 public:
  HalfRows(const LayerNormForward& a, int64_t rows)
      : a_(a),
        storage_(a.at->grid->storage),
        shape_(shape_of(a.shape, rows)),
        x_(source(a), *a.at->grid, a.total == nullptr ? a.at->x : a.at->total, shape_, buffer_),
        y_(a.y, a.at->y, x_) {}
  HalfRows(const HalfRows&) = delete;
  HalfRows& operator=(const HalfRows&) = delete;

  // Of all rows, whether they fit the columns or not.
  static TileShape<float> shape_of(const Matrix& shape, int64_t rows) {
    TileShape<float> tile(rows, shape.cols);
    const int64_t free = shape.cols <= kColumns ? kElements - 2 * kColumns : kElements;
    tile.rows = smaller(larger(free / tile.stride, 1), rows);
    return tile;
  }

  __attribute__((noinline)) void normalise(int64_t row, int64_t rows) {
    if (a_.total != nullptr) add(row, rows);
    a_.shape.cols <= kColumns ? short_rows(row, rows) : long_rows(row, rows);
  }

 private:
  // Short rows leave room for gamma and beta behind them; longer ones have some columns of these.
  static constexpr int64_t kElements = kChunk + 16, kColumns = 512, kStrip = 256;

  static const void* source(const LayerNormForward& a) {
    return a.total == nullptr ? a.x : a.total;
  }
  RowNorm<float> rows_of(int64_t row, int64_t rows, const float* gamma, const float* beta) const {
    RowNorm<float> norm = {};
    norm.rows = rows;
    norm.cols = a_.shape.cols;
    norm.gamma = gamma;
    norm.beta = beta;
    norm.epsilon = a_.epsilon;
    norm.mean = optional_at<float>(a_.mean, row);
    norm.sigma = optional_at<float>(a_.sigma, row);
    norm.rstd = optional_at<float>(a_.rstd, row);
    norm.centred = a_.centred;
    return norm;
  }
  // Columns [begin, begin + n) of a parameter.
  const float* line(const void* p, bool wide, int64_t begin, int64_t n, float* to) const {
    if (p == nullptr) return nullptr;
    if (wide) return static_cast<const float*>(p) + begin;
    widen_line(storage_, static_cast<const uint16_t*>(p) + begin, n, to);
    return to;
  }

  // The buffer is free until x is read: the sum, the residual and the bias are in it.
  void add(int64_t row, int64_t rows) {
    float *const sum = buffer_, *const residual = sum + kColumns;
    float* const bias_line = residual + kColumns;
    const int64_t cols = a_.shape.cols;
    const auto at = [](const void* p, int64_t i) { return static_cast<const uint16_t*>(p) + i; };
    for (int64_t begin = 0; begin < cols; begin += kColumns) {
      const int64_t n = smaller(kColumns, cols - begin);
      const float* const bias = line(a_.bias, a_.wide.bias, begin, n, bias_line);
      for (int64_t i = row; i < row + rows; ++i) {
        const int64_t first = i * cols + begin;
        widen_line(storage_, at(a_.x, first), n, sum);
        widen_line(storage_, at(a_.residual, first), n, residual);
        add_rows<float>({{sum, n}, {residual, n}, bias, {sum, n}}, 0, 1, 0, n);
        narrow_line(storage_, sum, n, static_cast<uint16_t*>(a_.total) + first);
      }
    }
  }

  void short_rows(int64_t row, int64_t rows) {
    const int64_t cols = a_.shape.cols;
    if (!has_lines_) {
      float* const room = buffer_ + kElements - 2 * kColumns;
      whole_gamma_ = line(a_.gamma, a_.wide.gamma, 0, cols, room);
      whole_beta_ = line(a_.beta, a_.wide.beta, 0, cols, room + kColumns);
      has_lines_ = true;
    }
    const Part part = {row, rows, 0, cols};
    RowNorm<float> norm = rows_of(row, rows, whole_gamma_, whole_beta_);
    norm.x = x_.read(part);
    norm.y = y_.open(part);
    normalise_rows(norm, kSerial);
    y_.close(part);
  }

  void long_rows(int64_t row, int64_t rows) {
    const int64_t cols = a_.shape.cols;
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    const RowNorm<float> norm = rows_of(row, rows, nullptr, nullptr);
    const Wanted<float> wanted = {a_.epsilon, a_.centred, norm.mean,
                                  norm.sigma, norm.rstd,  nullptr};
    if (cols > kChunk) {
      tiled_statistics(x_, row, rows, cols, factors, wanted);
    } else {
      row_statistics<float>(x_.read({row, rows, 0, cols}), rows, cols, kSerial, factors, wanted);
    }
    for_each_chunk(row, rows, 0, cols, [&](const Part& part) {
      const Rows<const float> from = x_.read(part);
      const Rows<float> to = y_.open(part);
      for (int64_t begin = 0; begin < part.cols; begin += kStrip)
        write(norm, factors, from.at(0, begin), to.at(0, begin), part.col + begin,
              smaller(kStrip, part.cols - begin));
      y_.close(part);
    });
  }
  void write(RowNorm<float> norm, const Factors<float>& factors, const Rows<const float>& from,
             const Rows<float>& to, int64_t begin, int64_t n) {
    norm.gamma = line(a_.gamma, a_.wide.gamma, begin, n, gamma_);
    norm.beta = line(a_.beta, a_.wide.beta, begin, n, beta_);
    Copies<float> copies[2] = {Copies<float>(0), Copies<float>(0)};
    for (int64_t i = 0; i < norm.rows; ++i)
      norm.write(i, factors.standard(i), 0, n, from[i], to[i], false, copies);
  }

  const LayerNormForward& a_;
  const Storage storage_;
  const TileShape<float> shape_;
  TiledInput<float> x_;
  TiledOutput<float> y_;
  const float *whole_gamma_ = nullptr, *whole_beta_ = nullptr;
  bool has_lines_ = false;
  alignas(kLineBytes) float buffer_[kElements];
  alignas(kLineBytes) float gamma_[kStrip], beta_[kStrip];
};

inline void half_rows_forward(const LayerNormForward& a, const Executor& executor) {
  const int64_t each = HalfRows::shape_of(a.shape, a.shape.rows).rows;
  for_each_share(parts_of(a.shape.rows, each), executor, [&](int64_t begin, int64_t end) {
    HalfRows rows(a, each);
    for (int64_t i = begin; i < end; ++i)
      rows.normalise(i * each, smaller(each, a.shape.rows - i * each));
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_HALF_ROWS_H_
