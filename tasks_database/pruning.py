"""Deleting what ended long ago: a few rows at a time, so that claims and bodies go on beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .options import Retention
from .rows import TABLE
from .store import ORMStore

BATCH = 500
# Seconds until a worker looks again: while there is more to delete, and when there is not.
_SOON, _LATER, _NEVER = 0.1, 60.0, 3600.0
# So often what was looked through is looked through again: an end may be stored late.
_AFRESH = timedelta(hours=1)


class Pruned(NamedTuple):
    """How many tasks were deleted, by how they had ended."""

    successful: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.successful + self.failed + self.cancelled

    def plus(self, other: "Pruned") -> "Pruned":
        return Pruned(*(mine + its for mine, its in zip(self, other, strict=True)))


@dataclass(slots=True)
class _Kind:
    """The tasks that ended in one way, and up to where they were looked through."""

    name: str
    kept: timedelta
    place: tuple[Any, Any] | None = None  # finished_at and id, as the driver gave them.


class Pruner:
    """Deletes the tasks of a store's backend alias that ended longer ago than they are kept.

    It remembers what it has looked through: what another alias keeps for ever may be in between.
    """

    def __init__(self, store: ORMStore, retention: Retention) -> None:
        self._store = store
        ages = {
            "successful": retention.successful,
            "failed": retention.failed,
            "cancelled": retention.cancelled,
        }
        self._kinds = [_Kind(name, kept) for name, kept in ages.items() if kept is not None]
        self._begun_at: datetime | None = None

    def chore(self, now: datetime) -> float:
        """Delete one batch; in how many seconds to come again. For a worker, between claims."""
        if not self._kinds:
            return _NEVER
        return _SOON if next(self.batches(now=now), None) is not None else _LATER

    def batches(self, *, now: datetime) -> Iterator[Pruned]:
        """Delete, batch by batch, each committed by itself; what was deleted with each.

        The caller may do something else in between, or stop.
        """
        if self._begun_at is None or now - self._begun_at >= _AFRESH:
            self._begun_at = now
            for kind in self._kinds:
                kind.place = None
        for kind in self._kinds:
            while rows := self._next_rows(kind, now=now):
                # By their keys, looked up before: MySQL locks all that a DELETE looks at.
                ours = [
                    self._store.id_out(job_id)
                    for job_id, backend, _ in rows
                    if backend == self._store.serves.backend
                ]
                deleted = self._store.delete_ended(ours) if ours else 0
                kind.place = (rows[-1][2], rows[-1][0])
                yield Pruned(**{kind.name: deleted})

    def count(self, *, now: datetime) -> Pruned:
        """How many `batches` would delete."""
        return Pruned(
            **{
                kind.name: self._store.fetch(
                    f"SELECT count(*) FROM {TABLE} "  # noqa: S608 - a name of this package
                    "WHERE status = %s AND finished_at < %s AND backend = %s",
                    [*self._ended(kind, now), self._store.serves.backend],
                )[0][0]
                for kind in self._kinds
            }
        )

    def _next_rows(self, kind: _Kind, *, now: datetime) -> list[tuple[Any, ...]]:
        condition, params = "", self._ended(kind, now)
        if kind.place is not None:
            finished_at, job_id = kind.place
            condition = " AND finished_at >= %s AND (finished_at > %s OR id > %s)"
            params += [finished_at, finished_at, job_id]
        return self._store.fetch(
            f"SELECT id, backend, finished_at FROM {TABLE} "  # noqa: S608 - as above
            f"WHERE status = %s AND finished_at < %s{condition} "
            f"ORDER BY finished_at, id LIMIT {BATCH}",
            params,
        )

    def _ended(self, kind: _Kind, now: datetime) -> list[Any]:
        return [kind.name.upper(), self._store.adapt(now - kind.kept)]
