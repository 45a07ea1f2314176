// One call: the arguments, and what the arrays among them are.
#ifndef NORMKERNELS_PROOF_FUZZ_C_CALL_H_
#define NORMKERNELS_PROOF_FUZZ_C_CALL_H_

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "c_memory.h"
#include "c_operator.h"

namespace fuzz {

/// What the extents of a call say. Products that leave int64_t are its largest number.
struct Sizes {
  bool sane = false;                // those from which the others follow may be as they are
  std::int64_t rows = 1, cols = 1;  // of matrices
  std::int64_t n = 1, c = 1, spatial = 1, groups = 1;  // of images
  std::int64_t batch = 1;                              // the rows or images
  std::int64_t data = 1, statistics = 1, parameters = 1;

  std::int64_t of(Role role) const {
    return role == Role::data                                 ? data
           : role == Role::statistic || role == Role::moments ? statistics
                                                              : parameters;
  }
};

/// An array of a call. Where all of it is in memory of ours, `offsets` are those of its elements
/// from the pointer on, in the order of the dense function's array.
struct Array {
  Role role = Role::data;
  Element element = Element::f32;
  std::int64_t count = 0;
  bool is_ours = false;
  std::vector<std::int64_t> offsets;
};

/// The caller's threads: tasks in an order of their own.
struct Runner {
  std::uint64_t seed = 0;
  bool on_threads = false;
};

struct Call {
  explicit Call(const Operator& o)
      : op(o),
        arguments(o.parameters.size()),
        arrays(o.parameters.size()),
        strides(o.parameters.size()) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  std::int64_t integer(Kind kind, std::int64_t otherwise) const {
    const std::size_t i = op.find(kind);
    return i == Operator::none ? otherwise : arguments[i].integer;
  }
  std::int64_t integer(const std::string& name, std::int64_t otherwise) const {
    const std::size_t i = op.find(name);
    return i == Operator::none ? otherwise : arguments[i].integer;
  }
  /// Of merge_moments, which has none, that of its numbers.
  normkernels_dtype dtype() const {
    return static_cast<normkernels_dtype>(integer(Kind::dtype, NORMKERNELS_F64));
  }
  std::int64_t order() const { return integer(Kind::order, NORMKERNELS_NCHW); }
  std::uint64_t axes() const { return static_cast<std::uint64_t>(integer(Kind::axes, 0)); }
  bool is_null(std::size_t i) const { return arguments[i].pointer == nullptr; }
  unsigned char* bytes(std::size_t i) const {
    return static_cast<unsigned char*>(arguments[i].pointer);
  }
  /// The strides that array i has, given or dense.
  std::vector<std::int64_t> strides_of(std::size_t i) const;
  Sizes sizes() const;
  bool has_known_type() const;

  const Operator& op;
  Arguments arguments;
  std::vector<Array> arrays;  // those of other parameters are not used
  std::vector<std::int64_t> shape;
  std::vector<std::vector<std::int64_t>> strides;  // behind the parameters that point to them
  normkernels_executor executor = {};
  Runner runner;

 private:
  bool split_shape(Sizes& sizes) const;
};

/// Draws a call from bytes: right, or spoilt in a few places.
void draw(Call& call, FuzzedDataProvider& data);

/// Fills the memory of all arrays. Returns whether what is saved of a forward is what that gives.
bool fill(Call& call, FuzzedDataProvider& data);

/// No array of a call that is run has more elements.
constexpr std::int64_t most_elements = 1 << 18;

/// An element as numbers: one, or of moments six. To and from dense arrays.
void read(const void* p, Element element, std::vector<double>& to);
void write(void* p, Element element, const std::vector<double>& numbers);
/// A number as an array of the element holds it.
double rounded(double number, Element element);

/// The numbers of array i.
std::vector<double> gathered(const Call& call, std::size_t i);

/// The statuses that the header allows. Empty: OK alone. `vague`: those which it leaves open, OK
/// included.
struct Faults {
  std::vector<normkernels_status> certain, vague;
};
Faults faults_of(const Call& call);

/// The same on dense arrays of what is computed with, by one thread: numbers by the names of
/// parameters, and the numbers of all outputs.
using Numbers = std::map<std::string, std::vector<double>>;
struct Dense {
  const Operator& op;
  bool is_double;
  std::int64_t order, size;
  Sizes sizes;
  std::map<std::string, double> scalars;
  Numbers in;
};
Dense dense_of(const Call& call);
std::string text(const Dense& dense);
Numbers run(const Dense& dense);

/// `out` is what the formulas say, where they are of use as a bound.
void check_reference(const Dense& dense, const Numbers& out, bool saved_is_right);

}  // namespace fuzz

#endif  // NORMKERNELS_PROOF_FUZZ_C_CALL_H_
