/* The fields of NumPy's arrays, read without its headers: pybind11 holds the way in, but its own
 * classes count references and look everything up anew. */
#ifndef NORMKERNELS_PYTHON_NUMPY_H_
#define NORMKERNELS_PYTHON_NUMPY_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "arrays.h"
#include "imported.h"

namespace normkernels::python {

namespace py = pybind11;

using Api = py::detail::npy_api;

inline const Api& numpy() { return Api::get(); }

/* The class, which lives as long as the process. Set by prepare_arrays(). */
inline PyTypeObject* ndarray = nullptr;

inline const py::detail::PyArray_Proxy& fields(py::handle array) {
  return *py::detail::array_proxy(array.ptr());
}

inline const py::detail::PyArrayDescr_Proxy& descriptor(py::handle array) {
  return *py::detail::array_descriptor_proxy(fields(array).descr);
}

inline Shape shape_of(py::handle array) { return {fields(array).dimensions, fields(array).nd}; }

/* Most arguments are of NumPy's own class or None; for others its bases are walked. */
inline bool is_array(py::handle value) {
  PyTypeObject* type = Py_TYPE(value.ptr());
  return type == ndarray || (!value.is_none() && PyType_IsSubtype(type, ndarray) != 0);
}

/* '=', or the machine's own by name, as the arrays of ctypes have it. */
inline bool is_native(py::handle array) {
  const char own = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
  return descriptor(array).byteorder == '=' || descriptor(array).byteorder == own;
}

/* NumPy's, which pybind11 has no names for: NPY_HALF, and the first that a user's dtype can have.
 */
constexpr int kHalf = 23, kFirstOfUsers = 256;

/* A user's dtype is known by its name: its number is whichever was free when its module came. */
bool is_bfloat16(py::handle array);

/* The type of the elements, with no flag; 0: none of ours. */
inline normkernels_dtype element_type(py::handle array) {
  const int type_num = descriptor(array).type_num;
  if (type_num == Api::NPY_FLOAT_) return NORMKERNELS_F32;
  if (type_num == Api::NPY_DOUBLE_) return NORMKERNELS_F64;
  if (type_num == kHalf) return NORMKERNELS_F16;
  return type_num >= kFirstOfUsers && is_bfloat16(array) ? NORMKERNELS_BF16 : 0;
}

inline bool is_half(normkernels_dtype type) {
  return type == NORMKERNELS_F16 || type == NORMKERNELS_BF16;
}

/* Of an element of ours. */
inline py::ssize_t item_bytes(int type_num) {
  return type_num == Api::NPY_FLOAT_ ? 4 : type_num == Api::NPY_DOUBLE_ ? 8 : 2;
}
inline py::ssize_t item_bytes(py::handle array) { return item_bytes(descriptor(array).type_num); }

/* Aligned, and its elements lie a whole number of them apart. */
inline bool has_whole_strides(py::handle array) {
  const auto& a = fields(array);
  if ((a.flags & Api::NPY_ARRAY_ALIGNED_) == 0) return false;
  if ((a.flags & Api::NPY_ARRAY_C_CONTIGUOUS_) != 0) return true;
  for (int i = 0; i < a.nd; ++i) {
    if (a.dimensions[i] > 1 && a.strides[i] % item_bytes(array) != 0) return false;
  }
  return true;
}

/* What a message says of an array. */
inline std::string has_dtype(py::handle array) {
  return "has dtype " + std::string(py::str(py::handle(fields(array).descr)));
}
inline const char* type_name(normkernels_dtype type) {
  return type == NORMKERNELS_F32   ? "float32"
         : type == NORMKERNELS_F64 ? "float64"
         : type == NORMKERNELS_F16 ? "float16"
                                   : "bfloat16";
}

/* A zero-size array may come with a NULL pointer (DLPack); the C functions want one that is not. */
inline void* non_null(const void* data, int64_t size) {
  alignas(64) static unsigned char nothing[64];
  return size == 0 ? nothing : const_cast<void*>(data);
}

inline Imported moments_dtype("moments_dtype");

/* A new reference, for NumPy to take. */
inline PyObject* native_dtype(int type_num) { return numpy().PyArray_DescrFromType_(type_num); }

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_NUMPY_H_
