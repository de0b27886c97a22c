"""Cron lines in time zones: when a line is due, as Debian's cron has it.

cronsim reads the line and walks the wall clock. Which instants that clock shows is worked out
here: cronsim's own walk through a time zone (2.8) gives other times for other starting points where
clocks change by half an hour (Australia/Lord_Howe) or at midnight (Africa/Cairo), and workers that
ask at different times must agree.

Where clocks change, ``man 5 crontab`` of Debian makes a difference, and so do we:

- A line whose minute and hour are set ("30 2 * * *") is due once a day. A time that the change
  skips is due when the change is over (02:30 at 03:00); a time that comes twice, the first time.
  Skipped times that meet there, or meet a time that is due then anyway, are due once together.
- A line whose minute or hour begins with a star ("*/15 * * * *", "0 */2 * * *") runs through: it
  is due whenever the clock shows a time that matches, twice too, and not at times it never shows.

The rules of a zone are those of this machine's time zone database: where governments change them
at short notice, workers agree once they all have the new ones.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from .schedule_errors import Problem, ScheduleError

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - wall times are naive

_NICKNAMES = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}

# Each field: its name, and what it may be beside a star, a range, a step and a list.
_FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31, L (the last) or LW (the last weekday)"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT (0 and 7: Sunday), MON#1 (the first) or 5L (the last)"),
)


def normalised(line: object) -> str:
    """The line in one spelling: nicknames (@daily) written out, upper case, single spaces.

    Raises ScheduleError when it is no cron line, naming the part that is wrong.
    """
    if not isinstance(line, str):
        raise ScheduleError(
            Problem(f"The cron line is {line!r}, not text.", "Write it as in '30 3 * * MON'.")
        )
    fields = line.upper().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        if fields[0] not in _NICKNAMES:
            names = ", ".join(nickname.lower() for nickname in _NICKNAMES)
            raise ScheduleError(
                Problem(f"The cron line {line!r} is no nickname of cron's.", f"There are {names}.")
            )
        return _NICKNAMES[fields[0]]
    if len(fields) != len(_FIELDS):
        seconds = " For seconds, use every." if len(fields) == len(_FIELDS) + 1 else ""
        raise ScheduleError(
            Problem(
                f"The cron line {line!r} has {len(fields)} fields, not 5.",
                "Write minute, hour, day of the month, month and day of the week, as in "
                f"'30 3 * * MON'.{seconds}",
            )
        )
    for field, (name, values) in enumerate(_FIELDS):
        for term in fields[field].split(","):
            alone = ["*"] * len(_FIELDS)
            alone[field] = term
            if not _is_read(" ".join(alone)):
                raise ScheduleError(
                    Problem(
                        f"The cron line {line!r} has {term!r} as its {name}, which cron does not "
                        "know.",
                        f"Write {values}; or *, a range 1-5 (from low to high), a step */2, or "
                        "several of these with commas and no spaces between.",
                    )
                )
    joined = " ".join(fields)
    if not _is_read(joined) or next(CronSim(joined, _ANY_DAY), None) is None:
        raise ScheduleError(
            Problem(
                f"The cron line {line!r} is due on no day of the next fifty years.",
                "Choose a day of the month that its months have, and that can be such a day of "
                "the week.",
            )
        )
    return joined


def _is_read(line: str) -> bool:
    try:
        CronSim(line, _ANY_DAY)
    except (CronSimError, ValueError):  # ValueError: thousands of digits
        return False
    return True


def next_tick(line: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first instant later than ``after`` at which the line is due. Both are in UTC."""
    minute, hour, *_ = line.split()
    # As Debian's cron tells them apart: by the first character of these two fields.
    if minute.startswith("*") or hour.startswith("*"):
        return _next_running_through(line, zone, after)
    # Walking on from the wall time of `after` misses nothing: earlier wall times are due earlier.
    for wall in CronSim(line, _wall_time(after, zone)):
        tick = _when_first_shown(wall, zone)
        # The first showing of a time may be past while the clock is about to show it again.
        if tick > after:
            return tick
    raise AssertionError(f"{line} has an end")  # pragma: no cover - `normalised` looked for it


def _next_running_through(line: str, zone: ZoneInfo, after: datetime) -> datetime:
    start = after.replace(microsecond=0)
    wall = _wall_time(start, zone)
    offset = wall.replace(tzinfo=UTC) - start
    while True:
        # As if the clock were never changed, until a change comes first.
        tick = next(CronSim(line, wall)).replace(tzinfo=UTC) - offset
        change = _first_change(zone, start, tick)
        if change is None:
            return tick
        # Nothing is due before the change. From then on the clock shows other times, the first of
        # them at that very instant: walk on from a second before it.
        start = change
        wall = _wall_time(start, zone)
        offset = wall.replace(tzinfo=UTC) - start
        wall -= _SECOND


def _wall_time(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows then: naive, and without a `fold`."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _when_first_shown(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the clock shows this time, or has skipped it."""
    # Of a time that is skipped, fold=0 is reckoned by the clock before the change, and thus lies
    # after it; fold=1 the other way round.
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _wall_time(instant, zone) == wall:
        return instant
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _first_change(zone, before, instant) or instant


def _first_change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """When the zone's offset first changes in (after, until], or None; whole seconds."""
    if until - after > _DAY:
        # No zone changes twice within a day, so one look a day finds every change.
        days = (until - after) // _DAY
        for day in range(days):
            change = _first_change(zone, after + day * _DAY, after + (day + 1) * _DAY)
            if change is not None:
                return change
        after += days * _DAY
    offset = after.astimezone(zone).utcoffset()
    if until.astimezone(zone).utcoffset() == offset:
        return None
    while until - after > _SECOND:
        middle = after + (until - after) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            until = middle
    return until
