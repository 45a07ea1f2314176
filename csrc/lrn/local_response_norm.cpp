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
// dx once. All between (squares, s, the terms of the sum) is in a few rows in L1. See strips.h for
// the order of work, planes.h for that of float32 images in NCHW.
#include "isa_table.h"
#include "lrn/planes.h"
#include "lrn/tiles.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- The strips of a task -----------------------------------------------------------

// From where on a full buffer is still needed by the windows of a piece and of those that follow.
NORMKERNELS_INLINE int64_t needed_from(const Strips& strips, const Piece& piece) {
  return (piece.offset - strips.border) / kAlignment * kAlignment;
}
NORMKERNELS_INLINE bool has_room(const Strips& strips, const Piece& piece) {
  return piece.offset + strips.piece + aligned(strips.border) + kSpareElements <= strips.capacity;
}

void forward_planes(const LocalResponseNorm& a, const Strips& strips, const Window& w,
                    int64_t first, int64_t last, void* memory) {
  const OrdinaryRange<float> range(a.beta);
  const Steps<float> steps(a, w, strips.pixels);
  Extraordinary extraordinary(first, last);
  PlaneScales scales(a, strips, memory);
  for (Piece piece(strips, first); piece.strip() < last; piece.next_whole_strip()) {
    const int64_t strip_at = piece.at, n = piece.pixels();
    scales.start(strip_at, n);
    bool all_ordinary = true;
    for (int64_t channel = 0; channel < w.c; channel += kPlaneRows) {
      const int64_t at = strip_at + channel * w.stride;
      const int rows = static_cast<int>(smaller(kPlaneRows, w.c - channel));
      for (int row = 0; row < rows; ++row) steps.prefetch_outputs(at + row * w.stride, n);
      scales.next();
      for (int row = 0; row < rows; ++row) {
        all_ordinary &= steps.write_outputs_of(at + row * w.stride, n, scales[row]);
      }
    }
    if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(piece.strip());
  }
  if (!extraordinary.none()) mend_forward(extraordinary, a, strips, w, range, memory);
}

template <class T>
void forward_strips(const LocalResponseNorm& a, const Strips& strips, const Window& w,
                    int64_t first, int64_t last, void* memory) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (strips.planes) return forward_planes(a, strips, w, first, last, memory);
  }
  const OrdinaryRange<T> range(a.beta);
  const int64_t step = strips.pixels, before = w.before * step;
  const int64_t ahead = w.after * step + kAheadElements;
  const Buffers<T> buffers(strips, memory);
  double* squares = buffers.squares;
  const Steps<T> steps(a, w, step);
  Extraordinary extraordinary(first, last);
  Piece filled(strips, first), piece = filled;
  clear(squares, 0, filled.offset);
  for (; piece.strip() < last; piece.next()) {
    for (; filled.strip() < last && filled.offset < piece.end() + ahead; filled.next()) {
      if (!has_room(strips, filled)) {
        const int64_t by = needed_from(strips, piece);
        slide_down(squares, by, filled.offset);
        filled.slide(by);
        piece.slide(by);
      }
      fill_squares(static_cast<const T*>(a.x), filled, squares);
      steps.prefetch_outputs(filled.at, filled.n);
    }
    const bool all_ordinary =
        steps.write_outputs(piece.at, piece.n, squares + piece.offset - before);
    if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(piece.strip());
  }
  if (!extraordinary.none()) mend_forward(extraordinary, a, strips, w, range, memory);
}

void backward_planes(const LocalResponseNorm& a, const Strips& strips, const Window& w,
                     int64_t first, int64_t last, void* memory) {
  const OrdinaryRange<float> range(a.beta);
  const Steps<float> steps(a, w, strips.pixels);
  Extraordinary extraordinary(first, last);
  PlaneScales scales(a, strips, memory);
  const PlaneTerms terms(scales);
  for (Piece piece(strips, first); piece.strip() < last; piece.next_whole_strip()) {
    const int64_t n = piece.pixels();
    const auto at = [&](int64_t channel) { return piece.at + channel * w.stride; };
    scales.start(piece.at, n);
    bool all_ordinary = true;
    for (int64_t weighed = 0, written = 0; written < w.c;) {
      scales.next();
      for (int row = 0; row < kPlaneRows && weighed < w.c; ++row, ++weighed) {
        all_ordinary &= steps.write_terms_of(at(weighed), n, scales[row], terms.direct(weighed),
                                             terms.terms(weighed));
      }
      const int64_t end = weighed < w.c ? weighed - w.before : w.c;
      for (; written < end; ++written) {
        const float* windows[5];
        terms.window(written - w.after, w.c, windows);
        steps.write_gradient(at(written), n, terms.direct(written), windows);
      }
    }
    if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(piece.strip());
  }
  if (!extraordinary.none()) mend_backward(extraordinary, a, strips, w, range, memory);
}

