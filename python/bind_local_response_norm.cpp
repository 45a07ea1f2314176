#include "bind.h"
#include "docs_local_response_norm.h"

namespace normkernels::python {

namespace {

py::handle LocalResponseNorm;

Workspace workspace_for(const Call& call, const Planes& x, CountFrom<1> size) {
  return Workspace(normkernels_local_response_norm_workspace_bytes(call.dtype(), x.order, x.n, x.c,
                                                                   x.spatial, size.get()));
}

py::object local_response_norm(Call& call, const Array& x, CountFrom<1> size, Number alpha,
                               Number beta, Number bias, Order order, const Out& out,
                               Flag return_scale, const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 3, 5);
  Output y = call.output(out, in.x);
  Output scale;
  if (return_scale.get()) scale = call.create_like(in.x);
  Workspace workspace = workspace_for(call, in, size);
  static constexpr const char* names[] = {"dtype", "order", "x",         "x",          "x",
                                          "x",     "size",  "alpha",     "beta",       "bias",
                                          "out",   "scale", "workspace", "num_threads"};
  call.run(names, [&] {
    return normkernels_local_response_norm_forward(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, size.get(), alpha.get(),
        beta.get(), bias.get(), y.data, scale.data, workspace.get(), executor.get());
  });
  return return_scale.get() ? named(LocalResponseNorm, y, scale) : y.array;
}

py::object local_response_norm_backward(Call& call, const Array& dy, const Array& x,
                                        CountFrom<1> size, const OptionalArray& y,
                                        const OptionalArray& scale, Number alpha, Number beta,
                                        Number bias, Order order, const Out& out,
                                        const Executor& executor) {
  const Planes in = call.planes(call.input(x), order, 3, 5);
  const View dys = call.like(dy, in.x);
  const View ys = call.like(y, in.x);
  const View scales = call.like(scale, in.x);
  Output dx = call.output(out, in.x);
  Workspace workspace = workspace_for(call, in, size);
  static constexpr const char* names[] = {
      "dtype", "order", "x",     "x",    "x",    "dy",  "x",         "y",
      "scale", "size",  "alpha", "beta", "bias", "out", "workspace", "num_threads"};
  call.run(names, [&] {
    return normkernels_local_response_norm_backward(
        call.dtype(), in.order, in.n, in.c, in.spatial, dys.data, in.x.data, ys.data, scales.data,
        size.get(), alpha.get(), beta.get(), bias.get(), dx.data, workspace.get(), executor.get());
  });
  return dx.array;
}

}  // namespace

void bind_local_response_norm(py::module_& module, const py::module_& types) {
  LocalResponseNorm = own(types, "LocalResponseNorm");

  add<local_response_norm>(module, kLocalResponseNormDoc);
  add<local_response_norm_backward>(module, kLocalResponseNormBackwardDoc);
}

}  // namespace normkernels::python
