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

#include "operators.h"

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

constexpr Extents rms_norm_shapes[] = {{64, 4096, 1, "64x4096"},
                                       {512, 768, 1, "512x768"},
                                       {2048, 1024, 1, "2048x1024"},
                                       {1000, 4096, 1, "1000x4096"}};

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

constexpr Window windows[] = {{5, 1e-4, 0.75, 1.0, ""},         {3, 1e-4, 0.75, 1.0, "/size:3"},
                              {9, 1e-4, 0.75, 1.0, "/size:9"},  {11, 1e-4, 0.75, 1.0, "/size:11"},
                              {5, 1e-4, 0.5, 1.0, "/beta:0.5"}, {5, 1e-4, 0.6, 1.0, "/beta:0.6"},
                              {5, 1e-4, 1.0, 1.0, "/beta:1"}};

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
  nk::Workspace source, target;  // aligned
  if (!source.reserve(bytes / 2) || !target.reserve(bytes / 2)) return 0;
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
      for (std::size_t i = 0; i < copies; ++i)
        bench_move(way, 1, to, nullptr, from, nullptr, bytes / 2);
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
  nk::Workspace workspace;
  if (op.prepare != nullptr) op.prepare(arrays);
  op.run(arrays, window, &workspace, &executor);  // which then is large enough
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    op.run(arrays, window, &workspace, &executor);
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
  for (const Operator<T>& op : rms_norm<T>) {
    for (const Extents& e : rms_norm_shapes) add(op, dtype, "", e, nk::nchw, windows[0]);
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
  add_all<nk::bfloat16>("bf16");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
