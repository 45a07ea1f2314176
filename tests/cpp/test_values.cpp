#include <doctest/doctest.h>

#include "reference.h"

namespace {

// Each output is a few rounded operations on sums that are themselves good to a few roundings. The
// longest chain is LRN's: a window of 11 sums, a power of at most 4 and a product.
constexpr int roundings = 32;

// Of the gradients of the norms, on data in which roundings are independent: docs/numerics.md.
constexpr int gradient_roundings = 8;

// Outputs from `gradients` on are gradients of a norm.
template <class T>
void compare(const Outputs<T>& outputs, const std::vector<const std::vector<Value>*>& expected,
             std::size_t gradients = std::numeric_limits<std::size_t>::max()) {
  REQUIRE(outputs.size() == expected.size());
  for (std::size_t o = 0; o < outputs.size(); ++o) {
    CAPTURE(o);
    REQUIRE(outputs[o].size() == expected[o]->size());
    CHECK(outputs[o].intact());
    const int most = o < gradients ? roundings : gradient_roundings;
    long double worst = 0;
    for (std::size_t i = 0; i < outputs[o].size(); ++i) {
      const Value& v = (*expected[o])[i];
      const long double bound = v.scale * most * std::numeric_limits<T>::epsilon() / 2;
      const long double difference = std::fabs(outputs[o][i] - v.value);
      // Written so that a NaN is worse than anything.
      if (!(difference <= worst * bound)) worst = difference / bound;
    }
    CHECK(static_cast<double>(worst) <= 1);
  }
}

template <class T>
void check_all(const nk::Tensor& shape, const Window& window) {
  const Problem<T> p(shape, window);
  CAPTURE(shape.order);
  CAPTURE(shape.n);
  CAPTURE(shape.c);
  CAPTURE(shape.spatial);
  CAPTURE(window.size);
  CAPTURE(window.beta);
  const normkernels_executor* const own = nullptr;

  const NormReference<T> layer = layer_norm_reference(p);
  compare<T>(layer_norm_forward(p, own), {&layer.y, &layer.mean, &layer.sigma});
  compare<T>(layer_norm_backward(p, own), {&layer.dx, &layer.dgamma, &layer.dbeta}, 0);

  const NormReference<T> rms = layer_norm_reference(p, false);
  compare<T>(rms_norm_forward(p, own), {&rms.y, &rms.inv_std});
  compare<T>(rms_norm_backward<T, false>(p, own), {&rms.dx, &rms.dgamma, &rms.dbeta}, 0);
  compare<T>(rms_norm_backward<T, true>(p, own), {&rms.dx, &rms.dgamma, &rms.dbeta}, 0);

  const NormReference<T> instance = group_norm_reference(p, p.shape.c);
  compare<T>(instance_norm_forward(p, own), {&instance.y, &instance.mean, &instance.inv_std});
  compare<T>(instance_norm_backward<T, false>(p, own),
             {&instance.dx, &instance.dgamma, &instance.dbeta}, 0);
  compare<T>(instance_norm_backward<T, true>(p, own),
             {&instance.dx, &instance.dgamma, &instance.dbeta}, 0);
  compare<T>(instance_norm_with_gradient(p, own),
             {&instance.y, &instance.mean, &instance.inv_std, &instance.dx, &instance.dgamma,
              &instance.dbeta},
             3);

  const NormReference<T> group = group_norm_reference(p, groups_of(p));
  compare<T>(group_norm_forward(p, own), {&group.y, &group.mean, &group.inv_std});
  compare<T>(group_norm_backward<T, false>(p, own), {&group.dx, &group.dgamma, &group.dbeta}, 0);
  compare<T>(group_norm_backward<T, true>(p, own), {&group.dx, &group.dgamma, &group.dbeta}, 0);

  const LocalResponseNormReference<T> local(p);
  compare<T>(local_response_norm_forward(p, own), {&local.y, &local.scale});
  compare<T>(local_response_norm_backward<T, false>(p, own), {&local.dx});
  compare<T>(local_response_norm_backward<T, true>(p, own), {&local.dx});
}

}  // namespace

TEST_CASE_TEMPLATE("every operator computes its formula with every instruction set", T, float,
                   double) {
  constexpr Window windows[] = {{1, 1.0, 0.75, 1.0}, {4, 0.5, 0.5, 2.0},  {5, 1.0, 0.75, 1.0},
                                {5, 0.7, 1.0, 1.0},  {11, 1.0, 0.6, 1.5}, {3, 1.0, 2.5, 1.0}};
  for (const std::string& isa : supported_isas()) {
    CAPTURE(isa);
    const ForcedIsa forced(isa);
    std::size_t i = 0;
    for (const nk::Tensor& shape : shapes()) {
      check_all<T>(shape, windows[i % std::size(windows)]);
      check_all<T>(shape, windows[(i + 2) % std::size(windows)]);
      ++i;
    }
  }
}
