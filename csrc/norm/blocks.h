// Sums over rows or images: they are gathered, in float64, into at most kMaxBlocks blocks, and the
// blocks added in index order. How many a block has depends on their number alone.
#ifndef NORMKERNELS_NORM_BLOCKS_H_
#define NORMKERNELS_NORM_BLOCKS_H_

#include "host/parallel.h"
#include "simd/extents.h"
#include "simd/loops.h"

namespace normkernels::NORMKERNELS_ISA {

constexpr int64_t kMaxBlocks = 32;  // bounds the workspace; as many threads can share the work

struct Blocks {
  int64_t each, count;
};

// Of n rows or images, a block being whole groups of `group`.
NORMKERNELS_INLINE Blocks blocks_of(int64_t n, int64_t group = 1) {
  const int64_t each = group * larger(parts_of(parts_of(n, group), kMaxBlocks), 1);
  return {each, parts_of(n, each)};
}

// out[j] = sum over the blocks b of sums[b * stride + j], in index order; out may be null.
template <class T, class S>
void add_blocks(const S* sums, int64_t blocks, int64_t stride, int64_t n, T* out) {
  if (out == nullptr) return;
  for_each_vector<double>(
      n, [=](int64_t j, auto lanes) __attribute__((always_inline)) {
        Vec<double> total = Vec<double>::zero();
        for (int64_t b = 0; b < blocks; ++b)
          total = total + load_widened(sums + b * stride + j, lanes);
        store_rounded(out + j, total, lanes);
      });
}
// Shared by threads, a thread's part being worth 4 microseconds or more.
template <class T, class S>
void add_blocks(const S* sums, int64_t blocks, int64_t stride, int64_t n, T* out,
                const Executor& executor) {
  constexpr int64_t kWorth = 8192;
  if (out == nullptr) return;
  const int64_t each = larger(parts_of(n, executor.threads), kWorth / blocks);
  for_each_task(executor, parts_of(n, each), [&](int64_t task) {
    const int64_t begin = task * each;
    add_blocks(sums + begin, blocks, stride, part_end(begin, each, n) - begin, out + begin);
  });
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_NORM_BLOCKS_H_
