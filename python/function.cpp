#include "function.h"

#include <pybind11/eval.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace normkernels::python {

namespace {

/* A string that lives as long as the process. */
const char* keep(const py::str& text) { return PyUnicode_AsUTF8(py::str(text).release().ptr()); }

/* What torch, ONNX and our own other norms call an argument, and what it is called here, of a
 * function that has both parameters. */
struct OtherName {
  const char* theirs;
  const char* ours;
  const char* beside;
  const char* text = nullptr; /* what is said where another name is not all that differs */
};

constexpr OtherName kOtherNames[] = {
    {"B", "beta", "gamma"},
    {"B", "bias", "epsilon"},
    {"Scale", "gamma", "x"},
    {"Scale", "scale", "epsilon"},
    {"X", "x", "x"},
    {"beta", "bias", "epsilon"},
    {"bias", "beta", "gamma"},
    {"dim", "axis", "x"},
    {"eps", "epsilon", "epsilon"},
    {"gamma", "scale", "epsilon"},
    {"grad_output", "dy", "x"},
    {"input", "x", "x"},
    {"k", "bias", "size"},
    {"normalized_shape", "axis", "x", "axis says where the normalised dimensions begin"},
    {"num_groups", "groups", "x"},
    {"rstd", "inv_std", "x"},
    {"rstd", "sigma", "x", "sigma is 1 / rstd"},
    {"scale", "gamma", "x"},
    {"skip", "residual", "x"},
    {"weight", "gamma", "x"},
    {"weight", "scale", "epsilon"},
};

/* "helpers." for the submodule of that name. */
std::string prefix_of(const py::module_& module) {
  const std::string name = module.attr("__name__").cast<std::string>();
  const size_t submodule = name.find("._core.");
  return submodule == std::string::npos ? "" : name.substr(submodule + sizeof("._core.") - 1) + ".";
}

}  // namespace

void Signature::read(const py::module_& module, const char* doc, size_t parameters) {
  const std::string text(doc);
  const std::string signature = text.substr(0, text.find("\n--\n"));
  py::dict scope;
  py::exec("def " + signature + ": pass", scope);
  const py::object twin = scope[py::str(signature.substr(0, signature.find('(')))];
  const py::object code = twin.attr("__code__");
  positional_ = code.attr("co_argcount").cast<int>();
  count_ = positional_ + code.attr("co_kwonlyargcount").cast<int>();
  if (static_cast<size_t>(count_) != parameters || count_ > kMaxParameters) {
    throw std::logic_error("not the function's signature: " + signature);
  }
  const py::tuple names = code.attr("co_varnames");
  for (int i = 0; i < count_; ++i) {
    names_[i] = names[i].cast<py::object>().release().ptr();
    texts_[i] = PyUnicode_AsUTF8(names_[i]);
  }
  const py::object positional = twin.attr("__defaults__"), keywords = twin.attr("__kwdefaults__");
  const int given = positional.is_none() ? 0 : static_cast<int>(py::len(positional));
  for (int i = positional_ - given; i < count_; ++i) {
    const py::object value =
        i < positional_ ? positional[py::int_(i - positional_ + given)] : keywords[names_[i]];
    defaults_[i] = value.inc_ref().ptr();
  }
  name_ = keep(twin.attr("__name__"));
  full_name_ = keep(prefix_of(module) + name_);
  twin_ = twin.inc_ref().ptr();
}

int Signature::find(PyObject* keyword) const {
  for (int i = 0; i < count_; ++i) {
    if (names_[i] == keyword) return i;
  }
  /* A name that the caller made at run time is another object. */
  for (int i = 0; i < count_; ++i) {
    if (PyUnicode_Compare(names_[i], keyword) == 0) return i;
  }
  return -1;
}

bool Signature::has(const char* parameter) const {
  return std::any_of(texts_, texts_ + count_,
                     [=](const char* text) { return std::strcmp(text, parameter) == 0; });
}

bool Signature::explain(PyObject* keyword) const {
  for (const OtherName& name : kOtherNames) {
    if (PyUnicode_CompareWithASCIIString(keyword, name.theirs) != 0) continue;
    if (!has(name.ours) || !has(name.beside)) continue;
    const std::string text =
        name.text == nullptr ? std::string("it is called ") + name.ours : name.text;
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'; %s", name_,
                 keyword, text.c_str());
    return true;
  }
  return false;
}

bool Signature::refuse(PyObject* const* arguments, Py_ssize_t positional,
                       PyObject* keywords) const {
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t k = 0; k < named; ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, k);
    const int i = find(keyword);
    if (i < 0 && explain(keyword)) return false;
    if (i < positional) break; /* what Python itself refuses first */
  }
  PyObject* result =
      PyObject_Vectorcall(twin_, arguments, static_cast<size_t>(positional), keywords);
  if (result != nullptr) {
    Py_DECREF(result);
    PyErr_Format(PyExc_SystemError, "%s: arguments refused without a reason", name_);
  }
  return false;
}

bool Signature::bind(PyObject* const* arguments, Py_ssize_t positional, PyObject* keywords,
                     py::handle* values) const {
  if (positional > positional_) return refuse(arguments, positional, keywords);
  for (Py_ssize_t i = 0; i < positional; ++i) values[i] = arguments[i];
  for (Py_ssize_t i = positional; i < count_; ++i) values[i] = defaults_[i];
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t k = 0; k < named; ++k) {
    const int i = find(PyTuple_GET_ITEM(keywords, k));
    if (i < positional) return refuse(arguments, positional, keywords);
    values[i] = arguments[positional + k];
  }
  for (Py_ssize_t i = positional; i < count_; ++i) {
    if (!values[i]) return refuse(arguments, positional, keywords);
  }
  return true;
}

void set_error_from_exception() {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

}  // namespace normkernels::python
