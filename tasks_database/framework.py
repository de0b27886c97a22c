"""With ``engine/framework.py``, the only files here that import names of the task framework.

The engine takes value types alone; what needs Django's settings and registries enters here.
"""

from typing import TYPE_CHECKING, Any

from django.tasks import task_backends
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
    "is_task",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
