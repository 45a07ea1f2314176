// Arrays of the half types: every result is that of float32 for the same numbers, rounded once, bit
// for bit. A NaN is a NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "calls.h"

namespace {

using F16 = nk::float16;
using BF16 = nk::bfloat16;

template <class T>
T half_of(std::size_t bits) {
  T half;
  half.bits = static_cast<std::uint16_t>(bits);
  return half;
}

template <class T>
bool same(T a, T b) {
  return (is_nan(a) && is_nan(b)) || std::memcmp(&a, &b, sizeof(T)) == 0;
}

// ---- The types themselves, from their definitions -----------------------------------------------

template <class T>
constexpr int digits = nk::dtype<T> == NORMKERNELS_F16 ? 10 : 7;
template <class T>
constexpr int least_exponent = nk::dtype<T> == NORMKERNELS_F16 ? -14 : -126;

// The value of finite bits.
template <class T>
double defined(std::uint32_t bits) {
  constexpr std::uint32_t one = 1u << digits<T>;
  const auto fraction = static_cast<double>(bits % one);
  const int exponent = static_cast<int>((bits & 0x7fff) / one);
  const double size =
      exponent == 0 ? std::ldexp(fraction, least_exponent<T> - digits<T>)
                    : std::ldexp(one + fraction, least_exponent<T> - digits<T> + exponent - 1);
  return bits >> 15 ? -size : size;
}

template <class T>
constexpr std::uint32_t infinity = nk::dtype<T> == NORMKERNELS_F16 ? 0x7c00 : 0x7f80;

// Floats around every border between two neighbouring halves, and their bits when rounded.
struct Border {
  float value;
  std::uint16_t bits;
};
template <class T>
std::vector<Border> borders() {
  std::vector<Border> result;
  for (std::uint32_t bits = 0; bits < infinity<T>; ++bits) {
    const double low = defined<T>(bits);
    // Infinity rounds as if it were the next number.
    const double high =
        bits + 1 < infinity<T> ? defined<T>(bits + 1) : 2 * low - defined<T>(bits - 1);
    const auto middle = static_cast<float>((low + high) / 2);
    const auto even = bits + bits % 2;
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const auto add = [&](float value, std::uint32_t to) {
        result.push_back({sign != 0 ? -value : value, static_cast<std::uint16_t>(to | sign)});
      };
      add(static_cast<float>(low), bits);
      // Of bfloat16's denormal numbers the middle is a float, and its neighbours are, too.
      add(std::nextafter(middle, 0.0f), bits);
      add(middle, even);
      add(std::nextafter(middle, HUGE_VALF), bits + 1);
    }
  }
  for (const float large : {std::numeric_limits<float>::max(), HUGE_VALF}) {
    result.push_back({large, static_cast<std::uint16_t>(infinity<T>)});
    result.push_back({-large, static_cast<std::uint16_t>(infinity<T> | 0x8000)});
  }
  return result;
}

// ---- The same call of float ---------------------------------------------------------------------

template <class T>
void widen(const Guarded<T>& from, bool wide, Guarded<float>& to) {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = wide ? statistic(from)[i] : static_cast<float>(from[i]);
}

template <class T>
Problem<float> widened(const Problem<T>& p) {
  Problem<float> result(p.shape, p.window);
  result.epsilon = p.epsilon;
  widen(p.x, false, result.x);
  widen(p.dy, false, result.dy);
  widen(p.gamma, p.wide.gamma, result.gamma);
  widen(p.beta, p.wide.beta, result.beta);
  widen(p.bias, p.wide.bias, result.bias);
  return result;
}

template <class T>
void round_all(Guarded<float>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(static_cast<T>(values[i]));
}

// Whose results are those of float, but where one is read again that has been rounded by then.
template <class T>
Outputs<float> exact(std::size_t call, const Problem<float>& p) {
  const normkernels_executor serial = nk::threads(1);
  const std::string name = calls<T>[call].name;
  Outputs<float> result = calls<float>[call].run(p, &serial);
  if (name.rfind("add_", 0) == 0) {
    round_all<T>(result[0]);
    Problem<float> of_sum = p;
    of_sum.x = result[0];
    const Outputs<float> norm = name == "add_rms_norm_forward"
                                    ? rms_norm_forward(of_sum, &serial)
                                    : layer_norm_forward(of_sum, &serial);
    std::copy(norm.begin(), norm.end(), result.begin() + 1);
  }
  if (name == "local_response_norm_backward, saved y and scale") {
    Outputs<float> f = local_response_norm_forward(p, &serial);
    for (Guarded<float>& saved : f) round_all<T>(saved);
    nk::local_response_norm_backward(p.images(p.dy), p.images(p.x), p.images(result[0]),
                                     p.window.size,
                                     {.order = p.shape.order,
                                      .alpha = p.window.alpha,
                                      .beta = p.window.beta,
                                      .bias = p.window.bias,
                                      .y = p.images(f[0]),
                                      .scale = p.images(f[1]),
                                      .executor = &serial});
  }
  return result;
}

