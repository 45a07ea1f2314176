// Every operator, forward and backward, as one list that the tests iterate over.
#ifndef NORMKERNELS_TESTS_CALLS_H_
#define NORMKERNELS_TESTS_CALLS_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <normkernels/normkernels.hpp>
#include <string>
#include <vector>

namespace nk = normkernels;

/// As what is computed with.
template <class T>
nk::Computed<T> computed(T element) {
  return static_cast<nk::Computed<T>>(element);
}
template <class T>
bool is_nan(T element) {
  return computed(element) != computed(element);
}

/// `size` elements that begin `offset` elements after a 64-byte boundary, between two zones of NaN.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t size, int offset = 0)
      : size_(static_cast<std::size_t>(size)), storage_(size_ + 2 * zone + 64 / sizeof(T), nan()) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data() + zone);
    begin_ = zone + (64 - address % 64) % 64 / sizeof(T) + static_cast<std::size_t>(offset);
  }
  T* data() { return storage_.data() + begin_; }
  const T* data() const { return storage_.data() + begin_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return storage_[begin_ + i]; }
  const T& operator[](std::size_t i) const { return storage_[begin_ + i]; }

  /// Nothing outside has been written.
  bool intact() const {
    const auto begin = storage_.begin() + static_cast<std::ptrdiff_t>(begin_);
    return std::all_of(storage_.begin(), begin, is_nan<T>) &&
           std::all_of(begin + static_cast<std::ptrdiff_t>(size_), storage_.end(), is_nan<T>);
  }
  bool same_bits(const Guarded& other) const {
    return size_ == other.size_ &&
           (size_ == 0 || std::memcmp(data(), other.data(), size_ * sizeof(T)) == 0);
  }

 private:
  static constexpr std::size_t zone = 64;
  static T nan() { return static_cast<T>(std::numeric_limits<nk::Computed<T>>::quiet_NaN()); }
  std::size_t size_, begin_;
  std::vector<T> storage_;
};

/// Numbers of what is computed with, in an array of as many bytes: statistics, and parameters where
/// `wide` says that they are of float.
template <class T>
Guarded<T> computed_array(std::int64_t size, int offset = 0) {
  constexpr int each = sizeof(nk::Computed<T>) / sizeof(T);
  return Guarded<T>(each * size, each * offset);
}
template <class T>
nk::OutStatistic<T> statistic(Guarded<T>& array) {
  return reinterpret_cast<nk::OutStatistic<T>>(array.data());
}
template <class T>
nk::InStatistic<T> statistic(const Guarded<T>& array) {
  return reinterpret_cast<nk::InStatistic<T>>(array.data());
}
template <class T>
nk::OutParameter<T> parameter(Guarded<T>& array, bool wide) {
  if (wide) return statistic(array);
  return array.data();
}
template <class T>
nk::InParameter<T> parameter(const Guarded<T>& array, bool wide) {
  if (wide) return statistic(array);
  return array.data();
}

/// Which parameters are of float.
struct Wide {
  bool gamma, beta, bias;
};

struct Window {
  std::int64_t size;
  double alpha, beta, bias;
};

/// The inputs of one call. Layer norm sees n rows of c * spatial.
template <class T>
struct Problem {
  Problem(nk::Tensor tensor, Window lrn_window, int element_offset = 0, Wide wide_parameters = {})
      : shape(tensor), window(lrn_window), offset(element_offset), wide(wide_parameters) {
    const std::int64_t features = shape.c * shape.spatial;
    for (Guarded<T>* array : {&x, &dy}) *array = any_numbers(shape.n * features, false);
    gamma = any_numbers(features, wide.gamma);
    const std::uint64_t state = state_;
    beta = any_numbers(features, wide.beta);
    state_ = state;
    bias = any_numbers(features, wide.bias);
  }
  Guarded<T> output(std::int64_t size) const { return Guarded<T>(size, offset); }
  Guarded<T> statistics(std::int64_t size) const { return computed_array<T>(size, offset); }
  Guarded<T> parameters(std::int64_t size, bool is_wide) const {
    return is_wide ? statistics(size) : output(size);
  }
  Guarded<T> tensor() const { return output(shape.n * shape.c * shape.spatial); }
  nk::Rows rows() const { return {shape.n, shape.c * shape.spatial}; }

