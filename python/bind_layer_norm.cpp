#include "bind.h"
#include "docs_layer_norm.h"

namespace normkernels::python::bind_layer_norm {

namespace {

Imported LayerNorm("LayerNorm");
Imported LayerNormGradient("LayerNormGradient");
Imported SigmaAndFusedParams("SigmaAndFusedParams");
Imported InternalGradients("InternalGradients");
Imported FusedParams("FusedParams");
Imported GammaBetaGradient("GammaBetaGradient");

py::object layer_norm(Call& call, const Array& x, const OptionalArray& gamma,
                      const OptionalArray& beta, const Integer& axis, const Axes& axes,
                      Epsilon epsilon, const Out& out, Flag return_stats,
                      const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes);
  const View gammas = call.columns(gamma, in);
  const View betas = call.columns(beta, in);
  Output y = call.output(out, in.x, "x");
  Output mean, sigma;
  if (return_stats.get()) {
    mean = call.create_rows(in);
    sigma = call.create_rows(in);
  }
  if (call.dense(in)) {
    static constexpr const char* names[] = {"dtype",   "x",   "x",    "x",     "gamma",      "beta",
                                            "epsilon", "out", "mean", "sigma", "num_threads"};
    call.run(names, [&] {
      return normkernels_layer_norm_forward(call.dtype(), in.rows, in.cols, in.x.data, gammas.data,
                                            betas.data, epsilon.get(), y.data, mean.data,
                                            sigma.data, executor.get());
    });
  } else {
    Workspace workspace(normkernels_layer_norm_forward_view_workspace_bytes(
        call.dtype(), in.x.rank(), in.x.extents(), in.axes));
    static constexpr const char* names[] = {"dtype", "x",     "x",     "axes",      "x",
                                            "x",     "gamma", "beta",  "epsilon",   "out",
                                            "out",   "mean",  "sigma", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_layer_norm_forward_view(call.dtype(), in.x.rank(), in.x.extents(), in.axes,
                                                 in.x.data, in.x.strides, gammas.data, betas.data,
                                                 epsilon.get(), y.data, y.strides, mean.data,
                                                 sigma.data, workspace.get(), executor.get());
    });
  }
  return return_stats.get() ? named(LayerNorm, y, mean, sigma) : y.array;
}

py::object layer_norm_backward(Call& call, const Array& dy, const Array& x, const Array& mean,
                               const Array& sigma, const OptionalArray& gamma, const Integer& axis,
                               const Axes& axes, const Out& out, const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes);
  const View dys = call.like_strided(dy, in.x);
  const View means = call.rows(mean, in);
  const View sigmas = call.rows(sigma, in);
  const View gammas = call.columns(gamma, in);
  Output dx = call.output(out, in.x, "dy or x");
  Output dgamma = call.create_columns(in), dbeta = call.create_columns(in);
  if (call.dense(in)) {
    Workspace workspace(
        normkernels_layer_norm_backward_workspace_bytes(call.dtype(), in.rows, in.cols));
    static constexpr const char* names[] = {"dtype", "x",         "x",          "dy",  "x",
                                            "mean",  "sigma",     "gamma",      "out", "dgamma",
                                            "dbeta", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_layer_norm_backward(
          call.dtype(), in.rows, in.cols, dys.data, in.x.data, means.data, sigmas.data, gammas.data,
          dx.data, dgamma.data, dbeta.data, workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_layer_norm_backward_view_workspace_bytes(
        call.dtype(), in.x.rank(), in.x.extents(), in.axes));
    static constexpr const char* names[] = {
        "dtype", "x",     "x",   "axes", "dy",     "dy",    "x",         "x",          "mean",
        "sigma", "gamma", "out", "out",  "dgamma", "dbeta", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_layer_norm_backward_view(
          call.dtype(), in.x.rank(), in.x.extents(), in.axes, dys.data, dys.strides, in.x.data,
          in.x.strides, means.data, sigmas.data, gammas.data, dx.data, dx.strides, dgamma.data,
          dbeta.data, workspace.get(), executor.get());
    });
  }
  return named(LayerNormGradient, dx, dgamma, dbeta);
}

/* ---- Caffe2's steps -------------------------------------------------------------------------- */

py::object compute_sigma_and_fused_params(Call& call, const Array& mean, const Array& var,
                                          Epsilon epsilon, const Executor& executor) {
  const View means = call.input(mean);
  const View vars = call.as_many(var, means);
  Output sigma = call.create_like(means), scale = call.create_like(means),
         bias = call.create_like(means);
  static constexpr const char* names[] = {"dtype", "mean",  "epsilon", "mean",       "var",
                                          "sigma", "scale", "bias",    "num_threads"};
  call.run(names, [&] {
    return normkernels_compute_sigma_and_fused_params(call.dtype(), means.size, epsilon.get(),
                                                      means.data, vars.data, sigma.data, scale.data,
                                                      bias.data, executor.get());
  });
  return named(SigmaAndFusedParams, sigma, scale, bias);
}

