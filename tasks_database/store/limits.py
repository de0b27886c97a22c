"""Concurrency and rate limits, kept inside the transactions of claims and acknowledgements.

Whoever takes or frees a slot, or uses up an instant of a rate, holds the lock of the limit's row:
the count cannot be wrong, and nobody who waits is overlooked. A job that must wait is DEFERRED, out
of the way of claims, and keeps its place in the order: whenever there is room, those that have
waited longest are woken. Nothing is promised to anybody in particular. So what is cancelled, or
waits in a paused queue, takes nothing from those behind it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks_database.engine import Job
from tasks_database.engine.lifecycle import evolve
from tasks_database.engine.limits import Limit, after_start, may_start, may_start_of_waiting
from tasks_database.rows import TABLE, list_text

from .groups import GROUP, groups

if TYPE_CHECKING:
    from .connected import Connected

LIMITS = "tasks_database_limitrow"
SLOTS = "tasks_database_slotrow"

# Who waits is woken when there is room. This is for what no worker hears of: limits that other
# settings have, and rows that were changed by hand.
LOOK_AGAIN = timedelta(minutes=10)
# There was room, those who waited were woken, and nobody has claimed them: it may be that their
# queue is paused, so the next ones are woken.
WAKE_MORE = timedelta(seconds=1)

# In SQL: what is due, or may start. A suspect is not for ordinary claims then, either.
WOKEN = "status = CASE WHEN suspect THEN 'SUSPECT' ELSE 'READY' END, due = NULL, waits_for = NULL"


class _Waiting(NamedTuple):
    """A limit that jobs wait for."""

    limit: Limit
    next_free: datetime | None
    taken: int

    @property
    def slots(self) -> int | None:
        """How many are free; None is any number."""
        most = self.limit.max_concurrency
        return None if most is None else max(0, most - self.taken)

    def may_start(self, now: datetime) -> int:
        counts = [GROUP] if self.slots is None else [self.slots]
        if self.limit.interval is not None:
            counts.append(
                may_start_of_waiting(self.next_free, interval=self.limit.interval, now=now)
            )
        return min(counts)


class Limits:
    """The part of a store that knows slots and rates."""

    def __init__(self, store: "Connected") -> None:
        self._store = store
        self._woke_at: datetime | None = None

    # -- claiming: in its transaction ------------------------------------------------------

    def keep(self, claimed: Sequence[Job], *, now: datetime) -> list[Job]:
        """Those of the claimed jobs that may start now; the others wait."""
        limited = {
            job.id: limits
            for job in claimed
            if (limits := self._store.serves.limits_of(job.queue_name, job.task_path))
        }
        if not limited:
            self._forget_unique_keys(claimed)
            return list(claimed)
        keys = sorted({limit.key for limits in limited.values() for limit in limits})
        next_free = self._lock(keys)
        taken = self._count(keys)
        kept: list[Job] = []
        full: defaultdict[str, list[Job]] = defaultdict(list)
        early: defaultdict[str, list[Job]] = defaultdict(list)
        used: set[str] = set()
        for job in claimed:
            limits = limited.get(job.id, [])
            if (limit := _first(limits, lambda limit: _is_full(limit, taken))) is not None:
                full[limit.key].append(job)
            elif (limit := _first(limits, lambda limit: _is_early(limit, next_free, now))) is None:
                used.update(_use(job, limits, next_free, now=now))
                taken.update(slots := _slots_of(limits))
                kept.append(evolve(job, slots=slots, reserved_at=None) if limits else job)
            else:
                early[limit.key].append(job)
        for key in sorted(used):
            self._store.change(
                f"UPDATE {LIMITS} SET next_free = %s WHERE {self._key} = %s",
                [self._adapted(next_free[key]), key],
            )
        self._take_slots(kept)
        self._forget_unique_keys(kept)
        for key, jobs in full.items():
            self._wait(jobs, key, {"due": now + LOOK_AGAIN})
        for key, jobs in early.items():
            self._wait(jobs, key, {"due": now + LOOK_AGAIN, "reserved_at": now})
        return kept

    def _forget_unique_keys(self, jobs: Iterable[Job]) -> None:
        """They wait no longer, so another may be enqueued with their keys."""
        self._set([job for job in jobs if job.unique_key], "unique_lock = NULL", [])

    def _take_slots(self, jobs: Iterable[Job]) -> None:
        holders: defaultdict[tuple[str, ...], list[Job]] = defaultdict(list)
        for job in jobs:
            if job.slots:
                holders[job.slots].append(job)
        store = self._store
        for slots, held in holders.items():
            values = [(key, store.id_in(job.id)) for job in held for key in slots]
            for group in groups(values, GROUP):
                store.change(
                    f"INSERT INTO {SLOTS} ({self._key}, job_id) VALUES "
                    + ", ".join([f"(%s, {store.id_placeholder})"] * len(group)),
                    [value for pair in group for value in pair],
                )
            self._set(held, "slots = %s", [list_text(slots)])

    def _wait(self, jobs: Sequence[Job], key: str, times: dict[str, datetime]) -> None:
        """DEFERRED, at its old place in the order once it is woken."""
        changes = "".join(f", {name} = %s" for name in times)
        self._set(
            jobs,
            f"status = 'DEFERRED', owner = NULL, waits_for = %s{changes}",
            [key, *map(self._store.adapt, times.values())],
        )

    def _set(self, jobs: Sequence[Job], changes: str, params: Sequence[Any]) -> None:
        store = self._store
        for group in groups(jobs, GROUP):
            store.change(
                f"UPDATE {TABLE} SET {changes} WHERE id IN {store.ids(len(group))}",
                [*params, *(store.id_in(job.id) for job in group)],
            )

    # -- freeing: in the transaction that gives the jobs up --------------------------------

    def free(self, jobs: Sequence[Job]) -> None:
        """Give the slots of these jobs back, and wake as many as wait for them."""
        holders = [job for job in jobs if job.slots]
        if not holders:
            return
        freed = Counter(key for job in holders for key in job.slots)
        self._lock(sorted(freed))
        store = self._store
        for group in groups(holders, GROUP):
            store.change(
                f"DELETE FROM {SLOTS} WHERE job_id IN {store.ids(len(group))}",
                [store.id_in(job.id) for job in group],
            )
        for key, count in sorted(freed.items()):
            self._wake_first(key, count)

    # -- waking ----------------------------------------------------------------------------

    def wake(self, *, now: datetime) -> int:
        """Wake as many as may start now; how many there were."""
        self._woke_at = now
        woken = 0
        for waiting in self._waiting():
            count = waiting.may_start(now)
            if count:
                with self._store.atomic():
                    woken += self._wake_first(waiting.limit.key, count)
        return woken

    def next_wake(self) -> datetime | None:
        """When `wake` should be called next; None when nobody waits whom it could wake."""
        instants = []
        for waiting in self._waiting():
            if waiting.slots == 0:
                continue  # Who frees one wakes the next.
            next_free, woke_at = waiting.next_free, self._woke_at
            if next_free is not None and (woke_at is None or next_free > woke_at):
                instants.append(next_free)
            elif woke_at is not None:
                instants.append(woke_at + WAKE_MORE)
        return min(instants, default=None)

    def begin(self, *, now: datetime) -> None:
        """A worker starts: tidy up after rows that were deleted and limits that were lifted."""
        self._woke_at = now
        store = self._store
        leaked = store.fetch(
            f"SELECT {SLOTS}.id FROM {SLOTS} LEFT JOIN {TABLE} ON {TABLE}.id = {SLOTS}.job_id "
            f"WHERE {TABLE}.owner IS NULL"
        )
        for group in groups([row[0] for row in leaked], GROUP):
            store.change(
                f"DELETE FROM {SLOTS} WHERE id IN ({', '.join(['%s'] * len(group))})", group
            )
        alias, limits = store.serves.backend, self._by_key()
        waited_for = store.fetch(
            f"SELECT DISTINCT waits_for FROM {TABLE} WHERE waits_for IS NOT NULL"
        )
        for (key,) in waited_for:
            if key not in limits and key.startswith((f"queue:{alias}:", f"task:{alias}:")):
                while self._wake_first(key, GROUP):
                    pass

    def _by_key(self) -> dict[str, Limit]:
        # Anew each time: tasks with limits may be imported late.
        serves = self._store.serves
        limits = (*serves.queue_limits.values(), *serves.task_limits.values())
        return {limit.key: limit for limit in limits}

    def _waiting(self) -> list[_Waiting]:
        """The limits that somebody waits for."""
        limits, key = self._by_key(), self._key
        rows = [
            row
            for names in groups(sorted(limits), GROUP)
            for row in self._store.fetch(
                f"SELECT {key}, next_free, "
                f"(SELECT count(*) FROM {SLOTS} s WHERE s.{key} = {LIMITS}.{key}) "
                f"FROM {LIMITS} WHERE {key} IN ({', '.join(['%s'] * len(names))}) "
                f"AND EXISTS (SELECT 1 FROM {TABLE} WHERE waits_for = {LIMITS}.{key})",
                names,
            )
        ]
        return [
            _Waiting(limits[name], self._store.restore(next_free), taken)
            for name, next_free, taken in rows
        ]

    def _wake_first(self, key: str, count: int) -> int:
        """Wake those that have waited longest for this key."""
        store = self._store
        rows = store.fetch(
            f"SELECT id FROM {TABLE} WHERE waits_for = %s ORDER BY {TABLE}.rank, id "
            f"LIMIT %s{store.for_update}",
            [key, count],
        )
        ids = [row[0] for row in rows]
        if not ids:
            return 0
        return store.change(
            f"UPDATE {TABLE} SET {WOKEN} WHERE status = 'DEFERRED' AND id IN {store.ids(len(ids))}",
            ids,
        )

    # -- the rows --------------------------------------------------------------------------

    @property
    def _key(self) -> str:
        return self._store.quote("key")

    def _adapted(self, moment: datetime | None) -> Any:
        return None if moment is None else self._store.adapt(moment)

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


def _first(limits: Iterable[Limit], holds: Any) -> Limit | None:
    return next(filter(holds, limits), None)


def _is_full(limit: Limit, taken: Counter[str]) -> bool:
    return limit.max_concurrency is not None and taken[limit.key] >= limit.max_concurrency


def _is_early(limit: Limit, next_free: dict[str, datetime | None], now: datetime) -> bool:
    return limit.interval is not None and not may_start(next_free[limit.key], now=now)


def _use(
    job: Job, limits: Iterable[Limit], next_free: dict[str, datetime | None], *, now: datetime
) -> Iterator[str]:
    """Use up an instant of each rate; the keys of those rates."""
    for limit in limits:
        if limit.interval is not None:
            next_free[limit.key] = after_start(
                next_free[limit.key],
                interval=limit.interval,
                now=now,
                waited=job.reserved_at is not None,
            )
            yield limit.key


def _slots_of(limits: Iterable[Limit]) -> tuple[str, ...]:
    return tuple(limit.key for limit in limits if limit.max_concurrency is not None)
