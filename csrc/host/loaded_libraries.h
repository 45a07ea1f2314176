// What the process has loaded beside this library, and that this library stays.
#ifndef NORMKERNELS_HOST_LOADED_LIBRARIES_H_
#define NORMKERNELS_HOST_LOADED_LIBRARIES_H_

#include <stdint.h>

namespace normkernels {

// From now on dlclose() leaves this library where it is: threads run its code.
void stay_loaded();

// The number of threads that GNU's OpenMP runtimes, as many as are loaded, would use in a parallel
// region that begins here: what omp_set_num_threads, and with it torch.set_num_threads, said last.
// `most` where none is loaded.
int32_t openmp_runtime_threads(int32_t most);

// Whether this thread is in such a region: the processors are taken, then.
bool in_openmp_region();

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_LOADED_LIBRARIES_H_