template <class T>
void backward_strips(const LocalResponseNorm& a, const Strips& strips, const Window& w,
                     int64_t first, int64_t last, void* memory) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (strips.planes) return backward_planes(a, strips, w, first, last, memory);
  }
  const OrdinaryRange<T> range(a.beta);
  // Windows of terms are mirrored.
  const int64_t step = strips.pixels, before = w.before * step, after = w.after * step;
  const Buffers<T> buffers(strips, memory);
  double* squares = buffers.squares;
  T *direct = buffers.direct, *terms = buffers.terms;
  const Steps<T> steps(a, w, step);
  Extraordinary extraordinary(first, last);
  Piece squared(strips, first), weighed = squared, piece = squared;
  const auto make_room = [&](const Piece& next) {
    if (has_room(strips, next)) return;
    const int64_t by = needed_from(strips, piece);
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
          steps.write_terms(weighed.at, weighed.n, squares + weighed.offset - before,
                            direct + weighed.offset, terms + weighed.offset);
      if (__builtin_expect(!all_ordinary, 0)) extraordinary.note(weighed.strip());
      if (weighed.ends_strip()) clear(terms, weighed.strip_end(), weighed.next_strip());
    }
    steps.write_gradient(piece.at, piece.n, direct + piece.offset, terms + piece.offset - after);
  }
  if (!extraordinary.none()) mend_backward(extraordinary, a, strips, w, range, memory);
}

// ---- The operators ------------------------------------------------------------------

template <class T>
using StripsFunction = void(const LocalResponseNorm&, const Strips&, const Window&, int64_t first,
                            int64_t last, void* memory);

// f for all strips of dense arrays.
template <class T>
void for_dense_strips(const LocalResponseNorm& a, const Executor& executor, StripsFunction<T>* f) {
  const WorkLayout<T> layout(a.shape, a.channels_last, a.size);
  for_each_span(layout, a.workspace, executor, [&](int64_t first, int64_t last, char* memory) {
    if (!layout.turned) return f(a, layout.strips, layout.window, first, last, memory);
    const int64_t step = layout.block.spatial, end = last * step;
    for_each_turned(a, layout.block, first * step, smaller(end, layout.shape.n),
                    reinterpret_cast<T*>(memory), [&](const LocalResponseNorm& part) {
                      const Strips strips = strips_of(part.shape, a.size, sizeof(T));
                      f(part, strips, window_of(part.shape, a.size), 0, strips.count,
                        memory + layout.block_bytes);
                    });
  });
}

// f for all strips of the arrays.
template <class T>
void for_all_strips(const LocalResponseNorm& a, const Executor& executor, StripsFunction<T>* f) {
  if (grid_of(a.at) == nullptr) return for_dense_strips<T>(a, executor, f);
  for_each_dense<T>(a, executor, [&](const LocalResponseNorm& part, const Executor& threads) {
    for_dense_strips<T>(part, threads, f);
  });
}

template <class T>
void local_response_norm_forward(const LocalResponseNorm& a, const Executor& executor) {
  for_all_strips<T>(a, executor, forward_strips<T>);
}

template <class T>
void local_response_norm_backward(const LocalResponseNorm& a, const Executor& executor) {
  for_all_strips<T>(a, executor, backward_strips<T>);
}

template <class T>
size_t local_response_norm_workspace(const Images& shape, bool channels_last, int64_t size) {
  return static_cast<size_t>(WorkLayout<T>(shape, channels_last, size).bytes());
}

template <class T>
size_t local_response_norm_grid_workspace(const Images& shape, int64_t size) {
  return static_cast<size_t>(TileLayout<T>(shape, size).bytes);
}

// Of a half type, which is always on a grid.
size_t half_workspace(const Images& shape, bool, int64_t size) {
  return local_response_norm_grid_workspace<float>(shape, size);
}

}  // namespace

const LocalResponseNormKernels local_response_norm_half = {
    local_response_norm_forward<float>, local_response_norm_backward<float>, half_workspace,
    local_response_norm_grid_workspace<float>};
const LocalResponseNormKernels local_response_norm_f32 = {
    local_response_norm_forward<float>, local_response_norm_backward<float>,
    local_response_norm_workspace<float>, local_response_norm_grid_workspace<float>};
const LocalResponseNormKernels local_response_norm_f64 = {
    local_response_norm_forward<double>, local_response_norm_backward<double>,
    local_response_norm_workspace<double>, local_response_norm_grid_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
