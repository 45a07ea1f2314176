// What the arguments of a call say, and the numbers in its arrays.
#include "c_call.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "problem.h"

namespace fuzz {

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

// 0 where one of them is, however large the others are.
std::int64_t product(std::initializer_list<std::int64_t> extents) {
  std::int64_t result = 1;
  for (const std::int64_t e : extents) {
    if (__builtin_mul_overflow(result, e, &result)) result = most;
  }
  return result;
}

void write(void* p, Element element, double number) {
  const auto put = [p](auto value) { std::memcpy(p, &value, sizeof(value)); };
  switch (element) {
    case Element::f32:
      return put(static_cast<float>(number));
    case Element::f16:
      return put(nk::float16(static_cast<float>(number)));
    case Element::bf16:
      return put(nk::bfloat16(static_cast<float>(number)));
    default:
      return put(number);
  }
}

double read(const void* p, Element element) {
  const auto get = [p](auto value) {
    std::memcpy(&value, p, sizeof(value));
    return static_cast<double>(computed(value));
  };
  switch (element) {
    case Element::f32:
      return get(float{});
    case Element::f16:
      return get(nk::float16{});
    case Element::bf16:
      return get(nk::bfloat16{});
    default:
      return get(double{});
  }
}

// Random numbers of a few kinds.
class Values {
 public:
  explicit Values(FuzzedDataProvider& data)
      : state_(data.ConsumeIntegral<std::uint16_t>()),
        kind_(data.ConsumeIntegralInRange(0, 9)),
        exponent_(data.ConsumeIntegralInRange(-160, 140)) {}

  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  double next() {
    const double uniform = static_cast<double>(bits() >> 11) * 0x1p-52 - 0.5;
    switch (kind_) {
      case 0:
        return std::ldexp(uniform, exponent_);
      case 1:
        return uniform + std::ldexp(1, exponent_ / 8);
      case 2:
        return std::round(uniform * 4);
      case 3:
        return std::ldexp(1, exponent_ / 8);
      case 4:
        return bits() % 16 == 0 ? special() : uniform;
      case 5:
        return any_bits();
      default:
        return uniform;
    }
  }

 private:
  double special() {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const double list[] = {inf,      -inf,      std::nan(""), -0.0, 0.0,
                           0x1p-149, 0x1p-1074, 3e38,         6e4,  -1.7e308};
    return list[bits() % std::size(list)];
  }
  // Of float in half of the cases: NaN with any payload, subnormal numbers.
  double any_bits() {
    const std::uint64_t all = bits();
    double wide;
    float narrow;
    std::memcpy(&wide, &all, sizeof(wide));
    std::memcpy(&narrow, &all, sizeof(narrow));
    return all % 2 == 0 ? wide : narrow;
  }

  std::uint64_t state_;
  int kind_, exponent_;
};

// Moments as a row may have them.
void fill_moments(unsigned char* p, Values& values) {
  normkernels_row_moments m = {static_cast<std::int64_t>(values.bits() >> values.bits() % 64 >> 1),
                               1,
                               values.next(),
                               0,
                               std::fabs(values.next()),
                               0};
  m.count /= 2;
  if (values.bits() % 4 == 0) m.scale = std::ldexp(1, static_cast<int>(values.bits() % 600) - 300);
  if (m.count == 0) m = {0, 1, 0, 0, 0, 0};
  std::memcpy(p, &m, sizeof(m));
}

unsigned char* at(const Call& call, std::size_t i, std::int64_t offset) {
  return call.bytes(i) + offset * bytes_of(call.arrays[i].element);
}

bool is_input(const Call& call, std::size_t i) {
  return call.op.parameters[i].kind == Kind::input && !call.is_null(i) && call.arrays[i].is_ours;
}

// What is saved of a forward, from that. Whether it then stands there: inputs may overlap, and half
// types round.
bool fill_saved(Call& call) {
  const std::string& name = call.op.name;
  const std::size_t end = name.find("_norm_backward");
  if (end == std::string::npos || call.op.is_step) return true;
  const Dense dense = dense_of(call);
  const auto epsilon = dense.scalars.find("epsilon");
  const bool usable = epsilon == dense.scalars.end() ||
                      (epsilon->second >= 0 && std::isfinite(epsilon->second));  // else not read
  if (dense.sizes.data == 0 || !usable) return false;
  const Numbers& before = dense.in;
  const Dense forward = {operator_named(name.substr(0, end) + "_norm_forward"),
                         dense.is_double,
                         dense.order,
                         dense.size,
                         dense.sizes,
                         dense.scalars,
                         {{"x", before.at("x")}}};
  const Numbers saved = run(forward);
  Numbers expected = {{"x", before.at("x")}, {"dy", before.at("dy")}};
  for (std::size_t i = 0; i < call.op.parameters.size(); ++i) {
    const std::string& parameter = call.op.parameters[i].name;
    if (!is_input(call, i) || !one_of(parameter, "mean sigma inv_std rstd y scale")) continue;
    if (parameter == "scale" && !call.op.named("local_response")) continue;
    const Array& a = call.arrays[i];
    for (std::size_t k = 0; k < a.offsets.size(); ++k)
      write(at(call, i, a.offsets[k]), a.element, saved.at(parameter)[k]);
    expected[parameter] = saved.at(parameter);
  }
  const Numbers after = dense_of(call).in;
  return std::all_of(expected.begin(), expected.end(),
                     [&](const auto& one) { return after.at(one.first) == one.second; });
}

}  // namespace

