"""What a journal's block asks of the place where its jobs are: memory, or rows of a database."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from tasks_database.engine import Job
from tasks_database.engine.store import Acknowledged


class BlockStore(Protocol):
    """The engine's Store for tests: it serves many backend aliases, and its past can be forgotten.

    The methods that look for work take ``backends``, the aliases to look at; None is all.
    """

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs by id, as they are known to be."""

    @property
    def takes_part(self) -> bool:
        """Whether a job commits and rolls back with the transaction that it is enqueued in."""

    def new_id(self) -> str:
        """An id for a new job."""

    def add(self, jobs: Sequence[Job], *, committed: bool) -> Sequence[Job]:
        """See Store; without ``committed`` a transaction is open that decides whether they are."""

    def add_one(self, job: Job, *, committed: bool) -> Job:
        """The same for one."""

    def get(self, job_id: str) -> Job | None:
        """The job as it is now; None where there is none, or none any more."""

    def refresh(self) -> Collection[str] | None:
        """Learn what became of the jobs; the ids of those that are gone, None for none."""

    def replace(self, job: Job) -> None:
        """Keep the job as it is given: a past that a test makes up."""

    def discard(self, job_id: str) -> None:
        """Forget a job."""

    def close(self) -> None:
        """The block has ended: leave nothing behind that others could take."""

    def next_due(self, *, backends: Collection[str] | None = None) -> datetime | None:
        """When there will be something to run that is not ready now, or None."""

    def deferred(self, *, backends: Collection[str] | None = None) -> list[Job]:
        """The jobs that wait for their due time and that workers can see, the earliest first."""

    def promote(self, *, now: datetime, backends: Collection[str] | None = None) -> int:
        """See Store."""

    def claim(
        self,
        *,
        worker_id: str,
        limit: int,
        now: datetime,
        backends: Collection[str] | None = None,
    ) -> Sequence[Job]:
        """See Store."""

    def claim_job(self, job_id: str, *, worker_id: str) -> Sequence[Job]:
        """Claim this job if it is ready, out of turn: for running one task at once."""

    def start(self, started: Job) -> bool:
        """See Store."""

    def acknowledge(self, outcomes: Sequence[Job]) -> Acknowledged:
        """See Store."""

    def release(self, jobs: Sequence[Job]) -> None:
        """See Store."""
