// libFuzzer's entry: one call of the C interface, drawn from its bytes, and all that must be true
// of it. Wrong arguments are refused with a status that the header promises and nothing is written;
// of right ones the result has the bits of the dense function by one thread, which is within its
// bounds of the reference, the bytes between and beside the elements are as before, and so is
// errno.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "c_call.h"

namespace fuzz {

namespace {

// What every region held before a call.
class Before {
 public:
  Before() {
    for (const Region& region : regions()) held_.emplace_back(region.begin(), region.end());
  }

  // Everything is as it was, but for the elements of a call's outputs.
  void check(const Call& call, bool is_refused) {
    for (std::size_t i = 0; !is_refused && i < call.op.parameters.size(); ++i) {
      const Kind kind = call.op.parameters[i].kind;
      if ((kind == Kind::output || kind == Kind::workspace) && !call.is_null(i)) allow(call, i);
    }
    for (std::size_t k = 0; k < held_.size(); ++k) {
      const Region& region = regions()[k];
      if (!std::equal(held_[k].begin(), held_[k].end(), region.begin()))
        report(call.op.name + (is_refused ? " was refused and wrote" : " wrote beside an output"));
    }
  }

 private:
  void allow(const Call& call, std::size_t i) {
    const Array& a = call.arrays[i];
    if (!a.is_ours || a.count == 0) return;
    const std::int64_t each = bytes_of(a.element);
    unsigned char* const first = call.bytes(i) + (a.offsets.empty() ? 0 : a.offsets[0] * each);
    const auto in = std::find_if(regions().begin(), regions().end(), [&](const Region& region) {
      return first >= region.begin() && first < region.end();
    });
    unsigned char* const held = held_[static_cast<std::size_t>(in - regions().begin())].data();
    const auto copy = [&](unsigned char* p, std::int64_t bytes) {
      std::memcpy(held + (p - in->begin()), p, static_cast<std::size_t>(bytes));
    };
    if (a.role == Role::workspace) copy(first, a.count);
    for (const std::int64_t offset : a.offsets) copy(call.bytes(i) + offset * each, each);
  }

