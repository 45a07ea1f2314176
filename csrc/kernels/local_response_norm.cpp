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
// dx once. All between (squares, s, P, the terms of the sum) is in a tile in L1. See lrn_tile.h for
// what a tile is.
#include "../kernels.h"
#include "../lrn_tile.h"
#include "../power.h"
#include "../row_norm.h"
#include "table.h"

namespace normkernels::NORMKERNELS_ISA {
namespace {

// ---- Values that leave the exponent range -------------------------------------------

// Where s and s^-beta are ordinary numbers the tile computes them. Elsewhere (also where s is 0,
// negative, infinite or NaN) an element is done by itself, with its exponent apart, so that what is
// finite in the end is finite.
template <class T>
struct OrdinaryRange {
  Vec<T> least, most;

  explicit OrdinaryRange(double beta) {
    // s, s^-beta and s^(-beta-1) all stay clear of the ends, and the squares in s of underflow.
    const double power = (sizeof(T) == 4 ? 110 : 900) / (__builtin_fabs(beta) + 1);
    const int exponent =
        static_cast<int>(power < (sizeof(T) == 4 ? 90 : 450) ? power : (sizeof(T) == 4 ? 90 : 450));
    least = Vec<T>::all(power_of_two<T>(-exponent));
    most = Vec<T>::all(power_of_two<T>(exponent));
  }
  NORMKERNELS_INLINE bool holds(Vec<T> s, int lanes) const {
    const Bits<T> inside = less(least, s) & less(s, most);
    for (int i = 0; i < lanes; ++i) {
      if (inside.v[i] == 0) return false;
    }
    return true;
  }
  NORMKERNELS_INLINE bool holds(Vec<T> s, Full) const {
    return !any(Bits<T>{~(less(least, s) & less(s, most)).v});
  }
  NORMKERNELS_INLINE bool holds_at(Vec<T> s, int lane) const {
    return least.v[0] < s.v[lane] && s.v[lane] < most.v[0];
  }
};

// s of one element, from x itself.
template <class T>
Scaled scale_of(const LocalResponseNorm& a, const Tile& tile, const Window& w, int64_t channel,
                int64_t pixel) {
  const T* x = static_cast<const T*>(a.x);
  const int64_t from = channel > w.before ? channel - w.before : 0;
  const int64_t to = channel + w.after < tile.c ? channel + w.after + 1 : tile.c;
  const Scaled weight = Scaled::of(a.alpha / static_cast<double>(a.size)),
               bias = Scaled::of(a.bias);
  const auto term = [&](int64_t k) {
    const Scaled v = Scaled::of(static_cast<double>(x[tile.at(k, pixel)]));
    return v * v * weight;
  };
  Scaled sum = bias;
  for (int64_t k = from; k < to; ++k) sum = sum + term(k);
  return sum;
}

// y = x P; s for the second output.
template <class T>
__attribute__((noinline)) void one_forward(const LocalResponseNorm& a, const Tile& tile,
                                           const Window& w, int64_t channel, int64_t pixel) {
  const int64_t at = tile.at(channel, pixel);
  const Scaled s = scale_of<T>(a, tile, w, channel, pixel);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  static_cast<T*>(a.y)[at] = static_cast<T>((x * negative_power(s, a.beta)).value());
  if (a.scale != nullptr) static_cast<T*>(a.scale)[at] = static_cast<T>(s.value());
}

// dy P and dy x P / s of one element: what it gives to its own dx, and to those of its window.
struct Terms {
  Scaled direct, shared;
};

template <class T>
Terms terms_of(const LocalResponseNorm& a, const Tile& tile, const Window& w, int64_t channel,
               int64_t pixel) {
  const int64_t at = tile.at(channel, pixel);
  const Scaled s = scale_of<T>(a, tile, w, channel, pixel);
  const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
  const Scaled dy = Scaled::of(static_cast<double>(static_cast<const T*>(a.dy)[at]));
  const Scaled direct = dy * negative_power(s, a.beta);
  // Times one over s: an infinite or zero s then acts as it does in the formula.
  return {direct, x * direct * Scaled::normal({1 / s.m, -s.e})};
}

template <class T>
__attribute__((noinline)) void one_backward(const LocalResponseNorm& a, const Tile& tile,
                                            const Window& w, int64_t channel, int64_t pixel,
                                            T* direct, T* shared) {
  const Terms terms = terms_of<T>(a, tile, w, channel, pixel);
  *direct = static_cast<T>(terms.direct.value());
  *shared = static_cast<T>(terms.shared.value());
}

// dx of the tile's elements whose own s is out of the ordinary: there x times the shared terms is
// an ordinary number, but the terms by themselves need not be.
template <class T>
__attribute__((noinline)) void mend_gradient(const LocalResponseNorm& a, const Tile& tile,
                                             const Window& w, const OrdinaryRange<T>& range) {
  const Scaled factor = Scaled::of(-2 * a.beta) * Scaled::of(a.alpha / static_cast<double>(a.size));
  for (int64_t channel = tile.first; channel < tile.last; ++channel) {
    for (int64_t pixel = 0; pixel < tile.pixels; ++pixel) {
      const double s = scale_of<T>(a, tile, w, channel, pixel).value();
      if (range.holds_at(Vec<T>::all(static_cast<T>(s)), 0)) continue;
      Scaled sum = {0, 0};
      const int64_t to = channel + w.before < tile.c ? channel + w.before + 1 : tile.c;
      for (int64_t k = channel > w.after ? channel - w.after : 0; k < to; ++k) {
        sum = sum + terms_of<T>(a, tile, w, k, pixel).shared;
      }
      const int64_t at = tile.at(channel, pixel);
      const Scaled x = Scaled::of(static_cast<double>(static_cast<const T*>(a.x)[at]));
      const Scaled direct = terms_of<T>(a, tile, w, channel, pixel).direct;
      static_cast<T*>(a.dx)[at] = static_cast<T>((direct + factor * x * sum).value());
    }
  }
}

// f(channel, pixel, lane) for the lanes of a vector at a matrix offset whose s is out of the
// ordinary.
template <class T, class F>
NORMKERNELS_INLINE void for_each_extraordinary(const OrdinaryRange<T>& range, Vec<T> s,
                                               int64_t lanes, int64_t offset, const Tile& tile,
                                               int64_t top, F&& f) {
  for (int64_t i = 0; i < lanes; ++i) {
    if (range.holds_at(s, static_cast<int>(i))) continue;
    f(top + (offset + i) / tile.pixels, (offset + i) % tile.pixels, i);
  }
}

template <class T>
NORMKERNELS_INLINE int64_t count_of(Full) {
  return Vec<T>::kLanes;
}
template <class T>
NORMKERNELS_INLINE int64_t count_of(int lanes) {
  return lanes;
}

// ---- The steps of a tile ------------------------------------------------------------

// squares[row 0 = channel `top`] of the channels [top, bottom), zero where there is no such
// channel.
template <class T>
NORMKERNELS_INLINE void fill_squares(const T* x, const Tile& tile, int64_t top, int64_t bottom,
                                     T* squares) {
  const int64_t from = top > 0 ? top : 0, to = bottom < tile.c ? bottom : tile.c;
  memset(squares, 0, sizeof(T) * static_cast<size_t>((from - top) * tile.pixels));
  tile.for_each_run(
      top, from, to, [=](int64_t offset, int64_t at, int64_t n) __attribute__((always_inline)) {
        for_each_vector<T>(
            n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
              const Vec<T> v = load(x + at + i, lanes);
              store(squares + offset + i, v * v, lanes);
            });
      });
  memset(squares + (to - top) * tile.pixels, 0,
         sizeof(T) * static_cast<size_t>((bottom - to) * tile.pixels));
}

// s = bias + weight * window sum for n matrix elements.
template <class T>
void fill_scale(const T* squares, int64_t step, int64_t size, int64_t n, double weight, double bias,
                T* scale) {
  const Vec<T> w = Vec<T>::all(static_cast<T>(weight)), b = Vec<T>::all(static_cast<T>(bias));
  with_size(
      size, [=](auto window) __attribute__((always_inline)) {
        for_each_vector<T>(
            n, [=](int64_t i, auto lanes) __attribute__((always_inline)) {
              store(scale + i, fma(window_sum(squares + i, step, window, lanes), w, b), lanes);
            });
      });
}

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
              store(y + at + i, load(x + at + i, lanes) * negative_power<P>(s, beta), lanes);
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
                    const Vec<T> sum = window_sum(terms + offset + i, step, window, lanes);
                    const Vec<T> v = load(x + at + i, lanes) * minus;
                    store(dx + at + i, fma(v, sum, load(direct + offset + i, lanes)), lanes);
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
  const double weight = a.alpha / static_cast<double>(a.size);
  const OrdinaryRange<T> range(a.beta);
  with_power(a.beta, [&](auto power) {
    for_each_tile(a.shape, a.channels_last, tiling, executor, [&](const Tile& tile, int64_t slot) {
      TileBuffers<T> buffers;
      T* squares = buffers(tiling, a.workspace, slot, 0);
      T* scale = buffers(tiling, a.workspace, slot, 1);
      fill_squares(static_cast<const T*>(a.x), tile, tile.first - w.before, tile.last + w.after,
                   squares);
      fill_scale(squares, tile.pixels, w.before + w.after + 1,
                 (tile.last - tile.first) * tile.pixels, weight, a.bias, scale);
      write_forward<decltype(power)::value>(a, tile, w, range, scale);
    });
  });
}

