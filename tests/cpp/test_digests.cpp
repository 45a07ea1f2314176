// The bits of every output, as numbers that are written down: they are the same on every machine
// that has fma, with every compiler and at every level of optimisation, and when they change that
// is to be seen in a diff. digests.txt has a line for each call and dtype, and in it a digest for
// each group of inputs below.
#include <doctest/doctest.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iomanip>

#include "calls.h"

namespace {

template <class T>
using Problems = std::vector<Problem<T>>;

constexpr nk::Order orders[] = {nk::nchw, nk::nhwc};

// Those powers that have a way of their own, and one that has not.
constexpr double betas[] = {0.5, 0.6, 0.75, 1, 2};

// Around the widths of vectors and blocks; windows of odd and even sizes, wider than the tensor,
// and with brackets below zero.
template <class T>
Problems<T> sizes() {
  Problems<T> problems;
  for (const nk::Tensor& shape : shapes()) problems.emplace_back(shape, Window{5, 1, 0.75, 1});
  for (const nk::Order order : orders) {
    const nk::Tensor shape = {order, 2, 21, 37};
    for (const std::int64_t size : {1, 2, 3, 4, 5, 6, 7, 9, 11, 33}) {
      for (const double beta : betas) problems.emplace_back(shape, Window{size, 1, beta, 1.5});
    }
    problems.emplace_back(shape, Window{5, -1, 0.6, 0.5});
  }
  return problems;
}

// Several chunks and spans of a row, blocks of rows and of images, tiles of channels and of pixels;
// NHWC with few channels, which are folded.
template <class T>
Problems<T> many() {
  Problems<T> problems;
  std::size_t i = 0;
  for (const nk::Order order : orders) {
    for (const nk::Tensor& shape : {nk::Tensor{order, 1, 1, 300001},
                                    {order, 2, 3, 70001},
                                    {order, 3, 2, 9001},
                                    {order, 3, 33, 1025},
                                    {order, 75, 5, 50},
                                    {order, 1500, 1, 67},
                                    {order, 2, 300, 77},
                                    {order, 1, 5000, 7}}) {
      problems.emplace_back(shape, Window{5, 1, betas[i++ % std::size(betas)], 1});
    }
  }
  return problems;
}

// The fewest channels that have spans of 1024, 512 and 256 pixels, and some pixels more.
template <class T>
Problems<T> spans() {
  Problems<T> problems;
  for (const nk::Tensor& shape :
       {nk::Tensor{nk::nhwc, 1, 63, 1100}, {nk::nhwc, 2, 127, 600}, {nk::nhwc, 1, 255, 300}})
    problems.emplace_back(shape, Window{5, 1, 0.75, 1});
  return problems;
}

template <class T, class Change>
void add(Problems<T>& problems, const Change& change) {
  for (const nk::Order order : orders) {
    for (const nk::Tensor& shape : {nk::Tensor{order, 3, 5, 7}, {order, 2, 3, 1100}}) {
      for (const double beta : {0.6, 0.75}) {
        problems.emplace_back(shape, Window{5, 1, beta, 1});
        change(problems.back());
      }
    }
  }
}

template <class T>
using Number = nk::Computed<T>;

template <class T, class F>
void change_x(Problem<T>& p, const F& f) {
  for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = static_cast<T>(f(computed(p.x[i])));
}

// Far from zero, where nearly all digits of x are its mean's.
template <class T>
Problems<T> offset() {
  Problems<T> problems;
  for (const Number<T> mean : {Number<T>(1e2), Number<T>(1e4), Number<T>(-1e6)}) {
    add(problems, [=](Problem<T>& p) { change_x(p, [=](Number<T> x) { return x + mean; }); });
  }
  return problems;
}

// Where squares overflow or underflow, denormal numbers, rows without a variance, outliers.
template <class T>
Problems<T> range() {
  using Limits = std::numeric_limits<Number<T>>;
  Problems<T> problems;
  for (const Number<T> factor :
       {Limits::max() / 8, Number<T>(1e20), Number<T>(1e-20), Limits::min(), Limits::min() / 256}) {
    add(problems, [=](Problem<T>& p) {
      p.epsilon = 0;
      change_x(p, [=](Number<T> x) { return x * factor; });
    });
  }
  add(problems, [](Problem<T>& p) {
    p.epsilon = 0;
    change_x(p, [](Number<T>) { return Number<T>(3.7); });
  });
  for (const Number<T> outlier :
       {Number<T>(1e4), Number<T>(1e30), Limits::max(), Limits::infinity(), Limits::quiet_NaN()}) {
    add(problems, [=](Problem<T>& p) { p.x[p.x.size() / 3] = static_cast<T>(outlier); });
  }
  return problems;
}

template <class T>
struct Group {
  const char* name;
  Problems<T> (*problems)();
};

template <class T>
constexpr Group<T> groups[] = {{"sizes", sizes<T>},
                               {"many", many<T>},
                               {"offset", offset<T>},
                               {"range", range<T>},
                               {"spans", spans<T>}};

// FNV-1a on whole elements, with the high half folded down after each: multiplication carries only
// upwards. The elements are taken as integers, and the parts of a number from the lowest on, so
// byte order has no part in it, and every NaN as the same one: which sign and payload a new NaN has
// differs between x86 and Arm.
template <class T>
void add_to(std::uint64_t& digest, const Guarded<T>& values) {
  using Bits = std::conditional_t<sizeof(T) == 2, std::uint16_t,
                                  std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;
  const T nan = static_cast<T>(std::numeric_limits<Number<T>>::quiet_NaN());
  constexpr bool high_first = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  const std::size_t turn = high_first ? values.parts - 1 : 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const T element = values[i ^ turn], value = is_nan(element) ? nan : element;
    Bits bits;
    std::memcpy(&bits, &value, sizeof(bits));
    digest = (digest ^ bits) * 0x100000001b3;
    digest ^= digest >> 32;
  }
}

