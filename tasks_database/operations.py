"""What an operator does to the tasks of a backend: pause, cancel, retry, discard, prune.

The functions take the alias of TASKS; `DatabaseBackend` has the same as methods, and there are
commands for all of them. None sends a signal or calls a hook.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from . import wake
from .framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    TaskResultDoesNotExist,
    is_task,
    task_backends,
)
from .ids import parse_id
from .pruning import Pruned, Pruner
from .rows import rank_sql
from .store.groups import GROUP, groups
from .store.retries import repeat

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .backend import DatabaseBackend
    from .models import JobRow, PausedQueue
    from .options import Retention
    from .store import ORMStore

__all__ = [
    "Cancellation",
    "Pruned",
    "Which",
    "backend_of",
    "cancel",
    "count_failed",
    "discard_failed",
    "pause_queue",
    "paused_queues",
    "prune",
    "resume_queue",
    "retry_failed",
]

type Backend = "DatabaseBackend | str"
"""A backend, or its alias in TASKS."""


def backend_of(backend: Backend) -> "DatabaseBackend":
    """The DatabaseBackend with this alias.

    Raises ImproperlyConfigured when there is none, or it is of another kind.
    """
    from .backend import DatabaseBackend

    if isinstance(backend, DatabaseBackend):
        return backend
    if backend not in task_backends.settings:
        raise ImproperlyConfigured(
            f"There is no backend {backend!r} in TASKS; there are "
            f"{', '.join(sorted(task_backends.settings))}."
        )
    found = task_backends[backend]
    found = getattr(found, "in_tables", found)  # Of one that records in tests.
    if not isinstance(found, DatabaseBackend):
        kind = type(found)
        raise ImproperlyConfigured(
            f'TASKS["{backend}"] is a {kind.__module__}.{kind.__qualname__}, not a '
            "tasks_database.DatabaseBackend: its tasks are not in the database."
        )
    return found


# -- queues ----------------------------------------------------------------------------------------


def pause_queue(queue_name: str, *, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS) -> bool:
    """Let no worker start another task of this queue; False when it is paused already.

    It holds from the moment this is committed. What workers have claimed already still runs.

    Raises ValueError for a queue that the settings do not have.
    """
    one = backend_of(backend)
    _require_queue(one, queue_name)
    store = one.store

    def pause() -> bool:
        from .models import PausedQueue

        with store.atomic():
            if _paused(store).filter(queue_name=queue_name).exists():
                return False
            row = PausedQueue(backend=one.alias, queue_name=queue_name, paused_at=timezone.now())
            _paused(store).bulk_create([row], ignore_conflicts=True)
            return True

    return repeat(store.connection, pause)


def resume_queue(queue_name: str, *, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS) -> bool:
    """Let workers go on with this queue; False when it was not paused."""
    one = backend_of(backend)
    store = one.store

    def resume() -> bool:
        with store.atomic():
            rows = list(_paused(store).filter(queue_name=queue_name).values_list("pk", flat=True))
            return bool(_paused(store).filter(pk__in=rows).delete()[0])

    resumed = repeat(store.connection, resume)
    wake.hint(store)
    return resumed


def paused_queues(*, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS) -> list[str]:
    """The names of the queues that are paused."""
    names = _paused(backend_of(backend).store).values_list("queue_name", flat=True)
    return sorted(names)


def _paused(store: "ORMStore") -> "QuerySet[PausedQueue]":
    from .models import PausedQueue

    return PausedQueue.objects.using(store.using).filter(backend=store.serves.backend)


def _require_queue(backend: "DatabaseBackend", queue_name: str) -> None:
    if backend.queues and queue_name not in backend.queues:
        raise ValueError(
            f'{queue_name!r} is no queue of TASKS["{backend.alias}"]; its QUEUES are '
            f"{', '.join(sorted(backend.queues))}."
        )


# -- one task --------------------------------------------------------------------------------------


class Cancellation(StrEnum):
    """What came of `cancel`; true when the task was cancelled."""

    CANCELLED = "cancelled"
    CLAIMED = "not cancelled: a worker has it"
    ENDED = "not cancelled: it has ended"

    def __bool__(self) -> bool:
        return self is Cancellation.CANCELLED


# Waiting, that is: no worker has it.
_WAITING = ("DEFERRED", "READY", "SUSPECT")
_ENDED = ("SUCCESSFUL", "FAILED", "CANCELLED")


def cancel(result: Any, *, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS) -> Cancellation:
    """Cancel a task that waits, by its result or the id of that; what came of it.

    A cancelled task never starts. Its result is FAILED, without errors, as Django has no status for
    it. One that a worker has, even unstarted, cannot be cancelled.

    Raises TaskResultDoesNotExist.
    """
    one = backend_of(backend)
    store = one.store
    job_id = _id_of(result)
    if job_id is None:
        raise TaskResultDoesNotExist(result)
    row = _rows(store).filter(pk=job_id)

    def change() -> int:
        # By its key and its state in one statement: a claim comes before it, or after it.
        return row.filter(status__in=_WAITING).update(
            status="CANCELLED",
            finished_at=timezone.now(),
            due=None,
            waits_for=None,
            reserved_at=None,
            unique_lock=None,
            suspect=False,
        )

    if repeat(store.connection, change):
        return Cancellation.CANCELLED
    status = row.values_list("status", flat=True).first()
    if status is None:
        raise TaskResultDoesNotExist(job_id)
    return Cancellation.ENDED if status in _ENDED else Cancellation.CLAIMED


def _id_of(result: Any) -> str | None:
    given = getattr(result, "id", result)
    return parse_id(str(given) if isinstance(given, UUID) else given)


# -- failed tasks ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Which failed tasks are meant; see `Which`."""

    ids: Iterable[Any] | None = None
    task: Any = None
    queue_name: str | None = None
    older_than: timedelta | None = None
    younger_than: timedelta | None = None
    everything: bool = False
    cancelled: bool = False

    def parts(self, store: "ORMStore", *, now: datetime) -> Iterator["QuerySet[JobRow]"]:
        """The rows that had failed by ``now``, in as many parts as many ids make.

        Raises ValueError when nothing is said, and for what is no id.
        """
        rows, said = self._conditions(_rows(store).filter(finished_at__lte=now), now)
        if self.ids is None:
            if not said and not self.everything:
                raise ValueError(
                    "Say which failed tasks are meant: ids, task, queue_name, older_than or "
                    "younger_than; or everything=True."
                )
            yield rows
            return
        for some in groups([_required_id(one) for one in self.ids], GROUP):
            yield rows.filter(pk__in=some)

    def _conditions(
        self, rows: "QuerySet[JobRow]", now: datetime
    ) -> "tuple[QuerySet[JobRow], bool]":
        """The rows without regard to ids, and whether anything was said."""
        conditions: dict[str, Any] = {}
        if self.task is not None:
            conditions["task_path"] = self.task.module_path if is_task(self.task) else self.task
        if self.queue_name is not None:
            conditions["queue_name"] = self.queue_name
        if self.older_than is not None:
            conditions["finished_at__lt"] = now - self.older_than
        if self.younger_than is not None:
            conditions["finished_at__gte"] = now - self.younger_than
        statuses = ("FAILED", "CANCELLED") if self.cancelled else ("FAILED",)
        return rows.filter(status__in=statuses, **conditions), bool(conditions)


