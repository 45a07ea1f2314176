#include "bind.h"
#include "docs_local_response_norm.h"

namespace normkernels::python {

namespace {

py::handle LocalResponseNorm;

/* What forward and backward share: x, the window and the exponent. */
struct Lrn {
  Lrn(Call& call, py::handle x, py::handle order, py::handle size_, py::handle alpha_,
      py::handle beta_, py::handle bias_)
      : in(call.planes(call.input(x, "x"), order, 3, 5)),
        size(call.count(size_, "size", 1)),
        alpha(call.number(alpha_, "alpha")),
        beta(call.number(beta_, "beta")),
        bias(call.number(bias_, "bias")),
        workspace(normkernels_local_response_norm_workspace_bytes(call.dtype(), in.order, in.n,
                                                                  in.c, in.spatial, size)) {}

  const Planes in;
  const int64_t size;
  const double alpha, beta, bias;
  Workspace workspace;
};

py::object local_response_norm(py::handle x, py::handle size, py::handle alpha, py::handle beta,
                               py::handle bias, py::handle order, py::handle out,
                               py::handle return_scale, py::handle num_threads) {
  Call call("local_response_norm");
  Lrn lrn(call, x, order, size, alpha, beta, bias);
  const Planes& in = lrn.in;
  const Executor executor = call.executor(num_threads);
  const bool with_scale = call.flag(return_scale, "return_scale");
  Output y = call.output(out, "out", in.x);
  Output scale;
  if (with_scale) scale = call.create_like(in.x);
  static constexpr const char* names[] = {"dtype", "order", "x",         "x",          "x",
                                          "x",     "size",  "alpha",     "beta",       "bias",
                                          "out",   "scale", "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_local_response_norm_forward(
        call.dtype(), in.order, in.n, in.c, in.spatial, in.x.data, lrn.size, lrn.alpha, lrn.beta,
        lrn.bias, y.data, scale.data, lrn.workspace.get(), executor.get());
  });
  return with_scale ? named(LocalResponseNorm, y, scale) : y.array;
}

py::object local_response_norm_backward(py::handle dy, py::handle x, py::handle size, py::handle y,
                                        py::handle scale, py::handle alpha, py::handle beta,
                                        py::handle bias, py::handle order, py::handle out,
                                        py::handle num_threads) {
  Call call("local_response_norm_backward");
  Lrn lrn(call, x, order, size, alpha, beta, bias);
  const Planes& in = lrn.in;
  const View dys = call.like(dy, "dy", in.x);
  const View ys = call.like(y, "y", in.x, kOptional);
  const View scales = call.like(scale, "scale", in.x, kOptional);
  const Executor executor = call.executor(num_threads);
  Output dx = call.output(out, "out", in.x);
  static constexpr const char* names[] = {
      "dtype", "order", "x",     "x",    "x",    "dy",  "x",         "y",
      "scale", "size",  "alpha", "beta", "bias", "out", "workspace", "num_threads"};
  call.run(in.x.size, names, [&] {
    return normkernels_local_response_norm_backward(
        call.dtype(), in.order, in.n, in.c, in.spatial, dys.data, in.x.data, ys.data, scales.data,
        lrn.size, lrn.alpha, lrn.beta, lrn.bias, dx.data, lrn.workspace.get(), executor.get());
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
