/* A C++ function of a Call and of converted arguments as a function of Python.
 *
 * Conversion can run any code of the caller's, so it comes first and here, for every function: all
 * scalars, then all arrays. Only what is a NumPy array already, whose conversion runs nothing, goes
 * before: its shape is the one that the caller sees. The function gets what came of it and no
 * object of Python's: it cannot look at an array, then run code that changes it.
 *
 * pybind11's dispatcher makes strings of the names anew in each call that has keywords: with three
 * of them layer norm of a row of 768 took 1100 ns. It takes 380 here, 200 of them in the kernel.
 * What a function takes is said once, in the signature that opens its docstring: Python itself
 * reads it at import, and refuses in its own words every call that does not fit; of an argument
 * that another library has under another name, ours is said as well.
 */
#ifndef NORMKERNELS_PYTHON_FUNCTION_H_
#define NORMKERNELS_PYTHON_FUNCTION_H_

#include <pybind11/pybind11.h>

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include "call.h"
#include "numpy.h"
#include "scalars.h"
#include "tensors.h"

namespace normkernels::python {

namespace py = pybind11;

/* The parameters of one function. Its objects live as long as the process, as the module does. */
class Signature {
 public:
  /* `doc` is "name(parameters)\n--\n" and what follows; it must have so many parameters. */
  void read(const py::module_& module, const char* doc, size_t parameters);
  const char* name() const { return name_; }
  /* With the submodule, as errors say it: "helpers.compute_moments". */
  const char* full_name() const { return full_name_; }
  Argument argument(size_t i, py::handle value, bool of_tensors) const {
    return {full_name_, texts_[i], value, of_tensors};
  }

  /* One value per parameter, in order. False, with Python's error set: the call does not fit. */
  bool bind(PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords,
            py::handle* values) const;

 private:
  static constexpr int kMaxParameters = 16;

  int find(PyObject* keyword) const;
  bool has(const char* parameter) const;
  /* Sets the error if the keyword is another library's name of a parameter. */
  bool explain(PyObject* keyword) const;
  bool refuse(PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords) const;

  const char* name_ = nullptr;
  const char* full_name_ = nullptr;
  PyObject* twin_ = nullptr; /* a function of Python with this signature */
  int positional_ = 0;       /* parameters that may go by position */
  int count_ = 0;
  PyObject* names_[kMaxParameters] = {};
  const char* texts_[kMaxParameters] = {};
  PyObject* defaults_[kMaxParameters] = {}; /* NULL: required */
};

/* Sets Python's error from the C++ exception that is being handled. */
void set_error_from_exception();

template <auto function>
class Function;

template <class... Parameters, py::object (*function)(Call&, Parameters...)>
class Function<function> {
 public:
  static void add(py::module_& module, const char* doc) {
    signature_.read(module, doc, sizeof...(Parameters));
    methods_[0] = method(call<false>, doc);
    if (PyModule_AddFunctions(module.ptr(), methods_) != 0) throw py::error_already_set();
    if constexpr ((... || (std::decay_t<Parameters>::kPhase == Phase::kArray))) {
      on_tensors_ = method(call<true>, doc);
      tensors::add(signature_.full_name(), &on_tensors_);
    }
  }

 private:
  using Vectorcall = PyObject*(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

  static PyMethodDef method(Vectorcall* call, const char* doc) {
    return {signature_.name(), reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
            METH_FASTCALL | METH_KEYWORDS, doc};
  }

  template <bool of_tensors> /* a PyMethodDef's function gets no data of its own */
  static PyObject* call(PyObject*, PyObject* const* arguments, Py_ssize_t positional,
                        PyObject* keywords) {
    py::handle values[sizeof...(Parameters) + 1]; /* there may be none */
    if (!signature_.bind(arguments, positional, keywords, values)) return nullptr;
    try {
      return invoke(values, of_tensors, std::index_sequence_for<Parameters...>()).release().ptr();
    } catch (const std::exception&) { /* all that is thrown; a cancelled thread unwinds on */
      set_error_from_exception();
      return nullptr;
    }
  }

  template <size_t... I>
  static py::object invoke([[maybe_unused]] const py::handle* values, bool of_tensors,
                           std::index_sequence<I...>) {
    std::tuple<std::decay_t<Parameters>...> converted;
    (convert<Phase::kSeen, I>(values, of_tensors, std::get<I>(converted)), ...);
    (convert<Phase::kScalar, I>(values, of_tensors, std::get<I>(converted)), ...);
    (convert<Phase::kArray, I>(values, of_tensors, std::get<I>(converted)), ...);
    Call call(signature_.full_name(), of_tensors);
    return function(call, std::get<I>(converted)...);
  }

  template <Phase phase, size_t i, class Parameter>
  static void convert(const py::handle* values, bool of_tensors, Parameter& converted) {
    constexpr bool kArray = Parameter::kPhase == Phase::kArray;
    if constexpr (phase == Phase::kScalar ? !kArray : kArray) {
      if (!kArray || is_array(values[i]) == (phase == Phase::kSeen))
        converted.convert(signature_.argument(i, values[i], of_tensors));
    }
  }

  static inline Signature signature_;
  static inline PyMethodDef methods_[2] = {}, on_tensors_ = {};
};

/* Adds the function to the module, under the name and with the signature that `doc` opens with. */
template <auto function>
void add(py::module_& module, const char* doc) {
  Function<function>::add(module, doc);
}

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_FUNCTION_H_
