#include "bind.h"
#include "docs_local_response_norm.h"

namespace normkernels::python::bind_local_response_norm {

namespace {

Imported LocalResponseNorm("LocalResponseNorm");

size_t workspace_bytes(const Call& call, const Planes& in, CountFrom<1> size) {
  if (call.dense()) {
    return normkernels_local_response_norm_workspace_bytes(call.dtype(), in.order, in.n, in.c,
                                                           in.spatial, size.get());
  }
  return normkernels_local_response_norm_view_workspace_bytes(call.dtype(), in.order, in.x.rank(),
                                                              in.x.extents(), size.get());
}

py::object local_response_norm(Call& call, const Array& x, CountFrom<1> size, Number alpha,
                               Number beta, Number bias, Order order, const Out& out,
                               Flag return_scale, const Executor& executor) {
  const Planes in = call.planes(call.input_strided(x), order, 3, 5);
  Output y = call.output(out, in.x);
  Output scale;
  if (return_scale.get()) scale = call.create_like(in.x);
  Workspace workspace(workspace_bytes(call, in, size));
  if (call.dense()) {
    static constexpr const char* names[] = {"dtype", "order", "x",         "x",          "x",
                                            "x",     "size",  "alpha",     "beta",       "bias",
                                            "out",   "scale", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_local_response_norm_forward(
          call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, size.get(), alpha.get(),
          beta.get(), bias.get(), y.data, scale.data, workspace.get(), executor.get());
    });
  } else {
    static constexpr const char* names[] = {
        "dtype", "order", "x",   "x",   "x",     "x",     "size",      "alpha",
        "beta",  "bias",  "out", "out", "scale", "scale", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_local_response_norm_forward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), in.x.data, in.x.strides, size.get(),
          alpha.get(), beta.get(), bias.get(), y.data, y.strides, scale.data, scale.strides,
          workspace.get(), executor.get());
    });
  }
  return return_scale.get() ? named(LocalResponseNorm, y, scale) : y.array;
}

py::object local_response_norm_backward(Call& call, const Array& dy, const Array& x,
                                        CountFrom<1> size, const OptionalArray& y,
                                        const OptionalArray& scale, Number alpha, Number beta,
                                        Number bias, Order order, const Out& out,
                                        const Executor& executor) {
  const Planes in = call.planes(call.input_strided(x), order, 3, 5);
  const View dys = call.like_strided(dy, in.x);
  const View ys = call.like_strided(y, in.x);
  const View scales = call.like_strided(scale, in.x);
  Output dx = call.output(out, in.x);
  Workspace workspace(workspace_bytes(call, in, size));
  if (call.dense()) {
    static constexpr const char* names[] = {
        "dtype", "order", "x",     "x",    "x",    "dy",  "x",         "y",
        "scale", "size",  "alpha", "beta", "bias", "out", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_local_response_norm_backward(
          call.dtype(), in.order, in.n, in.c, in.spatial, dys.data, in.x.data, ys.data, scales.data,
          size.get(), alpha.get(), beta.get(), bias.get(), dx.data, workspace.get(),
          executor.get());
    });
  } else {
    static constexpr const char* names[] = {"dtype", "order", "x",    "x",         "dy",
                                            "dy",    "x",     "x",    "y",         "y",
                                            "scale", "scale", "size", "alpha",     "beta",
                                            "bias",  "out",   "out",  "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_local_response_norm_backward_view(
          call.dtype(), in.order, in.x.rank(), in.x.extents(), dys.data, dys.strides, in.x.data,
          in.x.strides, ys.data, ys.strides, scales.data, scales.strides, size.get(), alpha.get(),
          beta.get(), bias.get(), dx.data, dx.strides, workspace.get(), executor.get());
    });
  }
  return dx.array;
}

}  // namespace

void bind(py::module_& module) {
  add<local_response_norm>(module, kLocalResponseNormDoc);
  add<local_response_norm_backward>(module, kLocalResponseNormBackwardDoc);
}

}  // namespace normkernels::python::bind_local_response_norm
