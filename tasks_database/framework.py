"""With ``engine/framework.py``, the only files here that import names of the task framework.

The engine takes value types alone; what needs Django's settings and registries enters here.
"""

import logging
import weakref
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal
from django.tasks import signals, task_backends
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TaskContext as _TaskContext
from django.tasks.base import TaskResult as _TaskResult
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started

from .engine.framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_QUEUE_NAME,
    FrameworkTask,
    InvalidTask,
    TaskError,
    TaskResultStatus,
    is_task,
)

if TYPE_CHECKING:
    # Generic for the type checker only; at run time Django's classes take no parameters.
    TaskContext = _TaskContext[..., Any]
    TaskResult = _TaskResult[..., Any]
else:
    TaskContext = _TaskContext
    TaskResult = _TaskResult

# What Django itself connects: receivers that write one log record each.
_LOGGED = {
    task_enqueued: (signals.log_task_enqueued, logging.DEBUG),
    task_started: (signals.log_task_started, logging.INFO),
    task_finished: (signals.log_task_finished, logging.INFO),
}


def is_heard(signal: Signal) -> bool:
    """Whether sending this signal of a task that goes well has any effect.

    It has none when Django's own log is its only receiver, at a level that is switched off. That
    is the common case, and asking costs a tenth of sending.
    """
    own, level = _LOGGED[signal]
    for _, connected, *_ in signal.receivers:
        receiver = connected() if isinstance(connected, weakref.ref) else connected
        if receiver is own:
            if signals.logger.isEnabledFor(level):
                return True
        elif receiver is not None:  # Else it is gone, and only not cleared away yet.
            return True
    return False


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_QUEUE_NAME",
    "BaseTaskBackend",
    "FrameworkTask",
    "InvalidTask",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "is_heard",
    "is_task",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
