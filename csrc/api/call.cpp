#include "api/call.h"

#include <algorithm>

#include "host/float_environment.h"
#include "host/loaded_libraries.h"
#include "host/thread_count.h"
#include "host/thread_pool.h"

namespace normkernels {
namespace {

// A second thread that is awake pays from twice the first on, 9 microseconds of work. One that
// sleeps pays from the second on: to wake it takes 12 of the caller's time, it comes after 35, and
// finds nothing in its caches (layer norm of 768 columns, two cores of Zen 3, in a virtual
// machine).
constexpr int64_t kBytesPerThread = 160 * 1024, kBytesWorthWaking = 4 * 1024 * 1024;

void run_own(void* context, int64_t tasks, Task task, void* argument) {
  run_on_pool(*static_cast<const Share*>(context), tasks, task, argument);
}

// A caller's executor runs tasks on threads that this library knows nothing of.
struct Errand {
  Task task;
  void* argument;
  FloatEnvironment environment;

  static void run(void* errand, int64_t index) {
    const Errand& self = *static_cast<const Errand*>(errand);
    const WithFloatEnvironment callers(self.environment);
    self.task(self.argument, index);
  }
};

void run_callers(void* context, int64_t tasks, Task task, void* argument) {
  const auto& given = *static_cast<const normkernels_executor*>(context);
  Errand errand = {task, argument, FloatEnvironment::current()};
  given.run(given.context, tasks, Errand::run, &errand);
}

}  // namespace

void Call::set_half_bytes() {
  constexpr struct {
    Element element;
    int32_t flag;
  } kParameters[] = {{kGamma, NORMKERNELS_F32_GAMMA},
                     {kBeta, NORMKERNELS_F32_BETA},
                     {kBias, NORMKERNELS_F32_BIAS}};
  bytes_[kData] = 2;
  for (const auto& parameter : kParameters) {
    if ((flags_ & parameter.flag) == 0) bytes_[parameter.element] = 2;
  }
}

int64_t Call::elements(int32_t position, int32_t rank, const int64_t* shape) {
  require(rank >= 0 && rank <= kMaxRank, NORMKERNELS_BAD_EXTENT, position);
  require(shape != nullptr || rank == 0, NORMKERNELS_NULL_POINTER, position + 1);
  if (!ok()) return 0;
  if (shape == nullptr) return 1;  // without axes
  bool empty = false, fits = true;
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) {
    require(shape[i] >= 0, NORMKERNELS_BAD_EXTENT, position + 1);
    empty = empty || shape[i] == 0;
    fits = fits && !__builtin_mul_overflow(n, shape[i], &n);
  }
  require(empty || (fits && n <= kMostElements), NORMKERNELS_BAD_EXTENT, position + 1);
  return empty || !ok() ? 0 : n;
}

void Call::add(int32_t position, const void* p, int64_t n, int64_t bytes, bool is_output,
               int32_t in_place, int32_t or_in_place) {
  if (!ok() || n == 0) return;
  if (p == nullptr) return fail(NORMKERNELS_NULL_POINTER, position);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(p);
  if ((begin & static_cast<uintptr_t>(bytes - 1)) != 0)
    return fail(NORMKERNELS_MISALIGNED, position);
  if (n > INT64_MAX / bytes || static_cast<uint64_t>(n * bytes) > UINTPTR_MAX - begin)
    return fail(NORMKERNELS_BAD_EXTENT, position);
  const uintptr_t end = begin + static_cast<uintptr_t>(n * bytes);
  add(position, kDense, begin, end, is_output, in_place, or_in_place);
}

void Call::view(int32_t position, const void* p, View view, int64_t n, bool is_output,
                int32_t in_place, int32_t or_in_place) {
  if (!ok() || n == 0) return;
  if (p == nullptr) return fail(NORMKERNELS_NULL_POINTER, position);
  const uintptr_t start = reinterpret_cast<uintptr_t>(p);
  const uintptr_t bytes = static_cast<uintptr_t>(bytes_of(kData));
  if ((start & (bytes - 1)) != 0) return fail(NORMKERNELS_MISALIGNED, position);
  Footprint& array = view.array;
  array.start = static_cast<int64_t>(start / bytes);
  int64_t begin, end;
  const int64_t most = static_cast<int64_t>(UINTPTR_MAX / bytes);
  if (!bounds_of(array, &begin, &end) || end > most)
    return fail(NORMKERNELS_BAD_EXTENT, view.strides_position);
  if (is_output && overlaps_itself(array)) return fail(NORMKERNELS_OVERLAP, position);
  view_[views_] = array;
  add(position, views_++, static_cast<uintptr_t>(begin) * bytes,
      static_cast<uintptr_t>(end) * bytes, is_output, in_place, or_in_place);
}