std::vector<std::int64_t> Call::strides_of(std::size_t i) const {
  if (!is_null(i + 1)) return strides[i + 1];
  std::vector<std::int64_t> dense(shape.size());
  std::int64_t stride = 1;
  for (std::size_t k = shape.size(); k-- > 0;) {
    dense[k] = stride;
    stride = product({stride, std::max<std::int64_t>(shape[k], 1)});
  }
  return dense;
}

bool Call::has_known_type() const {
  const int type = dtype() & 0xff, flags = dtype() & ~0xff;
  if (type == NORMKERNELS_F64) return flags == 0;
  const bool half = type == NORMKERNELS_F16 || type == NORMKERNELS_BF16;
  return (type == NORMKERNELS_F32 || (half && !op.is_step)) && (flags & ~0x700) == 0;
}

// Extents of a shape by what they are: normalised or not, images, channels or positions.
bool Call::split_shape(Sizes& s) const {
  const auto rank = static_cast<std::size_t>(integer(Kind::rank, 0));
  if (rank != shape.size() || is_null(op.find(Kind::shape))) return false;
  const std::size_t channel = order() == NORMKERNELS_NHWC ? rank - 1 : 1;
  bool sane = true;
  for (std::size_t k = 0; k < rank; ++k) {
    sane = sane && shape[k] >= 0;
    const bool normalised = (axes() >> k & 1) != 0;
    std::int64_t& one = !op.has(Kind::order) ? (normalised ? s.cols : s.rows)
                        : k == 0             ? s.n
                        : k == channel       ? s.c
                                             : s.spatial;
    one = product({one, shape[k]});
  }
  if (op.has(Kind::order)) return sane;
  return sane && axes() != 0 && (rank == 64 || axes() >> rank == 0);
}

Sizes Call::sizes() const {
  Sizes s;
  const bool images = op.find("c") != Operator::none || op.has(Kind::order);
  s.sane = has_known_type() && (order() == NORMKERNELS_NCHW || order() == NORMKERNELS_NHWC);
  if (!s.sane) return s;
  if (op.has(Kind::shape)) {
    s.sane = split_shape(s);
  } else {
    // Of merge_moments there are n.
    s.rows = integer("rows", images ? 1 : integer("n", 1));
    s.cols = integer("cols", 1);
    s.n = images ? integer("n", 1) : 1;
    s.c = integer("c", 1);
    s.spatial = integer("spatial", 1);
    for (const std::int64_t e : {s.rows, s.cols, s.n, s.c, s.spatial}) s.sane = s.sane && e >= 0;
  }
  if (!s.sane) return s;
  s.groups = integer(Kind::groups, s.c);
  s.batch = images ? s.n : s.rows;
  s.data = images ? product({s.n, s.c, s.spatial}) : product({s.rows, s.cols});
  s.statistics = images ? product({s.n, s.groups}) : s.rows;
  s.parameters = images ? s.c : s.cols;
  const bool divides = !op.has(Kind::groups) || (s.groups >= 1 && s.c % s.groups == 0);
  s.sane = s.data <= most / 64 && divides;
  return s;
}

bool fill(Call& call, FuzzedDataProvider& data) {
  Values noise(data);
  for (const Region& region : regions()) {
    unsigned char* p = region.begin();
    for (; p + 8 <= region.end(); p += 8) {
      const std::uint64_t bits = noise.bits();
      std::memcpy(p, &bits, sizeof(bits));
    }
    if (p < region.end()) std::memset(p, 0xa5, static_cast<std::size_t>(region.end() - p));
  }
  for (std::size_t i = 0; i < call.op.parameters.size(); ++i) {
    if (!is_input(call, i)) continue;
    Values values(data);
    const Array& a = call.arrays[i];
    for (const std::int64_t offset : a.offsets) {
      unsigned char* const p = at(call, i, offset);
      if (a.element == Element::moments) {
        fill_moments(p, values);
      } else {
        write(p, a.element, values.next());
      }
    }
  }
  return data.ConsumeIntegralInRange(0, 3) > 0 && fill_saved(call);
}

void read(const void* p, Element element, std::vector<double>& to) {
  if (element != Element::moments) return to.push_back(read(p, element));
  for (std::size_t k = 0; k < sizeof(normkernels_row_moments); k += sizeof(double))
    to.push_back(read(static_cast<const unsigned char*>(p) + k, Element::f64));
}

void write(void* p, Element element, const std::vector<double>& numbers) {
  auto* to = static_cast<unsigned char*>(p);
  const Element one = element == Element::moments ? Element::f64 : element;
  for (const double number : numbers) {
    write(to, one, number);
    to += bytes_of(one);
  }
}

double rounded(double number, Element element) {
  unsigned char bytes[sizeof(double)];
  write(bytes, element, number);
  return read(bytes, element);
}

std::vector<double> gathered(const Call& call, std::size_t i) {
  std::vector<double> result;
  for (const std::int64_t offset : call.arrays[i].offsets)
    read(at(call, i, offset), call.arrays[i].element, result);
  return result;
}

}  // namespace fuzz
