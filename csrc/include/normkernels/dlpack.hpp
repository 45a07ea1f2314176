// Tensors of DLPack, as other libraries lend them, as arrays.
//
//     #include <dlpack/dlpack.h>  // anybody's copy
//     #include <normkernels/dlpack.hpp>
//
//     normkernels::layer_norm_forward(normkernels::from_dlpack<float>(managed->dl_tensor), y);
//
// Any struct with the members of DLTensor will do, so this header needs none of DLPack's.
#ifndef NORMKERNELS_DLPACK_HPP_
#define NORMKERNELS_DLPACK_HPP_

#include <cstddef>
#include <cstdint>
#include <normkernels/array.hpp>
#include <type_traits>

namespace normkernels {
inline namespace v0 {

namespace detail {

// The codes of DLPack that matter here.
enum : std::int32_t { dlpack_float = 2, dlpack_bfloat = 4 };
enum : std::int32_t { dlpack_cpu = 1, dlpack_cuda_host = 3, dlpack_rocm_host = 11 };

}  // namespace detail

/// The dtype of a tensor's elements, to choose the T of from_dlpack with: NORMKERNELS_F32, F64, F16
/// or BF16; 0 if they are of another type.
template <class Tensor>
normkernels_dtype dlpack_dtype(const Tensor& tensor) noexcept {
  const auto& type = tensor.dtype;
  if (type.lanes != 1) return 0;
  if (type.code == detail::dlpack_bfloat) return type.bits == 16 ? NORMKERNELS_BF16 : 0;
  if (type.code != detail::dlpack_float) return 0;
  switch (type.bits) {
    case 16:
      return NORMKERNELS_F16;
    case 32:
      return NORMKERNELS_F32;
    case 64:
      return NORMKERNELS_F64;
    default:
      return 0;
  }
}

/// A tensor as an array of T, where it lies; T is const if it is only read. What is no array of T
/// in memory that this processor reads, or has more than max_rank axes, is refused by the function
/// that is given it. Nothing is copied, owned or released.
template <class T, class Tensor>
Array<T> from_dlpack(const Tensor& tensor) noexcept {
  const auto device = static_cast<std::int32_t>(tensor.device.device_type);
  if (device != detail::dlpack_cpu && device != detail::dlpack_cuda_host &&
      device != detail::dlpack_rocm_host)
    return Array<T>::refused({NORMKERNELS_NULL_POINTER, "is on a device of DLPack's type ", device,
                              ", must be in memory of the CPU (1, 3 or 11)"});
  constexpr bool is_bfloat = std::is_same_v<std::remove_const_t<T>, bfloat16>;
  constexpr std::int32_t code = is_bfloat ? detail::dlpack_bfloat : detail::dlpack_float;
  if (tensor.dtype.code != code)
    return Array<T>::refused({NORMKERNELS_BAD_DTYPE, "has elements of DLPack's code ",
                              tensor.dtype.code,
                              is_bfloat ? ", must have 4 (bfloat)" : ", must have 2 (float)"});
  if (tensor.dtype.bits != 8 * sizeof(T))
    return Array<T>::refused({NORMKERNELS_BAD_DTYPE, "has elements of ", tensor.dtype.bits,
                              sizeof(T) == 8   ? " bits, must have 64"
                              : sizeof(T) == 4 ? " bits, must have 32"
                                               : " bits, must have 16"});
  if (tensor.dtype.lanes != 1)
    return Array<T>::refused(
        {NORMKERNELS_BAD_DTYPE, "has elements of ", tensor.dtype.lanes, " lanes, must have 1"});
  char* const begin = static_cast<char*>(tensor.data);
  T* const data = begin == nullptr ? nullptr : reinterpret_cast<T*>(begin + tensor.byte_offset);
  const auto rank = static_cast<std::size_t>(tensor.ndim);
  if (tensor.strides == nullptr) return Array<T>(data, Extents(tensor.shape, rank));
  return Array<T>(data, Extents(tensor.shape, rank), Extents(tensor.strides, rank));
}

}  // namespace v0
}  // namespace normkernels

#endif  // NORMKERNELS_DLPACK_HPP_
