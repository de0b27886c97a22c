"""Recurring schedules in the database: ticked by all workers, each tick by one of them, once.

There is no leader. Each schedule has a row with the instant of its last tick. A worker moves that
forward, on the condition that nobody else has, in the transaction that enqueues; who comes second
finds the condition broken, and enqueues nothing.

The row also has the hash of the definition that it belongs to. During a deployment old and new
code run together, and whoever starts last has the row:

- A changed schedule begins anew, from now, when the first worker with the new definition starts;
  workers with the old one see a hash that is not theirs, and leave it alone.
- A schedule that is no longer defined keeps its row, whose ``next_tick`` is emptied by the next
  worker that starts. Workers that still define it go on until they are stopped. When it is defined
  again it begins anew, from then: what it missed meanwhile is not caught up with.
- A worker without any schedules leaves all rows alone, as where a few workers only have them.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import autodiscover_modules

from .engine import Job, decode, encode_follow_ups, lifecycle, policy_of, unique_key_of
from .engine.schedule_options import declared_schedules
from .engine.schedules import Schedule, due_ticks, next_due
from .engine.tasks import scheduled_tasks
from .framework import FrameworkTask
from .ids import new_id
from .models import ScheduleRow
from .resolve import UnknownTask, resolve
from .schedule_rows import ScheduleRows, as_given, as_utc
from .store import ORMStore
from .store.retries import contended

if TYPE_CHECKING:
    from .backend import DatabaseBackend

logger = logging.getLogger(__name__)


class Ticked(NamedTuple):
    """What `Schedules.tick` did.

    jobs: what it enqueued. To announce them, and to send the signals, is left to the caller.
    next_due: when to call it again; None when there are no schedules.
    """

    jobs: Sequence[Job]
    next_due: datetime | None


class Schedules:
    """The schedules of one worker, over the rows that it shares with the others.

    definitions: by name; see `tasks_database.engine.schedule_options`.
    store: where the jobs go; its backend alias is whose rows these are.

    Times are as Django's timezone.now() gives them. For one thread at a time.
    """

    def __init__(self, definitions: Mapping[str, Schedule], store: ORMStore) -> None:
        self._definitions = dict(definitions)
        self._store = store
        self._rows = ScheduleRows(store)
        self._left_alone: set[str] = set()

    @classmethod
    def of(cls, backend: "DatabaseBackend", store: ORMStore) -> Self:
        """Those of a worker of this backend; ScheduleError as from `defined_schedules`."""
        return cls(defined_schedules(backend), store)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread, which `contended` asks for."""
        return self._store.connection

    # -- at the start of a worker ----------------------------------------------------------

    @contended
    def sync(self, now: datetime) -> None:
        """Take over the rows: new and changed schedules begin now, others go on where they are."""
        if not self._definitions:
            return
        moment = as_utc(now)
        # Again where another worker came in between: one with the old definition may have ticked.
        while not self._take_over(moment):
            pass
        for name, row in self._rows.all().items():
            if name in self._definitions:
                self._check_clock(row, moment)
            elif row.next_tick is not None and self._rows.change(
                row, next_tick=None, updated_at=moment
            ):
                logger.info("Schedule %s is no longer defined.", name)

    def _take_over(self, moment: datetime) -> bool:
        """Whether all rows that were not those of these definitions are so now."""
        rows = self._rows.all()
        done = True
        for name, schedule in self._definitions.items():
            row = rows.get(name)
            if row is None:
                self._rows.insert(name, **_beginning(schedule, moment))
            elif (
                row.definition_hash != schedule.definition_hash
                or row.next_tick is None
                or row.last_tick is None
            ):
                if self._rows.change(row, **_beginning(schedule, moment)):
                    logger.info("Schedule %s has changed, or is back: it begins now.", name)
                else:
                    done = False
        return done

    def _check_clock(self, row: ScheduleRow, moment: datetime) -> None:
        last_tick = self._rows.last_tick(row)
        if last_tick is not None and last_tick > moment:
            logger.warning(
                "Schedule %s was ticked at %s, which is yet to come, so nothing is due before. If "
                "a clock was wrong then, delete its ScheduleRow: it begins anew.",
                row.name,
                last_tick,
            )

    # -- whenever something is due ---------------------------------------------------------

    def tick(self, now: datetime) -> Ticked:
        """Enqueue what is due and nobody else has enqueued, each schedule in a transaction.

        A schedule fails alone whose task cannot be imported or stored: that is logged, and tried
        again when it is due next. Errors of the connection are raised.
        """
        if not self._definitions:
            return Ticked((), None)
        moment = as_utc(now)
        jobs: list[Job] = []
        dues: list[datetime] = []
        rows = self._rows.all()
        for name, schedule in self._definitions.items():
            row = rows.get(name)
            if row is None:
                self._insert_again(schedule, moment)
                last_tick = None
            elif row.definition_hash != schedule.definition_hash:
                self._leave_alone(name)
                last_tick = None
            else:
                self._left_alone.discard(name)
                last_tick = self._tick_one(schedule, row, now, jobs)
            dues.append(next_due(schedule, last_tick, moment))
        return Ticked(jobs, as_given(min(dues), like=now))

    def _insert_again(self, schedule: Schedule, moment: datetime) -> None:
        logger.warning(
            "Schedule %s had no row, and begins now. If this is said again and again, the database "
            "takes its name for that of another schedule, as MySQL does in other case: rename one.",
            schedule.name,
        )
        self._rows.insert(schedule.name, **_beginning(schedule, moment))

    def _leave_alone(self, name: str) -> None:
        if name not in self._left_alone:
            self._left_alone.add(name)
            logger.warning(
                "Schedule %s is left to others: a worker that started later, with other code or "
                "settings, defines it differently. Restart this worker if that is not meant.",
                name,
            )

    def _tick_one(
        self, schedule: Schedule, row: ScheduleRow, now: datetime, jobs: list[Job]
    ) -> datetime | None:
        """Add to ``jobs`` what is due; the last tick as it is then, or None if that is unknown."""
        last_tick = self._rows.last_tick(row)
        ticks = due_ticks(schedule, last_tick, as_utc(now))
        if not ticks:
            return last_tick
        try:
            added = self._advance(row, schedule, ticks, now)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception(
                "Schedule %s could not enqueue %s. It is tried again when it is due next.",
                schedule.name,
                schedule.task_path,
            )
            return None
        if added is None:
            return None
        jobs += added
        return ticks[-1]

    @contended
    def _advance(
        self, row: ScheduleRow, schedule: Schedule, ticks: Sequence[datetime], now: datetime
    ) -> list[Job] | None:
        """Move the last tick forward and add a job for each; None when another worker has."""
        moment = as_utc(now)
        jobs = jobs_of(schedule, ticks, now=now)
        with self._store.atomic():
            # First, before anything is read: SQLite cannot turn a read into a write.
            if not self._rows.change(
                row,
                last_tick=ticks[-1],
                next_tick=next_due(schedule, ticks[-1], moment),
                updated_at=moment,
            ):
                return None
            stored = self._store.add(jobs)
        # Where a unique key is taken, the job that waits already stands for the new one.
        return [job for job, kept in zip(jobs, stored, strict=True) if kept is job]


