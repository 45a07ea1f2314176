/* What bindings.cpp puts together: one function per operator family. */
#ifndef NORMKERNELS_PYTHON_BIND_H_
#define NORMKERNELS_PYTHON_BIND_H_

#include "arrays.h"
#include "function.h"

namespace normkernels::python {

/* Each adds its functions to `module` and its steps to `helpers`. A family has a namespace of its
 * own: their steps have names in common, and the files are compiled as one. */
namespace bind_layer_norm {
void bind(py::module_& module, py::module_& helpers);
}
namespace bind_moments {
void bind(py::module_& module);
}
namespace bind_rms_norm {
void bind(py::module_& module);
}
namespace bind_add_norm {
void bind(py::module_& module);
}
namespace bind_instance_norm {
void bind(py::module_& module, py::module_& helpers);
}
namespace bind_group_norm {
void bind(py::module_& module);
}
namespace bind_local_response_norm {
void bind(py::module_& module);
}

namespace tensors {
void bind(py::module_& module);
}

namespace openmp {
void bind(py::module_& module);
}

}  // namespace normkernels::python

#endif  // NORMKERNELS_PYTHON_BIND_H_
