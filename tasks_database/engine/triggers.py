"""Triggers: values that say when something recurs, and what becomes of times that were missed.

    crontab("0 3 * * *", timezone="Europe/Zurich")
    every(minutes=5, catch_up="none")

A trigger has no state and no beginning: its ticks are the same for whoever asks, whenever. That is
how several workers agree without a leader, and why a restart changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypedDict, Unpack
from zoneinfo import ZoneInfo

from cronsim import CronSim

from . import cron
from .schedule_errors import Problem, ScheduleError, collecting

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(seconds=1)


class CatchUp(StrEnum):
    """Which ticks still count that nobody was there for: an outage, a stopped worker."""

    LATEST = "latest"  # The newest one only.
    ALL = "all"  # Each of them, oldest first.
    NONE = "none"  # None; see GRACE in schedules.py for how late a tick may be.


@dataclass(frozen=True, slots=True)
class Crontab:
    """Due by a cron line, in a time zone; see `crontab`, which makes these.

    Without a ``timezone`` it waits for a default: see `in_timezone`.
    """

    line: str
    timezone: str | None = None
    catch_up: CatchUp = CatchUp.LATEST


@dataclass(frozen=True, slots=True)
class Every:
    """Due at every multiple of ``interval`` since 1970 in UTC; see `every`, which makes these."""

    interval: timedelta
    catch_up: CatchUp = CatchUp.LATEST


type Trigger = Crontab | Every


def crontab(line: str, *, timezone: str | None = None, catch_up: str = CatchUp.LATEST) -> Crontab:
    """Due when a clock on the wall shows what the cron line says; cron.py has the fine print.

    line: minute, hour, day of the month, month, day of the week; or @hourly, @daily, ...
    timezone: where that wall is, as in "Europe/Zurich"; by default settings.TIME_ZONE.
    catch_up: "latest", "all" or "none", about ticks that were missed.

    Raises ScheduleError, with what is wrong and what to write.
    """
    problems: list[Problem] = []
    with collecting(problems):
        line = cron.normalised(line)
    with collecting(problems):
        if timezone is not None:
            _zone(timezone)
    with collecting(problems):
        catch_up = _catch_up(catch_up)
    if problems:
        raise ScheduleError(*problems)
    return Crontab(line, timezone, CatchUp(catch_up))


class Units(TypedDict, total=False):
    """An interval in words: what is given is added up."""

    weeks: float
    days: float
    hours: float
    minutes: float
    seconds: float


def every(
    interval: timedelta | float | None = None,
    /,
    *,
    catch_up: str = CatchUp.LATEST,
    **units: Unpack[Units],
) -> Every:
    """Due at regular intervals, counted from the beginning of 1970 in UTC.

    So every(hours=1) is due on the hour, every(days=1) at midnight UTC, every(weeks=1) on
    Thursdays: for times of the local day use `crontab`.

    interval: a timedelta or a number of seconds, at least one second; or in units, as in
    every(minutes=5).
    catch_up: "latest", "all" or "none", about ticks that were missed.

    Raises ScheduleError, with what is wrong and what to write; TypeError for an unknown unit.
    """
    for name in units:
        if name not in Units.__annotations__:
            raise TypeError(
                f"every() has no unit {name!r}; it takes {', '.join(Units.__annotations__)}."
            )
    if (interval is not None) is bool(units):
        raise TypeError(
            "every() takes an interval or units: every(timedelta(minutes=5)) or every(minutes=5)."
        )
    problems: list[Problem] = []
    with collecting(problems):
        interval = _interval(interval, units)
    with collecting(problems):
        catch_up = _catch_up(catch_up)
    if problems:
        raise ScheduleError(*problems)
    assert isinstance(interval, timedelta)  # noqa: S101 - for the type checker
    return Every(interval, CatchUp(catch_up))


def _interval(interval: object, units: Units) -> timedelta:
    given: dict[str, Any] = {"seconds": interval} if interval is not None else {**units}
    shown = given if interval is None else interval
    try:
        if isinstance(interval, bool):
            raise TypeError("that is no length of time")
        length = interval if isinstance(interval, timedelta) else timedelta(**given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ScheduleError(
            Problem(f"The interval is {shown!r}: {error}.", _INTERVAL_HINT)
        ) from None
    if length < _SHORTEST:
        raise ScheduleError(
            Problem(f"The interval is {shown!r}, less than a second.", _INTERVAL_HINT)
        )
    return length


_INTERVAL_HINT = "Write a timedelta or a number of seconds, at least 1."


def as_trigger(value: object) -> Trigger:
    """A trigger from how it may be written: as one, as a cron line, or as a timedelta.

    Raises ScheduleError for anything else, and for a line or interval that is wrong.
    """
    if isinstance(value, Crontab | Every):
        return value
    if isinstance(value, str):
        return crontab(value)
    if isinstance(value, timedelta):
        return every(value)
    raise ScheduleError(
        Problem(
            f"A schedule cannot be {value!r}.",
            "Write a cron line such as '0 3 * * *', a timedelta, crontab(...) or every(...).",
        )
    )


def in_timezone(trigger: Trigger, default: str) -> Trigger:
    """The trigger, with this zone if its clock has none of its own.

    Raises ScheduleError for a zone that is not known here.
    """
    if isinstance(trigger, Every) or trigger.timezone is not None:
        return trigger
    _zone(default)
    return replace(trigger, timezone=default)


def next_after(trigger: Trigger, moment: datetime) -> datetime:
    """The first tick later than ``moment`` (never at it), in UTC.

    ``moment`` must know its time zone; ValueError otherwise, and for a Crontab without one.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone, so it is no instant. Pass one in UTC.")
    moment = moment.astimezone(UTC)
    if isinstance(trigger, Every):
        return _EPOCH + ((moment - _EPOCH) // trigger.interval + 1) * trigger.interval
    if trigger.timezone is None:
        raise ValueError(f"{trigger!r} has no time zone. Give it one with in_timezone().")
    return cron.next_tick(trigger.line, _zone(trigger.timezone), moment)


def newest_tick(trigger: Trigger, after: datetime, until: datetime) -> datetime | None:
    """The last tick in (after, until], or None. Quick even if that is years of minutes."""
    newest = next_after(trigger, after)
    if newest > until:
        return None
    if next_after(trigger, newest) > until:
        return newest
    # No tick in (end, until] is yet to be found: halve what is between.
    end = until
    while newest < end:
        middle = newest + (end - newest) / 2
        tick = next_after(trigger, middle)
        if tick <= until:
            newest = tick
        else:
            end = middle
    return newest


def described(trigger: Trigger) -> str:
    """In words: "At 03:00 every day (Europe/Zurich)", "Every 5 minutes"."""
    if isinstance(trigger, Every):
        return f"Every {_in_words(trigger.interval)}"
    words = CronSim(trigger.line, _EPOCH).explain()
    return words if trigger.timezone is None else f"{words} ({trigger.timezone})"


def _in_words(interval: timedelta) -> str:
    if interval == timedelta(seconds=1):
        return "second"
    seconds, microseconds = divmod(interval // timedelta.resolution, 10**6)
    parts = []
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {name}{'s' * (count > 1)}")
    if seconds or microseconds:
        exact = f"{seconds}.{microseconds:06}".rstrip("0").rstrip(".")
        parts.append(f"{exact} second{'s' * (exact != '1')}")
    return " ".join(parts)


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(name)  # type: ignore[arg-type]
    except (LookupError, ValueError, TypeError, AttributeError, OSError):
        # OSError: the name of a folder of the database, or one too long for the file system.
        raise ScheduleError(
            Problem(
                f"The time zone {name!r} is not known here.",
                "Write a name of the IANA time zone database, such as 'Europe/Zurich'.",
            )
        ) from None


def _catch_up(value: object) -> CatchUp:
    try:
        return CatchUp(value)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(repr(each.value) for each in CatchUp)
        raise ScheduleError(
            Problem(f"catch_up is {value!r}, which is unknown.", f"Write one of {known}.")
        ) from None
