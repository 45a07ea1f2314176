/* What the module takes from normkernels._types, when a call first needs it. */
#ifndef NORMKERNELS_PYTHON_IMPORTED_H_
#define NORMKERNELS_PYTHON_IMPORTED_H_

#include <pybind11/pybind11.h>

#include <atomic>

namespace normkernels::python {

namespace py = pybind11;

/* Not with the module itself: to make these classes takes longer than all else of its import, and
 * a forward without statistics needs none. The object lives as long as the process; threads that
 * come at once find the same one. */
class Imported {
 public:
  constexpr explicit Imported(const char* name) : name_(name) {}

  py::handle get() const {
    PyObject* object = object_.load(std::memory_order_acquire);
    if (object == nullptr) {
      object = py::object(py::module_::import("normkernels._types").attr(name_)).release().ptr();
      object_.store(object, std::memory_order_release);
    }
    return object;
  }

 private:
  const char* name_;
  mutable std::atomic<PyObject*> object_{nullptr};
};

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_IMPORTED_H_
