#include "arrays.h"

#include <cstring>

#include "numpy.h"
#include "tensors.h"

namespace normkernels::python {

namespace {

/* Of NumPy; they live as long as the process, as the module does. */
py::handle asanyarray, from_dlpack;

constexpr const char* kMustBeArray = "be an array of floating-point numbers";
constexpr const char* kMustBeOut =
    "be None, a numpy.ndarray or what NumPy views as one without a copy";

/* hasattr(): an AttributeError means no, and all other errors come out. */
bool has(py::handle value, const char* attribute) {
  PyObject* found = PyObject_GetAttrString(value.ptr(), attribute);
  if (found != nullptr) {
    Py_DECREF(found);
    return true;
  }
  if (PyErr_ExceptionMatches(PyExc_AttributeError) == 0) throw py::error_already_set();
  PyErr_Clear();
  return false;
}

bool is_viewed_by_numpy(py::handle value) {
  return has(value, "__array__") || PyObject_CheckBuffer(value.ptr()) != 0 ||
         has(value, "__array_interface__") || has(value, "__array_struct__");
}

/* Whether the error is how libraries refuse to be converted. Every other one, and every class of
 * the caller's own, comes out as it is. */
bool is_refusal(const py::error_already_set& error) {
  if (error.matches(PyExc_TypeError)) return true;
  for (PyObject* kind :
       {PyExc_ValueError, PyExc_BufferError, PyExc_RuntimeError, PyExc_NotImplementedError}) {
    if (error.type().ptr() == kind) return true;
  }
  return false;
}

/* The first line of what the error says. */
std::string reason(const py::error_already_set& error) {
  const std::string text = py::str(error.value());
  return text.substr(0, text.find('\n'));
}

/* torch's dtype that NumPy has no word for, as its own error names it. */
const char* must_be_instead(const std::string& reason, const char* must) {
  return reason.find("ScalarType BFloat16") == std::string::npos
             ? must
             : "be viewed as an array: t.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)";
}

const char* device_name(int64_t type) {
  switch (type) { /* DLDeviceType */
    case 2:
      return " (CUDA)";
    case 8:
      return " (Metal)";
    case 10:
      return " (ROCm)";
    case 14:
      return " (oneAPI)";
    default:
      return "";
  }
}

/* NumPy says that it does not support the device, and not which it is. */
void refuse_other_device(const Argument& argument) {
  if (!has(argument.value, "__dlpack_device__")) return;
  const py::object device = argument.value.attr("__dlpack_device__")();
  if (!PyTuple_Check(device.ptr()) || PyTuple_GET_SIZE(device.ptr()) != 2) return;
  Integer type;
  type.convert({argument.function, argument.name, device[py::int_(0)]});
  for (const int64_t of_the_cpu : {1, 3, 11, 13}) { /* the last three: shared with a GPU */
    if (type.get() == of_the_cpu) return;
  }
  argument.refuse_type(type_of(argument.value) + " in the memory of DLPack device " + type.text() +
                           device_name(type.get()),
                       "be in the CPU's");
}

/* __array__ goes before DLPack: only it refuses, or resolves, what the memory alone does not say.
 * torch exports a tensor that is negative by a flag with the opposite sign, and one that has no
 * memory as whatever lies there. */
py::object as_array(const Argument& argument, const char* must) {
  const py::handle value = argument.value;
  if (is_array(value)) return py::reinterpret_borrow<py::object>(value);
  const bool viewed = is_viewed_by_numpy(value);
  if (!viewed && !has(value, "__dlpack__")) argument.refuse_type(type_of(value), must);
  try {
    if (!viewed) refuse_other_device(argument);
    return viewed ? asanyarray(value) : from_dlpack(value);
  } catch (py::error_already_set& error) {
    if (!is_refusal(error)) throw;
    const std::string why = reason(error);
    argument.refuse_from(error, PyExc_TypeError,
                         type_of(value) + " and cannot be viewed as a CPU array (" + why + ")",
                         must_be_instead(why, must));
  }
}

bool is_pair(const Argument& argument) {
  const py::handle value = argument.value;
  if (PySequence_Check(value.ptr()) == 0) return false;
  /* A tensor of two rows is a sequence of two, but not what is meant. */
  return !is_array(value) && !is_viewed_by_numpy(value) && py::len(value) == 2;
}

/* Who has one has imported numpy.ma, which NumPy itself no longer does: it takes as long again. */
bool is_masked(const py::object& array) {
  const auto module =
      py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy.ma").ptr()));
  if (!module) {
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return false;
  }
  return py::isinstance(array, module.attr("MaskedArray"));
}

/* What its mask says is not seen here, not even that it hides nothing: that can change. */
void refuse_mask(const Argument& argument, const py::object& array) {
  if (is_masked(array)) {
    argument.refuse_type("is a masked array",
                         "be without a mask: pass its filled(value) or its data");
  }
}

}  // namespace

int64_t Shape::product(int first, int last) const {
  int64_t product = 1;
  for (int i = first; i < last; ++i) product *= extents_[i];
  return product;
}

int64_t Shape::size() const {
  int64_t product = 1;
  bool empty = false;
  for (int i = 0; i < rank_; ++i) {
    if (extents_[i] == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, extents_[i], &product)) {
      return -1;
    }
  }
  return empty ? 0 : product;
}