def defined_schedules(backend: "DatabaseBackend") -> dict[str, Schedule]:
    """All schedules of a backend alias, by name: those of OPTIONS, and those that tasks declare.

    Tasks declare theirs when they are imported: the ``tasks`` modules of all apps are, here; others
    are the project's to import, in an AppConfig's ready().

    Raises ScheduleError for declarations that are wrong; what is wrong in OPTIONS is left out.
    """
    autodiscover_modules("tasks")
    declared = declared_schedules(
        map(_as_decorated, scheduled_tasks.values()),
        default_timezone=settings.TIME_ZONE,
        backend=backend.alias,
    )
    return declared | dict(backend.parsed.schedules)


def _as_decorated(task: FrameworkTask) -> FrameworkTask:
    """The task at its path; what was made of it since by using() is in the registry as well."""
    try:
        return resolve(task.module_path)
    except UnknownTask:
        return task


def _beginning(schedule: Schedule, moment: datetime) -> dict[str, Any]:
    """What the row of a schedule has that begins now."""
    return {
        "definition_hash": schedule.definition_hash,
        "task_path": schedule.task_path,
        "last_tick": moment,
        "next_tick": next_due(schedule, moment, moment),
        "updated_at": moment,
    }


def jobs_of(schedule: Schedule, ticks: Sequence[datetime], *, now: datetime) -> list[Job]:
    """One new job for each tick, as if somebody enqueued the task now.

    Its run_after is the tick: the task can tell by it which tick it runs for.
    Raises UnknownTask when the path of the schedule names no task.
    """
    task = resolve(schedule.task_path)
    policy = policy_of(task)
    args, kwargs = decode(schedule.payload)
    return [
        lifecycle.enqueue(
            id=new_id(),
            task_path=schedule.task_path,
            payload=schedule.payload,
            now=now,
            run_after=as_given(tick, like=now),
            backend=schedule.backend,
            queue_name=schedule.queue_name or task.queue_name,
            priority=task.priority if schedule.priority is None else schedule.priority,
            max_attempts=policy.max_attempts,
            max_rescues=policy.max_rescues,
            timeout=policy.timeout,
            unique_key=unique_key_of(task, args, kwargs),
            follow_ups=encode_follow_ups(task),
        )
        for tick in ticks
    ]