// How many elements of an output, which may be of float, are not these.
template <class T>
std::size_t wrong(const Guarded<T>& output, const Guarded<float>& expected) {
  const bool wide = output.size() != expected.size();
  REQUIRE(output.size() == expected.size() * (wide ? 2 : 1));
  std::size_t count = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    count += wide ? !same(statistic(output)[i], expected[i])
                  : !same(output[i], static_cast<T>(expected[i]));
  return count;
}

std::int64_t most_tasks = 0;

// Every operator, with the next of some executors.
template <class T>
void check_calls(const Problem<T>& p) {
  nk::Executor backwards(
      [](std::int64_t tasks, auto task) {
        most_tasks = std::max(most_tasks, tasks);
        for (std::int64_t i = tasks; i-- > 0;) task(i);
      },
      16);
  const normkernels_executor one = nk::threads(1), four = nk::threads(4);
  const normkernels_executor* const executors[] = {&one, &four, &backwards};
  static std::size_t turn = 0;
  CAPTURE(p.shape.order);
  CAPTURE(p.shape.n);
  CAPTURE(p.shape.c);
  CAPTURE(p.shape.spatial);
  CAPTURE(p.wide.gamma);
  CAPTURE(p.wide.beta);
  CAPTURE(p.wide.bias);
  const Problem<float> wide = widened(p);
  for (std::size_t k = 0; k < std::size(calls<T>); ++k) {
    CAPTURE(std::string(calls<T>[k].name));
    const Outputs<T> outputs = calls<T>[k].run(p, executors[turn++ % std::size(executors)]);
    if (outputs.empty()) continue;
    const Outputs<float> expected = exact<T>(k, wide);
    REQUIRE(outputs.size() == expected.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      CAPTURE(i);
      CHECK(wrong(outputs[i], expected[i]) == 0);
      CHECK(outputs[i].intact());
    }
  }
}

// ---- Their numbers ------------------------------------------------------------------------------

// In turn: ordinary numbers; far from zero; denormal; near the largest; rows of one number;
// any bits; a few infinities.
constexpr std::size_t kinds = 7;

template <class T>
void change(Problem<T>& p, std::size_t kind) {
  const float largest = static_cast<float>(half_of<T>(infinity<T> - 1));
  const float least = static_cast<float>(half_of<T>(1));
  std::mt19937 random(static_cast<unsigned>(kind));
  for (std::size_t i = 0; i < p.x.size(); ++i) {
    const float x = static_cast<float>(p.x[i]);
    if (kind == 1) p.x[i] = static_cast<T>(x + 100);
    if (kind == 2) p.x[i] = static_cast<T>(x * 50 * least);
    if (kind == 3) p.x[i] = static_cast<T>((x + 3) / 4.5f * largest);
    if (kind == 4) p.x[i] = static_cast<T>(3.7f);
    if (kind == 5) p.x[i] = half_of<T>(random());
    if (kind == 5) p.dy[i] = half_of<T>(random());
    if (kind == 6 && i % 501 == 7) p.x[i] = half_of<T>(infinity<T> | (i % 2 << 15));
  }
  if (kind % 2 == 0) p.epsilon = 0;
}

