// Whether views share an element, beneath the interface: against all elements of small views, and
// the views of large arrays that callers have.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "views/overlap.h"

namespace {

using normkernels::bounds_of;
using normkernels::Footprint;
using normkernels::overlap;
using normkernels::overlaps_itself;

struct View {
  std::int64_t start;
  std::vector<std::int64_t> extents, strides;

  Footprint footprint() const {
    return {start, static_cast<int>(extents.size()), extents.data(), strides.data()};
  }

  // In ascending order.
  std::vector<std::int64_t> elements() const {
    std::vector<std::int64_t> result = {start};
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      const std::size_t size = result.size();
      for (std::int64_t k = 1; k < extents[axis]; ++k) {
        for (std::size_t i = 0; i < size; ++i) result.push_back(result[i] + k * strides[axis]);
      }
    }
    std::sort(result.begin(), result.end());
    return result;
  }
};

std::string text(const View& view) {
  std::string result = std::to_string(view.start);
  for (std::size_t i = 0; i < view.extents.size(); ++i)
    result += ", " + std::to_string(view.extents[i]) + " by " + std::to_string(view.strides[i]);
  return "[" + result + "]";
}

std::int64_t between(std::int64_t least, std::int64_t most, std::mt19937& random) {
  return least + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most - least + 1));
}

View any_view(std::mt19937& random) {
  View view = {between(80, 110, random), {}, {}};
  for (std::int64_t axes = between(0, 4, random); axes > 0; --axes) {
    view.extents.push_back(between(1, 4, random));
    view.strides.push_back(between(-6, 6, random));
  }
  return view;
}

// Of an array at 1000, some of each axis: steps, either way, in any order of the axes.
View part_of_an_array(std::mt19937& random) {
  View view = {1000, {}, {}};
  std::int64_t stride = 1;
  for (std::int64_t axes = between(1, 4, random); axes > 0; --axes) {
    const std::int64_t whole = between(1, 6, random), step = between(1, 3, random);
    const std::int64_t first = between(0, whole - 1, random);
    const std::int64_t extent = between(1, (whole - first + step - 1) / step, random);
    const bool backwards = between(0, 1, random) != 0;
    view.start += (backwards ? first + (extent - 1) * step : first) * stride;
    view.extents.push_back(extent);
    view.strides.push_back(backwards ? -step * stride : step * stride);
    stride *= whole;
  }
  for (std::size_t i = view.extents.size() - 1; i > 0; --i) {
    const auto j = static_cast<std::size_t>(between(0, static_cast<std::int64_t>(i), random));
    std::swap(view.extents[i], view.extents[j]);
    std::swap(view.strides[i], view.strides[j]);
  }
  return view;
}

bool intersect(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](std::int64_t i) { return std::binary_search(b.begin(), b.end(), i); });
}

bool has_twins(const std::vector<std::int64_t>& sorted) {
  return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
}

bool overlap(const View& a, const View& b) {
  const bool result = overlap(a.footprint(), b.footprint());
  CHECK(overlap(b.footprint(), a.footprint()) == result);
  return result;
}

bool fits(const View& view) {
  std::int64_t begin, end;
  return bounds_of(view.footprint(), &begin, &end);
}

constexpr std::int64_t two_to_62 = std::int64_t{1} << 62;

}  // namespace

TEST_CASE("small views of all kinds") {
  std::mt19937 random(5);
  int shared = 0, apart = 0;
  for (int i = 0; i < 20000; ++i) {
    const View a = any_view(random), b = any_view(random);
    INFO(text(a) << " " << text(b));
    const std::vector<std::int64_t> of_a = a.elements(), of_b = b.elements();
    const bool expected = intersect(of_a, of_b);
    ++(expected ? shared : apart);
    REQUIRE(overlap(a, b) == expected);
    std::int64_t begin, end;
    REQUIRE(bounds_of(a.footprint(), &begin, &end));
    REQUIRE(begin == of_a.front());
    REQUIRE(end == of_a.back() + 1);
    if (has_twins(of_a)) REQUIRE(overlaps_itself(a.footprint()));
  }
  CHECK(shared > 2000);
  CHECK(apart > 2000);
}

TEST_CASE("parts of an array name no element twice, unless an axis is repeated") {
  std::mt19937 random(6);
  for (int i = 0; i < 5000; ++i) {
    View view = part_of_an_array(random);
    INFO(text(view));
    REQUIRE(!has_twins(view.elements()));
    REQUIRE(!overlaps_itself(view.footprint()));
    view.extents.push_back(2);
    view.strides.push_back(view.extents[0] > 1 ? view.strides[0] : 0);
    REQUIRE(overlaps_itself(view.footprint()));
  }
}

TEST_CASE("parts of one array") {
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    const View a = part_of_an_array(random), b = part_of_an_array(random);
    INFO(text(a) << " " << text(b));
    REQUIRE(overlap(a, b) == intersect(a.elements(), b.elements()));
  }
}

