#include <algorithm>

#include "call.h"
#include "numpy.h"

namespace normkernels::python {

namespace {

std::string has_rank(const View& view) {
  return "has rank " + std::to_string(view.shape->rank()) + " (shape " + view.shape->text() + ")";
}

/* Of the dimensions that are normalised, or of the others. */
Shape part_of(const Matrix& x, bool normalised) {
  Shape part;
  for (int i = 0; i < x.x.shape->rank(); ++i) {
    if (x.has(i) == normalised) part.append((*x.x.shape)[i]);
  }
  return part;
}

std::string part_text(const Matrix& x, bool normalised) {
  const std::string name = x.x.name, first = std::to_string(x.first);
  const std::string part =
      x.named ? name + (normalised ? "'s extents in axes" : "'s other extents")
              : name + ".shape" + (normalised ? "[" + first + ":]" : "[:" + first + "]");
  return "the product of " + part + " = " + part_of(x, normalised).text();
}

std::string channels_text(const Planes& x) {
  return "the number of channels of " + std::string(x.x.name) + " (shape " + x.x.shape->text() +
         ", order " + (x.order == NORMKERNELS_NCHW ? "NCHW)" : "NHWC)");
}

constexpr int kDense = Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_;

bool is_dense(py::handle array) {
  return (fields(array).flags & kDense) == kDense && is_native(array);
}

/* Bits of the dimensions from `first` on. */
uint64_t bits_from(int first, int rank) {
  const uint64_t all = rank == 64 ? ~uint64_t{0} : (uint64_t{1} << rank) - 1;
  return all >> first << first;
}

}  // namespace

/* ---- Views ----------------------------------------------------------------------------------- */

Call::Memory Call::memory_of(py::handle array, py::ssize_t item) {
  const auto begin = reinterpret_cast<uintptr_t>(fields(array).data);
  Memory memory = {begin, begin + static_cast<uintptr_t>(item)};
  for (int i = 0; i < fields(array).nd; ++i) {
    const py::ssize_t extent = fields(array).dimensions[i];
    if (extent == 0) return {begin, begin};
    const uintptr_t last =
        static_cast<uintptr_t>(fields(array).strides[i]) * static_cast<uintptr_t>(extent - 1);
    (fields(array).strides[i] < 0 ? memory.begin : memory.end) += last;
  }
  return memory;
}

py::handle Call::copy(py::handle array, int flags) {
  PyObject* copied = numpy().PyArray_FromAny_(array.ptr(), native_dtype(descriptor(array).type_num),
                                              0, 0, flags | Api::NPY_ARRAY_ENSUREARRAY_, nullptr);
  if (copied == nullptr) throw py::error_already_set();
  copies_.push_back(
      {memory_of(array, item_bytes(array)), py::reinterpret_steal<py::object>(copied)});
  return copied;
}

void Call::check_dtype(const char* name, py::handle array, Role role) {
  const normkernels_dtype type = element_type(array);
  if (dtype_ == 0) {
    if (type == 0 || (role == Role::kStep && is_half(type))) refuse_dtype(name, array, role);
    dtype_ = type;
    type_num_ = descriptor(array).type_num;
    reference_ = name;
    return;
  }
  if (type == dtype_ && !(is_half(type) && role == Role::kStatistic)) return;
  const bool may_be_float32 = role == Role::kStatistic || role == Role::kParameter;
  if (type == NORMKERNELS_F32 && is_half(dtype_) && may_be_float32) return;
  refuse_dtype(name, array, role);
}

void Call::refuse_dtype(const char* name, py::handle array, Role role) const {
  const std::string was = has_dtype(array);
  if (dtype_ == 0) {
    refuse_type(
        name, was,
        role == Role::kStep ? "be float32 or float64" : "be float32, float64, float16 or bfloat16");
  }
  const std::string of_x = type_name(dtype_);
  if (is_half(dtype_) && role == Role::kStatistic) {
    refuse_type(name, was, std::string("be float32, as ") + reference_ + " is " + of_x);
  }
  if (is_half(dtype_) && role == Role::kParameter) {
    refuse_type(name, was, "be " + of_x + " or float32, as " + reference_ + " is " + of_x);
  }
  refuse_type(name, was, "be " + of_x + ", the dtype of " + reference_);
}

void Call::check_unchanged(const Array& argument) const {
  const py::handle array = argument.array_;
  if (argument.shape_.is(fields(array).dimensions, fields(array).nd)) return;
  refuse_value(argument.name(),
               "had shape " + argument.shape_.text() + " and has " + shape_of(array).text(),
               "stay as it is while the arguments are converted");
}

View Call::take(const Array& argument, Role role, bool strided) {
  const char* name = argument.name();
  py::handle array = argument.array_;
  const Shape& shape = argument.shape_;
  check_unchanged(argument);
  check_dtype(name, array, role);
  const int64_t* strides = nullptr;
  if (!is_dense(array)) {
    const bool whole = is_native(array) && has_whole_strides(array);
    if (!strided || !whole) array = copy(array, strided ? Api::NPY_ARRAY_ALIGNED_ : kDense);
    strides = strides_of(array);
  }
  const int64_t size = shape.size();
  if (size < 0) {
    refuse_value(name, "has shape " + shape.text(),
                 "have extents whose product is less than 2**63, zeros left out");
  }
  most_elements_ = std::max(most_elements_, size);
  return {name, non_null(fields(array).data, size), &shape, size, strides};
}

View Call::shaped(const View& view, const View& x) const {
  if (view.data == nullptr) return view;
  if (*view.shape != *x.shape) {
    refuse_value(view.name, "has shape " + view.shape->text(),
                 "have " + x.shape->text() + ", the shape of " + x.name);
  }
  return view;
}

template <class Describe>
View Call::of_size(const View& view, int64_t expected, Describe&& describe) const {
  if (view.data != nullptr && view.size != expected) {
    refuse_value(
        view.name,
        "has " + std::to_string(view.size) + " elements (shape " + view.shape->text() + ")",
        "have " + std::to_string(expected) + ", " + describe());
  }
  return view;
}

View Call::as_many(const Array& array, const View& x) {
  return of_size(input(array), x.size,
                 [&] { return "as " + std::string(x.name) + " (shape " + x.shape->text() + ")"; });
}

View Call::rows(const Array& array, const Matrix& x) {
  return of_size(optional(array, Role::kStatistic), x.rows, [&] { return part_text(x, false); });
}

/* Flags are of half types alone; that of the first parameter is the least bit, the others follow.
 * Where there is no beta, its gradient is as gamma's. */
View Call::parameter(const Array& array) {
  const View view = optional(array, Role::kParameter);
  const int position = num_parameters_++;
  if (view.data == nullptr || !is_half(dtype_)) return view;
  const normkernels_dtype flags = position == 0 ? NORMKERNELS_F32_GAMMA | NORMKERNELS_F32_BETA
                                                : NORMKERNELS_F32_GAMMA << position;
  const bool is_float32 = element_type(array.array_) == NORMKERNELS_F32;
  flags_ = is_float32 ? flags_ | flags : flags_ & ~flags;
  return view;
}

View Call::columns(const Array& array, const Matrix& x) {
  return of_size(parameter(array), x.cols, [&] { return part_text(x, true); });
}

View Call::channels(const Array& array, const Planes& x) {
  return of_size(parameter(array), x.c, [&] { return channels_text(x); });
}

View Call::per_image(const Array& array, const Planes& x, int64_t count, const char* of_each) {
  const View view = optional(array, Role::kStatistic);
  const Shape expected = {x.n, count};
  if (view.data != nullptr && *view.shape != expected) {
    refuse_value(
        view.name, "has shape " + view.shape->text(),
        "have " + expected.text() + ", one value per image and " + of_each + " of " + x.x.name);
  }
  return view;
}

void Call::require_both(const Array& mean, const Array& inv_std) const {
  if (mean.given() == inv_std.given()) return;
  const bool lacks_mean = !mean.given();
  refuse_value(lacks_mean ? "mean" : "inv_std", "is None",
               lacks_mean ? "be given with inv_std" : "be given with mean");
}

/* ---- What they mean -------------------------------------------------------------------------- */

Matrix Call::matrix(const View& x, const Integer& axis) const {
  const int rank = x.shape->rank();
  if (rank < 1) refuse_value(x.name, has_rank(x), "have rank 1 or more");
  if (axis.get() < -rank || axis.get() >= rank) {
    refuse_value("axis", "is " + axis.text(),
                 "be between " + std::to_string(-rank) + " and " + std::to_string(rank - 1) +
                     " for an " + x.name + " of rank " + std::to_string(rank));
  }
  const int first = static_cast<int>(axis.get() < 0 ? axis.get() + rank : axis.get());
  const int64_t rows = x.shape->product(0, first), cols = x.shape->product(first, rank);
  return {x, first, false, true, bits_from(first, rank), rows, cols};
}

Matrix Call::named_matrix(const View& x, const Integer& axis, const Axes& axes,
                          int64_t default_axis) const {
  if (axis.get() != default_axis) {
    refuse_value("axes", "is " + axes.text() + " and axis is " + axis.text(),
                 "be given without axis: give one of them");
  }
  const int rank = x.shape->rank();
  if (rank < 1) refuse_value(x.name, has_rank(x), "have rank 1 or more");
  Matrix in = {x, rank, true, false, 0, 1, 1};
  for (const Integer& given : axes.get()) {
    if (given.get() < -rank || given.get() >= rank) {
      refuse_value("axes", "is " + axes.text(),
                   "be between " + std::to_string(-rank) + " and " + std::to_string(rank - 1) +
                       " for an " + x.name + " of rank " + std::to_string(rank));
    }
    const int i = static_cast<int>(given.get() < 0 ? given.get() + rank : given.get());
    if (in.has(i)) {
      refuse_value("axes", "is " + axes.text(),
                   "name each dimension of an " + std::string(x.name) + " of rank " +
                       std::to_string(rank) + " once");
    }
    in.axes |= uint64_t{1} << i;
    in.first = std::min(in.first, i);
  }
  in.last = in.axes == bits_from(in.first, rank);
  for (int i = 0; i < rank; ++i) (in.has(i) ? in.cols : in.rows) *= (*x.shape)[i];
  return in;
}

Planes Call::planes(const View& x, const Order& order, int min_rank, int max_rank) const {
  const int rank = x.shape->rank(), last = rank - 1;
  if (rank < min_rank || rank > max_rank) {
    refuse_value(x.name, has_rank(x),
                 "have rank " + std::to_string(min_rank) +
                     (max_rank == kMaxRank ? " or more" : " to " + std::to_string(max_rank)));
  }
  const bool channels_first = order.get() == NORMKERNELS_NCHW;
  const int64_t c = (*x.shape)[channels_first ? 1 : last];
  const int64_t spatial = channels_first ? x.shape->product(2, rank) : x.shape->product(1, last);
  return {x, order.get(), (*x.shape)[0], c, spatial, c};
}

void Call::set_groups(Planes& x, const Count& groups) const {
  x.groups = groups.get();
  if (x.c % x.groups != 0) {
    refuse_value("groups", "is " + std::to_string(x.groups),
                 "divide " + std::to_string(x.c) + ", " + channels_text(x));
  }
}

Planes Call::table(const View& x) const {
  if (x.shape->rank() != 2) refuse_value(x.name, has_rank(x), "have rank 2 (N, C)");
  return {x, NORMKERNELS_NCHW, (*x.shape)[0], (*x.shape)[1], 1, (*x.shape)[1]};
}

}  // namespace normkernels::python