// Of half types a part is enough: their bits are those of float32, which test_half.cpp has.
template <class T>
constexpr std::size_t every = nk::is_half<T> ? 5 : 1;

// Text and files are C's: what the compiled part of the C++ library writes, the memory sanitizer
// takes for unwritten.
template <class... Args>
std::string text(const char* format, Args... args) {
  char all[100];
  const int size = std::snprintf(all, sizeof(all), format, args...);
  REQUIRE(size < static_cast<int>(sizeof(all)));
  return {all, static_cast<std::size_t>(size)};
}

std::vector<std::string> recorded_lines() {
  std::FILE* const file = std::fopen(NORMKERNELS_DIGESTS, "r");
  REQUIRE(file != nullptr);
  std::vector<std::string> lines(1);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c != '\n') {
      lines.back() += static_cast<char>(c);
    } else if (lines.back()[0] == '#') {
      lines.back().clear();
    } else {
      lines.emplace_back();
    }
  }
  std::fclose(file);
  lines.pop_back();
  return lines;
}

template <class T>
void add_lines(std::vector<std::string>& lines, const char* dtype) {
  std::vector<Problems<T>> problems;
  for (const Group<T>& group : groups<T>) problems.push_back(group.problems());
  for (const Call<T>& call : calls<T>) {
    if (nk::is_half<T> && std::string(call.name).find("_steps") != std::string::npos) continue;
    std::string line = text("%s %-47s", dtype, call.name);
    for (const Problems<T>& group : problems) {
      std::uint64_t digest = 0xcbf29ce484222325;
      for (std::size_t i = 0; i < group.size(); i += every<T>) {
        const Problem<T>& problem = group[i];
        for (const Guarded<T>& output : call.run(problem, nullptr)) add_to(digest, output);
      }
      line += text(" %016" PRIx64, digest);
    }
    lines.push_back(line);
  }
}

std::vector<std::string> lines_of(const std::string& isa) {
  const ForcedIsa forced(isa);
  std::vector<std::string> lines;
  add_lines<float>(lines, "float32");
  add_lines<double>(lines, "float64");
  add_lines<nk::float16>(lines, "float16");
  add_lines<nk::bfloat16>(lines, "bfloat16");
  return lines;
}

}  // namespace

TEST_CASE("the digests are those of digests.txt") {
  const std::vector<std::string> recorded = recorded_lines();
  const std::vector<std::string> isas = supported_isas_with_fma();
  if (isas.empty()) MESSAGE("this machine has no instruction set with fma: nothing is compared");
  for (const std::string& isa : isas) {
    CAPTURE(isa);
    const std::vector<std::string> lines = lines_of(isa);
    REQUIRE(lines.size() == recorded.size());
    for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i] == recorded[i]);
  }
}

// Not a test, and not run as one.
TEST_CASE("write digests.txt" * doctest::skip()) {
  REQUIRE_FALSE(supported_isas_with_fma().empty());
  std::ofstream file(NORMKERNELS_DIGESTS);
  file << "# The bits of all outputs, as test_digests.cpp has them. To write this file anew:\n"
          "#   cmake --build --preset gcc --target digests\n#"
       << std::setw(54) << "";
  for (const Group<float>& group : groups<float>) {
    file << ' ' << std::setw(16) << group.name;
  }
  file << '\n';
  for (const std::string& line : lines_of(supported_isas_with_fma().back())) file << line << '\n';
  REQUIRE(file.good());
}
