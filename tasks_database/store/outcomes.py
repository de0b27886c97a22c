"""What a worker writes of the jobs that it has claimed: fenced by the number of the claim."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks_database.engine import Job, JobStatus, follow_ups
from tasks_database.engine.store import Acknowledged
from tasks_database.follow_up_keys import unique_key_of_call
from tasks_database.ids import new_id
from tasks_database.rows import (
    STATE_COLUMNS,
    SUCCESS_COLUMNS,
    TABLE,
    state_row,
    success_row,
)

from .claims import Claims
from .groups import GROUP, groups
from .retries import contended

_START_COLUMNS = ("status", "worker_ids", "started_at", "last_attempted_at")
_START_PLACES = tuple(STATE_COLUMNS.index(name) for name in _START_COLUMNS)
_SLOTS_PLACE = STATE_COLUMNS.index("slots")


class Outcomes(Claims):
    """The part of a store that workers report to."""

    def start(self, started: Job) -> bool:
        return bool(self.start_many((started,)))

    @contended
    def start_many(self, started: Sequence[Job]) -> Sequence[str]:
        """Store these claimed jobs as RUNNING; the ids of those that were not fenced out."""
        adapt = self.adapter()
        rows = []
        for job in started:
            values = state_row(job, adapt)
            rows.append(tuple(values[place] for place in _START_PLACES))
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
            self.limits.free(ended)
            return Acknowledged(accepted, self._follow(ended))

    def _follow(self, ended: Sequence[Job]) -> list[Job]:
        """Enqueue what follows from these; the jobs that were added."""
        following = [
            job
            for parent in ended
            if parent.finished_at is not None
            for job in follow_ups(
                parent,
                now=parent.finished_at,
                new_id=lambda _: new_id(),
                unique_key=unique_key_of_call,
            )
        ]
        stored = self.add(following)
        # Another job may stand for one that is unique.
        return [job for job, kept in zip(following, stored, strict=True) if kept is job]

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
            accepted += self.store_ends(others, adapt)
        return accepted

    def store_ends(self, jobs: Sequence[Job], adapt: Callable[[datetime], Any]) -> list[str]:
        """Store jobs whose claims have ended; the ids of those that were not fenced out."""
        rows = []
        for job in jobs:
            values = list(state_row(job, adapt))
            values[_SLOTS_PLACE] = None  # Whatever it had is free.
            rows.append(tuple(values))
        return self._update(jobs, STATE_COLUMNS, rows, {})

    def _update(
        self,
        jobs: Sequence[Job],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        fixed: Mapping[str, str],
    ) -> list[str]:
        """Set ``columns`` to each job's row and ``fixed``, in SQL, for all, in one transaction.

        Fenced: only where the job is still held under its claim number. The ids that were changed.
        """
        raise NotImplementedError

    def _fence(self, jobs: Sequence[Job]) -> set[str]:
        """The ids of those that are still held under their claim numbers; locked until the end."""
        numbers = {job.id: job.claim_number for job in jobs}
        found: set[str] = set()
        for group in groups(list(numbers), GROUP):
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
            for group in groups(given_back, GROUP):
                self.change(
                    f"UPDATE {TABLE} SET owner = NULL, slots = NULL, "
                    "status = CASE WHEN suspect THEN 'SUSPECT' ELSE 'READY' END "
                    f"WHERE id IN {self.ids(len(group))}",
                    [self.id_in(job.id) for job in group],
                )
            self.limits.free(given_back)

    @contended
    def release_strays(self, worker_id: str, *, known: Collection[str]) -> int:
        """Give back what was claimed for this worker without its knowledge; how many there were.

        known: the ids of all jobs that it knows of. A claim may be committed and its answer lost
        with the connection: nobody else would ever give those jobs back while this worker lives.
        Not while a claim is under way.
        """
        rows = self.fetch(
            f"SELECT {self.columns} FROM {TABLE} WHERE owner = %s AND status = 'CLAIMED'",
            [worker_id],
        )
        strays = [job for job in self.jobs_of(rows) if job.id not in known]
        if strays:
            self.release(strays)
        return len(strays)
