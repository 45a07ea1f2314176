// The operators as their formulas say, in long double. Every value comes with its scale: the sum of
// the absolute values of the terms that it is made of, which is what rounding errors are
// proportional to. In the gradients max(1, |xhat|) stands for |xhat| there, as docs/numerics.md has
// it: xhat is off by what its mean is off, too.
#ifndef NORMKERNELS_TESTS_REFERENCE_H_
#define NORMKERNELS_TESTS_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "calls.h"

struct Value {
  long double value = 0, scale = 0;
  void operator+=(long double term) { add(term, std::fabs(term)); }
  void add(long double term, long double size) {
    value += term;
    scale += size;
  }
};

using Values = std::vector<std::vector<Value>>;

/// Where element p of plane k of image i lies.
inline std::size_t index(const nk::Tensor& s, std::int64_t i, std::int64_t k, std::int64_t p) {
  return static_cast<std::size_t>(s.order == nk::nchw ? (i * s.c + k) * s.spatial + p
                                                      : (i * s.spatial + p) * s.c + k);
}

/// The norms: groups of elements that are normalised together. RMS norm's are not centred.
template <class T>
struct NormReference {
  struct Element {
    std::size_t at, feature;  // in x, and in gamma and beta
  };

  NormReference(const Problem<T>& problem, std::size_t features, bool is_centred = true)
      : p(problem),
        centred(is_centred),
        y(p.x.size()),
        dx(p.x.size()),
        dgamma(features),
        dbeta(features) {}

  void add(const std::vector<Element>& group) {
    const long double count = static_cast<long double>(group.size());
    Value sum, squares, dy_sum, dy_xhat_sum;
    for (const Element& e : group) sum += p.x[e.at];
    const long double mu = centred ? sum.value / count : 0;
    for (const Element& e : group) squares += (p.x[e.at] - mu) * (p.x[e.at] - mu);
    const long double std = std::sqrt(squares.value / count + static_cast<long double>(p.epsilon));
    mean.push_back({mu, sum.scale / count});
    sigma.push_back({std, std});
    inv_std.push_back({1 / std, 1 / std});
    for (const Element& e : group) {
      const long double xhat = (p.x[e.at] - mu) / std, dy = p.dy[e.at];
      y[e.at] += xhat * p.gamma[e.feature];
      y[e.at] += p.beta[e.feature];
      // xhat is a difference of numbers of order 1, however small it is itself.
      y[e.at].scale = std::max(y[e.at].scale, 1.0L);
      const long double size = std::max(std::fabs(xhat), 1.0L), g = dy * p.gamma[e.feature];
      dgamma[e.feature].add(dy * xhat, std::fabs(dy) * size);
      dbeta[e.feature] += dy;
      dy_sum += g;
      dy_xhat_sum.add(g * xhat, std::fabs(g) * size);
    }
    if (!centred) dy_sum = {};
    for (const Element& e : group) {
      const long double xhat = (p.x[e.at] - mu) / std;
      dx[e.at].value = (static_cast<long double>(p.dy[e.at]) * p.gamma[e.feature] -
                        dy_sum.value / count - xhat * dy_xhat_sum.value / count) /
                       std;
      dx[e.at].scale =
          (std::fabs(static_cast<long double>(p.dy[e.at]) * p.gamma[e.feature]) +
           dy_sum.scale / count + std::max(std::fabs(xhat), 1.0L) * dy_xhat_sum.scale / count) /
          std;
    }
  }

  const Problem<T>& p;
  const bool centred;
  std::vector<Value> y, mean, sigma, inv_std, dx, dgamma, dbeta;
};

template <class T>
NormReference<T> layer_norm_reference(const Problem<T>& p, bool centred = true) {
  const auto cols = static_cast<std::size_t>(p.rows().cols);
  NormReference<T> result(p, cols, centred);
  for (std::size_t row = 0; row < static_cast<std::size_t>(p.rows().rows); ++row) {
    std::vector<typename NormReference<T>::Element> group;
    for (std::size_t j = 0; j < cols; ++j) group.push_back({row * cols + j, j});
    result.add(group);
  }
  return result;
}

template <class T>
NormReference<T> group_norm_reference(const Problem<T>& p, std::int64_t groups) {
  NormReference<T> result(p, static_cast<std::size_t>(p.shape.c));
  const std::int64_t channels = p.shape.c / groups;
  for (std::int64_t i = 0; i < p.shape.n; ++i) {
    for (std::int64_t first = 0; first < p.shape.c; first += channels) {
      std::vector<typename NormReference<T>::Element> group;
      for (std::int64_t k = first; k < first + channels; ++k) {
        for (std::int64_t q = 0; q < p.shape.spatial; ++q) {
          group.push_back({index(p.shape, i, k, q), static_cast<std::size_t>(k)});
        }
      }
      result.add(group);
    }
  }
  return result;
}

template <class T>
struct LocalResponseNormReference {
  explicit LocalResponseNormReference(const Problem<T>& problem)
      : p(problem), y(p.x.size()), scale(p.x.size()), dx(p.x.size()) {
    const nk::Tensor& s = p.shape;
    for (std::int64_t i = 0; i < s.n; ++i) {
      for (std::int64_t q = 0; q < s.spatial; ++q) {
        for (std::int64_t k = 0; k < s.c; ++k) forward(i, k, q);
        for (std::int64_t k = 0; k < s.c; ++k) backward(i, k, q);
      }
    }
  }

  const Problem<T>& p;
  std::vector<Value> y, scale, dx;

 private:
  void forward(std::int64_t i, std::int64_t k, std::int64_t q) {
    const Window& w = p.window;
    const std::size_t at = index(p.shape, i, k, q);
    scale[at] += w.bias;
    for (std::int64_t j = k - (w.size - 1) / 2; j <= k + w.size / 2; ++j) {
      if (j < 0 || j >= p.shape.c) continue;
      const long double x = p.x[index(p.shape, i, j, q)];
      scale[at] += static_cast<long double>(w.alpha) / w.size * x * x;
    }
    y[at] += p.x[at] * std::pow(scale[at].value, -static_cast<long double>(w.beta));
  }

  void backward(std::int64_t i, std::int64_t k, std::int64_t q) {
    const Window& w = p.window;
    const std::size_t at = index(p.shape, i, k, q);
    const long double beta = w.beta;
    dx[at] += p.dy[at] * std::pow(scale[at].value, -beta);
    for (std::int64_t j = k - w.size / 2; j <= k + (w.size - 1) / 2; ++j) {
      if (j < 0 || j >= p.shape.c) continue;
      const std::size_t other = index(p.shape, i, j, q);
      dx[at] += -2 * w.alpha * beta / w.size * p.x[at] * p.dy[other] * y[other].value /
                scale[other].value;
    }
  }
};

#endif  // NORMKERNELS_TESTS_REFERENCE_H_
