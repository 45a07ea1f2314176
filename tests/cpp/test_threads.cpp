// What the threads of a task are like, how many there are, and what meets them. The rest, which
// takes processes that end and run into limits, is in tests/test_threads.py.
#include <doctest/doctest.h>
#include <fenv.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "calls.h"
#include "host/thread_count.h"

namespace {

constexpr Window window = {5, 1.0, 0.75, 1.0};
constexpr nk::Tensor shape = {nk::nchw, 16, 24, 1024};
using Run = std::function<void(std::int64_t, const std::function<void(std::int64_t)>&)>;

// A directory that stands for the system's root.
class Root {
 public:
  Root() { REQUIRE(mkdtemp(path_) != nullptr); }
  ~Root() { CHECK(system(("rm -r " + std::string(path_)).c_str()) == 0); }
  void write(const std::string& name, const std::string& text) const {
    for (std::size_t i = name.find('/', 1); i != std::string::npos; i = name.find('/', i + 1)) {
      mkdir((path_ + name.substr(0, i)).c_str(), 0700);
    }
    std::ofstream(path_ + name) << text;
  }
  std::int32_t processors() const { return normkernels::cgroup_processors(path_); }

 private:
  char path_[32] = "/tmp/normkernels-XXXXXX";
};

constexpr std::int32_t unlimited = normkernels::kMaxThreads;

// Threads that repeat f(i) of their own i, for as long as it lives; at least once each.
template <class F>
class Repeating {
 public:
  Repeating(std::size_t count, const F& f) {
    for (std::size_t i = 0; i < count; ++i) {
      threads_.emplace_back([this, i, f] {
        do {
          f(i);
        } while (!over_.load());
      });
    }
  }
  Repeating(const Repeating&) = delete;
  Repeating& operator=(const Repeating&) = delete;
  ~Repeating() {
    over_.store(true);
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::vector<std::thread> threads_;
};

// A row norm in memory of its own, which is all that a child of a process with threads may count
// on.
struct Rows {
  std::vector<float> x = std::vector<float>(300 * 1000), y = x;

  Rows() {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1013);
  }
  bool compute(std::int32_t threads) {
    const normkernels_executor executor = nk::threads(threads);
    return normkernels_layer_norm_forward(NORMKERNELS_F32, 300, 1000, x.data(), nullptr, nullptr,
                                          1e-5, y.data(), nullptr, nullptr,
                                          &executor) == NORMKERNELS_OK;
  }
};

}  // namespace

TEST_CASE("the quota of cgroups, version 2") {
  const Root root;
  CHECK(root.processors() == unlimited);
  root.write("/proc/self/cgroup", "0::/jobs/one\n");
  CHECK(root.processors() == unlimited);
  root.write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  CHECK(root.processors() == unlimited);
  root.write("/sys/fs/cgroup/jobs/cpu.max", "400000 100000\n");
  CHECK(root.processors() == 4);
  root.write("/sys/fs/cgroup/jobs/one/cpu.max", "250000 100000\n");
  CHECK(root.processors() == 3);
  root.write("/sys/fs/cgroup/jobs/one/cpu.max", "50000 100000\n");
  CHECK(root.processors() == 1);
  root.write("/sys/fs/cgroup/jobs/one/cpu.max", "max 100000\n");
  root.write("/sys/fs/cgroup/jobs/two/cpu.max", "100000 100000\n");
  CHECK(root.processors() == 4);
  for (const char* text : {"", "nonsense", "100000", "-1 100000", "100000 0"}) {
    CAPTURE(text);
    root.write("/sys/fs/cgroup/jobs/one/cpu.max", text);
    CHECK(root.processors() == 4);
  }
}

TEST_CASE("the quota of cgroups, version 1") {
  const Root root;
  root.write("/proc/self/cgroup",
             "11:cpuset:/other\n4:cpu,cpuacct:/docker/abc\n3:memory:/m\n1:name=systemd:/\n0::/\n");
  CHECK(root.processors() == unlimited);
  const std::string group = "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_";
  root.write(group + "quota_us", "-1\n");
  root.write(group + "period_us", "100000\n");
  CHECK(root.processors() == unlimited);
  root.write(group + "quota_us", "600000\n");
  CHECK(root.processors() == 6);
  // In a container the files of its group lie at the mount's root.
  root.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");
  root.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(root.processors() == 2);
  root.write("/sys/fs/cgroup/cpuset/other/cpu.cfs_quota_us", "100000\n");
  root.write("/sys/fs/cgroup/cpuset/other/cpu.cfs_period_us", "100000\n");
  CHECK(root.processors() == 2);
}

TEST_CASE("tasks round as the caller does, on whichever thread") {
  const Problem<float> problem(shape, window);
  const normkernels_executor serial = nk::threads(1);
  const Run elsewhere = [](std::int64_t tasks, const auto& task) {
    std::thread([&] {
      fesetround(FE_TONEAREST);
      for (std::int64_t i = 0; i < tasks; ++i) task(i);
      CHECK(fegetround() == FE_TONEAREST);
    }).join();
  };
  const nk::Executor callers(elsewhere, 4);
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TONEAREST}) {
    CAPTURE(mode);
    for (const Call<float>& call : calls<float>) {
      CAPTURE(std::string(call.name));
      fesetround(mode);
      const Outputs<float> expected = call.run(problem, &serial);
      for (const std::int32_t threads : {2, 3}) {
        const normkernels_executor own = nk::threads(threads);
        check_same_bits(call, problem, expected, &own);
        CHECK(fegetround() == mode);
      }
      check_same_bits(call, problem, expected, &callers);
      CHECK(fegetround() == mode);
      fesetround(FE_TONEAREST);
    }
  }
}

