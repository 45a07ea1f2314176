// Instance and group norm of arrays with strides: the bits of the dense functions on dense copies.
#include <doctest/doctest.h>

#include <string>

#include "views.h"

namespace {

std::int64_t product(const Extents& extents) {
  return std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>());
}

template <class T>
std::vector<Operator<T>> instance_norm(const Extents& shape, nk::Order order) {
  const std::int64_t n = shape[0], c = order == nk::nchw ? shape[1] : shape.back();
  const nk::Tensor tensor = {order, n, c, product(shape) / (n * c)};
  const Guarded<T> scale = any_wide_values<T>(c, 7), bias = any_values<T>(c, 8);
  const auto rank = static_cast<std::int32_t>(shape.size());
  const std::size_t forward_bytes = normkernels_instance_norm_forward_view_workspace_bytes(
      nk::dtype<T>, order, rank, shape.data());
  const std::size_t backward_bytes = normkernels_instance_norm_backward_view_workspace_bytes(
      nk::dtype<T>, order, rank, shape.data());
  const auto forward = [=](const Guarded<T>& x) {
    Outputs<T> o = {Guarded<T>(product(shape)), computed_array<T>(n * c), computed_array<T>(n * c)};
    nk::instance_norm_forward(images(x.data(), tensor), images(o[0].data(), tensor),
                              {.order = order,
                               .scale = statistic(scale),
                               .bias = bias.data(),
                               .mean = statistic(o[1]),
                               .inv_std = statistic(o[2])});
    return o;
  };
  std::vector<Operator<T>> result = {
      {"instance_norm_forward",
       shape,
       all_axes(shape),
       1,
       1,
       {{0}},
       forward_bytes,
       [=](const Outputs<T>& in) { return forward(in[0]); },
       [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         return normkernels_instance_norm_forward_view(
             with<T>(NORMKERNELS_F32_GAMMA), order, rank, shape.data(), views[0].data,
             views[0].strides, scale.data(), bias.data(), 1e-5, views[1].data, views[1].strides,
             others[0].data(), others[1].data(), workspace, e);
       }},
      {"instance_norm_with_gradient",
       shape,
       all_axes(shape),
       2,
       2,
       {{0, 1}},
       backward_bytes,
       [=](const Outputs<T>& in) {
         Outputs<T> o = {Guarded<T>(product(shape)), Guarded<T>(product(shape)),
                         computed_array<T>(n * c),   computed_array<T>(n * c),
                         computed_array<T>(c),       Guarded<T>(c)};
         nk::instance_norm_with_gradient(images(in[0].data(), tensor), images(in[1].data(), tensor),
                                         images(o[0].data(), tensor), images(o[1].data(), tensor),
                                         {.order = order,
                                          .scale = statistic(scale),
                                          .bias = bias.data(),
                                          .mean = statistic(o[2]),
                                          .inv_std = statistic(o[3]),
                                          .dscale = statistic(o[4]),
                                          .dbias = o[5].data()});
         return o;
       },
       [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         return normkernels_instance_norm_with_gradient_view(
             with<T>(NORMKERNELS_F32_GAMMA), order, rank, shape.data(), views[0].data,
             views[0].strides, scale.data(), bias.data(), views[1].data, views[1].strides, 1e-5,
             views[2].data, views[2].strides, others[0].data(), others[1].data(), views[3].data,
             views[3].strides, others[2].data(), others[3].data(), workspace, e);
       }}};
  for (const bool saved : {false, true}) {
    const std::string name = "instance_norm_backward";
    const auto statistics = [=](const Outputs<T>& f, std::size_t k) {
      return saved ? statistic(f[k]) : nullptr;
    };
    result.push_back(
        {saved ? name + ", saved statistics" : name,
         shape,
         all_axes(shape),
         2,
         1,
         {{0}, {1}},
         backward_bytes,
         [=](const Outputs<T>& in) {
           const Outputs<T> f = forward(in[1]);
           Outputs<T> o = {Guarded<T>(product(shape)), computed_array<T>(c), Guarded<T>(c)};
           nk::instance_norm_backward(images(in[0].data(), tensor), images(in[1].data(), tensor),
                                      images(o[0].data(), tensor),
                                      {.order = order,
                                       .scale = statistic(scale),
                                       .mean = statistics(f, 1),
                                       .inv_std = statistics(f, 2),
                                       .dscale = statistic(o[1]),
                                       .dbias = o[2].data()});
           return o;
         },
         [=](const Outputs<T>& in, const std::vector<Strided<T>>& views, Outputs<T>& others,
             void* workspace, const normkernels_executor* e) {
           const Outputs<T> f = forward(in[1]);
           return normkernels_instance_norm_backward_view(
               with<T>(NORMKERNELS_F32_GAMMA), order, rank, shape.data(), views[0].data,
               views[0].strides, views[1].data, views[1].strides, scale.data(), statistics(f, 1),
               statistics(f, 2), 1e-5, views[2].data, views[2].strides, others[0].data(),
               others[1].data(), workspace, e);
         }});
  }
  return result;
}