py::object compute_internal_gradients(Call& call, const Array& dy, const Array& x,
                                      const OptionalArray& gamma, const Integer& axis,
                                      const Executor& executor) {
  const Matrix in = call.matrix(call.input(x), axis);
  const View dys = call.like(dy, in.x);
  const View gammas = call.columns(gamma, in);
  Output dyx = call.create_like(in.x), ds = call.create_rows(in), db = call.create_rows(in);
  static constexpr const char* names[] = {"dtype", "x",   "x",  "dy", "x",
                                          "gamma", "dyx", "ds", "db", "num_threads"};
  call.run(names, [&] {
    return normkernels_layer_norm_internal_gradients(call.dtype(), in.rows, in.cols, dys.data,
                                                     in.x.data, gammas.data, dyx.data, ds.data,
                                                     db.data, executor.get());
  });
  return named(InternalGradients, dyx, ds, db);
}

py::object compute_fused_params(Call& call, const Array& mean, const Array& sigma, const Array& ds,
                                const Array& db, CountFrom<0> n, const Executor& executor) {
  const View means = call.input(mean);
  const View sigmas = call.as_many(sigma, means);
  const View dss = call.as_many(ds, means);
  const View dbs = call.as_many(db, means);
  Output rstd = call.create_like(means), x_scale = call.create_like(means),
         bias = call.create_like(means), g_scale = call.create_like(means);
  static constexpr const char* names[] = {"dtype",   "mean", "n",       "mean",
                                          "sigma",   "ds",   "db",      "rstd",
                                          "x_scale", "bias", "g_scale", "num_threads"};
  call.run(names, [&] {
    return normkernels_layer_norm_fused_params(
        call.dtype(), means.size, n.get(), means.data, sigmas.data, dss.data, dbs.data, rstd.data,
        x_scale.data, bias.data, g_scale.data, executor.get());
  });
  return named(FusedParams, rstd, x_scale, bias, g_scale);
}

py::object gamma_beta_backward(Call& call, const Array& dyx, const Array& dy, const Array& rstd,
                               const Array& g_scale, const Integer& axis,
                               const Executor& executor) {
  const Matrix in = call.matrix(call.input(dyx), axis);
  const View dys = call.like(dy, in.x);
  const View rstds = call.rows(rstd, in);
  const View g_scales = call.rows(g_scale, in);
  Output dgamma = call.create_columns(in), dbeta = call.create_columns(in);
  static constexpr const char* names[] = {"dtype", "dyx",     "dyx",    "dyx",   "dy",
                                          "rstd",  "g_scale", "dgamma", "dbeta", "num_threads"};
  call.run(names, [&] {
    return normkernels_layer_norm_gamma_beta_backward(call.dtype(), in.rows, in.cols, in.x.data,
                                                      dys.data, rstds.data, g_scales.data,
                                                      dgamma.data, dbeta.data, executor.get());
  });
  return named(GammaBetaGradient, dgamma, dbeta);
}

py::object layer_norm_forward(Call& call, const Array& x, const Array& scale, const Array& bias,
                              const OptionalArray& gamma, const OptionalArray& beta,
                              const Integer& axis, const Executor& executor) {
  const Matrix in = call.matrix(call.input(x), axis);
  const View scales = call.rows(scale, in);
  const View biases = call.rows(bias, in);
  const View gammas = call.columns(gamma, in);
  const View betas = call.columns(beta, in);
  Output y = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "x",     "x",    "x", "scale",
                                          "bias",  "gamma", "beta", "y", "num_threads"};
  call.run(names, [&] {
    return normkernels_layer_norm_apply(call.dtype(), in.rows, in.cols, in.x.data, scales.data,
                                        biases.data, gammas.data, betas.data, y.data,
                                        executor.get());
  });
  return y.array;
}

py::object layer_norm_backward_step(Call& call, const Array& dy, const Array& x,
                                    const OptionalArray& gamma, const Array& dy_scale,
                                    const Array& x_scale, const Array& bias, const Integer& axis,
                                    const Executor& executor) {
  const Matrix in = call.matrix(call.input(x), axis);
  const View dys = call.like(dy, in.x);
  const View gammas = call.columns(gamma, in);
  const View dy_scales = call.rows(dy_scale, in);
  const View x_scales = call.rows(x_scale, in);
  const View biases = call.rows(bias, in);
  Output dx = call.create_like(in.x);
  static constexpr const char* names[] = {
      "dtype", "x", "x", "dy", "x", "gamma", "dy_scale", "x_scale", "bias", "dx", "num_threads"};
  call.run(names, [&] {
    return normkernels_layer_norm_backward_apply(
        call.dtype(), in.rows, in.cols, dys.data, in.x.data, gammas.data, dy_scales.data,
        x_scales.data, biases.data, dx.data, executor.get());
  });
  return dx.array;
}

}  // namespace

void bind(py::module_& module, py::module_& helpers) {
  add<layer_norm>(module, kLayerNormDoc);
  add<layer_norm_backward>(module, kLayerNormBackwardDoc);
  add<compute_sigma_and_fused_params>(module, kSigmaAndFusedParamsDoc);
  add<compute_internal_gradients>(module, kInternalGradientsDoc);
  add<compute_fused_params>(module, kFusedParamsDoc);
  add<gamma_beta_backward>(module, kGammaBetaBackwardDoc);
  add<layer_norm_forward>(helpers, kLayerNormForwardDoc);
  add<layer_norm_backward_step>(helpers, kLayerNormBackwardStepDoc);
}

}  // namespace normkernels::python::bind_layer_norm
