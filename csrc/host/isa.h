// Which instruction sets there are, and the one in use.
#ifndef NORMKERNELS_HOST_ISA_H_
#define NORMKERNELS_HOST_ISA_H_

#include "normkernels/normkernels.h"
#include "table.h"

namespace normkernels {

struct Isa {
  const char* name;
  const char* alias;  // the psABI's name, or the same
  bool (*supported)();
  const Kernels* const* kernels;  // of each dtype
};

// The one in use, or null with the reason in `status`: the environment can name one that is not to
// be had, and a build of few hold none for this machine.
const Isa* active_isa(normkernels_status* status);

}  // namespace normkernels

#endif  // NORMKERNELS_HOST_ISA_H_
