// Layer, RMS, instance and group norm of arrays with strides: the bits of the dense functions on
// dense copies.
#include <doctest/doctest.h>

#include <string>

#include "views.h"

namespace {

std::int64_t product(const Extents& extents) {
  return std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>());
}

// x as rows and columns: the axes that are not normalised, and those that are.
struct Matrix {
  Extents shape;
  std::uint64_t mask;
  nk::Axes rows_first, axes;
  nk::Rows size = {1, 1};
  std::int32_t rank;

  Matrix(const Extents& x_shape, std::uint64_t normalised)
      : shape(x_shape), mask(normalised), rank(static_cast<std::int32_t>(x_shape.size())) {
    for (const bool column : {false, true}) {
      for (const int axis : all_axes(shape)) {
        if ((mask >> axis & 1) != column) continue;
        rows_first.push_back(axis);
        if (column) axes.push_back(axis);
        (column ? size.cols : size.rows) *= shape[static_cast<std::size_t>(axis)];
      }
    }
  }
};

template <class T>
std::vector<Operator<T>> layer_norm(const Matrix& m) {
  const std::int64_t rows = m.size.rows, cols = m.size.cols;
  const Guarded<T> gamma = any_wide_values<T>(cols, 7), beta = any_values<T>(cols, 8);
  const auto forward = [=](const Guarded<T>& x) {
    Outputs<T> o = {Guarded<T>(rows * cols), computed_array<T>(rows), computed_array<T>(rows)};
    nk::layer_norm_forward(m.size, x.data(), o[0].data(), statistic(gamma), beta.data(), 1e-5,
                           statistic(o[1]), statistic(o[2]));
    return o;
  };
  return {{"layer_norm_forward",
           m.shape,
           m.rows_first,
           1,
           1,
           {{0}},
           normkernels_layer_norm_forward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                               m.mask),
           [=](const Outputs<T>& in) { return forward(in[0]); },
           [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             nk::layer_norm_forward(m.shape, m.axes, views[0], views[1], statistic(gamma),
                                    beta.data(), 1e-5, statistic(others[0]), statistic(others[1]),
                                    workspace, e);
           }},
          {"layer_norm_backward",
           m.shape,
           m.rows_first,
           2,
           1,
           {{0}, {1}},
           normkernels_layer_norm_backward_view_workspace_bytes(nk::dtype<T>, m.rank,
                                                                m.shape.data(), m.mask),
           [=](const Outputs<T>& in) {
             const Outputs<T> f = forward(in[1]);
             Outputs<T> o = {Guarded<T>(rows * cols), computed_array<T>(cols), Guarded<T>(cols)};
             nk::layer_norm_backward(m.size, in[0].data(), in[1].data(), statistic(f[1]),
                                     statistic(f[2]), o[0].data(), statistic(gamma),
                                     statistic(o[1]), o[2].data());
             return o;
           },
           [=](const Outputs<T>& in, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             const Outputs<T> f = forward(in[1]);
             nk::layer_norm_backward(m.shape, m.axes, views[0], views[1], statistic(f[1]),
                                     statistic(f[2]), views[2], statistic(gamma),
                                     statistic(others[0]), others[1].data(), workspace, e);
           }}};
}

// Statistics are recomputed in the backward: what is saved enters as in layer norm's.
template <class T>
std::vector<Operator<T>> rms_norm(const Matrix& m) {
  const std::int64_t rows = m.size.rows, cols = m.size.cols;
  const Guarded<T> gamma = any_values<T>(cols, 7), beta = any_wide_values<T>(cols, 8);
  return {{"rms_norm_forward",
           m.shape,
           m.rows_first,
           1,
           1,
           {{0}},
           normkernels_rms_norm_forward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                             m.mask),
           [=](const Outputs<T>& in) {
             Outputs<T> o = {Guarded<T>(rows * cols), computed_array<T>(rows)};
             nk::rms_norm_forward(m.size, in[0].data(), o[0].data(), gamma.data(), statistic(beta),
                                  1e-5, statistic(o[1]));
             return o;
           },
           [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             nk::rms_norm_forward(m.shape, m.axes, views[0], views[1], gamma.data(),
                                  statistic(beta), 1e-5, statistic(others[0]), workspace, e);
           }},
          {"rms_norm_backward",
           m.shape,
           m.rows_first,
           2,
           1,
           {{0}, {1}},
           normkernels_rms_norm_backward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                              m.mask),
           [=](const Outputs<T>& in) {
             Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(cols), computed_array<T>(cols)};
             nk::rms_norm_backward(m.size, in[0].data(), in[1].data(), o[0].data(), nullptr,
                                   gamma.data(), 1e-5, o[1].data(), statistic(o[2]));
             return o;
           },
           [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             nk::rms_norm_backward(m.shape, m.axes, views[0], views[1], views[2], nullptr,
                                   gamma.data(), 1e-5, others[0].data(), statistic(others[1]),
                                   workspace, e);
           }}};
}

