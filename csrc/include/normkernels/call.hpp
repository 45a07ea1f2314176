// What every C++ function does around the C function of its name: compares the arrays with each
// other, which pointers could not, and turns a status into an error that says what was wrong.
#ifndef NORMKERNELS_CALL_HPP_
#define NORMKERNELS_CALL_HPP_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <normkernels/array.hpp>
#include <normkernels/error.hpp>
#include <normkernels/line.hpp>
#include <normkernels/options.hpp>
#include <string_view>
#include <type_traits>

namespace normkernels {
inline namespace v0 {
namespace detail {

// A template, so that nothing is converted to extents, as a text could be.
template <class Numbers, class = std::enable_if_t<std::is_same_v<Numbers, Extents>>>
Text& operator<<(Text& text, const Numbers& numbers) noexcept {
  for (int i = 0; i < numbers.rank() && i < max_rank; ++i)
    text << (i == 0 ? "[" : ", ") << numbers[i];
  return text << (numbers.rank() == 0 ? "[]" : "]");
}

// An array as rows and columns: the places along some axes, those along the normalised ones.
struct Matrix {
  std::uint64_t axes = 0;
  std::int64_t rows = 0, cols = 0;
};

// An array as images.
struct Images {
  Order order = nchw;
  std::int64_t n = 0, c = 0, spatial = 0, planes = 0;
};

// What is wrong with a value that the C function has refused.
inline const char* rule_of(normkernels_status kind) noexcept {
  switch (kind) {
    case NORMKERNELS_BAD_EPSILON:
      return "must be finite and not negative";
    case NORMKERNELS_BAD_SCALAR:
      return "must be finite";
    case NORMKERNELS_BAD_SIZE:
      return "must be at least 1";
    case NORMKERNELS_BAD_ORDER:
      return "must be nchw or nhwc";
    default:
      return normkernels_status_string(kind);
  }
}

// Of words that spaces separate, counted from 1; none if there are not as many.
inline std::string_view word(std::string_view words, std::int32_t position) noexcept {
  for (std::int32_t i = 1; i < position && !words.empty(); ++i)
    words.remove_prefix(std::min(words.find(' '), words.size() - 1) + 1);
  return position < 1 ? std::string_view() : words.substr(0, words.find(' '));
}

template <class P>
struct Exactly {  // the type of a parameter that is deduced elsewhere
  using type = P;
};

class Call {
 public:
  explicit Call(const char* function) noexcept : function_(function) {}
  // Of a function whose arrays have the shape of x.
  Call(const char* function, const char* name, const Layout& x) noexcept
      : function_(function), x_(&x), x_name_(name) {
    whole(name, x.fault, &x.shape);
    for (int i = 0; ok() && i < x.shape.rank(); ++i) {
      if (x.shape[i] < 0)
        refuse(NORMKERNELS_BAD_EXTENT, name)
            << "has the shape " << x.shape << ", must have no extent below 0";
    }
    is_dense_ = x.is_dense();
  }

  bool ok() const noexcept { return status_.ok(); }
  // Whether all arrays are, and the dense function takes them: the normalised axes are the last.
  bool is_dense() const noexcept { return is_dense_; }

  // Starts an error; what is wrong is to be added.
  Status& refuse(normkernels_status kind, std::string_view argument) noexcept {
    status_ = Status(kind, function_, argument);
    return status_;
  }

  Matrix matrix(const Axes& axes) noexcept;
  Images images(Order order) noexcept;

  // How many groups of channels the images have; -1 if the C function is to refuse their number.
  std::int64_t groups_of(const Images& images, std::int64_t groups) noexcept {
    if (ok() && (groups < 1 || images.c % groups != 0))
      refuse(NORMKERNELS_BAD_SIZE, "groups")
          << "is " << groups << ", must be at least 1 and divide the " << images.c << " channels";
    return images.c == 0 || images.planes < 0 || !ok() ? -1 : images.planes / (images.c / groups);
  }

  // Another array of the shape of x, which must be there.
  template <class T>
  void same_shape(const char* name, const Array<T>& array) noexcept {
    same_shape(name, array.layout(), array.is_absent());
  }
  template <class T>
  void optional_same_shape(const char* name, const Array<T>& array) noexcept {
    if (!array.is_absent()) same_shape(name, array);
  }
  // A line that is absent or has so many elements; -1 if the C function is to refuse their number.
  template <class T>
  void line(const char* name, const Line<T>& line, std::int64_t length) noexcept {
    if (line.is_absent()) return;
    whole(name, line.fault());
    if (ok() && line.length() >= 0 && length >= 0 && line.length() != length)
      refuse(NORMKERNELS_BAD_EXTENT, name)
          << "holds " << line.length() << " elements, must hold " << length;
  }
  // A parameter and its gradient, which are of one type.
  template <class T, class U>
  void same_type(const char* name, const Line<U>& gradient, const Line<T>& parameter) noexcept {
    if (ok() && gradient.data() != nullptr && parameter.data() != nullptr &&
        gradient.is_wide() != parameter.is_wide())
      refuse(NORMKERNELS_BAD_DTYPE, name)
          << (gradient.is_wide() ? "is of float, must be of the type of its parameter, which is not"
                                 : "is of the arrays' type, must be of float, as its parameter is");
  }

  // Calls a C function, whose parameters have these names, unless something was wrong before.
  template <class... P>
  Status run(normkernels_status (*function)(P...), std::string_view names,
             typename Exactly<P>::type... arguments) noexcept {
    if (!ok()) return status_;
    const normkernels_status status = function(arguments...);
    if (status == NORMKERNELS_OK) return {};
    return refused(status, names, arguments...);
  }

 private:
  // What the C function says of an argument, and what that was.
  template <class... P>
  Status refused(normkernels_status status, std::string_view names, P... arguments) noexcept {
    const normkernels_status kind = normkernels_status_kind(status);
    const std::int32_t position = normkernels_status_argument(status);
    const std::string_view name = word(names, position);
    // What the C functions call the extents is the shape of an array here.
    if (x_ != nullptr && kind == NORMKERNELS_BAD_EXTENT && name.find("strides") == name.npos)
      return refuse(kind, x_name_) << "has the shape " << x_->shape << ", must fit in memory";
    refuse(kind, name);
    std::int32_t k = 0;
    (void(++k == position ? say(arguments) : void()), ...);
    return status_ << rule_of(kind);
  }
  void whole(const char* name, const Fault& fault, const Extents* shape = nullptr) noexcept {
    if (!ok() || fault.is_none()) return;
    refuse(fault.kind, name) << fault.before;
    if (fault.after != nullptr) status_ << fault.number << fault.after;
    if (fault.shape_follows && shape != nullptr) status_ << ", " << *shape;
  }
  void same_shape(const char* name, const Layout& array, bool is_absent) noexcept;
  void say(double value) noexcept { status_ << "is " << value << ", "; }
  void say(std::int64_t value) noexcept { status_ << "is " << value << ", "; }
  void say(std::int32_t value) noexcept { say(std::int64_t{value}); }
  template <class Other>
  void say(const Other&) noexcept {}

  const char* function_;
  const Layout* x_ = nullptr;
  const char* x_name_ = "";
  bool is_dense_ = true;
  Status status_;
};

inline void Call::same_shape(const char* name, const Layout& array, bool is_absent) noexcept {
  whole(name, array.fault, &array.shape);
  if (!ok()) return;
  if (is_absent) {
    refuse(NORMKERNELS_NULL_POINTER, name) << "is no array, must be one of " << x_->shape;
  } else if (!(array.shape == x_->shape)) {
    refuse(NORMKERNELS_BAD_EXTENT, name) << "has the shape " << array.shape
                                         << ", must have that of " << x_name_ << ", " << x_->shape;
  }
  is_dense_ = is_dense_ && array.is_dense();
}

inline Matrix Call::matrix(const Axes& axes) noexcept {
  if (!ok()) return {};
  const int rank = x_->shape.rank();
  int missing = 0;
  if (!axes.fit(rank, &missing)) {
    refuse(NORMKERNELS_BAD_AXES, "axes") << "name " << std::int64_t{missing} << ", must lie from "
                                         << std::int64_t{-rank} << " to " << std::int64_t{rank - 1};
    return {};
  }
  Matrix matrix = {axes.bits(rank), 0, 0};
  if (matrix.axes == 0) {
    refuse(NORMKERNELS_BAD_AXES, "axes") << "name none, must name one at least";
    return {};
  }
  matrix.rows = x_->product(~matrix.axes);
  matrix.cols = x_->product(matrix.axes);
  // Extents of which only the product of all is small enough, 0, are left to the C functions.
  const std::uint64_t first = matrix.axes & (~matrix.axes + 1);
  const bool are_last = matrix.axes + first == std::uint64_t{1} << rank;
  is_dense_ = is_dense_ && are_last && matrix.rows >= 0 && matrix.cols >= 0;
  return matrix;
}

inline Images Call::images(Order order) noexcept {
  if (!ok()) return {};
  const Extents& shape = x_->shape;
  if (shape.rank() < 2) {
    refuse(NORMKERNELS_BAD_EXTENT, x_name_)
        << "has the shape " << shape << ", must have axes of images and channels";
    return {};
  }
  const int channels = order == nhwc ? shape.rank() - 1 : 1;
  const std::uint64_t planes = std::uint64_t{1} | std::uint64_t{1} << channels;
  const Images images = {order, shape[0], shape[channels], x_->product(~planes),
                         x_->product(planes)};
  is_dense_ = is_dense_ && images.spatial >= 0;
  return images;
}

// The workspace of a call: the caller's or, where none is given, one for as long as this lives.
class Scratch {
 public:
  Scratch(Call& call, Workspace* given, std::size_t bytes) noexcept {
    if (!call.ok()) return;
    Workspace& workspace = given == nullptr ? own_ : *given;
    if (workspace.reserve(bytes)) {
      data_ = workspace.data();
    } else if (workspace.is_fixed()) {
      call.refuse(NORMKERNELS_BAD_SIZE, "workspace")
          << "has " << static_cast<std::int64_t>(workspace.size()) << " bytes, must have "
          << static_cast<std::int64_t>(bytes);
    } else {
      call.refuse(NORMKERNELS_NULL_POINTER, "workspace")
          << "needs " << static_cast<std::int64_t>(bytes) << " bytes, which could not be allocated";
    }
  }
  void* data() const noexcept { return data_; }

 private:
  Workspace own_;
  void* data_ = nullptr;
};

// The dtype of a call with arrays of T and parameters of float, or not.
template <class T>
constexpr normkernels_dtype dtype_with(bool wide_gamma, bool wide_beta,
                                       bool wide_bias = false) noexcept {
  return dtype<T> | (wide_gamma ? NORMKERNELS_F32_GAMMA : 0) |
         (wide_beta ? NORMKERNELS_F32_BETA : 0) | (wide_bias ? NORMKERNELS_F32_BIAS : 0);
}

}  // namespace detail
}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_CALL_HPP_
