#include "scalars.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "numpy.h"

namespace normkernels::python {

namespace {

/* The most threads that the library ever uses, whichever way their number is said. */
constexpr int64_t kMaxThreads = 1024;

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

std::string message(const char* function, const char* name, const std::string& was,
                    const std::string& must) {
  return std::string(function) + ": " + name + " " + was + ", must " + must;
}

/* str() of an int or a float itself; classes derived from them have a __str__ of their own. */
std::string text_of(const py::object& number) { return py::str(number); }

/* Python refuses to write out integers of thousands of digits. */
std::string integer_text(const py::object& integer) {
  const auto bits = integer.attr("bit_length")().cast<size_t>();
  return bits > 1024 ? "an integer of " + std::to_string(bits) + " bits" : text_of(integer);
}

/* What float() says. An error in the object's own code comes out as it is. */
double real(const Argument& argument, const char* must) {
  const double real = PyFloat_AsDouble(argument.value.ptr());
  if (real != -1.0 || PyErr_Occurred() == nullptr) return real;
  py::error_already_set error;
  if (error.matches(PyExc_OverflowError)) {
    argument.refuse_from(error, PyExc_ValueError, "is beyond the range of float64", must);
  }
  if (!error.matches(PyExc_TypeError)) throw error;
  argument.refuse_from(error, PyExc_TypeError, type_of(argument.value), "be a number");
}

std::string is(double value) { return "is " + text_of(py::float_(value)); }

}  // namespace

void refuse_value(const char* function, const char* name, const std::string& was,
                  const std::string& must) {
  throw py::value_error(message(function, name, was, must));
}

void refuse_type(const char* function, const char* name, const std::string& was,
                 const std::string& must) {
  throw py::type_error(message(function, name, was, must));
}

void Argument::refuse_from(py::error_already_set& cause, PyObject* type, const std::string& was,
                           const std::string& must) const {
  py::raise_from(cause, type, message(function, name, was, must).c_str());
  throw py::error_already_set();
}

std::string type_of(py::handle value) {
  return value.is_none() ? "is None" : std::string("is of type ") + Py_TYPE(value.ptr())->tp_name;
}

std::string quoted(py::handle string) {
  const auto repr = py::reinterpret_steal<py::object>(PyUnicode_Type.tp_repr(string.ptr()));
  if (!repr) throw py::error_already_set();
  return repr.cast<std::string>();
}

void Integer::convert(const Argument& argument) {
  py::object index;
  if (PyIndex_Check(argument.value.ptr())) {
    index = py::reinterpret_steal<py::object>(PyNumber_Index(argument.value.ptr()));
    if (!index) {
      py::error_already_set error;
      if (!error.matches(PyExc_TypeError)) throw error;
      argument.refuse_from(error, PyExc_TypeError, type_of(argument.value), "be an integer");
    }
  } else {
    argument.refuse_type(type_of(argument.value), "be an integer");
  }
  int overflow = 0;
  value_ = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow == 0) return;
  value_ = overflow > 0 ? kLargest : std::numeric_limits<int64_t>::min();
  large_ = std::move(index);
}

std::string Integer::text() const { return large_ ? integer_text(large_) : std::to_string(value_); }

void Axes::take(const Argument& argument) {
  constexpr const char* kMust = "be an integer or a sequence of integers";
  PyObject* value = argument.value.ptr();
  /* An array is both, a string's elements are strings, and those of bytes nobody calls axes. */
  const bool many = is_array(argument.value) && fields(argument.value).nd > 0;
  single_ = PyIndex_Check(value) != 0 && !many;
  if (single_) return axes_.emplace_back().convert(argument);
  if (PySequence_Check(value) == 0 || PyUnicode_Check(value) || PyBytes_Check(value)) {
    argument.refuse_type(type_of(argument.value), kMust);
  }
  /* A list could change while its elements are converted. */
  const auto items = py::reinterpret_steal<py::tuple>(PySequence_Tuple(value));
  if (!items) throw py::error_already_set();
  if (items.empty()) argument.refuse_value("is empty", "name a dimension");
  if (items.size() > kMaxRank) {
    argument.refuse_value("has " + std::to_string(items.size()) + " elements",
                          "name each dimension once");
  }
  for (const py::handle item : items) {
    const std::string name = std::string(argument.name) + "[" + std::to_string(axes_.size()) + "]";
    axes_.emplace_back().convert({argument.function, name.c_str(), item});
  }
}