// Around the widths of vectors, the columns that are taken together and the chunks.
std::vector<nk::Tensor> all_shapes() {
  std::vector<nk::Tensor> result = shapes();
  std::int64_t n = 0;
  for (const std::int64_t extent : {1,   2,   3,   15,   16,   17,   31,   32,   33,   64,  100,
                                    511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 5000}) {
    n = (n + 5) % 18;  // rows in no group, in one and in several
    const std::int64_t images = extent > 2000 ? n % 3 + 1 : n + 1;
    result.push_back({nk::nchw, images, 1, extent});
    result.push_back({nk::nhwc, images % 3 + 1, 4, extent});
    result.push_back({nk::nhwc, images % 3 + 1, extent, 3});
    result.push_back({nk::nchw, images % 2 + 1, extent, 2});
  }
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    result.push_back({order, 3, 12, 400});
    result.push_back({order, 300, 6, 3});
    result.push_back({order, 1, 2, 20000});
    // Enough for several tasks.
    result.push_back({order, 40, 12, 400});
    result.push_back({order, 1, 300, 600});
    result.push_back({order, 70, 1, 2500});
  }
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("a half type widens exactly and rounds to the nearest", T, F16, BF16) {
  std::size_t failures = 0;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const T half = half_of<T>(bits);
    const std::uint32_t size = bits & 0x7fff;
    const auto value = static_cast<float>(half);
    if (size > infinity<T>) {
      failures += !std::isnan(value) || std::signbit(value) != (bits >> 15);
      failures += !is_nan(static_cast<T>(value));
    } else {
      const double expected = size < infinity<T> ? defined<T>(bits)
                              : bits >> 15       ? -HUGE_VAL
                                                 : HUGE_VAL;
      failures += value != expected || std::signbit(value) != (bits >> 15);
      failures += static_cast<T>(value).bits != bits;
    }
  }
  CHECK(failures == 0);
  for (const Border& border : borders<T>())
    failures += static_cast<T>(border.value).bits != border.bits;
  CHECK(failures == 0);
}

// A sum of negative zeros and a bias of float is that bias, rounded.
TEST_CASE_TEMPLATE("kernels round to the nearest", T, F16, BF16) {
  const std::vector<Border> all = borders<T>();
  const auto cols = static_cast<std::int64_t>(all.size());
  Guarded<T> zeros(cols), total(cols), y(cols);
  Guarded<float> bias(cols);
  for (std::size_t i = 0; i < all.size(); ++i) {
    zeros[i] = half_of<T>(0x8000);
    bias[i] = all[i].value;
  }
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    const nk::Rows row = {1, cols};
    nk::add_rms_norm_forward(matrix(zeros.data(), row), matrix(zeros.data(), row),
                             matrix(total.data(), row), matrix(y.data(), row),
                             {.bias = bias.data()});
    std::size_t failures = 0;
    for (std::size_t i = 0; i < all.size(); ++i) failures += total[i].bits != all[i].bits;
    CHECK(failures == 0);
    for (const std::uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffc00000u}) {
      const float nan = nk::detail::float_of(bits);
      const nk::Rows one = {1, 1};
      nk::add_rms_norm_forward(matrix(zeros.data(), one), matrix(zeros.data(), one),
                               matrix(total.data(), one), matrix(y.data(), one), {.bias = &nan});
      CHECK(is_nan(total[0]));
      CHECK((total[0].bits >> 15) == (bits >> 31));
    }
  }
}

// Of one row, the gradient of beta is dy; of one column, the mean is x.
TEST_CASE_TEMPLATE("kernels widen exactly", T, F16, BF16) {
  constexpr std::int64_t count = 0x10000;
  Guarded<T> x(count), y(count);
  Guarded<float> mean(count), sigma(count), dbeta(count), exact(count);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = half_of<T>(i);
    exact[i] = static_cast<float>(x[i]);
  }
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    nk::layer_norm_forward(nk::Array(x.data(), {count, 1}), {y.data(), {count, 1}},
                           {.mean = mean.data(), .sigma = sigma.data()});
    sigma[0] = 1;
    mean[0] = 0;
    const nk::Array out(y.data(), {1, count});
    nk::layer_norm_backward(nk::Array(x.data(), {1, count}), out, mean.data(), sigma.data(), out,
                            {.dbeta = dbeta.data()});
    mean[0] = exact[0];
    std::size_t failures = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const bool finite = exact[i] - exact[i] == 0;
      // A sum of negative zeros has the sign of an empty sum.
      failures += finite && mean[i] != exact[i];
      failures += dbeta[i] != exact[i] && !(is_nan(dbeta[i]) && is_nan(exact[i]));
    }
    CHECK(failures == 0);
  }
}