std::string Shape::text() const {
  std::string text = "(";
  for (int i = 0; i < rank_; ++i) text += (i == 0 ? "" : ", ") + std::to_string(extents_[i]);
  return text + (rank_ == 1 ? ",)" : ")");
}

bool is_bfloat16(py::handle array) {
  const char* name = reinterpret_cast<PyTypeObject*>(descriptor(array).typeobj)->tp_name;
  const char* dot = std::strrchr(name, '.');
  const auto dtype = py::reinterpret_borrow<py::dtype>(fields(array).descr);
  return std::strcmp(dot == nullptr ? name : dot + 1, "bfloat16") == 0 && dtype.itemsize() == 2;
}

void prepare_arrays() {
  ndarray = numpy().PyArray_Type_;
  const py::module_ module = py::module_::import("numpy");
  asanyarray = py::object(module.attr("asanyarray")).release();
  from_dlpack = py::object(module.attr("from_dlpack")).release();
}

void Array::convert(const Argument& argument) {
  name_ = argument.name;
  if (argument.of_tensors) {
    array_ = tensors::array_of(argument.value);
  } else if (Py_TYPE(argument.value.ptr()) == ndarray) {
    array_ = py::reinterpret_borrow<py::object>(argument.value);
  } else {
    array_ = as_array(argument, kMustBeArray);
    refuse_mask(argument, array_);
  }
  shape_.set(fields(array_).dimensions, fields(array_).nd);
}

void Out::take(const Argument& argument) {
  name_ = argument.name;
  given_ = py::reinterpret_borrow<py::object>(argument.value);
  if (argument.of_tensors) {
    array_ = tensors::array_of(given_);
    return;
  }
  if (Py_TYPE(given_.ptr()) == ndarray) {
    array_ = given_;
    return;
  }
  array_ = as_array(argument, kMustBeOut);
  refuse_mask(argument, array_);
  if (array_.is(given_)) return;
  /* A copy is another one each time. */
  const py::object again = as_array(argument, kMustBeOut);
  if (fields(array_).data != fields(again).data && shape_of(array_).size() != 0) {
    argument.refuse_type(type_of(given_) + ", of which NumPy makes a copy", kMustBeOut);
  }
}

void OutPair::take(const Argument& argument) {
  const py::handle pair = argument.value;
  if (!is_pair(argument)) {
    argument.refuse_type("is not a pair", "be None or a pair (y, dx) of arrays");
  }
  const py::object items[] = {pair[py::int_(0)], pair[py::int_(1)]};
  first_.convert({argument.function, "out[0]", items[0], argument.of_tensors});
  second_.convert({argument.function, "out[1]", items[1], argument.of_tensors});
}

}  // namespace normkernels::python
