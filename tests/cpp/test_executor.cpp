#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "calls.h"

namespace {

constexpr Window window = {5, 1.0, 0.75, 1.0};

// Large enough to be split into many tasks, and one image alone, whose planes must be.
constexpr nk::Tensor large[] = {{nk::nchw, 8, 12, 1024},  {nk::nhwc, 8, 12, 1024},
                                {nk::nchw, 1, 3, 65543},  {nk::nhwc, 1, 3, 65543},
                                {nk::nchw, 1500, 1, 67},  {nk::nhwc, 5, 300, 77},
                                {nk::nchw, 1, 1, 200003}, {nk::nhwc, 1, 2000, 40}};

}  // namespace

TEST_CASE_TEMPLATE("the bits do not depend on who runs the tasks, and in which order", T, float,
                   double) {
  std::mt19937 random(7);
  std::int64_t most_tasks = 0;
  using Run = std::function<void(std::int64_t, const std::function<void(std::int64_t)>&)>;
  const Run reversed = [&](std::int64_t tasks, const auto& task) {
    most_tasks = std::max(most_tasks, tasks);
    for (std::int64_t i = tasks; i-- > 0;) task(i);
  };
  const Run shuffled = [&](std::int64_t tasks, const auto& task) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(tasks));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (const std::int64_t i : order) task(i);
  };
  const auto at_once = [&](std::int64_t tasks, auto task) {
    std::vector<std::thread> pool;
    for (std::int64_t t = 0; t < 4; ++t) {
      pool.emplace_back([=] {
        for (std::int64_t i = t; i < tasks; i += 4) task(i);
      });
    }
    for (std::thread& thread : pool) thread.join();
  };
  const normkernels_executor serial = nk::threads(1);

  // How work is cut into tasks is the same in every instruction set.
  for (const nk::Tensor& shape : large) {
    CAPTURE(shape.order);
    CAPTURE(shape.n);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> problem(shape, window);
    for (const Call<T>& call : calls<T>) {
      CAPTURE(std::string(call.name));
      const Outputs<T> expected = call.run(problem, &serial);
      for (const std::int32_t threads : {1, 2, 3, 8}) {
        if (kEvery > 1 && threads < 3) continue;  // slow kernels
        CAPTURE(threads);
        const normkernels_executor own = nk::threads(threads);
        check_same_bits(call, problem, expected, &own);
        const nk::Executor<Run> callers(threads % 2 == 0 ? reversed : shuffled, threads);
        check_same_bits(call, problem, expected, &callers);
      }
      const nk::Executor parallel(at_once, 4);
      check_same_bits(call, problem, expected, &parallel);
    }
  }
  CHECK(most_tasks > 1);
}

TEST_CASE("a caller's executor runs every task on the caller's threads") {
  const Problem<float> problem({nk::nchw, 16, 24, 1024}, window);
  bool elsewhere = false;
  const auto caller = std::this_thread::get_id();
  std::int64_t ran = 0;
  const auto serial = [&](std::int64_t tasks, auto task) {
    elsewhere = elsewhere || std::this_thread::get_id() != caller;
    for (std::int64_t i = 0; i < tasks; ++i, ++ran) task(i);
  };
  const nk::Executor executor(serial, 4);
  for (const Call<float>& call : calls<float>) {
    CAPTURE(std::string(call.name));
    ran = 0;
    call.run(problem, &executor);
    CHECK(ran > 0);
  }
  CHECK_FALSE(elsewhere);
}

TEST_CASE("the default number of threads") {
  const char* environment = std::getenv("NORMKERNELS_NUM_THREADS");
  const std::int32_t automatic = nk::num_threads();
  CHECK(automatic >= 1);
  if (environment != nullptr) CHECK(automatic == std::atoi(environment));

  nk::set_num_threads(5);
  CHECK(nk::num_threads() == 5);
  CHECK(normkernels_set_num_threads(-1) == NORMKERNELS_BAD_EXECUTOR + 1);
  CHECK(nk::num_threads() == 5);
  nk::set_num_threads(0);
  CHECK(nk::num_threads() == automatic);
}

TEST_CASE("calls from several threads at once") {
  const Problem<float> problem({nk::nchw, 16, 24, 1024}, window);
  for (const Call<float>& call : calls<float>) {
    CAPTURE(std::string(call.name));
    const Outputs<float> expected = call.run(problem, nullptr);
    std::vector<Outputs<float>> results(4);
    std::vector<std::thread> threads;
    for (Outputs<float>& result : results) {
      threads.emplace_back([&] { result = call.run(problem, nullptr); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Outputs<float>& result : results) {
      REQUIRE(result.size() == expected.size());
      for (std::size_t i = 0; i < result.size(); ++i) CHECK(result[i].same_bits(expected[i]));
    }
  }
}
