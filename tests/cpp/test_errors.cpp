// Both forms of an error: the exception and the value, what they name, and that nothing is written.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <new>
#include <normkernels/normkernels.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace nk = normkernels;

namespace {

const nk::Extents square = {2, 3};
const float x[2][3] = {{1, 2, 3}, {4, 5, 7}};
float y[2][3] = {{-1, -1, -1}, {-1, -1, -1}};

// The two forms of one error are the same.
template <class Try, class Throw>
void refused(const Try& attempt, const Throw& call, normkernels_status kind,
             const std::string& argument, const std::string& message) {
  static_assert(noexcept(attempt()) || true);
  const nk::Status status = attempt();
  CAPTURE(message);
  CHECK(!status.ok());
  CHECK(status.kind() == kind);
  CHECK(status.argument() == argument);
  CHECK(status.message() == message);
  try {
    call();
    FAIL("no error");
  } catch (const nk::error& e) {
    CHECK(e.kind() == kind);
    CHECK(e.argument() == argument);
    CHECK(e.what() == message);
    CHECK(std::string(e.status().message()) == message);
  }
  for (const auto& row : y) {
    for (const float element : row) CHECK(element == -1);
  }
}

void layer(const nk::LayerNormForward<float>& options, normkernels_status kind,
           const std::string& argument, const std::string& rest) {
  refused([&] { return nk::try_layer_norm_forward(x, y, options); },
          [&] { nk::layer_norm_forward(x, y, options); }, kind, argument,
          "layer_norm_forward: " + argument + ": " + rest);
}

}  // namespace

TEST_CASE("success") {
  float z[2][3];
  const nk::Status status = nk::try_layer_norm_forward(x, z);
  CHECK(status.ok());
  CHECK(status.kind() == NORMKERNELS_OK);
  CHECK(status.argument().empty());
  CHECK(std::string(status.message()).empty());
  CHECK(nk::Status().ok());
  static_assert(noexcept(nk::try_layer_norm_forward(x, y)));
  static_assert(noexcept(nk::try_local_response_norm_backward(x, x, y, 5)));
  static_assert(std::is_trivially_copyable_v<nk::Status>);
  static_assert(std::is_base_of_v<std::invalid_argument, nk::error>);
}

TEST_CASE("scalars and axes") {
  nk::LayerNormForward<float> o;
  o.epsilon = -0.5;
  layer(o, NORMKERNELS_BAD_EPSILON, "epsilon", "is -0.5, must be finite and not negative");
  o.epsilon = std::nan("");
  layer(o, NORMKERNELS_BAD_EPSILON, "epsilon", "is nan, must be finite and not negative");
  o.epsilon = 1e-5;
  for (const int axis : {2, -3, 64, 100, -65, std::numeric_limits<int>::min()}) {
    for (const nk::Axes& axes : {nk::Axes{axis}, nk::Axes{0, axis}, nk::Axes::from(axis)}) {
      o.axes = axes;
      layer(o, NORMKERNELS_BAD_AXES, "axes",
            "name " + std::to_string(axis) + ", must lie from -2 to 1");
    }
  }
  o.axes = {};
  layer(o, NORMKERNELS_BAD_AXES, "axes", "name none, must name one at least");
  const float scalar = 1;
  CHECK(nk::try_rms_norm_forward(nk::Array(&scalar, nk::Extents()), {&y[0][0], nk::Extents()})
            .argument() == "axes");
  nk::LocalResponseNormForward<float> lrn;
  refused([&] { return nk::try_local_response_norm_forward(x, y, 0, lrn); },
          [&] { nk::local_response_norm_forward(x, y, 0, lrn); }, NORMKERNELS_BAD_SIZE, "size",
          "local_response_norm_forward: size: is 0, must be at least 1");
  lrn.beta = INFINITY;
  refused([&] { return nk::try_local_response_norm_forward(x, y, 5, lrn); },
          [&] { nk::local_response_norm_forward(x, y, 5, lrn); }, NORMKERNELS_BAD_SCALAR, "beta",
          "local_response_norm_forward: beta: is inf, must be finite");
  for (const std::int64_t groups : {2, 0, -3}) {
    refused([&] { return nk::try_group_norm_forward(x, y, groups); },
            [&] { nk::group_norm_forward(x, y, groups); }, NORMKERNELS_BAD_SIZE, "groups",
            "group_norm_forward: groups: is " + std::to_string(groups) +
                ", must be at least 1 and divide the 3 channels");
  }
  nk::InstanceNormForward<float> images;
  images.order = static_cast<nk::Order>(7);
  refused([&] { return nk::try_instance_norm_forward(x, y, images); },
          [&] { nk::instance_norm_forward(x, y, images); }, NORMKERNELS_BAD_ORDER, "order",
          "instance_norm_forward: order: is 7, must be nchw or nhwc");
}

