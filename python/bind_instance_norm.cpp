#include "bind.h"
#include "docs_instance_norm.h"

namespace normkernels::python {

namespace {

py::handle InstanceNorm, InstanceNormGradient, InstanceNormWithGradient, Moments,
    InstanceFusedParams, InstanceInternalGradients, GammaBetaGradient;

py::object instance_norm(py::handle x, py::handle scale, py::handle bias, py::handle order,
                         py::handle epsilon, py::handle out, py::handle return_stats,
                         py::handle num_threads) {
  Call call("instance_norm");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View scales = call.channels(scale, "scale", in, kOptional);
  const View biases = call.channels(bias, "bias", in, kOptional);
  const double eps = call.epsilon(epsilon);
  const Executor executor = call.executor(num_threads);
  const bool stats = call.flag(return_stats, "return_stats");
  Output y = call.output(out, "out", in.x, "x");
  Output mean, inv_std;
  if (stats) {
    mean = call.create({in.n, in.c});
    inv_std = call.create({in.n, in.c});
  }
  Workspace workspace(normkernels_instance_norm_forward_workspace_bytes(call.dtype(), in.order,
                                                                        in.n, in.c, in.spatial));
  static constexpr const char* names[] = {"dtype", "order",   "x",         "x",          "x",
                                          "x",     "scale",   "bias",      "epsilon",    "out",
                                          "mean",  "inv_std", "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_forward(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, scales.data, biases.data, eps,
        y.data, mean.data, inv_std.data, workspace.get(), executor.get());
  });
  return stats ? named(InstanceNorm, y, mean, inv_std) : y.array;
}

py::object instance_norm_backward(py::handle dy, py::handle x, py::handle scale, py::handle mean,
                                  py::handle inv_std, py::handle order, py::handle epsilon,
                                  py::handle out, py::handle num_threads) {
  Call call("instance_norm_backward");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View dys = call.like(dy, "dy", in.x);
  const View scales = call.channels(scale, "scale", in, kOptional);
  const View means = call.per_plane(mean, "mean", in, kOptional);
  const View inv_stds = call.per_plane(inv_std, "inv_std", in, kOptional);
  if (mean.is_none() != inv_std.is_none()) {
    const bool lacks_mean = mean.is_none();
    call.refuse_value(lacks_mean ? "mean" : "inv_std", "is None",
                      lacks_mean ? "be given with inv_std" : "be given with mean");
  }
  const double eps = call.epsilon(epsilon);
  const Executor executor = call.executor(num_threads);
  Output dx = call.output(out, "out", in.x, "dy or x");
  Output dscale = call.create({in.c}), dbias = call.create({in.c});
  Workspace workspace(normkernels_instance_norm_backward_workspace_bytes(call.dtype(), in.order,
                                                                         in.n, in.c, in.spatial));
  static constexpr const char* names[] = {
      "dtype", "order",   "x",       "x",   "x",      "dy",    "x",         "scale",
      "mean",  "inv_std", "epsilon", "out", "dscale", "dbias", "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_backward(call.dtype(), in.order, in.n, in.c, in.spatial,
                                              dys.data, in.x.data, scales.data, means.data,
                                              inv_stds.data, eps, dx.data, dscale.data, dbias.data,
                                              workspace.get(), executor.get());
  });
  return named(InstanceNormGradient, dx, dscale, dbias);
}

py::object instance_norm_with_gradient(py::handle x, py::handle scale, py::handle bias,
                                       py::handle dy, py::handle order, py::handle epsilon,
                                       py::handle out, py::handle num_threads) {
  Call call("instance_norm_with_gradient");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View dys = call.like(dy, "dy", in.x);
  const View scales = call.channels(scale, "scale", in, kOptional);
  const View biases = call.channels(bias, "bias", in, kOptional);
  const double eps = call.epsilon(epsilon);
  const Executor executor = call.executor(num_threads);
  py::object outs[2] = {py::none(), py::none()};
  if (!out.is_none()) {
    if (!py::isinstance<py::sequence>(out) || py::isinstance<py::array>(out) || py::len(out) != 2) {
      call.refuse_type("out", "is not a pair", "be None or a pair (y, dx) of arrays");
    }
    for (int i = 0; i < 2; ++i) outs[i] = out[py::int_(i)];
  }
  Output y = call.output(outs[0], "out[0]", in.x, "x");
  Output dx = call.output(outs[1], "out[1]", in.x, "dy");
  Output dscale = call.create({in.c}), dbias = call.create({in.c});
  Workspace workspace(normkernels_instance_norm_backward_workspace_bytes(call.dtype(), in.order,
                                                                         in.n, in.c, in.spatial));
  static constexpr const char* names[] = {"dtype",  "order",     "x",          "x",      "x",
                                          "x",      "scale",     "bias",       "dy",     "epsilon",
                                          "out[0]", "mean",      "inv_std",    "out[1]", "dscale",
                                          "dbias",  "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_with_gradient(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, scales.data, biases.data,
        dys.data, eps, y.data, nullptr, nullptr, dx.data, dscale.data, dbias.data, workspace.get(),
        executor.get());
  });
  return named(InstanceNormWithGradient, y, dx, dscale, dbias);
}

/* ---- Caffe2's steps -------------------------------------------------------------------------- */

