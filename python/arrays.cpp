#include "arrays.h"

#include <cstring>
#include <stdexcept>

namespace normkernels::python {

namespace {

using Api = py::detail::npy_api;

const Api& numpy() { return Api::get(); }

/* The fields of an array and of its dtype. pybind11's own classes would count references. */
const py::detail::PyArray_Proxy& fields(py::handle array) {
  return *py::detail::array_proxy(array.ptr());
}
const py::detail::PyArrayDescr_Proxy& descriptor(py::handle array) {
  return *py::detail::array_descriptor_proxy(fields(array).descr);
}

bool is_array(py::handle value) { return numpy().PyArray_Check_(value.ptr()); }

/* A zero-size array may come with a NULL pointer (DLPack); the C functions want one that is not. */
void* non_null(const void* data, int64_t size) {
  alignas(64) static unsigned char nothing[64];
  return size == 0 ? nothing : const_cast<void*>(data);
}

int64_t product(const py::ssize_t* shape, int first, int last) {
  int64_t result = 1;
  for (int i = first; i < last; ++i) result *= shape[i];
  return result;
}

std::string shape_text(const py::ssize_t* shape, int first, int last) {
  py::tuple tuple(last - first);
  for (int i = first; i < last; ++i) tuple[i - first] = py::int_(shape[i]);
  return text(tuple);
}

std::string shape_text(const View& view) { return shape_text(view.shape, 0, view.rank); }

std::string has_shape(const View& view) { return "has shape " + shape_text(view); }

std::string has_rank(const View& view) {
  return "has rank " + std::to_string(view.rank) + " (shape " + shape_text(view) + ")";
}

std::string slice_text(const View& x, int first, int last) {
  const std::string slice =
      last == x.rank ? "[" + std::to_string(first) + ":]" : "[:" + std::to_string(last) + "]";
  return std::string("the product of ") + x.name + ".shape" + slice + " = " +
         shape_text(x.shape, first, last);
}

bool same_shape(const py::ssize_t* shape, int rank, const View& x) {
  return rank == x.rank && std::memcmp(shape, x.shape, sizeof(*shape) * rank) == 0;
}

std::string has_dtype(py::handle array) { return "has dtype " + text(fields(array).descr); }

const char* type_name(int type_num) { return type_num == Api::NPY_FLOAT_ ? "float32" : "float64"; }

bool is_float(int type_num) { return type_num == Api::NPY_FLOAT_ || type_num == Api::NPY_DOUBLE_; }

bool is_native(py::handle array) { return descriptor(array).byteorder == '='; }

constexpr int kDense = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;

bool is_dense(py::handle array) {
  return (fields(array).flags & kDense) == kDense && is_native(array);
}

/* A new reference, for NumPy to take. */
PyObject* native_dtype(int type_num) { return numpy().PyArray_DescrFromType_(type_num); }

std::string must_not_overlap(const char* alias) {
  return alias == nullptr ? "share none" : std::string("be ") + alias + " itself or share none";
}

py::object dense_copy(py::handle array) {
  PyObject* copy = numpy().PyArray_FromAny_(array.ptr(), native_dtype(descriptor(array).type_num),
                                            0, 0, kDense | Api::NPY_ARRAY_ENSUREARRAY_, nullptr);
  if (copy == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
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

void Call::refuse_value(const char* name, const std::string& was, const std::string& must) const {
  throw py::value_error(std::string(function_) + ": " + name + " " + was + ", must " + must);
}

void Call::refuse_type(const char* name, const std::string& was, const std::string& must) const {
  throw py::type_error(std::string(function_) + ": " + name + " " + was + ", must " + must);
}

normkernels_dtype Call::dtype() const {
  return type_num_ == Api::NPY_FLOAT_ ? NORMKERNELS_F32 : NORMKERNELS_F64;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

py::object Call::as_array(py::handle value, const char* name) const {
  try {
    const bool interface = py::hasattr(value, "__array_interface__");
    if (!interface && py::hasattr(value, "__dlpack__")) {
      return py::module_::import("numpy").attr("from_dlpack")(value);
    }
    if (interface || PyObject_CheckBuffer(value.ptr()) || py::hasattr(value, "__array__")) {
      return py::module_::import("numpy").attr("asarray")(value);
    }
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    const std::string message = std::string(function_) + ": " + name + " " + type_of(value) +
                                " and cannot be viewed as a CPU array, must be float32 or float64";
    py::raise_from(error, PyExc_TypeError, message.c_str());
    throw py::error_already_set();
  }
  refuse_type(name, type_of(value), "be an array of float32 or float64");
}

View Call::input(py::handle value, const char* name) {
  py::handle array = value;
  py::object converted;
  if (!is_array(value)) array = converted = as_array(value, name);
  const int type_num = descriptor(array).type_num;
  if (!is_float(type_num)) refuse_type(name, has_dtype(array), "be float32 or float64");
  if (type_num_ == 0) {
    type_num_ = type_num;
    reference_ = name;
  } else if (type_num != type_num_) {
    refuse_type(name, std::string("has dtype ") + type_name(type_num),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
  if (!is_dense(array)) {
    copies_.push_back({py::reinterpret_borrow<py::object>(array), dense_copy(array)});
    array = copies_.back().dense;
  } else if (converted) {
    copies_.push_back({converted, converted}); /* nobody else holds it */
  }
  const py::ssize_t* shape = fields(array).dimensions;
  const int rank = fields(array).nd;
  const int64_t size = product(shape, 0, rank);
  return {name, non_null(fields(array).data, size), shape, rank, size};
}

View Call::like(py::handle value, const char* name, const View& x, Presence presence) {
  if (absent(value, presence)) return {};
  const View view = input(value, name);
  if (!same_shape(view.shape, view.rank, x)) {
    refuse_value(name, has_shape(view),
                 "have " + shape_text(x) + ", the shape of " + std::string(x.name));
  }
  return view;
}

template <class Describe>
View Call::counted(py::handle value, const char* name, int64_t expected, Describe&& describe) {
  const View view = input(value, name);
  if (view.size != expected) {
    refuse_value(name,
                 "has " + std::to_string(view.size) + " elements (shape " + shape_text(view) + ")",
                 "have " + std::to_string(expected) + ", " + describe());
  }
  return view;
}

View Call::as_many(py::handle value, const char* name, const View& x) {
  return counted(value, name, x.size,
                 [&] { return "as " + std::string(x.name) + " (shape " + shape_text(x) + ")"; });
}

View Call::rows(py::handle value, const char* name, const Matrix& x) {
  return counted(value, name, x.rows, [&] { return slice_text(x.x, 0, x.axis); });
}

View Call::columns(py::handle value, const char* name, const Matrix& x) {
  if (absent(value, kOptional)) return {};
  return counted(value, name, x.cols, [&] { return slice_text(x.x, x.axis, x.x.rank); });
}

View Call::channels(py::handle value, const char* name, const Planes& x, Presence presence) {
  if (absent(value, presence)) return {};
  return counted(value, name, x.c, [&] {
    return "the number of channels of " + std::string(x.x.name) + " (shape " + shape_text(x.x) +
           ", order " + (x.order == NORMKERNELS_NCHW ? "NCHW)" : "NHWC)");
  });
}

View Call::per_plane(py::handle value, const char* name, const Planes& x, Presence presence) {
  if (absent(value, presence)) return {};
  const View view = input(value, name);
  if (view.rank != 2 || view.shape[0] != x.n || view.shape[1] != x.c) {
    const py::ssize_t expected[] = {static_cast<py::ssize_t>(x.n), static_cast<py::ssize_t>(x.c)};
    refuse_value(
        name, has_shape(view),
        "have " + shape_text(expected, 0, 2) + ", one value per image and channel of " + x.x.name);
  }
  return view;
}

Matrix Call::matrix(const View& x, py::handle axis) {
  if (x.rank < 2) refuse_value(x.name, has_rank(x), "have rank 2 or more");
  const int64_t value = integer(axis, "axis");
  if (value < -x.rank || value >= x.rank) {
    refuse_value("axis", "is " + text(axis),
                 "be between " + std::to_string(-x.rank) + " and " + std::to_string(x.rank - 1) +
                     " for an " + x.name + " of rank " + std::to_string(x.rank));
  }
  const int first = static_cast<int>(value < 0 ? value + x.rank : value);
  return {x, first, product(x.shape, 0, first), product(x.shape, first, x.rank)};
}

Planes Call::planes(const View& x, py::handle order, int min_rank, int max_rank) {
  if (x.rank < min_rank || x.rank > max_rank) {
    refuse_value(x.name, has_rank(x),
                 "have rank " + std::to_string(min_rank) +
                     (max_rank == kMaxRank ? " or more" : " to " + std::to_string(max_rank)));
  }
  if (!PyUnicode_Check(order.ptr())) refuse_type("order", type_of(order), "be a string");
  const auto is = [&](const char* name) {
    return PyUnicode_CompareWithASCIIString(order.ptr(), name) == 0;
  };
  if (is("NCHW") || is("nchw")) {
    return {x, NORMKERNELS_NCHW, x.shape[0], x.shape[1], product(x.shape, 2, x.rank)};
  }
  if (is("NHWC") || is("nhwc")) {
    const int last = x.rank - 1;
    return {x, NORMKERNELS_NHWC, x.shape[0], x.shape[last], product(x.shape, 1, last)};
  }
  refuse_value("order", "is " + std::string(py::repr(order)), "be 'NCHW' or 'NHWC'");
}

Planes Call::table(const View& x) {
  if (x.rank != 2) refuse_value(x.name, has_rank(x), "have rank 2 (N, C)");
  return {x, NORMKERNELS_NCHW, x.shape[0], x.shape[1], 1};
}

/* ---- Outputs --------------------------------------------------------------------------------- */

Output Call::create(const py::ssize_t* shape, int rank) const {
  PyObject* made = numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, native_dtype(type_num_),
                                                 rank, shape, nullptr, nullptr, 0, nullptr);
  if (made == nullptr) throw py::error_already_set();
  return {py::reinterpret_steal<py::object>(made),
          non_null(fields(made).data, product(shape, 0, rank))};
}

Output Call::create(std::initializer_list<int64_t> shape) const {
  py::ssize_t extents[kMaxRank];
  int rank = 0;
  for (const int64_t extent : shape) extents[rank++] = static_cast<py::ssize_t>(extent);
  return create(extents, rank);
}

Output Call::create_rows(const Matrix& x) const {
  py::ssize_t extents[kMaxRank];
  for (int i = 0; i < x.axis; ++i) extents[i] = x.x.shape[i];
  extents[x.axis] = 1;
  return create(extents, x.axis + 1);
}

Output Call::output(py::handle out, const char* name, const View& x, const char* alias) {
  if (out.is_none()) return create_like(x);
  if (!is_array(out)) refuse_type(name, type_of(out), "be None or a numpy.ndarray");
  check_out(out, name, x, alias);
  outs_[num_outs_++] = {name, alias};
  return {py::reinterpret_borrow<py::object>(out), non_null(fields(out).data, x.size)};
}

void Call::check_out(py::handle out, const char* name, const View& x, const char* alias) const {
  const py::detail::PyArray_Proxy& array = fields(out);
  if (descriptor(out).type_num != type_num_ || !is_native(out)) {
    refuse_type(name, has_dtype(out),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
  if (!same_shape(array.dimensions, array.nd, x)) {
    refuse_value(name, "has shape " + shape_text(array.dimensions, 0, array.nd),
                 "have " + shape_text(x) + ", the shape of " + std::string(x.name));
  }
  if ((array.flags & Api::NPY_ARRAY_C_CONTIGUOUS_) == 0) {
    refuse_value(name, "has strides " + shape_text(array.strides, 0, array.nd), "be C-contiguous");
  }
  if ((array.flags & Api::NPY_ARRAY_ALIGNED_) == 0) {
    refuse_value(name, "is misaligned", "be aligned to its elements");
  }
  if ((array.flags & Api::NPY_ARRAY_WRITEABLE_) == 0)
    refuse_value(name, "is read-only", "be writable");
  /* The C function checks what it is given; it never sees an input that had to be copied. */
  for (const Copy& copy : copies_) {
    if (copy.original.ptr() == copy.dense.ptr()) continue;
    const auto shares = py::module_::import("numpy").attr("may_share_memory")(out, copy.original);
    if (shares.cast<bool>()) {
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
    for (const Out& out : outs_) {
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
