#include "norm/half_rows.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Written rows -------------------------------------------------------------------

// value(i, k, lanes), k elements behind i, for elements [0, n), rounded; k is 0 or a vector's, so
// that one address serves two. y may be where they are read. The last ones are therefore computed
// first: a vector of them reaches over those before, which is 1.4 times as fast for 196 elements as
// to store a part of one (AVX2, Zen 3). Streamed lines are not touched again.
template <class S, class Value>
NORMKERNELS_INLINE void write_halves(S* y, int64_t n, bool stream, const Value& value) {
  constexpr int64_t W = Vec<float>::kLanes, kLine = kLineBytes / sizeof(S);
  const auto pair = [&](auto how, int64_t i) __attribute__((always_inline)) {
    store_halves_of(how, y + i, value(i, 0, Full{}), value(i, W, Full{}));
  };
  const auto part = [&](int64_t i, int64_t end) __attribute__((always_inline)) {
    for (; i + W <= end; i += W) store_half(y + i, value(i, 0, Full{}), Full{});
    if (i < end)
      store_half(y + i, value(i, 0, static_cast<int>(end - i)), static_cast<int>(end - i));
  };
  int64_t i = 0;
  if (stream) {
    i = smaller(elements_to_border<kLineBytes>(y), n);
    part(0, i);
    for (; i + kLine <= n; i += kLine) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < kLine; k += 2 * W) pair(Streamed{}, i + k);
    }
  }
  if (stream || n < W) return part(i, n);
  const Vec<float> last = value(n - W, 0, Full{});
  for (; i + 2 * W <= n; i += 2 * W) pair(Cached{}, i);
  if (i + W <= n) store_half(y + i, value(i, 0, Full{}), Full{});
  if (n % W != 0) store_half(y + n - W, last, Full{});
}

// Rows in a tile, normalised, piece by piece. Gamma and beta are lines, or, where there are
// channels, one value for each piece, of channel `channel` and those after it.
struct WrittenRows {
  Rows<const float> x;
  int64_t rows, pieces, length;
  Factors<float> factors;
  const float *gamma, *beta;
  int64_t channels, channel;
  Rows<uint16_t> y;
  bool stream;
};
template <class S>
__attribute__((noinline)) void write_rows(const WrittenRows& all) {
  const WrittenRows a = all;
  Copies<float> copies[2] = {Copies<float>(0), Copies<float>(0)};
  Parameter<float> gamma = gamma_of<float>(a.gamma), beta = beta_of<float>(a.beta);
  if (a.channels != 0)
    gamma = Parameter<float>::for_all(copies[0]), beta = Parameter<float>::for_all(copies[1]);
  int64_t channel = a.channel;
  for (int64_t row = 0; row < a.rows; ++row) {
    const Standardise<float> xhat(a.factors.standard(row));
    for (int64_t piece = 0; piece < a.pieces; ++piece) {
      if (a.channels != 0) {
        copies[0].fill(value_or(a.gamma, channel, 1.0f));
        copies[1].fill(value_or(a.beta, channel, -0.0f));
        channel = channel + 1 == a.channels ? 0 : channel + 1;
      }
      const float* const x = a.x[row] + piece * a.length;
      write_halves(
          reinterpret_cast<S*>(a.y[row] + piece * a.length), a.length,
          a.stream, [=](int64_t i, int64_t k, auto lanes) __attribute__((always_inline)) {
            return fma(xhat(load(x + i + k, lanes)), load(gamma.at(i) + k, lanes),
                       load(beta.at(i) + k, lanes));
          });
    }
  }
}

// total = x + residual + bias, which may be x or residual.
template <class S, bool kBias>
__attribute__((noinline)) void write_total(const void* x, const void* residual, const float* bias,
                                           int64_t n, void* total) {
  const S *a = static_cast<const S*>(x), *b = static_cast<const S*>(residual);
  write_halves(
      static_cast<S*>(total), n,
      false, [=](int64_t i, int64_t k, auto lanes) __attribute__((always_inline)) {
        const Vec<float> of_x = load_half(a + i + k, lanes), of_b = load_half(b + i + k, lanes);
        if constexpr (kBias) return rounded_sum(of_x, of_b, load(bias + i + k, lanes));
        return of_x + of_b;
      });
}
template <class S>
NORMKERNELS_INLINE void write_total(const void* x, const void* residual, const float* bias,
                                    int64_t n, void* total) {
  bias == nullptr ? write_total<S, false>(x, residual, bias, n, total)
                  : write_total<S, true>(x, residual, bias, n, total);
}

// ---- Rows ---------------------------------------------------------------------------

