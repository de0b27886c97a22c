"""Handing jobs out: what is due becomes ready, what is ready is claimed in order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError

from tasks_database.engine import Job
from tasks_database.rows import TABLE

from .adds import Adds
from .groups import GROUP
from .limits import WOKEN, Limits
from .retries import contended
from .serves import Serves

PAUSED = "tasks_database_pausedqueue"

# How many claims are tried, one after the other, when all that they bring has to wait.
_CLAIMS = 20


class Peek(NamedTuple):
    """What one look tells an idle worker."""

    ready: bool
    suspects: bool
    next_due: datetime | None


class Claims(Adds):
    """The part of a store that hands jobs out."""

    def __init__(self, using: str, serves: Serves | None = None) -> None:
        super().__init__(using, serves)
        self.limits = Limits(self)
        self._turn = 0
        # The queues that were paused when it was last looked up.
        self._paused: frozenset[str] = frozenset()

    # -- looking ---------------------------------------------------------------------------

    @contended
    def next_due(self) -> datetime | None:
        rows = self.fetch(f"SELECT min(due) FROM {TABLE} WHERE status = 'DEFERRED'")
        return self._or_wake(self.restore(rows[0][0]))

    def _or_wake(self, due: datetime | None) -> datetime | None:
        if not self.serves.has_limits:
            return due
        instants = (due, self.limits.next_wake())
        return min((moment for moment in instants if moment is not None), default=None)

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
        return Peek(
            bool(ready),
            bool(suspects and self._queues_with_suspects()),
            self._or_wake(self.restore(due)),
        )

    def learn_paused(self) -> None:
        """Look up which queues are paused, to skip them cheaply from now on."""
        rows = self.fetch(
            f"SELECT queue_name FROM {PAUSED} WHERE backend = %s", [self.serves.backend]
        )
        self._paused = frozenset(name for (name,) in rows)

    # -- promoting -------------------------------------------------------------------------

    @contended
    def promote(self, *, now: datetime) -> int:
        """Make ready what is due, of all backend aliases, and what a limit lets start."""
        promoted = self.limits.wake(now=now) if self.serves.has_limits else 0
        while True:
            count = self._promote_some(self.adapt(now))
            promoted += count
            if count < GROUP:
                return promoted

    def _promote_some(self, now: Any) -> int:
        return self.change(
            f"""UPDATE {TABLE} SET {WOKEN} WHERE id IN (
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
        # Those in front may all have to wait, and be in the way of others no longer.
        for _ in range(_CLAIMS):
            with self.atomic():
                claimed = self._claim(worker_id, limit)
                kept = self.limits.keep(claimed, now=now)
            if kept or not claimed:
                return kept
        return []

    def _claim(self, worker_id: str, limit: int) -> list[Job]:
        jobs = self._claim_in_turn(worker_id, limit)
        if not jobs:
            # It was called because something is ready: it may be of a queue that is paused now,
            # or is no more.
            paused = self._paused
            self.learn_paused()
            if paused - self._paused:
                jobs = self._claim_in_turn(worker_id, limit)
        return jobs

    def _claim_in_turn(self, worker_id: str, limit: int) -> list[Job]:
        jobs: list[Job] = []
        for name in self._queues_to_claim_from():
            if len(jobs) >= limit:
                break
            try:
                jobs += self._claim_from(name, worker_id, limit - len(jobs))
            except (OperationalError, InterfaceError):
                if not jobs or self.connection.in_atomic_block:
                    raise
                break  # Those of the queues before are this worker's already.
        return jobs

    def _queues_to_claim_from(self) -> Sequence[str | None]:
        """In turns; None stands for any queue."""
        queues = self.serves.queues
        if queues is None and not self._paused and not self.serves.exclude:
            return (None,)
        if queues is not None and len(queues) == 1:
            return tuple(name for name in queues if name not in self._paused)
        names = self._queues_with_work()
        self._turn += 1
        turn = self._turn % len(names) if names else 0
        return (*names[turn:], *names[:turn])

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
        return self._not_left_alone(self._all_queues_with_work())

    def _all_queues_with_work(self) -> list[str]:
        """By jumps from one to the next, whatever is in between."""
        first = f"SELECT min(queue_name) FROM {TABLE} WHERE status = 'READY' AND backend = %s"
        rows = self.fetch(
            f"""WITH RECURSIVE names (name) AS (
                {first} UNION ALL
                SELECT ({first} AND queue_name > names.name) FROM names
                WHERE names.name IS NOT NULL)
                SELECT name FROM names WHERE name IS NOT NULL""",
            [self.serves.backend, self.serves.backend],
        )
        return [name for (name,) in rows]

    def _queues_with_suspects(self) -> list[str]:
        """The same for suspects, of which there are few; pauses as they are now."""
        rows = self.fetch(
            f"SELECT DISTINCT queue_name FROM {TABLE} WHERE status = 'SUSPECT' AND backend = %s"
            f"{self._NOT_PAUSED}",
            [self.serves.backend],
        )
        queues = self.serves.queues
        names = [name for (name,) in rows if queues is None or name in queues]
        return names if queues is not None else self._not_left_alone(names)

    def _not_left_alone(self, names: Sequence[str]) -> list[str]:
        avoided = {*self.serves.exclude, *self._paused}
        return [name for name in names if name not in avoided]

    # Pausing holds from the moment it is committed: a worker that has not heard of it asks here.
    _NOT_PAUSED = (
        f" AND NOT EXISTS (SELECT 1 FROM {PAUSED} p"
        f" WHERE p.backend = {TABLE}.backend AND p.queue_name = {TABLE}.queue_name)"
    )

    @property
    def _claimed(self) -> str:
        """SQL of the changes of a claim."""
        sql = "status = 'CLAIMED', owner = %s, claim_number = claim_number + 1"
        # A job that must wait for a limit still waits: then `Limits.keep` does it for the others.
        return sql if self.serves.has_limits else f"{sql}, unique_lock = NULL"

    def _ready_sql(self, queue_name: str | None, status: str = "READY") -> tuple[str, list[Any]]:
        """SQL of the conditions and the order of a claim, and its parameters but the limit."""
        backend = self.serves.backend
        if queue_name is None:
            condition, params = self._NOT_PAUSED, [backend]
        else:
            # Apart from the rows: PostgreSQL would expect that it leaves none, and read them all.
            condition = (
                f" AND queue_name = %s AND NOT EXISTS (SELECT 1 FROM {PAUSED} "
                "WHERE backend = %s AND queue_name = %s)"
            )
            params = [backend, queue_name, backend, queue_name]
        sql = (
            f"FROM {TABLE}{self._index_hint(queue_name)} "
            f"WHERE status = '{status}' AND backend = %s{condition}"
            f" ORDER BY {TABLE}.rank, {TABLE}.id LIMIT %s"
        )
        return sql, params

    def _index_hint(self, queue_name: str | None) -> str:  # noqa: ARG002
        """SQL that names the index of a claim, where a database would choose another one."""
        return ""

    def _claim_from(
        self, queue_name: str | None, worker_id: str, limit: int, status: str = "READY"
    ) -> list[Job]:
        """Claim from one queue, or from any, in the order of claims."""
        raise NotImplementedError

    @contended
    def claim_suspect(self, *, worker_id: str, now: datetime) -> Job | None:
        """One suspect, now CLAIMED, or None when there is none that may start."""
        for name in self._queues_with_suspects():
            for _ in range(_CLAIMS):
                with self.atomic():
                    claimed = self._claim_from(name, worker_id, 1, "SUSPECT")
                    kept = self.limits.keep(claimed, now=now)
                if kept:
                    return kept[0]
                if not claimed:
                    break
        return None
