// What arrays are made of, and which of it is refused.
#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <normkernels/normkernels.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if __has_include(<span>) && __cplusplus >= 202002L
#include <span>
#endif
#if __has_include(<mdspan>) && __cplusplus >= 202302L
#include <mdspan>
#endif

namespace nk = normkernels;

namespace {

// What std::mdspan has, of a layout with strides.
template <class T, std::size_t axes>
struct Mdspan {
  using element_type = T;
  using rank_type = std::size_t;
  static constexpr rank_type rank() { return axes; }
  static constexpr bool is_always_strided() { return true; }
  T* data_handle() const { return data; }
  int extent(rank_type axis) const { return extents[axis]; }
  int stride(rank_type axis) const { return strides[axis]; }

  T* data;
  int extents[axes + 1], strides[axes + 1];
};

template <class T>
std::vector<std::int64_t> shape_of(const nk::Array<T>& array) {
  return {array.shape(), array.shape() + array.rank()};
}
using Shape = std::vector<std::int64_t>;

// What the first function says that is given it.
template <class X>
std::string refusal(const X& x) {
  static nk::Element<X> elements[1000];
  const nk::Array array(x);
  const nk::Array<nk::Element<X>> y(elements,
                                    {array.shape(), static_cast<std::size_t>(array.rank())});
  return nk::try_layer_norm_forward(x, y).message();
}

}  // namespace

TEST_CASE("containers are of one axis, or of the shape that is said") {
  std::vector<float> v(6);
  const std::vector<float> constant(6);
  static_assert(std::is_same_v<decltype(nk::Array(v)), nk::Array<float>>);
  static_assert(std::is_same_v<decltype(nk::Array(constant)), nk::Array<const float>>);
  static_assert(std::is_same_v<decltype(nk::Array(constant, {2, 3})), nk::Array<const float>>);
  static_assert(std::is_same_v<decltype(nk::Array(v, {2}, {3})), nk::Array<float>>);
  static_assert(std::is_same_v<nk::Element<std::vector<float>>, float>);
  static_assert(!std::is_constructible_v<nk::Array<float>, const std::vector<float>&>);
  static_assert(!std::is_constructible_v<nk::Array<float>, std::vector<double>&>);
  static_assert(!std::is_constructible_v<nk::Array<float>, float*>);
  static_assert(!std::is_constructible_v<nk::Array<float>, nk::Array<const float>>);
  static_assert(std::is_nothrow_constructible_v<nk::Array<float>, std::vector<float>&>);
  static_assert(std::is_trivially_copyable_v<nk::Array<float>>);

  CHECK(nk::Array(v).data() == v.data());
  CHECK(shape_of(nk::Array(v)) == Shape{6});
  CHECK(shape_of(nk::Array(v, {2, 3})) == Shape{2, 3});
  CHECK(nk::Array(v, {2, 3}).is_dense());
  CHECK(nk::Array(v, {2, 3}).strides() == nullptr);
  std::array<nk::bfloat16, 4> a{};
  CHECK(shape_of(nk::Array(a, {4, 1})) == Shape{4, 1});
  CHECK(shape_of(nk::Array(std::as_const(a))) == Shape{4});
#if __cplusplus >= 202002L
  CHECK(shape_of(nk::Array(std::span(v).subspan(2), {2, 2})) == Shape{2, 2});
  static_assert(
      std::is_same_v<decltype(nk::Array(std::span<const float>(v))), nk::Array<const float>>);
#endif
  // Extents are of any integer, and come from any container of them.
  const std::size_t rows = 2;
  const int cols = 3;
  CHECK(shape_of(nk::Array(v, {rows, cols})) == Shape{2, 3});
  CHECK(shape_of(nk::Array(v, std::vector<std::int64_t>{3, 2})) == Shape{3, 2});
  CHECK(shape_of(nk::Array(v, std::array<unsigned, 1>{6})) == Shape{6});
  CHECK(shape_of(nk::Array(v.data(), v.size())) == Shape{6});
}

TEST_CASE("pointers, arrays of C, and no array") {
  double c[2][3][4] = {};
  CHECK(shape_of(nk::Array(c)) == Shape{2, 3, 4});
  CHECK(nk::Array(c).data() == &c[0][0][0]);
  static_assert(std::is_same_v<decltype(nk::Array(std::as_const(c))), nk::Array<const double>>);
  double line[5] = {};
  CHECK(shape_of(nk::Array(line)) == Shape{5});
  CHECK(shape_of(nk::Array(&line[0], {1, 5})) == Shape{1, 5});
  const nk::Array<const double> read = nk::Array(&line[0], {5});
  CHECK(read.data() == line);
  CHECK(nk::Array<float>().is_absent());
  CHECK(nk::Array<float>(nullptr).is_absent());
  CHECK(!read.is_absent());
}

TEST_CASE("strides are kept only where they say something") {
  float c[24] = {};
  CHECK(nk::Array(&c[0], {2, 3, 4}, {12, 4, 1}).is_dense());
  CHECK(nk::Array(&c[0], {2, 1, 4}, {4, -77, 1}).is_dense());
  CHECK(nk::Array(&c[0], {2, 0, 4}, {9, 9, 9}).is_dense());
  const nk::Array transposed(&c[0], {3, 2}, {1, 3});
  CHECK(!transposed.is_dense());
  CHECK(transposed.strides()[1] == 3);
  CHECK(!nk::Array(&c[0], {2, 3}, {0, 1}).is_dense());
  CHECK(!nk::Array(&c[5], {6}, {-1}).is_dense());
  CHECK(refusal(nk::Array(&c[0], {2, 3}, {1})) ==
        "layer_norm_forward: x: has 1 strides, must have one for each axis of its shape");
}