  nk::Tensor shape;
  Window window;
  int offset;
  Wide wide;
  double epsilon = 1e-5;
  Guarded<T> x{0}, dy{0}, gamma{0}, beta{0}, bias{0};  // the bias is beta once more

 private:
  using Number = nk::Computed<T>;

  Guarded<T> any_numbers(std::int64_t size, bool is_wide) {
    Guarded<T> array = parameters(size, is_wide);
    for (std::size_t i = 0; i < static_cast<std::size_t>(size); ++i) {
      const Number number = next();
      if (is_wide) {
        statistic(array)[i] = number;
      } else {
        array[i] = static_cast<T>(number);
      }
    }
    return array;
  }
  // Uniform in [-0.5, 1.5), the same numbers on every platform: as many random bits as a number
  // has, so that conversion, division and subtraction are exact.
  Number next() {
    constexpr int digits = std::numeric_limits<Number>::digits;
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<Number>(state_ >> (64 - digits)) /
               static_cast<Number>(std::uint64_t{1} << (digits - 1)) -
           Number(0.5);
  }
  std::uint64_t state_ = 1;
};

template <class T>
using Outputs = std::vector<Guarded<T>>;

template <class T>
Outputs<T> layer_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.statistics(p.shape.n), p.statistics(p.shape.n)};
  nk::layer_norm_forward(p.rows(), p.x.data(), o[0].data(), parameter(p.gamma, p.wide.gamma),
                         parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[1]),
                         statistic(o[2]), e);
  return o;
}

template <class T>
Outputs<T> layer_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = layer_norm_forward(p, e);
  const std::int64_t cols = p.rows().cols;
  Outputs<T> o = {p.tensor(), p.parameters(cols, p.wide.gamma), p.parameters(cols, p.wide.beta)};
  nk::layer_norm_backward(p.rows(), p.dy.data(), p.x.data(), statistic(f[1]), statistic(f[2]),
                          o[0].data(), parameter(p.gamma, p.wide.gamma),
                          parameter(o[1], p.wide.gamma), parameter(o[2], p.wide.beta), nullptr, e);
  return o;
}

/// Of every row, and merged with those of another row; as numbers of what is computed with.
template <class T>
Outputs<T> moments(const Problem<T>& p, const normkernels_executor* e) {
  using Moments = std::vector<normkernels_row_moments>;
  const auto rows = static_cast<std::size_t>(p.rows().rows);
  Moments own(rows), merged(rows);
  nk::moments(p.rows(), p.x.data(), own.data(), e);
  const Moments others(own.rbegin(), own.rend());
  nk::merge_moments(p.rows().rows, own.data(), others.data(), merged.data());
  Outputs<T> o;
  for (const Moments& all : {own, merged}) {
    constexpr std::int64_t each = sizeof(normkernels_row_moments) / sizeof(nk::Computed<T>);
    o.push_back(p.statistics(each * p.rows().rows));
    if (rows > 0) std::memcpy(o.back().data(), all.data(), sizeof(all[0]) * rows);
  }
  return o;
}

template <class T>
Outputs<T> rms_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.statistics(p.shape.n)};
  nk::rms_norm_forward(p.rows(), p.x.data(), o[0].data(), parameter(p.gamma, p.wide.gamma),
                       parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[1]), e);
  return o;
}

template <class T, bool saved>
Outputs<T> rms_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = rms_norm_forward(p, e);
  const std::int64_t cols = p.rows().cols;
  Outputs<T> o = {p.tensor(), p.parameters(cols, p.wide.gamma), p.parameters(cols, p.wide.beta)};
  nk::rms_norm_backward(p.rows(), p.dy.data(), p.x.data(), o[0].data(),
                        saved ? statistic(f[1]) : nullptr, parameter(p.gamma, p.wide.gamma),
                        p.epsilon, parameter(o[1], p.wide.gamma), parameter(o[2], p.wide.beta),
                        nullptr, e);
  return o;
}

