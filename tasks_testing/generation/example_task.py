"""A task for values that need one where the test names none, and tasks without a backend."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from tasks_database.engine import Task as EngineTask
from tasks_database.engine import exponential
from tasks_testing.framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    Task,
)


def altered(task: Task, **changes: Any) -> Task:
    """A copy with other options, unless they are the same. No backend validates it.

    ``using()`` would ask the backend of the project's TASKS, whose queues may be restricted; a
    value in a test goes to no backend.
    """
    present = {field.name: getattr(task, field.name) for field in fields(task)}
    if all(present[name] == value for name, value in changes.items()):
        return task
    return _assembled(type(task), {**present, **changes})


def _assembled(kind: type[Task], options: Mapping[str, Any]) -> Task:
    new = object.__new__(kind)  # Past __post_init__, which validates.
    for name, value in options.items():
        object.__setattr__(new, name, value)
    return new


def _unvalidated_task(function: Callable[..., Any]) -> Task:
    defaults = {
        field.name: field.default for field in fields(EngineTask) if field.default is not MISSING
    }
    # None of these has a default in Django 6.0's Task.
    required = {
        "priority": DEFAULT_TASK_PRIORITY,
        "backend": DEFAULT_TASK_BACKEND_ALIAS,
        "queue_name": DEFAULT_TASK_QUEUE_NAME,
        "run_after": None,
    }
    return _assembled(EngineTask, {**required, **defaults, "func": function})


@_unvalidated_task
def example_task(*args: Any, **kwargs: Any) -> None:
    """The task of a record when the test names none: takes any arguments, does nothing."""


# The same with retries: one that is tried once cannot wait for its second attempt.
EXAMPLE_WITH_RETRIES: Final = altered(
    example_task, max_attempts=3, backoff=exponential(base=60, cap=3600)
)
