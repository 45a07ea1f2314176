// Extents: the smaller and the larger, and how a length is cut into parts.
#ifndef NORMKERNELS_SIMD_EXTENTS_H_
#define NORMKERNELS_SIMD_EXTENTS_H_

#include <stdint.h>

namespace normkernels {
namespace {

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// How many parts of `each` a length n has, the last of which may be shorter.
constexpr int64_t parts_of(int64_t n, int64_t each) { return (n + each - 1) / each; }

// The end of the part that begins at `begin`.
constexpr int64_t part_end(int64_t begin, int64_t each, int64_t n) {
  return begin + smaller(each, n - begin);
}

}  // namespace
}  // namespace normkernels

#endif  // NORMKERNELS_SIMD_EXTENTS_H_