  std::vector<std::vector<unsigned char>> held_;
};

bool same(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0 || (a != a && b != b); }

void check_bits(const Call& call, const Numbers& expected) {
  for (std::size_t i = 0; i < call.op.parameters.size(); ++i) {
    const Parameter& p = call.op.parameters[i];
    const Array& a = call.arrays[i];
    if (p.kind != Kind::output || call.is_null(i) || a.count == 0) continue;
    const std::vector<double> actual = gathered(call, i);
    const std::vector<double>& exact = expected.at(p.name);
    for (std::size_t k = 0; k < actual.size(); ++k) {
      const Element one = a.element == Element::moments ? Element::f64 : a.element;
      if (!same(actual[k], rounded(exact[k], one)))
        report(call.op.name + ": " + p.name + "[" + std::to_string(k) + "] is " +
               std::to_string(actual[k]) + ", of dense arrays " + std::to_string(exact[k]));
    }
  }
}

// A norm of a sum is that of the total as it is stored, of all types bit for bit.
Numbers with_norm_of_total(const Call& call, const Dense& dense, Numbers out) {
  if (!call.op.named("add_") || dense.sizes.data == 0) return out;
  const Element stored = call.arrays[call.op.find("x")].element;
  for (double& number : out.at("total")) number = rounded(number, stored);
  Dense norm = {operator_named(dense.op.name.substr(4)),
                dense.is_double,
                dense.order,
                dense.size,
                dense.sizes,
                dense.scalars,
                dense.in};
  norm.in["x"] = out.at("total");
  norm.in.erase("bias");
  Numbers of_total = run(norm);
  of_total.insert(out.begin(), out.end());
  return of_total;
}

// One row or image of a batch has the same bits alone.
void check_alone(const Dense& dense, const Numbers& out, std::size_t which) {
  const auto batch = static_cast<std::size_t>(dense.sizes.batch);
  if (batch < 2 || dense.sizes.data == 0) return;
  const auto part = [&](const std::string& name, const std::vector<double>& all) {
    const Role r = role(dense.op, dense.op.find(name));
    if (r == Role::gamma || r == Role::beta || r == Role::bias) return all;
    const auto size = static_cast<std::ptrdiff_t>(all.size() / batch);
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(which % batch) * size;
    return std::vector<double>(begin, begin + size);
  };
  Dense alone = dense;
  for (auto& [name, numbers] : alone.in) numbers = part(name, numbers);
  Sizes& s = alone.sizes;
  s.data /= s.batch;
  s.statistics /= s.batch;
  (s.rows == s.batch && s.n != s.batch ? s.rows : s.n) = 1;
  s.batch = 1;
  for (const auto& [name, numbers] : run(alone)) {
    const Role r = role(dense.op, dense.op.find(name));
    if (r == Role::gamma || r == Role::beta || r == Role::bias) continue;
    const std::vector<double> expected = part(name, out.at(name));
    for (std::size_t k = 0; k < numbers.size(); ++k) {
      if (!same(numbers[k], expected[k]))
        report(dense.op.name + ": " + name + " depends on others");
    }
  }
}

bool allows(const Faults& faults, normkernels_status status) {
  if (status == NORMKERNELS_OK) return faults.certain.empty();
  for (const auto* list : {&faults.certain, &faults.vague}) {
    if (std::find(list->begin(), list->end(), status) != list->end()) return true;
  }
  return false;
}

normkernels_status call_and_check(const Call& call, const Faults& faults) {
  Before before;
  errno = 4321;
  const normkernels_status status = call.op.call(call.arguments);
  if (errno != 4321) report(call.op.name + " set errno");
  if (!allows(faults, status)) {
    std::string text = call.op.name + " returned " + std::to_string(status) + ", expected one of";
    for (const normkernels_status s : faults.certain) text += " " + std::to_string(s);
    report(text);
  }
  before.check(call, status != NORMKERNELS_OK);
  return status;
}

// Without memory behind all that it would touch, no call is made that might be right.
bool is_callable(const Call& call) {
  for (std::size_t i = 0; i < call.op.parameters.size(); ++i) {
    if (!call.op.is_array(i) || call.is_null(i) || call.arrays[i].count == 0) continue;
    if (!call.arrays[i].is_ours) return false;
  }
  return true;
}

// What takes no arrays.
void library(FuzzedDataProvider& data) {
  const std::int32_t number = data.ConsumeIntegral<std::int32_t>();
  const bool set = normkernels_set_num_threads(number) == NORMKERNELS_OK;
  if (set != (number >= 0)) report("set_num_threads");
  if (number > 0 && normkernels_num_threads() != std::min(number, 1024)) report("num_threads");
  normkernels_set_num_threads(0);
  const std::string name = data.ConsumeRandomLengthString(10);
  const std::int32_t active = normkernels_isa_active();
  const normkernels_status forced = normkernels_isa_force(name.c_str());
  if (forced != NORMKERNELS_OK && normkernels_isa_active() != active) report("isa_force");
  normkernels_isa_force(nullptr);
  const bool known = number >= 0 && number < normkernels_isa_count();
  if ((normkernels_isa_name(number) != nullptr) != known) report("isa_name");
  if (normkernels_isa_supported(number) != 0 && !known) report("isa_supported");
  if (std::strlen(normkernels_status_string(number)) == 0) report("status_string");
  if (std::strlen(normkernels_version()) == 0) report("version");
}

void one_call(FuzzedDataProvider& data) {
  const std::size_t which = data.ConsumeIntegralInRange<std::size_t>(0, operators().size());
  if (which == operators().size()) return library(data);
  for (Region& region : regions()) region.release();
  Call call(operators()[which]);
  draw(call, data);
  const Faults faults = faults_of(call);
  if (!faults.certain.empty()) {
    call_and_check(call, faults);
    return;
  }
  if (!is_callable(call)) return;
  const bool saved_is_right = fill(call, data);
  const Dense dense = dense_of(call);
  if (call_and_check(call, faults) != NORMKERNELS_OK) return;
  const Numbers out = run(dense);
  check_bits(call, with_norm_of_total(call, dense, out));
  check_alone(dense, out, data.ConsumeIntegral<std::uint8_t>());
  check_reference(dense, out, saved_is_right);
}

}  // namespace
}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  fuzz::one_call(data);
  return 0;
}
