// Every operator, direction, layout and element type over a list of shapes.
//
//     build/gcc/bench/normkernels_bench --benchmark_filter=layer_norm/forward/f32
//
// Beside the time of each case stand
//   GB/s       the bytes that must move over the time (forward: read x, write y; backward: read x
//              and dy, write dx)
//   copy_GB/s  the same for a copy of as many bytes in the same process, on one thread: the fastest
//              of memcpy, ordinary and streaming stores, the best of several
//   of_copy    the first over the second: 1 is as fast as a copy
// NORMKERNELS_ISA chooses the instruction set, as everywhere.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <normkernels/normkernels.hpp>
#include <string>
#include <vector>

extern "C" void bench_move(int way, int threads, char* to, char* to_too, const char* from,
                           const char* from_too, std::size_t bytes);

namespace {

namespace nk = normkernels;

// ---- The cases ----------------------------------------------------------------------------------

struct Extents {
  std::int64_t n, c, spatial;
  const char* label;
};

// Rows are n, columns c * spatial.
constexpr Extents layer_norm_shapes[] = {{1, 768, 1, "1x768"},
                                         {32, 128, 1, "32x128"},
                                         {128, 384, 1, "128x384"},
                                         {512, 768, 1, "512x768"},
                                         {2048, 1024, 1, "2048x1024"},
                                         {4096, 4096, 1, "4096x4096"},
                                         {16 * 196, 768, 1, "16x196x768"},
                                         {8, 65536, 1, "8x65536"},
                                         {65536, 64, 1, "65536x64"},
                                         {1000, 1023, 1, "1000x1023"},
                                         {100000, 2, 1, "100000x2"},
                                         {20000, 16, 1, "20000x16"},
                                         {1009, 131, 1, "1009x131"},
                                         {1, 4194304, 1, "1x4194304"}};

constexpr Extents instance_norm_shapes[] = {
    {1, 64, 256 * 256, "1x64x256x256"}, {8, 64, 56 * 56, "8x64x56x56"},
    {16, 256, 14 * 14, "16x256x14x14"}, {1, 3, 1080 * 1920, "1x3x1080x1920"},
    {32, 512, 7 * 7, "32x512x7x7"},     {1, 32, 64 * 64 * 64, "1x32x64x64x64"},
    {64, 1000, 1, "64x1000"},           {4, 1, 512 * 512, "4x1x512x512"},
    {3, 67, 31 * 37, "3x67x31x37"}};

// Of so many groups.
constexpr std::int64_t kGroups = 32;
constexpr Extents group_norm_shapes[] = {{1, 320, 64 * 64, "1x320x64x64"},
                                         {1, 64, 256 * 256, "1x64x256x256"},
                                         {8, 64, 56 * 56, "8x64x56x56"},
                                         {16, 1280, 8 * 8, "16x1280x8x8"},
                                         {64, 4096, 1, "64x4096"}};

constexpr Extents local_response_norm_shapes[] = {
    {1, 96, 55 * 55, "1x96x55x55"},     {16, 96, 55 * 55, "16x96x55x55"},
    {1, 64, 224 * 224, "1x64x224x224"}, {1, 256, 27 * 27, "1x256x27x27"},
    {8, 192, 28 * 28, "8x192x28x28"},   {1, 3, 1080 * 1920, "1x3x1080x1920"},
    {3, 67, 31 * 37, "3x67x31x37"}};

struct Window {
  std::int64_t size;
  double alpha, beta, bias;
  const char*
      label;  // empty for the usual one, which runs on every shape; the others run on the first
};

constexpr Window windows[] = {{5, 1e-4, 0.75, 1.0, ""},         {3, 1e-4, 0.75, 1.0, "/size:3"},
                              {9, 1e-4, 0.75, 1.0, "/size:9"},  {11, 1e-4, 0.75, 1.0, "/size:11"},
                              {5, 1e-4, 0.5, 1.0, "/beta:0.5"}, {5, 1e-4, 0.6, 1.0, "/beta:0.6"},
                              {5, 1e-4, 1.0, 1.0, "/beta:1"}};

// ---- The operators ------------------------------------------------------------------------------

template <class T>
struct Arrays {
  explicit Arrays(nk::Tensor tensor)
      : shape(tensor),
        x(size(tensor.n * tensor.c * tensor.spatial)),
        dy(x.size()),
        y(x.size()),
        dx(x.size()),
        gamma(size(tensor.c * tensor.spatial), T(1.5)),
        beta(gamma.size(), T(0.5)),
        dgamma(gamma.size()),
        dbeta(gamma.size()),
        mean(size(tensor.n * tensor.c)),
        std(mean.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<T>(i * 2654435761u % 2048) / T(1024) - T(1);
      dy[i] = static_cast<T>(i * 2246822519u % 2048) / T(1024) - T(1);
    }
  }
  nk::Rows rows() const { return {shape.n, shape.c * shape.spatial}; }

  nk::Tensor shape;
  std::vector<T> x, dy, y, dx, gamma, beta, dgamma, dbeta, mean, std;
  std::vector<unsigned char> scratch;