class Which(TypedDict, total=False):
    """Which failed tasks are meant: those that all of this holds for.

    ids: results, or their ids.
    task: a Task, or its path, also one that is no more in this code.
    queue_name: the name of a queue.
    older_than, younger_than: by when they failed.
    everything: all that failed; needed when nothing else is said.
    cancelled: cancelled ones, too.
    """

    ids: Iterable[Any] | None
    task: Any
    queue_name: str | None
    older_than: timedelta | None
    younger_than: timedelta | None
    everything: bool
    cancelled: bool


def retry_failed(*, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS, **which: Unpack[Which]) -> int:
    """Let failed tasks run again, with all their attempts before them; how many there were.

    ``which``: see `Which`. In batches that are committed one by one, unless the caller has a
    transaction. Errors of earlier attempts stay, as do ids: a result that somebody has shows the
    new attempt.

    Raises ValueError when nothing is said, and for what is no id.
    """
    failed, store, now = Failed(**which), backend_of(backend).store, timezone.now()
    rank, param = rank_sql(now)
    changes = (
        f"status = 'READY', {store.quote('rank')} = {rank}, due = NULL, finished_at = NULL, "
        "failures = 0, rescues = 0, suspect = FALSE, reserved_at = NULL, waits_for = NULL"
    )

    def revive(job_ids: Sequence[str]) -> int:
        return store.set_rows(job_ids, changes, [param])

    count = _in_batches(store, failed, revive, now=now)
    if count:
        wake.hint(store)
    return count


