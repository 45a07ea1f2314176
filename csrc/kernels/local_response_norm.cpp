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
// dx once. All between (squares, s, P, the terms of the sum) is in a tile in the cache. See
// lrn_tile.h for what a tile is.
#include "../kernels.h"
#include "../lrn_extraordinary.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- The steps of a tile ------------------------------------------------------------

template <Power P, class T>
void write_forward(const LocalResponseNorm& a, const Tile& tile, const Window& w,
                   const OrdinaryRange<T>& ordinary, const T* scale) {
  const OrdinaryRange<T> range = ordinary;  // in registers, which a store cannot have changed
  const double beta = a.beta;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  T* scale_out = static_cast<T*>(a.scale);
  tile.for_each_run(
      tile.first, tile.first, tile.last,
      [ =, &a, &tile, &w ](int64_t offset, int64_t at, int64_t n) __attribute__((always_inline)) {
        for_each_vector<T, 1>(
            n, [ =, &a, &tile, &w ](int64_t i, auto lanes) __attribute__((always_inline)) {
              const Vec<T> s = load(scale + offset + i, lanes);
              store(y + at + i, times_negative_power<P>(load(x + at + i, lanes), s, beta), lanes);
              if (scale_out != nullptr) store(scale_out + at + i, s, lanes);
              if (__builtin_expect(range.holds(s, lanes), 1)) return;
              for_each_extraordinary(range, s, count_of<T>(lanes), offset + i, tile, tile.first,
                                     [&](int64_t channel, int64_t pixel, int64_t) {
                                       one_forward<T>(a, tile, w, channel, pixel);
                                     });
            });
      });
}

// From s: direct = dy P (over s itself), terms = dy x P / s = dy y / s, for the channels [from,
// to); row 0 of both is `top`. Whether every s was an ordinary number.
template <Power P, class T>
bool fill_terms(const LocalResponseNorm& a, const Tile& tile, const Window& w,
                const OrdinaryRange<T>& ordinary, int64_t top, int64_t from, int64_t to, T* scale,
                T* terms) {
  const OrdinaryRange<T> range = ordinary;
  const double beta = a.beta;
  const T* x = static_cast<const T*>(a.x);
  const T* dy = static_cast<const T*>(a.dy);
  const T* y = static_cast<const T*>(a.y_in);
  bool all_ordinary = true;
  bool* const seen = &all_ordinary;
  tile.for_each_run(
      top, from, to,
      [ =, &a, &tile, &w ](int64_t offset, int64_t at, int64_t n) __attribute__((always_inline)) {
        for_each_vector<T, 1>(
            n, [ =, &a, &tile, &w ](int64_t i, auto lanes) __attribute__((always_inline)) {
              const Vec<T> s = load(scale + offset + i, lanes), g = load(dy + at + i, lanes);
              const Vec<T> power = negative_power<P>(s, beta);
              const Vec<T> output =
                  y == nullptr ? load(x + at + i, lanes) * power : load(y + at + i, lanes);
              store(scale + offset + i, g * power, lanes);
              store(terms + offset + i, g * output / s, lanes);
              if (__builtin_expect(range.holds(s, lanes), 1)) return;
              *seen = false;
              for_each_extraordinary(range, s, count_of<T>(lanes), offset + i, tile, top,
                                     [&](int64_t channel, int64_t pixel, int64_t lane) {
                                       one_backward(a, tile, w, channel, pixel,
                                                    scale + offset + i + lane,
                                                    terms + offset + i + lane);
                                     });
            });
      });
  return all_ordinary;
}

// dx = direct - factor x (window sum of terms), the windows beginning at row 0 of `terms`.
template <class T>
void write_gradient(const LocalResponseNorm& a, const Tile& tile, int64_t size, double factor,
                    const T* direct, const T* terms) {
  const T* x = static_cast<const T*>(a.x);
  T* dx = static_cast<T*>(a.dx);
  const Vec<T> minus = Vec<T>::all(static_cast<T>(-factor));
  const int64_t step = tile.pixels;
  with_size(
      size, [ =, &tile ](auto window) __attribute__((always_inline)) {
        tile.for_each_run(
            tile.first, tile.first,
            tile.last, [=](int64_t offset, int64_t at, int64_t n) __attribute__((always_inline)) {
              for_each_vector<T>(
                  n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
                    const Vec<T> sum = window_sum<Vec<T>>(
                        window, [=](int64_t k) __attribute__((always_inline)) {
                          return load(terms + offset + i + k * step, lanes);
                        });
                    const Vec<T> v = load(x + at + i, lanes) * minus;
                    store(dx + at + i, multiply_add(v, sum, load(direct + offset + i, lanes)),
                          lanes);
                  });
            });
      });
}

