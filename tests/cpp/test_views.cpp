// Norms of rows of arrays with strides: the bits of the dense functions on dense copies.
#include <doctest/doctest.h>

#include <string>

#include "views.h"

namespace {

// x as rows and columns: the axes that are not normalised, and those that are.
struct Matrix {
  Extents shape;
  std::uint64_t mask;
  Axes rows_first;
  nk::Rows size = {1, 1};
  std::int32_t rank;

  Matrix(const Extents& x_shape, std::uint64_t normalised)
      : shape(x_shape), mask(normalised), rank(static_cast<std::int32_t>(x_shape.size())) {
    for (const bool column : {false, true}) {
      for (const int axis : all_axes(shape)) {
        if ((mask >> axis & 1) != column) continue;
        rows_first.push_back(axis);
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
    nk::layer_norm_forward(matrix(x.data(), m.size), matrix(o[0].data(), m.size),
                           {.gamma = statistic(gamma),
                            .beta = beta.data(),
                            .mean = statistic(o[1]),
                            .sigma = statistic(o[2])});
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
           [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             return normkernels_layer_norm_forward_view(
                 with<T>(NORMKERNELS_F32_GAMMA), m.rank, m.shape.data(), m.mask, views[0].data,
                 views[0].strides, gamma.data(), beta.data(), 1e-5, views[1].data, views[1].strides,
                 others[0].data(), others[1].data(), workspace, e);
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
             nk::layer_norm_backward(
                 matrix(in[0].data(), m.size), matrix(in[1].data(), m.size), statistic(f[1]),
                 statistic(f[2]), matrix(o[0].data(), m.size),
                 {.gamma = statistic(gamma), .dgamma = statistic(o[1]), .dbeta = o[2].data()});
             return o;
           },
           [=](const Outputs<T>& in, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             const Outputs<T> f = forward(in[1]);
             return normkernels_layer_norm_backward_view(
                 with<T>(NORMKERNELS_F32_GAMMA), m.rank, m.shape.data(), m.mask, views[0].data,
                 views[0].strides, views[1].data, views[1].strides, f[1].data(), f[2].data(),
                 gamma.data(), views[2].data, views[2].strides, others[0].data(), others[1].data(),
                 workspace, e);
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
             nk::rms_norm_forward(
                 matrix(in[0].data(), m.size), matrix(o[0].data(), m.size),
                 {.gamma = gamma.data(), .beta = statistic(beta), .rstd = statistic(o[1])});
             return o;
           },
           [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             return normkernels_rms_norm_forward_view(
                 with<T>(NORMKERNELS_F32_BETA), m.rank, m.shape.data(), m.mask, views[0].data,
                 views[0].strides, gamma.data(), beta.data(), 1e-5, views[1].data, views[1].strides,
                 others[0].data(), workspace, e);
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
             nk::rms_norm_backward(
                 matrix(in[0].data(), m.size), matrix(in[1].data(), m.size),
                 matrix(o[0].data(), m.size),
                 {.gamma = gamma.data(), .dgamma = o[1].data(), .dbeta = statistic(o[2])});
             return o;
           },
           [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
               void* workspace, const normkernels_executor* e) {
             return normkernels_rms_norm_backward_view(
                 with<T>(NORMKERNELS_F32_BETA), m.rank, m.shape.data(), m.mask, views[0].data,
                 views[0].strides, views[1].data, views[1].strides, nullptr, gamma.data(), 1e-5,
                 views[2].data, views[2].strides, others[0].data(), others[1].data(), workspace, e);
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
         nk::add_layer_norm_forward(matrix(in[0].data(), m.size), matrix(in[1].data(), m.size),
                                    matrix(o[0].data(), m.size), matrix(o[1].data(), m.size),
                                    {.bias = statistic(bias),
                                     .gamma = gamma.data(),
                                     .beta = beta.data(),
                                     .mean = statistic(o[2]),
                                     .sigma = statistic(o[3])});
         return o;
       },
       [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         return normkernels_add_layer_norm_forward_view(
             with<T>(NORMKERNELS_F32_BIAS), m.rank, m.shape.data(), m.mask, views[0].data,
             views[0].strides, views[1].data, views[1].strides, bias.data(), gamma.data(),
             beta.data(), 1e-5, views[2].data, views[2].strides, views[3].data, views[3].strides,
             others[0].data(), others[1].data(), workspace, e);
       }},
      {"add_rms_norm_forward", m.shape, m.rows_first, 2, 2, in_place,
       normkernels_add_rms_norm_forward_view_workspace_bytes(nk::dtype<T>, m.rank, m.shape.data(),
                                                             m.mask),
       [=](const Outputs<T>& in) {
         Outputs<T> o = {Guarded<T>(rows * cols), Guarded<T>(rows * cols), computed_array<T>(rows)};
         nk::add_rms_norm_forward(
             matrix(in[0].data(), m.size), matrix(in[1].data(), m.size),
             matrix(o[0].data(), m.size), matrix(o[1].data(), m.size),
             {.gamma = gamma.data(), .beta = beta.data(), .rstd = statistic(o[2])});
         return o;
       },
       [=](const Outputs<T>&, const std::vector<Strided<T>>& views, Outputs<T>& others,
           void* workspace, const normkernels_executor* e) {
         return normkernels_add_rms_norm_forward_view(
             nk::dtype<T>, m.rank, m.shape.data(), m.mask, views[0].data, views[0].strides,
             views[1].data, views[1].strides, nullptr, gamma.data(), beta.data(), 1e-5,
             views[2].data, views[2].strides, views[3].data, views[3].strides, others[0].data(),
             workspace, e);
       }}};
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
