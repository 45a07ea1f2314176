// Local response norm across channels: y = x s^-beta, s = bias + alpha / size * (sum of x^2 over a
// window of channels).
//
// Backward. With P = s^-beta, y_j = x_j P_j depends on x_k directly, and through s_j if k is in the
// window of j:
//
//   ds_j/dx_k = 2 alpha / size * x_k,   dP_j/ds_j = -beta P_j / s_j
//   dx_k = dy_k P_k - 2 alpha beta / size * x_k * sum over {j: k in W(j)} of dy_j x_j P_j / s_j
//
// The last sum runs over the mirrored window: for an even size it is not the window of k.
//
// Traffic: the forward reads x once and writes y once, the backward reads dy and x once and writes
// dx once. All between (squares, the terms of the sum) is in a few rows in L1, s and P in
// registers. See stream.h for the order of work.
#include "isa_table.h"
#include "lrn/steps.h"
#include "lrn/workspace.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- The strips of a task -----------------------------------------------------------

// From where on a full buffer is still needed by the windows of a piece and of those that follow.
NORMKERNELS_INLINE int64_t needed_from(const Cut& cut, const Piece& piece) {
  return (piece.offset - cut.border) / kAlignment * kAlignment;
}
NORMKERNELS_INLINE bool has_room(const Cut& cut, const Piece& piece) {
  return piece.offset + cut.piece + aligned(cut.border) + kSpareElements <= cut.capacity;
}

template <Power P, class T, class Size>
void forward_strips(Size size, const LocalResponseNorm& a, const Cut& cut, const Window& w,
                    int64_t first, int64_t last, void* memory) {
  const ScaleOf<T> scale_of(a);
  const OrdinaryRange<T> range(a.beta);
  const int64_t step = cut.pixels, before = w.before * step;
  const int64_t ahead = w.after * step + kAheadElements;
  const Buffers<T> buffers(cut, memory);
  double* squares = buffers.squares;
  Extraordinary extraordinary(first, last);
  Piece filled(cut, first), piece = filled;
  clear(squares, 0, filled.offset);
  for (; piece.strip() < last; piece.next()) {
    for (; filled.strip() < last && filled.offset < piece.end() + ahead; filled.next()) {
      if (!has_room(cut, filled)) {
        const int64_t by = needed_from(cut, piece);
        slide_down(squares, by, filled.offset);
        filled.slide(by);
        piece.slide(by);
      }
      fill_squares(static_cast<const T*>(a.x), filled, squares);
    }
    const bool all_ordinary =
        write_forward<P>(a, piece, size, step, scale_of, range, squares + piece.offset - before);
    if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(piece.strip());
  }
  if (!extraordinary.none()) mend_forward(extraordinary, a, cut, w, range, memory);
}

template <Power P, class T, class Size>
void backward_strips(Size size, const LocalResponseNorm& a, const Cut& cut, const Window& w,
                     int64_t first, int64_t last, void* memory) {
  const ScaleOf<T> scale_of(a);
  const OrdinaryRange<T> range(a.beta);
  // Windows of terms are mirrored.
  const int64_t step = cut.pixels, before = w.before * step, after = w.after * step;
  const Buffers<T> buffers(cut, memory);
  double* squares = buffers.squares;
  T *direct = buffers.direct, *terms = buffers.terms;
  Extraordinary extraordinary(first, last);
  Piece squared(cut, first), weighed = squared, piece = squared;
  const auto make_room = [&](const Piece& next) {
    if (has_room(cut, next)) return;
    const int64_t by = needed_from(cut, piece);
    slide_down(squares, by, squared.offset);
    slide_down(direct, by, weighed.offset);
    slide_down(terms, by, weighed.offset);
    squared.slide(by);
    weighed.slide(by);
    piece.slide(by);
  };
  clear(squares, 0, piece.offset);
  clear(terms, 0, piece.offset);
  for (; piece.strip() < last; piece.next()) {
    for (; weighed.strip() < last && weighed.offset < piece.end() + before + kAheadElements;
         weighed.next()) {
      for (; a.scale_in == nullptr && squared.strip() < last &&
             squared.offset < weighed.end() + after + kAheadElements;
           squared.next()) {
        make_room(squared);
        fill_squares(static_cast<const T*>(a.x), squared, squares);
      }
      make_room(weighed);
      const bool all_ordinary =
          fill_terms<P>(a, weighed, size, step, scale_of, range, squares + weighed.offset - before,
                        direct + weighed.offset, terms + weighed.offset);
      if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(weighed.strip());
      if (weighed.ends_strip()) clear(terms, weighed.strip_end(), weighed.next_strip());
    }
    write_gradient(a, piece, size, step, minus_factor<T>(a), direct + piece.offset,
                   terms + piece.offset - after);
  }
  if (!extraordinary.none()) mend_backward(extraordinary, a, cut, w, range, memory);
}

