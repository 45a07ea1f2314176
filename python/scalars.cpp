#include <cmath>
#include <limits>

#include "arrays.h"

namespace normkernels::python {

std::string text(py::handle value) { return py::str(value); }

std::string type_of(py::handle value) {
  return value.is_none() ? "is None" : std::string("is of type ") + Py_TYPE(value.ptr())->tp_name;
}

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

}  // namespace normkernels::python
