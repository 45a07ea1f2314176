#include "bind.h"
#include "docs_add_norm.h"

namespace normkernels::python::bind_add_norm {

namespace {

Imported AddNorm("AddNorm");
Imported AddLayerNorm("AddLayerNorm");
Imported AddRmsNorm("AddRmsNorm");

py::object add_layer_norm(Call& call, const Array& x, const Array& residual,
                          const OptionalArray& gamma, const OptionalArray& beta,
                          const OptionalArray& bias, const Integer& axis, const Axes& axes,
                          Epsilon epsilon, const Out& out, const Out& total, Flag return_stats,
                          const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes);
  const View residuals = call.like_strided(residual, in.x);
  const View gammas = call.columns(gamma, in);
  const View betas = call.columns(beta, in);
  const View biases = call.columns(bias, in);
  Output sum = call.output(total, in.x, "x or residual");
  Output y = call.output(out, in.x, "x or residual");
  Output mean, sigma;
  if (return_stats.get()) {
    mean = call.create_rows(in);
    sigma = call.create_rows(in);
  }
  if (call.dense(in)) {
    static constexpr const char* names[] = {"dtype", "x",     "x",     "x",          "residual",
                                            "bias",  "gamma", "beta",  "epsilon",    "total",
                                            "out",   "mean",  "sigma", "num_threads"};
    call.run(names, [&] {
      return normkernels_add_layer_norm_forward(
          call.dtype(), in.rows, in.cols, in.x.data, residuals.data, biases.data, gammas.data,
          betas.data, epsilon.get(), sum.data, y.data, mean.data, sigma.data, executor.get());
    });
  } else {
    Workspace workspace(normkernels_add_layer_norm_forward_view_workspace_bytes(
        call.dtype(), in.x.rank(), in.x.extents(), in.axes));
    static constexpr const char* names[] = {
        "dtype",    "x",    "x",     "axes",  "x",         "x",          "residual",
        "residual", "bias", "gamma", "beta",  "epsilon",   "total",      "total",
        "out",      "out",  "mean",  "sigma", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_add_layer_norm_forward_view(
          call.dtype(), in.x.rank(), in.x.extents(), in.axes, in.x.data, in.x.strides,
          residuals.data, residuals.strides, biases.data, gammas.data, betas.data, epsilon.get(),
          sum.data, sum.strides, y.data, y.strides, mean.data, sigma.data, workspace.get(),
          executor.get());
    });
  }
  return return_stats.get() ? named(AddLayerNorm, y, sum, mean, sigma) : named(AddNorm, y, sum);
}

py::object add_rms_norm(Call& call, const Array& x, const Array& residual,
                        const OptionalArray& gamma, const OptionalArray& beta,
                        const OptionalArray& bias, const Integer& axis, const Axes& axes,
                        Epsilon epsilon, const Out& out, const Out& total, Flag return_stats,
                        const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes, -1);
  const View residuals = call.like_strided(residual, in.x);
  const View gammas = call.columns(gamma, in);
  const View betas = call.columns(beta, in);
  const View biases = call.columns(bias, in);
  Output sum = call.output(total, in.x, "x or residual");
  Output y = call.output(out, in.x, "x or residual");
  Output rstd;
  if (return_stats.get()) rstd = call.create_rows(in);
  if (call.dense(in)) {
    static constexpr const char* names[] = {"dtype", "x",     "x",          "x",       "residual",
                                            "bias",  "gamma", "beta",       "epsilon", "total",
                                            "out",   "rstd",  "num_threads"};
    call.run(names, [&] {
      return normkernels_add_rms_norm_forward(
          call.dtype(), in.rows, in.cols, in.x.data, residuals.data, biases.data, gammas.data,
          betas.data, epsilon.get(), sum.data, y.data, rstd.data, executor.get());
    });
  } else {
    Workspace workspace(normkernels_add_rms_norm_forward_view_workspace_bytes(
        call.dtype(), in.x.rank(), in.x.extents(), in.axes));
    static constexpr const char* names[] = {"dtype", "x",        "x",         "axes",       "x",
                                            "x",     "residual", "residual",  "bias",       "gamma",
                                            "beta",  "epsilon",  "total",     "total",      "out",
                                            "out",   "rstd",     "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_add_rms_norm_forward_view(
          call.dtype(), in.x.rank(), in.x.extents(), in.axes, in.x.data, in.x.strides,
          residuals.data, residuals.strides, biases.data, gammas.data, betas.data, epsilon.get(),
          sum.data, sum.strides, y.data, y.strides, rstd.data, workspace.get(), executor.get());
    });
  }
  return return_stats.get() ? named(AddRmsNorm, y, sum, rstd) : named(AddNorm, y, sum);
}

}  // namespace

void bind(py::module_& module) {
  add<add_layer_norm>(module, kAddLayerNormDoc);
  add<add_rms_norm>(module, kAddRmsNormDoc);
}

}  // namespace normkernels::python::bind_add_norm
