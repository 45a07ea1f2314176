/* How a Python call becomes a C call: the converted arguments in, status out.
 *
 * The arrays of a call are looked at and checked here and nowhere else, so that each error names
 * the function, the argument, what it was and what it must be. The bind_*.cpp files say only which
 * argument has which shape. Nothing is written before all of them have passed.
 *
 * No code of the caller's runs from the first look on: what it could do is done (arrays.h). While
 * NumPy copies or a kernel runs, other threads may; an array that one of them reshapes is read as
 * it was, but what one frees in place, by resize(refcheck=False), is lost. Without a GIL they run
 * at any time, and to set an array's shape or dtype beside a call is a race, as it is in NumPy.
 */
#ifndef NORMKERNELS_PYTHON_CALL_H_
#define NORMKERNELS_PYTHON_CALL_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "arrays.h"
#include "imported.h"
#include "library.h"
#include "scalars.h"

namespace normkernels::python {

/* With fewer elements a kernel keeps the GIL: it runs for 5 microseconds, LRN for 50 at most. To
 * give the GIL back and take it again costs 45 ns (a row of 768 takes 380), but milliseconds beside
 * a thread that is busy in Python, which parts with it once per switch interval: layer norm of
 * 22 x 768 took 3 ms there, and 9 microseconds with the GIL kept. */
constexpr int64_t kReleaseGilElements = 1 << 14;

/* What PyEval_RestoreThread does, but a thread that comes back after the interpreter has begun to
 * end sleeps until the process is gone. */
void take_gil(PyThreadState* thread);

/* What an output must do that shares memory; `alias` names the inputs that it may be. */
std::string must_not_overlap(const char* alias);

/* An aligned, native input. `data` is NULL where an optional argument is None. */
struct View {
  const char* name = nullptr;
  const void* data = nullptr;
  const Shape* shape = nullptr; /* the argument's */
  int64_t size = 0;
  const int64_t* strides = nullptr; /* in elements; NULL: it is dense */

  int32_t rank() const { return shape->rank(); }
  const int64_t* extents() const { return shape->data(); }
};

/* x as rows and columns: the dimensions that are not normalised, and those that are. */
struct Matrix {
  View x;
  int first;     /* of the dimensions that are normalised */
  bool named;    /* by `axes`, not from `axis` on */
  bool last;     /* all from the first on: rows follow one another */
  uint64_t axes; /* a bit for each of them */
  int64_t rows, cols;

  bool has(int dimension) const { return (axes >> dimension & 1) != 0; }
};

/* x as [n, c, spatial] or [n, spatial, c], with `groups` of channels: each its own, or fewer. */
struct Planes {
  View x;
  normkernels_order order;
  int64_t n, c, spatial, groups;
};

struct Output {
  py::object array;
  void* data = nullptr;
  const int64_t* strides = nullptr; /* as a View's */
};

/* Dense arrays of moments: an input, and an output. */
struct MomentsView {
  const char* name;
  const normkernels_row_moments* data;
  const Shape* shape; /* the argument's */
  int64_t size;
};
struct MomentsOutput {
  py::object array;
  normkernels_row_moments* data;
};

/* Scratch memory, aligned as the kernels ask: on the stack where it is small. */
class Workspace {
 public:
  explicit Workspace(size_t bytes);
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { PyMem_RawFree(large_); }
  void* get() { return data_; }

 private:
  static constexpr size_t kAlignment = 64;
  /* Enough for the gradient of one row of 1024. */
  alignas(kAlignment) unsigned char small_[16 * 1024];
  void* large_ = nullptr;
  void* data_;
};

/* One call of one function. The first input sets the dtype that all others must have; with a half
 * type, statistics are float32, and parameters may be. */
class Call {
 public:
  explicit Call(const char* function, bool of_tensors = false)
      : function_(function), of_tensors_(of_tensors) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /* With the flags of the parameters that came so far. */
  normkernels_dtype dtype() const { return dtype_ | flags_; }