template <class T>
std::vector<Operator<T>> group_norm(const Extents& shape, nk::Order order, std::int64_t groups) {
  const std::int64_t n = shape[0], c = order == nk::nchw ? shape[1] : shape.back();
  const nk::Tensor tensor = {order, n, c, product(shape) / (n * c)};
  const Guarded<T> scale = any_values<T>(c, 7), bias = any_wide_values<T>(c, 8);
  const auto rank = static_cast<std::int32_t>(shape.size());
  const auto forward = [=](const Guarded<T>& x) {
    Outputs<T> o = {Guarded<T>(product(shape)), computed_array<T>(n * groups),
                    computed_array<T>(n * groups)};
    nk::group_norm_forward(images(x.data(), tensor), images(o[0].data(), tensor), groups,
                           {.order = order,
                            .scale = scale.data(),
                            .bias = statistic(bias),
                            .mean = statistic(o[1]),
                            .inv_std = statistic(o[2])});
    return o;
  };
  return {{"group_norm_forward",
           shape,
           all_axes(shape),
           1,
           1,
           {{0}},
           normkernels_group_norm_forward_view_workspace_bytes(nk::dtype<T>, order, rank,
                                                               shape.data(), groups),
           [=](const Outputs<T>& in) { return forward(in[0]); },
           [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             return normkernels_group_norm_forward_view(
                 with<T>(NORMKERNELS_F32_BETA), order, rank, shape.data(), groups, views[0].data,
                 views[0].strides, scale.data(), bias.data(), 1e-5, views[1].data, views[1].strides,
                 others[0].data(), others[1].data(), workspace, e);
           }},
          {"group_norm_backward",
           shape,
           all_axes(shape),
           2,
           1,
           {{0}, {1}},
           normkernels_group_norm_backward_view_workspace_bytes(nk::dtype<T>, order, rank,
                                                                shape.data(), groups),
           [=](const Outputs<T>& in) {
             Outputs<T> o = {Guarded<T>(product(shape)), Guarded<T>(c), computed_array<T>(c)};
             nk::group_norm_backward(images(in[0].data(), tensor), images(in[1].data(), tensor),
                                     images(o[0].data(), tensor), groups,
                                     {.order = order,
                                      .scale = scale.data(),
                                      .dscale = o[1].data(),
                                      .dbias = statistic(o[2])});
             return o;
           },
           [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             return normkernels_group_norm_backward_view(
                 with<T>(NORMKERNELS_F32_BETA), order, rank, shape.data(), groups, views[0].data,
                 views[0].strides, views[1].data, views[1].strides, scale.data(), nullptr, nullptr,
                 1e-5, views[2].data, views[2].strides, others[0].data(), others[1].data(),
                 workspace, e);
           }}};
}

}  // namespace

TEST_CASE_TEMPLATE("instance norm of planes and pixels of all sizes", T, float, double, nk::float16,
                   nk::bfloat16) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const std::int64_t c : {1, 3, 20, 200}) {
      for (const Extents& positions : {Extents{}, {1}, {5}, {1, 1}, {10, 13}, {50, 100}}) {
        for (const nk::Order order : {nk::nchw, nk::nhwc}) {
          Extents shape = {c * product(positions) > 20000 ? 1 : 3, c};
          shape.insert(order == nk::nchw ? shape.end() : shape.begin() + 1, positions.begin(),
                       positions.end());
          CAPTURE(order);
          check_all(instance_norm<T>(shape, order));
        }
      }
    }
  }
}

// Groups that fit a tile, several of which are one, and longer ones, of planes that are short or
// long themselves.
TEST_CASE_TEMPLATE("group norm of groups of all sizes", T, float, double, nk::float16,
                   nk::bfloat16) {
  struct Case {
    std::int64_t c, groups;
    Extents positions;
  };
  const Case cases[] = {{6, 2, {}},        {6, 3, {1}},       {6, 2, {5}},
                        {12, 4, {10, 13}}, {200, 8, {3, 3}},  {200, 1, {7, 11}},
                        {4, 2, {50, 100}}, {3, 1, {2, 4500}}, {9000, 2, {}}};
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const Case& one : cases) {
      for (const nk::Order order : {nk::nchw, nk::nhwc}) {
        Extents shape = {one.c * product(one.positions) > 20000 ? 1 : 3, one.c};
        shape.insert(order == nk::nchw ? shape.end() : shape.begin() + 1, one.positions.begin(),
                     one.positions.end());
        CAPTURE(order);
        check_all(group_norm<T>(shape, order, one.groups));
      }
    }
  }
}

// Tiles of pixels look for the largest one after the other; of each column it is in another.
TEST_CASE("instance norm of views of numbers whose squares leave the range") {
  const Extents shape = {2, 300, 5};
  for (const Operator<double>& op : instance_norm<double>(shape, nk::nhwc)) {
    Outputs<double> in;
    for (std::size_t k = 0; k < op.inputs; ++k) in.push_back(any_values<double>(3000, k + 1));
    Guarded<double>& x = in[op.name.find("backward") == std::string::npos ? 0 : 1];
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t tile = i / 5 % 300 / 128, channel = i % 5;
      x[i] *= tile == channel % 3 ? 1e200 : 1e170;
    }
    const Outputs<double> expected = op.dense(in);
    for (const Guarded<double>& output : expected)
      CHECK(std::none_of(output.data(), output.data() + output.size(), is_nan<double>));
    for (const Placement& placement : placements(shape, op.inputs, op.outputs, op.in_place, true)) {
      const std::string where = text(placement);
      if (where.find("broadcast") != std::string::npos) continue;
      INFO(op.name << " " << where);
      check<double>(op, placement, in, expected, nullptr);
    }
  }
}
