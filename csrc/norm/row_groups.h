// The backward of layer norm and RMS norm, a group of rows at a time: dx, and their part of dgamma
// and dbeta.
//
// Rows are taken in groups of kGroup, and of a group a few together, as many as the
// caches hold: first the sums of each row, then one sweep down their columns that writes dx and
// adds up dgamma and dbeta, which wait in memory for the next rows of the group. Groups are
// gathered into blocks (blocks.h).
#ifndef NORMKERNELS_NORM_ROW_GROUPS_H_
#define NORMKERNELS_NORM_ROW_GROUPS_H_

#include "norm/blocks.h"
#include "norm/row_sweep.h"
#include "norm/turned_rows.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int64_t kGroup = kRun;
constexpr int64_t kStrip = 4096;  // columns that one task takes where threads share a group
static_assert(kGroup <= kRowsTogether, "a group's factors are one table");

// Those of blocks in float64, and of the group of each block that is being worked on. Those of an
// only group are dgamma and dbeta themselves, and those of a block of one group its own. Blocks
// that one thread does in index order are added up as they come, in the same place, which stays in
// L1 or L2. Measured (Zen 3, AVX2): 512 x 768 is 1.16 times as fast. The sums of a group begin as
// far before the border of a line as dx, so what is aligned in one is in both, which is worth 4 to
// 7 % where dx begins within a line.
template <class T>
struct GroupWorkspace {
  static constexpr int64_t kLine = kLineBytes / sizeof(T);

  Blocks blocks;
  int64_t cols;
  bool in_order;
  int64_t to_border;  // elements
  void* p;

  NORMKERNELS_INLINE bool has_single_groups() const { return blocks.each == kGroup; }
  NORMKERNELS_INLINE double* total() const { return static_cast<double*>(p); }
  NORMKERNELS_INLINE double* of_block(int64_t block) const {
    return total() + 2 * (in_order ? 1 : block) * cols;
  }
  NORMKERNELS_INLINE ParameterSums<T> of_group(int64_t block) const {
    T* const groups = reinterpret_cast<T*>(static_cast<char*>(p) + bytes_of_blocks());
    T* const sums = groups + 2 * (in_order ? 0 : block) * group_stride() + (kLine - to_border);
    return {sums, sums + group_stride()};
  }
  NORMKERNELS_INLINE int64_t group_stride() const { return (parts_of(cols, kLine) + 1) * kLine; }
  size_t bytes_of_blocks() const {
    return whole_lines(static_cast<size_t>(2 * blocks.count * cols) * sizeof(double));
  }
  size_t bytes() const {
    return bytes_of_blocks() + static_cast<size_t>(2 * blocks.count * group_stride()) * sizeof(T);
  }
};

// A backward's arrays by their types. Saved are mean and sigma, or, of rows that are not centred,
// rstd or nothing.
template <class T>
struct RowsBackward {
  Rows<const T> dy, x;
  Rows<T> dx;
  int64_t rows, cols;
  const T *mean, *sigma, *rstd;
  double epsilon;
  Parameter<T> gamma;
  bool stream;
  bool centred = true;
  T *dgamma, *dbeta;
  GroupWorkspace<T> workspace;

  NORMKERNELS_INLINE bool has_statistics() const { return centred || rstd != nullptr; }
  NORMKERNELS_INLINE bool adds_groups() const {
    return rows > kGroup && (dgamma != nullptr || dbeta != nullptr);
  }
};

// What the saved statistics say of rows [first, first + rows), no more than kRowsTogether.
template <class T>
__attribute__((noinline)) void set_saved_rows(const RowsBackward<T>& a, int64_t first, int64_t rows,
                                              Factors<T> factors, double* rstd) {
  const T* const saved = a.centred ? a.sigma : a.rstd;
  for_each_vector<double, 1>(
      rows, [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        const Vec<double> one = Vec<double>::all(1), zero = Vec<double>::zero();
        const Vec<double> given = load_widened(saved + first + j, lanes);
        const Vec<double> inverse = a.centred ? one / given : given;
        const Vec<double> mean = a.centred ? load_widened(a.mean + first + j, lanes) : zero;
        set_standard<T>(factors, j, one, {mean, zero}, inverse);
        store(rstd + j, inverse);
      });
}