  /* Inputs, by the shape that they must have. Of an absent one, the view is empty. What is not
   * dense is copied, but for those that come with their strides. `input` is of Caffe2's steps,
   * which know no half types. */
  View input(const Array& array) { return optional(array, Role::kStep, false); }
  View input_strided(const Array& array) { return optional(array, Role::kLarge, true); }
  View like(const Array& array, const View& x) { return shaped(input(array), x); }
  View like_strided(const Array& array, const View& x) { return shaped(input_strided(array), x); }
  View as_many(const Array& array, const View& x);
  /* Statistics. */
  View rows(const Array& array, const Matrix& x);
  View per_plane(const Array& array, const Planes& x) {
    return per_image(array, x, x.c, "channel");
  }
  View per_group(const Array& array, const Planes& x) {
    return per_image(array, x, x.groups, "group");
  }
  /* Parameters: the first of a call is gamma (scale), given or not, the second beta (bias), a third
   * what is added before. */
  View columns(const Array& array, const Matrix& x);
  View channels(const Array& array, const Planes& x);
  /* Saved statistics are given both or not at all. */
  void require_both(const Array& mean, const Array& inv_std) const;

  /* Moments, in moments.cpp: what is not dense is copied. The second has the shape of the first. */
  MomentsView moments(const Array& array);
  MomentsView moments_like(const Array& array, const MomentsView& first);

  Matrix matrix(const View& x, const Integer& axis) const;
  /* With `axes`, `axis` must be what it is when it is not given. */
  Matrix matrix(const View& x, const Integer& axis, const Axes& axes,
                int64_t default_axis = 1) const {
    return axes.given() ? named_matrix(x, axis, axes, default_axis) : matrix(x, axis);
  }
  Planes planes(const View& x, const Order& order, int min_rank, int max_rank = kMaxRank) const;
  void set_groups(Planes& x, const Count& groups) const;
  /* A table of statistics (N, C): planes without an extent of their own. */
  Planes table(const View& x) const;

  /* Outputs. `alias` names the input that the caller's array may be. Those like x have its strides'
   * order, as NumPy's own have. */
  Output output(const Out& out, const View& x, const char* alias = nullptr);
  Output create_like(const View& x);
  /* Statistics. */
  Output create_rows(const Matrix& x);
  MomentsOutput create_moments(const Matrix& x) { return moments_of(rows_shape(x), x.rows); }
  /* Of the shape of these; `alias` as in output. */
  MomentsOutput moments_output(const Out& out, const MomentsView& like, const char* alias);
  Output create_per_plane(const Planes& x) { return create_per_image(x.n, x.c); }
  Output create_per_group(const Planes& x) { return create_per_image(x.n, x.groups); }
  /* Gradients of parameters, the first of a call that of gamma (scale): of their parameter's dtype,
   * and beta's, where it is not given, of gamma's. */
  Output create_columns(const Matrix& x);
  Output create_channels(const Planes& x) { return create(next_gradient_type(), {x.c}, x.c); }

  /* Whether no input or output that came so far has strides. */
  bool dense() const { return num_strided_ == 0; }
  /* The same, and rows are along x's last dimensions. Those of a half type are faster with the
   * workspace that dense rows have none of. */
  bool dense(const Matrix& x) const {
    return dense() && x.last && dtype_ != NORMKERNELS_F16 && dtype_ != NORMKERNELS_BF16;
  }

  /* Runs the C function. `names` are the Python names of its parameters, in its order. */
  template <size_t N, class Function>
  void run(const char* const (&names)[N], Function&& function) const {
    normkernels_status status;
    if (most_elements_ < kReleaseGilElements) {
      status = function();
    } else {
      PyThreadState* thread = PyEval_SaveThread();
      status = function();
      take_gil(thread);
    }
    if (status != NORMKERNELS_OK) fail(status, names, N);
  }

