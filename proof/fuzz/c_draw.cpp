// A call from bytes: a right one is drawn first, then some of its arguments are spoilt.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <thread>

#include "c_call.h"
#include "views.h"

namespace fuzz {

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t absurd[] = {-1,        -most - 1, most,     most / 2, most / 8,
                                   most / 64, -most / 8, 1L << 32, 1L << 31, 1L << 48};
constexpr std::int64_t worth_threads = 1 << 16;           // elements
constexpr std::size_t most_bytes = std::size_t{1} << 22;  // of an array

class Draw {
 public:
  Draw(Call& call, FuzzedDataProvider& data) : call_(call), op_(call.op), data_(data) {}

  void run() {
    constexpr std::int64_t few[] = {64, 256, 1024, 4096};
    budget_ = one_in(256) ? worth_threads : any_of(few);
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) scalar(i);
    draw_divisor();
    if (op_.has(Kind::shape)) draw_shape();
    constexpr int times[] = {0, 0, 0, 1, 2};
    for (int k = any_of(times); k > 0; --k) spoil_scalar(any_parameter(false));
    draw_strides();
    place_arrays();
    for (int k = any_of(times); k > 0; --k) spoil_pointer(any_parameter(true));
  }

 private:
  // Not the last of them: a mutator likes bytes of 255.
  bool one_in(int n) { return data_.ConsumeIntegralInRange(1, n) == n / 2 + 1; }
  std::int64_t from(std::int64_t low, std::int64_t high) {
    return data_.ConsumeIntegralInRange(low, high);
  }
  template <class List>
  auto any_of(const List& list) -> std::decay_t<decltype(*std::begin(list))> {
    return *(std::begin(list) + from(0, static_cast<std::int64_t>(std::size(list)) - 1));
  }