def discard_failed(*, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS, **which: Unpack[Which]) -> int:
    """Delete failed tasks, with their results; how many there were. See `retry_failed`."""
    store = backend_of(backend).store
    return _in_batches(store, Failed(**which), store.delete_ended, now=timezone.now())


def count_failed(*, backend: Backend = DEFAULT_TASK_BACKEND_ALIAS, **which: Unpack[Which]) -> int:
    """How many tasks `retry_failed` or `discard_failed` would change."""
    store = backend_of(backend).store
    parts = Failed(**which).parts(store, now=timezone.now())
    return sum(rows.count() for rows in parts)


def _in_batches(
    store: "ORMStore",
    failed: Failed,
    act: Callable[[Sequence[str]], int],
    *,
    now: datetime,
) -> int:
    """Call ``act`` with the ids of some of them, locked, until there are none; the total.

    Of what ``act`` was called with nothing is left among them.
    """
    total = 0
    for rows in failed.parts(store, now=now):

        def batch(rows: "QuerySet[JobRow]" = rows) -> int:
            with store.atomic():
                some = rows.order_by("finished_at", "pk").values_list("pk", flat=True)
                if store.connection.features.has_select_for_update_skip_locked:
                    some = some.select_for_update(skip_locked=True)
                job_ids = [str(job_id) for job_id in some[:GROUP]]
                return act(job_ids) if job_ids else 0

        while changed := repeat(store.connection, batch):
            total += changed
    return total


def _rows(store: "ORMStore") -> "QuerySet[JobRow]":
    from .models import JobRow

    return JobRow.objects.using(store.using).filter(backend=store.serves.backend)


def _required_id(result: Any) -> str:
    job_id = _id_of(result)
    if job_id is None:
        raise ValueError(f"{result!r} is no id of a result.")
    return job_id


# -- old tasks -------------------------------------------------------------------------------------


def prune(
    *,
    older_than: timedelta | None = None,
    retention: "Retention | None" = None,
    dry_run: bool = False,
    backend: Backend = DEFAULT_TASK_BACKEND_ALIAS,
) -> Pruned:
    """Delete tasks that ended long ago, in small batches; how many, by how they ended.

    older_than: one age for all; else by ``retention``, else by OPTIONS["retention"].
    dry_run: only count.
    """
    from .options import Retention

    one = backend_of(backend)
    if older_than is not None:
        retention = Retention(successful=older_than, failed=older_than, cancelled=older_than)
    pruner = Pruner(one.store, one.parsed.retention if retention is None else retention)
    now = timezone.now()
    if dry_run:
        return pruner.count(now=now)
    total = Pruned()
    for batch in pruner.batches(now=now):
        total = total.plus(batch)
    return total