 private:
  static std::size_t size(std::int64_t extent) { return static_cast<std::size_t>(extent); }
};

using Executor = const normkernels_executor*;

template <class T>
struct Operator {
  const char* name;
  int arrays_moved;
  void (*prepare)(Arrays<T>&);
  void (*run)(Arrays<T>&, const Window&, void* workspace, Executor);
  std::size_t (*workspace_bytes)(const nk::Tensor&, const Window&);
};

template <class T>
void layer_norm_forward(Arrays<T>& a, const Window&, void*, Executor e) {
  nk::layer_norm_forward(a.rows(), a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(), 1e-5,
                         a.mean.data(), a.std.data(), e);
}
template <class T>
void layer_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::layer_norm_backward(a.rows(), a.dy.data(), a.x.data(), a.mean.data(), a.std.data(),
                          a.dx.data(), a.gamma.data(), a.dgamma.data(), a.dbeta.data(), workspace,
                          e);
}
template <class T>
void instance_norm_forward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_forward(a.shape, a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(), 1e-5,
                            a.mean.data(), a.std.data(), workspace, e);
}
template <class T>
void instance_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_backward(a.shape, a.dy.data(), a.x.data(), a.dx.data(), a.gamma.data(),
                             a.mean.data(), a.std.data(), 1e-5, a.dgamma.data(), a.dbeta.data(),
                             workspace, e);
}
template <class T>
void instance_norm_with_gradient(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::instance_norm_with_gradient(a.shape, a.x.data(), a.dy.data(), a.y.data(), a.dx.data(),
                                  a.gamma.data(), a.beta.data(), 1e-5, a.mean.data(), a.std.data(),
                                  a.dgamma.data(), a.dbeta.data(), workspace, e);
}
template <class T>
void group_norm_forward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::group_norm_forward(a.shape, kGroups, a.x.data(), a.y.data(), a.gamma.data(), a.beta.data(),
                         1e-5, a.mean.data(), a.std.data(), workspace, e);
}
template <class T>
void group_norm_backward(Arrays<T>& a, const Window&, void* workspace, Executor e) {
  nk::group_norm_backward(a.shape, kGroups, a.dy.data(), a.x.data(), a.dx.data(), a.gamma.data(),
                          a.mean.data(), a.std.data(), 1e-5, a.dgamma.data(), a.dbeta.data(),
                          workspace, e);
}
template <class T>
void local_response_norm_forward(Arrays<T>& a, const Window& w, void* workspace, Executor e) {
  nk::local_response_norm_forward(a.shape, a.x.data(), a.y.data(), w.size, w.alpha, w.beta, w.bias,
                                  nullptr, workspace, e);
}
template <class T>
void local_response_norm_backward(Arrays<T>& a, const Window& w, void* workspace, Executor e) {
  nk::local_response_norm_backward(a.shape, a.dy.data(), a.x.data(), a.dx.data(), w.size, w.alpha,
                                   w.beta, w.bias, nullptr, nullptr, workspace, e);
}

template <class T>
std::size_t layer_norm_bytes(const nk::Tensor& s, const Window&) {
  return normkernels_layer_norm_backward_workspace_bytes(nk::dtype<T>, s.n, s.c * s.spatial);
}
template <class T>
std::size_t instance_norm_bytes(const nk::Tensor& s, const Window&) {
  return std::max(
      normkernels_instance_norm_forward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c, s.spatial),
      normkernels_instance_norm_backward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                         s.spatial));
}
template <class T>
std::size_t group_norm_bytes(const nk::Tensor& s, const Window&) {
  return std::max(normkernels_group_norm_forward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                                 s.spatial, kGroups),
                  normkernels_group_norm_backward_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c,
                                                                  s.spatial, kGroups));
}
template <class T>
std::size_t local_response_norm_bytes(const nk::Tensor& s, const Window& w) {
  return normkernels_local_response_norm_workspace_bytes(nk::dtype<T>, s.order, s.n, s.c, s.spatial,
                                                         w.size);
}

// The backward passes start from what the forward has saved.
template <class T, auto forward>
void prepare(Arrays<T>& a) {
  forward(a, windows[0], nullptr, nullptr);
}

template <class T>
constexpr Operator<T> layer_norm[] = {
    {"layer_norm/forward", 2, nullptr, layer_norm_forward<T>, layer_norm_bytes<T>},
    {"layer_norm/backward", 3, prepare<T, layer_norm_forward<T>>, layer_norm_backward<T>,
     layer_norm_bytes<T>}};

template <class T>
constexpr Operator<T> instance_norm[] = {
    {"instance_norm/forward", 2, nullptr, instance_norm_forward<T>, instance_norm_bytes<T>},
    {"instance_norm/backward", 3, prepare<T, instance_norm_forward<T>>, instance_norm_backward<T>,
     instance_norm_bytes<T>},
    {"instance_norm/with_gradient", 4, nullptr, instance_norm_with_gradient<T>,
     instance_norm_bytes<T>}};