  [[noreturn]] void refuse_value(const char* name, const std::string& was,
                                 const std::string& must) const {
    python::refuse_value(function_, name, was, must);
  }
  [[noreturn]] void refuse_type(const char* name, const std::string& was,
                                const std::string& must) const {
    python::refuse_type(function_, name, was, must);
  }

 private:
  /* The bytes that an array lies between. */
  struct Memory {
    uintptr_t begin, end;
  };
  /* An input that had to be copied, and where it came from. */
  struct Copy {
    Memory original;
    py::object dense;
  };
  struct Alias {
    const char* name = nullptr;
    const char* alias = nullptr;
    py::handle array;
  };
  static constexpr int kMostStrided = 5; /* gradient of LRN: dy, x, y, scale, dx */

  /* What the dtype of an input may be. */
  enum class Role { kStep, kLarge, kStatistic, kParameter };

  static Memory memory_of(py::handle array, py::ssize_t item);
  Output create(int type_num, const Shape& shape, int64_t size,
                const py::ssize_t* strides = nullptr);
  /* Of a dtype, to which this takes a reference. */
  py::object create_array(PyObject* dtype, const Shape& shape, int64_t size,
                          const py::ssize_t* strides = nullptr);
  MomentsOutput moments_of(const Shape& shape, int64_t size);
  static Shape rows_shape(const Matrix& x);
  /* The numbers of NumPy's types. */
  int statistic_type() const;
  int next_gradient_type();
  Output create_per_image(int64_t n, int64_t count) {
    const Shape shape = {n, count};
    return create(statistic_type(), shape, shape.size());
  }
  Matrix named_matrix(const View& x, const Integer& axis, const Axes& axes,
                      int64_t default_axis) const;
  View take(const Array& argument, Role role, bool strided);
  View optional(const Array& array, Role role, bool strided = false) {
    return array.given() ? take(array, role, strided) : View();
  }
  /* That no conversion of a later argument has changed its shape. */
  void check_unchanged(const Array& argument) const;
  void check_dtype(const char* name, py::handle array, Role role);
  [[noreturn]] void refuse_dtype(const char* name, py::handle array, Role role) const;
  View parameter(const Array& array);
  py::handle copy(py::handle array, int flags);
  const int64_t* strides_of(py::handle array);
  View shaped(const View& view, const View& x) const;
  View per_image(const Array& array, const Planes& x, int64_t count, const char* of_each);
  template <class Describe>
  View of_size(const View& view, int64_t expected, Describe&& describe) const;
  void check_out(const Out& out, const View& x, const char* alias) const;
  void check_writable(const Out& out, py::ssize_t item, const char* alias) const;
  [[noreturn]] void refuse_overlap(const char* name) const;
  [[noreturn]] void fail(normkernels_status status, const char* const* names, size_t n) const;

  const char* function_;
  const bool of_tensors_;
  normkernels_dtype dtype_ = 0, flags_ = 0;
  int type_num_ = 0; /* NumPy's of dtype_ */
  int num_parameters_ = 0, num_gradients_ = 0;
  const char* reference_ = nullptr;
  int64_t most_elements_ = 0; /* of one array, inputs and outputs */
  std::vector<Copy> copies_;
  Alias outs_[2];
  int num_outs_ = 0;
  int64_t strided_[kMostStrided][kMaxRank];
  int num_strided_ = 0;
};

/* An instance of a NamedTuple class, made as its own _make would. */
py::object make_named(py::handle type, const py::tuple& fields);

template <class... Outputs>
py::object named(const Imported& type, Outputs&... outputs) {
  const py::tuple fields(sizeof...(outputs));
  py::ssize_t i = 0;
  (PyTuple_SET_ITEM(fields.ptr(), i++, outputs.array.release().ptr()), ...);
  return make_named(type.get(), fields);
}

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_CALL_H_
