// What the address sanitizer is shown, since it does not see it by itself.
#ifndef NORMKERNELS_SIMD_TOUCH_H_
#define NORMKERNELS_SIMD_TOUCH_H_

#include "simd/vector.h"

#if defined(__SANITIZE_ADDRESS__)
#define NORMKERNELS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#define NORMKERNELS_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define NORMKERNELS_ADDRESS_SANITIZER 0
#endif

namespace normkernels::NORMKERNELS_ISA {

// The first and the last of n elements, or of kLanes if those are fewer. GCC instruments no
// intrinsic that loads or stores under a mask, which is where the ends of arrays are, and no
// compiler one that stores past the caches.
template <int kLanes, class T>
NORMKERNELS_INLINE void touch([[maybe_unused]] const T* p, [[maybe_unused]] int n = kLanes) {
#if NORMKERNELS_ADDRESS_SANITIZER
  if (n <= 0) return;
  static_cast<void>(*const_cast<const volatile T*>(p));
  static_cast<void>(*const_cast<const volatile T*>(p + (n < kLanes ? n : kLanes) - 1));
#endif
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_SIMD_TOUCH_H_