TEST_CASE("mdspan, and what has its interface") {
  float c[12] = {};
  const Mdspan<float, 2> transposed = {c, {3, 4}, {1, 3}};
  static_assert(std::is_same_v<decltype(nk::Array(transposed)), nk::Array<float>>);
  CHECK(shape_of(nk::Array(transposed)) == Shape{3, 4});
  CHECK(nk::Array(transposed).strides()[0] == 1);
  CHECK(nk::Array(Mdspan<float, 2>{c, {3, 4}, {4, 1}}).is_dense());
  CHECK(nk::Array(Mdspan<const float, 0>{c, {}, {}}).rank() == 0);
  for (int i = 0; i < 12; ++i) c[i] = static_cast<float>(i % 5);
  float y[3][4], expected[3][4], turned[3][4];
  for (int i = 0; i < 12; ++i) turned[i % 3][i / 3] = c[i];
  nk::layer_norm_forward(turned, expected);
  nk::layer_norm_forward(transposed, y);
  for (int i = 0; i < 12; ++i) CHECK(y[i / 4][i % 4] == expected[i / 4][i % 4]);
#ifdef __cpp_lib_mdspan
  const std::mdspan<float, std::dextents<int, 2>, std::layout_left> left(c, 3, 4);
  CHECK(shape_of(nk::Array(left)) == Shape{3, 4});
  CHECK(nk::Array(left).strides()[1] == 3);
#endif
}

TEST_CASE("a container must hold its shape") {
  std::vector<float> v(6);
  CHECK(refusal(nk::Array(v, {2, 4})) ==
        "layer_norm_forward: x: holds 6 elements, must hold those of its shape, [2, 4]");
  CHECK(refusal(nk::Array(v, {1, 5})) ==
        "layer_norm_forward: x: holds 6 elements, must hold those of its shape, [1, 5]");
  CHECK(refusal(nk::Array(v, {2, 3}, {3, 1})).empty());
  CHECK(refusal(nk::Array(v, {2, 2}, {4, 1})).empty());
  CHECK(refusal(nk::Array(v, {2, 2}, {5, 1})) ==
        "layer_norm_forward: x: holds 6 elements, must hold all that its strides lead to in its "
        "shape, [2, 2]");
  CHECK(refusal(nk::Array(v, {2, 2}, {-1, 1})).find("must hold all") != std::string::npos);
  const std::int64_t far = std::numeric_limits<std::int64_t>::max();
  CHECK(refusal(nk::Array(v, {2, 2}, {far, far})).find("must hold all") != std::string::npos);
  CHECK(refusal(nk::Array(v, {far, far})).find("must hold those of") != std::string::npos);
  // Of no elements nothing is asked.
  CHECK(refusal(nk::Array(v, {2, 0}, {far, far})).empty());
}

TEST_CASE("a shape has eight axes at most, of extents from 0") {
  float c[1] = {};
  CHECK(refusal(nk::Array(&c[0], {1, 1, 1, 1, 1, 1, 1, 1})).empty());
  CHECK(refusal(nk::Array(&c[0], {1, 1, 1, 1, 1, 1, 1, 1, 1})) ==
        "layer_norm_forward: x: has 9 axes, must have 8 at most");
  CHECK(refusal(nk::Array(&c[0], {-2, 3})) ==
        "layer_norm_forward: x: has the shape [-2, 3], must have no extent below 0");
  const std::int64_t huge = std::int64_t{1} << 40;
  CHECK(refusal(nk::Array(&c[0], {huge, huge})) ==
        "layer_norm_forward: x: has the shape [1099511627776, 1099511627776], must fit in memory");
}

TEST_CASE("lines know their length, or are taken at their word") {
  const std::vector<double> x = {1, 2, 3, 4};
  std::vector<double> y(4);
  nk::LayerNormForward<double> options;
  const auto said = [&] {
    return std::string(
        nk::try_layer_norm_forward(nk::Array(x, {2, 2}), {y, {2, 2}}, options).message());
  };
  double gamma[2] = {1, 2}, three[3] = {};
  const std::vector<double> none;
  options.gamma = gamma;
  CHECK(said().empty());
  options.gamma = &gamma[0];
  CHECK(said().empty());
  options.gamma = {&gamma[0], 2};
  CHECK(said().empty());
  options.gamma = nk::Array(gamma, std::size_t{2});
  CHECK(said().empty());
  options.gamma = three;
  CHECK(said() == "layer_norm_forward: gamma: holds 3 elements, must hold 2");
  options.gamma = none;
  CHECK(said() == "layer_norm_forward: gamma: holds 0 elements, must hold 2");
  options.gamma = nk::Array(&three[0], {2}, {2});
  CHECK(said() == "layer_norm_forward: gamma: has strides, must be in one piece");
  options.gamma = nk::Array(x, {3});
  CHECK(said() == "layer_norm_forward: gamma: holds 4 elements, must hold those of its shape");
  options.gamma = nullptr;
  options.mean = three;
  CHECK(said() == "layer_norm_forward: mean: holds 3 elements, must hold 2");
  static_assert(!std::is_constructible_v<nk::Line<double>, const double*>);
  static_assert(!std::is_constructible_v<nk::Line<double>, float*>);
  static_assert(std::is_constructible_v<nk::Line<const double>, nk::Line<double>>);
  static_assert(std::is_constructible_v<nk::Line<const nk::float16>, const float*>);
  static_assert(!std::is_constructible_v<nk::Line<nk::float16>, const float*>);
  static_assert(!std::is_constructible_v<nk::Line<nk::float16>, nk::bfloat16*>);
}
