// The C functions about the library itself: its version, and what a status means.
#include "normkernels/normkernels.h"

extern "C" {

const char* normkernels_version(void) {
#define NORMKERNELS_TEXT(x) #x
#define NORMKERNELS_DOTTED(a, b, c) \
  NORMKERNELS_TEXT(a) "." NORMKERNELS_TEXT(b) "." NORMKERNELS_TEXT(c)
  return NORMKERNELS_DOTTED(NORMKERNELS_VERSION_MAJOR, NORMKERNELS_VERSION_MINOR,
                            NORMKERNELS_VERSION_PATCH) NORMKERNELS_VERSION_SUFFIX;
#undef NORMKERNELS_DOTTED
#undef NORMKERNELS_TEXT
}

const char* normkernels_status_string(normkernels_status status) {
  switch (normkernels_status_kind(status)) {
    case NORMKERNELS_OK:
      return "success";
    case NORMKERNELS_NULL_POINTER:
      return "a required pointer is NULL";
    case NORMKERNELS_BAD_EXTENT:
      return "an extent is negative, or an array would not fit in memory";
    case NORMKERNELS_BAD_DTYPE:
      return "the dtype is none that the function takes";
    case NORMKERNELS_BAD_ORDER:
      return "the order is not NORMKERNELS_NCHW or NORMKERNELS_NHWC";
    case NORMKERNELS_BAD_EPSILON:
      return "epsilon is negative, NaN or infinite";
    case NORMKERNELS_BAD_SIZE:
      return "a window has less than one channel, or the groups do not divide the channels";
    case NORMKERNELS_BAD_SCALAR:
      return "a scalar is NaN or infinite";
    case NORMKERNELS_OVERLAP:
      return "an output shares memory with another argument, or names an element twice";
    case NORMKERNELS_BAD_EXECUTOR:
      return "the executor's struct_size is wrong or its number of threads negative";
    case NORMKERNELS_UNKNOWN_ISA:
      return "there is no instruction set of that name";
    case NORMKERNELS_UNSUPPORTED_ISA:
      return "this machine does not have that instruction set";
    case NORMKERNELS_BAD_NUM_THREADS:
      return "the environment variable NORMKERNELS_NUM_THREADS is not a whole number of 0 or more";
    case NORMKERNELS_MISALIGNED:
      return "an array is not aligned to its elements, or the workspace not to 64 bytes";
    case NORMKERNELS_BAD_AXES:
      return "no axis is named, or one that the array does not have";
    default:
      return "not a status of this library";
  }
}

}  // extern "C"