NORMKERNELS_INLINE bool is_empty(const Images& shape) {
  return shape.n == 0 || shape.c == 0 || shape.spatial == 0;
}

// ---- The operators ------------------------------------------------------------------

// f(power, size) with both as constants. Where the power is no root, or the sums are pairs, the
// additions of a window are the smaller part.
template <class T, class F>
NORMKERNELS_INLINE void with_power_and_size(double beta, int64_t size, F&& f) {
  with_power(beta, [&](auto power) {
    constexpr Power P = decltype(power)::value;
    if constexpr (sizeof(T) == sizeof(double) || P == Power::kZero || P == Power::kGeneral) {
      f(power, RuntimeSize{size});
    } else {
      with_size(size, [&](auto constant) { f(power, constant); });
    }
  });
}

// f(arguments, cut, window, first strip, last strip, memory) for all strips of the tensor.
template <class T, class F>
NORMKERNELS_INLINE void for_all_strips(const LocalResponseNorm& a, const Executor& executor,
                                       F&& f) {
  if (is_empty(a.shape)) return;
  const Plan<T> plan(a.shape, a.channels_last, a.size);
  for_each_span(plan, a.workspace, executor, [&](int64_t first, int64_t last, char* memory) {
    if (!plan.turned) return f(a, plan.cut, plan.window, first, last, memory);
    const int64_t step = plan.block.spatial, end = last * step;
    for_each_turned(a, plan.block, first * step, end < plan.shape.n ? end : plan.shape.n,
                    reinterpret_cast<T*>(memory), [&](const LocalResponseNorm& part) {
                      const Cut cut = cut_of(part.shape, a.size, sizeof(T));
                      f(part, cut, window_of(part.shape, a.size), 0, cut.strips,
                        memory + plan.block_bytes);
                    });
  });
}

template <class T>
void local_response_norm_forward(const LocalResponseNorm& a, const Executor& executor) {
  const Window w = window_of(a.shape, a.size);
  with_power_and_size<T>(a.beta, w.size(), [&](auto power, auto size) {
    for_all_strips<T>(a, executor, [=](auto&&... strips) {
      forward_strips<decltype(power)::value, T>(size, strips...);
    });
  });
}

template <class T>
void local_response_norm_backward(const LocalResponseNorm& a, const Executor& executor) {
  const Window w = window_of(a.shape, a.size);
  with_power_and_size<T>(a.beta, w.size(), [&](auto power, auto size) {
    for_all_strips<T>(a, executor, [=](auto&&... strips) {
      backward_strips<decltype(power)::value, T>(size, strips...);
    });
  });
}

template <class T>
size_t local_response_norm_workspace(const Images& shape, bool channels_last, int64_t size) {
  if (is_empty(shape)) return 0;
  return static_cast<size_t>(Plan<T>(shape, channels_last, size).bytes());
}

}  // namespace

const LocalResponseNormKernels local_response_norm_f32 = {local_response_norm_forward<float>,
                                                          local_response_norm_backward<float>,
                                                          local_response_norm_workspace<float>};
const LocalResponseNormKernels local_response_norm_f64 = {local_response_norm_forward<double>,
                                                          local_response_norm_backward<double>,
                                                          local_response_norm_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
