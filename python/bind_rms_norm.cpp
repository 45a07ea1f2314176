#include "bind.h"
#include "docs_rms_norm.h"

namespace normkernels::python::bind_rms_norm {

namespace {

Imported RmsNorm("RmsNorm");
Imported RmsNormGradient("RmsNormGradient");

py::object rms_norm(Call& call, const Array& x, const OptionalArray& gamma,
                    const OptionalArray& beta, const Integer& axis, const Axes& axes,
                    Epsilon epsilon, const Out& out, Flag return_stats, const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes, -1);
  const View gammas = call.columns(gamma, in);
  const View betas = call.columns(beta, in);
  Output y = call.output(out, in.x, "x");
  Output rstd;
  if (return_stats.get()) rstd = call.create_rows(in);
  if (call.dense(in)) {
    static constexpr const char* names[] = {"dtype", "x",       "x",   "x",    "gamma",
                                            "beta",  "epsilon", "out", "rstd", "num_threads"};
    call.run(names, [&] {
      return normkernels_rms_norm_forward(call.dtype(), in.rows, in.cols, in.x.data, gammas.data,
                                          betas.data, epsilon.get(), y.data, rstd.data,
                                          executor.get());
    });
  } else {
    Workspace workspace(normkernels_rms_norm_forward_view_workspace_bytes(call.dtype(), in.x.rank(),
                                                                          in.x.extents(), in.axes));
    static constexpr const char* names[] = {"dtype", "x",     "x",         "axes",       "x",
                                            "x",     "gamma", "beta",      "epsilon",    "out",
                                            "out",   "rstd",  "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_rms_norm_forward_view(
          call.dtype(), in.x.rank(), in.x.extents(), in.axes, in.x.data, in.x.strides, gammas.data,
          betas.data, epsilon.get(), y.data, y.strides, rstd.data, workspace.get(), executor.get());
    });
  }
  return return_stats.get() ? named(RmsNorm, y, rstd) : y.array;
}

py::object rms_norm_backward(Call& call, const Array& dy, const Array& x, const OptionalArray& rstd,
                             const OptionalArray& gamma, const Integer& axis, const Axes& axes,
                             Epsilon epsilon, const Out& out, const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes, -1);
  const View dys = call.like_strided(dy, in.x);
  const View rstds = call.rows(rstd, in);
  const View gammas = call.columns(gamma, in);
  Output dx = call.output(out, in.x, "dy or x");
  Output dgamma = call.create_columns(in), dbeta = call.create_columns(in);
  if (call.dense(in)) {
    Workspace workspace(
        normkernels_rms_norm_backward_workspace_bytes(call.dtype(), in.rows, in.cols));
    static constexpr const char* names[] = {"dtype", "x",         "x",          "dy",  "x",
                                            "rstd",  "gamma",     "epsilon",    "out", "dgamma",
                                            "dbeta", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_rms_norm_backward(
          call.dtype(), in.rows, in.cols, dys.data, in.x.data, rstds.data, gammas.data,
          epsilon.get(), dx.data, dgamma.data, dbeta.data, workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_rms_norm_backward_view_workspace_bytes(
        call.dtype(), in.x.rank(), in.x.extents(), in.axes));
    static constexpr const char* names[] = {
        "dtype", "x",       "x",   "axes", "dy",     "dy",    "x",         "x",          "rstd",
        "gamma", "epsilon", "out", "out",  "dgamma", "dbeta", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_rms_norm_backward_view(
          call.dtype(), in.x.rank(), in.x.extents(), in.axes, dys.data, dys.strides, in.x.data,
          in.x.strides, rstds.data, gammas.data, epsilon.get(), dx.data, dx.strides, dgamma.data,
          dbeta.data, workspace.get(), executor.get());
    });
  }
  return named(RmsNormGradient, dx, dgamma, dbeta);
}

}  // namespace

void bind(py::module_& module) {
  add<rms_norm>(module, kRmsNormDoc);
  add<rms_norm_backward>(module, kRmsNormBackwardDoc);
}

}  // namespace normkernels::python::bind_rms_norm
