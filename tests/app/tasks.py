"""Tasks for the tests: a few that do one plain thing, and `perform`, whose body a test writes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.tasks import TaskContext, task
from django.utils import timezone

from tasks_database.engine import exponential
from tasks_database.engine import task as engine_task


@task
def add(a: int, b: int) -> int:
    return a + b


@task
async def multiply(a: int, b: int) -> int:
    return a * b


@task
def when(label: str = "") -> str:
    """The instant it ran at."""
    return timezone.now().isoformat()


@task
def fail(message: str = "boom") -> None:
    raise ValueError(message)


@task(takes_context=True)
def attempt(context: TaskContext, *, note: str = "") -> int:
    return context.attempt


@task
def mail(to: str, *subjects: str, urgent: bool = False, **headers: str) -> int:
    """Every kind of parameter."""
    return len(subjects)


bodies: dict[str, Callable[..., Any]] = {}


def body(function: Callable[..., Any]) -> str:
    """A name for this function, to pass to `perform`: a test writes its task where it looks."""
    name = f"body-{len(bodies) + 1}"
    bodies[name] = function
    return name


@engine_task
def perform(name: str, *args: Any, **kwargs: Any) -> Any:
    """Run what was given to `body`; an engine task, so that using(max_attempts=...) works."""
    return bodies[name](*args, **kwargs)


@engine_task(takes_context=True)
def perform_with_context(context: TaskContext, name: str, *args: Any) -> Any:
    return bodies[name](context, *args)


@engine_task(takes_context=True, backoff=exponential(base=60))
def perform_patiently(context: TaskContext, name: str, *args: Any) -> Any:
    """The same with a minute, two, four ... between its attempts.

    A worker knows a task by its path: it has the backoff that the task was declared with.
    """
    return bodies[name](context, *args)


def as_asked(exception: BaseException, attempt: int) -> timedelta:
    """The backoff that the exception asks for, as ``retry_in``."""
    return getattr(exception, "retry_in", timedelta())


@engine_task(takes_context=True, backoff=as_asked)
def perform_as_asked(context: TaskContext, name: str, *args: Any) -> Any:
    return bodies[name](context, *args)


@engine_task
async def perform_async(name: str, *args: Any) -> Any:
    return await bodies[name](*args)