TEST_CASE("a call from inside an executor or one of its tasks runs serially") {
  const Problem<float> problem(shape, window);
  const Call<float>& call = calls<float>[0];
  const Outputs<float> expected = call.run(problem, nullptr);
  const normkernels_executor two = nk::threads(2);
  bool elsewhere = false;
  const auto caller = std::this_thread::get_id();
  const Run watching = [&](std::int64_t tasks, const auto& task) {
    elsewhere = elsewhere || std::this_thread::get_id() != caller;
    for (std::int64_t i = 0; i < tasks; ++i) task(i);
  };
  const nk::Executor inner(watching, 2);
  std::int64_t nested = 0;
  const Run nesting = [&](std::int64_t tasks, const auto& task) {
    check_same_bits(call, problem, expected, &two);
    check_same_bits(call, problem, expected, nullptr);
    check_same_bits(call, problem, expected, &inner);
    ++nested;
    for (std::int64_t i = 0; i < tasks; ++i) task(i);
  };
  const nk::Executor outer(nesting, 4);
  check_same_bits(call, problem, expected, &outer);
  CHECK(nested > 0);
  CHECK_FALSE(elsewhere);
}

TEST_CASE("settings that change during calls change no result") {
  const Problem<float> problem(shape, window);
  std::vector<std::string> isas = supported_isas_with_fma();
  if (isas.empty()) isas = supported_isas();  // whose bits are its own
  const ForcedIsa forced(isas.front());
  std::vector<Outputs<float>> expected;
  for (const Call<float>& call : calls<float>) expected.push_back(call.run(problem, nullptr));
  std::vector<std::atomic<std::int64_t>> different(expected.size());
  std::atomic<int> rounds{0};
  {
    const Repeating callers(4, [&](std::size_t thread) {
      for (std::size_t k = 0; k < expected.size(); ++k) {
        const std::size_t i = (k + thread * 5) % expected.size();
        const Outputs<float> outputs = calls<float>[i].run(problem, nullptr);
        for (std::size_t o = 0; o < outputs.size(); ++o) {
          different[i] += outputs[o].same_bits(expected[i][o]) ? 0 : 1;
        }
      }
      ++rounds;
    });
    for (std::uint32_t i = 0; rounds.load() < 8; ++i) {
      nk::set_num_threads(static_cast<std::int32_t>(i % 5));
      nk::force_isa(isas[i % isas.size()].c_str());
      std::this_thread::yield();
    }
  }
  nk::set_num_threads(0);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(std::string(calls<float>[i].name));
    CHECK(different[i] == 0);
  }
}

TEST_CASE("a fork while the pool is at work") {
  std::vector<Rows> rows(3);
  REQUIRE(rows[2].compute(1));
  const std::vector<float> expected = rows[2].y;
  const Repeating callers(2, [&](std::size_t thread) { rows[thread].compute(3); });
  for (int i = 0; i < 40; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(120);
      const bool computed = rows[2].compute(3) && rows[2].compute(2);
      _exit(computed && rows[2].y == expected ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

// How many there are is asked of the libraries that the process has loaded, under a lock of the C
// library's.
TEST_CASE("a fork while other threads ask for the number of threads") {
  const std::int32_t expected = nk::num_threads();
  const Repeating callers(2, [](std::size_t) { nk::num_threads(); });
  int different = 0;
  for (int i = 0; i < 400 && different == 0; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(60);
      _exit(nk::num_threads() == expected ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    different += status == 0 ? 0 : 1;
  }
  CHECK(different == 0);
}

TEST_CASE("more threads than there can be") {
  const Problem<float> problem(shape, window);
  const Outputs<float> expected = calls<float>[0].run(problem, nullptr);
  const normkernels_executor most = nk::threads(INT32_MAX);
  check_same_bits(calls<float>[0], problem, expected, &most);
  nk::set_num_threads(INT32_MAX);
  CHECK(nk::num_threads() == 1024);
  check_same_bits(calls<float>[0], problem, expected, nullptr);
  nk::set_num_threads(0);
}

// Run by CMake with NORMKERNELS_NUM_THREADS=two.
TEST_CASE("a variable that is no number" * doctest::skip()) {
  const float x[4] = {1, 2, 3, 4};
  float y[4] = {};
  const auto forward = [&](const normkernels_executor* executor) {
    return normkernels_layer_norm_forward(NORMKERNELS_F32, 1, 4, x, nullptr, nullptr, 1e-5, y,
                                          nullptr, nullptr, executor);
  };
  CHECK(nk::num_threads() == 0);
  CHECK(forward(nullptr) == NORMKERNELS_BAD_NUM_THREADS);
  CHECK(y[3] == 0);
  const normkernels_executor unsaid = nk::threads(0), one = nk::threads(1);
  CHECK(forward(&unsaid) == NORMKERNELS_BAD_NUM_THREADS);
  CHECK(forward(&one) == NORMKERNELS_OK);
  nk::set_num_threads(2);
  CHECK(forward(nullptr) == NORMKERNELS_OK);
  nk::set_num_threads(0);
  CHECK(forward(nullptr) == NORMKERNELS_BAD_NUM_THREADS);
}
