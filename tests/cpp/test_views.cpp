// Layer norm and instance norm of arrays with strides: the bits of the dense functions on dense
// copies.
#include <doctest/doctest.h>

#include <string>

#include "views.h"

namespace {

std::int64_t product(const Extents& extents) {
  return std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>());
}

template <class T>
std::vector<Operator<T>> layer_norm(const Extents& shape, std::uint64_t mask) {
  nk::Axes rows_first, axes;
  std::int64_t rows = 1, cols = 1;
  for (const bool normalised : {false, true}) {
    for (const int axis : all_axes(shape)) {
      if ((mask >> axis & 1) != normalised) continue;
      rows_first.push_back(axis);
      if (normalised) axes.push_back(axis);
      (normalised ? cols : rows) *= shape[static_cast<std::size_t>(axis)];
    }
  }
  const nk::Rows matrix = {rows, cols};
  const Guarded<T> gamma = any_values<T>(cols, 7), beta = any_values<T>(cols, 8);
  const auto forward = [=](const Guarded<T>& x) {
    Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(rows), Guarded<T>(rows)};
    nk::layer_norm_forward(matrix, x.data(), o[0].data(), gamma.data(), beta.data(), 1e-5,
                           o[1].data(), o[2].data());
    return o;
  };
  const auto rank = static_cast<std::int32_t>(shape.size());
  return {
      {"layer_norm_forward",
       shape,
       rows_first,
       1,
       1,
       {{0}},
       normkernels_layer_norm_forward_view_workspace_bytes(nk::dtype<T>, rank, shape.data(), mask),
       [=](const Outputs<T>& in) { return forward(in[0]); },
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::layer_norm_forward(shape, axes, views[0], views[1], gamma.data(), beta.data(), 1e-5,
                                others[0].data(), others[1].data(), workspace, e);
       }},
      {"layer_norm_backward",
       shape,
       rows_first,
       2,
       1,
       {{0}, {1}},
       normkernels_layer_norm_backward_view_workspace_bytes(nk::dtype<T>, rank, shape.data(), mask),
       [=](const Outputs<T>& in) {
         const Outputs<T> f = forward(in[1]);
         Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(cols), Guarded<T>(cols)};
         nk::layer_norm_backward(matrix, in[0].data(), in[1].data(), f[1].data(), f[2].data(),
                                 o[0].data(), gamma.data(), o[1].data(), o[2].data());
         return o;
       },
       [=](const Outputs<T>& in, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         const Outputs<T> f = forward(in[1]);
         nk::layer_norm_backward(shape, axes, views[0], views[1], f[1].data(), f[2].data(),
                                 views[2], gamma.data(), others[0].data(), others[1].data(),
                                 workspace, e);
       }}};
}

