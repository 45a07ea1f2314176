// Rows normalised: layer norm, and instance norm in NCHW, which differ in gamma and beta alone.
//
// Sums are bound by arithmetic (three operations in float64 per element), writing by memory, so a
// row is written beside the sums of a later one. x comes from memory once and from L1 when it is
// written, if the row fits; y is written once. Measured (512 x 768, AVX-512): 1.3 times as fast as
// one after the other.
#ifndef NORMKERNELS_ROW_FORWARD_H_
#define NORMKERNELS_ROW_FORWARD_H_

#include "row_norm.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// y = affine(xhat) of a row [n]. Reads x once, writes y once; y may be x. Whole vectors begin at
// y's own vector borders. It can run beside the sums of another row as long, and asks then for what
// lies `ahead` elements further on than x, and for y: finish() does what is left, or all of it.
template <class T, class Store, class Gamma, class Beta>
class RowWriter {
 public:
  NORMKERNELS_INLINE RowWriter(Store how, const T* x, int64_t n, const Standard<T>& s,
                               const Gamma& gamma, const Beta& beta, T* y, int64_t ahead)
      : x_(x),
        y_(y),
        n_(n),
        head_(unaligned_head(how, y, n)),
        ahead_(ahead),
        xhat_(s),
        gamma_(gamma),
        beta_(beta) {}

  NORMKERNELS_INLINE RowWriter operator+(int64_t i) const {
    RowWriter further = *this;
    further.head_ += i;
    return further;
  }

  template <int kFirst, int kCount>
  NORMKERNELS_INLINE void run(int64_t i) const {
    constexpr int W = Vec<T>::kLanes;
    constexpr int kLine = 64 / sizeof(T);
    const int64_t at = head_ + i;
    unroll<kCount / kLine>([&](auto k) __attribute__((always_inline)) {
      const int64_t line = at + kFirst + decltype(k)::value * kLine;
      prefetch(x_ + line + ahead_);
      if constexpr (!Store::kMustBeAligned) prefetch_to_write(y_ + line + kLead<T>);
    });
    if (at + kSumLanes > n_) return;
    unroll<kCount / W>([&](auto k) __attribute__((always_inline)) {
      write(at + kFirst + decltype(k)::value * W, Full{});
    });
  }

  // The elements that run() has not written, after a sweep over n of them (beside) or none.
  NORMKERNELS_INLINE void finish(bool beside) const {
    const RowWriter w = *this;
    int64_t i = w.head_;
    if (i > 0) w.write(0, static_cast<int>(i));
    if (beside && n_ >= i) i += (w.n_ - i) / kSumLanes * kSumLanes;
    for_each_vector<T>(
        w.n_ - i, [=](int64_t k, auto lanes)
                      __attribute__((always_inline)) { w.write(i + k, lanes); });
  }

 private:
  template <class Lanes>
  NORMKERNELS_INLINE void write(int64_t i, Lanes lanes) const {
    store(Store{}, y_ + i, affine(xhat_(load(x_ + i, lanes)), gamma_, beta_, i, lanes), lanes);
  }

  const T* x_;
  T* y_;
  int64_t n_, head_, ahead_;
  Standardise<T> xhat_;
  Gamma gamma_;
  Beta beta_;
};

// y [rows, cols] and the statistics, each [rows]; all but x may be null. Rows are those of
// `images`, each of which begins with the first gamma and beta.
template <class T>
struct RowNorm {
  const T* x;
  int64_t images, rows, cols;
  double epsilon;
  T *y, *mean, *sigma, *inv_sigma;
  bool stream;

  template <class BesideRow>
  NORMKERNELS_INLINE void statistics(int64_t first, int64_t count, const Executor& executor,
                                     const BesideRow& beside_row, const Factors<T>& factors) const {
    const auto at = [=](T* p) { return p == nullptr ? p : p + first; };
    row_statistics(x + first * cols, count, cols, epsilon, executor, beside_row, factors, at(mean),
                   at(sigma), at(inv_sigma));
  }

  template <class Store, class Gamma, class Beta>
  NORMKERNELS_INLINE auto writer(Store how, int64_t row, const Standard<T>& s, const Gamma& gamma,
                                 const Beta& beta, int64_t begin, int64_t end) const {
    const int64_t at = row * cols + begin;
    return RowWriter(how, x + at, end - begin, s, gamma.of_row(row).from(begin),
                     beta.of_row(row).from(begin), y + at, rows_together(cols) * cols + kLead<T>);
  }
};

