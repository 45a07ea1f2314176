// What normkernels.h says that a call returns: written from its text, with every overlap found by
// the bytes of every element.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <unordered_set>

#include "c_call.h"

namespace fuzz {

namespace {

class Judge {
 public:
  explicit Judge(const Call& call) : call_(call), op_(call.op), sizes_(call.sizes()) {}

  Faults run() {
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) scalar(i);
    if (!sizes_.sane) return faults_;
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) {
      if (is_looked_at(i)) array(i);
    }
    overlaps();
    return faults_;
  }

 private:
  static constexpr std::int64_t too_many = INT64_MAX / 64;

  void certain(normkernels_status kind, std::size_t i) {
    faults_.certain.push_back(kind + static_cast<normkernels_status>(i + 1));
  }
  void vague(normkernels_status kind, std::size_t i) {
    faults_.vague.push_back(kind + static_cast<normkernels_status>(i + 1));
  }

  void scalar(std::size_t i) {
    const Argument& a = call_.arguments[i];
    switch (op_.parameters[i].kind) {
      case Kind::dtype:
        if (!call_.has_known_type()) certain(NORMKERNELS_BAD_DTYPE, i);
        break;
      case Kind::order:
        if (a.integer != NORMKERNELS_NCHW && a.integer != NORMKERNELS_NHWC)
          certain(NORMKERNELS_BAD_ORDER, i);
        break;
      case Kind::extent:
        if (a.integer < 0) certain(NORMKERNELS_BAD_EXTENT, i);
        if (a.integer >= 0 && sizes_.data > too_many) certain(NORMKERNELS_BAD_EXTENT, i);
        break;
      case Kind::rank:
        rank(i);
        break;
      case Kind::axes: {
        const std::int64_t rank = call_.integer(Kind::rank, 0);
        const bool within = rank == 64 || (rank >= 0 && rank < 64 && call_.axes() >> rank == 0);
        if (call_.axes() == 0 || !within) certain(NORMKERNELS_BAD_AXES, i);
        break;
      }
      case Kind::groups:
        if (a.integer < 1 || sizes_.c % a.integer != 0) certain(NORMKERNELS_BAD_SIZE, i);
        break;
      case Kind::size:
        if (a.integer < 1) certain(NORMKERNELS_BAD_SIZE, i);
        break;
      case Kind::epsilon:
        if (is_read(i) && !(a.number >= 0 && std::isfinite(a.number)))
          certain(NORMKERNELS_BAD_EPSILON, i);
        break;
      case Kind::scalar:
        if (!std::isfinite(a.number)) certain(NORMKERNELS_BAD_SCALAR, i);
        break;
      case Kind::executor: {
        const auto* const e = a.as<const normkernels_executor*>();
        if (e != nullptr && (e->struct_size != sizeof(*e) || e->num_threads < 0))
          certain(NORMKERNELS_BAD_EXECUTOR, i);
        break;
      }
      default:
        break;
    }
  }

  // The rank, at i, and the shape after it. A rank of 0 has no axis to normalise.
  void rank(std::size_t i) {
    const std::int64_t rank = call_.arguments[i].integer;
    const std::int64_t least = op_.has(Kind::order) ? 2 : 0;
    if (rank < least || rank > 64) certain(NORMKERNELS_BAD_EXTENT, i);
    if (call_.is_null(i + 1) && rank != 0) certain(NORMKERNELS_NULL_POINTER, i + 1);
    if (rank < 0 || rank > static_cast<std::int64_t>(call_.shape.size())) return;
    std::int64_t all = 1;
    bool fits = true, empty = false;
    for (std::int64_t k = 0; k < rank; ++k) {
      const std::int64_t e = call_.shape[static_cast<std::size_t>(k)];
      if (e < 0) return certain(NORMKERNELS_BAD_EXTENT, i + 1);
      empty = empty || e == 0;
      fits = fits && !__builtin_mul_overflow(all, e, &all);
    }
    if (!empty && (!fits || all > too_many)) certain(NORMKERNELS_BAD_EXTENT, i + 1);
  }