/// The residual is dy; only layer norm's has a bias.
template <class T>
Outputs<T> add_layer_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.tensor(), p.statistics(p.shape.n), p.statistics(p.shape.n)};
  nk::add_layer_norm_forward(p.rows(), p.x.data(), p.dy.data(), o[0].data(), o[1].data(),
                             parameter(p.bias, p.wide.bias), parameter(p.gamma, p.wide.gamma),
                             parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[2]),
                             statistic(o[3]), e);
  return o;
}

template <class T>
Outputs<T> add_rms_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  Outputs<T> o = {p.tensor(), p.tensor(), p.statistics(p.shape.n)};
  nk::add_rms_norm_forward(p.rows(), p.x.data(), p.dy.data(), o[0].data(), o[1].data(), nullptr,
                           parameter(p.gamma, p.wide.gamma), parameter(p.beta, p.wide.beta),
                           p.epsilon, statistic(o[2]), e);
  return o;
}

template <class T>
Outputs<T> instance_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t planes = p.shape.n * p.shape.c;
  Outputs<T> o = {p.tensor(), p.statistics(planes), p.statistics(planes)};
  nk::instance_norm_forward(p.shape, p.x.data(), o[0].data(), parameter(p.gamma, p.wide.gamma),
                            parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[1]),
                            statistic(o[2]), nullptr, e);
  return o;
}

template <class T, bool saved>
Outputs<T> instance_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = instance_norm_forward(p, e);
  Outputs<T> o = {p.tensor(), p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::instance_norm_backward(
      p.shape, p.dy.data(), p.x.data(), o[0].data(), parameter(p.gamma, p.wide.gamma),
      saved ? statistic(f[1]) : nullptr, saved ? statistic(f[2]) : nullptr, p.epsilon,
      parameter(o[1], p.wide.gamma), parameter(o[2], p.wide.beta), nullptr, e);
  return o;
}

template <class T>
Outputs<T> instance_norm_with_gradient(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t planes = p.shape.n * p.shape.c;
  Outputs<T> o = {p.tensor(),
                  p.statistics(planes),
                  p.statistics(planes),
                  p.tensor(),
                  p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::instance_norm_with_gradient(
      p.shape, p.x.data(), p.dy.data(), o[0].data(), o[3].data(), parameter(p.gamma, p.wide.gamma),
      parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[1]), statistic(o[2]),
      parameter(o[4], p.wide.gamma), parameter(o[5], p.wide.beta), nullptr, e);
  return o;
}

/// Groups of two channels or more, where they can be, and more than one.
template <class T>
std::int64_t groups_of(const Problem<T>& p) {
  for (std::int64_t groups = p.shape.c / 2; groups > 1; --groups) {
    if (p.shape.c % groups == 0) return groups;
  }
  return 1;
}

template <class T>
Outputs<T> group_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const std::int64_t groups = groups_of(p), rows = p.shape.n * groups;
  Outputs<T> o = {p.tensor(), p.statistics(rows), p.statistics(rows)};
  nk::group_norm_forward(p.shape, groups, p.x.data(), o[0].data(), parameter(p.gamma, p.wide.gamma),
                         parameter(p.beta, p.wide.beta), p.epsilon, statistic(o[1]),
                         statistic(o[2]), nullptr, e);
  return o;
}

template <class T, bool saved>
Outputs<T> group_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Outputs<T> f = group_norm_forward(p, e);
  Outputs<T> o = {p.tensor(), p.parameters(p.shape.c, p.wide.gamma),
                  p.parameters(p.shape.c, p.wide.beta)};
  nk::group_norm_backward(p.shape, groups_of(p), p.dy.data(), p.x.data(), o[0].data(),
                          parameter(p.gamma, p.wide.gamma), saved ? statistic(f[1]) : nullptr,
                          saved ? statistic(f[2]) : nullptr, p.epsilon,
                          parameter(o[1], p.wide.gamma), parameter(o[2], p.wide.beta), nullptr, e);
  return o;
}

