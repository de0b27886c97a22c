"""What SQLite does: one writer at a time, so a look first, then one statement that writes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from django.db import transaction

from tasks_database.engine import Job
from tasks_database.rows import TABLE

from .base import ORMStore
from .connected import text_of_hex
from .groups import sized_groups


class SQLiteStore(ORMStore):
    """Looks before it writes: even an UPDATE that finds nothing takes the write lock.

    Its transactions are IMMEDIATE, whatever the settings say: one that has read cannot turn to
    writing when another has written meanwhile, and no timeout helps.
    """

    def atomic(self) -> AbstractContextManager[Any]:
        if self.connection.in_atomic_block:
            return transaction.atomic(using=self.using)
        return self._immediate()

    @contextmanager
    def _immediate(self) -> Iterator[None]:
        connection: Any = self.connection
        connection.ensure_connection()  # Which sets the mode that the settings name.
        mode, connection.transaction_mode = connection.transaction_mode, "IMMEDIATE"
        try:
            with transaction.atomic(using=self.using):
                connection.transaction_mode = mode
                yield
        finally:
            connection.transaction_mode = mode

    def id_in(self, job_id: str) -> str:
        return job_id.replace("-", "")

    def id_out(self, stored: Any) -> str:
        return text_of_hex(stored)

    def _promote_some(self, now: Any) -> int:
        if not self.fetch(
            f"SELECT 1 FROM {TABLE} WHERE status = 'DEFERRED' AND due <= %s LIMIT 1", [now]
        ):
            return 0
        return super()._promote_some(now)

    def _claim_from(
        self, queue_name: str | None, worker_id: str, limit: int, status: str = "READY"
    ) -> list[Job]:
        ready, params = self._ready_sql(queue_name, status)
        if not self.fetch(f"SELECT 1 {ready}", [*params, 1]):
            return []
        rows = self.fetch(
            f"UPDATE {TABLE} SET {self._claimed} WHERE id IN (SELECT id {ready}) "
            f"RETURNING {self.columns}",
            [worker_id, *params, limit],
        )
        return self.in_order(rows)

    def _update(
        self,
        jobs: Sequence[Job],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        fixed: Mapping[str, str],
    ) -> list[str]:
        changes = [f"{name} = %s" for name in columns]
        changes += [f"{name} = {value}" for name, value in fixed.items()]
        sql = (
            f"UPDATE {TABLE} SET {', '.join(changes)} "
            "WHERE id = %s AND claim_number = %s AND owner IS NOT NULL"
        )
        changed: list[str] = []
        with self.atomic(), self.connection.cursor() as cursor:
            for group, values in sized_groups(jobs, rows):
                params = [
                    (*row, self.id_in(job.id), job.claim_number)
                    for job, row in zip(group, values, strict=True)
                ]
                if len(group) == 1:
                    cursor.execute(sql, params[0])
                else:
                    cursor.executemany(sql, params)
                count = cursor.rowcount
                if count == len(group):
                    changed += [job.id for job in group]
                elif count:
                    changed += self._changed(group, values, columns, fixed)
        return changed

    def _changed(
        self,
        group: Sequence[Job],
        values: Sequence[tuple[Any, ...]],
        columns: Sequence[str],
        fixed: Mapping[str, str],
    ) -> list[str]:
        """Which rows are now what was written: asked for when some were fenced out.

        The transaction that wrote them is still open, so nobody else has changed them since.
        """
        same = " AND ".join(f"{name} IS %s" for name in columns)
        same += "".join(f" AND {name} IS {value}" for name, value in fixed.items())
        sql = f"SELECT 1 FROM {TABLE} WHERE id = %s AND claim_number = %s AND {same}"
        return [
            job.id
            for job, row in zip(group, values, strict=True)
            if self.fetch(sql, [self.id_in(job.id), job.claim_number, *row])
        ]