void Call::add(int32_t position, int32_t view, uintptr_t begin, uintptr_t end, bool is_output,
               int32_t in_place, int32_t or_in_place) {
  Array& added = array_[arrays_];
  added.position = position;
  added.view = view;
  added.begin = begin;
  added.end = end;
  for (int i = 0; is_output && i < arrays_; ++i) {
    const Array& other = array_[i];
    if (end <= other.begin || other.end <= begin || apart(added, other)) continue;
    const bool allowed = other.position == in_place || other.position == or_in_place;
    if (!allowed || !same(added, other)) return fail(NORMKERNELS_OVERLAP, position);
  }
  ++arrays_;
}

// Of two that lie between addresses in common.
bool Call::apart(const Array& a, const Array& b) const {
  if (a.view == kDense && b.view == kDense) return false;
  // Of the views' elements; other arrays have ones that are once or twice as long.
  const uintptr_t bytes = static_cast<uintptr_t>(bytes_of(kData));
  const int64_t one = 1;
  const auto footprint = [&](const Array& array, int64_t& n) {
    if (array.view != kDense) return view_[array.view];
    n = static_cast<int64_t>((array.end - array.begin) / bytes);
    return Footprint{static_cast<int64_t>(array.begin / bytes), 1, &n, &one};
  };
  int64_t of_a, of_b;
  return !overlap(footprint(a, of_a), footprint(b, of_b));
}

// Views of a call have one shape.
bool Call::same(const Array& a, const Array& b) const {
  if (a.begin != b.begin || a.end != b.end || (a.view == kDense) != (b.view == kDense))
    return false;
  if (a.view == kDense) return true;
  const Footprint &of_a = view_[a.view], &of_b = view_[b.view];
  if (of_a.start != of_b.start) return false;
  for (int i = 0; i < of_a.rank; ++i) {
    if (of_a.extents[i] > 1 && of_a.strides[i] != of_b.strides[i]) return false;
  }
  return true;
}

Executor Call::executor(int32_t position, const normkernels_executor* given,
                        int64_t elements_moved) {
  const Executor serial = {1, nullptr, nullptr};
  int32_t threads = 0;
  if (given != nullptr) {
    require(given->struct_size == sizeof(normkernels_executor) && given->num_threads >= 0,
            NORMKERNELS_BAD_EXECUTOR, position);
    threads = std::min(given->num_threads, kMaxThreads);
  }
  if (threads == 0) require(has_default_threads(), NORMKERNELS_BAD_NUM_THREADS, 0);
  const int64_t worth = elements_moved / (kBytesPerThread / bytes_of(kStatistic));
  if (!ok() || threads == 1 || worth <= 1) return serial;
  const bool own = given == nullptr || given->run == nullptr;
  if (own && in_openmp_region()) return serial;
  if (threads == 0) threads = default_threads();
  threads = static_cast<int32_t>(std::min<int64_t>(threads, worth));
  if (!own) {
    // Beside an executor's, and from inside its tasks, others run serially: the processors are its.
    under_way_.begin(kMaxThreads);
    return {threads, run_callers, const_cast<normkernels_executor*>(given)};
  }
  if (threads > 1) {
    threads = std::max(threads - under_way_.begin(1), 1);
  }
  share_ = {threads, elements_moved >= kBytesWorthWaking / bytes_of(kStatistic)};
  return {threads, run_own, &share_};
}

normkernels_status Call::fill(std::initializer_list<Fill> outputs) const {
  for (const Fill& output : outputs) {
    if (output.p == nullptr) continue;
    const int64_t bytes = bytes_of(output.element);
    if (bytes == sizeof(double)) {
      std::fill_n(static_cast<double*>(output.p), output.n, output.value);
    } else if (bytes == sizeof(float)) {
      std::fill_n(static_cast<float*>(output.p), output.n, static_cast<float>(output.value));
    } else {
      std::fill_n(static_cast<uint16_t*>(output.p), output.n, uint16_t{0});
    }
  }
  return NORMKERNELS_OK;
}

const Kernels* Call::kernels() {
  if (!ok()) return nullptr;
  const Isa* isa = active_isa(&status_);
  if (isa == nullptr) return nullptr;
  return isa->kernels[element_ - NORMKERNELS_F32];
}

}  // namespace normkernels
