// The dense results beside the tests' reference in long double, within the bounds that
// docs/numerics.md proves for any data.
#include <cmath>
#include <limits>

#include "c_call.h"
#include "reference.h"

namespace fuzz {

namespace {

constexpr std::int64_t most_referenced = 1 << 14;

// Numbers of such sizes, or 0, make terms that are normal numbers, and that long double has room
// for. What is looked at are x and all that comes with it.
bool is_moderate(const Numbers& in) {
  for (const auto& [name, numbers] : in) {
    for (const double number : numbers) {
      const double size = std::fabs(number);
      if (number != 0 && !(size > 0x1p-30 && size < 0x1p30)) return false;
    }
  }
  return true;
}

template <class T>
class Reference {
 public:
  Reference(const Dense& dense, const Numbers& out) : dense_(dense), out_(out) {}

  void check() {
    const bool rows = !dense_.op.has(Kind::order), rms = dense_.op.named("rms_norm");
    const Sizes& s = dense_.sizes;
    const nk::Order order = static_cast<nk::Order>(dense_.order);
    const nk::Tensor shape =
        rows ? nk::Tensor{nk::nchw, s.rows, s.cols, 1} : nk::Tensor{order, s.n, s.c, s.spatial};
    Problem<T> p(shape, {dense_.size, scalar("alpha"), scalar("beta"), scalar("bias")});
    p.epsilon = scalar("epsilon");
    take(p.x, dense_.op.named("add_") ? out_.at("total") : dense_.in.at("x"));
    if (dense_.in.count("dy") > 0) take(p.dy, dense_.in.at("dy"));
    if (dense_.op.named("local_response")) return lrn(LocalResponseNormReference<T>(p));
    take_parameter(p.gamma, rows ? "gamma" : "scale", 1);
    take_parameter(p.beta, rows ? "beta" : "bias", 0);
    if (dense_.op.named("add_")) total();
    const auto features = static_cast<std::int64_t>(s.parameters);
    norm(rows ? layer_norm_reference(p, !rms) : group_norm_reference(p, s.groups), p,
         static_cast<double>(s.data / std::max<std::int64_t>(features, 1)));
  }

 private:
  static constexpr long double u = std::numeric_limits<T>::epsilon() / 2;

  double scalar(const std::string& name) const {
    const auto found = dense_.scalars.find(name);
    return found == dense_.scalars.end() ? 0 : found->second;
  }
  static void take(Guarded<T>& to, const std::vector<double>& from) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(from[i]);
  }
  void take_parameter(Guarded<T>& to, const std::string& name, double neutral) const {
    const auto found = dense_.in.find(name);
    const std::vector<double> all(to.size(), neutral);
    take(to, found == dense_.in.end() ? all : found->second);
  }

  void norm(const NormReference<T>& r, const Problem<T>& p, double summed) const {
    // Deviations that are no more than the last bits of long double, or of no normal size.
    for (std::size_t i = 0; i < r.sigma.size(); ++i) {
      const long double room = std::is_same_v<T, double> ? 0x1p6L : 0x1p30L;
      const long double sigma = r.sigma[i].value;
      if (!(sigma > 0x1p-40L && sigma < 0x1p40L) || largest(p.x) > room * sigma) return;
    }
    // Of float64 sums go on in float64.
    const double k = std::is_same_v<T, double> ? 48 + summed / 16 : 0;
    const double row =
        std::is_same_v<T, double> ? 48 + static_cast<double>(dense_.sizes.data) / 16 : 0;
    compare("y", r.y, 4);
    compare("mean", r.mean, 2);
    compare("sigma", r.sigma, 2);
    compare("inv_std", r.inv_std, 2);
    compare("rstd", r.inv_std, 2);
    compare("dx", r.dx, 150 + 6 * row);
    for (const char* const name : {"dgamma", "dscale"}) compare(name, r.dgamma, 100 + 5 * k);
    for (const char* const name : {"dbeta", "dbias"}) compare(name, r.dbeta, 18 + k);
    moments(r);
  }

