"""What the engine asks of the place where jobs are kept. Every method is told the time.

Two stores promise this: memory (``tasks_testing.memory_store``) and the database
(``tasks_database.store``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from .lifecycle import Job


class Acknowledged(NamedTuple):
    """What came of a group of outcomes.

    accepted: the ids of the jobs that were stored, that is, not fenced out.
    enqueued: the jobs that follow from them, stored in the same transaction.
    """

    accepted: Sequence[str]
    enqueued: Sequence[Job]


class Store(Protocol):
    """Keeps jobs, hands them out in order, and accepts what a worker may still write.

    Fencing: `start`, `acknowledge` and `release` accept a job only while the stored one is held
    under the same ``claim_number``; a superseded worker's write changes nothing.
    """

    def add(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Keep new jobs; the jobs that stand for them, in order.

        Another job stands for one whose unique key is taken.
        """

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

    def acknowledge(self, outcomes: Sequence[Job]) -> Acknowledged:
        """Store how attempts ended, and enqueue what follows from it."""

    def release(self, jobs: Sequence[Job]) -> None:
        """Give claimed jobs back, unstarted."""
