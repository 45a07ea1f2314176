#include <algorithm>

#include "call.h"
#include "numpy.h"

namespace normkernels::python {

Output Call::create(const Shape& shape, int64_t size) {
  PyObject* made =
      numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, native_dtype(type_num_), shape.rank(),
                                    shape.data(), nullptr, nullptr, 0, nullptr);
  if (made == nullptr) throw py::error_already_set();
  most_elements_ = std::max(most_elements_, size);
  return {py::reinterpret_steal<py::object>(made), non_null(fields(made).data, size)};
}

Output Call::create_rows(const Matrix& x) {
  Shape shape = x.x.shape->part(0, x.axis);
  shape.append(1);
  return create(shape, x.rows);
}

Output Call::output(const Out& out, const View& x, const char* alias) {
  if (!out.given()) return create_like(x);
  check_out(out, x, alias);
  outs_[num_outs_++] = {out.name_, alias};
  return {out.given_, non_null(fields(out.array_).data, x.size)};
}

void Call::check_out(const Out& out, const View& x, const char* alias) const {
  const auto& array = fields(out.array_);
  const char* name = out.name_;
  if (descriptor(out.array_).type_num != type_num_ || !is_native(out.array_)) {
    refuse_type(name, has_dtype(out.array_),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
  const Shape shape = shape_of(out.array_);
  if (shape != *x.shape) {
    refuse_value(name, "has shape " + shape.text(),
                 "have " + x.shape->text() + ", the shape of " + x.name);
  }
  if ((array.flags & Api::NPY_ARRAY_C_CONTIGUOUS_) == 0) {
    refuse_value(name, "has strides " + Shape(array.strides, array.nd).text(), "be C-contiguous");
  }
  if ((array.flags & Api::NPY_ARRAY_ALIGNED_) == 0) {
    refuse_value(name, "is misaligned", "be aligned to its elements");
  }
  if ((array.flags & Api::NPY_ARRAY_WRITEABLE_) == 0)
    refuse_value(name, "is read-only", "be writable");
  /* The C function checks what it is given; it never sees an input that had to be copied. */
  const Memory memory = memory_of(out.array_);
  for (const Copy& copy : copies_) {
    if (memory.begin < copy.original.end && copy.original.begin < memory.end) {
      refuse_value(name, "shares memory with another argument", must_not_overlap(alias));
    }
  }
}

}  // namespace normkernels::python
