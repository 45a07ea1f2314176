#include "bind.h"
#include "docs_instance_norm.h"

namespace normkernels::python::bind_instance_norm {

namespace {

Imported InstanceNorm("InstanceNorm");
Imported InstanceNormGradient("InstanceNormGradient");
Imported InstanceNormWithGradient("InstanceNormWithGradient");
Imported Moments("Moments");
Imported InstanceFusedParams("InstanceFusedParams");
Imported InstanceInternalGradients("InstanceInternalGradients");
Imported GammaBetaGradient("GammaBetaGradient");

py::object instance_norm(Call& call, const Array& x, const OptionalArray& scale,
                         const OptionalArray& bias, Order order, Epsilon epsilon, const Out& out,
                         Flag return_stats, const Executor& executor) {
  const Planes in = call.planes(call.input_strided(x), order, 2);
  const View scales = call.channels(scale, in);
  const View biases = call.channels(bias, in);
  Output y = call.output(out, in.x, "x");
  Output mean, inv_std;
  if (return_stats.get()) {
    mean = call.create_per_plane(in);
    inv_std = call.create_per_plane(in);
  }
  if (call.dense()) {
    Workspace workspace(normkernels_instance_norm_forward_workspace_bytes(call.dtype(), in.order,
                                                                          in.n, in.c, in.spatial));
    static constexpr const char* names[] = {"dtype", "order",   "x",         "x",          "x",
                                            "x",     "scale",   "bias",      "epsilon",    "out",
                                            "mean",  "inv_std", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_forward(
          call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, scales.data, biases.data,
          epsilon.get(), y.data, mean.data, inv_std.data, workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_instance_norm_forward_view_workspace_bytes(
        call.dtype(), in.order, in.x.rank(), in.x.extents()));
    static constexpr const char* names[] = {
        "dtype",   "order", "x",   "x",    "x",       "x",         "scale",      "bias",
        "epsilon", "out",   "out", "mean", "inv_std", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_forward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), in.x.data, in.x.strides, scales.data,
          biases.data, epsilon.get(), y.data, y.strides, mean.data, inv_std.data, workspace.get(),
          executor.get());
    });
  }
  return return_stats.get() ? named(InstanceNorm, y, mean, inv_std) : y.array;
}

py::object instance_norm_backward(Call& call, const Array& dy, const Array& x,
                                  const OptionalArray& scale, const OptionalArray& mean,
                                  const OptionalArray& inv_std, Order order, Epsilon epsilon,
                                  const Out& out, const Executor& executor) {
  call.require_both(mean, inv_std);
  const Planes in = call.planes(call.input_strided(x), order, 2);
  const View dys = call.like_strided(dy, in.x);
  const View scales = call.channels(scale, in);
  const View means = call.per_plane(mean, in);
  const View inv_stds = call.per_plane(inv_std, in);
  Output dx = call.output(out, in.x, "dy or x");
  Output dscale = call.create_channels(in), dbias = call.create_channels(in);
  if (call.dense()) {
    Workspace workspace(normkernels_instance_norm_backward_workspace_bytes(call.dtype(), in.order,
                                                                           in.n, in.c, in.spatial));
    static constexpr const char* names[] = {
        "dtype", "order",   "x",       "x",   "x",      "dy",    "x",         "scale",
        "mean",  "inv_std", "epsilon", "out", "dscale", "dbias", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_backward(call.dtype(), in.order, in.n, in.c, in.spatial,
                                                dys.data, in.x.data, scales.data, means.data,
                                                inv_stds.data, epsilon.get(), dx.data, dscale.data,
                                                dbias.data, workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_instance_norm_backward_view_workspace_bytes(
        call.dtype(), in.order, in.x.rank(), in.x.extents()));
    static constexpr const char* names[] = {
        "dtype", "order",   "x",       "x",   "dy",  "dy",     "x",     "x",         "scale",
        "mean",  "inv_std", "epsilon", "out", "out", "dscale", "dbias", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_backward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), dys.data, dys.strides, in.x.data,
          in.x.strides, scales.data, means.data, inv_stds.data, epsilon.get(), dx.data, dx.strides,
          dscale.data, dbias.data, workspace.get(), executor.get());
    });
  }
  return named(InstanceNormGradient, dx, dscale, dbias);
}