// ---- The operators ------------------------------------------------------------------

template <Power P>
struct PowerConstant {
  static constexpr Power value = P;
};

template <class F>
NORMKERNELS_INLINE void with_power(double beta, F&& f) {
  switch (power_for(beta)) {
    case Power::kZero:
      return f(PowerConstant<Power::kZero>{});
    case Power::kHalf:
      return f(PowerConstant<Power::kHalf>{});
    case Power::kThreeQuarters:
      return f(PowerConstant<Power::kThreeQuarters>{});
    case Power::kOne:
      return f(PowerConstant<Power::kOne>{});
    case Power::kGeneral:
      return f(PowerConstant<Power::kGeneral>{});
  }
}

template <class T>
void local_response_norm_forward(const LocalResponseNorm& a, const Executor& executor) {
  const Window w = window_of(a.size, a.shape.c);
  const Tiling tiling = tiling_of(a.shape, a.channels_last, a.size, 1, sizeof(T));
  const ScaleOf<T> scale_of(a);
  const OrdinaryRange<T> range(a.beta);
  with_power(a.beta, [&](auto power) {
    for_each_tile(a.shape, a.channels_last, tiling, executor, [&](const Tile& tile, int64_t slot) {
      TileBuffers<T> buffers(tiling, a.workspace, slot);
      T* scale = buffers.first;
      fill_squares(static_cast<const T*>(a.x), tile, tile.first - w.before, tile.last + w.after,
                   buffers.squares);
      fill_scale(buffers.squares, tile.pixels, w.before + w.after + 1,
                 (tile.last - tile.first) * tile.pixels, scale_of, scale);
      write_forward<decltype(power)::value>(a, tile, w, range, scale);
    });
  });
}

template <class T>
void local_response_norm_backward(const LocalResponseNorm& a, const Executor& executor) {
  const Window w = window_of(a.size, a.shape.c);
  const Tiling tiling = tiling_of(a.shape, a.channels_last, a.size, 2, sizeof(T));
  const ScaleOf<T> scale_of(a);
  const double factor = 2 * (a.alpha / static_cast<double>(a.size)) * a.beta;
  const OrdinaryRange<T> range(a.beta);
  with_power(a.beta, [&](auto power) {
    for_each_tile(a.shape, a.channels_last, tiling, executor, [&](const Tile& tile, int64_t slot) {
      TileBuffers<T> buffers(tiling, a.workspace, slot);
      T* terms = buffers.first;
      T* direct = buffers.second;  // first s
      // The mirrored windows of the tile's channels reach from `top` to `bottom`.
      const int64_t top = tile.first - w.after, bottom = tile.last + w.before, rows = bottom - top;
      const int64_t from = top > 0 ? top : 0, to = bottom < tile.c ? bottom : tile.c;
      if (a.scale_in == nullptr) {
        fill_squares(static_cast<const T*>(a.x), tile, top - w.before, bottom + w.after,
                     buffers.squares);
        fill_scale(buffers.squares, tile.pixels, w.before + w.after + 1, rows * tile.pixels,
                   scale_of, direct);
      } else {
        tile.for_each_run(top, from, to, [&](int64_t offset, int64_t at, int64_t n) {
          memcpy(direct + offset, static_cast<const T*>(a.scale_in) + at,
                 sizeof(T) * static_cast<size_t>(n));
        });
      }
      memset(terms, 0, sizeof(T) * static_cast<size_t>((from - top) * tile.pixels));
      const bool all_ordinary =
          fill_terms<decltype(power)::value>(a, tile, w, range, top, from, to, direct, terms);
      memset(terms + (to - top) * tile.pixels, 0,
             sizeof(T) * static_cast<size_t>((bottom - to) * tile.pixels));
      write_gradient(a, tile, w.before + w.after + 1, factor,
                     direct + (tile.first - top) * tile.pixels, terms);
      if (__builtin_expect(!all_ordinary, 0)) mend_gradient(a, tile, w, range);
    });
  });
}

template <class T>
size_t local_response_norm_workspace(const Images& shape, bool channels_last, int64_t size) {
  const Tiling tiling = tiling_of(shape, channels_last, size, 2, sizeof(T));
  if (tiling.on_stack) return 0;
  return static_cast<size_t>(kMaxSlots * TileBuffers<T>::doubles(tiling)) * sizeof(double);
}

}  // namespace

const LocalResponseNormKernels local_response_norm_f32 = {local_response_norm_forward<float>,
                                                          local_response_norm_backward<float>,
                                                          local_response_norm_workspace<float>};
const LocalResponseNormKernels local_response_norm_f64 = {local_response_norm_forward<double>,
                                                          local_response_norm_backward<double>,
                                                          local_response_norm_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
