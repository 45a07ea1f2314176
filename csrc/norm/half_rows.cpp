#include "norm/half_rows.h"

#include "norm/half_writer.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Written rows -------------------------------------------------------------------

// Rows with gamma and beta per column, or null, from the first one on.
struct Lines {
  int64_t rows, cols;
  Factors<float> factors;
  const float *gamma, *beta;
  Rows<const float> x;
  Rows<uint16_t> y;
  bool stream;
};
template <class S>
__attribute__((noinline)) void write_lines(const Lines& all) {
  const Lines a = all;
  const Parameter<float> gamma = gamma_of<float>(a.gamma), beta = beta_of<float>(a.beta);
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    write_row(reinterpret_cast<S*>(a.y[i]), a.cols, a.stream,
              FromTile<S>{a.x[i], xhat, gamma, beta});
  }
}

struct HalfLines {
  int64_t rows, cols;
  Factors<float> factors;
  const void *gamma, *beta;
  Rows<const uint16_t> x;
  Rows<uint16_t> y;
  bool stream;
};
template <class S>
__attribute__((noinline)) void write_half_lines(const HalfLines& all) {
  const HalfLines a = all;
  const auto gamma =
      Parameter<uint16_t>::per_column(static_cast<const uint16_t*>(a.gamma), kAbsentHalfGamma<S>);
  const auto beta =
      Parameter<uint16_t>::per_column(static_cast<const uint16_t*>(a.beta), kAbsentHalfBeta);
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    write_row(reinterpret_cast<S*>(a.y[i]), a.cols, a.stream,
              AllHalves<S>{reinterpret_cast<const S*>(a.x[i]), xhat, gamma, beta});
  }
}

// Rows of so many pieces, each with one gamma and beta: those of `channel` and of the channels
// after it.
struct Pieces {
  int64_t rows, pieces, length;
  Factors<float> factors;
  const float *gamma, *beta;
  int64_t channels, channel;
  Rows<const uint16_t> x;
  Rows<uint16_t> y;
  bool stream;
};
template <class S>
__attribute__((noinline)) void write_pieces(const Pieces& all) {
  const Pieces a = all;
  int64_t channel = a.channel;
  for (int64_t i = 0; i < a.rows; ++i) {
    const Standardise<float> xhat(a.factors.standard(i));
    for (int64_t begin = 0; begin < a.pieces * a.length; begin += a.length) {
      const Vec<float> gamma = Vec<float>::all(value_or(a.gamma, channel, 1.0f));
      const Vec<float> beta = Vec<float>::all(value_or(a.beta, channel, -0.0f));
      write_row(reinterpret_cast<S*>(a.y[i] + begin), a.length, a.stream,
                FromHalves<S>{reinterpret_cast<const S*>(a.x[i] + begin), xhat, gamma, beta});
      channel = channel + 1 == a.channels ? 0 : channel + 1;
    }
  }
}

template <class S>
__attribute__((noinline)) void write_sum(const void* x, const void* residual, int64_t n,
                                         void* total) {
  write_row(static_cast<S*>(total), n, false,
            Sum<S>{static_cast<const S*>(x), static_cast<const S*>(residual)});
}

// ---- Rows ---------------------------------------------------------------------------

// Asks for halves while floats are summed: those that are widened next.
struct AheadOfHalves {
  static constexpr bool kMultiplies = false;
  const uint16_t* p;

  NORMKERNELS_INLINE void operator()(int64_t i) const { prefetch(p + i); }
  NORMKERNELS_INLINE int64_t end(int64_t n) const { return n / kMomentLanes * kMomentLanes; }
  NORMKERNELS_INLINE void finish() const {}
};

// Rows as float32, or a chunk of one; and some columns of gamma and beta, where one of them is of
// the half type and the other is not, nor is there a workspace for lines of it.
struct HalfTile {
  static constexpr int64_t kElements = kChunk, kStrip = 256;

  alignas(kLineBytes) float x[kElements];
  alignas(kLineBytes) float gamma[kStrip], beta[kStrip];
  int64_t strip = -1;  // the first of these columns
};