py::object instance_norm_with_gradient(Call& call, const Array& x, const OptionalArray& scale,
                                       const OptionalArray& bias, const Array& dy, Order order,
                                       Epsilon epsilon, const OutPair& out,
                                       const Executor& executor) {
  const Planes in = call.planes(call.input_strided(x), order, 2);
  const View dys = call.like_strided(dy, in.x);
  const View scales = call.channels(scale, in);
  const View biases = call.channels(bias, in);
  Output y = call.output(out.first(), in.x, "x");
  Output dx = call.output(out.second(), in.x, "dy");
  Output dscale = call.create_channels(in), dbias = call.create_channels(in);
  if (call.dense()) {
    Workspace workspace(normkernels_instance_norm_backward_workspace_bytes(call.dtype(), in.order,
                                                                           in.n, in.c, in.spatial));
    static constexpr const char* names[] = {
        "dtype",   "order",  "x",      "x",       "x",         "x",
        "scale",   "bias",   "dy",     "epsilon", "out[0]",    "mean",
        "inv_std", "out[1]", "dscale", "dbias",   "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_with_gradient(
          call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, scales.data, biases.data,
          dys.data, epsilon.get(), y.data, nullptr, nullptr, dx.data, dscale.data, dbias.data,
          workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_instance_norm_backward_view_workspace_bytes(
        call.dtype(), in.order, in.x.rank(), in.x.extents()));
    static constexpr const char* names[] = {
        "dtype",   "order",  "x",      "x",       "x",      "x",         "scale",
        "bias",    "dy",     "dy",     "epsilon", "out[0]", "out[0]",    "mean",
        "inv_std", "out[1]", "out[1]", "dscale",  "dbias",  "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_instance_norm_with_gradient_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), in.x.data, in.x.strides, scales.data,
          biases.data, dys.data, dys.strides, epsilon.get(), y.data, y.strides, nullptr, nullptr,
          dx.data, dx.strides, dscale.data, dbias.data, workspace.get(), executor.get());
    });
  }
  return named(InstanceNormWithGradient, y, dx, dscale, dbias);
}

/* ---- Caffe2's steps -------------------------------------------------------------------------- */

py::object compute_moments(Call& call, const Array& x, Order order, Epsilon epsilon,
                           const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 2);
  Output mean = call.create_per_plane(in), rstd = call.create_per_plane(in);
  Workspace workspace(normkernels_instance_norm_forward_workspace_bytes(call.dtype(), in.order,
                                                                        in.n, in.c, in.spatial));
  static constexpr const char* names[] = {
      "dtype", "order", "x", "x", "x", "x", "epsilon", "mean", "rstd", "workspace", "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_moments(call.dtype(), in.order, in.n, in.c, in.spatial,
                                             in.x.data, epsilon.get(), mean.data, rstd.data,
                                             workspace.get(), executor.get());
  });
  return named(Moments, mean, rstd);
}

py::object compute_fused_params(Call& call, const Array& mean, const Array& rstd,
                                const Array& gamma, const Array& beta, const Executor& executor) {
  const Planes in = call.table(call.input(mean));
  const View rstds = call.per_plane(rstd, in);
  const View gammas = call.channels(gamma, in);
  const View betas = call.channels(beta, in);
  Output scale = call.create_like(in.x), bias = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "mean", "mean",  "mean", "rstd",
                                          "gamma", "beta", "scale", "bias", "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_fused_params(call.dtype(), in.n, in.c, in.x.data, rstds.data,
                                                  gammas.data, betas.data, scale.data, bias.data,
                                                  executor.get());
  });
  return named(InstanceFusedParams, scale, bias);
}

