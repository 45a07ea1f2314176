// Arrays with strides for the tests: layouts of any shape, and how operators are checked on them
// against the dense functions on dense copies.
#ifndef NORMKERNELS_TESTS_VIEWS_H_
#define NORMKERNELS_TESTS_VIEWS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "calls.h"

using Extents = std::vector<std::int64_t>;
using Axes = std::vector<int>;

// Where the elements of an array are in a buffer of `size` elements.
struct Layout {
  std::string name;
  Extents strides;
  std::int64_t start, size;
};

// A part of a dense array whose axes are in memory in the order `axes`: each is `wider` elements
// longer than what is taken of it, of which every `step`-th.
inline Layout part_of(const std::string& name, const Extents& shape, const Axes& axes,
                      const Extents& wider, const Extents& step) {
  Layout layout = {name, Extents(shape.size()), 0, 1};
  for (std::size_t k = axes.size(); k-- > 0;) {
    const auto axis = static_cast<std::size_t>(axes[k]);
    layout.strides[axis] = layout.size * step[axis];
    layout.start += layout.size * (wider[axis] / 2);
    layout.size *= shape[axis] * step[axis] + wider[axis];
  }
  return layout;
}

inline Axes all_axes(const Extents& shape) {
  Axes axes(shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

inline Layout dense(const Extents& shape) {
  const Extents none(shape.size(), 0), one(shape.size(), 1);
  return part_of("dense", shape, all_axes(shape), none, one);
}

inline Layout reversed(Layout layout, const Extents& shape, std::size_t axis) {
  layout.name += ", axis " + std::to_string(axis) + " reversed";
  layout.start += (shape[axis] - 1) * layout.strides[axis];
  layout.strides[axis] = -layout.strides[axis];
  return layout;
}

inline Layout broadcast(Layout layout, std::size_t axis) {
  layout.name += ", axis " + std::to_string(axis) + " broadcast";
  layout.strides[axis] = 0;
  return layout;
}

inline std::vector<Layout> layouts(const Extents& shape) {
  const std::size_t rank = shape.size();
  const Axes axes = all_axes(shape);
  const Axes backwards(axes.rbegin(), axes.rend());
  Axes rotated = axes;
  std::rotate(rotated.begin(), rotated.end() - 1, rotated.end());
  const Extents none(rank, 0), one(rank, 1);
  const auto only = [&](std::size_t axis, std::int64_t value, Extents others) {
    others[axis] = value;
    return others;
  };
  Extents wider(rank);  // so that no two axes are one
  for (std::size_t i = 0; i < rank; ++i) wider[i] = 2 + static_cast<std::int64_t>(i % 3);
  // The stride of a single element says nothing.
  Layout nonsense = part_of("nonsense", shape, backwards, none, one);
  for (std::size_t i = 0; i < rank; ++i) {
    if (shape[i] == 1) nonsense.strides[i] = i % 2 == 0 ? INT64_MIN : INT64_MAX;
  }
  return {dense(shape),
          nonsense,
          part_of("sliced", shape, axes, only(rank - 1, 5, none), one),
          part_of("stepped", shape, axes, none, only(rank - 1, 2, one)),
          reversed(dense(shape), shape, rank - 1),
          part_of("Fortran", shape, backwards, none, one),
          part_of("cropped", shape, axes, wider, one),
          part_of("last axis first", shape, rotated, none, one),
          reversed(part_of("sliced", shape, axes, only(rank - 1, 3, none), one), shape, 0),
          part_of("every other", shape, axes, none, only(0, 2, one)),
          part_of("last axis first, stepped", shape, rotated, wider, only(rank - 1, 3, one)),
          reversed(part_of("Fortran, cropped", shape, backwards, wider, one), shape, 0)};
}

// The offsets of the elements, in the row-major order of the axes `axes`.
inline std::vector<std::int64_t> offsets(const Extents& shape, const Layout& layout,
                                         const Axes& axes) {
  std::vector<std::int64_t> result = {layout.start}, longer;
  for (const int axis : axes) {
    const auto k = static_cast<std::size_t>(axis);
    longer.clear();
    longer.reserve(result.size() * static_cast<std::size_t>(shape[k]));
    for (const std::int64_t offset : result) {
      for (std::int64_t i = 0; i < shape[k]; ++i) longer.push_back(offset + i * layout.strides[k]);
    }
    result.swap(longer);
  }
  return result;
}

// An array with strides, as the C functions take it.
template <class T>
struct Strided {
  T* data;
  const std::int64_t* strides;
};

// An array in one of some buffers. In one buffer arrays lie beside each other, or in one place.
struct Placed {
  std::size_t buffer;
  Layout layout;
};

// The arrays with strides of a call.
struct Placement {
  std::vector<Placed> in, out;
};

inline std::string text(const Extents& shape) {
  std::string result = "[";
  for (const std::int64_t extent : shape) result += " " + std::to_string(extent);
  return result + " ]";
}

inline std::string text(const Placement& placement) {
  std::string result;
  for (const auto* arrays : {&placement.in, &placement.out}) {
    result += arrays == &placement.in ? "from" : " to";
    for (const Placed& p : *arrays)
      result += " " + std::to_string(p.buffer) + ": " + p.layout.name + ";";
  }
  return result;
}

// For each output the input that it may be.
using InPlace = std::vector<std::size_t>;

// Ways to place arrays, of large ones fewer.
inline std::vector<Placement> placements(const Extents& shape, std::size_t inputs,
                                         std::size_t outputs, const std::vector<InPlace>& in_place,
                                         bool all) {
  const std::vector<Layout> list = layouts(shape);
  const auto at = [&](std::size_t i) { return list[i % list.size()]; };
  std::vector<Placement> result;
  // f(k) is the layout of array k; outputs come after inputs.
  const auto add = [&](auto&& f) {
    Placement placement;
    for (std::size_t k = 0; k < inputs; ++k) placement.in.push_back({k, f(k)});
    for (std::size_t k = inputs; k < inputs + outputs; ++k) placement.out.push_back({k, f(k)});
    result.push_back(placement);
  };
  for (std::size_t i = 0; i < list.size(); ++i) {
    add([&](std::size_t k) { return at(i + k * (i % 5)); });
    for (std::size_t j = 0; j < in_place.size(); ++j) {
      if (!all && i % in_place.size() != j) continue;
      add([&](std::size_t k) { return at(i + 3 * k); });
      for (std::size_t k = 0; k < outputs; ++k)
        result.back().out[k] = result.back().in[in_place[j][k]];
    }
    if (!all) continue;
    add([&](std::size_t k) { return at(k < inputs ? i : 0); });
    add([&](std::size_t k) { return at(k < inputs ? 0 : i); });
  }
  // Beside each other: columns of longer rows, and every so many of one row.
  const std::size_t last = shape.size() - 1;
  const auto count = static_cast<std::int64_t>(inputs + outputs);
  for (const bool stepped : {false, true}) {
    Extents wider(shape.size(), 0), step(shape.size(), 1);
    (stepped ? step : wider)[last] = stepped ? count : (count - 1) * shape[last];
    add([&](std::size_t k) {
      Layout layout = part_of("interleaved", shape, all_axes(shape), wider, step);
      layout.start = static_cast<std::int64_t>(k) * (stepped ? 1 : shape[last]);
      return layout;
    });
    for (auto* arrays : {&result.back().in, &result.back().out}) {
      for (Placed& p : *arrays) p.buffer = 0;
    }
  }
  for (std::size_t input = 0; input < inputs; ++input) {
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      add([&](std::size_t k) { return k == input ? broadcast(at(axis), axis) : at(k * axis); });
    }
  }
  return result;
}

// The dtype of a call of which some parameters are of float.
template <class T>
constexpr normkernels_dtype with(normkernels_dtype flags) {
  return nk::is_half<T> ? nk::dtype<T> | flags : nk::dtype<T>;
}

// An operator on arrays of one shape, of which the dense function takes copies whose axes are in
// the order `axes`. The first outputs are those with strides.
template <class T>
struct Operator {
  std::string name;
  Extents shape;
  Axes axes;
  std::size_t inputs, outputs;
  std::vector<InPlace> in_place;
  std::size_t workspace_bytes;
  std::function<Outputs<T>(const Outputs<T>& in)> dense;
  // `others` are the outputs without strides.
  std::function<normkernels_status(const Outputs<T>& in, const std::vector<Strided<T>>& views,
                                   Outputs<T>& others, void* workspace,
                                   const normkernels_executor*)>
      view;
};

template <class T>
Guarded<T> any_values(std::int64_t size, std::uint64_t seed) {
  Guarded<T> values(size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    values[i] = static_cast<T>(static_cast<double>(seed >> 40) / (1 << 23) - 0.5);
  }
  return values;
}

// The same, of what is computed with.
template <class T>
Guarded<T> any_wide_values(std::int64_t size, std::uint64_t seed) {
  const Guarded<nk::Computed<T>> values = any_values<nk::Computed<T>>(size, seed);
  Guarded<T> result = computed_array<T>(size);
  std::copy(values.data(), values.data() + size, statistic(result));
  return result;
}

// The outputs of the operator on placed arrays are those of the dense function, and nothing beside
// them is written.
template <class T>
void check(const Operator<T>& op, const Placement& placement, Outputs<T> in,
           const Outputs<T>& expected, const normkernels_executor* executor) {
  std::vector<Placed> placed = placement.in;
  placed.insert(placed.end(), placement.out.begin(), placement.out.end());
  std::vector<std::int64_t> sizes(placed.size(), 0);
  for (const Placed& p : placed) sizes[p.buffer] = std::max(sizes[p.buffer], p.layout.size);
  Outputs<T> buffers(sizes.begin(), sizes.end());
  std::vector<Strided<T>> views;
  std::vector<std::vector<std::int64_t>> where;
  for (const Placed& p : placed) {
    views.push_back({buffers[p.buffer].data() + p.layout.start, p.layout.strides.data()});
    where.push_back(offsets(op.shape, p.layout, op.axes));
  }
  for (std::size_t k = 0; k < op.inputs; ++k) {
    Guarded<T>& buffer = buffers[placed[k].buffer];
    for (std::size_t i = 0; i < in[k].size(); ++i)
      buffer[static_cast<std::size_t>(where[k][i])] = in[k][i];
  }
  Outputs<T> after = buffers, others;
  for (std::size_t k = op.outputs; k < expected.size(); ++k)
    others.emplace_back(static_cast<std::int64_t>(expected[k].size()));
  Guarded<T> workspace(static_cast<std::int64_t>(op.workspace_bytes / sizeof(T)));
  REQUIRE(op.view(in, views, others, workspace.data(), executor) == NORMKERNELS_OK);

  for (std::size_t k = 0; k < op.outputs; ++k) {
    Guarded<T>& buffer = after[placed[op.inputs + k].buffer];
    for (std::size_t i = 0; i < expected[k].size(); ++i)
      buffer[static_cast<std::size_t>(where[op.inputs + k][i])] = expected[k][i];
  }
  for (std::size_t k = 0; k < buffers.size(); ++k) {
    CAPTURE(k);
    CHECK(buffers[k].same_bits(after[k]));
    CHECK(buffers[k].intact());
  }
  for (std::size_t k = 0; k < others.size(); ++k) {
    CAPTURE(k);
    CHECK(others[k].same_bits(expected[op.outputs + k]));
    CHECK(others[k].intact());
  }
  CHECK(workspace.intact());
}

// In all placements, or of large arrays in some, by one thread, four, and an executor that runs the
// last task first. Which ones differs from operator to operator.
template <class T>
void check_placements(const Operator<T>& op) {
  nk::Executor backwards(
      [](std::int64_t tasks, auto task) {
        for (std::int64_t i = tasks; i-- > 0;) task(i);
      },
      16);
  const normkernels_executor one = nk::threads(1), four = nk::threads(4);
  const normkernels_executor* const executors[] = {&one, &four, &backwards};
  std::int64_t size = 1;
  for (const std::int64_t extent : op.shape) size *= extent;
  Outputs<T> in;
  for (std::size_t k = 0; k < op.inputs; ++k) in.push_back(any_values<T>(size, k + 1));
  const Outputs<T> expected = op.dense(in);
  const bool all = size < 20000;
  const std::size_t every = all ? 1 : size < 100000 ? 3 : 11;
  static std::size_t seen = 0, count = 0;
  for (const Placement& placement : placements(op.shape, op.inputs, op.outputs, op.in_place, all)) {
    if (seen++ % every != 0) continue;
    INFO(op.name << " of " << text(op.shape) << " " << text(placement));
    const normkernels_executor* const executor = executors[count++ % 3];
    bool repeated = false;
    Outputs<T> values = in;
    for (std::size_t k = 0; k < op.inputs; ++k) {
      const Layout& layout = placement.in[k].layout;
      if (layout.name.find("broadcast") == std::string::npos) continue;
      repeated = true;
      const std::vector<std::int64_t> where = offsets(op.shape, layout, op.axes);
      const Guarded<T> buffer = any_values<T>(layout.size, k + 1);
      for (std::size_t i = 0; i < where.size(); ++i)
        values[k][i] = buffer[static_cast<std::size_t>(where[i])];
    }
    check(op, placement, values, repeated ? op.dense(values) : expected, executor);
  }
}

// Of slow kernels and of half types, whose tiles are those of float, a part, but some of
// everything.
template <class T>
void check_all(const std::vector<Operator<T>>& operators) {
  constexpr std::size_t every = nk::is_half<T> ? 5 * kEvery : kEvery;
  static std::size_t calls = 0;
  if (calls++ % every != 0) return;
  for (const Operator<T>& op : operators) check_placements(op);
}

#endif  // NORMKERNELS_TESTS_VIEWS_H_
