"""The one file of this package that imports names of the task framework.

The backport ``django_tasks`` offers the same names from its own module; serving it as well means
changing this file alone.
"""

from typing import TYPE_CHECKING, Any

from django.tasks.base import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    TaskError,
    TaskResultStatus,
)
from django.tasks.base import Task as _Task
from django.tasks.exceptions import InvalidTask

if TYPE_CHECKING:
    # Generic for the type checker only; at run time Django's class takes no parameters.
    FrameworkTask = _Task[..., Any]
else:
    FrameworkTask = _Task


def is_task(value: object) -> bool:
    """Whether ``value`` is a Task object (as opposed to, say, the function behind it)."""
    return isinstance(value, _Task)


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_PRIORITY",
    "DEFAULT_TASK_QUEUE_NAME",
    "FrameworkTask",
    "InvalidTask",
    "TaskError",
    "TaskResultStatus",
    "is_task",
]