// With fewer than 8 lanes the sums take so many instructions that nothing is gained beside them,
// and this would take twice as long to compile.
template <class T>
constexpr bool kOverlaps = Vec<T>::kLanes >= 8;

// Groups of rows [begin, end): each is written beside the sums of the next.
template <class T, class Store, class Gamma, class Beta>
void normalise_groups(Store how, const RowNorm<T>& a, const Gamma& gamma, const Beta& beta,
                      int64_t together, int64_t begin, int64_t end) {
  RowFactors<T> storage[2];
  int64_t before = 0;  // rows of the group that is to be written
  for (int64_t group = begin; group <= end; ++group) {
    const int64_t first = group * together;
    const Factors<T> own = storage[group % 2].table(), last = storage[(group + 1) % 2].table();
    const auto writer = [&](int64_t i) __attribute__((always_inline)) {
      return a.writer(how, first - together + i, last.standard(i), gamma, beta, 0, a.cols);
    };
    const int64_t left = a.rows - first;
    const int64_t rows = group == end ? 0 : left < together ? left : together;
    const bool overlaps = kOverlaps<T> && rows > 0 && before > 0;
    if (overlaps) {
      if constexpr (kOverlaps<T>) a.statistics(first, rows, kSerial, writer, own);
    } else if (rows > 0) {
      a.statistics(
          first, rows, kSerial, [](int64_t) { return Alone{}; }, own);
    }
    for (int64_t i = 0; i < before; ++i) writer(i).finish(overlaps && i < rows);
    before = a.y == nullptr ? 0 : rows;
  }
}

// Rows of one element, `run` of which share a layout of gamma and beta: var = 0, so xhat is 0 and
// sigma that of epsilon, but NaN for NaN and infinity, which x - x gives.
template <class T, class Gamma, class Beta>
void normalise_singles(const RowNorm<T>& a, const Gamma& gamma, const Beta& beta, int64_t run) {
  const double sigma = sqrt(a.epsilon);
  const Vec<T> sigmas = Vec<T>::all(static_cast<T>(sigma));
  const Vec<T> inv_sigmas = Vec<T>::all(static_cast<T>(1 / sigma));
  const Vec<T> shift = Vec<T>::all(sigma == 0 ? T{0} : T{-0.0});  // signs as longer rows have them
  for (int64_t begin = 0; begin < a.rows; begin += run) {
    const auto g = gamma.of_single(begin);
    const auto b = beta.of_single(begin);
    for_each_vector<T>(
        run, [ =, &a ](int64_t k, auto lanes) __attribute__((always_inline)) {
          const int64_t i = begin + k;
          const Vec<T> x = load(a.x + i, lanes), zero = x - x, mean = x + zero;
          if (a.y != nullptr) store(a.y + i, affine((x - mean) + shift, g, b, i, lanes), lanes);
          if (a.mean != nullptr) store(a.mean + i, mean, lanes);
          if (a.sigma != nullptr) store(a.sigma + i, sigmas + zero, lanes);
          if (a.inv_sigma != nullptr) store(a.inv_sigma + i, inv_sigmas + zero, lanes);
        });
  }
}

template <class T, class Gamma, class Beta>
void normalise_rows(const RowNorm<T>& a, const Gamma& gamma, const Beta& beta,
                    const Executor& executor) {
  if (a.cols == 1) return normalise_singles(a, gamma, beta, a.images == 0 ? 0 : a.rows / a.images);
  const bool stream = a.stream && worth_streaming<T>(a.cols);
  if (!split_rows(a.rows, a.cols, executor)) {
    const int64_t together = rows_together(a.cols);
    for_each_share((a.rows + together - 1) / together, executor, [&](int64_t begin, int64_t end) {
      with_store(stream,
                 [&](auto how) { normalise_groups(how, a, gamma, beta, together, begin, end); });
    });
    return;
  }
  for (int64_t row = 0; row < a.rows; ++row) {
    RowFactors<T> storage;
    a.statistics(
        row, 1, executor, [](int64_t) { return Alone{}; }, storage.table());
    if (a.y == nullptr) continue;
    for_each_span(a.cols, executor, [&](int64_t begin, int64_t end) {
      with_store(stream, [&](auto how) {
        a.writer(how, row, storage.table().standard(0), gamma, beta, begin, end).finish(false);
      });
    });
  }
}

}  // namespace
}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_ROW_FORWARD_H_
