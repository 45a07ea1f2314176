#include "norm/half_rows.h"

#include "norm/half_arrays.h"
#include "norm/half_lines.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// Asks for halves while floats are summed: those that are widened next.
struct AheadOfHalves : AsksForMemory {
  const uint16_t* p;

  explicit NORMKERNELS_INLINE AheadOfHalves(const uint16_t* x) : p(x) {}
  NORMKERNELS_INLINE void operator()(int64_t i) const { prefetch(p + i); }
};

class HalfRows : HalfArrays {
 public:
  HalfRows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at)
      : HalfArrays(a, wide, at), all_alike_(alike(0, a.rows)) {}

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
            nullptr,
            optional_at<normkernels_row_moments>(a_.moments, row)};
  }
  void set_statistics(SumTable moments, int64_t rows, const Wanted<float>& w,
                      const Factors<float>& factors) const {
    if (w.moments != nullptr) hand_out<float>(moments, a_.cols, rows, nullptr, w.moments);
    set_all_statistics<float>(moments, static_cast<double>(a_.cols), rows, nullptr, w.epsilon,
                              factors, w.mean, w.sigma, w.rstd, nullptr);
  }
  void set_statistics(const Moments<float, double>& of_row, int64_t row,
                      const Factors<float>& factors) const {
    double sums[kSumFields];
    const Wanted<float> w = wanted(row);
    store_moments(of_row, SumTable{sums, 1}, 0);
    set_statistics({sums, 1}, 1, w, factors);
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
    set_statistics(moments, rows, w, factors);
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
  // Its spans are shared by the threads. Each has a tile in a frame of its own: of one that calls
  // the next, the stack would hold two.
  __attribute__((noinline)) void long_row(int64_t row, const Executor& executor) const {
    RowFactors<float> storage;
    const Factors<float> factors = storage.table();
    if (a_.adds()) {
      for_each_span(
          a_.cols, executor, [&](int64_t begin, int64_t end) __attribute__((noinline)) {
            HalfTile tile;
            add(row, begin, end, tile);
          });
    }
    const auto span_moments_of = [&](int64_t begin, int64_t end) __attribute__((noinline)) {
      HalfTile tile;
      return span_moments(row, begin, end, tile);
    };
    set_statistics(long_row_moments(executor, span_moments_of), row, factors);
    if (a_.y.p == nullptr) return;
    for_each_span(
        a_.cols, executor, [&](int64_t begin, int64_t end) __attribute__((noinline)) {
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

  const bool all_alike_;
};

}  // namespace

void normalise_half_rows(const RowNorm<float>& a, const WideFlags& wide, const Placement& at,
                         const Executor& executor) {
  HalfRows(a, wide, at).normalise(executor);
}

}  // namespace normkernels::NORMKERNELS_ISA
