#include <atomic>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>

#include "bind.h"

namespace normkernels::python {

namespace {

Imported Isa("Isa");

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

/* With bytes that are not ASCII as "\\xff": Python refuses messages that are not UTF-8. */
std::string variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text;
  for (; value != nullptr && *value != '\0'; ++value) {
    const auto byte = static_cast<unsigned char>(*value);
    constexpr const char* kDigits = "0123456789abcdef";
    if (byte >= ' ' && byte <= '~') {
      text += *value;
    } else {
      text += {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
    }
  }
  return text;
}

/* The environment's choice is read once, by the library. An import that succeeded although every
 * call would fail serves nobody. */
void check_environment() {
  if (quoted_isas(true).empty()) {
    throw py::import_error("this build of normkernels is for machines with one of " +
                           quoted_isas(false) + ", this machine has none of them");
  }
  if (normkernels_isa_active() < 0) {
    const char* name = std::getenv("NORMKERNELS_ISA");
    const normkernels_status status = normkernels_isa_force(name == nullptr ? "" : name);
    throw py::import_error("the environment variable NORMKERNELS_ISA is '" +
                           variable("NORMKERNELS_ISA") + "', " + isa_must(status));
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
supported), where `supported` says whether this machine can run it.

>>> nk.isas()[0]
Isa(name='baseline', supported=True))";

py::object isas(Call&) {
  const int32_t count = normkernels_isa_count();
  py::tuple result(count);
  for (int32_t i = 0; i < count; ++i) {
    result[i] =
        Isa.get()(py::str(normkernels_isa_name(i)), py::bool_(normkernels_isa_supported(i) != 0));
  }
  return std::move(result);
}

constexpr const char* kActiveIsaDoc = R"(active_isa()
--

The name of the instruction set in use: what force_isa said, else what the environment variable
NORMKERNELS_ISA named at import, else the best that the machine has.

>>> nk.active_isa() in [isa.name for isa in nk.isas() if isa.supported]
True)";

py::object active_isa(Call&) { return py::str(normkernels_isa_name(normkernels_isa_active())); }

constexpr const char* kForceIsaDoc = R"(force_isa(name)
--

Use the instruction set of that name from now on, in every thread; None: the automatic choice.

The names are those of isas(); "x86_64_v3" and "x86_64_v4" also stand for "avx2" and "avx512".
ValueError if there is none of that name or this machine does not have it; the choice then stays
as it was.

>>> nk.force_isa("baseline")
>>> nk.active_isa()
'baseline'
>>> nk.force_isa(None))";

py::object force_isa(Call&, const Name& name) {
  const normkernels_status status = !name.given()           ? normkernels_isa_force(nullptr)
                                    : name.get() == nullptr ? NORMKERNELS_UNKNOWN_ISA
                                                            : normkernels_isa_force(name.get());
  if (status != NORMKERNELS_OK) {
    throw py::value_error("force_isa: name is " + name.quoted() + ", " + isa_must(status));
  }
  return py::none();
}

constexpr const char* kNumThreadsDoc = R"(num_threads()
--

The number of threads of a call without `num_threads`: what set_num_threads said, else the
environment variable NORMKERNELS_NUM_THREADS, else OMP_NUM_THREADS (the first of a list), else what
affinity and cgroups leave the process. Unless it is the library's own setting, it is no more than
OMP_THREAD_LIMIT, and than a GNU OpenMP runtime in the process would use: torch.set_num_threads(1)
holds here, too.

A call with little work uses fewer, and so does one beside which others are under way.

>>> nk.num_threads() >= 1
True)";

py::object num_threads(Call&) { return py::int_(normkernels_num_threads()); }

constexpr const char* kNumThreadsSetDoc = R"(num_threads_set()
--

What set_num_threads said last; 0: num_threads() is automatic.)";

std::atomic<int32_t> threads_set{0};

py::object num_threads_set(Call&) { return py::int_(threads_set.load()); }

constexpr const char* kSetNumThreadsDoc = R"(set_num_threads(n)
--

Set the number of threads that num_threads() tells; 0: the automatic one. Numbers over 1024 count
as 1024. ValueError if negative.

>>> nk.set_num_threads(1)
>>> nk.num_threads()
1
>>> nk.set_num_threads(0))";

py::object set_num_threads(Call&, Threads n) {
  threads_set = n.get();
  normkernels_set_num_threads(n.get());
  return py::none();
}

void fill(py::module_ module) {
  find_functions();
  check_environment();
  module.doc() = "The compiled functions of normkernels.";
  module.attr("__version__") = normkernels_version();

  prepare_arrays();
  py::module_ helpers = module.def_submodule("helpers", "The compiled functions of helpers.");
  bind_layer_norm::bind(module, helpers);
  bind_moments::bind(module);
  bind_rms_norm::bind(module);
  bind_add_norm::bind(module);
  bind_instance_norm::bind(module, helpers);
  bind_group_norm::bind(module);
  bind_local_response_norm::bind(module);
  tensors::bind(module);
  openmp::bind(module);

  add<isas>(module, kIsasDoc);
  add<active_isa>(module, kActiveIsaDoc);
  add<force_isa>(module, kForceIsaDoc);
  add<num_threads>(module, kNumThreadsDoc);
  add<num_threads_set>(module, kNumThreadsSetDoc);
  add<set_num_threads>(module, kSetNumThreadsDoc);
}

/* Where pybind11's own entry would hang before Python 3.12: it sets itself up first. On later
 * versions, too, the classes and signatures that the module holds are one interpreter's. */
bool in_sub_interpreter() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return false;
  PyErr_SetString(PyExc_ImportError,
                  "normkernels cannot be imported in a sub-interpreter, only in the main one "
                  "(mod_wsgi: WSGIApplicationGroup %{GLOBAL})");
  return true;
}

int execute(PyObject* module) {
  if (in_sub_interpreter()) return -1;
  try {
    PYBIND11_ENSURE_INTERNALS_READY
    fill(py::reinterpret_borrow<py::module_>(module));
    return 0;
  } catch (const std::exception&) {
    set_error_from_exception();
    return -1;
  }
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", nullptr, 0, nullptr, slots, nullptr, nullptr, nullptr};

}  // namespace

}  // namespace normkernels::python

/* By this name threadpoolctl tells the module from others that are called _core. */
extern "C" {
NORMKERNELS_API extern const char normkernels_python_module;
const char normkernels_python_module = 0;
}

/* Not PYBIND11_MODULE: see in_sub_interpreter. */
PyMODINIT_FUNC PyInit__core() { return PyModuleDef_Init(&normkernels::python::definition); }