template <class T>
__attribute__((noinline)) void set_row_gradients(SumTable sums, int64_t cols, int64_t rows,
                                                 const Factors<T>& factors, const double* rstd,
                                                 bool centred) {
  set_all_gradients(
      sums, cols, rows, factors,
      [&](int64_t j, auto lanes) __attribute__((always_inline)) {
        return gradient_factor(load(rstd + j, lanes), Vec<double>::all(1));
      },
      nullptr, nullptr, centred);
  using F = Factors<T>;
  for (int64_t i = 0; i < rows; i += Vec<double>::kLanes)
    factors.set(F::kMinusCentre, i, -load_widened(factors[F::kCentre] + i, Full{}));
}

// Their factors; own(wanted): finds statistics that were not saved; sums_of(sums): of
// gradient_sums.
template <class T, class Own, class SumsOf>
NORMKERNELS_INLINE void factors_from(const RowsBackward<T>& a, int64_t first, int64_t rows,
                                     const Factors<T>& factors, const Own& own,
                                     const SumsOf& sums_of) {
  double storage[3 * kRowsTogether], rstd[kRowsTogether];
  const SumTable sums = {storage, kRowsTogether};
  if (a.has_statistics()) {
    set_saved_rows(a, first, rows, factors, rstd);
  } else {
    own(Wanted<T>{a.epsilon, a.centred, nullptr, nullptr, nullptr, rstd});
  }
  sums_of(sums);
  set_row_gradients(sums, a.cols, rows, factors, rstd, a.centred);
}
template <class T>
__attribute__((noinline)) void backward_factors(const RowsBackward<T>& a, int64_t first,
                                                int64_t rows, const Executor& executor,
                                                const Factors<T>& factors) {
  const Rows<const T> x = a.x.from(first);
  factors_from(
      a, first, rows, factors,
      [&](const Wanted<T>& wanted) { row_statistics(x, rows, a.cols, executor, factors, wanted); },
      [&](SumTable sums) {
        gradient_sums<T>({a.dy.from(first), x, a.gamma}, rows, a.cols, factors, executor, sums);
      });
}

// Rows of a group that are worked on together: as many as stay in L2 between the sums and the
// sweep that writes, but some even of long rows, which share the sums of a column. Streamed, lines
// of rows that are not whole lines apart are left half written until the next columns, and a core
// keeps only some of these open. Measured (Zen 3, L2 of 512 KiB, AVX2): 3000 x 1000 takes 2.5
// times as long with 16 rows as with 6; 100 x 40000 1.1 to 1.2 times as long with 1 as with 4.
// Streamed rows of 4 KiB go one by one: a load from the next would wait until the store to the same
// place of a page has left, and 4096 x 1024 takes 3 times as long with 2 or 16 rows.
template <class T>
NORMKERNELS_INLINE int64_t group_rows_together(int64_t cols, int64_t stride, bool stream) {
  constexpr int64_t kBytes = 384 * 1024, kStreamedBytes = 128 * 1024, kLeast = 4, kPage = 4096;
  constexpr auto kSize = static_cast<int64_t>(sizeof(T));
  if (stream && stride * kSize % kPage == 0) return 1;
  const int64_t most = stream && stride * kSize % kLineBytes != 0 ? 6 : kGroup;
  const int64_t rows = (stream ? kStreamedBytes / 2 : kBytes / 3) / kSize / cols;
  return smaller(larger(rows, kLeast), most);
}