template <class T>
constexpr Operator<T> group_norm[] = {
    {"group_norm/forward", 2, nullptr, group_norm_forward<T>, group_norm_bytes<T>},
    {"group_norm/backward", 3, prepare<T, group_norm_forward<T>>, group_norm_backward<T>,
     group_norm_bytes<T>}};

template <class T>
constexpr Operator<T> local_response_norm[] = {
    {"local_response_norm/forward", 2, nullptr, local_response_norm_forward<T>,
     local_response_norm_bytes<T>},
    {"local_response_norm/backward", 3, nullptr, local_response_norm_backward<T>,
     local_response_norm_bytes<T>}};

// ---- The measurement ----------------------------------------------------------------------------

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes per second of the fastest copy that reads `bytes / 2` and writes as many. The best of at
// least five, for 20 ms, each way.
double copy_speed(std::size_t bytes) {
  static std::map<std::size_t, double> known;
  const auto [entry, is_new] = known.try_emplace(bytes, 0.0);
  if (!is_new) return entry->second;
  const nk::detail::Workspace source(nullptr, bytes / 2), target(nullptr, bytes / 2);  // aligned
  char* const from = static_cast<char*>(source.data());
  char* const to = static_cast<char*>(target.data());
  std::fill_n(from, bytes / 2, 1);
  std::fill_n(to, bytes / 2, 2);
  // Many small copies to one reading of the clock.
  const std::size_t copies = 1 + (std::size_t{1} << 20) / (bytes + 1);
  for (int way = 0; way < 3; ++way) {
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < 5 || seconds_since(start) < 0.02; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      for (std::size_t i = 0; i < copies; ++i) bench_move(way, 1, to, nullptr, from, nullptr, bytes / 2);
      const double speed = static_cast<double>(bytes * copies) / seconds_since(begin);
      entry->second = std::max(entry->second, speed);
    }
  }
  return entry->second;
}

template <class T>
void measure(benchmark::State& state, const Operator<T>& op, nk::Tensor shape, const Window& window,
             std::int32_t thread_count) {
  Arrays<T> arrays(shape);
  const normkernels_executor executor = nk::threads(thread_count);
  const nk::detail::Workspace workspace(nullptr, op.workspace_bytes(shape, window));
  if (op.prepare != nullptr) op.prepare(arrays);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    op.run(arrays, window, workspace.data(), &executor);
    benchmark::ClobberMemory();
  }
  const double seconds = seconds_since(start) / static_cast<double>(state.iterations());
  const std::size_t bytes = static_cast<std::size_t>(op.arrays_moved) * arrays.x.size() * sizeof(T);
  const double speed = static_cast<double>(bytes) / seconds, copy = copy_speed(bytes);
  state.counters["GB/s"] = speed / 1e9;
  state.counters["copy_GB/s"] = copy / 1e9;
  state.counters["of_copy"] = speed / copy;
}

template <class T>
void add(const Operator<T>& op, const char* dtype, const char* layout, const Extents& extents,
         nk::Order order, const Window& window) {
  std::vector<std::int32_t> thread_counts = {1};
  if (nk::num_threads() > 1) thread_counts.push_back(nk::num_threads());
  for (const std::int32_t count : thread_counts) {
    const nk::Tensor shape = {order, extents.n, extents.c, extents.spatial};
    const std::string name = std::string(op.name) + "/" + dtype + layout + "/" + extents.label +
                             window.label + "/threads:" + std::to_string(count);
    benchmark::RegisterBenchmark(
        name.c_str(), [=](benchmark::State& state) { measure<T>(state, op, shape, window, count); })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

// A shape is labelled as NCHW in both layouts: it is the same tensor.
template <class T>
void add_all(const char* dtype) {
  for (const Operator<T>& op : layer_norm<T>) {
    for (const Extents& e : layer_norm_shapes) add(op, dtype, "", e, nk::nchw, windows[0]);
  }
  constexpr std::pair<const char*, nk::Order> layouts[] = {{"/nchw", nk::nchw},
                                                           {"/nhwc", nk::nhwc}};
  for (const auto& [layout, order] : layouts) {
    for (const Operator<T>& op : instance_norm<T>) {
      for (const Extents& e : instance_norm_shapes) add(op, dtype, layout, e, order, windows[0]);
    }
    for (const Operator<T>& op : group_norm<T>) {
      for (const Extents& e : group_norm_shapes) add(op, dtype, layout, e, order, windows[0]);
    }
    for (const Operator<T>& op : local_response_norm<T>) {
      for (const Extents& e : local_response_norm_shapes) {
        add(op, dtype, layout, e, order, windows[0]);
      }
      for (std::size_t w = 1; w < std::size(windows); ++w) {
        add(op, dtype, layout, local_response_norm_shapes[0], order, windows[w]);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("normkernels", nk::version());
  benchmark::AddCustomContext("instruction set", nk::active_isa());
  add_all<float>("f32");
  add_all<double>("f64");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
