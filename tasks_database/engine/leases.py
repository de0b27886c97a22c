"""Who counts as dead, and what becomes of its jobs: pure, like the rest of the engine."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from . import lifecycle
from .framework import TaskError
from .lifecycle import Job, JobStatus

_AWAY = 0.9  # Leases.


@dataclass(slots=True)
class LeaseWatch:
    """Watches the heartbeat counters of other workers, on the watcher's own clock.

    A worker is dead when this very watcher has seen its counter stand still for a whole lease. No
    two machines' clocks are compared, and a watcher that was away itself (paused, partitioned)
    must watch a whole lease anew: it cannot tell who stopped from its own absence, nor from that
    of the database. It has to look twice a lease; who has not for nearly one was away.

    lease: how long a counter must stand still.
    """

    lease: timedelta
    _seen: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    _looked_at: datetime | None = None

    def look(self, beats: Mapping[str, int], *, now: datetime) -> Sequence[str]:
        """Take note of every worker's counter; the ids of those that are dead at ``now``."""
        away = self._looked_at is not None and now - self._looked_at > self.lease * _AWAY
        self._looked_at = now
        known = {} if away else self._seen
        self._seen = {
            worker_id: known[worker_id]
            if worker_id in known and known[worker_id][0] == count
            else (count, now)
            for worker_id, count in beats.items()
        }
        return [
            worker_id for worker_id, (_, since) in self._seen.items() if now - since >= self.lease
        ]

    def forget(self, worker_ids: Collection[str]) -> None:
        """These are no longer to be watched."""
        for worker_id in worker_ids:
            self._seen.pop(worker_id, None)


def rescue_all(held: Sequence[Job], *, error: TaskError, now: datetime) -> list[Job]:
    """What becomes of all the jobs of one dead worker.

    One that ran alone was lost with it, and pays with a rescue. Of several nobody knows which one
    took the worker down, if any did: none pays, all are claimed alone next. Starts are stored
    late, so a job that looks unstarted may have been running: it is a suspect like the others.
    """
    if len(held) == 1 and held[0].status is JobStatus.RUNNING:
        return [lifecycle.rescue(held[0], error=error, now=now)]
    return [lifecycle.suspend(job, now=now) for job in held]
