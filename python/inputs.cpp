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

bool is_float(int type_num) { return type_num == Api::NPY_FLOAT_ || type_num == Api::NPY_DOUBLE_; }

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

normkernels_dtype Call::dtype() const {
  return type_num_ == Api::NPY_FLOAT_ ? NORMKERNELS_F32 : NORMKERNELS_F64;
}

Call::Memory Call::memory_of(py::handle array) {
  const auto begin = reinterpret_cast<uintptr_t>(fields(array).data);
  Memory memory = {begin, begin + (descriptor(array).type_num == Api::NPY_FLOAT_ ? 4 : 8)};
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
  copies_.push_back({memory_of(array), py::reinterpret_steal<py::object>(copied)});
  return copied;
}

View Call::take(const Array& argument, bool strided) {
  const char* name = argument.name();
  py::handle array = argument.array_;
  const Shape& shape = argument.shape_;
  if (!shape.is(fields(array).dimensions, fields(array).nd)) {
    refuse_value(name, "had shape " + shape.text() + " and has " + shape_of(array).text(),
                 "stay as it is while the arguments are converted");
  }
  const int type_num = descriptor(array).type_num;
  if (!is_float(type_num)) refuse_type(name, has_dtype(array), "be float32 or float64");
  if (type_num_ == 0) {
    type_num_ = type_num;
    reference_ = name;
  } else if (type_num != type_num_) {
    refuse_type(name, std::string("has dtype ") + type_name(type_num),
                std::string("be ") + type_name(type_num_) + ", the dtype of " + reference_);
  }
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
View Call::of_size(const Array& array, int64_t expected, Describe&& describe) {
  if (!array.given()) return {};
  const View view = input(array);
  if (view.size != expected) {
    refuse_value(
        view.name,
        "has " + std::to_string(view.size) + " elements (shape " + view.shape->text() + ")",
        "have " + std::to_string(expected) + ", " + describe());
  }
  return view;
}

View Call::as_many(const Array& array, const View& x) {
  return of_size(array, x.size,
                 [&] { return "as " + std::string(x.name) + " (shape " + x.shape->text() + ")"; });
}

View Call::rows(const Array& array, const Matrix& x) {
  return of_size(array, x.rows, [&] { return part_text(x, false); });
}

View Call::columns(const Array& array, const Matrix& x) {
  return of_size(array, x.cols, [&] { return part_text(x, true); });
}

View Call::channels(const Array& array, const Planes& x) {
  return of_size(array, x.c, [&] {
    return "the number of channels of " + std::string(x.x.name) + " (shape " + x.x.shape->text() +
           ", order " + (x.order == NORMKERNELS_NCHW ? "NCHW)" : "NHWC)");
  });
}

View Call::per_plane(const Array& array, const Planes& x) {
  if (!array.given()) return {};
  const View view = input(array);
  const Shape expected = {x.n, x.c};
  if (*view.shape != expected) {
    refuse_value(view.name, "has shape " + view.shape->text(),
                 "have " + expected.text() + ", one value per image and channel of " + x.x.name);
  }
  return view;
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

Matrix Call::named_matrix(const View& x, const Integer& axis, const Axes& axes) const {
  constexpr int64_t kDefaultAxis = 1;
  if (axis.get() != kDefaultAxis) {
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
  if (order.get() == NORMKERNELS_NCHW) {
    return {x, order.get(), (*x.shape)[0], (*x.shape)[1], x.shape->product(2, rank)};
  }
  return {x, order.get(), (*x.shape)[0], (*x.shape)[last], x.shape->product(1, last)};
}

Planes Call::table(const View& x) const {
  if (x.shape->rank() != 2) refuse_value(x.name, has_rank(x), "have rank 2 (N, C)");
  return {x, NORMKERNELS_NCHW, (*x.shape)[0], (*x.shape)[1], 1};
}

}  // namespace normkernels::python
