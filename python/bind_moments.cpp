#include "bind.h"
#include "docs_moments.h"

namespace normkernels::python::bind_moments {

namespace {

py::object moments(Call& call, const Array& x, const Integer& axis, const Axes& axes,
                   const Executor& executor) {
  const Matrix in = call.matrix(call.input_strided(x), axis, axes);
  MomentsOutput moments = call.create_moments(in);
  if (call.dense(in)) {
    static constexpr const char* names[] = {"dtype", "x", "x", "x", "moments", "num_threads"};
    call.run(names, [&] {
      return normkernels_moments(call.dtype(), in.rows, in.cols, in.x.data, moments.data,
                                 executor.get());
    });
  } else {
    Workspace workspace(normkernels_moments_view_workspace_bytes(call.dtype(), in.x.rank(),
                                                                 in.x.extents(), in.axes));
    static constexpr const char* names[] = {"dtype", "x",       "x",         "axes",       "x",
                                            "x",     "moments", "workspace", "num_threads"};
    call.run(names, [&] {
      return normkernels_moments_view(call.dtype(), in.x.rank(), in.x.extents(), in.axes, in.x.data,
                                      in.x.strides, moments.data, workspace.get(), executor.get());
    });
  }
  return moments.array;
}

py::object merge_moments(Call& call, const Array& a, const Array& b, const Out& out) {
  const MomentsView as = call.moments(a);
  const MomentsView bs = call.moments_like(b, as);
  MomentsOutput merged = call.moments_output(out, as, "a or b");
  static constexpr const char* names[] = {"a", "a", "b", "out"};
  call.run(names,
           [&] { return normkernels_merge_moments(as.size, as.data, bs.data, merged.data); });
  return merged.array;
}

}  // namespace

void bind(py::module_& module) {
  add<moments>(module, kMomentsDoc);
  add<merge_moments>(module, kMergeMomentsDoc);
}

}  // namespace normkernels::python::bind_moments
