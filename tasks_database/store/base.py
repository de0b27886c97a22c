"""The engine's Store over the database, as far as it is the same everywhere.

One object serves any thread: it asks for the thread's own connection at each call. Nothing here
reads a clock; every time is an argument. A subclass adds what is said differently by a database.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks_database.engine import Job, JobStatus, follow_ups, rescue_all
from tasks_database.engine.framework import TaskError
from tasks_database.engine.store import Acknowledged
from tasks_database.ids import new_id
from tasks_database.rows import (
    COLUMNS,
    DATETIMES,
    NEW_COLUMNS,
    STATE_COLUMNS,
    SUCCESS_COLUMNS,
    TABLE,
    job_of,
    new_row,
    state_row,
    success_row,
)

from .limits import Limits
from .retries import contended
from .serves import Serves

WORKERS = "tasks_database_workerrow"
PAUSED = "tasks_database_pausedqueue"

# How many rows one statement changes at the most, and how many characters it carries.
GROUP = 500
GROUP_CHARACTERS = 2_000_000

_DATETIME_PLACES = tuple(place for place, name in enumerate(COLUMNS) if name in DATETIMES)
_START_COLUMNS = ("status", "worker_ids", "started_at", "last_attempted_at")


class Peek(NamedTuple):
    """What one look tells an idle worker."""

    ready: bool
    suspects: bool
    next_due: datetime | None


class WorkerInfo(NamedTuple):
    """What a worker says of itself when it registers; see WorkerRow."""

    id: str
    name: str
    hostname: str
    pid: int
    threads: int


class ORMStore:
    """See `tasks_database.engine.Store`; what is fenced is fenced by the number of the claim.

    using: the alias of the database.
    serves: whose jobs are handed out.
    """

    # SQL of one placeholder for an id, and of the id column where it is read.
    id_placeholder: ClassVar[str] = "%s"
    id_column: ClassVar[str] = "id"
    for_update: ClassVar[str] = ""
    skip_locked: ClassVar[str] = ""

    def __init__(self, using: str, serves: Serves | None = None) -> None:
        self.using = using
        self.serves = serves or Serves()
        self._turn = 0
        self._paused: frozenset[str] = frozenset()
        self._limits = Limits(self)
        self.columns = ", ".join([self.id_column, *COLUMNS[1:]])

    # -- the connection --------------------------------------------------------------------

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self.using]

    def atomic(self) -> AbstractContextManager[Any]:
        """A transaction, or a savepoint in one that is open."""
        return transaction.atomic(using=self.using)

    def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def change(self, sql: str, params: Sequence[Any] = ()) -> int:
        """How many rows were changed."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    # -- values ----------------------------------------------------------------------------

    def adapt(self, moment: datetime) -> Any:
        """A datetime as the driver takes it."""
        return self.connection.ops.adapt_datetimefield_value(moment)

    def adapter(self) -> Callable[[datetime], Any]:
        """`adapt` for many values."""
        return self.adapt

    def restore(self, value: Any) -> datetime | None:
        """A datetime as Django shows it, from what the driver gave."""
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        moment: datetime = value
        if settings.USE_TZ and moment.tzinfo is None:
            return moment.replace(tzinfo=self.connection.timezone or UTC)
        return moment

    def id_in(self, job_id: str) -> str:
        return job_id

    def id_out(self, stored: Any) -> str:
        return str(stored)

    def jobs_of(self, rows: Sequence[Sequence[Any]]) -> list[Job]:
        """The jobs of rows with `columns`, as they came from the driver."""
        jobs = []
        zone = (self.connection.timezone or UTC) if settings.USE_TZ else None
        for row in rows:
            values = list(row)
            values[0] = self.id_out(values[0])
            for place in _DATETIME_PLACES:
                value = values[place]
                if value is not None:
                    if isinstance(value, str):
                        value = datetime.fromisoformat(value)
                    values[place] = value if zone is None else value.replace(tzinfo=zone)
            jobs.append(job_of(values))
        return jobs

    def in_order(self, rows: list[tuple[Any, ...]]) -> list[Job]:
        """The claimed rows as jobs, in the order of claims."""
        rank = COLUMNS.index("rank")
        rows.sort(key=lambda row: (row[rank], str(row[0])))
        return self.jobs_of(rows)

    def ids(self, count: int) -> str:
        """SQL of a list of so many ids."""
        return f"({', '.join([self.id_placeholder] * count)})"

    # -- adding ----------------------------------------------------------------------------

    @contended
    def add(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Store new jobs; the jobs that stand for them, in order.

        For one whose unique key is taken that is the job that waits with this key.
        """
        if not any(job.unique_key for job in jobs):
            self._insert(jobs)
            return jobs
        with self.atomic():
            return [self._add_unique(job) if job.unique_key else self._add_one(job) for job in jobs]

    def _add_one(self, job: Job) -> Job:
        self._insert((job,))
        return job

    def _add_unique(self, job: Job) -> Job:
        lock = unique_lock(job)
        row = self._new_row(job, self.adapter(), lock)
        # A worker may claim the one that waits between the two statements: then try again.
        while True:
            if self._insert_unless_taken(row):
                return job
            rows = self.fetch(f"SELECT {self.columns} FROM {TABLE} WHERE unique_lock = %s", [lock])
            if rows:
                return self.jobs_of(rows)[0]

    def _new_row(
        self, job: Job, adapt: Callable[[datetime], Any], lock: str | None = None
    ) -> tuple[Any, ...]:
        row = new_row(job, adapt, unique_lock=lock)
        return (self.id_in(row[0]), *row[1:])

    def _insert(self, jobs: Sequence[Job]) -> None:
        adapt = self.adapter()
        rows = [self._new_row(job, adapt) for job in jobs]
        if len(rows) == 1:
            self.change(self._insert_sql(), rows[0])
        elif rows:
            self._insert_many(rows)

    def _insert_sql(self, count: int = 1) -> str:
        values = ", ".join([self.id_placeholder] + ["%s"] * (len(NEW_COLUMNS) - 1))
        many = ", ".join([f"({values})"] * count)
        return f"INSERT INTO {TABLE} ({', '.join(NEW_COLUMNS)}) VALUES {many}"

    def _insert_many(self, rows: list[tuple[Any, ...]]) -> None:
        with self.atomic(), self.connection.cursor() as cursor:
            cursor.executemany(self._insert_sql(), rows)

    def _insert_unless_taken(self, row: tuple[Any, ...]) -> bool:
        """Whether the row was inserted; not when another has its unique_lock."""
        return self.change(f"{self._insert_sql()} ON CONFLICT DO NOTHING", row) == 1

    # -- looking ---------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        rows = self.fetch(
            f"SELECT {self.columns} FROM {TABLE} WHERE id = {self.id_placeholder}",
            [self.id_in(job_id)],
        )
        return self.jobs_of(rows)[0] if rows else None

    def next_due(self) -> datetime | None:
        rows = self.fetch(f"SELECT min(due) FROM {TABLE} WHERE status = 'DEFERRED'")
        return self.restore(rows[0][0])

    @contended
    def peek(self) -> Peek:
        """Whether there is something to claim, and when the next deferred job is due."""
        backend, queues = self.serves.backend, self.serves.queues
        condition, params = "", [backend]
        if queues is not None:
            condition = f" AND queue_name IN ({', '.join(['%s'] * len(queues))})"
            params += queues
        rows = self.fetch(
            f"""SELECT
                EXISTS (SELECT 1 FROM {TABLE} WHERE status = 'READY' AND backend = %s{condition}),
                EXISTS (SELECT 1 FROM {TABLE} WHERE status = 'SUSPECT' AND backend = %s{condition}),
                (SELECT min(due) FROM {TABLE} WHERE status = 'DEFERRED')""",
            [*params, *params],
        )
        ready, suspects, due = rows[0]
        if ready and (self._paused or self.serves.exclude):
            # What is ready may be of a queue that is left alone.
            self.learn_paused()
            ready = bool(self._queues_with_work())
        return Peek(bool(ready), bool(suspects), self.restore(due))

    # -- promoting -------------------------------------------------------------------------

    @contended
    def promote(self, *, now: datetime) -> int:
        promoted = 0
        while True:
            count = self._promote_some(self.adapt(now))
            promoted += count
            if count < GROUP:
                return promoted

    _PROMOTED = "status = 'READY', due = NULL, waits_for = NULL"

    def _promote_some(self, now: Any) -> int:
        return self.change(
            f"""UPDATE {TABLE} SET {self._PROMOTED} WHERE id IN (
                SELECT id FROM {TABLE} WHERE status = 'DEFERRED' AND due <= %s
                ORDER BY due LIMIT {GROUP}{self.skip_locked})
                AND status = 'DEFERRED'""",
            [now],
        )

    # -- claiming --------------------------------------------------------------------------

    @contended
    def claim(self, *, worker_id: str, limit: int, now: datetime) -> Sequence[Job]:
        limit = min(limit, GROUP)
        if not self.serves.has_limits:
            return self._claim(worker_id, limit)
        with self.atomic():
            return self._limits.keep(self._claim(worker_id, limit), now=now)

    def _claim(self, worker_id: str, limit: int) -> list[Job]:
        if self.serves.queues is not None and len(self.serves.queues) == 1:
            return self._claim_from(self.serves.queues[0], worker_id, limit)
        if self.serves.queues is None and not self._paused and not self.serves.exclude:
            return self._claim_from(None, worker_id, limit)
        jobs: list[Job] = []
        names = self._queues_with_work()
        # Queues take turns in being first.
        self._turn += 1
        turn = self._turn % len(names) if names else 0
        for name in (*names[turn:], *names[:turn]):
            if len(jobs) < limit:
                jobs += self._claim_from(name, worker_id, limit - len(jobs))
        return jobs

    def _queues_with_work(self) -> list[str]:
        """The queues that are served, are not paused, and have something ready."""
        backend = self.serves.backend
        if self.serves.queues is not None:
            names = [name for name in self.serves.queues if name not in self._paused]
            if not names:
                return []
            # One by one: with IN (...) no database walks an index in the order of claims.
            one = (
                f"SELECT %s AS name WHERE EXISTS (SELECT 1 FROM {TABLE} WHERE status = 'READY' "
                "AND backend = %s AND queue_name = %s)"
            )
            params = [value for name in names for value in (name, backend, name)]
            return [name for (name,) in self.fetch(" UNION ALL ".join([one] * len(names)), params)]
        first = f"SELECT min(queue_name) FROM {TABLE} WHERE status = 'READY' AND backend = %s"
        rows = self.fetch(
            f"""WITH RECURSIVE names (name) AS (
                {first} UNION ALL
                SELECT ({first} AND queue_name > names.name) FROM names
                WHERE names.name IS NOT NULL)
                SELECT name FROM names WHERE name IS NOT NULL""",
            [backend, backend],
        )
        avoided = {*self.serves.exclude, *self._paused}
        return [name for (name,) in rows if name not in avoided]

    # Pausing holds from the moment it is committed: a worker that has not heard of it asks here.
    _NOT_PAUSED = (
        f" AND NOT EXISTS (SELECT 1 FROM {PAUSED} p"
        f" WHERE p.backend = {TABLE}.backend AND p.queue_name = {TABLE}.queue_name)"
    )
    _CLAIMED = "status = 'CLAIMED', owner = %s, claim_number = claim_number + 1, unique_lock = NULL"

    def _ready_sql(self, queue_name: str | None, status: str = "READY") -> tuple[str, list[Any]]:
        """SQL of the conditions and the order of a claim, and its parameters but the limit."""
        condition, params = "", [self.serves.backend]
        if queue_name is not None:
            condition = " AND queue_name = %s"
            params.append(queue_name)
        sql = (
            f"FROM {TABLE} WHERE status = '{status}' AND backend = %s{condition}{self._NOT_PAUSED}"
            " ORDER BY rank, id LIMIT %s"
        )
        return sql, params

    def _claim_from(
        self,
        queue_name: str | None,
        worker_id: str,
        limit: int,
        status: str = "READY",
    ) -> list[Job]:
        """Claim from one queue, or from any, in the order of claims."""
        raise NotImplementedError

    @contended
    def claim_suspect(self, *, worker_id: str) -> Job | None:
        """One suspect, now CLAIMED, or None when there is none."""
        names: Sequence[str | None] = self.serves.queues or (None,)
        for name in names:
            jobs = self._claim_from(name, worker_id, 1, "SUSPECT")
            if jobs:
                return jobs[0]
        return None

    # -- what a worker writes --------------------------------------------------------------

    def start(self, started: Job) -> bool:
        return bool(self.start_many((started,)))

    @contended
    def start_many(self, started: Sequence[Job]) -> Sequence[str]:
        """Store these claimed jobs as RUNNING; the ids of those that were not fenced out."""
        adapt = self.adapter()
        places = [STATE_COLUMNS.index(name) for name in _START_COLUMNS]
        rows = []
        for job in started:
            values = state_row(job, adapt)
            rows.append(tuple(values[place] for place in places))
        return self._update(started, _START_COLUMNS, rows, {})

    @contended
    def acknowledge(self, outcomes: Sequence[Job]) -> Acknowledged:
        """Store how attempts ended, with all that follows from it, in one transaction."""
        succeeded = [job for job in outcomes if job.status is JobStatus.SUCCESSFUL]
        others = [job for job in outcomes if job.status is not JobStatus.SUCCESSFUL]
        simple = not (succeeded and others) and not any(
            job.follow_ups or job.slots for job in outcomes
        )
        if simple:
            return Acknowledged(self._store(succeeded, others), ())
        with self.atomic():
            accepted = self._store(succeeded, others)
            kept = frozenset(accepted)
            ended = [job for job in outcomes if job.id in kept]
            self._limits.free(ended)
            following = [
                job
                for parent in ended
                if parent.finished_at is not None
                for job in follow_ups(parent, now=parent.finished_at, new_id=lambda _: new_id())
            ]
            self._insert(following)
            return Acknowledged(accepted, following)

    def _store(self, succeeded: Sequence[Job], others: Sequence[Job]) -> list[str]:
        adapt = self.adapter()
        accepted: list[str] = []
        if succeeded:
            fixed = {"status": "'SUCCESSFUL'", "owner": "NULL", "suspect": "FALSE"}
            if any(job.slots for job in succeeded):
                fixed["slots"] = "NULL"
            rows = [success_row(job, adapt) for job in succeeded]
            accepted += self._update(succeeded, SUCCESS_COLUMNS, rows, fixed)
        if others:
            rows = [_state_after(job, adapt) for job in others]
            accepted += self._update(others, STATE_COLUMNS, rows, {})
        return accepted

    def _update(
        self,
        jobs: Sequence[Job],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        fixed: Mapping[str, str],
    ) -> list[str]:
        """Set ``columns`` to each job's row and ``fixed``, in SQL, for all.

        Fenced: only where the job is still held under its claim number. The ids that were changed.
        """
        raise NotImplementedError

    def _fence(self, jobs: Sequence[Job]) -> set[str]:
        """The ids of those that are still held under their claim numbers; locked until the end."""
        numbers = {job.id: job.claim_number for job in jobs}
        found: set[str] = set()
        for group in _groups(list(numbers), GROUP):
            rows = self.fetch(
                f"SELECT {self.id_column}, claim_number FROM {TABLE} "
                f"WHERE id IN {self.ids(len(group))} AND owner IS NOT NULL{self.for_update}",
                [self.id_in(job_id) for job_id in group],
            )
            for stored, number in rows:
                job_id = self.id_out(stored)
                if numbers[job_id] == number:
                    found.add(job_id)
        return found

    @contended
    def release(self, jobs: Sequence[Job]) -> None:
        with self.atomic():
            held = self._fence(jobs)
            given_back = [job for job in jobs if job.id in held]
            for group in _groups(given_back, GROUP):
                self.change(
                    f"UPDATE {TABLE} SET owner = NULL, slots = NULL, "
                    "status = CASE WHEN suspect THEN 'SUSPECT' ELSE 'READY' END "
                    f"WHERE id IN {self.ids(len(group))}",
                    [self.id_in(job.id) for job in group],
                )
            self._limits.free(given_back)

    # -- workers ---------------------------------------------------------------------------

    @contended
    def register(self, worker: WorkerInfo, *, now: datetime) -> None:
        """A worker process begins: nothing may be claimed under its id before."""
        self.change(
            f"INSERT INTO {WORKERS} (id, name, backend, hostname, pid, queues, threads, "
            "started_at, beats, last_beat_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, %s)",
            [
                worker.id,
                worker.name,
                self.serves.backend,
                worker.hostname,
                worker.pid,
                json.dumps(self.serves.queues),
                worker.threads,
                self.adapt(now),
                self.adapt(now),
            ],
        )

    @contended
    def heartbeat(self, worker_id: str, *, now: datetime) -> bool:
        """Say that the worker lives; False when it was declared dead, and must end.

        Also learns which queues are paused.
        """
        alive = self.change(
            f"UPDATE {WORKERS} SET beats = beats + 1, last_beat_at = %s WHERE id = %s",
            [self.adapt(now), worker_id],
        )
        self.learn_paused()
        return alive == 1

    def learn_paused(self) -> None:
        """Look up which queues are paused, to skip them cheaply from now on."""
        rows = self.fetch(
            f"SELECT queue_name FROM {PAUSED} WHERE backend = %s", [self.serves.backend]
        )
        self._paused = frozenset(name for (name,) in rows)

    @contended
    def deregister(self, worker_id: str) -> None:
        """A worker has ended in order, and holds nothing."""
        self.change(f"DELETE FROM {WORKERS} WHERE id = %s", [worker_id])

    @contended
    def beats(self) -> dict[str, int]:
        """The heartbeat counter of each worker."""
        return dict(self.fetch(f"SELECT id, beats FROM {WORKERS}"))

    @contended
    def orphans(self) -> list[str]:
        """Owners of jobs that are no workers: a claim that came after its worker was given up."""
        # In this order: a worker registers before it claims.
        owners = self.fetch(f"SELECT DISTINCT owner FROM {TABLE} WHERE owner IS NOT NULL")
        if not owners:
            return []
        known = self.beats()
        return [owner for (owner,) in owners if owner not in known]

    @contended
    def rescue(
        self, worker_id: str, *, beats: int | None, error: Callable[[str], TaskError], now: datetime
    ) -> list[Job]:
        """Take all jobs of a dead worker, and its row; the jobs as they are now.

        beats: the counter that stood still; a worker that has beaten since is left alone. None:
        it is known to be dead, or has no row.
        error: makes the TaskError of a job that is not delivered again, from the words that say
        which worker died and when it was last heard.
        """
        with self.atomic():
            who = self._bury(worker_id, beats)
            if who is None:
                return []
            rows = self.fetch(
                f"SELECT {self.columns} FROM {TABLE} WHERE owner = %s{self.for_update}",
                [worker_id],
            )
            held = self.in_order(rows)
            rescued = rescue_all(held, error=error(who), now=now)
            adapt = self.adapter()
            values = [_state_after(job, adapt) for job in rescued]
            self._update(rescued, STATE_COLUMNS, values, {})
            self._limits.free(held)
            final = [job for job in rescued if job.status.is_final]
            self._insert(
                [
                    job
                    for parent in final
                    for job in follow_ups(parent, now=now, new_id=lambda _: new_id())
                ]
            )
            return rescued

    def _bury(self, worker_id: str, beats: int | None) -> str | None:
        """Remove the worker's row; words on who it was, or None when it is not to be buried."""
        rows = self.fetch(
            f"SELECT name, hostname, pid, last_beat_at, beats FROM {WORKERS} WHERE id = %s",
            [worker_id],
        )
        if not rows:
            return None if beats is not None else f"Worker {worker_id}, which is not registered,"
        name, hostname, pid, last_beat_at, seen = rows[0]
        # A write first: SQLite cannot turn a read into a write while others write.
        gone = self.change(
            f"DELETE FROM {WORKERS} WHERE id = %s AND beats = %s",
            [worker_id, seen if beats is None else beats],
        )
        if not gone:
            return None
        heard = self.restore(last_beat_at)
        return (
            f"Worker {name} (process {pid} on {hostname}), last heard at "
            f"{heard:%Y-%m-%d %H:%M:%S %Z}".rstrip()
            + ","
        )


def _state_after(job: Job, adapt: Callable[[datetime], Any]) -> tuple[Any, ...]:
    """The row of a job whose claim has ended: whatever slots it had are free."""
    values = list(state_row(job, adapt))
    values[STATE_COLUMNS.index("slots")] = None
    return tuple(values)


def unique_lock(job: Job) -> str:
    """What may be in the table once: a digest of the backend, the task and the key."""
    text = "\0".join((job.backend, job.task_path, job.unique_key or ""))
    return hashlib.sha256(text.encode()).hexdigest()


def _groups[T](values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def sized_groups(
    jobs: Sequence[Job], rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[list[Job], list[tuple[Any, ...]]]]:
    """Jobs and rows in groups of at most GROUP, and of about GROUP_CHARACTERS of text."""
    group: list[Job] = []
    values: list[tuple[Any, ...]] = []
    characters = 0
    for job, row in zip(jobs, rows, strict=True):
        size = sum(len(value) for value in row if isinstance(value, str))
        if group and (len(group) >= GROUP or characters + size > GROUP_CHARACTERS):
            yield group, values
            group, values, characters = [], [], 0
        group.append(job)
        values.append(row)
        characters += size
    if group:
        yield group, values
