"""DatabaseBackend: `django.tasks` on the project's database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import router
from django.utils import timezone

from . import runs_here
from .engine import (
    Job,
    Policy,
    Task,
    bind,
    decode,
    encode,
    encode_follow_ups,
    policy_of,
)
from .engine.calls import NO_ARGUMENTS, arguments_of, checked_key, encode_call
from .engine.lifecycle import enqueue
from .framework import (
    BaseTaskBackend,
    FrameworkTask,
    InvalidTask,
    TaskResult,
    TaskResultDoesNotExist,
    is_heard,
    task_enqueued,
)
from .ids import new_id, parse_id
from .options import Options, parse_options
from .resolve import UnknownTask, resolve
from .results import result_of
from .store import ORMStore, Serves, store_for

if TYPE_CHECKING:
    from .operations import Cancellation, Which

MAX_PATH = 255
MAX_QUEUE = 128
MAX_KEY = 255
_REMEMBERED_TASKS = 1_000


class _KnownTask(NamedTuple):
    """A task that was checked, with what each enqueue needs of it."""

    task: FrameworkTask
    path: str
    policy: Policy
    follow_ups: str | None


class DatabaseBackend(BaseTaskBackend):
    """Tasks are rows of the project's database; `manage.py tasks_worker` runs them.

    An enqueue takes part in the caller's transaction: inside ``atomic()`` on the same database it
    commits and rolls back with the data. OPTIONS: see `tasks_database.options.Options`.
    """

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    # For the recording backends, which mirror this one in tests.
    transactional = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, dict(params))
        # What is wrong with them is told by a system check; tasks are declared before it runs.
        self.parsed: Options = parse_options(alias, self.options)[0]
        self._known: dict[int, _KnownTask] = {}
        self._store: ORMStore | None = None

    # -- the database ----------------------------------------------------------------------

    @property
    def database(self) -> str:
        """The alias of the database: OPTIONS["database"], or what the routers say."""
        if self.parsed.database is not None:
            return self.parsed.database
        from .models import JobRow

        return router.db_for_write(JobRow)

    @property
    def store(self) -> ORMStore:
        """Where the tasks of this alias are."""
        using = self.database
        if self._store is None or self._store.using != using:
            self._store = store_for(using, Serves(backend=self.alias))
        return self._store

    # -- validation ------------------------------------------------------------------------

    def validate_task(self, task: FrameworkTask) -> None:
        """Django's rules, and what the tables can hold; InvalidTask says what is wrong."""
        run_after = task.run_after
        if run_after is not None:
            if not isinstance(run_after, datetime):
                raise InvalidTask(
                    f"run_after must be a datetime, not {run_after!r}. "
                    "For a delay, add a timedelta to timezone.now()."
                )
            if not settings.USE_TZ and timezone.is_aware(run_after):
                raise InvalidTask(
                    "run_after must be a naive datetime, as USE_TZ is False: "
                    "use timezone.make_naive()."
                )
            _check_reach(run_after)
        super().validate_task(task)
        if len(task.module_path) > MAX_PATH:
            raise InvalidTask(
                f"The path {task.module_path} has {len(task.module_path)} characters; "
                f"{MAX_PATH} can be stored."
            )
        if not task.queue_name or len(task.queue_name) > MAX_QUEUE:
            raise InvalidTask(
                f"queue_name must have 1 to {MAX_QUEUE} characters, not {task.queue_name!r}."
            )
        encode(task.queue_name, what="queue_name")  # Refuses what no database can store.
        for name in ("on_success", "on_failure"):
            hook = getattr(task, name, None)
            if hook is not None:
                self._check_follow_up(name, hook)
        for link in getattr(task, "chain", ()):
            self._check_follow_up("then()", link.task)

    def _check_follow_up(self, name: str, task: FrameworkTask) -> None:
        """It is enqueued by the worker of this alias, in its transaction."""
        if not apps.ready:
            # Routers and models cannot be asked yet. A system check asks, and the first enqueue.
            return
        backend: object = self if task.backend == self.alias else task.get_backend()
        backend = getattr(backend, "stands_for", backend)  # Of one that records in tests.
        if isinstance(backend, DatabaseBackend) and backend.database == self.database:
            return
        raise InvalidTask(
            f"{name}: {task.module_path} belongs to TASKS[{task.backend!r}], which is not a "
            f"DatabaseBackend on the database {self.database!r}. It is enqueued in the transaction "
            "that stores the end of this task, so it must be on the same database: enqueue it in "
            "the task's body instead, or give it another backend with .using(backend=...)."
        )

    def _checked(self, task: FrameworkTask) -> _KnownTask:
        if task.backend != self.alias:
            # Django lets task_backends["mail"].enqueue(...) take any task.
            task = task.using(backend=self.alias)
        self.validate_task(task)
        known = _KnownTask(task, task.module_path, policy_of(task), encode_follow_ups(task))
        # run_after depends on USE_TZ, which tests override, and is new for each enqueue anyway.
        if task.run_after is None:
            if len(self._known) >= _REMEMBERED_TASKS:
                self._known.clear()
            self._known[id(task)] = known
        return known

    # -- enqueueing ------------------------------------------------------------------------

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Store the task; visible to workers when the caller's transaction has committed.

        Returns the result of the task that waits already where ``unique_key`` is taken.

        Raises InvalidTask, SignatureError, PayloadError before anything is stored.
        """
        __tracebackhide__ = True
        known = self._known_task(task)
        made = self._job(known, args, kwargs, timezone.now())
        job = self.store.add((made,))[0]
        result = self._result(job, known.task)
        if job is made:
            if is_heard(task_enqueued):
                task_enqueued.send(type(self), task_result=result)
            self._announce((job,))
        return result

    def enqueue_many(self, task: Any, calls: Iterable[Any]) -> list[Any]:
        """Store one task for each call, in one go; see `Task.enqueue_many`."""
        __tracebackhide__ = True
        known = self._known_task(task)
        now = timezone.now()
        made = [self._job_of_call(known, call, number, now) for number, call in enumerate(calls)]
        jobs = self.store.add(made)
        results = self._results(jobs, known.task)
        if is_heard(task_enqueued):
            for job, own, result in zip(jobs, made, results, strict=True):
                if job is own:
                    task_enqueued.send(type(self), task_result=result)
        self._announce(jobs)
        return results

    async def aenqueue_many(self, task: Any, calls: Iterable[Any]) -> list[Any]:
        """See enqueue_many()."""
        return await sync_to_async(self.enqueue_many, thread_sensitive=True)(task, calls)

    def _known_task(self, task: Any) -> _KnownTask:
        known = self._known.get(id(task))
        if known is None or known.task is not task:
            known = self._checked(task)
        return known

    def _job_of_call(self, known: _KnownTask, call: Any, number: int, now: datetime) -> Job:
        __tracebackhide__ = True
        args, kwargs = arguments_of(call, number)
        try:
            return self._job(known, args, kwargs, now)
        except Exception as error:
            error.add_note(f"In call {number} of enqueue_many(): nothing was enqueued.")
            raise

    def _job(
        self,
        known: _KnownTask,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        now: datetime,
    ) -> Job:
        __tracebackhide__ = True
        task, path, policy, follow_ups = known
        bind(task.func, args, kwargs, takes_context=task.takes_context, path=path)
        return enqueue(
            id=new_id(),
            task_path=path,
            payload=encode_call(task, args, kwargs),
            now=now,
            run_after=task.run_after,
            backend=self.alias,
            queue_name=task.queue_name,
            priority=int(task.priority),  # Django lets 5.0 pass.
            max_attempts=policy.max_attempts,
            max_rescues=policy.max_rescues,
            timeout=policy.timeout,
            unique_key=checked_key(task, args, kwargs),
            follow_ups=follow_ups,
        )

    def _announce(self, jobs: Sequence[Job]) -> None:
        from .wake import announce

        announce(self.store, jobs)

    # -- results ---------------------------------------------------------------------------

    def get_result(self, result_id: str) -> Any:
        """The result as it is now, from any thread or process.

        Raises TaskResultDoesNotExist, also for the id of another backend's task, and for one whose
        task is not in this code any more.
        """
        job_id = parse_id(result_id)
        if job_id is None:
            raise TaskResultDoesNotExist(result_id)
        # Starts are stored late; in the worker's own process they are known.
        job = runs_here.get(job_id) or self.store.get(job_id)
        if job is None or job.backend != self.alias:
            raise TaskResultDoesNotExist(result_id)
        try:
            task = resolve(job.task_path)
        except UnknownTask as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from error
        return self._result(job, as_enqueued(task, job))

    def _results(self, jobs: Sequence[Job], task: FrameworkTask) -> list[TaskResult]:
        """The results of jobs of one task."""
        try:
            # All at once: most of the time of a small decoding is its beginning.
            calls = decode(f"[{','.join([job.payload for job in jobs])}]")
        except (ValueError, RecursionError):
            return [self._result(job, task) for job in jobs]
        return [
            result_of(job, task, (args, kwargs))
            for job, (args, kwargs) in zip(jobs, calls, strict=True)
        ]

    def _result(self, job: Job, task: FrameworkTask) -> TaskResult:
        if job.payload == NO_ARGUMENTS:
            return result_of(job, task, ([], {}))
        try:
            args, kwargs = decode(job.payload)
        except (ValueError, TypeError, RecursionError):
            # A row that was changed by hand. The worker says so in the errors of the result, which
            # must be readable for that.
            args, kwargs = [], {}
        return result_of(job, task, (args, kwargs))

    # -- operations: see those of the module ------------------------------------------------

    def pause(self, queue_name: str) -> bool:
        """Let no worker start another task of this queue; False when it is paused already."""
        from .operations import pause_queue

        return pause_queue(queue_name, backend=self)

    def resume(self, queue_name: str) -> bool:
        """Let workers go on with this queue; False when it was not paused."""
        from .operations import resume_queue

        return resume_queue(queue_name, backend=self)

    def paused(self) -> list[str]:
        """The names of the queues that are paused."""
        from .operations import paused_queues

        return paused_queues(backend=self)

    def cancel(self, result: Any) -> "Cancellation":
        """Cancel a task that waits, by its result or the id of that; true when it was.

        Raises TaskResultDoesNotExist.
        """
        from .operations import cancel

        return cancel(result, backend=self)

    async def acancel(self, result: Any) -> "Cancellation":
        """See cancel()."""
        return await sync_to_async(self.cancel, thread_sensitive=True)(result)

    def retry_failed(self, **which: "Unpack[Which]") -> int:
        """Let failed tasks run again; see `operations.retry_failed`."""
        from .operations import retry_failed

        return retry_failed(backend=self, **which)

    def discard_failed(self, **which: "Unpack[Which]") -> int:
        """Delete failed tasks; see `operations.discard_failed`."""
        from .operations import discard_failed

        return discard_failed(backend=self, **which)

    # -- system checks ---------------------------------------------------------------------

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """What is wrong with the settings entry and its database; see `checks`."""
        from .checks import check_backend

        return check_backend(self, **kwargs)


def as_enqueued(task: FrameworkTask, job: Job) -> FrameworkTask:
    """The task with the options that it was enqueued with, as far as results show them."""
    if (
        task.priority == job.priority
        and task.queue_name == job.queue_name
        and task.backend == job.backend
        and task.run_after == job.run_after
    ):
        return task
    from dataclasses import fields

    # Past __post_init__: what was enqueued is not validated again, whatever the settings say now.
    shown: FrameworkTask = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(shown, field.name, getattr(task, field.name))
    for name in ("priority", "queue_name", "backend", "run_after"):
        object.__setattr__(shown, name, getattr(job, name))
    return shown


def _check_reach(run_after: datetime) -> None:
    try:
        # Databases keep it in UTC, and some in the time zone of a connection.
        run_after - timedelta(days=1), run_after + timedelta(days=1)
    except OverflowError:
        raise InvalidTask(f"run_after is {run_after}, which cannot be stored.") from None