py::object compute_internal_gradients(Call& call, const Array& dy, const Array& x, Order order,
                                      const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 2);
  const View dys = call.like(dy, in.x);
  Output ds = call.create_per_plane(in), db = call.create_per_plane(in);
  static constexpr const char* names[] = {"dtype", "order", "x",  "x",  "x",
                                          "dy",    "x",     "ds", "db", "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_internal_gradients(call.dtype(), in.order, in.n, in.c,
                                                        in.spatial, dys.data, in.x.data, ds.data,
                                                        db.data, executor.get());
  });
  return named(InstanceInternalGradients, ds, db);
}

py::object instance_norm_forward(Call& call, const Array& x, const Array& scale, const Array& bias,
                                 Order order, const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 2);
  const View scales = call.per_plane(scale, in);
  const View biases = call.per_plane(bias, in);
  Output y = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "order", "x",    "x", "x",
                                          "x",     "scale", "bias", "y", "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_apply(call.dtype(), in.order, in.n, in.c, in.spatial,
                                           in.x.data, scales.data, biases.data, y.data,
                                           executor.get());
  });
  return y.array;
}

py::object instance_norm_backward_step(Call& call, const Array& dy, const Array& x,
                                       const Array& mean, const Array& rstd, const Array& gamma,
                                       const Array& ds, const Array& db, Order order,
                                       const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 2);
  const View dys = call.like(dy, in.x);
  const View means = call.per_plane(mean, in);
  const View rstds = call.per_plane(rstd, in);
  const View gammas = call.channels(gamma, in);
  const View dss = call.per_plane(ds, in);
  const View dbs = call.per_plane(db, in);
  Output dx = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "order", "x",    "x",          "x",
                                          "dy",    "x",     "mean", "rstd",       "gamma",
                                          "ds",    "db",    "dx",   "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_backward_apply(
        call.dtype(), in.order, in.n, in.c, in.spatial, dys.data, in.x.data, means.data, rstds.data,
        gammas.data, dss.data, dbs.data, dx.data, executor.get());
  });
  return dx.array;
}

py::object gamma_beta_backward(Call& call, const Array& ds, const Array& db, const Array& mean,
                               const Array& rstd, const Executor& executor) {
  const Planes in = call.table(call.input(ds));
  const View dbs = call.per_plane(db, in);
  const View means = call.per_plane(mean, in);
  const View rstds = call.per_plane(rstd, in);
  Output dgamma = call.create_channels(in), dbeta = call.create_channels(in);
  static constexpr const char* names[] = {"dtype", "ds",   "ds",     "ds",    "db",
                                          "mean",  "rstd", "dgamma", "dbeta", "num_threads"};
  call.run(names, [&] {
    return normkernels_instance_norm_gamma_beta_backward(call.dtype(), in.n, in.c, in.x.data,
                                                         dbs.data, means.data, rstds.data,
                                                         dgamma.data, dbeta.data, executor.get());
  });
  return named(GammaBetaGradient, dgamma, dbeta);
}

}  // namespace

void bind(py::module_& module, py::module_& helpers) {
  add<instance_norm>(module, kInstanceNormDoc);
  add<instance_norm_backward>(module, kInstanceNormBackwardDoc);
  add<instance_norm_with_gradient>(module, kInstanceNormWithGradientDoc);
  add<compute_moments>(helpers, kMomentsDoc);
  add<compute_fused_params>(helpers, kFusedParamsDoc);
  add<compute_internal_gradients>(helpers, kInternalGradientsDoc);
  add<instance_norm_forward>(helpers, kForwardDoc);
  add<instance_norm_backward_step>(helpers, kBackwardDoc);
  add<gamma_beta_backward>(helpers, kGammaBetaBackwardDoc);
}

}  // namespace normkernels::python::bind_instance_norm
