#include "tensors.h"

#include <algorithm>
#include <vector>

#include "bind.h"
#include "dlpack.h"
#include "numpy.h"

namespace normkernels::python::tensors {

namespace {

struct Named {
  const char* full_name;
  PyMethodDef* method;
};

std::vector<Named>& functions_on_tensors() {
  static std::vector<Named> functions;
  return functions;
}

/* What tensor_functions() was given; the objects live as long as the process. */
struct Library {
  const dlpack::ExchangeApi* api = nullptr; /* NULL: nothing is lent */
  py::tuple types;
  py::object is_neg, is_meta; /* a function, and the name of an attribute */
  py::object array, tensor, bfloat16;
};

Library& library() {
  static auto* library = new Library; /* never destroyed: Python ends before */
  return *library;
}

/* NULL, without an error: the type has none that is known here. */
const dlpack::ExchangeApi* find_api(py::handle type) {
  const auto capsule = py::getattr(type, dlpack::kAttribute, py::none());
  if (PyCapsule_IsValid(capsule.ptr(), dlpack::kCapsule) == 0) return nullptr;
  auto* header = static_cast<const dlpack::ExchangeHeader*>(
      PyCapsule_GetPointer(capsule.ptr(), dlpack::kCapsule));
  while (header != nullptr && header->version.major != dlpack::kMajorVersion) {
    header = header->prev_api;
  }
  const auto* api = reinterpret_cast<const dlpack::ExchangeApi*>(header);
  return api == nullptr || api->lend == nullptr ? nullptr : api;
}

/* An instance of a class derived from them may mean something else than its memory. */
bool is_known(py::handle value) {
  const auto* type = reinterpret_cast<PyObject*>(Py_TYPE(value.ptr()));
  for (const py::handle known : library().types) {
    if (known.ptr() == type) return true;
  }
  return false;
}

bool is_false(PyObject* answer) {
  if (answer == nullptr) throw py::error_already_set();
  Py_DECREF(answer);
  return answer == Py_False;
}

/* Whether elements are what the memory says: torch lends a tensor that is negative by a flag as if
 * it were not. For one on meta it refuses, but makes a trace of C++ calls first, which takes ms. */
bool is_plain(py::handle tensor) {
  return is_false(PyObject_CallOneArg(library().is_neg.ptr(), tensor.ptr())) &&
         is_false(PyObject_GetAttr(tensor.ptr(), library().is_meta.ptr()));
}

/* A new reference to NumPy's dtype; NULL: none of ours. */
PyObject* dtype_of(const dlpack::DataType& type) {
  if (type.lanes != 1) return nullptr;
  if (type.code == dlpack::kBfloat && type.bits == 16) {
    return library().bfloat16.inc_ref().ptr();
  }
  if (type.code != dlpack::kFloat) return nullptr;
  switch (type.bits) {
    case 16:
      return native_dtype(kHalf);
    case 32:
      return native_dtype(Api::NPY_FLOAT_);
    case 64:
      return native_dtype(Api::NPY_DOUBLE_);
    default:
      return nullptr;
  }
}

bool is_empty(const dlpack::Tensor& tensor) {
  for (int i = 0; i < tensor.ndim; ++i) {
    if (tensor.shape[i] == 0) return true;
  }
  return false;
}

/* Nothing, without an error: it is not lent, or is no ordinary memory with elements of ours. The
 * array holds the tensor; a thread that gives the tensor other memory meanwhile takes away what is
 * read, as it does from torch's own operators. */
py::object lent_array(py::handle value) {
  dlpack::Tensor tensor;
  if (library().api->lend(value.ptr(), &tensor) != 0) {
    PyErr_Clear();
    return {};
  }
  const bool empty = is_empty(tensor);
  if (tensor.device.type != dlpack::kCpu || tensor.ndim > kMaxRank) return {};
  if (tensor.data == nullptr && !empty) return {};
  PyObject* dtype = dtype_of(tensor.dtype);
  if (dtype == nullptr) return {};
  py::ssize_t strides[kMaxRank];
  for (int i = 0; i < tensor.ndim; ++i) strides[i] = tensor.strides[i] * (tensor.dtype.bits / 8);
  auto* data = static_cast<unsigned char*>(non_null(tensor.data, empty ? 0 : 1));
  if (!empty) data += tensor.byte_offset;
  PyObject* made =
      numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, dtype, tensor.ndim, tensor.shape,
                                    strides, data, Api::NPY_ARRAY_WRITEABLE_, nullptr);
  if (made == nullptr) throw py::error_already_set();
  const auto array = py::reinterpret_steal<py::object>(made);
  if (numpy().PyArray_SetBaseObject_(made, value.inc_ref().ptr()) != 0) {
    throw py::error_already_set();
  }
  return array;
}

void set_error(void*, const char*, const char* message) {
  PyErr_SetString(PyExc_MemoryError, message);
}

dlpack::DataType type_of_number(int type_num) {
  if (type_num >= kFirstOfUsers) return {dlpack::kBfloat, 16, 1};
  return {dlpack::kFloat, static_cast<uint8_t>(8 * item_bytes(type_num)), 1};
}

constexpr const char* kDoc = R"(tensor_functions(types, array, tensor, bfloat16)
--

The functions on arrays as functions on tensors, by name, whose results are tensors.

