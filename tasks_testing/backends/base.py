"""What the recording backends share: validation as in production, strict arguments, the record."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.utils import timezone

from tasks_database.engine import Job, Policy, bind, encode_follow_ups, policy_of
from tasks_database.engine.calls import arguments_of, checked_key, encode_call
from tasks_database.engine.lifecycle import enqueue
from tasks_database.results import result_of as result_of_job
from tasks_testing.clock import clock
from tasks_testing.driver import OnError
from tasks_testing.entry import Entry, call_of, current_entry
from tasks_testing.exceptions import ConfigurationError
from tasks_testing.framework import (
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    require_task,
    task_enqueued,
)
from tasks_testing.journal import journal
from tasks_testing.mirror import mirror_of
from tasks_testing.origin import Origin, caller_origin
from tasks_testing.results import result_of
from tasks_testing.state import active_on_error, no_queue_is_active
from tasks_testing.transactions import mark_enqueue
from tasks_testing.verbs import Verbs

from .operating import Operating

REMEMBERED_TASKS = 1_000


class _KnownTask(NamedTuple):
    """A task that was checked, with what each enqueue needs of it."""

    task: Task
    path: str  # One string for all jobs of the task, which would keep 70 bytes each.
    policy: Policy
    is_unique: bool
    follow_ups: str | None


class RecordingBackend(Operating, Verbs, BaseTaskBackend):
    """Records what is enqueued, process-wide, and offers the test queue's verbs for its alias.

    OPTIONS, all optional:
    mirror: the settings entry of the production backend whose rules apply.
    transactional: whether production enqueues in the caller's transaction (see `Mirror`).
    database: the alias of the database whose transactions count; that of a mirrored
    DatabaseBackend, else "default".
    on_error: "raise" or "record", for the verbs and for Immediate.

    Stricter than Django's, on purpose: arguments must fit the signature at enqueue; arguments and
    return values must survive JSON unchanged; run_after must be a datetime.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, dict(params))
        self._mirror = mirror_of(alias, params)
        self.task_class = self._mirror.task_class
        self.supports_defer = self._mirror.supports_defer
        self.supports_async_task = self._mirror.supports_async_task
        self.supports_get_result = self._mirror.supports_get_result
        self.supports_priority = self._mirror.supports_priority
        if self._mirror.queues is not None:
            self.queues = set(self._mirror.queues)
        self._backends = frozenset({alias})
        # None: the production backend says, whose routers may change their mind.
        self._database: str | None = self.options.get("database", self._mirror.database)
        self._known: dict[int, _KnownTask] = {}
        if self.options.get("on_error") not in {None, "raise", "record"}:
            raise ConfigurationError(
                f'TASKS["{alias}"]["OPTIONS"]["on_error"] is {self.options["on_error"]!r}; '
                'it must be "raise" or "record".'
            )

    @property
    def database(self) -> str:
        """The alias of the database whose transactions count, and where production keeps tasks."""
        if self._database is None and not apps.is_installed("tasks_database"):
            self._database = DEFAULT_DB_ALIAS  # It has no tables, so nobody can ask where they are.
        if self._database is not None:
            return self._database
        database: str = getattr(self._mirror.backend, "database", DEFAULT_DB_ALIAS)
        return database

    @property
    def stands_for(self) -> BaseTaskBackend | None:
        """The production backend that this one mirrors; None when there is none."""
        return self._mirror.backend

    # -- validation ------------------------------------------------------------------------

    def validate_task(self, task: Task) -> None:
        """What the mirrored backend refuses, and Django's base; InvalidTask says why."""
        self._validate_run_after(task.run_after)
        self._validate_follow_ups(task)
        try:
            if self._mirror.backend is None:
                super().validate_task(task)
            else:
                self._mirror.backend.validate_task(task)
        except InvalidTask as error:
            refusal = error
            if str(error) == f"Queue '{task.queue_name}' is not valid for backend.":
                accepted = ", ".join(repr(name) for name in sorted(self.queues))
                refusal = InvalidTask(
                    f'{error} TASKS["{self.alias}"] accepts {accepted}: use one of these, add it '
                    "to QUEUES, or set QUEUES to [] to accept any."
                )
            if self._mirror.backend is not None:
                refusal.add_note(
                    f'{self._mirror.path}, the mirrored TASKS["{self.alias}"], refuses it.'
                )
            raise refusal from error.__cause__

    def _checked(self, task: Task) -> "_KnownTask":
        """The task as this backend takes it; what it finds valid for good, it remembers."""
        require_task("enqueue", task)
        if task.backend != self.alias:
            # Django lets task_backends["mail"].enqueue(...) take any task.
            return _known_task(task.using(backend=self.alias))
        self.validate_task(task)
        known = _known_task(task)
        # run_after depends on USE_TZ, which tests override, and is new for each enqueue anyway.
        if task.run_after is None and not self._mirror.validates_itself:
            if len(self._known) >= REMEMBERED_TASKS:
                self._known.clear()
            self._known[id(task)] = known
        return known

    def _validate_follow_ups(self, task: Any) -> None:
        """What follows a task is recorded with it, so it must be known who records it."""
        hooks = [getattr(task, "on_success", None), getattr(task, "on_failure", None)]
        hooks += [link.task for link in getattr(task, "chain", ())]
        for hook in filter(None, hooks):
            if not isinstance(hook.get_backend(), RecordingBackend):
                raise InvalidTask(
                    f"{hook.module_path} is to follow {task.module_path}, and belongs to "
                    f'TASKS["{hook.backend}"], which does not record while TASKS["{self.alias}"] '
                    "does. Let both record, or give it another backend with .using(backend=...)."
                )

    def _validate_run_after(self, run_after: object) -> None:
        if run_after is None:
            return
        if not isinstance(run_after, datetime):
            raise InvalidTask(
                f"run_after must be a datetime, not {run_after!r}. "
                "For a delay, add a timedelta to timezone.now()."
            )
        if settings.USE_TZ and timezone.is_naive(run_after):
            raise InvalidTask(
                "run_after must be an aware datetime. USE_TZ is True, and "
                f"{run_after.isoformat(sep=' ')} has no time zone: use timezone.make_aware()."
            )
        if not settings.USE_TZ and timezone.is_aware(run_after):
            raise InvalidTask(
                "run_after must be a naive datetime. USE_TZ is False, and "
                f"{run_after.isoformat(sep=' ')} has a time zone: use timezone.make_naive()."
            )

    # -- enqueueing ------------------------------------------------------------------------

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> Any:
        """Record the task, and send task_enqueued."""
        __tracebackhide__ = True
        return self._enqueue(task, args, kwargs, caller_origin())

    async def aenqueue(self, task: Task, args: Any, kwargs: Any) -> Any:
        """The same. The call site is taken here: a thread knows nothing of who awaits it."""
        enqueue_here = partial(self._enqueue, task, args, kwargs, caller_origin())
        return await sync_to_async(enqueue_here, thread_sensitive=True)()

    def _enqueue(
        self,
        task: Task,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        origin: Origin | None,
    ) -> TaskResult:
        __tracebackhide__ = True
        job, entry = self._call(task, args, kwargs, origin)
        standing = journal.add(job, entry)
        if standing is not entry:
            return result_of(standing)  # Of the one that waits with its unique key.
        return self.announce(entry, job)

    def enqueue_many(self, task: Task, calls: Iterable[Any]) -> list[Any]:
        """Record one task for each call; see `tasks_database.engine.Task.enqueue_many`."""
        __tracebackhide__ = True
        return self._enqueue_many(task, calls, caller_origin())

    async def aenqueue_many(self, task: Task, calls: Iterable[Any]) -> list[Any]:
        """See enqueue_many()."""
        enqueue_here = partial(self._enqueue_many, task, calls, caller_origin())
        return await sync_to_async(enqueue_here, thread_sensitive=True)()

    def _enqueue_many(
        self, task: Task, calls: Iterable[Any], origin: Origin | None
    ) -> list[TaskResult]:
        __tracebackhide__ = True
        if not self._mirror.has_enqueue_many:
            raise NotImplementedError(
                f"The backend of TASKS[{self.alias!r}] mirrors {self._mirror.path}, which has no "
                "enqueue_many(). Enqueue one by one."
            )
        made = [self._one_of_many(task, call, number, origin) for number, call in enumerate(calls)]
        entries = journal.add_many(made)
        results = [result_of(entry) for entry in entries]
        new = [
            (entry, result)
            for entry, result, (_, own) in zip(entries, results, made, strict=True)
            if entry is own
        ]
        for _, result in new:
            task_enqueued.send(type(self), task_result=result)
        for entry, result in new:
            self._after_enqueue(entry, result)
        return results

    def _one_of_many(
        self, task: Task, call: Any, number: int, origin: Origin | None
    ) -> tuple[Job, Entry]:
        __tracebackhide__ = True
        args, kwargs = arguments_of(call, number)
        try:
            return self._call(task, args, kwargs, origin)
        except Exception as error:
            error.add_note(f"In call {number} of enqueue_many(): nothing was enqueued.")
            raise

    def announce(self, entry: Entry, job: Job) -> TaskResult:
        """Send task_enqueued for a new entry, and do what else an enqueue does; its result."""
        __tracebackhide__ = True
        result = result_of_job(job, entry.task, call_of(job))
        task_enqueued.send(type(self), task_result=result)
        self._after_enqueue(entry, result)
        return result

    def _after_enqueue(self, entry: Entry, result: TaskResult) -> None:
        """What else an enqueue does; nothing for a backend that only records."""

    def keep(
        self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], origin: Origin | None
    ) -> Entry:
        """Enter a call that nothing enqueues, for run_task(); the checks are those of an enqueue.

        Neither its run_after nor its unique key holds: it is run now, whatever else waits.
        """
        __tracebackhide__ = True
        return journal.add(*self._call(task, args, kwargs, origin, enqueued=False))

    def _call(
        self,
        task: Task,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        origin: Origin | None,
        *,
        enqueued: bool = True,
    ) -> tuple[Job, Entry]:
        """Check the call; nothing is entered into the journal yet."""
        __tracebackhide__ = True
        known = self._known.get(id(task))
        if known is None or known.task is not task:
            known = self._checked(task)
        task, path, policy, is_unique, follow_ups = known
        store = journal.store
        bind(task.func, args, kwargs, takes_context=task.takes_context, path=path)
        job = enqueue(
            id=store.new_id(),
            task_path=path,
            payload=encode_call(task, args, kwargs),
            now=clock.now(),
            run_after=task.run_after if enqueued else None,
            backend=self.alias,
            queue_name=task.queue_name,
            priority=task.priority,
            max_attempts=policy.max_attempts,
            max_rescues=policy.max_rescues,
            timeout=policy.timeout,
            unique_key=checked_key(task, args, kwargs) if is_unique and enqueued else None,
            follow_ups=follow_ups,
        )
        entry = Entry(
            job_id=job.id,
            task=task,
            policy=policy,
            origin=origin,
            parent=current_entry.get(),
            mark=mark_enqueue(self._database or self.database),
            transactional=store.takes_part or self._mirror.transactional,
            store=store,
            enqueued=enqueued,
        )
        return job, entry

    # -- results ---------------------------------------------------------------------------

    def get_result(self, result_id: str) -> TaskResult:
        """The result as it is now, from any thread.

        Raises TaskResultDoesNotExist; NotImplementedError when production has no results either.
        """
        if not self._mirror.has_results:
            raise NotImplementedError(
                "This backend does not support retrieving or refreshing results. "
                f"It mirrors {self._mirror.path}, which has none: production code that calls "
                "get_result() or refresh() would fail. In a test, read task_queue.records."
            )
        entry = journal.look_up(result_id)
        if entry is None or entry.task.backend != self.alias or not entry.is_visible:
            raise TaskResultDoesNotExist(result_id)
        return result_of(entry)

    @property
    def results(self) -> list[TaskResult]:
        """A result for each task enqueued on this alias, as Django's DummyBackend has."""
        return [
            result_of(entry) for entry in journal.entries(aliases=self._backends) if entry.enqueued
        ]

    def clear(self) -> None:
        """Forget this alias's tasks. Outside of a TaskQueue it also ends a freeze of the clock."""
        journal.forget(lambda entry: entry.task.backend == self.alias)
        if no_queue_is_active():
            clock.stop()

    def check(self, **kwargs: Any) -> Any:
        """The system checks of the mirrored backend."""
        return [] if self._mirror.backend is None else self._mirror.backend.check(**kwargs)

    # -- verbs -----------------------------------------------------------------------------

    @property
    def _on_error(self) -> OnError:
        chosen: OnError | None = self.options.get("on_error")
        return chosen or active_on_error() or "raise"


def _known_task(task: Task) -> _KnownTask:
    return _KnownTask(
        task,
        task.module_path,
        policy_of(task),
        getattr(task, "unique_key", None) is not None,
        encode_follow_ups(task),
    )