std::string Axes::text() const {
  if (single_) return axes_[0].text();
  std::string text;
  for (const Integer& axis : axes_) text += (text.empty() ? "(" : ", ") + axis.text();
  return text + (axes_.size() == 1 ? ",)" : ")");
}

void Count::convert(const Argument& argument, int64_t least) {
  Integer integer;
  integer.convert(argument);
  value_ = integer.get();
  if (value_ < least) {
    argument.refuse_value("is " + integer.text(), "be at least " + std::to_string(least));
  }
  if (value_ == kLargest) argument.refuse_value("is " + integer.text(), "be less than 2**63 - 1");
}

void Number::convert(const Argument& argument) {
  value_ = real(argument, "be finite");
  if (!std::isfinite(value_)) argument.refuse_value(is(value_), "be finite");
}

void Epsilon::convert(const Argument& argument) {
  value_ = real(argument, "be finite and >= 0");
  if (!std::isfinite(value_) || value_ < 0) {
    argument.refuse_value(is(value_), "be finite and >= 0");
  }
}

void Flag::convert(const Argument& argument) {
  const int truth = PyObject_IsTrue(argument.value.ptr());
  if (truth < 0) {
    py::error_already_set error;
    /* An array of several has no truth either, and says so by a ValueError. */
    const bool array = py::isinstance<py::array>(argument.value);
    if (!error.matches(PyExc_TypeError) && !(array && error.matches(PyExc_ValueError))) throw error;
    argument.refuse_from(error, PyExc_TypeError, type_of(argument.value), "be True or False");
  }
  value_ = truth != 0;
}

void Order::convert(const Argument& argument) {
  if (!PyUnicode_Check(argument.value.ptr())) {
    argument.refuse_type(type_of(argument.value), "be a string");
  }
  const auto is = [&](const char* name) {
    return PyUnicode_CompareWithASCIIString(argument.value.ptr(), name) == 0;
  };
  if (is("NCHW") || is("nchw")) {
    value_ = NORMKERNELS_NCHW;
  } else if (is("NHWC") || is("nhwc")) {
    value_ = NORMKERNELS_NHWC;
  } else {
    argument.refuse_value("is " + quoted(argument.value), "be 'NCHW' or 'NHWC'");
  }
}

void Name::convert(const Argument& argument) {
  value_ = argument.value;
  if (value_.is_none()) return;
  if (!PyUnicode_Check(value_.ptr())) {
    argument.refuse_type(type_of(value_), "be a string or None");
  }
  Py_ssize_t bytes = 0;
  text_ = PyUnicode_AsUTF8AndSize(value_.ptr(), &bytes);
  if (text_ == nullptr) {
    py::error_already_set error;
    if (!error.matches(PyExc_UnicodeError)) throw error;
  } else if (std::strlen(text_) != static_cast<size_t>(bytes)) {
    text_ = nullptr;
  }
}

void Threads::convert(const Argument& argument) {
  Integer integer;
  integer.convert(argument);
  if (integer.get() < 0) {
    argument.refuse_value("is " + integer.text(), "be at least 1, or 0 for the default");
  }
  value_ = static_cast<int32_t>(integer.get() < kMaxThreads ? integer.get() : kMaxThreads);
}

void Executor::convert(const Argument& argument) {
  if (argument.value.is_none() || openmp::find_executor(argument.value, &value_)) return;
  Threads threads;
  threads.convert(argument);
  value_.num_threads = threads.get();
}

}  // namespace normkernels::python