    types     classes of tensors: if the first of them lends to C code (DLPack's exchange API), the
              memory of instances is read without the two functions
    array     returns the array in the memory of a tensor, or raises an error
    tensor    returns the tensor in the memory of an array
    bfloat16  NumPy's dtype of that name)";

py::object tensor_functions(Call&, const Object& types, const Object& array, const Object& tensor,
                            const Object& bfloat16) {
  const py::tuple known_types(types.get());
  const py::object type = known_types[0];
  const auto is_meta = py::reinterpret_steal<py::object>(PyUnicode_InternFromString("is_meta"));
  library() = {find_api(type), known_types,  type.attr("is_neg"), is_meta,
               array.get(),    tensor.get(), bfloat16.get()};
  py::dict functions;
  for (const auto& [full_name, method] : functions_on_tensors()) {
    const auto made = py::reinterpret_steal<py::object>(PyCFunction_New(method, nullptr));
    if (!made) throw py::error_already_set();
    functions[full_name] = made;
  }
  return std::move(functions);
}

}  // namespace

void add(const char* full_name, PyMethodDef* method) {
  functions_on_tensors().push_back({full_name, method});
}

py::object array_of(py::handle value) {
  if (library().api != nullptr && is_known(value) && is_plain(value)) {
    py::object array = lent_array(value);
    if (array) return array;
  }
  py::object array = library().array(value);
  if (!is_array(array)) throw py::type_error(type_of(array) + ", must be an array");
  return array;
}

py::object of_array(const py::object& array) { return library().tensor(array); }

bool can_create() { return library().api != nullptr; }

py::object create(int type_num, const Shape& shape, void** data) {
  py::ssize_t extents[kMaxRank];
  std::copy_n(shape.data(), shape.rank(), extents);
  dlpack::Tensor prototype = {};
  prototype.device = {dlpack::kCpu, 0};
  prototype.ndim = shape.rank();
  prototype.dtype = type_of_number(type_num);
  prototype.shape = extents;
  dlpack::ManagedTensor* made = nullptr;
  void* object = nullptr;
  if (library().api->allocate(&prototype, &made, nullptr, set_error) != 0) {
    throw py::error_already_set();
  }
  *data = static_cast<unsigned char*>(made->tensor.data) + made->tensor.byte_offset;
  if (library().api->to_object(made, &object) != 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
}

void bind(py::module_& module) { python::add<tensor_functions>(module, kDoc); }

}  // namespace normkernels::python::tensors
