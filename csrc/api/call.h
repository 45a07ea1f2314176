// The start of every public function: what its arguments must be, then the kernels and the threads
// to run them with.
//
// Positions count from 1 in the C parameter list, as normkernels_status reports them.
#ifndef NORMKERNELS_API_CALL_H_
#define NORMKERNELS_API_CALL_H_

#include <string.h>

#include <initializer_list>

#include "host/cache.h"
#include "host/isa.h"
#include "host/thread_pool.h"
#include "normkernels/normkernels.h"
#include "table.h"
#include "views/overlap.h"

namespace normkernels {

// Which of a call's arrays has elements of which type.
enum Element : uint8_t {
  kData,       // x, dy, y, dx
  kStatistic,  // mean, sigma and their like: what a half type is computed in
  kGamma,      // gamma or scale, and its gradient
  kBeta,       // beta or bias, and its gradient
  kBias        // what is added before it is normalised
};

enum class Halves { kAccepted, kRefused };

class Call {
 public:
  static constexpr int32_t kNone = 0;  // in the place of a position

  explicit Call(normkernels_dtype dtype, Halves halves = Halves::kAccepted)
      : element_(dtype & ~kFlags), flags_(dtype & kFlags) {
    memset(bytes_, element_ == NORMKERNELS_F64 ? 8 : 4, sizeof(bytes_));
    if (is_half()) set_half_bytes();
    const bool known = element_ == NORMKERNELS_F32 || (element_ == NORMKERNELS_F64 && flags_ == 0);
    if (!known && (!is_half() || halves == Halves::kRefused)) fail(NORMKERNELS_BAD_DTYPE, 1);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool ok() const { return status_ == NORMKERNELS_OK; }
  bool is_half() const { return element_ == NORMKERNELS_F16 || element_ == NORMKERNELS_BF16; }
  Storage storage() const {
    return element_ == NORMKERNELS_F16    ? Storage::kFloat16
           : element_ == NORMKERNELS_BF16 ? Storage::kBfloat16
                                          : Storage::kComputed;
  }
  // Which of gamma and beta are of the type that is computed with.
  WideFlags wide() const {
    const auto is_wide = [this](Element e) { return bytes_of(e) == bytes_of(kStatistic); };
    return {is_wide(kGamma), is_wide(kBeta), is_wide(kBias)};
  }
  normkernels_status status() const { return status_; }

  // An order, its position.
  void order(int32_t position, normkernels_order order) {
    if (order != NORMKERNELS_NCHW && order != NORMKERNELS_NHWC)
      fail(NORMKERNELS_BAD_ORDER, position);
  }

  // The number of elements in an array of these extents, which must be addressable; 0 if that is
  // refused. `position` is that of the first extent.
  template <class... Extents>
  int64_t elements(int32_t position, Extents... extents) {
    (require(extents >= 0, NORMKERNELS_BAD_EXTENT, position++), ...);
    const int64_t n = product(extents...);
    require(n <= kMostElements, NORMKERNELS_BAD_EXTENT, position - 1);
    return ok() ? n : 0;
  }

  // The same of an array of any rank; `position` is that of the rank, the shape comes after it.
  int64_t elements(int32_t position, int32_t rank, const int64_t* shape);

  // The same of extents that `elements` has seen: without others among them that are 0, they may
  // be too many for an array, which is refused where there is one.
  template <class... Extents>
  int64_t elements_of(Extents... extents) const {
    return ok() ? product(extents...) : 0;
  }

  void fail(normkernels_status kind, int32_t position) {
    if (ok()) status_ = kind + position;
  }
  void require(bool holds, normkernels_status kind, int32_t position) {
    if (!holds) fail(kind, position);
  }

  // What follows returns the argument that it checks: the kernel's, in one line with its position.
  double epsilon(int32_t position, double epsilon) {
    require(epsilon >= 0 && epsilon - epsilon == 0, NORMKERNELS_BAD_EPSILON, position);
    return epsilon;
  }
  double finite(int32_t position, double value) {
    require(value - value == 0, NORMKERNELS_BAD_SCALAR, position);
    return value;
  }
  int64_t at_least_one(int32_t position, int64_t size) {
    require(size >= 1, NORMKERNELS_BAD_SIZE, position);
    return size;
  }

  // Groups of c channels.
  int64_t groups(int32_t position, int64_t groups, int64_t c) {
    require(groups >= 1 && c % groups == 0, NORMKERNELS_BAD_SIZE, position);
    return groups;
  }

  // Arrays of n elements. Outputs after all inputs: each is compared with every array before it.
  const void* input(int32_t position, const void* p, int64_t n, Element element = kData) {
    add(position, p, n, bytes_of(element), false, kNone);
    return p;
  }
  const void* optional_input(int32_t position, const void* p, int64_t n, Element element = kData) {
    return p == nullptr ? p : input(position, p, n, element);
  }
  // `in_place`: positions of the inputs that the output may be.
  void* output(int32_t position, void* p, int64_t n, int32_t in_place = kNone,
               int32_t or_in_place = kNone) {
    add(position, p, n, bytes_of(kData), true, in_place, or_in_place);
    return p;
  }
  void* optional_output(int32_t position, void* p, int64_t n, Element element = kData) {
    if (p != nullptr) add(position, p, n, bytes_of(element), true, kNone);
    return p;
  }
  // The moments of n rows: an input, or an output.
  const normkernels_row_moments* moments(int32_t position, const normkernels_row_moments* p,
                                         int64_t n) {
    add(position, p, numbers_of(n), sizeof(double), false, kNone);
    return p;
  }
  normkernels_row_moments* moments(int32_t position, normkernels_row_moments* p, int64_t n,
                                   int32_t in_place = kNone, int32_t or_in_place = kNone) {
    add(position, p, numbers_of(n), sizeof(double), true, in_place, or_in_place);
    return p;
  }
  // The same of an array with strides, which are at fault where it would not fit in memory.
  struct View {
    int32_t strides_position;
    Footprint array;
  };
  void view(int32_t position, const void* p, View view, int64_t n, bool is_output = false,
            int32_t in_place = kNone, int32_t or_in_place = kNone);
  void* workspace(int32_t position, void* p, size_t bytes) {
    require(bytes == 0 || reinterpret_cast<uintptr_t>(p) % kWorkspaceAlignment == 0,
            NORMKERNELS_MISALIGNED, position);
    add(position, p, static_cast<int64_t>(bytes), 1, true, kNone);
    return p;
  }

  // The executor for so much memory traffic, or work that takes as long: few bytes are not worth a
  // second thread. Of its context this call is the owner.
  Executor executor(int32_t position, const normkernels_executor* given, int64_t elements_moved);

  // Whether an output of n elements is written past the caches: if it is large, and none of the
  // inputs, which are in the cache when it is written.
  bool stream(const void* out, int64_t n, const void* in, const void* or_in = nullptr) const {
    return out != in && out != or_in && n * bytes_of(kData) >= stream_from_bytes();
  }

  // The kernels of the instruction set in use; null if a check failed. They are not called without
  // elements: the extents may then be of any size.
  const Kernels* kernels();

  // What a call without elements does instead: returns OK, each of these outputs (or null) all
  // `value`, which is 0 for parameters.
  struct Fill {
    void* p;
    int64_t n;
    double value;
    Element element = kStatistic;
  };
  normkernels_status fill(std::initializer_list<Fill> outputs) const;

 private:
  static constexpr uintptr_t kWorkspaceAlignment = 64;      // a cache line, a vector of AVX-512
  static constexpr int64_t kMostElements = INT64_MAX / 64;  // sums of a few arrays' bytes fit, too
  static constexpr int kMaxArrays = 14, kMaxViews = 5;

  // What lies between two addresses: all of it, or the elements of a view.
  struct Array {
    int32_t position;
    int32_t view;  // its number, or kDense
    uintptr_t begin, end;
  };
  static constexpr int32_t kDense = -1;

  // Of extents that are not negative; more than kMostElements if it is more than that.
  template <class... Extents>
  static int64_t product(Extents... extents) {
    const bool empty = ((extents == 0) || ...);
    if (empty) return 0;
    int64_t n = 1;
    bool fits = true;
    ((fits = fits && !__builtin_mul_overflow(n, extents, &n)), ...);
    return fits ? n : INT64_MAX;
  }

  static constexpr int32_t kFlags =
      NORMKERNELS_F32_GAMMA | NORMKERNELS_F32_BETA | NORMKERNELS_F32_BIAS;

  int64_t bytes_of(Element element) const { return bytes_[element]; }
  // In the moments of n rows; too many for memory if n is. Negative if n is, which is refused.
  static int64_t numbers_of(int64_t n) {
    constexpr int64_t each = sizeof(normkernels_row_moments) / sizeof(double);
    return n < 0 ? n : n > INT64_MAX / each ? INT64_MAX : n * each;
  }
  void set_half_bytes();
  void add(int32_t position, const void* p, int64_t n, int64_t bytes, bool is_output,
           int32_t in_place, int32_t or_in_place = kNone);
  // By value and in registers: an array that goes through memory is most of the cost of a check.
  void add(int32_t position, int32_t view, uintptr_t begin, uintptr_t end, bool is_output,
           int32_t in_place, int32_t or_in_place);
  bool apart(const Array& a, const Array& b) const;
  bool same(const Array& a, const Array& b) const;

  int32_t element_, flags_;
  uint8_t bytes_[kBias + 1];  // of each Element
  normkernels_status status_ = NORMKERNELS_OK;
  CallUnderWay under_way_;
  Share share_ = {1, false};
  int arrays_ = 0;
  Array array_[kMaxArrays];
  int views_ = 0;
  Footprint view_[kMaxViews];  // in elements
};

// The instance and group norm of an order. Planes of one element lie alike in both, and NCHW has a
// faster way for them.
inline const GroupNormKernels* group_norm_kernels(const Kernels* kernels, normkernels_order order,
                                                  int64_t spatial) {
  return order == NORMKERNELS_NHWC && spatial != 1 ? kernels->group_norm_nhwc
                                                   : kernels->group_norm_nchw;
}

// Local response norm takes so many times as long as the others move the same bytes: its roots.
constexpr int64_t kLrnCost = 4;

// Workspace queries answer 0 for what the function itself will refuse, and without elements.
template <class Query>
size_t workspace_bytes(Call& call, int64_t elements, Query&& query) {
  const Kernels* kernels = call.kernels();
  return kernels == nullptr || elements == 0 ? 0 : query(kernels);
}

}  // namespace normkernels

#endif  // NORMKERNELS_API_CALL_H_
