#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#include "call.h"
#include "numpy.h"
#include "tensors.h"

namespace normkernels::python {

namespace {

/* The strides of a new array in NumPy's order 'K': the further apart the elements of x are along a
 * dimension, the further apart they are here. */
void keep_order(const View& x, py::ssize_t item, py::ssize_t* strides) {
  int order[kMaxRank];
  const int rank = x.shape->rank();
  const auto step = [&](int i) { return std::abs(x.strides[i]); };
  std::iota(order, order + rank, 0);
  std::stable_sort(order, order + rank, [&](int i, int k) { return step(i) > step(k); });
  for (int i = rank; i-- > 0;) {
    strides[order[i]] = item;
    item *= static_cast<py::ssize_t>((*x.shape)[order[i]]);
  }
}

/* As the C functions see it: they refuse such an output. */
bool names_an_element_twice(py::handle array) {
  struct Dimension {
    py::ssize_t stride, steps;
  };
  std::vector<Dimension> dimensions;
  const auto& a = fields(array);
  for (int i = 0; i < a.nd; ++i) {
    if (a.dimensions[i] > 1) {
      dimensions.push_back({std::abs(a.strides[i] / item_bytes(array)), a.dimensions[i] - 1});
    }
  }
  std::sort(dimensions.begin(), dimensions.end(),
            [](const Dimension& p, const Dimension& q) { return p.stride < q.stride; });
  py::ssize_t reach = 0;
  for (const Dimension& dimension : dimensions) {
    if (dimension.stride <= reach) return true;
    reach += dimension.stride * dimension.steps;
  }
  return false;
}

}  // namespace

int Call::statistic_type() const { return is_half(dtype_) ? Api::NPY_FLOAT_ : type_num_; }

int Call::next_gradient_type() {
  const normkernels_dtype flag =
      num_gradients_++ == 0 ? NORMKERNELS_F32_GAMMA : NORMKERNELS_F32_BETA;
  return (flags_ & flag) != 0 ? Api::NPY_FLOAT_ : type_num_;
}

py::object Call::create_array(PyObject* dtype, const Shape& shape, int64_t size,
                              const py::ssize_t* strides) {
  py::ssize_t extents[kMaxRank];
  std::copy_n(shape.data(), shape.rank(), extents);
  PyObject* made = numpy().PyArray_NewFromDescr_(numpy().PyArray_Type_, dtype, shape.rank(),
                                                 extents, strides, nullptr, 0, nullptr);
  if (made == nullptr) throw py::error_already_set();
  most_elements_ = std::max(most_elements_, size);
  return py::reinterpret_steal<py::object>(made);
}

Output Call::create(int type_num, const Shape& shape, int64_t size, const py::ssize_t* strides) {
  Output created;
  if (of_tensors_ && tensors::can_create()) {
    most_elements_ = std::max(most_elements_, size);
    created.array = tensors::create(type_num, shape, &created.data);
    created.data = non_null(created.data, size);
    return created;
  }
  created.array = create_array(native_dtype(type_num), shape, size, strides);
  created.data = non_null(fields(created.array).data, size);
  if (of_tensors_) created.array = tensors::of_array(created.array);
  return created;
}

Output Call::create_like(const View& x) {
  if (x.strides == nullptr || of_tensors_) return create(type_num_, *x.shape, x.size);
  py::ssize_t strides[kMaxRank];
  keep_order(x, item_bytes(type_num_), strides);
  Output created = create(type_num_, *x.shape, x.size, strides);
  created.strides = strides_of(created.array);
  return created;
}

Shape Call::rows_shape(const Matrix& x) {
  Shape shape;
  const int kept = x.named ? x.x.shape->rank() : x.first;
  for (int i = 0; i < kept; ++i) shape.append(x.has(i) ? 1 : (*x.x.shape)[i]);
  if (!x.named) shape.append(1);
  return shape;
}

Output Call::create_rows(const Matrix& x) {
  return create(statistic_type(), rows_shape(x), x.rows);
}

Output Call::create_columns(const Matrix& x) {
  Shape shape;
  for (int i = x.first; i < x.x.shape->rank(); ++i) {
    if (x.has(i)) shape.append((*x.x.shape)[i]);
  }
  return create(next_gradient_type(), shape, x.cols);
}

const int64_t* Call::strides_of(py::handle array) {
  const auto& a = fields(array);
  if ((a.flags & Api::NPY_ARRAY_C_CONTIGUOUS_) != 0) return nullptr;
  int64_t* const strides = strided_[num_strided_++];
  for (int i = 0; i < a.nd; ++i) {
    /* NumPy says what it likes of a dimension along which there is nowhere to go. */
    strides[i] = a.dimensions[i] > 1 ? a.strides[i] / item_bytes(array) : 0;
  }
  return strides;
}

Output Call::output(const Out& out, const View& x, const char* alias) {
  if (!out.given()) return create_like(x);
  check_out(out, x, alias);
  outs_[num_outs_++] = {out.name_, alias, out.array_};
  return {out.given_, non_null(fields(out.array_).data, x.size), strides_of(out.array_)};
}

void Call::check_out(const Out& out, const View& x, const char* alias) const {
  const char* name = out.name_;
  if (element_type(out.array_) != dtype_ || !is_native(out.array_)) {
    refuse_dtype(name, out.array_, Role::kLarge);
  }
  const Shape shape = shape_of(out.array_);
  if (shape != *x.shape) {
    refuse_value(name, "has shape " + shape.text(),
                 "have " + x.shape->text() + ", the shape of " + x.name);
  }
  if (!has_whole_strides(out.array_)) {
    refuse_value(name, "is misaligned", "be aligned to its elements");
  }
  check_writable(out, item_bytes(out.array_), alias);
}

void Call::check_writable(const Out& out, py::ssize_t item, const char* alias) const {
  const char* name = out.name_;
  if ((fields(out.array_).flags & Api::NPY_ARRAY_WRITEABLE_) == 0)
    refuse_value(name, "is read-only", "be writable");
  /* The C function checks what it is given; it never sees an input that had to be copied. */
  const Memory memory = memory_of(out.array_, item);
  for (const Copy& copy : copies_) {
    if (memory.begin < copy.original.end && copy.original.begin < memory.end) {
      refuse_value(name, "shares memory with another argument", must_not_overlap(alias));
    }
  }
}

void Call::refuse_overlap(const char* name) const {
  const char* alias = nullptr;
  for (const Alias& out : outs_) {
    if (out.name == nullptr || std::strcmp(out.name, name) != 0) continue;
    if (names_an_element_twice(out.array)) {
      const auto& array = fields(out.array);
      refuse_value(name,
                   "has strides " + Shape(array.strides, array.nd).text() + " and shape " +
                       shape_of(out.array).text(),
                   "name no element twice");
    }
    alias = out.alias;
  }
  refuse_value(name, "shares memory with another argument", must_not_overlap(alias));
}

}  // namespace normkernels::python