template <class T>
std::vector<Operator<T>> instance_norm(const Extents& shape, nk::Order order) {
  const std::int64_t n = shape[0], c = order == nk::nchw ? shape[1] : shape.back();
  const nk::Tensor tensor = {order, n, c, product(shape) / (n * c)};
  const Guarded<T> scale = any_values<T>(c, 7), bias = any_values<T>(c, 8);
  const auto rank = static_cast<std::int32_t>(shape.size());
  const std::size_t forward_bytes = normkernels_instance_norm_forward_view_workspace_bytes(
      nk::dtype<T>, order, rank, shape.data());
  const std::size_t backward_bytes = normkernels_instance_norm_backward_view_workspace_bytes(
      nk::dtype<T>, order, rank, shape.data());
  const auto forward = [=](const Guarded<T>& x) {
    Outputs<T> o = {Guarded<T>(product(shape)), Guarded<T>(n * c), Guarded<T>(n * c)};
    nk::instance_norm_forward(tensor, x.data(), o[0].data(), scale.data(), bias.data(), 1e-5,
                              o[1].data(), o[2].data());
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
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::instance_norm_forward(order, shape, views[0], views[1], scale.data(), bias.data(),
                                   1e-5, others[0].data(), others[1].data(), workspace, e);
       }},
      {"instance_norm_with_gradient",
       shape,
       all_axes(shape),
       2,
       2,
       {{0, 1}},
       backward_bytes,
       [=](const Outputs<T>& in) {
         Outputs<T> o = {Guarded<T>(product(shape)),
                         Guarded<T>(product(shape)),
                         Guarded<T>(n * c),
                         Guarded<T>(n * c),
                         Guarded<T>(c),
                         Guarded<T>(c)};
         nk::instance_norm_with_gradient(tensor, in[0].data(), in[1].data(), o[0].data(),
                                         o[1].data(), scale.data(), bias.data(), 1e-5, o[2].data(),
                                         o[3].data(), o[4].data(), o[5].data());
         return o;
       },
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::instance_norm_with_gradient(
             order, shape, views[0], views[1], views[2], views[3], scale.data(), bias.data(), 1e-5,
             others[0].data(), others[1].data(), others[2].data(), others[3].data(), workspace, e);
       }}};
  for (const bool saved : {false, true}) {
    const std::string name = "instance_norm_backward";
    const auto statistics = [=](const Outputs<T>& f, std::size_t k) {
      return saved ? f[k].data() : nullptr;
    };
    result.push_back({saved ? name + ", saved statistics" : name,
                      shape,
                      all_axes(shape),
                      2,
                      1,
                      {{0}, {1}},
                      backward_bytes,
                      [=](const Outputs<T>& in) {
                        const Outputs<T> f = forward(in[1]);
                        Outputs<T> o = {Guarded<T>(product(shape)), Guarded<T>(c), Guarded<T>(c)};
                        nk::instance_norm_backward(tensor, in[0].data(), in[1].data(), o[0].data(),
                                                   scale.data(), statistics(f, 1), statistics(f, 2),
                                                   1e-5, o[1].data(), o[2].data());
                        return o;
                      },
                      [=](const Outputs<T>& in, const std::vector<nk::View<T>>& views,
                          Outputs<T>& others, void* workspace, const normkernels_executor* e) {
                        const Outputs<T> f = forward(in[1]);
                        nk::instance_norm_backward(order, shape, views[0], views[1], views[2],
                                                   scale.data(), statistics(f, 1), statistics(f, 2),
                                                   1e-5, others[0].data(), others[1].data(),
                                                   workspace, e);
                      }});
  }
  return result;
}

// Of slow kernels a part, but some of everything.
template <class T>
void check_all(const std::vector<Operator<T>>& operators) {
  static std::size_t calls = 0;
  if (calls++ % kEvery != 0) return;
  for (const Operator<T>& op : operators) check_placements(op);
}

}  // namespace

TEST_CASE_TEMPLATE("layer norm along any axes", T, float, double) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const Extents& shape :
         {Extents{5}, {3, 1}, {5, 17}, {2, 3, 5}, {4, 1, 3}, {3, 2, 5, 4}, {2, 33, 1, 18}}) {
      for (std::uint64_t axes = 1; axes >> shape.size() == 0; ++axes) {
        CAPTURE(axes);
        check_all(layer_norm<T>(shape, axes));
      }
    }
  }
}

TEST_CASE_TEMPLATE("layer norm of rows and columns of all sizes", T, float, double) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const Extents& shape : {Extents{1, 1},
                                 {600, 1},
                                 {600, 3},
                                 {33, 17},
                                 {1, 768},
                                 {5, 768},
                                 {17, 768},
                                 {600, 768},
                                 {1, 4097},
                                 {5, 4097},
                                 {33, 4097},
                                 {1, 70000},
                                 {5, 70000}}) {
      check_all(layer_norm<T>(shape, 2));
    }
    // Rows along two axes, columns along two, and both between each other.
    check_all(layer_norm<T>({5, 7, 3, 300}, 12));
    check_all(layer_norm<T>({5, 300, 3, 7}, 10));
    check_all(layer_norm<T>({300, 5, 7, 3}, 3));
  }
}

TEST_CASE_TEMPLATE("instance norm of planes and pixels of all sizes", T, float, double) {
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