TEST_CASE("what callers have") {
  const std::int64_t rows = 1000000;
  const auto columns = [&](std::int64_t from, std::int64_t count) {
    return View{from, {rows, count}, {1536, 1}};
  };
  CHECK(!overlap(columns(0, 768), columns(768, 768)));
  CHECK(overlap(columns(0, 769), columns(768, 768)));
  CHECK(!overlap(columns(0, 1), columns(1535, 1)));
  // x[::2] and x[1::2], of rows and of columns, and backwards.
  CHECK(!overlap({0, {rows, 1536}, {3072, 1}}, {1536, {rows, 1536}, {3072, 1}}));
  CHECK(!overlap({0, {rows, 768}, {1536, 2}}, {1, {rows, 768}, {1536, 2}}));
  CHECK(!overlap({0, {rows}, {2}}, {2 * rows - 1, {rows}, {-2}}));
  CHECK(overlap({0, {rows}, {2}}, {2 * rows - 2, {rows}, {-2}}));
  CHECK(overlap({0, {rows, 768}, {1536, 2}}, {1, {rows, 768}, {1537, 2}}));
  // Steps of different lengths.
  CHECK(!overlap({0, {rows}, {4}}, {1, {rows}, {2}}));
  CHECK(!overlap({0, {rows}, {6}}, {1, {rows}, {9}}));
  CHECK(overlap({0, {rows}, {5}}, {1, {rows}, {7}}));
  // Halves of the channels of [n, c, h, w], one of them as [n, h, w, c], and a transposed one.
  const View first = {0, {64, 128, 56, 56}, {802816, 3136, 56, 1}};
  CHECK(!overlap(first, {401408, {64, 56, 56, 128}, {802816, 56, 1, 3136}}));
  CHECK(overlap(first, {401407, {64, 56, 56, 128}, {802816, 56, 1, 3136}}));
  CHECK(!overlap({0, {512, 512}, {1024, 1}}, {512, {512, 512}, {1, 1024}}));
  CHECK(overlap({0, {512, 512}, {1024, 1}}, {511, {512, 512}, {1, 1024}}));
  // One row, repeated, beside the others.
  CHECK(!overlap({0, {rows, 768}, {0, 1}}, {768, {rows, 768}, {768, 1}}));
  CHECK(overlap({767, {rows, 768}, {0, 1}}, {768, {rows, 768}, {768, 1}}));
  // A dense array in the gap that a view leaves.
  CHECK(!overlap(columns(0, 768), {768, {768}, {1}}));
  CHECK(overlap(columns(0, 768), {768, {769}, {1}}));
}

TEST_CASE("elements of an array without axes, and of axes of one element") {
  CHECK(overlap({5, {}, {}}, {5, {1, 1}, {INT64_MIN, INT64_MAX}}));
  CHECK(!overlap({5, {}, {}}, {6, {1, 1}, {INT64_MIN, INT64_MAX}}));
  CHECK(overlap({5, {}, {}}, {1, {3}, {2}}));
  CHECK(!overlap({5, {}, {}}, {2, {3}, {2}}));
  CHECK(!overlaps_itself(View{5, {}, {}}.footprint()));
  CHECK(!overlaps_itself(View{5, {1, 1}, {0, INT64_MIN}}.footprint()));
}

TEST_CASE("no number overflows") {
  // The most that is within bounds.
  const View all = {0, {two_to_62}, {1}}, ends = {0, {2}, {two_to_62 - 1}};
  const View back = {two_to_62 - 1, {2}, {1 - two_to_62}};
  for (const View* view : {&all, &ends, &back}) {
    CHECK(fits(*view));
    CHECK(!overlaps_itself(view->footprint()));
    for (const View* other : {&all, &ends, &back}) CHECK(overlap(*view, *other));
  }
  CHECK(!overlap(ends, {1, {2, two_to_62 / 8}, {two_to_62 / 2, 1}}));
  CHECK(overlap(ends, {1, {2, two_to_62 / 2 - 1}, {two_to_62 / 2, 1}}));
  CHECK(overlaps_itself(View{0, {two_to_62 / 2, 2}, {2, two_to_62 - 2}}.footprint()));
  // As many axes as there can be.
  View deep = {0, {}, {}};
  for (int i = 0; i < normkernels::kMaxRank; ++i) {
    deep.extents.push_back(i < 61 ? 2 : 1);
    deep.strides.push_back(i < 61 ? std::int64_t{1} << i : INT64_MIN);
  }
  CHECK(fits(deep));
  CHECK(!overlaps_itself(deep.footprint()));
  CHECK(overlap(deep, {two_to_62 / 2 - 1, {}, {}}));
  CHECK(!overlap(deep, {two_to_62 / 2, {}, {}}));
  // What is beyond is told, and never taken for apart.
  const std::int64_t large[] = {INT64_MIN, INT64_MIN + 1, -two_to_62, two_to_62, INT64_MAX};
  for (const std::int64_t stride : large) {
    CAPTURE(stride);
    for (const std::int64_t extent : {std::int64_t{2}, std::int64_t{3}, two_to_62, INT64_MAX}) {
      for (const std::int64_t start : {std::int64_t{0}, two_to_62 - 1, INT64_MAX}) {
        CHECK(!fits({start, {extent}, {stride}}));
        CHECK(overlap({start, {extent}, {stride}}, {7, {}, {}}));
      }
    }
  }
  CHECK(!fits({INT64_MAX, {}, {}}));
  CHECK(!fits({1, {3}, {-1}}));
  CHECK(!fits({0, {two_to_62, 2}, {1, 1}}));
}

TEST_CASE("views too intricate to search are taken to overlap") {
  View view = {0, {}, {}};
  for (int i = 0; i < 28; ++i) {
    view.extents.push_back(2);
    view.strides.push_back(1000000007 + 1000003 * i);
  }
  CHECK(!overlap(view, {500000007, {}, {}}));
  CHECK(overlap(view, {1000000007, {}, {}}));
  CHECK(overlap(view, {std::int64_t{14} * 1000000007, {}, {}}));  // though none is there
}
