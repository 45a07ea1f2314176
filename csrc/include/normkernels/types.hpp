// What the functions of normkernels.hpp, views.hpp and steps.hpp share: element types, shapes,
// errors and the workspace. Included by them.
#ifndef NORMKERNELS_TYPES_HPP_
#define NORMKERNELS_TYPES_HPP_

#include <normkernels/normkernels.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <normkernels/half.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace normkernels {
// The library's own C++ symbols live in `normkernels`, too; an inline namespace keeps the two apart
// in a static link.
inline namespace v0 {

/// The dtype of an element type.
template <class T>
inline constexpr normkernels_dtype dtype = [] {
  using Element = std::remove_const_t<T>;
  constexpr bool f16 = std::is_same_v<Element, float16>, bf16 = std::is_same_v<Element, bfloat16>;
  constexpr bool f32 = std::is_same_v<Element, float>, f64 = std::is_same_v<Element, double>;
  static_assert(f16 || bf16 || f32 || f64, "arrays of float, double, float16 or bfloat16");
  return f16 ? NORMKERNELS_F16 : bf16 ? NORMKERNELS_BF16 : f32 ? NORMKERNELS_F32 : NORMKERNELS_F64;
}();
template <class T>
inline constexpr bool is_half = dtype<T> == NORMKERNELS_F16 || dtype<T> == NORMKERNELS_BF16;

/// A matrix, row-major.
struct Rows {
  std::int64_t rows, cols;
};

enum Order : normkernels_order { nchw = NORMKERNELS_NCHW, nhwc = NORMKERNELS_NHWC };

/// A tensor of images; `spatial` is the product of its spatial dimensions.
struct Tensor {
  Order order;
  std::int64_t n, c, spatial;
};

/// Arrays of T. T itself is deduced from the first array alone, so that nullptr fits here.
template <class T>
using In = const std::common_type_t<T>*;
template <class T>
using Out = std::common_type_t<T>*;

/// What is computed with arrays of T, and the type of their statistics.
template <class T>
using Computed = std::conditional_t<is_half<T>, float, T>;
template <class T>
using InStatistic = In<Computed<T>>;
template <class T>
using OutStatistic = Out<Computed<T>>;

/// A parameter, or its gradient: of T or, beside arrays of a half type, of float.
template <class T>
struct Parameter {
  using Wide = std::conditional_t<std::is_const_v<T>, const float, float>;

  Parameter(T* array = nullptr) : data(array), is_wide(false) {}
  template <class Other,
            class = std::enable_if_t<is_half<T> && std::is_convertible_v<Other*, Wide*>>>
  Parameter(Other* array) : data(array), is_wide(true) {}

  std::conditional_t<std::is_const_v<T>, const void*, void*> data;
  bool is_wide;
};
template <class T>
using InParameter = Parameter<const std::common_type_t<T>>;
template <class T>
using OutParameter = Parameter<std::common_type_t<T>>;

/// An argument was refused. Nothing has been written.
class error : public std::invalid_argument {
 public:
  error(normkernels_status status, const std::string& message)
      : std::invalid_argument(message), status_(status) {}
  normkernels_status status() const noexcept { return status_; }
  normkernels_status kind() const noexcept { return normkernels_status_kind(status_); }

 private:
  normkernels_status status_;
};

namespace detail {

// `parameters` are the names of the C function's parameters, separated by spaces.
inline void check(normkernels_status status, const char* function, std::string_view parameters) {
  if (status == NORMKERNELS_OK) return;
  std::string message = function;
  if (const std::int32_t position = normkernels_status_argument(status); position > 0) {
    for (std::int32_t i = 1; i < position && !parameters.empty(); ++i)
      parameters.remove_prefix(std::min(parameters.find(' '), parameters.size() - 1) + 1);
    if (!parameters.empty())
      message.append(": ").append(parameters.substr(0, parameters.find(' ')));
  }
  throw error(status, message + ": " + normkernels_status_string(status));
}

// Of which types a parameter is; of none if it is absent.
struct Types {
  template <class T>
  Types(const Parameter<T>& p)
      : wide(p.data != nullptr && p.is_wide), narrow(p.data != nullptr && !p.is_wide) {}
  bool wide, narrow;
};

// The dtype of a call with arrays of T and these parameters, each with its gradient. Where those
// two are not of one type: none, which every function refuses.
template <class T>
normkernels_dtype dtype_of(std::initializer_list<Types> gamma, std::initializer_list<Types> beta,
                           std::initializer_list<Types> bias = {}) {
  normkernels_dtype result = dtype<T>;
  const auto add = [&](normkernels_dtype flag, std::initializer_list<Types> parameters) {
    bool wide = false, narrow = false;
    for (const Types& types : parameters) wide |= types.wide, narrow |= types.narrow;
    if (wide) result |= narrow ? -1 : flag;
  };
  add(NORMKERNELS_F32_GAMMA, gamma);
  add(NORMKERNELS_F32_BETA, beta);
  add(NORMKERNELS_F32_BIAS, bias);
  return result;
}

// The caller's workspace, or one of our own where there is none.
class Workspace {
 public:
  Workspace(void* given, std::size_t bytes) : data_(given) {
    if (given != nullptr || bytes == 0) return;
    own_.reset(::operator new(bytes, alignment));
    data_ = own_.get();
  }
  void* data() const { return data_; }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Delete {
    void operator()(void* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<void, Delete> own_;
  void* data_;
};

}  // namespace detail

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_TYPES_HPP_
