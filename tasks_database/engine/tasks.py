"""Django's Task with the options that DEP 0014 leaves to backends.

A backend that names this class as its ``task_class`` accepts ``@task(max_attempts=3)`` (Django
6.1 and newer: 6.0's decorator takes no options of a backend, there import ``task`` from here) and
``send.using(max_attempts=3)`` (everywhere).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self, overload

from .binding import bind
from .framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    FrameworkTask,
    InvalidTask,
    is_task,
)
from .limits import parse_rate
from .payload import encode
from .policies import DEFAULT_MAX_ATTEMPTS, DEFAULT_MAX_RESCUES, Backoff, Policy, check_count

type UniqueKey = str | Callable[..., str]
"""A key, or what makes one of the arguments of the call."""

# The tasks that were declared with a schedule, by path: the worker looks here.
scheduled_tasks: dict[str, "Task"] = {}
# Those with max_concurrency or rate, for the same reason.
limited_tasks: dict[str, "Task"] = {}
# Those with hooks or a chain, for system checks.
hooked_tasks: dict[str, "Task"] = {}


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a chain: a task, and what it is given after the return value before it."""

    task: FrameworkTask
    payload: str  # JSON text of [args, kwargs].


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(FrameworkTask):
    """A task with the options that a production queue needs.

    max_attempts, max_rescues, backoff, timeout: see Policy.
    unique_key: text, or a callable of the arguments that returns it. While one job of this task
    with this key waits for a worker, enqueueing another returns the one that waits.
    on_success, on_failure: a Task that is enqueued with the id of this one's result when this one
    has succeeded, or has failed for good.
    chain: what `then` adds.
    schedule: when it is enqueued by itself, without arguments: a crontab line, a timedelta, or a
    trigger of `tasks_database.engine.schedules`.
    max_concurrency: how many of it may run at once, over all workers.
    rate: how often it may start, over all workers: "10/s", "100/m", "1000/h", evenly spaced.
    """

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_rescues: int = DEFAULT_MAX_RESCUES
    backoff: Backoff | None = None
    timeout: timedelta | None = None
    unique_key: UniqueKey | None = None
    on_success: FrameworkTask | None = None
    on_failure: FrameworkTask | None = None
    chain: tuple[Link, ...] = ()
    schedule: Any = None
    max_concurrency: int | None = None
    rate: str | None = None

    def __post_init__(self) -> None:
        # A dataclass with slots is a new class: super() without arguments would not find it.
        policy_of(self).validate()
        self._validate_options()
        FrameworkTask.__post_init__(self)
        if self.schedule is not None:
            # The first is the declared one; using() makes others of it.
            scheduled_tasks.setdefault(self.module_path, self)
        if self.max_concurrency is not None or self.rate is not None:
            limited_tasks.setdefault(self.module_path, self)
        if self.on_success is not None or self.on_failure is not None or self.chain:
            hooked_tasks.setdefault(self.module_path, self)

    def _validate_options(self) -> None:
        if self.unique_key is not None and not isinstance(self.unique_key, str):
            if not callable(self.unique_key):
                raise InvalidTask(
                    "unique_key must be text, or a callable of the task's arguments that returns "
                    f"it, not {self.unique_key!r}."
                )
        elif self.unique_key == "":
            raise InvalidTask("unique_key must not be empty: leave it out for no uniqueness.")
        elif self.unique_key is not None:
            encode(self.unique_key, what="unique_key")  # Refuses what no database can store.
        for name, hook in (("on_success", self.on_success), ("on_failure", self.on_failure)):
            if hook is None:
                continue
            require_task_of(name, hook)
            _check_call(name, hook, ("the id of a result",), "the id of the result")
        if self.max_concurrency is not None:
            check_count("max_concurrency", self.max_concurrency, minimum=1)
        if self.rate is not None:
            parse_rate(self.rate)

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
        unique_key: UniqueKey | None = None,
        on_success: FrameworkTask | None = None,
        on_failure: FrameworkTask | None = None,
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
            "unique_key": unique_key,
            "on_success": on_success,
            "on_failure": on_failure,
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def then(self, task: FrameworkTask, /, *args: Any, **kwargs: Any) -> Self:
        """A new Task after whose success ``task`` is enqueued: a chain.

        ``task`` is called with the return value of this one, followed by ``args`` and ``kwargs``.
        ``a.then(b).then(c)`` runs c with what b returned. A failure ends the chain.

        Raises InvalidTask for what is no Task, SignatureError when ``task`` does not take such a
        call, PayloadError for arguments that JSON cannot carry.
        """
        __tracebackhide__ = True
        require_task_of("then()", task)
        _check_call("then()", task, ("the return value", *args), "the return value", kwargs)
        payload = encode([list(args), kwargs], what=f"the arguments of {task.module_path}")
        return replace(self, chain=(*self.chain, Link(task, payload)))

    def enqueue_many(self, calls: Iterable[Any]) -> list[Any]:
        """Enqueue one task for each of ``calls``, in one go; the results, in order.

        A call is a tuple or list of arguments, a dict of keyword arguments, or the pair of both,
        ``((1, 2), {"resend": True})``. All are checked before any is stored.

        Raises what `enqueue` raises, naming the call; NotImplementedError when the backend has no
        bulk enqueue.
        """
        __tracebackhide__ = True
        return list(_bulk_backend(self).enqueue_many(self, calls))

    async def aenqueue_many(self, calls: Iterable[Any]) -> list[Any]:
        """See enqueue_many()."""
        return list(await _bulk_backend(self).aenqueue_many(self, calls))


def _bulk_backend(task: Task) -> Any:
    backend = task.get_backend()
    if not hasattr(backend, "enqueue_many"):
        raise NotImplementedError(
            f"The backend of TASKS[{task.backend!r}], {type(backend).__module__}."
            f"{type(backend).__qualname__}, has no enqueue_many(). Enqueue one by one."
        )
    return backend


def require_task_of(name: str, value: object) -> None:
    """Raise InvalidTask unless ``value`` is a Task; ``name`` says what it was given as."""
    __tracebackhide__ = True
    if not is_task(value):
        raise InvalidTask(f"{name} must be a Task, the object that @task made, not {value!r}.")


def _check_call(
    name: str,
    task: FrameworkTask,
    args: tuple[Any, ...],
    given: str,
    kwargs: dict[str, Any] | None = None,
) -> None:
    __tracebackhide__ = True
    try:
        bind(task.func, args, kwargs or {}, takes_context=task.takes_context, path=task.module_path)
    except TypeError as error:
        error.add_note(f"As {name} it is called with {given} as its first argument.")
        raise


def unique_key_of(task: FrameworkTask, args: Any, kwargs: Any) -> str | None:
    """The key of this call; None where the task has none, or its callable says None.

    Raises TypeError when the callable returns anything else than text or None, PayloadError for
    text that no database can store.
    """
    key: UniqueKey | None = getattr(task, "unique_key", None)
    if key is None or isinstance(key, str):
        return key
    made = key(*args, **kwargs)
    if made is not None and not isinstance(made, str):
        raise TypeError(
            f"The unique_key of {task.module_path} returned {made!r}; it must return text, or "
            "None for a call that is not unique."
        )
    if made:
        encode(made, what=f"the unique_key of {task.module_path}")
    return made or None


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
    unique_key: UniqueKey | None = ...,
    on_success: FrameworkTask | None = ...,
    on_failure: FrameworkTask | None = ...,
    schedule: Any = ...,
    max_concurrency: int | None = ...,
    rate: str | None = ...,
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