// Rows [begin, begin + rows) of a group, of which they are the first ones or not. Threads (if any)
// share first the rows, then the columns.
template <class T>
void rows_backward(const RowsBackward<T>& a, int64_t begin, int64_t rows, bool begins,
                   const ParameterSums<T>& sums, const Executor& executor) {
  RowFactors<T> storage;
  const Factors<T> factors = storage.table();
  const bool split = split_rows(rows, a.cols, executor);
  if (split || executor.threads <= 1) {
    backward_factors(a, begin, rows, executor, factors);
  } else {
    for_each_row(rows, executor, [&](int64_t i) {
      RowFactors<T> own;
      backward_factors(a, begin + i, 1, kSerial, own.table());
      for (int field = 0; field < Factors<T>::kFields; ++field)
        factors[field][i] = own.table()[field][0];
    });
  }
  const GroupRows<T> group = {a.dy.from(begin),
                              a.x.from(begin),
                              a.dx.from(begin),
                              factors,
                              rows,
                              a.cols,
                              a.gamma,
                              sums,
                              begins};
  const bool shares = executor.threads > 1;
  const int64_t strip = shares ? kStrip : a.cols;
  for_each_task(executor, parts_of(a.cols, strip), [&](int64_t task) {
    const int64_t end = part_end(task * strip, strip, a.cols);
    if (a.stream) {
      write_group(Streamed{}, group, task * strip, end);
      if (shares) stream_fence();  // this may be another thread
    } else {
      write_group(Cached{}, group, task * strip, end);
    }
  });
}

// Short rows [begin, end) of a block, as many of them as are whole groups to be turned: the first
// that its sums are of. Returns where the rest begins.
template <class T>
__attribute__((noinline)) int64_t turned_rows_backward(const RowsBackward<T>& a, int64_t begin,
                                                       int64_t end, int64_t block) {
  using Groups = TurnedGroups<T>;
  constexpr int64_t kRows = Groups::kRows;
  if (end - begin < kRows) return begin;
  const int n = static_cast<int>(a.cols);
  alignas(64) T table[Factors<T>::kFields * kRows];
  const Factors<T> factors = {table, kRows};
  double storage[3 * kRows], rstd[kRows], of_gamma[kMostTurned] = {}, of_beta[kMostTurned] = {};
  const SumTable row_sums = {storage, kRows};
  alignas(64) T saved[2][kRows];
  RowsBackward<T> some = a;
  some.mean = saved[0];
  some.sigma = some.rstd = saved[1];
  Groups groups;
  groups.n = n;
  for (int j = 0; j < n; ++j) groups.gamma[j] = *a.gamma.at(j);
  for (; begin + kRows <= end; begin += kRows) {
    for (int64_t i = 0; i < Groups::kVectors; ++i) {
      const int64_t first = begin + Groups::Table::row_of(i);
      groups.dy.read(a.dy.from(first), i, n);
      groups.x.read(a.x.from(first), i, n);
    }
    if (a.has_statistics()) {
      const T* const of_row = a.centred ? a.sigma : a.rstd;
      for (int64_t i = 0; i < Groups::kVectors; ++i) {
        constexpr int W = Groups::W;
        if (a.centred) store(saved[0] + i * W, load_quads<4>(a.mean + begin + 4 * i, kRun));
        store(saved[1] + i * W, load_quads<4>(of_row + begin + 4 * i, kRun));
      }
      set_saved_rows(some, 0, kRows, factors, rstd);
    } else {
      double moments_storage[kSumFields * kRows];
      const SumTable moments = {moments_storage, kRows};
      turned_moments<T>(groups.x, kRows, n, moments, false);
      set_all_statistics<T>(moments, static_cast<double>(n), kRows, nullptr, a.epsilon, factors,
                            nullptr, nullptr, nullptr, rstd);
    }
    groups.sum(factors, row_sums, a.centred);
    set_row_gradients(row_sums, n, kRows, factors, rstd, a.centred);
    groups.write(a.dy.from(begin), a.dx.from(begin), factors, of_gamma, of_beta);
  }
  if (a.adds_groups()) {
    double* const sums = a.workspace.of_block(block);  // without them there may be no workspace
    memcpy(sums, of_gamma, sizeof(double) * static_cast<size_t>(n));
    memcpy(sums + n, of_beta, sizeof(double) * static_cast<size_t>(n));
  }
  return begin;
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_ROW_GROUPS_H_