TEST_CASE("shapes and lengths that do not fit each other") {
  float* const out = &y[0][0];
  const nk::Array turned(out, {3, 2});
  refused([&] { return nk::try_layer_norm_forward(x, turned); },
          [&] { nk::layer_norm_forward(x, turned); }, NORMKERNELS_BAD_EXTENT, "y",
          "layer_norm_forward: y: has the shape [3, 2], must have that of x, [2, 3]");
  refused([&] { return nk::try_layer_norm_forward(x, nullptr); },
          [&] { nk::layer_norm_forward(x, nullptr); }, NORMKERNELS_NULL_POINTER, "y",
          "layer_norm_forward: y: is no array, must be one of [2, 3]");
  refused([&] { return nk::try_add_rms_norm_forward(x, turned, y, y); },
          [&] { nk::add_rms_norm_forward(x, turned, y, y); }, NORMKERNELS_BAD_EXTENT, "residual",
          "add_rms_norm_forward: residual: has the shape [3, 2], must have that of x, [2, 3]");
  refused([&] { return nk::try_rms_norm_backward(x, turned, y); },
          [&] { nk::rms_norm_backward(x, turned, y); }, NORMKERNELS_BAD_EXTENT, "x",
          "rms_norm_backward: x: has the shape [3, 2], must have that of dy, [2, 3]");
  nk::LocalResponseNormForward<float> lrn;
  lrn.scale = turned;
  refused([&] { return nk::try_local_response_norm_forward(x, y, 5, lrn); },
          [&] { nk::local_response_norm_forward(x, y, 5, lrn); }, NORMKERNELS_BAD_EXTENT, "scale",
          "local_response_norm_forward: scale: has the shape [3, 2], must have that of x, [2, 3]");
  const std::vector<float> line(6);
  refused(
      [&] {
        return nk::try_instance_norm_forward(line, {out, 6});
      },
      [&] {
        nk::instance_norm_forward(line, {out, 6});
      },
      NORMKERNELS_BAD_EXTENT, "x",
      "instance_norm_forward: x: has the shape [6], must have axes of images and channels");
  nk::LayerNormForward<float> o;
  o.beta = line;
  layer(o, NORMKERNELS_BAD_EXTENT, "beta", "holds 6 elements, must hold 3");
  // Statistics of groups, of which there are fewer than channels.
  float mean[6];
  nk::GroupNormForward<float> groups;
  groups.mean = mean;
  refused([&] { return nk::try_group_norm_forward(x, y, 1, groups); },
          [&] { nk::group_norm_forward(x, y, 1, groups); }, NORMKERNELS_BAD_EXTENT, "mean",
          "group_norm_forward: mean: holds 6 elements, must hold 2");
}

TEST_CASE("moments of another number of rows") {
  std::vector<nk::RowMoments> two(2), three(3);
  refused([&] { return nk::try_moments(x, three); }, [&] { nk::moments(x, three); },
          NORMKERNELS_BAD_EXTENT, "moments", "moments: moments: holds 3 moments, must hold 2");
  refused([&] { return nk::try_merge_moments(two, three, two); },
          [&] { nk::merge_moments(two, three, two); }, NORMKERNELS_BAD_EXTENT, "b",
          "merge_moments: b: holds 3 moments, must hold 2");
  refused([&] { return nk::try_merge_moments(two, two, three); },
          [&] { nk::merge_moments(two, two, three); }, NORMKERNELS_BAD_EXTENT, "out",
          "merge_moments: out: holds 3 moments, must hold 2");
}

