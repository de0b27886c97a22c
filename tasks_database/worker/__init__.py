"""What runs the tasks: `manage.py tasks_worker`.

    tasks_worker -> supervisor.py -> child.py -> process.py
                    alone.py ------------------> process.py    (--batch with one process)

`WorkerProcess` is one process with its threads: it claims, runs, acknowledges. The supervisor
starts such processes, always fresh interpreters, and holds no tasks and no connection itself: it
passes signals on, replaces what ended, and gives back at once what a dead process held.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import WorkerConfig
    from .process import WorkerProcess

__all__ = ["WorkerConfig", "WorkerProcess"]


def __getattr__(name: str) -> Any:
    # Late: a child imports this package before its sys.path and its settings are in place.
    if name == "WorkerConfig":
        from .config import WorkerConfig

        return WorkerConfig
    if name == "WorkerProcess":
        from .process import WorkerProcess

        return WorkerProcess
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