  // An epsilon that is not always read is so where nothing is saved.
  bool is_read(std::size_t epsilon) const {
    if (!op_.parameters[epsilon].optional) return true;
    for (const char* const saved : {"mean", "inv_std", "rstd"}) {
      const std::size_t i = op_.find(saved);
      if (i != Operator::none && !call_.is_null(i)) return false;
    }
    return true;
  }

  // Whether it is an array that has elements, and one that the call needs or was given.
  bool is_looked_at(std::size_t i) const {
    if (!op_.is_array(i) || call_.arrays[i].count == 0) return false;
    const bool dense_rows_backward = one_of(op_.name, "layer_norm_backward rms_norm_backward");
    if (call_.arrays[i].role == Role::workspace && dense_rows_backward) {
      const bool half = (call_.dtype() & 0xff) >= NORMKERNELS_F16;
      return half || !call_.is_null(op_.find("dgamma")) || !call_.is_null(op_.find("dbeta"));
    }
    return !call_.is_null(i) || !op_.parameters[i].optional || is_other_half(i);
  }

  // mean and inv_std are given both or not at all.
  bool is_other_half(std::size_t i) const {
    const std::string& name = op_.parameters[i].name;
    if (op_.parameters[i].kind != Kind::input || !op_.has(Kind::order)) return false;
    if (name != "mean" && name != "inv_std") return false;
    return !call_.is_null(op_.find(name == "mean" ? "inv_std" : "mean"));
  }

  void array(std::size_t i) {
    const Array& a = call_.arrays[i];
    if (call_.is_null(i)) return certain(NORMKERNELS_NULL_POINTER, i);
    const auto address = reinterpret_cast<std::uintptr_t>(call_.bytes(i));
    if (address % static_cast<std::uintptr_t>(alignment_of(a.element)) != 0)
      certain(NORMKERNELS_MISALIGNED, i);
    __int128 low = address, high = low + static_cast<__int128>(a.count) * bytes_of(a.element);
    const bool view = op_.is_view(i);
    if (view) view_bounds(i, low, high);
    // The last address there is counts as beyond, and no memory has half of all of them.
    const bool outside =
        low < 0 || high > static_cast<__int128>(UINTPTR_MAX) || (!view && high - low > INT64_MAX);
    const std::size_t blamed = view && !call_.is_null(i + 1) ? i + 1 : i;
    if (outside) {
      certain(NORMKERNELS_BAD_EXTENT, blamed);
    } else if (view && high > static_cast<__int128>(1) << 62) {
      vague(NORMKERNELS_BAD_EXTENT, blamed);  // no address of a program
    }
    if (view && op_.parameters[i].kind == Kind::output && !outside) self_overlap(i);
  }

  void view_bounds(std::size_t i, __int128& low, __int128& high) const {
    const std::vector<std::int64_t> strides = call_.strides_of(i);
    const std::int64_t each = bytes_of(call_.arrays[i].element);
    high = low + each;
    for (std::size_t k = 0; k < call_.shape.size(); ++k) {
      const __int128 way = static_cast<__int128>(strides[k]) * (call_.shape[k] - 1) * each;
      (way < 0 ? low : high) += way;
    }
  }

