// The arrays of a call of local response norm, as a list, and the call on small dense copies of
// parts of them.
#ifndef NORMKERNELS_LRN_COPIES_H_
#define NORMKERNELS_LRN_COPIES_H_

#include "table.h"

namespace normkernels::NORMKERNELS_ISA {

struct InputArray {
  const void* LocalResponseNorm::*data;
  Strides Placement::*strides;
};
struct OutputArray {
  void* LocalResponseNorm::*data;
  Strides Placement::*strides;
};

constexpr InputArray kInputs[] = {{&LocalResponseNorm::dy, &Placement::dy},
                                  {&LocalResponseNorm::x, &Placement::x},
                                  {&LocalResponseNorm::y_in, &Placement::y_in},
                                  {&LocalResponseNorm::scale_in, &Placement::scale_in}};
constexpr OutputArray kOutputs[] = {{&LocalResponseNorm::y, &Placement::y},
                                    {&LocalResponseNorm::scale, &Placement::scale},
                                    {&LocalResponseNorm::dx, &Placement::dx}};

constexpr int kOutputCount = sizeof(kOutputs) / sizeof(kOutputs[0]);

// So many of them a call has at most.
constexpr int64_t kMostArrays = 5;

// An array's place in the Placement of a call.
using Place = Strides Placement::*;

// f(part): the arguments `part` with the arrays of `a` replaced by their parts, those that `places`
// does not leave where they are by copies in `memory`, `bytes` apart. It has
//   in_place(array, place)     where the part of an array is, if that will do, or null
//   read(array, place, copy)   which fills the copy of an input's part
//   write(copy, array, place)  which copies back that of an output
template <class Places, class F>
void with_copies(const LocalResponseNorm& a, LocalResponseNorm part, void* memory, uint64_t bytes,
                 const Places& places, F&& f) {
  char* free = static_cast<char*>(memory);
  const auto next = [&] {
    void* const used = free;
    free += bytes;
    return used;
  };
  for (const InputArray& input : kInputs) {
    const void* const array = a.*input.data;
    if (array == nullptr) continue;
    part.*input.data = places.in_place(array, input.strides);
    if (part.*input.data != nullptr) continue;
    void* const copy = next();
    places.read(array, input.strides, copy);
    part.*input.data = copy;
  }
  bool copied[kOutputCount] = {};
  for (int i = 0; i < kOutputCount; ++i) {
    const OutputArray& output = kOutputs[i];
    if (a.*output.data == nullptr) continue;
    part.*output.data = const_cast<void*>(places.in_place(a.*output.data, output.strides));
    copied[i] = part.*output.data == nullptr;
    if (copied[i]) part.*output.data = next();
  }
  f(part);
  for (int i = 0; i < kOutputCount; ++i) {
    const OutputArray& output = kOutputs[i];
    if (copied[i]) places.write(part.*output.data, a.*output.data, output.strides);
  }
}

}  // namespace normkernels::NORMKERNELS_ISA

#endif  // NORMKERNELS_LRN_COPIES_H_
