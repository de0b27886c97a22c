"""The jobs of a block as rows of the test database: the store of production, in the mode database.

What a rollback takes away is gone, what is unique, limited or paused is so by the same statements
as in a worker. All on the connection of whoever calls, so inside the transaction of a TestCase.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import F
from django.db.utils import Error

from tasks_database.backend import DatabaseBackend
from tasks_database.engine import Job
from tasks_database.engine.store import Acknowledged
from tasks_database.ids import new_id
from tasks_database.rows import COLUMNS, TABLE, job_of, list_text
from tasks_database.serving import TaskLimits, serves_of
from tasks_database.store import ORMStore, Serves, store_for

from .framework import task_backends

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from tasks_database.models import JobRow

# Reading in a broken transaction, where pytest-django or a TestCase forbids the database, in a
# coroutine: what was last seen has to do then.
_UNREADABLE = (Error, RuntimeError, AssertionError, SynchronousOnlyOperation)

# Claims that bring nothing although something is ready: all that was in front had to wait.
_FRUITLESS = 1_000

# What workers cannot see yet, while one looks for work on the connection that can.
_HIDDEN = {"READY": "READY*", "DEFERRED": "DEFERRED*", "SUSPECT": "SUSPECT*"}


class _Place(NamedTuple):
    """Where the jobs of one backend alias are."""

    production: object
    store: ORMStore


class DatabaseStore:
    """See BlockStore. The rows count; ``jobs`` is what was last seen of them.

    is_committed: see MemoryStore.
    follows: told of a job that is enqueued because another one has ended, and of that one.
    adopts: told of a job that is in the table and was not enqueued through this store.

    What was in the table before is not looked at: the jobs of blocks around this one, and what a
    thread of an earlier test has left behind, on a connection that no TestCase rolls back.
    """

    takes_part = True
    new_id = staticmethod(new_id)

    def __init__(
        self,
        *,
        is_committed: Callable[[str], bool | None],
        follows: Callable[[Job, Job], object],
        adopts: Callable[[Job], object],
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self.undecided: dict[str, None] = {}
        self._is_committed = is_committed
        self._follows = follows
        self._adopts = adopts
        self._places: dict[str, _Place] = {}
        # Ids are made in order.
        self._first_id = new_id()
        # What workers could take of what was there before; None: nobody has looked yet.
        self._others: list[str] | None = None
        # What was to be deleted when the database could not be asked: not looked at, either.
        self._discarded: set[str] = set()

    # -- where -----------------------------------------------------------------------------

    def _store(self, alias: str) -> ORMStore:
        """The production store of this backend alias, with the limits of its settings."""
        backend: Any = task_backends[alias]
        production = getattr(backend, "stands_for", None)
        using: str = getattr(backend, "database", DEFAULT_DB_ALIAS)
        place = self._places.get(alias)
        if place is None or place.production is not production or place.store.using != using:
            serves = (
                serves_of(production)
                if isinstance(production, DatabaseBackend)
                else Serves(backend=alias, task_limits=TaskLimits(alias))
            )
            place = self._places[alias] = _Place(production, store_for(using, serves))
        return place.store

    def _stores(self, backends: Collection[str] | None) -> list[ORMStore]:
        aliases = task_backends.settings if backends is None else backends
        return [self._store(alias) for alias in aliases]

    def _rows(self, using: str) -> "QuerySet[JobRow]":
        from tasks_database.models import JobRow

        return JobRow.objects.using(using)

    def _row(self, job_id: str) -> "QuerySet[JobRow]":
        return self._rows(self._store(self.jobs[job_id].backend).using).filter(pk=job_id)

    # -- adding and forgetting -------------------------------------------------------------

    def add(self, jobs: Sequence[Job], *, committed: bool) -> Sequence[Job]:
        if not jobs:
            return jobs
        standing = self._store(jobs[0].backend).add(jobs)
        for job, kept in zip(jobs, standing, strict=True):
            if kept is not job:
                self._see(kept)
                continue
            # In place: nobody has seen it yet. Rows have the order of their ids.
            object.__setattr__(job, "sequence", int(job.id.replace("-", ""), 16))
            self.jobs[job.id] = job
            if not committed:
                self.undecided[job.id] = None
        return standing

    def add_one(self, job: Job, *, committed: bool) -> Job:
        return self.add((job,), committed=committed)[0]

    def replace(self, job: Job) -> None:
        self._row(job.id).update(failures=job.failures, worker_ids=list_text(job.worker_ids))
        self.jobs[job.id] = job

    def discard(self, job_id: str) -> None:
        try:
            self._row(job_id).delete()
        except _UNREADABLE:
            self._discarded.add(job_id)
        self.jobs.pop(job_id, None)
        self.undecided.pop(job_id, None)

    def close(self) -> None:
        """Delete the rows, where no transaction of a test will take them away."""
        by_database: dict[str, list[str]] = {}
        for job in self.jobs.values():
            using = self._places[job.backend].store.using if job.backend in self._places else None
            if using is not None and not connections[using].in_atomic_block:
                by_database.setdefault(using, []).append(job.id)
        for using, ids in by_database.items():
            with suppress(*_UNREADABLE):
                self._rows(using).filter(pk__in=ids).delete()

    def absorb(self, other: "DatabaseStore") -> None:
        """Take over what ``other`` knows; the rows are in one table anyway."""
        self.jobs.update(other.jobs)
        self.undecided.update(other.undecided)

    # -- looking ---------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        job = self._store(self.jobs[job_id].backend).get(job_id)
        if job is not None:
            self.jobs[job_id] = job
        return job

    def refresh(self) -> Collection[str]:
        found: set[str] = set()
        unread: set[str] = set()
        for using, aliases in self._aliases_by_database().items():
            try:
                jobs = self._read(self._rows(using).filter(backend__in=aliases))
            except _UNREADABLE:
                unread.update(aliases)
                continue
            for job in jobs:
                found.add(job.id)
                self._see(job)
        return {
            job.id
            for job in self.jobs.values()
            if job.id not in found and job.backend not in unread
        }

    def _read(self, rows: "QuerySet[JobRow]") -> list[Job]:
        """The jobs of these rows, in the order of enqueueing."""
        ours = rows.filter(pk__gte=self._first_id).exclude(pk__in=self._discarded).order_by("pk")
        return [job_of((str(row[0]), *row[1:])) for row in ours.values_list(*COLUMNS)]

    def _aliases_by_database(
        self, backends: Collection[str] | None = None
    ) -> Mapping[str, list[str]]:
        by_database: dict[str, list[str]] = {}
        for store in self._stores(backends):
            by_database.setdefault(store.using, []).append(store.serves.backend)
        return by_database

    def _see(self, job: Job) -> Job:
        if job.id not in self.jobs:
            self._adopts(job)
        self.jobs[job.id] = job
        return job

    def deferred(self, *, backends: Collection[str] | None = None) -> list[Job]:
        hidden = self._hidden()
        waiting = [
            (job.due, -job.priority, job.sequence, job)
            for using, aliases in self._aliases_by_database(backends).items()
            for job in self._read(self._rows(using).filter(backend__in=aliases, status="DEFERRED"))
            if job.due is not None and job.id not in hidden
        ]
        for *_, job in waiting:
            self._see(job)
        return [job for *_, job in sorted(waiting, key=lambda item: item[:3])]

    def next_due(self, *, backends: Collection[str] | None = None) -> datetime | None:
        instants = []
        with self._hiding(backends):
            for store in self._stores(backends):
                # Who waits for a limit is woken when there is room: its own due time is a guess.
                rows = store.fetch(
                    f"SELECT min(due) FROM {TABLE} WHERE status = 'DEFERRED' "  # noqa: S608 - our own name
                    "AND backend = %s AND waits_for IS NULL",
                    [store.serves.backend],
                )
                instants.append(store.restore(rows[0][0]))
                if store.serves.has_limits:
                    instants.append(store.limits.next_wake())
        return min((instant for instant in instants if instant is not None), default=None)

    # -- handing out -----------------------------------------------------------------------

    def promote(self, *, now: datetime, backends: Collection[str] | None = None) -> int:
        with self._hiding(backends):
            return sum(store.promote(now=now) for store in self._stores(backends))

    def claim(
        self,
        *,
        worker_id: str,
        limit: int,
        now: datetime,
        backends: Collection[str] | None = None,
    ) -> Sequence[Job]:
        claimed: list[Job] = []
        fruitless = 0
        with self._hiding(backends):
            while len(claimed) < limit and fruitless < _FRUITLESS:
                store = self._first_with_work(backends)
                if store is None:
                    break
                jobs = store.claim(worker_id=worker_id, limit=1, now=now)
                fruitless = 0 if jobs else fruitless + 1
                claimed += map(self._see, jobs)
        return claimed

    def _first_with_work(self, backends: Collection[str] | None) -> ORMStore | None:
        """The store whose first ready job is before those of the others in the order of claims."""
        first: tuple[tuple[Any, ...], ORMStore] | None = None
        for store in self._stores(backends):
            ready, params = store._ready_sql(None)  # noqa: SLF001 - as its claims look
            for rank, job_id in store.fetch(f"SELECT rank, id {ready}", [*params, 1]):
                place = (rank, store.id_out(job_id))
                if first is None or place < first[0]:
                    first = place, store
        return None if first is None else first[1]

    def claim_job(self, job_id: str, *, worker_id: str) -> Sequence[Job]:
        ready = self._row(job_id).filter(status="READY")
        claimed = ready.update(
            status="CLAIMED",
            owner=worker_id,
            claim_number=F("claim_number") + 1,
            unique_lock=None,
        )
        job = self.get(job_id) if claimed else None
        return () if job is None else (job,)

    # -- what a worker writes --------------------------------------------------------------

    def start(self, started: Job) -> bool:
        accepted = self._store(started.backend).start(started)
        if accepted:
            self.jobs[started.id] = started
        return accepted

    def acknowledge(self, outcomes: Sequence[Job]) -> Acknowledged:
        accepted: list[str] = []
        enqueued: list[Job] = []
        for job in outcomes:
            stored = self._store(job.backend).acknowledge((job,))
            accepted += stored.accepted
            if stored.accepted:
                self.jobs[job.id] = job
            for following in stored.enqueued:
                self.jobs[following.id] = following
                if job.id in self.undecided:
                    self.undecided[following.id] = None
                self._follows(job, following)
            enqueued += stored.enqueued
        return Acknowledged(accepted, enqueued)

    def release(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._store(job.backend).release((job,))
            self.get(job.id)

    # -- what cannot be seen ---------------------------------------------------------------

    def _hidden(self) -> Collection[str]:
        """The ids of what a worker could not see, or that is not of this block."""
        for job_id in list(self.undecided):
            if self._is_committed(job_id) is not None:
                del self.undecided[job_id]
        if self._others is None:
            self._others = [
                str(job_id)
                for using in self._aliases_by_database()
                for job_id in self._rows(using)
                .filter(pk__lt=self._first_id, status__in=_HIDDEN)
                .values_list("pk", flat=True)
            ]
        return {*self.undecided, *self._others, *self._discarded}

    @contextmanager
    def _hiding(self, backends: Collection[str] | None) -> Iterator[None]:
        """For the block, no statement finds what a worker on another connection would not see."""
        hidden = self._hidden()
        if not hidden:
            yield
            return
        databases = {store.using for store in self._stores(backends)}
        for shown, mark in _HIDDEN.items():
            for using in databases:
                self._rows(using).filter(pk__in=hidden, status=shown).update(status=mark)
        try:
            yield
        finally:
            for shown, mark in _HIDDEN.items():
                for using in databases:
                    self._rows(using).filter(pk__in=hidden, status=mark).update(status=shown)