  // An element twice. Where each axis steps over all that the shorter ones reach, none is;
  // otherwise the view may be too intricate.
  void self_overlap(std::size_t i) {
    const std::vector<std::int64_t> strides = call_.strides_of(i);
    std::vector<std::pair<__int128, std::int64_t>> axes;
    for (std::size_t k = 0; k < strides.size(); ++k) {
      const __int128 stride = strides[k];
      if (call_.shape[k] > 1) axes.push_back({stride < 0 ? -stride : stride, call_.shape[k] - 1});
    }
    std::sort(axes.begin(), axes.end());
    __int128 reach = 0;
    bool nested = true;
    for (const auto& [stride, steps] : axes) {
      nested = nested && stride > reach;
      reach += stride * steps;
    }
    if (nested) return;
    const std::vector<std::int64_t>& offsets = call_.arrays[i].offsets;
    const std::unordered_set<std::int64_t> distinct(offsets.begin(), offsets.end());
    if (call_.arrays[i].is_ours && distinct.size() < offsets.size()) {
      certain(NORMKERNELS_OVERLAP, i);
    } else {
      vague(NORMKERNELS_OVERLAP, i);
    }
  }

  void overlaps() {
    for (std::size_t i = 0; i < op_.parameters.size(); ++i)
      spans_.push_back(call_.arrays[i].is_ours && !call_.is_null(i) ? span(i) : Span{});
    for (std::size_t i = 0; i < op_.parameters.size(); ++i) {
      if (op_.parameters[i].kind == Kind::input || !is_looked_at(i)) continue;
      for (std::size_t j = 0; j < op_.parameters.size(); ++j) {
        if (j != i && is_looked_at(j) && !call_.is_null(i) && !call_.is_null(j)) overlap(i, j);
      }
    }
  }

  void overlap(std::size_t i, std::size_t j) {
    const Array &a = call_.arrays[i], &b = call_.arrays[j];
    if (!a.is_ours || !b.is_ours) {
      vague(NORMKERNELS_OVERLAP, i);
      return vague(NORMKERNELS_OVERLAP, j);
    }
    if (op_.may_be(i, j) && call_.bytes(i) == call_.bytes(j) && a.offsets == b.offsets) return;
    if (op_.may_be(j, i) && call_.bytes(i) == call_.bytes(j) && a.offsets == b.offsets) return;
    if (!share_bytes(i, j)) return;
    certain(NORMKERNELS_OVERLAP, i);
    certain(NORMKERNELS_OVERLAP, j);
  }

  struct Span {
    unsigned char *begin, *end;
  };

  bool share_bytes(std::size_t i, std::size_t j) const {
    const Span of_i = spans_[i], of_j = spans_[j];
    if (of_i.end <= of_j.begin || of_j.end <= of_i.begin) return false;
    std::vector<bool> taken(static_cast<std::size_t>(of_i.end - of_i.begin));
    each_element(i, [&](unsigned char* p, std::int64_t bytes) {
      for (std::int64_t k = 0; k < bytes; ++k)
        taken[static_cast<std::size_t>(p + k - of_i.begin)] = true;
    });
    bool found = false;
    each_element(j, [&](unsigned char* p, std::int64_t bytes) {
      for (std::int64_t k = 0; k < bytes; ++k) {
        if (p + k >= of_i.begin && p + k < of_i.end)
          found = found || taken[static_cast<std::size_t>(p + k - of_i.begin)];
      }
    });
    return found;
  }

  // f(where an element is, its bytes); a workspace is one of many.
  template <class F>
  void each_element(std::size_t i, F&& f) const {
    const Array& a = call_.arrays[i];
    if (a.role == Role::workspace) return f(call_.bytes(i), a.count);
    for (const std::int64_t offset : a.offsets)
      f(call_.bytes(i) + offset * bytes_of(a.element), bytes_of(a.element));
  }
  Span span(std::size_t i) const {
    Span result = {call_.bytes(i), call_.bytes(i)};
    each_element(i, [&](unsigned char* p, std::int64_t bytes) {
      result = {std::min(result.begin, p), std::max(result.end, p + bytes)};
    });
    return result;
  }

  const Call& call_;
  const Operator& op_;
  const Sizes sizes_;
  std::vector<Span> spans_;
  Faults faults_;
};

}  // namespace

Faults faults_of(const Call& call) { return Judge(call).run(); }

}  // namespace fuzz
