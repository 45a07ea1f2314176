"""threadpoolctl sees and limits the library's threads, where it is installed."""

import sys

from . import _core

TYPE_CHECKING = False  # see __init__.py
if TYPE_CHECKING:
    from typing import Any

NAME = "threadpoolctl"


def register_when_imported() -> None:
    """Tell threadpoolctl of this library, so that `threadpool_info` and `threadpool_limits` do.

    To import it takes longer than to import all else here, and a program that limits threads does
    so itself, sooner or later.
    """
    if sys.modules.get(NAME) is None:
        sys.meta_path.insert(0, _Finder())
    else:
        _register()


class _Finder:
    """Finds threadpoolctl where the other finders do; the library is registered once it is run."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Any":
        if name != NAME:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec: Any = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:  # a folder of that name has none
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """Another loader, and what is to be done after it."""

    def __init__(self, loader: "Any") -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._loader, name)

    def exec_module(self, module: "Any") -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()


class _Automatic(int):
    """A number of threads that nobody has set: setting it again is to set none."""


def _register() -> None:
    import threadpoolctl  # noqa: PLC0415

    if not hasattr(threadpoolctl, "register"):
        return  # before 3.2 it knew its own libraries only

    class Controller(threadpoolctl.LibController):  # type: ignore[misc,unused-ignore]
        user_api = "normkernels"
        internal_api = "normkernels"
        filename_prefixes = ("_core.",)
        check_symbols = ("normkernels_python_module",)

        def get_num_threads(self) -> int:
            threads = _core.num_threads()
            return threads if _core.num_threads_set() else _Automatic(threads)

        def set_num_threads(self, num_threads: int) -> None:
            # At its end a block sets the very object that was got before it.
            _core.set_num_threads(0 if isinstance(num_threads, _Automatic) else num_threads)

        def get_version(self) -> str:
            return _core.__version__

        def set_additional_attributes(self) -> None:
            pass

    threadpoolctl.register(Controller)
