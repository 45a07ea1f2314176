/* One argument of a call, and the numbers, flags and names that arguments become.
 *
 * To convert one can run any code (__index__, __float__, __bool__), code that reshapes another
 * argument included. What is made here no longer holds an object that could run any, so function.h
 * can convert all of them before an operator looks at its arrays.
 */
#ifndef NORMKERNELS_PYTHON_SCALARS_H_
#define NORMKERNELS_PYTHON_SCALARS_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "library.h"

namespace normkernels::python {

namespace py = pybind11;

/* When an argument is converted: what is a NumPy array already, then every scalar, then every
 * other array. */
enum class Phase { kSeen, kScalar, kArray };

/* "<function>: <name> <was>, must <must>", as ValueError or TypeError. */
[[noreturn]] void refuse_value(const char* function, const char* name, const std::string& was,
                               const std::string& must);
[[noreturn]] void refuse_type(const char* function, const char* name, const std::string& was,
                              const std::string& must);

/* An argument as the caller gave it. Both names live as long as the process. */
struct Argument {
  const char* function;
  const char* name;
  py::handle value;
  bool of_tensors = false; /* the call is one on tensors (tensors.h) */

  [[noreturn]] void refuse_value(const std::string& was, const std::string& must) const {
    python::refuse_value(function, name, was, must);
  }
  [[noreturn]] void refuse_type(const std::string& was, const std::string& must) const {
    python::refuse_type(function, name, was, must);
  }
  /* The same with the error that came out of the object as the cause. */
  [[noreturn]] void refuse_from(py::error_already_set& cause, PyObject* type,
                                const std::string& was, const std::string& must) const;
};

/* "is None" or "is of type <its type>"; a string in quotes. Neither runs code of the object's. */
std::string type_of(py::handle value);
std::string quoted(py::handle string);

/* An integer of any size. */
class Integer {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  /* The nearest that 64 bits hold. */
  int64_t get() const { return value_; }
  std::string text() const;

 private:
  int64_t value_ = 0;
  py::object large_; /* where 64 bits do not hold it: an int, of no class derived from it */
};

/* NumPy's own limit of dimensions (32 before NumPy 2). */
constexpr int kMaxRank = 64;

/* None, an integer or a sequence of integers: some dimensions of an array. */
class Axes {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument) {
    if (!argument.value.is_none()) take(argument);
  }
  bool given() const { return !axes_.empty(); }
  const std::vector<Integer>& get() const { return axes_; }
  std::string text() const;

 private:
  void take(const Argument& argument);

  bool single_ = false;
  std::vector<Integer> axes_; /* kMaxRank at most */
};

/* An integer from `least` on, so small that it can be counted to. */
class Count {
 public:
  void convert(const Argument& argument, int64_t least);
  int64_t get() const { return value_; }

 private:
  int64_t value_ = 0;
};

template <int64_t least>
struct CountFrom : Count {
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument) { Count::convert(argument, least); }
};

/* A finite number. */
class Number {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  double get() const { return value_; }

 private:
  double value_ = 0;
};

/* A finite number that is not negative. */
class Epsilon {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  double get() const { return value_; }

 private:
  double value_ = 0;
};

class Flag {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  bool get() const { return value_; }

 private:
  bool value_ = false;
};

class Order {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  normkernels_order get() const { return value_; }

 private:
  normkernels_order value_ = NORMKERNELS_NCHW;
};

/* A string or None. */
class Name {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  bool given() const { return !value_.is_none(); }
  /* NULL if no C string can say it: one with a NUL or half a surrogate pair in it. */
  const char* get() const { return text_; }
  std::string quoted() const { return python::quoted(value_); }

 private:
  py::handle value_;
  const char* text_ = nullptr;
};

/* Anything, which is kept as it is. */
class Object {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument) {
    value_ = py::reinterpret_borrow<py::object>(argument.value);
  }
  const py::object& get() const { return value_; }

 private:
  py::object value_;
};

/* A number of threads; 0 for the default. More than the library ever uses count as so many. */
class Threads {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  int32_t get() const { return value_; }

 private:
  int32_t value_ = 0;
};

namespace openmp {
constexpr const char* kCapsule = "normkernels_executor";
/* Whether the value is what openmp_executor (openmp.cpp) has made, and then the executor. */
bool find_executor(py::handle value, normkernels_executor* executor);
}  // namespace openmp

/* What `num_threads` says: NULL for the library's default, else a number of its threads, or what
 * openmp_executor has made. */
class Executor {
 public:
  static constexpr Phase kPhase = Phase::kScalar;
  void convert(const Argument& argument);
  const normkernels_executor* get() const { return value_.num_threads == 0 ? nullptr : &value_; }

 private:
  normkernels_executor value_ = {sizeof(normkernels_executor), 0, nullptr, nullptr};
};

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_SCALARS_H_