py::object compute_moments(py::handle x, py::handle order, py::handle epsilon,
                           py::handle num_threads) {
  Call call("helpers.compute_moments");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const double eps = call.epsilon(epsilon);
  const Executor executor = call.executor(num_threads);
  Output mean = call.create({in.n, in.c}), rstd = call.create({in.n, in.c});
  Workspace workspace(normkernels_instance_norm_forward_workspace_bytes(call.dtype(), in.order,
                                                                        in.n, in.c, in.spatial));
  static constexpr const char* names[] = {
      "dtype", "order", "x", "x", "x", "x", "epsilon", "mean", "rstd", "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_moments(call.dtype(), in.order, in.n, in.c, in.spatial,
                                             in.x.data, eps, mean.data, rstd.data, workspace.get(),
                                             executor.get());
  });
  return named(Moments, mean, rstd);
}

py::object compute_fused_params(py::handle mean, py::handle rstd, py::handle gamma, py::handle beta,
                                py::handle num_threads) {
  Call call("helpers.compute_fused_params");
  const Planes in = call.table(call.input(mean, "mean"));
  const View rstds = call.per_plane(rstd, "rstd", in);
  const View gammas = call.channels(gamma, "gamma", in);
  const View betas = call.channels(beta, "beta", in);
  const Executor executor = call.executor(num_threads);
  Output scale = call.create_like(in.x), bias = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "mean", "mean",  "mean", "rstd",
                                          "gamma", "beta", "scale", "bias", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_fused_params(call.dtype(), in.n, in.c, in.x.data, rstds.data,
                                                  gammas.data, betas.data, scale.data, bias.data,
                                                  executor.get());
  });
  return named(InstanceFusedParams, scale, bias);
}

py::object compute_internal_gradients(py::handle dy, py::handle x, py::handle order,
                                      py::handle num_threads) {
  Call call("helpers.compute_internal_gradients");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View dys = call.like(dy, "dy", in.x);
  const Executor executor = call.executor(num_threads);
  Output ds = call.create({in.n, in.c}), db = call.create({in.n, in.c});
  static constexpr const char* names[] = {"dtype", "order", "x",  "x",  "x",
                                          "dy",    "x",     "ds", "db", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_internal_gradients(call.dtype(), in.order, in.n, in.c,
                                                        in.spatial, dys.data, in.x.data, ds.data,
                                                        db.data, executor.get());
  });
  return named(InstanceInternalGradients, ds, db);
}

py::object instance_norm_forward(py::handle x, py::handle scale, py::handle bias, py::handle order,
                                 py::handle num_threads) {
  Call call("helpers.instance_norm_forward");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View scales = call.per_plane(scale, "scale", in);
  const View biases = call.per_plane(bias, "bias", in);
  const Executor executor = call.executor(num_threads);
  Output y = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "order", "x",    "x", "x",
                                          "x",     "scale", "bias", "y", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_apply(call.dtype(), in.order, in.n, in.c, in.spatial,
                                           in.x.data, scales.data, biases.data, y.data,
                                           executor.get());
  });
  return y.array;
}

py::object instance_norm_backward_step(py::handle dy, py::handle x, py::handle mean,
                                       py::handle rstd, py::handle gamma, py::handle ds,
                                       py::handle db, py::handle order, py::handle num_threads) {
  Call call("helpers.instance_norm_backward");
  const Planes in = call.planes(call.input(x, "x"), order, 2);
  const View dys = call.like(dy, "dy", in.x);
  const View means = call.per_plane(mean, "mean", in);
  const View rstds = call.per_plane(rstd, "rstd", in);
  const View gammas = call.channels(gamma, "gamma", in);
  const View dss = call.per_plane(ds, "ds", in);
  const View dbs = call.per_plane(db, "db", in);
  const Executor executor = call.executor(num_threads);
  Output dx = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "order", "x",    "x",          "x",
                                          "dy",    "x",     "mean", "rstd",       "gamma",
                                          "ds",    "db",    "dx",   "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_backward_apply(
        call.dtype(), in.order, in.n, in.c, in.spatial, dys.data, in.x.data, means.data, rstds.data,
        gammas.data, dss.data, dbs.data, dx.data, executor.get());
  });
  return dx.array;
}

py::object gamma_beta_backward(py::handle ds, py::handle db, py::handle mean, py::handle rstd,
                               py::handle num_threads) {
  Call call("helpers.gamma_beta_backward");
  const Planes in = call.table(call.input(ds, "ds"));
  const View dbs = call.per_plane(db, "db", in);
  const View means = call.per_plane(mean, "mean", in);
  const View rstds = call.per_plane(rstd, "rstd", in);
  const Executor executor = call.executor(num_threads);
  Output dgamma = call.create({in.c}), dbeta = call.create({in.c});
  static constexpr const char* names[] = {"dtype", "ds",   "ds",     "ds",    "db",
                                          "mean",  "rstd", "dgamma", "dbeta", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_instance_norm_gamma_beta_backward(call.dtype(), in.n, in.c, in.x.data,
                                                         dbs.data, means.data, rstds.data,
                                                         dgamma.data, dbeta.data, executor.get());
  });
  return named(GammaBetaGradient, dgamma, dbeta);
}

}  // namespace

void bind_instance_norm(py::module_& module, py::module_& helpers, const py::module_& types) {
  InstanceNorm = own(types, "InstanceNorm");
  InstanceNormGradient = own(types, "InstanceNormGradient");
  InstanceNormWithGradient = own(types, "InstanceNormWithGradient");
  Moments = own(types, "Moments");
  InstanceFusedParams = own(types, "InstanceFusedParams");
  InstanceInternalGradients = own(types, "InstanceInternalGradients");
  GammaBetaGradient = own(types, "GammaBetaGradient");

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

}  // namespace normkernels::python
