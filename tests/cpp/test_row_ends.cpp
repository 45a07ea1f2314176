// The address sanitizer sees what kernels do beside an array. It is blind to most intrinsics, and
// nothing else would tell if the kernels no longer showed it what they touch: every row here is
// said to be longer by one element than its array, in a process of its own, which the report ends.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

namespace {

enum Exit { unseen, seen };
bool planted = false;

enum class Wrong { nothing, x_begin, x_end, y_begin, y_end };

template <class T>
void run(std::int64_t rows, std::int64_t cols, Wrong wrong) {
  const std::int64_t size = rows * cols;
  const bool short_x = wrong == Wrong::x_begin || wrong == Wrong::x_end;
  const bool short_y = wrong == Wrong::y_begin || wrong == Wrong::y_end;
  Guarded<T> x(size - (short_x ? 1 : 0)), y(size - (short_y ? 1 : 0));
  std::fill_n(x.data(), x.size(), T(1));
  const normkernels_executor serial = nk::threads(1);
  nk::layer_norm_forward(
      matrix<const T>(x.data() - (wrong == Wrong::x_begin ? 1 : 0), {rows, cols}),
      matrix<T>(y.data() - (wrong == Wrong::y_begin ? 1 : 0), {rows, cols}), {.executor = &serial});
}

// How a process ends that does this.
template <class F>
int exit_code(const F& f) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    planted = true;
    f();
    _exit(unseen);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

// The sanitizer calls it before it prints.
extern "C" __attribute__((visibility("default"))) void __asan_on_error() {
  if (planted) _exit(seen);
}

TEST_CASE_TEMPLATE("the sanitizer sees the element before an array and the one behind it", T, float,
                   double, nk::float16, nk::bfloat16) {
  for (const std::string& isa : supported_isas()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    // One row, and several that are turned; ends that fill a vector and that do not.
    for (const std::int64_t rows : {1, 33}) {
      for (const std::int64_t cols : {3, 7, 21, 64, 77}) {
        CAPTURE(rows);
        CAPTURE(cols);
        const auto ends_as = [=](Wrong wrong) {
          return exit_code([=] { run<T>(rows, cols, wrong); });
        };
        CHECK(ends_as(Wrong::nothing) == unseen);
        CHECK(ends_as(Wrong::x_begin) == seen);
        CHECK(ends_as(Wrong::x_end) == seen);
        CHECK(ends_as(Wrong::y_begin) == seen);
        CHECK(ends_as(Wrong::y_end) == seen);
      }
    }
  }
}
