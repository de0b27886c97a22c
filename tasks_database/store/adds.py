"""Storing new jobs, and looking one up."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db import OperationalError

from tasks_database.engine import Job
from tasks_database.rows import NEW_COLUMNS, TABLE, new_row

from .connected import Connected
from .retries import contended

# A worker may claim the job that waits between a look at its key and a look at its row; not twice
# in a row, as a rule.
_TRIES = 100


class Adds(Connected):
    """The part of a store that adds jobs."""

    @contended
    def add(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Store new jobs; the jobs that stand for them, in order.

        For one whose unique key is taken that is the job that waits with this key. It is not
        claimed before this transaction ends: it will see what this transaction has written.
        """
        if not any(job.unique_key for job in jobs):
            self._insert(jobs)
            return jobs
        with self.atomic():
            return [self._add_unique(job) if job.unique_key else self._add_one(job) for job in jobs]

    def get(self, job_id: str) -> Job | None:
        rows = self.fetch(
            f"SELECT {self.columns} FROM {TABLE} WHERE id = {self.id_placeholder}",
            [self.id_in(job_id)],
        )
        return self.jobs_of(rows)[0] if rows else None

    @contended
    def set_rows(self, job_ids: Sequence[str], changes: str, params: Sequence[Any]) -> int:
        """Change the rows of these jobs, at most GROUP; ``changes`` is SQL. How many there were."""
        return self.change(
            f"UPDATE {TABLE} SET {changes} WHERE id IN {self.ids(len(job_ids))}",
            [*params, *map(self.id_in, job_ids)],
        )

    @contended
    def delete_ended(self, job_ids: Sequence[str]) -> int:
        """Delete those of these jobs, at most GROUP, that have ended; how many there were."""
        return self.change(
            f"DELETE FROM {TABLE} WHERE id IN {self.ids(len(job_ids))} AND finished_at IS NOT NULL",
            [self.id_in(job_id) for job_id in job_ids],
        )

    def _add_one(self, job: Job) -> Job:
        self._insert((job,))
        return job

    def _add_unique(self, job: Job) -> Job:
        lock = unique_lock(job)
        row = self._new_row(job, self.adapter(), lock)
        for _ in range(_TRIES):
            if self._insert_unless_taken(row):
                return job
            rows = self.fetch(
                f"SELECT {self.columns} FROM {TABLE} WHERE unique_lock = %s{self.for_share}", [lock]
            )
            if rows:
                return self.jobs_of(rows)[0]
        raise OperationalError(
            f"The unique key {job.unique_key!r} of {job.task_path} was taken and free again "
            f"{_TRIES} times while it was being enqueued."
        )

    def _new_row(
        self, job: Job, adapt: Callable[[datetime], Any], lock: str | None = None
    ) -> tuple[Any, ...]:
        row = new_row(job, adapt, unique_lock=lock)
        return (self.id_in(row[0]), *row[1:])

    def _insert(self, jobs: Sequence[Job]) -> None:
        """All of them, or none."""
        adapt = self.adapter()
        rows = [self._new_row(job, adapt) for job in jobs]
        if len(rows) == 1:
            self.change(self._insert_sql(), rows[0])
        elif rows:
            self._insert_many(rows)

    def _insert_sql(self, count: int = 1) -> str:
        values = ", ".join([self.id_placeholder] + ["%s"] * (len(NEW_COLUMNS) - 1))
        many = ", ".join([f"({values})"] * count)
        return f"INSERT INTO {TABLE} ({', '.join(map(self.quote, NEW_COLUMNS))}) VALUES {many}"

    def _insert_many(self, rows: list[tuple[Any, ...]]) -> None:
        with self.atomic(), self.connection.cursor() as cursor:
            cursor.executemany(self._insert_sql(), rows)

    def _insert_unless_taken(self, row: tuple[Any, ...]) -> bool:
        """Whether the row was inserted; not when another has its unique_lock."""
        return self.change(f"{self._insert_sql()} ON CONFLICT DO NOTHING", row) == 1


def unique_lock(job: Job) -> str:
    """What may be in the table once: a digest of the backend, the task and the key."""
    text = "\0".join((job.backend, job.task_path, job.unique_key or ""))
    return hashlib.sha256(text.encode()).hexdigest()
