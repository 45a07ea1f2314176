// From which size on an output is better written past the caches.
#ifndef NORMKERNELS_HOST_CACHE_H_
#define NORMKERNELS_HOST_CACHE_H_

#include <stdint.h>

namespace normkernels {

// Bytes of an output from which on streaming stores are used: a quarter of the last-level cache, of
// which the inputs want a share and other cores theirs, and 8 MiB at most.
// NORMKERNELS_STREAM_BYTES overrides it.
int64_t stream_from_bytes();

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_CACHE_H_
