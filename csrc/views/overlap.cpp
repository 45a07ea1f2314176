// a and b share an element if
//
//   a.start + sum_i s_i k_i = b.start + sum_j t_j l_j
//
// has a solution with 0 <= k_i < extent_i and 0 <= l_j < extent_j. With l replaced by extent - 1 -
// l, and negative strides turned about likewise, all terms are on one side and none is negative: a
// subset sum, searched from the largest stride on. What is left must be within reach of the smaller
// ones, which for views of one array leaves two or three choices for each axis, and a multiple of
// their common divisor, which tells x[::4] from x[1::2].
#include "views/overlap.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace normkernels {
namespace {

constexpr int64_t kMost = int64_t{1} << 62;

struct Term {
  int64_t stride, most;  // stride times 0 to most
};

class Search {
 public:
  // Terms of axes along which more than one element lies; their sum at most.
  int64_t add(const Footprint& array) {
    int64_t sum = 0;
    for (int i = 0; i < array.rank; ++i) {
      if (array.strides[i] == 0 || array.extents[i] == 1) continue;
      const int64_t stride = std::abs(array.strides[i]);
      terms_[count_++] = {stride, array.extents[i] - 1};
      sum += stride * (array.extents[i] - 1);
    }
    return sum;
  }

  // Whether the terms can add up to `target`.
  bool reaches(int64_t target) {
    std::sort(terms_, terms_ + count_,
              [](const Term& a, const Term& b) { return a.stride > b.stride; });
    join_equal();
    reach_[count_] = divisor_[count_] = 0;
    for (int i = count_; i-- > 0;) {
      reach_[i] = reach_[i + 1] + terms_[i].stride * terms_[i].most;
      divisor_[i] = std::gcd(divisor_[i + 1], terms_[i].stride);
    }
    return from(0, target);
  }

 private:
  static constexpr int kMostSteps = 10000;

  void join_equal() {
    int last = 0;
    for (int i = 1; i < count_; ++i) {
      if (terms_[i].stride == terms_[last].stride) {
        terms_[last].most += terms_[i].most;
      } else {
        terms_[++last] = terms_[i];
      }
    }
    if (count_ > 0) count_ = last + 1;
  }

  bool from(int i, int64_t target) {
    if (target < 0 || target > reach_[i]) return false;
    if (i == count_) return true;
    if (target % divisor_[i] != 0) return false;
    if (++steps_ > kMostSteps) return true;
    const Term& term = terms_[i];
    const int64_t lacking = target - reach_[i + 1];
    const int64_t least = lacking <= 0 ? 0 : (lacking + term.stride - 1) / term.stride;
    for (int64_t k = std::min(term.most, target / term.stride); k >= least; --k) {
      if (from(i + 1, target - k * term.stride)) return true;
    }
    return false;
  }

  int count_ = 0, steps_ = 0;
  Term terms_[2 * kMaxRank] = {};
  // Of the terms from i on.
  int64_t reach_[2 * kMaxRank + 1], divisor_[2 * kMaxRank + 1];
};

}  // namespace

bool bounds_of(const Footprint& array, int64_t* begin, int64_t* end) {
  *begin = array.start;
  bool fits = !__builtin_add_overflow(array.start, int64_t{1}, end);
  for (int i = 0; i < array.rank; ++i) {
    int64_t way;
    fits = fits && !__builtin_mul_overflow(array.strides[i], array.extents[i] - 1, &way);
    if (!fits) return false;
    int64_t* const bound = way < 0 ? begin : end;
    fits = !__builtin_add_overflow(*bound, way, bound);
  }
  return fits && *begin >= 0 && *end <= kMost;
}

bool overlap(const Footprint& a, const Footprint& b) {
  int64_t a_begin, a_end, b_begin, b_end;
  if (!bounds_of(a, &a_begin, &a_end) || !bounds_of(b, &b_begin, &b_end)) return true;
  if (a_end <= b_begin || b_end <= a_begin) return false;
  Search search;
  search.add(a);
  return search.reaches(b_begin - a_begin + search.add(b));
}

bool overlaps_itself(const Footprint& array) {
  Term axes[kMaxRank] = {};
  int count = 0;
  for (int i = 0; i < array.rank; ++i) {
    if (array.extents[i] == 1) continue;
    axes[count++] = {std::abs(array.strides[i]), array.extents[i] - 1};
  }
  std::sort(axes, axes + count, [](const Term& a, const Term& b) { return a.stride < b.stride; });
  int64_t reach = 0;
  for (int i = 0; i < count; ++i) {
    if (axes[i].stride <= reach) return true;
    reach += axes[i].stride * axes[i].most;
  }
  return false;
}

}  // namespace normkernels
