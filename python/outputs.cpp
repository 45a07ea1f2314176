#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "call.h"
#include "numpy.h"

namespace normkernels::python {

namespace {

std::string must_not_overlap(const char* alias) {
  return alias == nullptr ? "share none" : std::string("be ") + alias + " itself or share none";
}

}  // namespace

Workspace::Workspace(size_t bytes) {
  if (bytes <= sizeof(small_)) {
    data_ = bytes == 0 ? nullptr : small_;
    return;
  }
  py::array_t<unsigned char> memory(static_cast<py::ssize_t>(bytes + kAlignment));
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  data_ = reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
  large_ = std::move(memory);
}

/* ---- Arrays ---------------------------------------------------------------------------------- */

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

/* ---- Status ---------------------------------------------------------------------------------- */

void Call::fail(normkernels_status status, const char* const* names, size_t n) const {
  const auto position = static_cast<size_t>(normkernels_status_argument(status));
  const char* name = position >= 1 && position <= n ? names[position - 1] : "an argument";
  const normkernels_status kind = normkernels_status_kind(status);
  if (kind == NORMKERNELS_OVERLAP) {
    const char* alias = nullptr;
    for (const Alias& out : outs_) {
      if (out.name != nullptr && std::strcmp(out.name, name) == 0) alias = out.alias;
    }
    refuse_value(name, "shares memory with another argument", must_not_overlap(alias));
  }
  const std::string message =
      std::string(function_) + ": " + name + ": " + normkernels_status_string(status);
  if (kind == NORMKERNELS_UNKNOWN_ISA || kind == NORMKERNELS_UNSUPPORTED_ISA) {
    throw std::runtime_error(message);
  }
  throw py::value_error(message);
}

/* ---- Results --------------------------------------------------------------------------------- */

py::object make_named(py::handle type, const py::tuple& fields) {
  const py::tuple arguments(1);
  PyTuple_SET_ITEM(arguments.ptr(), 0, fields.inc_ref().ptr());
  PyObject* made =
      PyTuple_Type.tp_new(reinterpret_cast<PyTypeObject*>(type.ptr()), arguments.ptr(), nullptr);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

}  // namespace normkernels::python
