#include "bind.h"
#include "docs_group_norm.h"

namespace normkernels::python::bind_group_norm {

namespace {

Imported GroupNorm("GroupNorm");
Imported GroupNormGradient("GroupNormGradient");

py::object group_norm(Call& call, const Array& x, CountFrom<1> groups, const OptionalArray& scale,
                      const OptionalArray& bias, Order order, Epsilon epsilon, const Out& out,
                      Flag return_stats, const Executor& executor) {
  Planes in = call.planes(call.input_strided(x), order, 2);
  call.set_groups(in, groups);
  const View scales = call.channels(scale, in);
  const View biases = call.channels(bias, in);
  Output y = call.output(out, in.x, "x");
  Output mean, inv_std;
  if (return_stats.get()) {
    mean = call.create_per_group(in);
    inv_std = call.create_per_group(in);
  }
  if (call.dense()) {
    Workspace workspace(normkernels_group_norm_forward_workspace_bytes(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.groups));
    static constexpr const char* names[] = {
        "dtype", "order",   "x",   "x",    "x",       "groups",    "x",          "scale",
        "bias",  "epsilon", "out", "mean", "inv_std", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_group_norm_forward(call.dtype(), in.order, in.n, in.c, in.spatial,
                                            in.groups, in.x.data, scales.data, biases.data,
                                            epsilon.get(), y.data, mean.data, inv_std.data,
                                            workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_group_norm_forward_view_workspace_bytes(
        call.dtype(), in.order, in.x.rank(), in.x.extents(), in.groups));
    static constexpr const char* names[] = {
        "dtype", "order",   "x",   "x",   "groups", "x",       "x",         "scale",
        "bias",  "epsilon", "out", "out", "mean",   "inv_std", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_group_norm_forward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), in.groups, in.x.data, in.x.strides,
          scales.data, biases.data, epsilon.get(), y.data, y.strides, mean.data, inv_std.data,
          workspace.get(), executor.get());
    });
  }
  return return_stats.get() ? named(GroupNorm, y, mean, inv_std) : y.array;
}

py::object group_norm_backward(Call& call, const Array& dy, const Array& x, CountFrom<1> groups,
                               const OptionalArray& scale, const OptionalArray& mean,
                               const OptionalArray& inv_std, Order order, Epsilon epsilon,
                               const Out& out, const Executor& executor) {
  call.require_both(mean, inv_std);
  Planes in = call.planes(call.input_strided(x), order, 2);
  call.set_groups(in, groups);
  const View dys = call.like_strided(dy, in.x);
  const View scales = call.channels(scale, in);
  const View means = call.per_group(mean, in);
  const View inv_stds = call.per_group(inv_std, in);
  Output dx = call.output(out, in.x, "dy or x");
  Output dscale = call.create_channels(in), dbias = call.create_channels(in);
  if (call.dense()) {
    Workspace workspace(normkernels_group_norm_backward_workspace_bytes(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.groups));
    static constexpr const char* names[] = {"dtype",     "order",      "x",   "x",      "x",
                                            "groups",    "dy",         "x",   "scale",  "mean",
                                            "inv_std",   "epsilon",    "out", "dscale", "dbias",
                                            "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_group_norm_backward(
          call.dtype(), in.order, in.n, in.c, in.spatial, in.groups, dys.data, in.x.data,
          scales.data, means.data, inv_stds.data, epsilon.get(), dx.data, dscale.data, dbias.data,
          workspace.get(), executor.get());
    });
  } else {
    Workspace workspace(normkernels_group_norm_backward_view_workspace_bytes(
        call.dtype(), in.order, in.x.rank(), in.x.extents(), in.groups));
    static constexpr const char* names[] = {
        "dtype", "order",  "x",     "x",         "groups",     "dy",      "dy",
        "x",     "x",      "scale", "mean",      "inv_std",    "epsilon", "out",
        "out",   "dscale", "dbias", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_group_norm_backward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), in.groups, dys.data, dys.strides,
          in.x.data, in.x.strides, scales.data, means.data, inv_stds.data, epsilon.get(), dx.data,
          dx.strides, dscale.data, dbias.data, workspace.get(), executor.get());
    });
  }
  return named(GroupNormGradient, dx, dscale, dbias);
}

}  // namespace

void bind(py::module_& module) {
  add<group_norm>(module, kGroupNormDoc);
  add<group_norm_backward>(module, kGroupNormBackwardDoc);
}

}  // namespace normkernels::python::bind_group_norm