template <class T>
Outputs<T> local_response_norm_forward(const Problem<T>& p, const normkernels_executor* e) {
  const Window& w = p.window;
  Outputs<T> o = {p.tensor(), p.tensor()};
  nk::local_response_norm_forward(p.shape, p.x.data(), o[0].data(), w.size, w.alpha, w.beta, w.bias,
                                  o[1].data(), nullptr, e);
  return o;
}

template <class T, bool saved>
Outputs<T> local_response_norm_backward(const Problem<T>& p, const normkernels_executor* e) {
  const Window& w = p.window;
  const Outputs<T> f = local_response_norm_forward(p, e);
  Outputs<T> o = {p.tensor()};
  nk::local_response_norm_backward(p.shape, p.dy.data(), p.x.data(), o[0].data(), w.size, w.alpha,
                                   w.beta, w.bias, saved ? f[0].data() : nullptr,
                                   saved ? f[1].data() : nullptr, nullptr, e);
  return o;
}

/// The originals' steps, chained as they were. They take no half types.
template <class T>
Outputs<T> layer_norm_steps(const Problem<T>& p, const normkernels_executor* e) {
  if constexpr (nk::is_half<T>) return {};
  const nk::Rows r = p.rows();
  Outputs<T> o;
  for (int i = 0; i < 9; ++i) o.push_back(p.output(r.rows));
  for (int i = 0; i < 2; ++i) o.push_back(p.output(r.cols));
  for (int i = 0; i < 3; ++i) o.push_back(p.tensor());
  const auto at = [&](int i) { return o[static_cast<std::size_t>(i)].data(); };
  const Outputs<T> f = layer_norm_forward(p, e);
  nk::compute_sigma_and_fused_params(r.rows, p.epsilon, f[1].data(), f[2].data(), at(0), at(1),
                                     at(2), e);
  nk::layer_norm_apply(r, p.x.data(), at(1), at(2), at(11), p.gamma.data(), p.beta.data(), e);
  nk::layer_norm_internal_gradients(r, p.dy.data(), p.x.data(), at(3), at(4), p.gamma.data(),
                                    at(12), e);
  nk::layer_norm_fused_params(r, f[1].data(), at(0), at(3), at(4), at(5), at(6), at(7), at(8), e);
  nk::layer_norm_gamma_beta_backward(r, at(12), p.dy.data(), at(5), at(8), at(9), at(10), e);
  nk::layer_norm_backward_apply(r, p.dy.data(), p.x.data(), at(5), at(6), at(7), at(13),
                                p.gamma.data(), e);
  return o;
}

template <class T>
Outputs<T> instance_norm_steps(const Problem<T>& p, const normkernels_executor* e) {
  if constexpr (nk::is_half<T>) return {};
  const std::int64_t n = p.shape.n, c = p.shape.c;
  Outputs<T> o;
  for (int i = 0; i < 6; ++i) o.push_back(p.output(n * c));
  for (int i = 0; i < 2; ++i) o.push_back(p.output(c));
  for (int i = 0; i < 2; ++i) o.push_back(p.tensor());
  const auto at = [&](int i) { return o[static_cast<std::size_t>(i)].data(); };
  nk::instance_norm_moments(p.shape, p.x.data(), at(0), at(1), p.epsilon, nullptr, e);
  nk::instance_norm_fused_params(n, c, at(0), at(1), p.gamma.data(), p.beta.data(), at(2), at(3),
                                 e);
  nk::instance_norm_apply(p.shape, p.x.data(), at(2), at(3), at(8), e);
  nk::instance_norm_internal_gradients(p.shape, p.dy.data(), p.x.data(), at(4), at(5), e);
  nk::instance_norm_gamma_beta_backward(n, c, at(4), at(5), at(0), at(1), at(6), at(7), e);
  nk::instance_norm_backward_apply(p.shape, p.dy.data(), p.x.data(), at(0), at(1), p.gamma.data(),
                                   at(4), at(5), at(9), e);
  return o;
}

