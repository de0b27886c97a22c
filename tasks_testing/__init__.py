"""Assertions, a clock and a worker for testing django.tasks.

    from tasks_testing import TaskQueue

    with TaskQueue() as task_queue:
        checkout(order)
        task_queue.assert_enqueued(send_receipt, arguments={"order_id": order.pk})
        task_queue.advance(hours=24)

pytest has the fixture ``task_queue``; unittest has ``tasks_testing.unittest.TaskTestMixin``.
Importing this package needs Django and nothing else.
"""

from typing import TYPE_CHECKING, Any

from .exceptions import (
    ClockError,
    ConfigurationError,
    EventLoopRunning,
    LimitReached,
    NotATask,
    NotRecording,
    TasksTestingError,
    TasksTestingWarning,
)

if TYPE_CHECKING:
    from .queue import TaskQueue as TaskQueue
    from .real_worker import running_worker as running_worker
    from .record import TaskRecord as TaskRecord
    from .tally import Tally as Tally

__all__ = [
    "ClockError",
    "ConfigurationError",
    "EventLoopRunning",
    "LimitReached",
    "NotATask",
    "NotRecording",
    "Tally",
    "TaskQueue",
    "TaskRecord",
    "TasksTestingError",
    "TasksTestingWarning",
    "running_worker",
]

_MODULES = {
    "TaskQueue": "queue",
    "TaskRecord": "record",
    "Tally": "tally",
    "running_worker": "real_worker",
}


def __getattr__(name: str) -> Any:
    # Django's tasks are imported when they are used, not when a conftest imports this package:
    # settings may not be configured yet.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