template <class T>
void local_response_norm_backward(const LocalResponseNorm& a, const Executor& executor) {
  const Window w = window_of(a.size, a.shape.c);
  const Tiling tiling = tiling_of(a.shape, a.channels_last, a.size, 2, sizeof(T));
  const double weight = a.alpha / static_cast<double>(a.size);
  const OrdinaryRange<T> range(a.beta);
  with_power(a.beta, [&](auto power) {
    for_each_tile(a.shape, a.channels_last, tiling, executor, [&](const Tile& tile, int64_t slot) {
      TileBuffers<T> buffers;
      T* terms = buffers(tiling, a.workspace, slot, 0);   // first the squares
      T* direct = buffers(tiling, a.workspace, slot, 1);  // first s
      // The mirrored windows of the tile's channels reach from `top` to `bottom`.
      const int64_t top = tile.first - w.after, bottom = tile.last + w.before, rows = bottom - top;
      const int64_t from = top > 0 ? top : 0, to = bottom < tile.c ? bottom : tile.c;
      if (a.scale_in == nullptr) {
        fill_squares(static_cast<const T*>(a.x), tile, top - w.before, bottom + w.after, terms);
        fill_scale(terms, tile.pixels, w.before + w.after + 1, rows * tile.pixels, weight, a.bias,
                   direct);
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
      write_gradient(a, tile, w.before + w.after + 1, 2 * weight * a.beta,
                     direct + (tile.first - top) * tile.pixels, terms);
      if (__builtin_expect(!all_ordinary, 0)) mend_gradient(a, tile, w, range);
    });
  });
}

template <class T>
size_t local_response_norm_workspace(const Images& shape, bool channels_last, int64_t size) {
  const Tiling tiling = tiling_of(shape, channels_last, size, 2, sizeof(T));
  return tiling.on_stack ? 0 : static_cast<size_t>(kMaxSlots * 2 * tiling.elements()) * sizeof(T);
}

}  // namespace

const LocalResponseNormKernels local_response_norm_f32 = {local_response_norm_forward<float>,
                                                          local_response_norm_backward<float>,
                                                          local_response_norm_workspace<float>};
const LocalResponseNormKernels local_response_norm_f64 = {local_response_norm_forward<double>,
                                                          local_response_norm_backward<double>,
                                                          local_response_norm_workspace<double>};

}  // namespace normkernels::NORMKERNELS_ISA
