/* How a Python call becomes a C call: arrays and scalars in, status out.
 *
 * Every argument is converted and checked here and nowhere else, so that each error names the
 * function, the argument, what it was and what it must be. The bind_*.cpp files say only which
 * argument has which shape. Nothing is written before all of them have passed.
 */
#ifndef NORMKERNELS_PYTHON_ARRAYS_H_
#define NORMKERNELS_PYTHON_ARRAYS_H_

#include <normkernels/normkernels.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace normkernels::python {

namespace py = pybind11;

/* NumPy's own limit of dimensions (32 before NumPy 2). */
constexpr int kMaxRank = 64;

/* With fewer elements a kernel keeps the GIL: it runs for 5 microseconds, LRN for 50 at most. To
 * give the GIL back and take it again costs 45 ns (a row of 768 takes 380), but milliseconds beside
 * a thread that is busy in Python, which parts with it once per switch interval: layer norm of
 * 22 x 768 took 3 ms there, and 9 microseconds with the GIL kept. */
constexpr int64_t kReleaseGilElements = 1 << 14;

enum Presence { kRequired, kOptional };

/* What messages say: str(value), and "is None" or "is of type <its type>". */
std::string text(py::handle value);
std::string type_of(py::handle value);

/* A dense, aligned, native input. `data` is NULL where an optional argument is None. */
struct View {
  const char* name = nullptr;
  const void* data = nullptr;
  const py::ssize_t* shape = nullptr;
  int rank = 0;
  int64_t size = 0;
};

/* x as rows and columns: the dimensions before `axis`, and those from it on. */
struct Matrix {
  View x;
  int axis;
  int64_t rows, cols;
};

/* x as [n, c, spatial] or [n, spatial, c]. */
struct Planes {
  View x;
  normkernels_order order;
  int64_t n, c, spatial;
};

struct Output {
  py::object array;
  void* data = nullptr;
};

/* NULL for the library's default, else a number of its threads. */
class Executor {
 public:
  explicit Executor(int32_t num_threads)
      : value_{sizeof(normkernels_executor), num_threads, nullptr, nullptr} {}
  const normkernels_executor* get() const { return value_.num_threads == 0 ? nullptr : &value_; }

 private:
  normkernels_executor value_;
};

/* Scratch memory, aligned as the kernels ask: on the stack where it is small, else NumPy's. */
class Workspace {
 public:
  explicit Workspace(size_t bytes);
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* get() { return data_; }

 private:
  static constexpr size_t kAlignment = 64;
  /* Enough for the gradient of one row of 1024; to make an array instead takes 130 ns. */
  alignas(kAlignment) unsigned char small_[16 * 1024];
  py::object large_;
  void* data_;
};

/* One call of one function. The first input sets the dtype that all others must have. */
class Call {
 public:
  explicit Call(const char* function) : function_(function) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  normkernels_dtype dtype() const;

  /* Inputs, by the shape that they must have. */
  View input(py::handle value, const char* name);
  View like(py::handle value, const char* name, const View& x, Presence presence = kRequired);
  View as_many(py::handle value, const char* name, const View& x);
  View rows(py::handle value, const char* name, const Matrix& x);
  View columns(py::handle value, const char* name, const Matrix& x);
  View channels(py::handle value, const char* name, const Planes& x, Presence presence = kRequired);
  View per_plane(py::handle value, const char* name, const Planes& x,
                 Presence presence = kRequired);

  Matrix matrix(const View& x, py::handle axis);
  Planes planes(const View& x, py::handle order, int min_rank, int max_rank = kMaxRank);
  /* A table of statistics (N, C): planes without an extent of their own. */
  Planes table(const View& x);

  /* Outputs. `out` is None or the caller's array; `alias` names the input that it may be. */
  Output output(py::handle out, const char* name, const View& x, const char* alias = nullptr);
  Output create(const py::ssize_t* shape, int rank) const;
  Output create(std::initializer_list<int64_t> shape) const;
  Output create_like(const View& x) const { return create(x.shape, x.rank); }
  Output create_rows(const Matrix& x) const;
  Output create_columns(const Matrix& x) const {
    return create(x.x.shape + x.axis, x.x.rank - x.axis);
  }

  /* Scalars. */
  double number(py::handle value, const char* name) const;
  double epsilon(py::handle value) const;
  int64_t integer(py::handle value, const char* name) const;
  int64_t count(py::handle value, const char* name, int64_t at_least) const;
  bool flag(py::handle value, const char* name) const;
  Executor executor(py::handle num_threads) const;

  /* Runs the C function. `names` are the Python names of its parameters, in its order. */
  template <size_t N, class Function>
  void run(int64_t elements, const char* const (&names)[N], Function&& function) const {
    normkernels_status status;
    if (elements < kReleaseGilElements) {
      status = function();
    } else {
      py::gil_scoped_release release;
      status = function();
    }
    if (status != NORMKERNELS_OK) fail(status, names, N);
  }

  /* "<function>: <name> <was>, must <must>", as ValueError or TypeError. */
  [[noreturn]] void refuse_value(const char* name, const std::string& was,
                                 const std::string& must) const;
  [[noreturn]] void refuse_type(const char* name, const std::string& was,
                                const std::string& must) const;

 private:
  struct Copy {
    py::object original, dense;
  };
  struct Out {
    const char* name = nullptr;
    const char* alias = nullptr;
  };

  py::object as_array(py::handle value, const char* name) const;
  double real(py::handle value, const char* name) const;
  bool absent(py::handle value, Presence presence) const {
    return presence == kOptional && value.is_none();
  }
  template <class Describe>
  View counted(py::handle value, const char* name, int64_t expected, Describe&& describe);
  void check_out(py::handle out, const char* name, const View& x, const char* alias) const;
  [[noreturn]] void fail(normkernels_status status, const char* const* names, size_t n) const;

  const char* function_;
  int type_num_ = 0;
  const char* reference_ = nullptr;
  std::vector<Copy> copies_;
  Out outs_[2];
  int num_outs_ = 0;
};

/* An instance of a NamedTuple class, made as its own _make would. */
py::object make_named(py::handle type, const py::tuple& fields);

template <class... Outputs>
py::object named(py::handle type, Outputs&... outputs) {
  const py::tuple fields(sizeof...(outputs));
  py::ssize_t i = 0;
  (PyTuple_SET_ITEM(fields.ptr(), i++, outputs.array.release().ptr()), ...);
  return make_named(type, fields);
}

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_ARRAYS_H_
