// Functions of every signature as one type. A file of its own: it is nothing but instances of
// templates.
#define DOCTEST_CONFIG_IMPLEMENT  // whose assertions check the list of functions
#include "c_operator.h"

#include <tuple>
#include <utility>

namespace fuzz {
namespace {

template <class... Args>
Operator erased(const Function<Args...>& f, bool is_step) {
  const auto unpack = [](const Arguments& arguments) {
    const auto all = [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<Args...>{arguments[I].as<Args>()...};
    };
    return all(std::index_sequence_for<Args...>{});
  };
  return {f.name,
          f.parameters,
          f.may_alias,
          is_step,
          [call = f.call, unpack](const Arguments& a) { return std::apply(call, unpack(a)); },
          [query = f.workspace_bytes, unpack](const Arguments& a) { return query(unpack(a)); }};
}

}  // namespace

const std::vector<Operator>& operators() {
  static doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  static const std::vector<Operator> all = [] {
    std::vector<Operator> result;
    for_each_function([&](const auto& f) { result.push_back(erased(f, false)); });
    for_each_step([&](const auto& f) {
      for (Operator& op : result) op.is_step = op.is_step || op.name == f.name;
    });
    result.push_back(
        erased(function("merge_moments", normkernels_merge_moments, "", "out=a out=b"), false));
    return result;
  }();
  return all;
}

const Operator& operator_named(const std::string& name) {
  for (const Operator& op : operators()) {
    if (op.name == name) return op;
  }
  report("no operator " + name);
}

}  // namespace fuzz