// Asks for halves while floats are summed: those that will be widened next.
struct AheadOfHalves {
  static constexpr bool kMultiplies = false;
  const uint16_t* p;

  NORMKERNELS_INLINE void operator()(int64_t i) const { prefetch(p + i); }
  NORMKERNELS_INLINE int64_t end(int64_t n) const { return n / kMomentLanes * kMomentLanes; }
  NORMKERNELS_INLINE void finish() const {}
};

// Rows as float32, or a chunk of one; and some columns of gamma, beta and bias, where these are
// halves, which is all that the functions for dense arrays can keep of them.
struct HalfTile {
  static constexpr int64_t kElements = kChunk, kStrip = 256;

  alignas(kLineBytes) float x[kElements];
  alignas(kLineBytes) float gamma[kStrip], beta[kStrip];
  int64_t strip = -1;  // the first of these columns
};

class HalfRows {
 public:
  HalfRows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at)
      : a_(a), wide_(wide), at_(at), storage_(at.grid->storage) {}

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
  // Shorter rows go through the tile together both ways: they would be written by parts of vectors.
  static constexpr int64_t kShort = 64;

  // Whole vectors of them, if there are as many, since their factors are found by vectors.
  int64_t rows_in_tile() const {
    constexpr int64_t W = Vec<double>::kLanes;
    const int64_t most = HalfTile::kElements / a_.cols;
    if (is_short()) return smaller(most, TileShape<float>::kMostRows);
    return smaller(most < W ? larger(most, 1) : most / W * W, kRowsTogether);
  }
  bool is_short() const { return a_.cols < kShort; }

  const uint16_t* at(const void* p, const Strides& strides, int64_t row, int64_t col) const {
    return static_cast<const uint16_t*>(p) + offset_of(at_.grid->rows, strides.rows, row) + col;
  }
  uint16_t* at(void* p, const Strides& strides, int64_t row, int64_t col) const {
    return const_cast<uint16_t*>(at(const_cast<const void*>(p), strides, row, col));
  }
  // How far rows that are equally far apart are that.
  int64_t stride_of(const Strides& strides, int64_t row, int64_t rows) const {
    int64_t stride = 0;
    is_plain(*at_.grid, strides, {row, rows, 0, a_.cols}, &stride);
    return stride;
  }
  bool alike(const Strides& strides, int64_t row, int64_t rows) const {
    int64_t stride;
    return is_plain(*at_.grid, strides, {row, rows, 0, a_.cols}, &stride);
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
    if (!a_.adds()) return;
    const Addition<float>& all = a_.addition;
    const int64_t strip = wide_.bias || all.bias == nullptr ? end - begin : HalfTile::kStrip;
    for (int64_t i = begin; i < end; i += strip) {
      const int64_t n = smaller(strip, end - i);
      const float* const bias = line(all.bias, wide_.bias, i, n, tile.x);
      const uint16_t* const terms[2] = {at(all.x.p, at_.x, row, i),
                                        at(all.residual.p, at_.residual, row, i)};
      uint16_t* const total = at(all.total.p, at_.total, row, i);
      storage_ == Storage::kFloat16 ? write_total<Float16>(terms[0], terms[1], bias, n, total)
                                    : write_total<Bfloat16>(terms[0], terms[1], bias, n, total);
    }
  }

  void write_some(WrittenRows some) const {
    some.stream = a_.stream && some.length >= kLeastStreamed<uint16_t>;
    storage_ == Storage::kFloat16 ? write_rows<Float16>(some) : write_rows<Bfloat16>(some);
  }
  // Columns [begin, begin + n) of rows that are in a tile.
  __attribute__((noinline)) void write(int64_t row, int64_t rows, const Factors<float>& factors,
                                       int64_t begin, int64_t n, HalfTile& tile) const {
    if (a_.y.p == nullptr) return;
    const Rows<const float> x = {tile.x, n};
    const Rows<uint16_t> y = {at(a_.y.p, at_.y, row, begin), stride_of(at_.y, row, rows)};
    a_.channels == 0 ? write_strips(x, rows, factors, begin, n, y, tile)
                     : write_pieces(row, x, rows, factors, begin, n, y);
  }
  // With gamma and beta per column, so many columns at a time as there are of these.
  void write_strips(const Rows<const float>& x, int64_t rows, const Factors<float>& factors,
                    int64_t begin, int64_t n, const Rows<uint16_t>& y, HalfTile& tile) const {
    const bool whole = (wide_.gamma || a_.gamma == nullptr) && (wide_.beta || a_.beta == nullptr);
    const int64_t strip = whole ? n : HalfTile::kStrip;
    for (int64_t done = 0; done < n; done += strip) {
      const int64_t col = begin + done, count = smaller(strip, n - done);
      const bool has_it = tile.strip == col;
      const float* const gamma = line(a_.gamma, wide_.gamma, col, count, tile.gamma, has_it);
      const float* const beta = line(a_.beta, wide_.beta, col, count, tile.beta, has_it);
      tile.strip = col;
      write_some({x.at(0, done), rows, 1, count, factors, gamma, beta, 0, 0, y.at(0, done), false});
    }
  }
  // One value of them per piece: whole ones, and those that the columns begin and end in.
  void write_pieces(int64_t row, const Rows<const float>& x, int64_t rows,
                    const Factors<float>& factors, int64_t begin, int64_t n,
                    const Rows<uint16_t>& y) const {
    const int64_t length = a_.cols / a_.pieces;
    if (a_.pieces > 1 && length == 1) {  // pieces are columns
      for (int64_t i = 0; i < rows; ++i) {
        const int64_t channel = a_.channel_of(row + i) + begin;
        write_some({x.from(i), 1, 1, n, factors.from(i),
                    optional_at<const float>(a_.gamma, channel),
                    optional_at<const float>(a_.beta, channel), 0, 0, y.from(i), false});
      }
      return;
    }
    const int64_t channel = a_.channel_of(row);
    for (int64_t done = 0, count; done < n; done += count) {
      const int64_t piece = (begin + done) / length, left = (piece + 1) * length - begin - done;
      const int64_t whole = left == length ? (n - done) / length : 0;
      count = whole > 0 ? whole * length : smaller(left, n - done);
      write_some({x.at(0, done), rows, larger(whole, 1), whole > 0 ? length : count, factors,
                  a_.gamma, a_.beta, a_.channels, channel + piece, y.at(0, done), false});
    }
  }

  // Rows [begin, end), so many at a time.
  __attribute__((noinline)) void groups(int64_t begin, int64_t end, int64_t together) const {
    HalfTile tile;
    if (is_short()) return short_rows(begin, end, together, tile);
    for (int64_t row = begin, rows; row < end; row += rows) {
      rows = smaller(together, end - row);
      if (!alike(x_strides(), row, rows) || !alike(at_.y, row, rows)) rows = 1;
      for (int64_t i = row; i < row + rows; ++i) add(i, 0, a_.cols, tile);
      group(row, rows, tile);
    }
    if (a_.stream) stream_fence();
  }
  __attribute__((noinline)) void group(int64_t row, int64_t rows, HalfTile& tile) const {
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    double sums[kSumFields * kRowsTogether];
    const SumTable moments = {sums, kRowsTogether};
    const int64_t cols = a_.cols;
    if (cols > kChunk) {
      store_moments(long_row_moments(kSerial,
                                     [&](int64_t begin, int64_t end) {
                                       return span_moments(row, begin, end, tile);
                                     }),
                    moments, 0);
    } else {
      const Rows<const uint16_t> from = {x(row, 0), stride_of(x_strides(), row, rows)};
      if (from.stride == cols) {
        widen_line(storage_, from.p, rows * cols, tile.x);
      } else {
        for (int64_t i = 0; i < rows; ++i) widen_line(storage_, from[i], cols, tile.x + i * cols);
      }
      moments_in_lanes<float>(
          {tile.x, cols}, rows, cols,
          [&](int64_t i, int64_t, int64_t)
              __attribute__((always_inline)) { return AheadOfHalves{from[i + rows]}; },
          moments, a_.centred);
    }
    a_.set_statistics({}, row, rows, moments, kSerial, factors);
    if (cols > kChunk) {
      write_long(row, factors, 0, cols, tile);
    } else {
      write(row, rows, factors, 0, cols, tile);
    }
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
      write(row, 1, factors, i, n, tile);
    }
  }
  // Its spans are shared by the threads.
  __attribute__((noinline)) void long_row(int64_t row, const Executor& executor) const {
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    double sums[kSumFields * kRowsTogether];
    const SumTable moments = {sums, kRowsTogether};
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
    store_moments(long_row_moments(executor, span_moments_of), moments, 0);
    a_.set_statistics({}, row, 1, moments, executor, factors);
    for_each_span(a_.cols, executor, [&](int64_t begin, int64_t end) {
      HalfTile tile;
      write_long(row, factors, begin, end, tile);
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
      for (int64_t i = row; i < row + rows; ++i) add(i, 0, cols, tile);
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
};

}  // namespace

void normalise_half_rows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at,
                         const Executor& executor) {
  HalfRows(a, wide, at).normalise(executor);
}

}  // namespace normkernels::NORMKERNELS_ISA