template <class T>
struct Call {
  const char* name;
  Outputs<T> (*run)(const Problem<T>&, const normkernels_executor*);
};

/// The call's outputs are `expected`, and nothing beside them is written.
template <class T>
void check_same_bits(const Call<T>& call, const Problem<T>& problem, const Outputs<T>& expected,
                     const normkernels_executor* executor) {
  const Outputs<T> outputs = call.run(problem, executor);
  REQUIRE(outputs.size() == expected.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    CAPTURE(i);
    CHECK(outputs[i].same_bits(expected[i]));
    CHECK(outputs[i].intact());
  }
}

template <class T>
constexpr Call<T> calls[] = {
    {"layer_norm_forward", layer_norm_forward<T>},
    {"layer_norm_backward", layer_norm_backward<T>},
    {"layer_norm_steps", layer_norm_steps<T>},
    {"moments", moments<T>},
    {"rms_norm_forward", rms_norm_forward<T>},
    {"rms_norm_backward", rms_norm_backward<T, false>},
    {"rms_norm_backward, saved rstd", rms_norm_backward<T, true>},
    {"add_layer_norm_forward", add_layer_norm_forward<T>},
    {"add_rms_norm_forward", add_rms_norm_forward<T>},
    {"instance_norm_forward", instance_norm_forward<T>},
    {"instance_norm_backward", instance_norm_backward<T, false>},
    {"instance_norm_backward, saved statistics", instance_norm_backward<T, true>},
    {"instance_norm_with_gradient", instance_norm_with_gradient<T>},
    {"instance_norm_steps", instance_norm_steps<T>},
    {"group_norm_forward", group_norm_forward<T>},
    {"group_norm_backward", group_norm_backward<T, false>},
    {"group_norm_backward, saved statistics", group_norm_backward<T, true>},
    {"local_response_norm_forward", local_response_norm_forward<T>},
    {"local_response_norm_backward", local_response_norm_backward<T, false>},
    {"local_response_norm_backward, saved y and scale", local_response_norm_backward<T, true>},
};

/// Shapes around the widths of vectors and of blocks, in both layouts.
inline std::vector<nk::Tensor> shapes() {
  std::vector<nk::Tensor> result;
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    for (const std::int64_t spatial : {1, 7, 16, 65, 1023})
      result.push_back({order, 2, 5, spatial});
    for (const std::int64_t c : {1, 3, 17, 64, 67}) result.push_back({order, 3, c, 49});
    result.push_back({order, 37, 3, 9});
  }
  return result;
}

inline std::vector<std::string> supported_isas() {
  std::vector<std::string> result;
  for (const nk::Isa& isa : nk::isas()) {
    if (isa.supported) result.push_back(isa.name);
  }
  return result;
}

/// Where kernels run slowly, one in so many of the longest tests' cases is run, on the best
/// instruction set alone.
#ifdef NORMKERNELS_SLOW_KERNELS
inline constexpr std::size_t kEvery = 7;
#else
inline constexpr std::size_t kEvery = 1;
#endif
inline std::vector<std::string> isas_to_test() {
  std::vector<std::string> result = supported_isas();
  if (kEvery > 1) result.erase(result.begin(), result.end() - 1);
  return result;
}

/// Those whose bits are the same.
inline std::vector<std::string> supported_isas_with_fma() {
  std::vector<std::string> result = supported_isas();
  result.erase(std::remove(result.begin(), result.end(), "baseline"), result.end());
  return result;
}

/// Uses an instruction set for as long as it lives.
struct ForcedIsa {
  explicit ForcedIsa(const std::string& name) { nk::force_isa(name.c_str()); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
  ~ForcedIsa() { normkernels_isa_force(nullptr); }
};

#endif  // NORMKERNELS_TESTS_CALLS_H_