template <class T>
std::vector<Operator<T>> add_norms(const Matrix& m) {
  const std::int64_t rows = m.size.rows, cols = m.size.cols;
  const Guarded<T> gamma = any_values<T>(cols, 7), beta = any_values<T>(cols, 8);
  const Guarded<T> bias = any_wide_values<T>(cols, 8);
  const std::vector<InPlace> in_place = {{0, 1}, {1, 0}};
  return {
      {"add_layer_norm_forward", m.shape, m.rows_first, 2, 2, in_place,
       normkernels_add_layer_norm_forward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                               m.mask),
       [=](const Outputs<T>& in) {
         Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(rows * cols), computed_array<T>(rows),
                         computed_array<T>(rows)};
         nk::add_layer_norm_forward(m.size, in[0].data(), in[1].data(), o[0].data(), o[1].data(),
                                    statistic(bias), gamma.data(), beta.data(), 1e-5,
                                    statistic(o[2]), statistic(o[3]));
         return o;
       },
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::add_layer_norm_forward(m.shape, m.axes, views[0], views[1], views[2], views[3],
                                    statistic(bias), gamma.data(), beta.data(), 1e-5,
                                    statistic(others[0]), statistic(others[1]), workspace, e);
       }},
      {"add_rms_norm_forward", m.shape, m.rows_first, 2, 2, in_place,
       normkernels_add_rms_norm_forward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                             m.mask),
       [=](const Outputs<T>& in) {
         Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(rows * cols), computed_array<T>(rows)};
         nk::add_rms_norm_forward(m.size, in[0].data(), in[1].data(), o[0].data(), o[1].data(),
                                  nullptr, gamma.data(), beta.data(), 1e-5, statistic(o[2]));
         return o;
       },
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::add_rms_norm_forward(m.shape, m.axes, views[0], views[1], views[2], views[3], nullptr,
                                  gamma.data(), beta.data(), 1e-5, statistic(others[0]), workspace,
                                  e);
       }}};
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
    nk::instance_norm_forward(tensor, x.data(), o[0].data(), statistic(scale), bias.data(), 1e-5,
                              statistic(o[1]), statistic(o[2]));
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
         nk::instance_norm_forward(order, shape, views[0], views[1], statistic(scale), bias.data(),
                                   1e-5, statistic(others[0]), statistic(others[1]), workspace, e);
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
         nk::instance_norm_with_gradient(
             tensor, in[0].data(), in[1].data(), o[0].data(), o[1].data(), statistic(scale),
             bias.data(), 1e-5, statistic(o[2]), statistic(o[3]), statistic(o[4]), o[5].data());
         return o;
       },
       [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         nk::instance_norm_with_gradient(order, shape, views[0], views[1], views[2], views[3],
                                         statistic(scale), bias.data(), 1e-5, statistic(others[0]),
                                         statistic(others[1]), statistic(others[2]),
                                         others[3].data(), workspace, e);
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
           nk::instance_norm_backward(tensor, in[0].data(), in[1].data(), o[0].data(),
                                      statistic(scale), statistics(f, 1), statistics(f, 2), 1e-5,
                                      statistic(o[1]), o[2].data());
           return o;
         },
         [=](const Outputs<T>& in, const std::vector<nk::View<T>>& views, Outputs<T>& others,
             void* workspace, const normkernels_executor* e) {
           const Outputs<T> f = forward(in[1]);
           nk::instance_norm_backward(order, shape, views[0], views[1], views[2], statistic(scale),
                                      statistics(f, 1), statistics(f, 2), 1e-5,
                                      statistic(others[0]), others[1].data(), workspace, e);
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
    nk::group_norm_forward(tensor, groups, x.data(), o[0].data(), scale.data(), statistic(bias),
                           1e-5, statistic(o[1]), statistic(o[2]));
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
           [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             nk::group_norm_forward(order, shape, groups, views[0], views[1], scale.data(),
                                    statistic(bias), 1e-5, statistic(others[0]),
                                    statistic(others[1]), workspace, e);
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
             nk::group_norm_backward(tensor, groups, in[0].data(), in[1].data(), o[0].data(),
                                     scale.data(), nullptr, nullptr, 1e-5, o[1].data(),
                                     statistic(o[2]));
             return o;
           },
           [=](const Outputs<T>&, const std::vector<nk::View<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             nk::group_norm_backward(order, shape, groups, views[0], views[1], views[2],
                                     scale.data(), nullptr, nullptr, 1e-5, others[0].data(),
                                     statistic(others[1]), workspace, e);
           }}};
}

// Of slow kernels and of half types, whose tiles are those of float, a part, but some of
// everything.
template <class T>
void check_all(const std::vector<Operator<T>>& operators) {
  constexpr std::size_t every = nk::is_half<T> ? 5 * kEvery : kEvery;
  static std::size_t calls = 0;
  if (calls++ % every != 0) return;
  for (const Operator<T>& op : operators) check_placements(op);
}
template <class T>
void check_norms_of_rows(const Extents& shape, std::uint64_t axes) {
  const Matrix matrix(shape, axes);
  check_all(layer_norm<T>(matrix));
  check_all(rms_norm<T>(matrix));
  check_all(add_norms<T>(matrix));
}

}  // namespace

TEST_CASE_TEMPLATE("norms of rows along any axes", T, float, double, nk::float16, nk::bfloat16) {
  for (const std::string& isa : isas_to_test()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    for (const Extents& shape :
         {Extents{5}, {3, 1}, {5, 17}, {2, 3, 5}, {4, 1, 3}, {3, 2, 5, 4}, {2, 33, 1, 18}}) {
      for (std::uint64_t axes = 1; axes >> shape.size() == 0; ++axes) {
        CAPTURE(axes);
        check_norms_of_rows<T>(shape, axes);
      }
    }
  }
}

TEST_CASE_TEMPLATE("norms of rows and columns of all sizes", T, float, double, nk::float16,
                   nk::bfloat16) {
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
      check_norms_of_rows<T>(shape, 2);
    }
    // Rows along two axes, columns along two, and both between each other.
    check_norms_of_rows<T>({5, 7, 3, 300}, 12);
    check_norms_of_rows<T>({5, 300, 3, 7}, 10);
    check_norms_of_rows<T>({300, 5, 7, 3}, 3);
  }
}

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
