#include "simd/half_parts.h"

#include "simd/half_pairs.h"
#include "simd/loops.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

template <class S>
NORMKERNELS_INLINE void widen_elements(const void* from, int64_t n, float* to) {
  const S* p = static_cast<const S*>(from);
  for_each_vector<float>(
      n, [=](int64_t i, auto lanes)
             __attribute__((always_inline)) { store(to + i, load_half(p + i, lanes), lanes); });
}
template <class S>
NORMKERNELS_INLINE void narrow_elements(const float* from, int64_t n, void* to) {
  S* p = static_cast<S*>(to);
  for_each_group<float, 2>(
      n, [=](int64_t i, auto vectors, auto lanes) __attribute__((always_inline)) {
        if constexpr (decltype(vectors)::value == 2) {
          const Vec<float> a = load(from + i), b = load(from + i + Vec<float>::kLanes);
          store(&p[i].bits, halves_of<S>(a, b));
        } else {
          store_half(p + i, load(from + i, lanes), lanes);
        }
      });
}

// The rows of a part in a buffer, or, if they may be joined and have no gap between them, all as
// one.
struct Lines {
  int64_t count, length, stride;

  Lines(const Part& part, int64_t row_stride, bool may_join = true)
      : count(part.rows), length(part.cols), stride(row_stride) {
    if (stride == length && may_join) count = 1, length = stride = part.rows * part.cols;
  }
};

uint16_t* halves(const void* p) { return static_cast<uint16_t*>(const_cast<void*>(p)); }

}  // namespace

void widen_line(Storage storage, const void* from, int64_t n, float* to) {
  storage == Storage::kFloat16 ? widen_elements<Float16>(from, n, to)
                               : widen_elements<Bfloat16>(from, n, to);
}
void narrow_line(Storage storage, const float* from, int64_t n, void* to) {
  storage == Storage::kFloat16 ? narrow_elements<Float16>(from, n, to)
                               : narrow_elements<Bfloat16>(from, n, to);
}

void widen_part(const Grid& grid, const Strides& strides, const Part& part, const void* from,
                float* to, int64_t stride) {
  int64_t row_stride;
  if (is_plain(grid, strides, part, &row_stride)) {
    const uint16_t* rows = halves(from) + offset_of(grid, strides, part.row, part.col);
    const Lines lines(part, stride, row_stride == part.cols);
    for (int64_t i = 0; i < lines.count; ++i)
      widen_line(grid.storage, rows + i * row_stride, lines.length, to + i * stride);
    return;
  }
  // In the upper halves of its rows, where no float comes to lie before its half has been read.
  const Lines lines(part, stride);
  uint16_t* const upper = halves(to) + lines.stride;
  const int64_t step = 2 * lines.stride;
  gather(sizeof(uint16_t), grid, strides, part, from, upper, lines.count == 1 ? part.cols : step);
  for (int64_t i = 0; i < lines.count; ++i)
    widen_line(grid.storage, upper + i * step, lines.length, to + i * lines.stride);
}

void narrow_part(const Grid& grid, const Strides& strides, const Part& part, float* from,
                 int64_t stride, void* to) {
  int64_t row_stride;
  if (is_plain(grid, strides, part, &row_stride)) {
    uint16_t* rows = halves(to) + offset_of(grid, strides, part.row, part.col);
    const Lines lines(part, stride, row_stride == part.cols);
    for (int64_t i = 0; i < lines.count; ++i)
      narrow_line(grid.storage, from + i * stride, lines.length, rows + i * row_stride);
    return;
  }
  const Lines lines(part, stride);
  const int64_t step = 2 * lines.stride;
  for (int64_t i = 0; i < lines.count; ++i)
    narrow_line(grid.storage, from + i * lines.stride, lines.length, halves(from) + i * step);
  scatter(sizeof(uint16_t), grid, strides, part, from, lines.count == 1 ? part.cols : step, to);
}

}  // namespace normkernels::NORMKERNELS_ISA
