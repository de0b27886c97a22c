"""The one file of this package that imports names of the task framework.

The backport ``django_tasks`` offers the same names from its own module; serving it as well means
changing this file and the engine's alone.
"""

from typing import TYPE_CHECKING, Any

from django.tasks import default_task_backend, task_backends
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    TASK_MAX_PRIORITY,
    TASK_MIN_PRIORITY,
    TASK_REFRESH_ATTRS,
    TaskError,
    TaskResultStatus,
)
from django.tasks.base import Task as _Task
from django.tasks.base import TaskContext as _TaskContext
from django.tasks.base import TaskResult as _TaskResult
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued, task_finished, task_started

from tasks_database.engine.framework import is_task

from .exceptions import NotATask

if TYPE_CHECKING:
    # Generic for the type checker only; at run time Django's classes take no parameters.
    Task = _Task[..., Any]
    TaskContext = _TaskContext[..., Any]
    TaskResult = _TaskResult[..., Any]
else:
    Task = _Task
    TaskContext = _TaskContext
    TaskResult = _TaskResult

SETTING = "TASKS"
IMMEDIATE_BACKEND = "django.tasks.backends.immediate.ImmediateBackend"


def require_task(verb: str, task: object) -> Task:
    """``task``, or NotATask with what to pass instead."""
    __tracebackhide__ = True
    if is_task(task):
        return task  # type: ignore[return-value]
    if callable(task):
        name = f"{getattr(task, '__module__', '?')}.{getattr(task, '__qualname__', task)}"
        raise NotATask(
            f"{verb}() was given the function {name}, which is no Task. "
            "Decorate it with @task, and pass the decorated object."
        )
    raise NotATask(
        f"{verb}() was given {task!r}, which is no Task. "
        "Pass the object that @task made, not its name."
    )


__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_PRIORITY",
    "DEFAULT_TASK_QUEUE_NAME",
    "IMMEDIATE_BACKEND",
    "SETTING",
    "TASK_MAX_PRIORITY",
    "TASK_MIN_PRIORITY",
    "TASK_REFRESH_ATTRS",
    "BaseTaskBackend",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "default_task_backend",
    "is_task",
    "require_task",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]
