"""Recurring schedules: which ticks are due, by what is remembered of the last one.

A schedule is a value; all the state that there is of it is the instant of its last tick. Given
that, `due_ticks` answers the same for every worker, so whoever first moves it forward has done the
ticks in between, and nobody does them again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from .framework import DEFAULT_TASK_BACKEND_ALIAS
from .payload import decode
from .schedule_errors import Problem, ScheduleError
from .triggers import (
    CatchUp,
    Crontab,
    Every,
    Trigger,
    as_trigger,
    crontab,
    described,
    every,
    in_timezone,
    newest_tick,
    next_after,
)

__all__ = [
    "GRACE",
    "MAX_TICKS",
    "CatchUp",
    "Crontab",
    "Every",
    "Problem",
    "Schedule",
    "ScheduleError",
    "Trigger",
    "as_trigger",
    "crontab",
    "described",
    "due_ticks",
    "every",
    "in_timezone",
    "next_after",
    "next_due",
]

GRACE = timedelta(seconds=60)
"""How late a tick may be for catch_up="none": long enough for a busy worker and for a restart in a
deployment, too short for an outage that anybody would call one."""

MAX_TICKS = 1_000
"""How many ticks `due_ticks` gives at once for catch_up="all"; the rest is due in the next call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A task that is enqueued at each tick of a trigger.

    payload: JSON text of [args, kwargs], as a Job has it.
    queue_name, priority: None leaves what the task itself says.
    """

    name: str
    task_path: str
    trigger: Trigger
    payload: str = "[[],{}]"
    queue_name: str | None = None
    priority: int | None = None
    backend: str = DEFAULT_TASK_BACKEND_ALIAS

    @property
    def definition_hash(self) -> str:
        """32 hex digits over all that makes it this schedule, the same in every process.

        Worker processes with different code tell by it whether the row in the database is theirs.
        Without the name and the backend: those are the row's key.
        """
        trigger = self.trigger
        definition = {
            "task": self.task_path,
            "payload": decode(self.payload),
            "queue_name": self.queue_name,
            "priority": self.priority,
            "catch_up": trigger.catch_up.value,
            "trigger": (
                ["every", trigger.interval // timedelta.resolution]
                if isinstance(trigger, Every)
                else ["cron", trigger.line, trigger.timezone]
            ),
        }
        text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def due_ticks(
    schedule: Schedule, last_tick: datetime | None, now: datetime
) -> tuple[datetime, ...]:
    """The ticks after ``last_tick`` and up to ``now`` that are to be enqueued, oldest first.

    catch_up "latest": the newest of them. "all": each, at most MAX_TICKS; go on from the last one
    for the rest. "none": the newest, if it is younger than GRACE.

    Nothing for a schedule that has just been seen for the first time (``last_tick`` None: remember
    ``now`` for it), nor when the clock went backwards. All times know their zone.
    """
    if last_tick is None or now <= last_tick:
        return ()
    trigger = schedule.trigger
    if trigger.catch_up is CatchUp.ALL:
        ticks: list[datetime] = []
        tick = next_after(trigger, last_tick)
        while tick <= now and len(ticks) < MAX_TICKS:
            ticks.append(tick)
            tick = next_after(trigger, tick)
        return tuple(ticks)
    if trigger.catch_up is CatchUp.NONE:
        last_tick = max(last_tick, now - GRACE)
    newest = newest_tick(trigger, last_tick, now)
    return () if newest is None else (newest,)


def next_due(schedule: Schedule, last_tick: datetime | None, now: datetime) -> datetime:
    """When to ask `due_ticks` again, once what it gave at ``now`` is done and remembered.

    It is not later than ``now`` when catch_up="all" has more ticks to give.
    """
    if last_tick is None:
        last_tick = now
    elif schedule.trigger.catch_up is not CatchUp.ALL:
        last_tick = max(last_tick, now)
    return next_after(schedule.trigger, last_tick)
