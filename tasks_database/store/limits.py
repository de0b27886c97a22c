"""Concurrency and rate limits, kept inside the transactions of claims and acknowledgements.

Whoever takes or frees a slot, or reserves an instant, holds the lock of the limit's row: the count
cannot be wrong, and nobody who waits is overlooked. A job that must wait is DEFERRED meanwhile, out
of the way of claims.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks_database.engine import Job
from tasks_database.engine.lifecycle import evolve
from tasks_database.engine.limits import Limit, is_reservation_good, reserve
from tasks_database.rows import TABLE, list_text

if TYPE_CHECKING:
    from .base import ORMStore

LIMITS = "tasks_database_limitrow"
SLOTS = "tasks_database_slotrow"

# A freed slot wakes who waits for it. So long until a waiting job looks by itself, for the case
# that a limit was lifted, or a row was changed by hand.
LOOK_AGAIN = timedelta(seconds=30)


class Limits:
    """The part of a store that knows slots and rates."""

    def __init__(self, store: "ORMStore") -> None:
        self._store = store

    def keep(self, claimed: Sequence[Job], *, now: datetime) -> list[Job]:
        """Those of the claimed jobs that may start now; the others wait. In a transaction."""
        limited = {
            job.id: limits
            for job in claimed
            if (limits := self._store.serves.limits_of(job.queue_name, job.task_path))
        }
        if not limited:
            return list(claimed)
        keys = sorted({limit.key for limits in limited.values() for limit in limits})
        next_free = self._lock(keys)
        taken = self._count(keys)
        changed: set[str] = set()
        kept = []
        for job in claimed:
            limits = limited.get(job.id, [])
            full = next((limit for limit in limits if _is_full(limit, taken)), None)
            if full is not None:
                self._wait(job, until=now + LOOK_AGAIN, waits_for=full.key)
                continue
            reserved_at = _reserve(job, limits, next_free, changed, now=now)
            if reserved_at is not None and reserved_at > now:
                self._wait(job, until=reserved_at, reserved_at=reserved_at)
                continue
            slots = tuple(limit.key for limit in limits if limit.max_concurrency is not None)
            if slots:
                taken.update(slots)
                job = self._take(job, slots)  # noqa: PLW2901 - the job with its slots
            kept.append(job)
        for key in changed:
            self._store.change(
                f"UPDATE {LIMITS} SET next_free = %s WHERE {self._key} = %s",
                [self._store.adapt(next_free[key]), key],  # type: ignore[arg-type]
            )
        return kept

    def free(self, jobs: Sequence[Job]) -> None:
        """Give the slots of these jobs back, and wake as many as wait for them."""
        holders = [job for job in jobs if job.slots]
        if not holders:
            return
        freed = Counter(key for job in holders for key in job.slots)
        self._lock(sorted(freed))
        store = self._store
        store.change(
            f"DELETE FROM {SLOTS} WHERE job_id IN {store.ids(len(holders))}",
            [store.id_in(job.id) for job in holders],
        )
        for key, count in freed.items():
            waiting = store.fetch(
                f"SELECT id FROM {TABLE} WHERE waits_for = %s ORDER BY {TABLE}.rank, id "
                f"LIMIT %s{store.for_update}",
                [key, count],
            )
            ids = [row[0] for row in waiting]
            if ids:
                store.change(
                    f"UPDATE {TABLE} SET status = 'READY', due = NULL, waits_for = NULL "
                    f"WHERE status = 'DEFERRED' AND id IN {store.ids(len(ids))}",
                    ids,
                )

    # -- the rows --------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        # A reserved word of MySQL.
        return self._store.connection.ops.quote_name("key")

    def _lock(self, keys: Sequence[str]) -> dict[str, datetime | None]:
        """Lock the rows of these keys, made where there are none; when each is free next."""
        store = self._store
        names = ", ".join(["%s"] * len(keys))
        sql = (
            f"SELECT {self._key}, next_free FROM {LIMITS} WHERE {self._key} IN ({names}) "
            f"ORDER BY {self._key}{store.for_update}"
        )
        found = store.fetch(sql, keys)
        if len(found) < len(keys):
            from tasks_database.models import LimitRow

            LimitRow.objects.using(store.using).bulk_create(
                [LimitRow(key=key) for key in keys], ignore_conflicts=True
            )
            found = store.fetch(sql, keys)
        return {key: store.restore(moment) for key, moment in found}

    def _count(self, keys: Sequence[str]) -> Counter[str]:
        names = ", ".join(["%s"] * len(keys))
        rows = self._store.fetch(
            f"SELECT {self._key}, count(*) FROM {SLOTS} WHERE {self._key} IN ({names}) "
            f"GROUP BY {self._key}",
            keys,
        )
        return Counter(dict(rows))

    def _take(self, job: Job, slots: tuple[str, ...]) -> Job:
        store = self._store
        job_id = store.id_in(job.id)
        for key in slots:
            store.change(
                f"INSERT INTO {SLOTS} ({self._key}, job_id) VALUES (%s, {store.id_placeholder})",
                [key, job_id],
            )
        store.change(
            f"UPDATE {TABLE} SET slots = %s WHERE id = {store.id_placeholder}",
            [list_text(slots), job_id],
        )
        return evolve(job, slots=slots)

    def _wait(
        self,
        job: Job,
        *,
        until: datetime,
        waits_for: str | None = None,
        reserved_at: datetime | None = None,
    ) -> None:
        """DEFERRED, at its old place once it is due; unique again while it waits."""
        from .base import unique_lock

        store = self._store
        store.change(
            f"UPDATE {TABLE} SET status = 'DEFERRED', owner = NULL, due = %s, waits_for = %s, "
            f"reserved_at = %s, unique_lock = %s WHERE id = {store.id_placeholder}",
            [
                store.adapt(until),
                waits_for,
                None if reserved_at is None else store.adapt(reserved_at),
                unique_lock(job) if job.unique_key else None,
                store.id_in(job.id),
            ],
        )


def _is_full(limit: Limit, taken: Counter[str]) -> bool:
    return limit.max_concurrency is not None and taken[limit.key] >= limit.max_concurrency


def _reserve(
    job: Job,
    limits: Sequence[Limit],
    next_free: dict[str, Any],
    changed: set[str],
    *,
    now: datetime,
) -> datetime | None:
    """The instant at which all rates let the job start; None where no rate limits it."""
    rates = [limit for limit in limits if limit.interval is not None]
    if not rates:
        return None
    slowest = max(rate.interval for rate in rates if rate.interval is not None)
    if is_reservation_good(job.reserved_at, interval=slowest, now=now):
        return now
    latest = now
    for rate in rates:
        assert rate.interval is not None  # noqa: S101 - selected above
        at, next_free[rate.key] = reserve(next_free[rate.key], interval=rate.interval, now=now)
        changed.add(rate.key)
        latest = max(latest, at)
    return latest
