/* Arrays of moments: of one dtype of their own, and dense. */
#include "call.h"
#include "numpy.h"

namespace normkernels::python {

namespace {

constexpr auto kItem = static_cast<py::ssize_t>(sizeof(normkernels_row_moments));

bool has_dense_moments(py::handle array) {
  const auto& a = fields(array);
  /* Its own flag knows the alignment of its own dtype, whose fields may be packed. */
  const auto address = reinterpret_cast<uintptr_t>(a.data);
  return (a.flags & Api::NPY_ARRAY_C_CONTIGUOUS_) != 0 &&
         address % alignof(normkernels_row_moments) == 0;
}

bool is_of_moments(py::handle array) {
  return static_cast<bool>(
      numpy().PyArray_EquivTypes_(fields(array).descr, moments_dtype.get().ptr()));
}

normkernels_row_moments* data_of(py::handle array, int64_t size) {
  return static_cast<normkernels_row_moments*>(non_null(fields(array).data, size));
}

}  // namespace

MomentsView Call::moments(const Array& argument) {
  const char* name = argument.name();
  py::handle array = argument.array_;
  check_unchanged(argument);
  if (!is_of_moments(array)) refuse_type(name, has_dtype(array), "be of moments_dtype");
  if (!has_dense_moments(array)) {
    constexpr int kRowMajor = 0; /* NPY_CORDER */
    PyObject* copied = numpy().PyArray_NewCopy_(array.ptr(), kRowMajor);
    if (copied == nullptr) throw py::error_already_set();
    copies_.push_back({memory_of(array, kItem), py::reinterpret_steal<py::object>(copied)});
    array = copied;
  }
  const int64_t size = argument.shape_.size();
  return {name, data_of(array, size), &argument.shape_, size};
}

MomentsView Call::moments_like(const Array& argument, const MomentsView& first) {
  const MomentsView view = moments(argument);
  if (*view.shape != *first.shape) {
    refuse_value(view.name, "has shape " + view.shape->text(),
                 "have " + first.shape->text() + ", the shape of " + first.name);
  }
  return view;
}

MomentsOutput Call::moments_of(const Shape& shape, int64_t size) {
  py::object array = create_array(moments_dtype.get().inc_ref().ptr(), shape, size);
  return {array, data_of(array, size)};
}

MomentsOutput Call::moments_output(const Out& out, const MomentsView& like, const char* alias) {
  if (!out.given()) return moments_of(*like.shape, like.size);
  const char* name = out.name_;
  if (!is_of_moments(out.array_)) refuse_type(name, has_dtype(out.array_), "be of moments_dtype");
  const Shape shape = shape_of(out.array_);
  if (shape != *like.shape) {
    refuse_value(name, "has shape " + shape.text(),
                 "have " + like.shape->text() + ", the shape of " + like.name);
  }
  if (!has_dense_moments(out.array_))
    refuse_value(name, "is not contiguous or misaligned", "be C-contiguous and aligned");
  check_writable(out, kItem, alias);
  outs_[num_outs_++] = {name, alias, out.array_};
  return {out.given_, data_of(out.array_, like.size)};
}

}  // namespace normkernels::python
