"""What the engine asks of the place where jobs are kept. Every method is told the time.

Two stores promise this: memory (``tasks_testing.memory_store``) and, later, the database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from .lifecycle import Job


class Store(Protocol):
    """Keeps jobs, hands them out in order, and accepts what a worker may still write.

    Fencing: `start`, `acknowledge` and `release` accept a job only while the stored one has the
    same ``owner`` and ``claim_number``; a superseded worker's write changes nothing.
    """

    def add(self, jobs: Sequence[Job]) -> None:
        """Keep new jobs. Their ``sequence`` is the order of enqueueing."""

    def get(self, job_id: str) -> Job | None:
        """The job as it is now, or None."""

    def next_due(self) -> datetime | None:
        """The earliest ``due`` of a deferred job, or None when there is none."""

    def promote(self, *, now: datetime) -> int:
        """Make ready what is due at ``now``, boundary included; how many there were."""

    def claim(self, *, worker_id: str, limit: int, now: datetime) -> Sequence[Job]:
        """Up to ``limit`` ready jobs, by (-priority, ready since, sequence), now CLAIMED."""

    def start(self, started: Job) -> bool:
        """Store the claimed job as RUNNING; False when it has been fenced out."""

    def acknowledge(self, outcomes: Sequence[Job]) -> Sequence[str]:
        """Store how attempts ended; the ids that were accepted, that is, not fenced out."""

    def release(self, jobs: Sequence[Job]) -> None:
        """Give claimed jobs back, unstarted."""
