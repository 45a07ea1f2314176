"""A progress bar on a terminal, with rich where it is installed."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn as Remaining,
    )
except ImportError:
    Progress = None


def progress_bar(total: int) -> AbstractContextManager[Callable[[str], Any]]:
    """A bar on a terminal; gives a function to call with the name of each case as it starts."""
    if not sys.stderr.isatty():
        return nullcontext(lambda name: None)
    if Progress is None:
        return nullcontext(lambda name: print(name, file=sys.stderr))
    columns = (BarColumn(), MofNCompleteColumn(), Remaining(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    # No refreshing thread: it would run on the CPU that is being measured.
    return Bar(Progress(*columns, console=console, transient=True, auto_refresh=False), total)


class Bar:
    """Counts a case as done when the next one starts."""

    def __init__(self, progress: Any, total: int) -> None:
        self.progress = progress
        self.task = progress.add_task("", total=total, completed=-1)

    def __enter__(self) -> Callable[[str], Any]:
        self.progress.start()
        return lambda name: self.progress.update(
            self.task, advance=1, description=name, refresh=True
        )

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
