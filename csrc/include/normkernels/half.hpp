// The half types, which C++17 does not have: what arrays of 16-bit floating point are made of.
//
// From float they round to the nearest, ties to even, and NaN stays NaN; to float they are exact.
#ifndef NORMKERNELS_HALF_HPP_
#define NORMKERNELS_HALF_HPP_

#include <cstdint>
#include <cstring>

namespace normkernels {
inline namespace v0 {

namespace detail {

// bits / 2^count, rounded to the nearest, ties to even.
constexpr std::uint32_t shift_and_round(std::uint32_t bits, std::uint32_t count) {
  return (bits + (1u << (count - 1)) - 1 + (bits >> count & 1)) >> count;
}
inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace detail

/// IEEE binary16.
struct float16 {
  std::uint16_t bits;

  float16() = default;
  explicit float16(float value) {
    const std::uint32_t all = detail::bits_of(value), size = all & 0x7fffffff;
    std::uint32_t rounded = 0x7c00;
    if (size > 0x7f800000) {
      rounded = 0x7e00 | (size >> 13 & 0x3ff);
    } else if (size < 0x33000000) {  // below half the smallest number
      rounded = 0;
    } else if (size < 0x38800000) {  // denormal
      rounded = detail::shift_and_round((size & 0x7fffff) | 0x800000, 126 - (size >> 23));
    } else if (size < 0x47800000) {
      rounded = detail::shift_and_round(size - (112 << 23), 13);
    }
    bits = static_cast<std::uint16_t>((all >> 16 & 0x8000) | rounded);
  }
  explicit operator float() const {
    const std::uint32_t size = bits & 0x7fff, sign = (bits & 0x8000u) << 16;
    std::uint32_t wide = (size << 13) + (112 << 23);
    if (size < 0x400) wide = detail::bits_of(static_cast<float>(size) * 0x1p-24f);
    if (size >= 0x7c00) wide |= size > 0x7c00 ? 0x7fc00000 : 0x7f800000;
    return detail::float_of(sign | wide);
  }
};

/// The upper half of a float.
struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  explicit bfloat16(float value) {
    const std::uint32_t all = detail::bits_of(value);
    const bool is_nan = (all & 0x7fffffff) > 0x7f800000;
    bits = static_cast<std::uint16_t>(is_nan ? all >> 16 | 0x40 : detail::shift_and_round(all, 16));
  }
  explicit operator float() const { return detail::float_of(std::uint32_t{bits} << 16); }
};

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_HALF_HPP_