  // Mean and sum of squares, as they are before they are rounded.
  void moments(const NormReference<T>& r) const {
    const auto found = out_.find("moments");
    if (found == out_.end()) return;
    for (std::size_t i = 0; i < r.mean.size(); ++i) {
      const double* const m = found->second.data() + 6 * i;
      if (m[1] != 1) continue;
      const long double m2 = r.sigma[i].value * r.sigma[i].value * dense_.sizes.cols;
      expect("mean of the moments", m[2] + static_cast<long double>(m[3]), r.mean[i].value,
             u * r.mean[i].scale);
      expect("m2 of the moments", m[4] + static_cast<long double>(m[5]), m2, 2 * u * m2);
    }
  }

  void total() const {
    const std::vector<double>&x = dense_.in.at("x"), &residual = dense_.in.at("residual");
    const auto bias = dense_.in.find("bias");
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double b = bias == dense_.in.end() ? 0 : bias->second[i % bias->second.size()];
      const long double exact = static_cast<long double>(x[i]) + residual[i] + b;
      const long double terms = std::fabs(x[i]) + std::fabs(residual[i]) + std::fabs(b);
      expect("total", out_.at("total")[i], exact, u * (std::fabs(exact) + 0x1p-10L * terms));
    }
  }

  void lrn(const LocalResponseNormReference<T>& r) const {
    const double beta = scalar("beta");
    if (scalar("alpha") < 0 || scalar("bias") < 0 || std::fabs(beta) > 4) return;
    for (const Value& s : r.scale) {
      if (!(s.value > 0x1p-20L && s.value < 0x1p20L)) return;
    }
    compare("y", r.y, 3 + 3 * std::fabs(beta));
    compare("scale", r.scale, std::is_same_v<T, double> ? 4 : 2);
    compare("dx", r.dx, 16);
  }

  static long double largest(const Guarded<T>& x) {
    long double most = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      most = std::max(most, std::fabs(static_cast<long double>(x[i])));
    return most;
  }

  void compare(const std::string& name, const std::vector<Value>& exact, double most) const {
    const auto found = out_.find(name);
    if (found == out_.end()) return;
    for (std::size_t i = 0; i < found->second.size(); ++i) {
      const Value& v = exact[i];
      // Terms below the normal numbers count as the smallest of them.
      const long double size = v.scale + std::numeric_limits<T>::min();
      expect(name, found->second[i], v.value, static_cast<long double>(most) * u * size);
    }
  }

  void expect(const std::string& name, long double actual, long double exact,
              long double bound) const {
    const long double error = std::fabs(actual - exact);
    if (error <= bound) return;
    report(text(dense_) + ": " + name + " is " + std::to_string(static_cast<double>(actual)) +
           ", " + std::to_string(static_cast<double>(error / bound)) + " times the bound off");
  }

  const Dense& dense_;
  const Numbers& out_;
};

// What is written where there is nothing to normalise.
void check_empty(const Dense& dense, const Numbers& out) {
  const auto epsilon = dense.scalars.find("epsilon");
  const double sigma = epsilon == dense.scalars.end() ? 0 : std::sqrt(epsilon->second);
  for (const auto& [name, numbers] : out) {
    double expected = 0;
    if (name == "sigma") expected = sigma;
    if (name == "inv_std" || name == "rstd") expected = 1 / sigma;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (name == "moments") expected = i % 6 == 1;  // the scale
      const double stored = rounded(expected, dense.is_double ? Element::f64 : Element::f32);
      if (numbers[i] != stored) report(text(dense) + ": " + name + " of nothing");
    }
  }
}

}  // namespace

void check_reference(const Dense& dense, const Numbers& out, bool saved_is_right) {
  const bool known = dense.op.named("norm_forward") || dense.op.named("norm_backward") ||
                     dense.op.named("with_gradient") || dense.op.name == "moments";
  if (!known || dense.op.is_step) return;
  if (dense.sizes.data == 0) return check_empty(dense, out);
  if (!saved_is_right) return;
  // The reference adds up each window, also where that is mostly beyond the channels.
  if (dense.size > most_referenced / dense.sizes.data) return;
  if (!is_moderate(dense.in)) return;
  if (dense.is_double) {
    Reference<double>(dense, out).check();
  } else {
    Reference<float>(dense, out).check();
  }
}

}  // namespace fuzz
