"""Layer, RMS, instance, group and local response norm for the CPU, forward and backward.

    import normkernels as nk

    y = nk.layer_norm(x, gamma, beta)
    y, mean, sigma = nk.layer_norm(x, gamma, beta, return_stats=True)
    dx, dgamma, dbeta = nk.layer_norm_backward(dy, x, mean, sigma, gamma)

What holds for every function:

Inputs    are float32, float64, float16 or ml_dtypes.bfloat16, all of one call the same, save that
          with half types statistics are float32, and gamma, beta, scale and bias may be. Caffe2's
          steps have float32 and float64 only. They are NumPy arrays, what NumPy can view
          (`__array__`, the buffer protocol, `__array_interface__`), and CPU arrays that speak
          DLPack and nothing else. What has the shape of x is read where it lies, whatever its
          strides; what is not aligned or not in the machine's byte order is copied first, and so
          are small arguments that are not C-contiguous, and all such arguments of Caffe2's steps.
          What an object's `__array__` refuses is refused with its reason, such as a tensor that
          requires grad; what it copies, such as a data frame of several blocks or an array on
          another device, is read as that copy, as NumPy's own functions do. An instance of a
          subclass of numpy.ndarray is read as the plain array that it is: units and names are not
          seen. A masked array is refused, since its mask would not be seen, even if it hides
          nothing.
Outputs   are NumPy arrays; those of x's shape lie in memory in the order that x has. With `out=`
          the large one goes into an array of yours, and nothing large is allocated; its docstring
          says which input it may be. `out` is a numpy.ndarray or anything that NumPy views without
          a copy, such as a CPU tensor, and is itself what is returned. What NumPy would copy is
          refused.
Errors    are TypeError and ValueError. They name the function, the argument, what it was and what
          it must be. Nothing is written before every argument has been checked. Errors that come
          out of an argument's own `__index__`, `__float__`, `__array__` and the like are passed on
          as they are, TypeErrors as the cause of ours.
Threads   `num_threads=` for one call, `set_num_threads`, threadpoolctl's limits or the environment
          variables NORMKERNELS_NUM_THREADS and OMP_NUM_THREADS for all; more than 1024 count as
          1024. They are the library's own and start with the first call that is worth them; a
          forked child starts its own. The GIL is released while a kernel runs, except on fewer
          than 16384 elements: to get it back could take longer. An array that another thread
          resizes in place meanwhile is lost, as it is for NumPy; so is, without a GIL, one whose
          shape or dtype another thread sets.
Import    in the main interpreter only; ImportError in a sub-interpreter.
Empty     arrays, in every position, are valid.
Bits      of the output do not depend on threads, on alignment, on the other rows or images of the
          batch, or on which instruction set with fma runs the kernel.
Examples  in docstrings begin with `import numpy as np` and `import normkernels as nk`.

The steps that Caffe2's operators are made of are here, too, and in `normkernels.helpers`.
`python -m normkernels` shows what this machine has and checks that it computes rightly.
"""

import os
import sys

from . import _threadpoolctl
from ._core import (
    __version__,
    active_isa,
    add_layer_norm,
    add_rms_norm,
    compute_fused_params,
    compute_internal_gradients,
    compute_sigma_and_fused_params,
    force_isa,
    gamma_beta_backward,
    group_norm,
    group_norm_backward,
    instance_norm,
    instance_norm_backward,
    instance_norm_with_gradient,
    isas,
    layer_norm,
    layer_norm_backward,
    local_response_norm,
    local_response_norm_backward,
    merge_moments,
    moments,
    num_threads,
    rms_norm,
    rms_norm_backward,
    set_num_threads,
)

TYPE_CHECKING = False  # as type checkers know it; typing is not imported by every NumPy
if TYPE_CHECKING:
    from . import helpers
    from ._types import (
        AddLayerNorm,
        AddNorm,
        AddRmsNorm,
        FusedParams,
        GammaBetaGradient,
        GroupNorm,
        GroupNormGradient,
        InstanceNorm,
        InstanceNormGradient,
        InstanceNormWithGradient,
        InternalGradients,
        Isa,
        LayerNorm,
        LayerNormGradient,
        LocalResponseNorm,
        RmsNorm,
        RmsNormGradient,
        SigmaAndFusedParams,
        moments_dtype,
    )

__all__ = [
    "AddLayerNorm",
    "AddNorm",
    "AddRmsNorm",
    "FusedParams",
    "GammaBetaGradient",
    "GroupNorm",
    "GroupNormGradient",
    "InstanceNorm",
    "InstanceNormGradient",
    "InstanceNormWithGradient",
    "InternalGradients",
    "Isa",
    "LayerNorm",
    "LayerNormGradient",
    "LocalResponseNorm",
    "RmsNorm",
    "RmsNormGradient",
    "SigmaAndFusedParams",
    "__version__",
    "active_isa",
    "add_layer_norm",
    "add_rms_norm",
    "compute_fused_params",
    "compute_internal_gradients",
    "compute_sigma_and_fused_params",
    "force_isa",
    "gamma_beta_backward",
    "get_cmake_dir",
    "get_include",
    "group_norm",
    "group_norm_backward",
    "helpers",
    "instance_norm",
    "instance_norm_backward",
    "instance_norm_with_gradient",
    "isas",
    "layer_norm",
    "layer_norm_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "merge_moments",
    "moments",
    "moments_dtype",
    "num_threads",
    "rms_norm",
    "rms_norm_backward",
    "set_num_threads",
]

_threadpoolctl.register_when_imported()

if not TYPE_CHECKING:  # or every name would be one that it may have

    def __getattr__(name: str) -> object:
        """What takes longer to import than all else here, when it is first asked for."""
        if name == "helpers":
            import normkernels.helpers  # noqa: F401, PLC0415 - this sets the name

            # Not from globals(): another thread's import may be about to set it there.
            return sys.modules["normkernels.helpers"]
        if name in __all__:
            from . import _types  # noqa: PLC0415

            return globals().setdefault(name, getattr(_types, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """The directory to compile against: `#include <normkernels/normkernels.h>` is found there.

    >>> os.path.exists(nk.get_include() + "/normkernels/normkernels.h")
    True
    """
    return _installed("include")


def get_cmake_dir() -> str:
    """The directory of the CMake package: `find_package(normkernels)` with normkernels_DIR.

    >>> os.path.exists(nk.get_cmake_dir() + "/normkernels-config.cmake")
    True
    """
    return _installed("lib/cmake/normkernels")


def _installed(directory: str) -> str:
    # An editable install spreads the package over two directories, of which one has the files.
    for root in __path__:
        path = os.path.join(root, directory)  # pathlib takes longer to import than all else here
        if os.path.isdir(path):
            return path
    raise FileNotFoundError(
        f"normkernels: {directory} is in none of {list(__path__)}; the package was not installed "
        "with pip"
    )
