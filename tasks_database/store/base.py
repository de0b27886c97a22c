"""The engine's Store over the database, as far as it is the same everywhere.

A subclass adds what is said differently by a database. The parts, each on top of the one before:
`connected`, `adds`, `claims`, `outcomes`, and here the workers: who lives, and what the dead held.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from tasks_database.engine import Job, rescue_all
from tasks_database.engine.framework import TaskError
from tasks_database.rows import TABLE

from .claims import Peek
from .groups import GROUP, sized_groups
from .outcomes import Outcomes
from .retries import contended

__all__ = ["GROUP", "ORMStore", "Peek", "WorkerInfo", "sized_groups"]

WORKERS = "tasks_database_workerrow"


class WorkerInfo(NamedTuple):
    """What a worker says of itself when it registers; see WorkerRow."""

    id: str
    name: str
    hostname: str
    pid: int
    threads: int


class ORMStore(Outcomes):
    """See `tasks_database.engine.Store`; what is fenced is fenced by the number of the claim."""

    def register(self, worker: WorkerInfo, *, now: datetime) -> None:
        """A worker process begins: nothing may be claimed under its id before."""
        self._register(worker, now=now)
        self._begin(now=now)

    @contended
    def _begin(self, *, now: datetime) -> None:
        self.limits.begin(now=now)

    @contended
    def _register(self, worker: WorkerInfo, *, now: datetime) -> None:
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
            self.store_ends(rescued, self.adapter())
            self.limits.free(held)
            self._follow(rescued)
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
        gone = self.change(
            f"DELETE FROM {WORKERS} WHERE id = %s AND beats = %s",
            [worker_id, seen if beats is None else beats],
        )
        if not gone:
            return None
        heard = self.restore(last_beat_at)
        when = f"{heard:%Y-%m-%d %H:%M:%S %Z}".rstrip()
        return f"Worker {name} (process {pid} on {hostname}), last heard at {when},"
