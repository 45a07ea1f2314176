#include <unistd.h>

#include <new>
#include <stdexcept>

#include "call.h"
#include "numpy.h"

namespace normkernels::python {

namespace {

bool interpreter_ends() {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

/* Before 3.14, Python ends such a thread by pthread_exit, which unwinds its stack: destructors
 * would give back references without the GIL, and one that may not throw, as that of
 * py::gil_scoped_release, would end the process by std::terminate. This one comes before them. */
struct EndsHere {
  bool returned = false;
  ~EndsHere() {
    if (returned || !interpreter_ends()) return; /* else cancelled by somebody */
    for (;;) pause();
  }
};

}  // namespace

void take_gil(PyThreadState* thread) {
  EndsHere ends_here;
  PyEval_RestoreThread(thread);
  ends_here.returned = true;
}

Workspace::Workspace(size_t bytes) {
  if (bytes <= sizeof(small_)) {
    data_ = bytes == 0 ? nullptr : small_;
    return;
  }
  /* Python's own, which tracemalloc sees: an array would take 250 ns. */
  large_ = bytes < PY_SSIZE_T_MAX - kAlignment ? PyMem_RawMalloc(bytes + kAlignment) : nullptr;
  if (large_ == nullptr) throw std::bad_alloc();
  const auto address = reinterpret_cast<uintptr_t>(large_);
  data_ = reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

/* ---- Status ---------------------------------------------------------------------------------- */

std::string must_not_overlap(const char* alias) {
  return alias == nullptr ? "share none" : std::string("be ") + alias + " itself or share none";
}

void Call::fail(normkernels_status status, const char* const* names, size_t n) const {
  const auto position = static_cast<size_t>(normkernels_status_argument(status));
  const char* name = position >= 1 && position <= n ? names[position - 1] : "an argument";
  const normkernels_status kind = normkernels_status_kind(status);
  if (kind == NORMKERNELS_OVERLAP) refuse_overlap(name);
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