  // One that is an array, or one that is none.
  std::size_t any_parameter(bool is_array) {
    std::vector<std::size_t> list;
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) {
      if (op_.is_array(i) == is_array) list.push_back(i);
    }
    return any_of(list);
  }

  std::int64_t extent() {
    constexpr std::int64_t lanes[] = {4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};
    constexpr std::int64_t primes[] = {3, 5, 7, 13, 31, 67, 127, 251, 509, 1021, 4099};
    std::int64_t e = 0;
    switch (from(0, 7)) {
      case 0:
        e = from(0, 1);
        break;
      case 1:
      case 2:
        e = from(2, 17);
        break;
      case 3:
        e = any_of(lanes) + from(-1, 1);
        break;
      case 4:
        e = any_of(primes);
        break;
      case 5:
        e = 1;
        break;
      case 6:
        e = from(1, 300);
        break;
      default:
        e = from(1, budget_);
    }
    e = std::min(e, std::max<std::int64_t>(budget_, 1));
    if (e > 0) budget_ /= e;
    return e;
  }

  // A right value of what is no array.
  void scalar(std::size_t i) {
    constexpr double epsilons[] = {1e-5, 0, 1e-12, 1, 1e-300, 1e300};
    constexpr double scalars[] = {1, 0.75, 0.5, 2, 1e-4, 0, 0.6, 3, -1, 1e30};
    Argument& a = call_.arguments[i];
    switch (op_.parameters[i].kind) {
      case Kind::dtype:
        a.integer = from(NORMKERNELS_F32, op_.is_step ? NORMKERNELS_F64 : NORMKERNELS_BF16);
        if (a.integer != NORMKERNELS_F64) a.integer |= from(0, 7) << 8;
        break;
      case Kind::order:
        a.integer = from(NORMKERNELS_NCHW, NORMKERNELS_NHWC);
        break;
      case Kind::extent:
        a.integer = extent();
        break;
      case Kind::size:
        a.integer = one_in(16) ? most : from(1, one_in(4) ? 300 : 12);
        break;
      case Kind::groups:
        a.integer = 1;
        break;
      case Kind::epsilon:
        a.number = any_of(epsilons);
        break;
      case Kind::scalar:
        a.number = one_in(4) ? data_.ConsumeFloatingPointInRange(-4.0, 4.0) : any_of(scalars);
        break;
      case Kind::executor:
        executor(a);
        break;
      default:
        break;
    }
  }

  void executor(Argument& a) {
    if (!op_.has(Kind::executor) || one_in(3)) return;
    call_.executor = {sizeof(normkernels_executor),
                      static_cast<std::int32_t>(one_in(8) ? INT32_MAX : from(0, 8)), nullptr,
                      &call_.runner};
    call_.runner = {data_.ConsumeIntegral<std::uint8_t>(), one_in(2)};
    if (one_in(2)) call_.executor.run = run_tasks;
    a.pointer = &call_.executor;
  }

  // Every task once: in an order that is the seed's, on the caller's thread or on two others.
  static void run_tasks(void* context, std::int64_t tasks, void (*task)(void*, std::int64_t),
                        void* argument) {
    const Runner& runner = *static_cast<const Runner*>(context);
    std::vector<std::int64_t> order(static_cast<std::size_t>(tasks));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(), state = runner.seed; i > 1 && runner.seed > 0; --i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      std::swap(order[i - 1], order[(state >> 33) % i]);
    }
    const auto every_other = [&](std::size_t i) {
      for (; i < order.size(); i += 2) task(argument, order[i]);
    };
    if (runner.on_threads) {
      std::thread first(every_other, 0), second(every_other, 1);
      first.join();
      second.join();
    } else {
      every_other(0);
      every_other(1);
    }
  }

  void draw_shape() {
    const bool images = op_.has(Kind::order);
    std::int64_t rank = from(images ? 2 : 1, one_in(16) ? 64 : 5);
    for (std::int64_t i = 0; i < rank; ++i)
      call_.shape.push_back(i > 5 && !one_in(8) ? 1 : extent());
    call_.arguments[op_.find("rank")].integer = rank;
    const std::size_t axes = op_.find(Kind::axes);
    if (axes != Operator::none) {
      std::uint64_t bits = data_.ConsumeIntegral<std::uint64_t>();
      if (rank < 64) bits &= (std::uint64_t{1} << rank) - 1;
      call_.arguments[axes].integer = static_cast<std::int64_t>(bits == 0 ? 1 : bits);
    }
    call_.arguments[op_.find(Kind::shape)].pointer = call_.shape.data();
    draw_divisor();
  }

  // A number of groups that divides the channels.
  void draw_divisor() {
    const std::size_t i = op_.find(Kind::groups);
    if (i == Operator::none) return;
    const std::int64_t c = call_.sizes().c;
    std::vector<std::int64_t> divisors = {1};
    for (std::int64_t d = 2; d <= c && d < 5000; ++d) {
      if (c % d == 0) divisors.push_back(d);
    }
    call_.arguments[i].integer = any_of(divisors);
  }

  // One argument of those that are no arrays, to anything.
  void spoil_scalar(std::size_t i) {
    Argument& a = call_.arguments[i];
    switch (op_.parameters[i].kind) {
      case Kind::dtype:
        a.integer = from(-1, 0xfff);
        break;
      case Kind::order:
        a.integer = from(-1, 3);
        break;
      case Kind::axes:
        a.integer = one_in(2) ? 0 : data_.ConsumeIntegral<std::int64_t>();
        break;
      case Kind::rank:
        a.integer = static_cast<std::int32_t>(
            one_in(2) ? any_of(absurd) : from(-1, static_cast<int>(call_.shape.size())));
        if (a.integer >= 0 && a.integer < 64)
          call_.shape.resize(static_cast<std::size_t>(a.integer));
        break;
      case Kind::shape:
        if (one_in(4)) a.pointer = nullptr;
        if (!call_.shape.empty())
          call_.shape[static_cast<std::size_t>(
              from(0, static_cast<std::int64_t>(call_.shape.size()) - 1))] = any_of(absurd);
        break;
      case Kind::extent:
      case Kind::size:
      case Kind::groups:
        a.integer = one_in(2) ? any_of(absurd) : data_.ConsumeIntegral<std::int64_t>();
        break;
      case Kind::epsilon:
      case Kind::scalar:
        a.number = data_.ConsumeFloatingPoint<double>();
        if (one_in(2)) a.number = one_in(2) ? std::nan("") : one_in(2) ? HUGE_VAL : -HUGE_VAL;
        break;
      case Kind::executor:
        call_.executor.struct_size = static_cast<std::uint32_t>(from(0, 64));
        call_.executor.num_threads = data_.ConsumeIntegral<std::int32_t>();
        a.pointer = &call_.executor;
        break;
      default:
        break;
    }
  }

  // An array that has elements, and not too many.
  bool has_layout() const {
    const Sizes s = call_.sizes();
    return s.sane && s.data > 0 && s.data <= most_elements;
  }

  void draw_strides() {
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) {
      if (op_.parameters[i].kind != Kind::strides) continue;
      const bool input = op_.parameters[i - 1].kind == Kind::input;
      std::vector<std::int64_t>& own = call_.strides[i];
      const std::int64_t way = from(0, 7);
      if (way == 0) continue;
      if (way == 1 && i >= 3 && !call_.strides[i - 2].empty()) {
        own = call_.strides[i - 2];
      } else if (way == 2 && input) {
        for (std::size_t k = 0; k < call_.shape.size(); ++k) own.push_back(from(-8, 8));
      } else if (way == 3 && one_in(4)) {
        for (std::size_t k = 0; k < call_.shape.size(); ++k) own.push_back(any_of(absurd));
      } else if (has_layout()) {
        own = layout(input).strides;
      }
      if (!own.empty()) call_.arguments[i].pointer = own.data();
    }
  }

  Layout layout(bool input) {
    const Extents& shape = call_.shape;
    Axes axes = all_axes(shape);
    for (std::size_t k = axes.size(); k > 1 && one_in(2); --k)
      std::swap(axes[k - 1], axes[static_cast<std::size_t>(from(0, static_cast<int>(k) - 1))]);
    Extents wider(shape.size(), 0), step(shape.size(), 1);
    for (std::size_t k = 0; k < std::min<std::size_t>(shape.size(), 6); ++k) {
      if (one_in(3)) wider[k] = from(0, 70);
      if (one_in(3)) step[k] = from(1, 4);
    }
    Layout result = part_of("", shape, axes, wider, step);
    for (std::size_t k = 0; k < std::min<std::size_t>(shape.size(), 6); ++k) {
      if (one_in(4)) result = reversed(result, shape, k);
      if (input && one_in(8)) result = broadcast(result, k);
      if (shape[k] == 1 && one_in(4)) result.strides[k] = any_of(absurd);
    }
    return result;
  }

  // The offsets of an array's elements in the order of the dense function's.
  std::vector<std::int64_t> offsets_of(std::size_t i, std::int64_t count) const {
    if (call_.arrays[i].role == Role::workspace) return {};
    std::vector<std::int64_t> result(static_cast<std::size_t>(count));
    std::iota(result.begin(), result.end(), 0);
    if (!op_.is_view(i)) return result;
    Axes order;
    for (const bool normalised : {false, true}) {
      for (const int axis : all_axes(call_.shape)) {
        if ((call_.axes() >> axis & 1) == normalised) order.push_back(axis);
      }
    }
    return offsets(call_.shape, {"", call_.strides_of(i), 0, 0}, order);
  }

  // Whether an array is small enough for memory of ours: the first byte of its elements, as seen
  // from the pointer, and the byte after the last.
  bool bounds(std::size_t i, std::int64_t& low, std::int64_t& high) const {
    const Array& a = call_.arrays[i];
    const std::int64_t each = bytes_of(a.element);
    if (a.count > most_elements && a.role != Role::workspace) return false;
    low = 0;
    high = a.count * each;
    if (op_.is_view(i)) {
      const std::vector<std::int64_t> strides = call_.strides_of(i);
      high = each;
      for (std::size_t k = 0; k < call_.shape.size(); ++k) {
        if (call_.shape[k] == 1) continue;
        if (strides[k] > 1 << 24 || strides[k] < -(1 << 24)) return false;
        const std::int64_t way = strides[k] * (call_.shape[k] - 1) * each;
        (way < 0 ? low : high) += way;
      }
    }
    const std::int64_t limit = a.role == Role::workspace ? 6 * most_bytes : most_bytes;
    return high - low <= limit;
  }

  void place_arrays() {
    const Sizes sizes = call_.sizes();
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) {
      if (!op_.is_array(i)) continue;
      Array& a = call_.arrays[i];
      a.role = role(op_, i);
      a.element = element(op_, i, call_.dtype());
      if (sizes.sane) {
        a.count = a.role == Role::workspace
                      ? static_cast<std::int64_t>(op_.workspace_bytes(call_.arguments))
                  : op_.is_view(i) ? sizes.data
                                   : sizes.of(a.role);
      }
      place(i);
    }
    // What is saved of a forward is given or not as a whole.
    const std::size_t mean = op_.find("mean"), inv_std = op_.find("inv_std");
    if (op_.named("_norm_backward") && inv_std != Operator::none) {
      if (call_.is_null(mean) || call_.is_null(inv_std))
        call_.arguments[mean].pointer = call_.arguments[inv_std].pointer = nullptr;
    }
  }

  void place(std::size_t i) {
    Array& a = call_.arrays[i];
    Argument& argument = call_.arguments[i];
    const std::int64_t slack = one_in(3) ? from(0, 200) * alignment_of(a.element) : 0;
    const bool at_end = (a.role != Role::workspace || a.count % 64 == 0) && one_in(2);
    std::int64_t low = 0, high = 0;
    if (a.count == 0 || !call_.sizes().sane || !bounds(i, low, high)) {
      argument.pointer = regions()[i].place(0, false);  // whose bytes are a guard's, or near one
      if (one_in(2)) argument.pointer = nullptr;
      return;
    }
    unsigned char* const block =
        regions()[i].place(static_cast<std::size_t>(high - low + 2 * slack), at_end);
    argument.pointer = block + slack - low;
    a.is_ours = true;
    a.offsets = offsets_of(i, a.count);
    if (op_.parameters[i].optional && one_in(4)) argument.pointer = nullptr;
    for (std::size_t j = 0; j < i; ++j) {
      if (!op_.is_array(j) || !op_.may_be(i, j) || !one_in(3)) continue;
      argument.pointer = call_.arguments[j].pointer;
      if (!op_.is_view(i)) continue;
      call_.strides[i + 1] = call_.strides[j + 1];
      call_.arguments[i + 1].pointer = call_.is_null(j + 1) ? nullptr : call_.strides[i + 1].data();
      a.offsets = call_.arrays[j].offsets;
    }
  }

  // One array to where it must not be, or may be.
  void spoil_pointer(std::size_t i) {
    const std::size_t j = any_parameter(true);
    Array& a = call_.arrays[i];
    void*& p = call_.arguments[i].pointer;
    const auto address = reinterpret_cast<std::uintptr_t>(p);
    switch (from(0, 4)) {
      case 0:
        p = nullptr;
        break;
      case 1:
        p = reinterpret_cast<void*>(address + static_cast<std::uintptr_t>(from(1, 63)));
        break;
      case 2:
        p = reinterpret_cast<void*>(~std::uintptr_t{0} -
                                    static_cast<std::uintptr_t>(from(0, 4095)));
        break;
      case 3:
        p = reinterpret_cast<void*>(static_cast<std::uintptr_t>(from(1, 4096)));
        break;
      default:
        if (call_.is_null(j)) break;
        p = reinterpret_cast<void*>(
            reinterpret_cast<std::uintptr_t>(call_.bytes(j)) +
            static_cast<std::uintptr_t>(from(-9, 9) * alignment_of(a.element)));
        if (op_.is_view(i) && op_.is_view(j) && one_in(2)) {
          call_.strides[i + 1] = call_.strides[j + 1];
          call_.arguments[i + 1].pointer =
              call_.is_null(j + 1) ? nullptr : call_.strides[i + 1].data();
        }
    }
    // Wherever it is now: its elements are ours only if all lie in one block.
    std::int64_t low = 0, high = 0;
    a.is_ours = false;
    if (call_.is_null(i) || !call_.sizes().sane || a.count == 0 || !bounds(i, low, high)) return;
    for (const Region& region : regions()) {
      const auto at = reinterpret_cast<std::intptr_t>(p);
      if (at + low < reinterpret_cast<std::intptr_t>(region.begin()) ||
          at + high > reinterpret_cast<std::intptr_t>(region.end()))
        continue;
      a.is_ours = true;
      a.offsets = offsets_of(i, a.count);
    }
  }

  Call& call_;
  const Operator& op_;
  FuzzedDataProvider& data_;
  std::int64_t budget_ = 0;
};

}  // namespace

void draw(Call& call, FuzzedDataProvider& data) { Draw(call, data).run(); }

}  // namespace fuzz
