"""What there is to see of schedules: in the code, in the database, and whether the two agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .engine.schedules import Schedule, next_after
from .schedule_rows import ScheduleRows, as_utc
from .store import ORMStore


class Standing(StrEnum):
    """How the row of a schedule stands to its definition."""

    IN_STEP = "in step"
    NEW = "new: no worker has started with it"
    CHANGED = "changed: no worker has started with this definition since"
    REMOVED = "not defined here"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A schedule as it is defined here, or known to the database, or both. Times are in UTC.

    schedule: None where it is not defined here.
    last_tick: up to when it was dealt with: its last tick, or since when it is defined.
    """

    name: str
    task_path: str
    schedule: Schedule | None
    standing: Standing
    last_tick: datetime | None
    next_ticks: tuple[datetime, ...]


def states(
    definitions: Mapping[str, Schedule], store: ORMStore, *, now: datetime, count: int = 1
) -> list[State]:
    """Every schedule of the backend alias, by name, with its next ``count`` ticks."""
    rows = ScheduleRows(store)
    found = rows.all()
    known = []
    for name in sorted(definitions.keys() | found):
        schedule, row = definitions.get(name), found.get(name)
        last_tick = None if row is None else rows.last_tick(row)
        next_ticks: tuple[datetime, ...] = ()
        task_path = "" if row is None else row.task_path
        if schedule is None:
            standing = Standing.REMOVED
        else:
            task_path = schedule.task_path
            moment = as_utc(now)
            next_ticks = _ticks_after(schedule, max(moment, last_tick or moment), count)
            if row is None:
                standing = Standing.NEW
            elif row.definition_hash != schedule.definition_hash:
                standing = Standing.CHANGED
            else:
                standing = Standing.IN_STEP
        known.append(
            State(
                name=name,
                task_path=task_path,
                schedule=schedule,
                standing=standing,
                last_tick=last_tick,
                next_ticks=next_ticks,
            )
        )
    return known


def _ticks_after(schedule: Schedule, moment: datetime, count: int) -> tuple[datetime, ...]:
    ticks = []
    for _ in range(count):
        moment = next_after(schedule.trigger, moment)
        ticks.append(moment)
    return tuple(ticks)
