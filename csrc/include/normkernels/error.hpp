// How the C++ functions say that an argument was refused: as a value, which every try_ function
// returns, or as an exception, which the function without try_ throws. Either names the function,
// the argument, what it was and what it must be; nothing has been written then.
//
//     const normkernels::Status status = normkernels::try_layer_norm_forward(x, y, options);
//     if (!status.ok()) log(status.message());  // "layer_norm_forward: gamma: holds 5 elements..."
#ifndef NORMKERNELS_ERROR_HPP_
#define NORMKERNELS_ERROR_HPP_

#include <normkernels/normkernels.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string_view>

namespace normkernels {
inline namespace v0 {

namespace detail {

// A line of text in place, so that an error needs no memory; what is too long for it is cut off.
class Text {
 public:
  Text() noexcept { text_[0] = '\0'; }
  const char* data() const noexcept { return text_; }
  std::size_t size() const noexcept { return size_; }

  Text& operator<<(std::string_view more) noexcept {
    size_ += more.copy(text_ + size_, sizeof(text_) - 1 - size_);
    text_[size_] = '\0';
    return *this;
  }
  Text& operator<<(std::int64_t number) noexcept {
    char digits[24];
    std::snprintf(digits, sizeof(digits), "%lld", static_cast<long long>(number));
    return *this << std::string_view(digits);
  }
  Text& operator<<(double number) noexcept {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", number);
    return *this << std::string_view(digits);
  }

 private:
  std::size_t size_ = 0;
  char text_[256];
};

}  // namespace detail

/// How a call ended. Holds its message itself: no memory is allocated for it.
class [[nodiscard]] Status {
 public:
  /// Success. Not defaulted, which would have `{}` fill the text with zeros first.
  Status() noexcept {}
  /// `argument` of `function` was refused; the empty argument where no single one is at fault.
  Status(normkernels_status kind, std::string_view function, std::string_view argument) noexcept
      : kind_(kind) {
    text_ << function << ": ";
    argument_begin_ = text_.size();
    argument_size_ = (text_ << argument).size() - argument_begin_;
    if (argument_size_ > 0) text_ << ": ";
  }
  /// Adds to the message.
  template <class More>
  Status& operator<<(const More& more) noexcept {
    text_ << more;
    return *this;
  }

  bool ok() const noexcept { return kind_ == NORMKERNELS_OK; }
  /// NORMKERNELS_OK, or one of the kinds that follow it in normkernels.h.
  normkernels_status kind() const noexcept { return kind_; }
  /// The name of the argument at fault; empty if none is.
  std::string_view argument() const noexcept {
    return {text_.data() + argument_begin_, argument_size_};
  }
  /// "function: argument: what it was and must be"; empty on success. Valid as long as this is.
  const char* message() const noexcept { return text_.data(); }

 private:
  normkernels_status kind_ = NORMKERNELS_OK;
  std::size_t argument_begin_ = 0, argument_size_ = 0;
  detail::Text text_;
};

/// What the functions without try_ throw.
class error : public std::invalid_argument {
 public:
  explicit error(const Status& status) : std::invalid_argument(status.message()), status_(status) {}
  const Status& status() const noexcept { return status_; }
  normkernels_status kind() const noexcept { return status_.kind(); }
  std::string_view argument() const noexcept { return status_.argument(); }

 private:
  Status status_;
};

namespace detail {

#ifdef __cpp_exceptions
inline void throw_unless_ok(const Status& status) {
  if (status.ok()) return;
  // A wrapper never passes NULL for a workspace but where there was no memory for one.
  if (status.kind() == NORMKERNELS_NULL_POINTER && status.argument() == "workspace")
    throw std::bad_alloc();
  throw error(status);
}
#endif

}  // namespace detail

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_ERROR_HPP_
