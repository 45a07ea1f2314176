"""threadpoolctl sees and limits the library's threads, where it is installed."""

from __future__ import annotations

from . import _core


class _Automatic(int):
    """A number of threads that nobody has set: setting it again is to set none."""


def register() -> None:
    """Tell threadpoolctl of this library, so that `threadpool_info` and `threadpool_limits` do."""
    try:
        import threadpoolctl  # noqa: PLC0415
    except ImportError:
        return

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
