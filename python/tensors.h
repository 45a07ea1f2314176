/* The functions on arrays, once more for torch's tensors: what they are given are tensors, and so
 * are their results. normkernels.torch calls these; it has checked what the memory alone does not
 * say, such as whether a gradient is wanted. Functions on arrays take tensors by __array__, which
 * checks: that takes 1.5 us for each, this 0.3. */
#ifndef NORMKERNELS_PYTHON_TENSORS_H_
#define NORMKERNELS_PYTHON_TENSORS_H_

#include <pybind11/pybind11.h>

#include "arrays.h"

namespace normkernels::python::tensors {

/* A function that tensor_functions() is to have, by this name. Both live as long as the process. */
void add(const char* full_name, PyMethodDef* method);

/* The array in the memory of a tensor. */
py::object array_of(py::handle value);

/* The tensor in the memory of an array. */
py::object of_array(const py::object& array);

/* A new tensor of one of NumPy's types, dense, and where its elements are; if the library can. */
bool can_create();
py::object create(int type_num, const Shape& shape, void** data);

}  // namespace normkernels::python::tensors

#endif  // NORMKERNELS_PYTHON_TENSORS_H_
