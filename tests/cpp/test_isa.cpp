#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "calls.h"

namespace {

constexpr Window window = {5, 1.0, 0.75, 1.0};

const nk::Isa* find(const std::vector<nk::Isa>& isas, const std::string& name) {
  const auto at =
      std::find_if(isas.begin(), isas.end(), [&](const nk::Isa& isa) { return isa.name == name; });
  return at == isas.end() ? nullptr : &*at;
}

std::string chosen_without_environment(const std::vector<nk::Isa>& isas) {
  std::string best;
  for (const nk::Isa& isa : isas) {
    if (isa.supported && isa.name.rfind("emulated_", 0) != 0) best = isa.name;
  }
  return best;
}

}  // namespace

TEST_CASE("the instruction sets are listed") {
  const std::vector<nk::Isa> isas = nk::isas();
  REQUIRE_FALSE(isas.empty());
  for (const nk::Isa& isa : isas) {
    CAPTURE(isa.name);
    CHECK(std::count_if(isas.begin(), isas.end(),
                        [&](const nk::Isa& other) { return other.name == isa.name; }) == 1);
  }
  CHECK(std::any_of(isas.begin(), isas.end(), [](const nk::Isa& isa) { return isa.supported; }));
  CHECK(normkernels_isa_name(-1) == nullptr);
  CHECK(normkernels_isa_name(static_cast<std::int32_t>(isas.size())) == nullptr);
  CHECK(normkernels_isa_supported(-1) == 0);
  CHECK(normkernels_isa_supported(static_cast<std::int32_t>(isas.size())) == 0);
}

TEST_CASE("the environment chooses, else the best that the machine has") {
  const std::vector<nk::Isa> isas = nk::isas();
  const char* environment = std::getenv("NORMKERNELS_ISA");
  const nk::Isa* named = environment == nullptr ? nullptr : find(isas, environment);
  const float x[2] = {1, 2};
  float y[2] = {7, 7};
  const normkernels_status status = normkernels_layer_norm_forward(
      NORMKERNELS_F32, 1, 2, x, nullptr, nullptr, 0, y, nullptr, nullptr, nullptr);
  if (environment == nullptr) {
    CHECK(nk::active_isa() == chosen_without_environment(isas));
    CHECK(status == NORMKERNELS_OK);
  } else if (named != nullptr && named->supported) {
    CHECK(nk::active_isa() == environment);
    CHECK(status == NORMKERNELS_OK);
  } else {
    CHECK(normkernels_isa_active() == -1);
    CHECK(status == (named == nullptr ? NORMKERNELS_UNKNOWN_ISA : NORMKERNELS_UNSUPPORTED_ISA));
    CHECK(y[0] == 7);
    // Forcing one is a way out.
    const ForcedIsa forced(supported_isas().front());
    CHECK(normkernels_layer_norm_forward(NORMKERNELS_F32, 1, 2, x, nullptr, nullptr, 0, y, nullptr,
                                         nullptr, nullptr) == NORMKERNELS_OK);
  }
}

TEST_CASE("an instruction set can be forced") {
  const std::string before = nk::active_isa();
  for (const nk::Isa& isa : nk::isas()) {
    CAPTURE(isa.name);
    const normkernels_status status = normkernels_isa_force(isa.name.c_str());
    if (isa.supported) {
      CHECK(status == NORMKERNELS_OK);
      CHECK(nk::active_isa() == isa.name);
    } else {
      CHECK(status == NORMKERNELS_UNSUPPORTED_ISA + 1);
    }
  }
  nk::force_isa(nullptr);
  CHECK(nk::active_isa() == before);
}

TEST_CASE("an unknown name leaves the choice as it was") {
  const ForcedIsa forced(supported_isas().front());
  for (const char* name : {"", "AVX2", "avx", "avx2 ", "nonsense"}) {
    CAPTURE(std::string(name));
    CHECK(normkernels_isa_force(name) == NORMKERNELS_UNKNOWN_ISA + 1);
    CHECK(nk::active_isa() == supported_isas().front());
  }
}

TEST_CASE("the psABI names are aliases") {
  const std::vector<nk::Isa> isas = nk::isas();
  constexpr const char* aliases[][2] = {{"x86_64_v3", "avx2"}, {"x86_64_v4", "avx512"}};
  for (const auto& pair : aliases) {
    const char *const alias = pair[0], *const name = pair[1];
    CAPTURE(std::string(alias));
    const nk::Isa* isa = find(isas, name);
    const normkernels_status status = normkernels_isa_force(alias);
    if (isa == nullptr) {
      CHECK(status == NORMKERNELS_UNKNOWN_ISA + 1);
    } else if (!isa->supported) {
      CHECK(status == NORMKERNELS_UNSUPPORTED_ISA + 1);
    } else {
      CHECK(status == NORMKERNELS_OK);
      CHECK(nk::active_isa() == name);
    }
  }
  nk::force_isa(nullptr);
}

TEST_CASE_TEMPLATE("instruction sets with fma give the same bits", T, float, double, nk::float16,
                   nk::bfloat16) {
  const std::vector<std::string> with_fma = supported_isas_with_fma();
  if (with_fma.empty()) {
    MESSAGE("this machine has no instruction set with fma: there is nothing to compare");
    return;
  }
  for (const nk::Tensor& shape : shapes()) {
    CAPTURE(shape.order);
    CAPTURE(shape.c);
    CAPTURE(shape.spatial);
    const Problem<T> problem(shape, window);
    for (const Call<T>& call : calls<T>) {
      CAPTURE(std::string(call.name));
      nk::force_isa(with_fma.front().c_str());
      const Outputs<T> expected = call.run(problem, nullptr);
      for (const std::string& isa : with_fma) {
        CAPTURE(isa);
        const ForcedIsa forced(isa);
        const Outputs<T> outputs = call.run(problem, nullptr);
        REQUIRE(outputs.size() == expected.size());
        for (std::size_t i = 0; i < outputs.size(); ++i) {
          CAPTURE(i);
          CHECK(outputs[i].same_bits(expected[i]));
        }
      }
    }
  }
}
