#include <atomic>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "bind.h"

namespace normkernels::python {

namespace {

py::handle Isa;

std::string quoted_isas(bool supported_only) {
  std::string names;
  for (int32_t i = 0; i < normkernels_isa_count(); ++i) {
    if (supported_only && normkernels_isa_supported(i) == 0) continue;
    names += (names.empty() ? "'" : ", '") + std::string(normkernels_isa_name(i)) + "'";
  }
  return names;
}

/* What a name that `status` refused must be. */
std::string isa_must(normkernels_status status) {
  return normkernels_status_kind(status) == NORMKERNELS_UNKNOWN_ISA
             ? "must be one of " + quoted_isas(false) + "; this machine has " + quoted_isas(true)
             : "must be one that this machine has: " + quoted_isas(true);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/* The environment's choice is read once, by the library. An import that succeeded although every
 * call would fail serves nobody. */
void check_environment() {
  if (quoted_isas(true).empty()) {
    throw py::import_error("this build of normkernels is for machines with one of " +
                           quoted_isas(false) + ", this machine has none of them");
  }
  if (normkernels_isa_active() < 0) {
    const std::string value = variable("NORMKERNELS_ISA");
    const normkernels_status status = normkernels_isa_force(value.c_str());
    throw py::import_error("the environment variable NORMKERNELS_ISA is '" + value + "', " +
                           isa_must(status));
  }
  if (normkernels_num_threads() < 1) {
    throw py::import_error("the environment variable NORMKERNELS_NUM_THREADS is '" +
                           variable("NORMKERNELS_NUM_THREADS") +
                           "', must be a whole number of 0 (automatic) or more");
  }
}

constexpr const char* kIsasDoc = R"(isas()
--

The instruction sets that this build holds kernels for, worst first: a tuple of Isa(name,
supported), where `supported` says whether this machine can run it.)";

py::object isas() {
  const int32_t count = normkernels_isa_count();
  py::tuple result(count);
  for (int32_t i = 0; i < count; ++i) {
    result[i] = Isa(py::str(normkernels_isa_name(i)), py::bool_(normkernels_isa_supported(i) != 0));
  }
  return std::move(result);
}

constexpr const char* kActiveIsaDoc = R"(active_isa()
--

The name of the instruction set in use: what force_isa said, else what the environment variable
NORMKERNELS_ISA named at import, else the best that the machine has.)";

py::object active_isa() { return py::str(normkernels_isa_name(normkernels_isa_active())); }

constexpr const char* kForceIsaDoc = R"(force_isa(name)
--

Use the instruction set of that name from now on, in every thread; None: the automatic choice.

The names are those of isas(); "x86_64_v3" and "x86_64_v4" also stand for "avx2" and "avx512".
ValueError if there is none of that name or this machine does not have it; the choice then stays
as it was.)";

py::object force_isa(py::handle name) {
  if (name.is_none()) {
    normkernels_isa_force(nullptr);
    return py::none();
  }
  if (!PyUnicode_Check(name.ptr())) {
    Call("force_isa")
        .refuse_type("name", std::string("is of type ") + Py_TYPE(name.ptr())->tp_name,
                     "be a string or None");
  }
  const normkernels_status status = normkernels_isa_force(name.cast<std::string>().c_str());
  if (status == NORMKERNELS_OK) return py::none();
  throw py::value_error("force_isa: name is " + std::string(py::repr(name)) + ", " +
                        isa_must(status));
}

constexpr const char* kNumThreadsDoc = R"(num_threads()
--

The number of threads of a call without `num_threads`: what set_num_threads said, else the
environment variable NORMKERNELS_NUM_THREADS, else OMP_NUM_THREADS (the first of a list), else what
affinity and cgroups leave the process. Unless it is the library's own setting, it is no more than
OMP_THREAD_LIMIT, and than a GNU OpenMP runtime in the process would use: torch.set_num_threads(1)
holds here, too.

A call with little work uses fewer, and so does one beside which others are under way.)";

py::object num_threads() { return py::int_(normkernels_num_threads()); }

constexpr const char* kNumThreadsSetDoc = R"(num_threads_set()
--

What set_num_threads said last; 0: num_threads() is automatic.)";

std::atomic<int32_t> threads_set{0};

py::object num_threads_set() { return py::int_(threads_set.load()); }

constexpr const char* kSetNumThreadsDoc = R"(set_num_threads(n)
--

Set the number of threads that num_threads() tells; 0: the automatic one. Numbers over 1024 count
as 1024. ValueError if negative.)";

py::object set_num_threads(py::handle n) {
  const Call call("set_num_threads");
  const int64_t threads = call.count(n, "n", 0);
  if (threads > std::numeric_limits<int32_t>::max()) {
    call.refuse_value("n", "is " + std::to_string(threads), "be less than 2**31");
  }
  threads_set = static_cast<int32_t>(threads);
  normkernels_set_num_threads(threads_set);
  return py::none();
}

}  // namespace

}  // namespace normkernels::python

/* By this name threadpoolctl tells the module from others that are called _core. */
extern "C" {
NORMKERNELS_API extern const char normkernels_python_module;
const char normkernels_python_module = 0;
}

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  using namespace normkernels::python;

  check_environment();
  module.doc() = "The compiled functions of normkernels.";
  module.attr("__version__") = normkernels_version();

  const py::module_ types = py::module_::import("normkernels._types");
  py::module_ helpers = module.def_submodule("helpers", "The compiled functions of helpers.");
  Isa = own(types, "Isa");
  bind_layer_norm(module, helpers, types);
  bind_instance_norm(module, helpers, types);
  bind_local_response_norm(module, types);

  add<isas>(module, kIsasDoc);
  add<active_isa>(module, kActiveIsaDoc);
  add<force_isa>(module, kForceIsaDoc);
  add<num_threads>(module, kNumThreadsDoc);
  add<num_threads_set>(module, kNumThreadsSetDoc);
  add<set_num_threads>(module, kSetNumThreadsDoc);
}