TEST_CASE_TEMPLATE("every number of a half type through every operator", T, F16, BF16) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const nk::Order order : {nk::nchw, nk::nhwc}) {
      // Of neighbours few are NaN, or too large, at a time. The last window is the identity.
      for (const Window& window : {Window{2, 1e-3, 0.75, 1}, {3, 0, 1, 1}}) {
        Problem<T> p({order, 2048, 4, 8}, window, 0, {true, false, false});
        for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = half_of<T>(i);
        check_calls(p);
        if (window.alpha != 0) continue;
        const Outputs<T> o = local_response_norm_forward(p, nullptr);
        std::size_t failures = 0;
        for (std::size_t i = 0; i < p.x.size(); ++i)
          failures += (i & 0x7fff) < infinity<T> - 64 && o[0][i].bits != p.x[i].bits;
        CHECK(failures == 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("half types have the results of float, rounded", T, F16, BF16) {
  constexpr Window windows[] = {{5, 1, 0.75, 1}, {4, 1e-4, 0.6, 2}, {11, 1, 0.5, 1}};
  std::size_t turn = 0;
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const nk::Tensor& shape : all_shapes()) {
      ++turn;
      if (turn % kEvery != 0) continue;
      const std::size_t w = turn * 5 % 8;
      Problem<T> p(shape, windows[turn % std::size(windows)], turn % 2,
                   {(w & 1) != 0, (w & 2) != 0, (w & 4) != 0});
      const std::size_t kind = turn % (2 * kinds);  // every second is ordinary
      CAPTURE(kind);
      if (kind < kinds) change(p, kind);
      check_calls(p);
    }
  }
  CHECK(most_tasks > 1);
}

TEST_CASE_TEMPLATE("with absent parameters half types have the results of ones and zeros", T, F16,
                   BF16) {
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.order);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    for (const bool wide : {false, true}) {
      Problem<T> p(shape, {}, 0, {wide, wide, wide});
      for (Guarded<T>* array : {&p.gamma, &p.beta, &p.bias}) {
        for (std::size_t i = 0; i < static_cast<std::size_t>(p.rows().cols); ++i) {
          const float neutral = array == &p.gamma ? 1.0f : -0.0f;
          wide ? void(statistic(*array)[i] = neutral) : void((*array)[i] = T(neutral));
        }
      }
      Guarded<T> y = p.tensor(), total = p.tensor();
      nk::layer_norm_forward(p.matrix(p.x), p.matrix(y));
      CHECK(y.same_bits(layer_norm_forward(p, nullptr)[0]));
      nk::add_layer_norm_forward(p.matrix(p.x), p.matrix(p.dy), p.matrix(total), p.matrix(y));
      CHECK(total.same_bits(add_layer_norm_forward(p, nullptr)[0]));
      CHECK(y.same_bits(add_layer_norm_forward(p, nullptr)[1]));
      nk::rms_norm_backward(p.matrix(p.dy), p.matrix(p.x), p.matrix(y));
      CHECK(y.same_bits(rms_norm_backward<T, false>(p, nullptr)[0]));
      nk::instance_norm_forward(p.images(p.x), p.images(y), {.order = shape.order});
      CHECK(y.same_bits(instance_norm_forward(p, nullptr)[0]));
      nk::group_norm_backward(p.images(p.dy), p.images(p.x), p.images(y), groups_of(p),
                              {.order = shape.order});
      CHECK(y.same_bits(group_norm_backward<T, false>(p, nullptr)[0]));
    }
  }
}

TEST_CASE("a parameter and its gradient are of one type, and the steps of no half type") {
  F16 x[4] = {}, y[4] = {}, narrow[4] = {};
  float wide[4] = {1, 1, 1, 1};
  const auto backward = [&](nk::Line<const F16> gamma, nk::Line<F16> dgamma) {
    return nk::try_layer_norm_backward(nk::Array(x, {1, 4}), {x, {1, 4}}, &wide[0], &wide[0],
                                       {y, {1, 4}},
                                       {.gamma = gamma, .dgamma = dgamma, .dbeta = narrow});
  };
  for (const nk::Status& status : {backward(wide, narrow), backward(narrow, wide)}) {
    CHECK(status.kind() == NORMKERNELS_BAD_DTYPE);
    CHECK(status.argument() == "dgamma");
  }
  CHECK(backward(nullptr, x).kind() == NORMKERNELS_OVERLAP);
  CHECK(backward(nullptr, x).argument() == "dgamma");
  const F16* const absent = nullptr;
  F16 other[4];
  float another[4];
  CHECK(backward(absent, another).ok());
  CHECK(backward(wide, another).ok());
  CHECK(backward(nullptr, other).ok());
  try {
    nk::layer_norm_apply({1, 4}, x, x, x, y);
    FAIL("no error");
  } catch (const nk::error& e) {
    CHECK(e.kind() == NORMKERNELS_BAD_DTYPE);
  }
}
