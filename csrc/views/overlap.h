// Whether two arrays share an element, and whether an array names an element twice.
#ifndef NORMKERNELS_VIEWS_OVERLAP_H_
#define NORMKERNELS_VIEWS_OVERLAP_H_

#include <stdint.h>

namespace normkernels {

constexpr int kMaxRank = 64;

// An array of rank `rank`, without an extent of 0. All in elements: of two arrays that are
// compared, these are equally large and aligned.
struct Footprint {
  int64_t start;
  int rank;
  const int64_t *extents, *strides;
};

// The addresses [begin, end) between which its elements lie, those of a view included that goes
// backwards; false if they are not from 0 to 2^62, which elements of 4 bytes fill an address space
// to: sums of two of them fit an int64_t, too.
bool bounds_of(const Footprint& array, int64_t* begin, int64_t* end);

// Of views that are within bounds, or true. Exact, but for views so intricate that to know it takes
// long: then true.
bool overlap(const Footprint& a, const Footprint& b);

// Whether two indices may name one element, of a view within bounds: of those that are parts of a
// larger array, in whichever order of its axes, exact; true for others.
bool overlaps_itself(const Footprint& array);

}  // namespace normkernels

#endif  // NORMKERNELS_VIEWS_OVERLAP_H_
