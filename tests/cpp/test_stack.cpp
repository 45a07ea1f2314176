// No function needs more stack than threads have that ask for little: musl gives 128 KiB,
// others 64.
#include <doctest/doctest.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

#include "calls.h"

namespace {

// Without optimisation every value has a place of its own on the stack; so have the vectors of
// emulated_wide, which no register holds, and which is for tests alone.
bool is_lean(const std::string& isa) {
#if defined(__OPTIMIZE__)
  return isa != "emulated_wide";
#else
  return isa.empty();
#endif
}

// The least that a thread can have: on 64-bit Arm, glibc asks for 128.
std::size_t small() { return std::max<std::size_t>(64 << 10, PTHREAD_STACK_MIN); }

// Runs f on a thread with a small stack and nothing mapped below it: who needs more ends the
// program. Returns how many bytes below f's own frame were written to.
class SmallStack {
 public:
  explicit SmallStack(std::size_t stack_size)
      : size_(stack_size),
        memory_(static_cast<unsigned char*>(mmap(nullptr, below + size_, PROT_READ | PROT_WRITE,
                                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    REQUIRE(memory_ != MAP_FAILED);
    REQUIRE(mprotect(memory_, below, PROT_NONE) == 0);
  }
  SmallStack(const SmallStack&) = delete;
  SmallStack& operator=(const SmallStack&) = delete;
  ~SmallStack() { munmap(memory_, below + size_); }

  template <class F>
  std::size_t run(F f) {
    unsigned char* const stack = memory_ + below;
    std::memset(stack, paint, size_);
    struct Start {
      F& f;
      const unsigned char* frame;
    } start = {f, nullptr};
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstack(&attributes, stack, size_) == 0);
    pthread_t thread;
    REQUIRE(pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  Start& s = *static_cast<Start*>(argument);
                  s.frame = static_cast<const unsigned char*>(__builtin_frame_address(0));
                  s.f();
                  return nullptr;
                },
                &start) == 0);
    REQUIRE(pthread_join(thread, nullptr) == 0);
    pthread_attr_destroy(&attributes);
    const unsigned char* deepest = stack;
    while (*deepest == paint) ++deepest;
    return static_cast<std::size_t>(start.frame - deepest);
  }

 private:
  static constexpr std::size_t below = 1 << 20;
  static constexpr unsigned char paint = 0xa5;
  const std::size_t size_;
  unsigned char* const memory_;
};

// Beside those that all tests have: rows of the columns that half types are taken together, and
// long ones, few channels of many pixels, windows over hundreds of channels.
std::vector<nk::Tensor> all_shapes() {
  std::vector<nk::Tensor> result = shapes();
  for (const nk::Order order : {nk::nchw, nk::nhwc}) {
    for (const nk::Tensor& shape : {nk::Tensor{order, 1, 1, 9001},
                                    {order, 9, 1, 512},
                                    {order, 2, 1, 4096},
                                    {order, 200, 1, 33},
                                    {order, 9, 16, 40},
                                    {order, 1, 33, 600},
                                    {order, 1, 300, 9}}) {
      result.push_back(shape);
    }
  }
  return result;
}

// Ordinary values; squares that overflow; zeros without a bias; brackets below zero, of which one
// is not a number.
template <class T>
std::vector<Problem<T>> problems(const nk::Tensor& shape) {
  const std::int64_t size = shape.c > 100 ? shape.c : 5;
  std::vector<Problem<T>> result;
  using Limits = std::numeric_limits<nk::Computed<T>>;
  const auto scale = [](Problem<T>& p, nk::Computed<T> factor) {
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = static_cast<T>(computed(p.x[i]) * factor);
  };
  for (const double beta : {0.6, 0.75}) {
    result.emplace_back(shape, Window{size, 1, beta, 1});
    result.emplace_back(shape, Window{size, 1, beta, 1});
    scale(result.back(), Limits::max() / 4);
  }
  result.emplace_back(shape, Window{2, 1, 0.6, 0});
  scale(result.back(), 0);
  result.emplace_back(shape, Window{size, -0.75, 2, 0.5});
  result.back().x[result.back().x.size() / 3] = static_cast<T>(Limits::quiet_NaN());
  return result;
}

}  // namespace

// Both half types run the same code. Of slow kernels a part, but some of everything.
TEST_CASE_TEMPLATE("every operator runs on a small stack", T, float, double, nk::bfloat16) {
  const normkernels_executor serial = nk::threads(1);
  for (const std::string& isa : supported_isas()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    SmallStack stack(is_lean(isa) ? small() : 1 << 20);
    std::size_t deepest = 0, turn = 0;
    for (const nk::Tensor& shape : all_shapes()) {
      CAPTURE(shape.order);
      CAPTURE(shape.n);
      CAPTURE(shape.c);
      CAPTURE(shape.spatial);
      for (const Problem<T>& problem : problems<T>(shape)) {
        if (turn++ % kEvery != 0) continue;
        for (const Call<T>& call : calls<T>) {
          CAPTURE(std::string(call.name));
          const std::size_t used = stack.run([&] { call.run(problem, &serial); });
          deepest = std::max(deepest, used);
        }
      }
    }
    if (is_lean(isa)) CHECK(deepest <= (isa == "avx512" ? 36 : 32) << 10);
  }
}
