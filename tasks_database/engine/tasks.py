"""Django's Task with the options that DEP 0014 leaves to backends.

A backend that names this class as its ``task_class`` accepts ``@task(max_attempts=3)`` (Django
6.1 and newer: 6.0's decorator takes no options of a backend, there import ``task`` from here) and
``send.using(max_attempts=3)`` (everywhere).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, overload

from .framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    FrameworkTask,
)
from .policies import DEFAULT_MAX_ATTEMPTS, DEFAULT_MAX_RESCUES, Backoff, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(FrameworkTask):
    """A task with retries, rescues, backoff and a timeout; see Policy for their meaning."""

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_rescues: int = DEFAULT_MAX_RESCUES
    backoff: Backoff | None = None
    timeout: timedelta | None = None

    def __post_init__(self) -> None:
        # A dataclass with slots is a new class: super() without arguments would not find it.
        policy_of(self).validate()
        FrameworkTask.__post_init__(self)

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | None = None,
        backend: str | None = None,
        max_attempts: int | None = None,
        max_rescues: int | None = None,
        backoff: Backoff | None = None,
        timeout: timedelta | None = None,
    ) -> Self:
        """A new Task with other defaults. None leaves a value as it is, as in Django."""
        given: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": run_after,
            "backend": backend,
            "max_attempts": max_attempts,
            "max_rescues": max_rescues,
            "backoff": backoff,
            "timeout": timeout,
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def policy_of(task: FrameworkTask) -> Policy:
    """The limits of any task: one without these options has the defaults."""
    return Policy(
        max_attempts=getattr(task, "max_attempts", DEFAULT_MAX_ATTEMPTS),
        max_rescues=getattr(task, "max_rescues", DEFAULT_MAX_RESCUES),
        backoff=getattr(task, "backoff", None),
        timeout=getattr(task, "timeout", None),
    )


@overload
def task(function: Callable[..., Any], /) -> Task: ...
@overload
def task(
    *,
    priority: int = ...,
    queue_name: str = ...,
    backend: str = ...,
    takes_context: bool = ...,
    max_attempts: int = ...,
    max_rescues: int = ...,
    backoff: Backoff | None = ...,
    timeout: timedelta | None = ...,
) -> Callable[[Callable[..., Any]], Task]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    priority: int = DEFAULT_TASK_PRIORITY,
    queue_name: str = DEFAULT_TASK_QUEUE_NAME,
    backend: str = DEFAULT_TASK_BACKEND_ALIAS,
    takes_context: bool = False,
    **options: Any,
) -> Task | Callable[[Callable[..., Any]], Task]:
    """Django's ``@task`` with the options of Task, on every Django and before any backend.

    The Task is of this class whatever the backend's ``task_class`` is; a backend that knows
    nothing of the options ignores them.

    Raises TypeError for ``run_after``, as Django's decorator does.
    """
    if "run_after" in options:
        raise TypeError(
            "run_after is no option of @task: one date, fixed at import, would hold for every "
            "enqueue. Give it where the task is enqueued, with .using(run_after=...)."
        )

    def make(func: Callable[..., Any]) -> Task:
        # run_after has no default in Django 6.0's Task.
        return Task(
            func=func,
            priority=priority,
            queue_name=queue_name,
            backend=backend,
            takes_context=takes_context,
            run_after=None,
            **options,
        )

    return make if function is None else make(function)