TEST_CASE("what the C functions refuse has the name that it has here") {
  float* const out = &y[0][0];
  const auto kind_of = [](const nk::Status& status) {
    return std::to_string(status.kind()) + " " + std::string(status.argument());
  };
  CHECK(kind_of(nk::try_layer_norm_forward(nk::Array(out, {1, 5}), {out + 1, {1, 5}})) == "800 y");
  CHECK(kind_of(nk::try_layer_norm_forward(nk::Array<float>(nullptr, {2, 3}), y)) == "100 x");
  CHECK(kind_of(nk::try_layer_norm_forward(nk::Array(out, square, {0, 1}),
                                           {out, square, {0, 1}})) == "800 y");
  const std::int64_t far = std::numeric_limits<std::int64_t>::max();
  CHECK(kind_of(nk::try_layer_norm_forward(nk::Array(&x[0][0], square, {far, 1}), y)) ==
        "200 x_strides");
  CHECK(kind_of(nk::try_layer_norm_backward(x, x, nullptr, &x[0][0], y)) == "100 mean");
  const normkernels_executor wrong = {1, 0, nullptr, nullptr};
  nk::LayerNormForward<float> o;
  o.executor = &wrong;
  CHECK(kind_of(nk::try_layer_norm_forward(x, y, o)) == "900 executor");
  CHECK(kind_of(nk::try_set_num_threads(-1)) == "900 num_threads");
  CHECK(kind_of(nk::try_force_isa("nonsense")) == "1000 name");
  CHECK_THROWS_AS(nk::set_num_threads(-1), nk::error);
  CHECK_THROWS_AS(nk::force_isa("nonsense"), std::invalid_argument);
  CHECK(std::string(nk::try_set_num_threads(-1).message())
            .find("set_num_threads: num_threads: is -1, ") == 0);
  const float one = 1;
  float two;
  CHECK_THROWS_WITH_AS(
      nk::layer_norm_apply<float>({-1, 1}, &one, &one, &one, &two),
      "layer_norm_apply: rows: is -1, an extent is negative, or an array would not "
      "fit in memory",
      nk::error);
}

TEST_CASE("a workspace of the caller's that is too small") {
  alignas(64) char memory[64];
  nk::Workspace workspace(memory, sizeof(memory));
  nk::InstanceNormForward<double> o;
  o.workspace = &workspace;
  o.order = nk::nhwc;
  std::vector<double> a(2 * 9 * 5), b(a.size());
  const nk::Status status =
      nk::try_instance_norm_forward(nk::Array(a, {2, 9, 5}), {b, {2, 9, 5}}, o);
  CHECK(status.argument() == "workspace");
  CHECK(std::string(status.message())
            .find("instance_norm_forward: workspace: has 64 bytes, must have ") == 0);
  CHECK(workspace.data() == memory);
  CHECK(!workspace.reserve(65));
}

TEST_CASE("no memory for a workspace is an error of its own") {
  nk::Workspace workspace;
  CHECK(!workspace.reserve(std::numeric_limits<std::size_t>::max() / 2));
  CHECK(workspace.size() == 0);
  CHECK(workspace.reserve(64));
  nk::Status status(NORMKERNELS_NULL_POINTER, "f", "workspace");
  CHECK_THROWS_AS(nk::detail::throw_unless_ok(status << "needs 1 bytes"), std::bad_alloc);
}

TEST_CASE("a status that no function returns is an error that names no argument") {
  static normkernels_status returned;
  const auto function = [](std::int32_t) { return returned; };
  for (const normkernels_status status :
       {42, -5, 12345, NORMKERNELS_NULL_POINTER + 3, NORMKERNELS_NULL_POINTER + 99,
        normkernels_status{NORMKERNELS_UNKNOWN_ISA}}) {
    CAPTURE(status);
    returned = status;
    const nk::Status said =
        nk::detail::Call("function").run<std::int32_t>(+function, "dtype rows", 0);
    CHECK(!said.ok());
    CHECK(said.argument().empty());
    CHECK(said.message() ==
          std::string("function: ") + normkernels_status_string(normkernels_status_kind(status)));
  }
}

TEST_CASE("a message that is too long is cut off, not overrun") {
  nk::Status status(NORMKERNELS_BAD_EXTENT, "function", "x");
  for (int i = 0; i < 100; ++i) status << "0123456789";
  const std::string message = status.message();
  CHECK(message.size() == 255);
  CHECK(message.find("function: x: 0123456789") == 0);
  CHECK(status.argument() == "x");
}
