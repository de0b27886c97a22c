"""What one drain did: which attempts succeeded, failed, will be retried, and what still waits."""

from collections.abc import Iterator, Sequence

from tasks_database.engine import Job, JobStatus

from .entry import Entry
from .journal import journal
from .record import TaskRecord, records_of


class Tally:
    """The outcome of run_due(), advance() and the other verbs that run tasks: values as they were.

    Reading `failed` counts as having looked at those failures (see the strictness flag "failed").
    """

    def __init__(
        self, entries: Sequence[Entry], settled: Sequence[Job], deferred: Sequence[Job]
    ) -> None:
        self._entries = entries
        self._settled = settled
        self._deferred = deferred

    @property
    def succeeded(self) -> tuple[TaskRecord, ...]:
        """The tasks that ended well, in the order they ran."""
        return self._with(JobStatus.SUCCESSFUL)

    @property
    def failed(self) -> tuple[TaskRecord, ...]:
        """The tasks that failed for good."""
        for entry, _ in self._ended(JobStatus.FAILED):
            entry.looked_at = True
        return self._with(JobStatus.FAILED)

    @property
    def retried(self) -> tuple[TaskRecord, ...]:
        """One record for each attempt that failed and left another attempt to come."""
        return self._with(JobStatus.READY, JobStatus.DEFERRED)

    @property
    def deferred(self) -> tuple[TaskRecord, ...]:
        """What still waited for its due time when the drain ended."""
        entries = [journal.get(job.id) for job in self._deferred]
        known = [(entry, job) for entry, job in zip(entries, self._deferred, strict=True) if entry]
        return tuple(records_of([entry for entry, _ in known], [job for _, job in known]))

    @property
    def ran(self) -> tuple[TaskRecord, ...]:
        """One record for each attempt that was made, in order."""
        return tuple(records_of(self._entries, self._settled))

    @property
    def counts(self) -> dict[str, int]:
        """``{"succeeded": 2, "failed": 0, "retried": 1, "deferred": 0}``."""
        return {
            "succeeded": len(self._ended(JobStatus.SUCCESSFUL)),
            "failed": len(self._ended(JobStatus.FAILED)),
            "retried": len(self._ended(JobStatus.READY, JobStatus.DEFERRED)),
            "deferred": len(self._deferred),
        }

    def __len__(self) -> int:
        """How many attempts were made."""
        return len(self._entries)

    def __bool__(self) -> bool:
        """Always true: a tally of nothing is still a tally, and ``if tally`` would mislead."""
        return True

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self.ran)

    def __repr__(self) -> str:
        shown = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"<Tally: {shown}>"

    def _ended(self, *statuses: JobStatus) -> list[tuple[Entry, Job]]:
        return [
            (entry, job)
            for entry, job in zip(self._entries, self._settled, strict=True)
            if job.status in statuses
        ]

    def _with(self, *statuses: JobStatus) -> tuple[TaskRecord, ...]:
        ended = self._ended(*statuses)
        return tuple(records_of([entry for entry, _ in ended], [job for _, job in ended]))
