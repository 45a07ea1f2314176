#include "arrays.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace normkernels::python {

namespace {

const py::detail::npy_api& numpy() { return py::detail::npy_api::get(); }

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

std::string text(py::handle value) { return py::str(value); }

std::string type_of(py::handle value) {
  return value.is_none() ? "is None" : std::string("is of type ") + Py_TYPE(value.ptr())->tp_name;
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

const char* type_name(int type_num) {
  return type_num == py::detail::npy_api::NPY_FLOAT_ ? "float32" : "float64";
}

bool is_float(int type_num) {
  return type_num == py::detail::npy_api::NPY_FLOAT_ ||
         type_num == py::detail::npy_api::NPY_DOUBLE_;
}

bool is_native(const py::array& array) { return array.dtype().byteorder() == '='; }

constexpr int kDense =
    py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;

bool is_dense(const py::array& array) {
  return (array.flags() & kDense) == kDense && is_native(array);
}

std::string must_not_overlap(const char* alias) {
  return alias == nullptr ? "share none" : std::string("be ") + alias + " itself or share none";
}

py::array dense_copy(const py::array& array) {
  PyObject* copy =
      numpy().PyArray_FromAny_(array.ptr(), py::dtype(array.dtype().num()).release().ptr(), 0, 0,
                               kDense | py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_, nullptr);
  if (copy == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::array>(copy);
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
  return type_num_ == py::detail::npy_api::NPY_FLOAT_ ? NORMKERNELS_F32 : NORMKERNELS_F64;
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

py::array Call::array(py::handle value, const char* name) const {
  if (numpy().PyArray_Check_(value.ptr())) return py::reinterpret_borrow<py::array>(value);
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
  py::array view = array(value, name);
  const int type_num = view.dtype().num();
  if (!is_float(type_num)) {
    refuse_type(name, "has dtype " + text(view.dtype()), "be float32 or float64");
  }
  if (type_num_ == 0) {
    type_num_ = type_num;
    reference_ = name;
  } else if (type_num != type_num_) {
    refuse_type(name, std::string("has dtype ") + type_name(type_num),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
  if (!is_dense(view)) {
    copies_.push_back({view, dense_copy(view)});
    view = copies_.back().dense;
  } else if (view.ptr() != value.ptr()) {
    copies_.push_back({view, view}); /* nobody else holds it */
  }
  const int rank = static_cast<int>(view.ndim());
  const int64_t size = product(view.shape(), 0, rank);
  return {name, non_null(view.data(), size), view.shape(), rank, size};
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
  const std::string name = text(order);
  if (name == "NCHW" || name == "nchw") {
    return {x, NORMKERNELS_NCHW, x.shape[0], x.shape[1], product(x.shape, 2, x.rank)};
  }
  if (name == "NHWC" || name == "nhwc") {
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
  PyObject* made =
      numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, py::dtype(type_num_).release().ptr(),
                                    rank, shape, nullptr, nullptr, 0, nullptr);
  if (made == nullptr) throw py::error_already_set();
  Output output{py::reinterpret_steal<py::object>(made)};
  output.data = non_null(py::detail::array_proxy(made)->data, product(shape, 0, rank));
  return output;
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
  if (!numpy().PyArray_Check_(out.ptr())) {
    refuse_type(name, type_of(out), "be None or a numpy.ndarray");
  }
  const py::array array = py::reinterpret_borrow<py::array>(out);
  check_out(array, name, x, alias);
  outs_[num_outs_++] = {name, alias};
  return {array, non_null(array.data(), x.size)};
}

void Call::check_out(const py::array& out, const char* name, const View& x,
                     const char* alias) const {
  using Api = py::detail::npy_api;
  if (out.dtype().num() != type_num_ || !is_native(out)) {
    refuse_type(name, "has dtype " + text(out.dtype()),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
  const int rank = static_cast<int>(out.ndim());
  if (!same_shape(out.shape(), rank, x)) {
    refuse_value(name, "has shape " + shape_text(out.shape(), 0, rank),
                 "have " + shape_text(x) + ", the shape of " + std::string(x.name));
  }
  if ((out.flags() & Api::NPY_ARRAY_C_CONTIGUOUS_) == 0) {
    refuse_value(name, "has strides " + shape_text(out.strides(), 0, rank), "be C-contiguous");
  }
  if ((out.flags() & Api::NPY_ARRAY_ALIGNED_) == 0) {
    refuse_value(name, "is misaligned", "be aligned to its elements");
  }
  if ((out.flags() & Api::NPY_ARRAY_WRITEABLE_) == 0)
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

/* ---- Scalars --------------------------------------------------------------------------------- */

double Call::real(py::handle value, const char* name) const {
  const double real = PyFloat_AsDouble(value.ptr());
  if (real != -1.0 || PyErr_Occurred() == nullptr) return real;
  const bool overflow = PyErr_ExceptionMatches(PyExc_OverflowError) != 0;
  if (!overflow && PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
  PyErr_Clear();
  if (!overflow) refuse_type(name, type_of(value), "be a number");
  return std::numeric_limits<double>::infinity();
}

double Call::number(py::handle value, const char* name) const {
  const double number = real(value, name);
  if (!std::isfinite(number)) refuse_value(name, "is " + text(value), "be finite");
  return number;
}

double Call::epsilon(py::handle value) const {
  const double epsilon = real(value, "epsilon");
  if (!std::isfinite(epsilon) || epsilon < 0) {
    refuse_value("epsilon", "is " + text(value), "be finite and >= 0");
  }
  return epsilon;
}

/* What does not fit in 64 bits comes back as the nearest that does: out of every range below. */
int64_t Call::integer(py::handle value, const char* name) const {
  if (!PyIndex_Check(value.ptr())) refuse_type(name, type_of(value), "be an integer");
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {
    PyErr_Clear(); /* an array that is not one integer */
    refuse_type(name, type_of(value), "be an integer");
  }
  int overflow = 0;
  const long long result = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow > 0) return std::numeric_limits<int64_t>::max();
  if (overflow < 0) return std::numeric_limits<int64_t>::min();
  return result;
}

int64_t Call::count(py::handle value, const char* name, int64_t at_least) const {
  const int64_t count = integer(value, name);
  if (count < at_least) {
    refuse_value(name, "is " + text(value), "be at least " + std::to_string(at_least));
  }
  if (count == std::numeric_limits<int64_t>::max()) {
    refuse_value(name, "is " + text(value), "be less than 2**63 - 1");
  }
  return count;
}

bool Call::flag(py::handle value, const char* name) const {
  const int truth = PyObject_IsTrue(value.ptr());
  if (truth < 0) {
    PyErr_Clear(); /* an array of several */
    refuse_type(name, type_of(value), "be True or False");
  }
  return truth != 0;
}

Executor Call::executor(py::handle num_threads) const {
  if (num_threads.is_none()) return Executor(0);
  const int64_t threads = integer(num_threads, "num_threads");
  if (threads < 0 || threads > std::numeric_limits<int32_t>::max()) {
    refuse_value("num_threads", "is " + text(num_threads),
                 "be at least 1, or None or 0 for the default, and less than 2**31");
  }
  return Executor(static_cast<int32_t>(threads));
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

}  // namespace normkernels::python
