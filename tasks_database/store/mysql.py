"""What MariaDB and MySQL do: lock what is free, then change it by its primary key."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from tasks_database.engine import Job
from tasks_database.rows import TABLE

from .base import ORMStore
from .connected import text_of_hex
from .groups import GROUP, sized_groups
from .limits import WOKEN

_TYPES: Mapping[str, str] = {
    "status": "varchar(10)",
    "rank": "bigint",
    "due": "datetime(6)",
    "owner": "varchar(64)",
    "worker_ids": "longtext",
    "failures": "int",
    "rescues": "int",
    "errors": "longtext",
    "started_at": "datetime(6)",
    "last_attempted_at": "datetime(6)",
    "finished_at": "datetime(6)",
    "return_payload": "longtext",
    "suspect": "tinyint",
    "slots": "longtext",
    "reserved_at": "datetime(6)",
}


class MySQLStore(ORMStore):
    """Claims by a locking read that skips what others hold, under READ COMMITTED.

    That is Django's isolation level for MySQL; under REPEATABLE READ gaps are locked as well.
    Rows are changed by their primary keys: changes by other conditions deadlock with claims.
    """

    for_update: ClassVar[str] = " FOR UPDATE"
    skip_locked: ClassVar[str] = " FOR UPDATE SKIP LOCKED"
    # Under REPEATABLE READ nothing else shows what another transaction has added since.
    for_share: ClassVar[str] = " FOR UPDATE"

    @property
    def _is_native(self) -> bool:
        return bool(self.connection.features.has_native_uuid_field)

    def id_in(self, job_id: str) -> str:
        return job_id if self._is_native else job_id.replace("-", "")

    def id_out(self, stored: Any) -> str:
        return text_of_hex(stored)

    def _insert_unless_taken(self, row: tuple[Any, ...]) -> bool:
        self.change(f"{self._insert_sql()} ON DUPLICATE KEY UPDATE id = {TABLE}.id", row)
        # Django counts found rows, not changed ones, so the count says nothing.
        return bool(self.fetch(f"SELECT 1 FROM {TABLE} WHERE id = %s", [row[0]]))

    def _insert_many(self, rows: list[tuple[Any, ...]]) -> None:
        with self.atomic(), self.connection.cursor() as cursor:
            for group, _ in sized_groups(rows, rows):
                values = [value for row in group for value in row]
                cursor.execute(self._insert_sql(len(group)), values)

    def _promote_some(self, now: Any) -> int:
        if not self.fetch(
            f"SELECT 1 FROM {TABLE} WHERE status = 'DEFERRED' AND due <= %s LIMIT 1", [now]
        ):
            return 0
        with self.atomic():
            rows = self.fetch(
                f"SELECT id FROM {TABLE} WHERE status = 'DEFERRED' AND due <= %s "
                f"ORDER BY due LIMIT {GROUP}{self.skip_locked}",
                [now],
            )
            ids = [row[0] for row in rows]
            if not ids:
                return 0
            return self.change(f"UPDATE {TABLE} SET {WOKEN} WHERE id IN {self.ids(len(ids))}", ids)

    def _all_queues_with_work(self) -> list[str]:
        # One by one: in a recursive query it reads all that is in between.
        sql = f"SELECT min(queue_name) FROM {TABLE} WHERE status = 'READY' AND backend = %s"
        names: list[str] = []
        name = self.fetch(sql, [self.serves.backend])[0][0]
        while name is not None:
            names.append(name)
            name = self.fetch(f"{sql} AND queue_name > %s", [self.serves.backend, name])[0][0]
        return names

    def _index_hint(self, queue_name: str | None) -> str:
        # MariaDB walks all queues for one of them, and locks what it looks at.
        return f" FORCE INDEX ({'tasks_ready' if queue_name is None else 'tasks_ready_queue'})"

    def _claim_from(
        self, queue_name: str | None, worker_id: str, limit: int, status: str = "READY"
    ) -> list[Job]:
        ready, params = self._ready_sql(queue_name, status)
        if not self.fetch(f"SELECT 1 {ready}", [*params, 1]):
            return []
        with self.atomic():
            rows = self.fetch(f"SELECT {self.columns} {ready}{self.skip_locked}", [*params, limit])
            if not rows:
                return []
            ids = [row[0] for row in rows]
            self.change(
                f"UPDATE {TABLE} SET {self._claimed} WHERE id IN {self.ids(len(ids))}",
                [worker_id, *ids],
            )
        return [self._as_claimed(job, worker_id) for job in self.in_order(list(rows))]

    @staticmethod
    def _as_claimed(job: Job, worker_id: str) -> Job:
        """The job as the UPDATE left it; MySQL has no RETURNING for it."""
        from tasks_database.engine.lifecycle import claim

        return claim(job, worker_id=worker_id)

    def _update(
        self,
        jobs: Sequence[Job],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        fixed: Mapping[str, str],
    ) -> list[str]:
        changed: list[str] = []
        with self.atomic():
            held = self._fence(jobs)
            pairs = [pair for pair in zip(jobs, rows, strict=True) if pair[0].id in held]
            if not pairs:
                return []
            kept, values = zip(*pairs, strict=True)
            for group, group_values in sized_groups(kept, values):
                self._update_group(group, group_values, columns, fixed)
                changed += [job.id for job in group]
        return changed

    def _update_group(
        self,
        group: Sequence[Job],
        values: Sequence[tuple[Any, ...]],
        columns: Sequence[str],
        fixed: Mapping[str, str],
    ) -> None:
        changes = [f"{TABLE}.{name} = fresh.{name}" for name in columns]
        changes += [f"{TABLE}.{name} = {value}" for name, value in fixed.items()]
        key = "char(36)" if self._is_native else "char(32)"
        described = ", ".join(
            f"{self.quote(name)} {_TYPES[name]} PATH '$[{place}]'"
            for place, name in enumerate(columns, start=1)
        )
        document = json.dumps(
            [
                [self.id_in(job.id), *map(_json_value, row)]
                for job, row in zip(group, values, strict=True)
            ],
            ensure_ascii=False,
        )
        # In this order: each row that comes in is looked up by its key.
        self.change(
            f"UPDATE JSON_TABLE(%s, '$[*]' COLUMNS (fresh_id {key} PATH '$[0]', {described})) "
            f"AS fresh STRAIGHT_JOIN {TABLE} ON {TABLE}.id = fresh.fresh_id "
            f"SET {', '.join(changes)}",
            [document],
        )


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, bool):
        return int(value)
    return value