class HalfRows {
 public:
  HalfRows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at)
      : a_(a), wide_(wide), at_(at), storage_(at.grid->storage), all_alike_(alike(0, a.rows)) {}

  void normalise(const Executor& executor) const {
    if (split_rows(a_.rows, a_.cols, executor)) {
      for (int64_t row = 0; row < a_.rows; ++row) long_row(row, executor);
      return;
    }
    const int64_t together = rows_in_tile();
    for_each_share(parts_of(a_.rows, together), executor, [&](int64_t begin, int64_t end) {
      groups(begin * together, smaller(end * together, a_.rows), together);
    });
  }

 private:
  // Shorter rows, or pieces of them, go through the tile together both ways: they would be written
  // by parts of vectors (7 columns: 1.3 times as fast; AVX2, Zen 3).
  static constexpr int64_t kShort = 8;
  // Of longer rows a tile has too few to fold their sums together. They ask for those of the next
  // tile, which makes 1000 rows of 4000 elements 1.05 times as fast.
  static constexpr int64_t kAlone = 1024;

  // Whole vectors of them, if there are as many, since their factors are found by vectors.
  int64_t rows_in_tile() const {
    constexpr int64_t W = Vec<double>::kLanes;
    const int64_t most = larger(HalfTile::kElements / a_.cols, 1);
    if (is_short()) return smaller(most, TileShape<float>::kMostRows);
    return smaller(most < W ? most : most / W * W, kRowsTogether);
  }
  // Pieces of one element are columns, too, which begin with another channel in each row.
  bool per_column() const { return a_.channels == 0 || (a_.pieces > 1 && a_.pieces == a_.cols); }
  bool is_short() const {
    return (a_.in_pieces() ? a_.cols / a_.pieces : a_.cols) < kShort && a_.cols <= kChunk;
  }

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

  bool streams(int64_t n) const { return a_.stream && n >= kLeastStreamed<uint16_t>; }

  // Columns [begin, begin + n) of rows that are float32 at `x`, so many at a time as there are of
  // gamma and beta.
  __attribute__((noinline)) void write(int64_t row, int64_t rows, const Factors<float>& factors,
                                       int64_t begin, const Rows<const float>& x, int64_t n,
                                       HalfTile& tile) const {
    if (a_.channels != 0 && rows > 1) {
      for (int64_t i = 0; i < rows; ++i)
        write(row + i, 1, factors.from(i), begin, x.from(i), n, tile);
      return;
    }
    const Rows<uint16_t> y = {at(a_.y.p, at_.y, row, begin), stride_of(at_.y)};
    const bool whole = (wide_.gamma || a_.gamma == nullptr) && (wide_.beta || a_.beta == nullptr);
    const int64_t strip = whole ? n : HalfTile::kStrip;
    for (int64_t done = 0; done < n; done += strip) {
      const int64_t count = smaller(strip, n - done);
      const int64_t col = a_.channel_of(row) + begin + done;  // of gamma and beta
      const bool has_it = tile.strip == col;
      const float* const gamma = line(a_.gamma, wide_.gamma, col, count, tile.gamma, has_it);
      const float* const beta = line(a_.beta, wide_.beta, col, count, tile.beta, has_it);
      tile.strip = col;
      write_these({rows, count, factors, gamma, beta, x.at(0, done), y.at(0, done), streams(n)});
    }
  }
  void write_these(const Lines& some) const {
    storage_ == Storage::kFloat16 ? write_lines<Float16>(some) : write_lines<Bfloat16>(some);
  }

  // The same where gamma and beta are halves, or there are none.
  bool has_halves() const {
    return a_.channels == 0 && (a_.gamma == nullptr || !wide_.gamma) &&
           (a_.beta == nullptr || !wide_.beta);
  }
  __attribute__((noinline)) void write_halves(int64_t row, int64_t rows,
                                              const Factors<float>& factors, int64_t begin,
                                              int64_t n) const {
    const auto from = [&](const float* p) {
      return optional_at<const uint16_t>(static_cast<const void*>(p), begin);
    };
    const HalfLines some = {rows,
                            n,
                            factors,
                            from(a_.gamma),
                            from(a_.beta),
                            {x(row, begin), stride_of(x_strides())},
                            {at(a_.y.p, at_.y, row, begin), stride_of(at_.y)},
                            streams(n)};
    storage_ == Storage::kFloat16 ? write_half_lines<Float16>(some)
                                  : write_half_lines<Bfloat16>(some);
  }

  // The same where gamma and beta are one per piece: whole ones, and those that the columns begin
  // and end in.
  __attribute__((noinline)) void write_channels(int64_t row, int64_t rows,
                                                const Factors<float>& factors, int64_t begin,
                                                int64_t n) const {
    const int64_t length = a_.cols / a_.pieces;
    const Rows<const uint16_t> x = {this->x(row, begin), stride_of(x_strides())};
    const Rows<uint16_t> y = {at(a_.y.p, at_.y, row, begin), stride_of(at_.y)};
    const int64_t channel = a_.channel_of(row);
    for (int64_t done = 0, count; done < n; done += count) {
      const int64_t piece = (begin + done) / length, left = (piece + 1) * length - begin - done;
      const int64_t whole = left == length ? (n - done) / length : 0;
      count = whole > 0 ? whole * length : smaller(left, n - done);
      const Pieces some = {rows,
                           larger(whole, 1),
                           whole > 0 ? length : count,
                           factors,
                           a_.gamma,
                           a_.beta,
                           a_.channels,
                           channel + piece,
                           x.at(0, done),
                           y.at(0, done),
                           streams(whole > 0 ? length : count)};
      storage_ == Storage::kFloat16 ? write_pieces<Float16>(some) : write_pieces<Bfloat16>(some);
    }
  }

  // Rows [begin, end), so many at a time.
  __attribute__((noinline)) void groups(int64_t begin, int64_t end, int64_t together) const {
    HalfTile tile;
    if (is_short()) return short_rows(begin, end, together, tile);
    for (int64_t row = begin, rows; row < end; row += rows) {
      rows = smaller(together, end - row);
      if (!all_alike_ && !alike(row, rows)) rows = 1;
      for (int64_t i = row; a_.adds() && i < row + rows; ++i) add(i, 0, a_.cols, tile);
      group(row, rows, tile);
    }
    if (a_.stream) stream_fence();
  }
  __attribute__((noinline)) void group(int64_t row, int64_t rows, HalfTile& tile) const {
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    const int64_t cols = a_.cols;
    if (cols > kChunk) {
      set_statistics(long_row_moments(kSerial,
                                      [&](int64_t begin, int64_t end) {
                                        return span_moments(row, begin, end, tile);
                                      }),
                     row, factors);
    } else {
      set_statistics(row, rows, factors, tile);
    }
    if (a_.y.p == nullptr) return;
    if (has_halves()) {
      write_halves(row, rows, factors, 0, cols);
    } else if (!per_column()) {
      write_channels(row, rows, factors, 0, cols);
    } else if (cols > kChunk) {
      write_long(row, factors, 0, cols, tile);
    } else {
      write(row, rows, factors, 0, {tile.x, cols}, cols, tile);
    }
  }

  Wanted<float> wanted(int64_t row) const {
    return {a_.epsilon,
            a_.centred,
            optional_at<float>(a_.mean, row),
            optional_at<float>(a_.sigma, row),
            optional_at<float>(a_.rstd, row),
            nullptr};
  }
  void set_statistics(const Moments<float, double>& of_row, int64_t row,
                      const Factors<float>& factors) const {
    double sums[kSumFields];
    const Wanted<float> w = wanted(row);
    store_moments(of_row, SumTable{sums, 1}, 0);
    set_all_statistics<float>({sums, 1}, static_cast<double>(a_.cols), 1, nullptr, w.epsilon,
                              factors, w.mean, w.sigma, w.rstd, nullptr);
  }
  // Of rows no longer than a chunk, which are then in the tile.
  void set_statistics(int64_t row, int64_t rows, const Factors<float>& factors,
                      HalfTile& tile) const {
    const int64_t cols = a_.cols;
    const Rows<const uint16_t> from = {x(row, 0), stride_of(x_strides())};
    if (from.stride == cols) {
      widen_line(storage_, from.p, rows * cols, tile.x);
    } else {
      for (int64_t i = 0; i < rows; ++i) widen_line(storage_, from[i], cols, tile.x + i * cols);
    }
    const Wanted<float> w = wanted(row);
    if (cols <= kAlone)
      return row_statistics<float>({tile.x, cols}, rows, cols, kSerial, factors, w);
    double sums[kSumFields * kRowsTogether];
    const SumTable moments = {sums, kRowsTogether};
    for (int64_t i = 0; i < rows; ++i) {
      store_moments(
          chunk_moments(tile.x + i * cols, cols, 1, a_.centred, AheadOfHalves{from[i + rows]}),
          moments, i);
    }
    set_all_statistics<float>(moments, static_cast<double>(cols), rows, nullptr, w.epsilon, factors,
                              w.mean, w.sigma, w.rstd, nullptr);
  }

  // Chunk by chunk within spans, spans in index order: as row_moments.
  __attribute__((noinline)) Moments<float, double> span_moments(int64_t row, int64_t begin,
                                                                int64_t end, HalfTile& tile) const {
    Moments<float, double> all = {};
    for (int64_t i = begin, n; i < end; i += n) {
      const uint16_t* const from = x(row, i);
      n = smaller(kChunk, end - i);
      widen_line(storage_, from, n, tile.x);
      all = merge(all, chunk_moments(tile.x, n, 1, a_.centred, AheadOfHalves{from + n}));
    }
    return all;
  }
  template <class OfSpan>
  __attribute__((noinline)) Moments<float, double> long_row_moments(
      const Executor& executor, const OfSpan& moments_of) const {
    Moments<float, double> of_span[kMaxSpans];
    const int64_t span = span_of(a_.cols);
    for_each_span(a_.cols, executor, [&](int64_t begin, int64_t end) {
      of_span[begin / span] = moments_of(begin, end);
    });
    Moments<float, double> all = {};
    for (int64_t i = 0; i < spans_in(a_.cols); ++i) all = merge(all, of_span[i]);
    return all;
  }
  __attribute__((noinline)) void write_long(int64_t row, const Factors<float>& factors,
                                            int64_t begin, int64_t end, HalfTile& tile) const {
    for (int64_t i = begin, n; i < end; i += n) {
      n = smaller(kChunk, end - i);
      widen_line(storage_, x(row, i), n, tile.x);
      write(row, 1, factors, i, {tile.x, n}, n, tile);
    }
  }
  // Its spans are shared by the threads.
  __attribute__((noinline)) void long_row(int64_t row, const Executor& executor) const {
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    if (a_.adds()) {
      for_each_span(a_.cols, executor, [&](int64_t begin, int64_t end) {
        HalfTile tile;
        add(row, begin, end, tile);
      });
    }
    const auto span_moments_of = [&](int64_t begin, int64_t end) {
      HalfTile tile;
      return span_moments(row, begin, end, tile);
    };
    set_statistics(long_row_moments(executor, span_moments_of), row, factors);
    if (a_.y.p == nullptr) return;
    for_each_span(a_.cols, executor, [&](int64_t begin, int64_t end) {
      HalfTile tile;
      if (has_halves()) return write_halves(row, 1, factors, begin, end - begin);
      !per_column() ? write_channels(row, 1, factors, begin, end - begin)
                    : write_long(row, factors, begin, end, tile);
    });
  }

  __attribute__((noinline)) void short_rows(int64_t begin, int64_t end, int64_t together,
                                            HalfTile& tile) const {
    const int64_t cols = a_.cols;
    TileShape<float> shape(together, cols);
    shape.stride = cols;  // so that all rows are widened as one
    TiledInput<float> from(a_.x.p, *at_.grid, x_strides(), shape, tile.x);
    TiledOutput<float> to(a_.y.p, at_.y, from);
    for (int64_t row = begin, rows; row < end; row += rows) {
      rows = smaller(together, end - row);
      for (int64_t i = row; a_.adds() && i < row + rows; ++i) add(i, 0, cols, tile);
      const Part part = {row, rows, 0, cols};
      const Rows<const float> x = from.read(part);
      RowNorm<float> some = a_.part(row, rows, x, to.open(part));
      if (a_.channels == 0) {
        some.gamma = line(a_.gamma, wide_.gamma, 0, cols, tile.gamma, tile.strip == 0);
        some.beta = line(a_.beta, wide_.beta, 0, cols, tile.beta, tile.strip == 0);
        tile.strip = 0;
      }
      some.stream = false;
      normalise_rows(some, kSerial);
      to.close(part);
    }
  }

  const RowNorm<float>& a_;
  const WideFlags& wide_;
  const Placement& at_;
  const Storage storage_;
  const bool all_alike_;
};

}  // namespace

void normalise_half_rows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at,
                         const Executor& executor) {
  HalfRows(a, wide, at).normalise(executor);
}

}  // namespace normkernels::NORMKERNELS_ISA
