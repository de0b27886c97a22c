"""Laws of schedules: ticks that are strictly later, match, and are the same for all who ask."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_database.engine.schedules import (
    CatchUp,
    Schedule,
    ScheduleError,
    crontab,
    described,
    due_ticks,
    every,
    next_after,
    next_due,
)
from tasks_database.engine.triggers import newest_tick

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

# Days around changes of the clock, and quiet ones: by an hour, half an hour, two hours; at
# midnight (Cairo, Havana); in winter instead of summer (Casablanca); at offsets with minutes; a day
# that was left out (Apia).
DAYS = {
    "UTC": ["2026-03-01"],
    "Europe/Zurich": ["2026-03-29", "2026-10-25", "2026-06-01"],
    "America/New_York": ["2026-03-08", "2026-11-01", "2026-12-31"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "Africa/Cairo": ["2026-04-24", "2026-10-29"],
    "America/Havana": ["2026-03-08", "2026-11-01"],
    "America/St_Johns": ["2006-04-02", "2006-10-29"],
    "Antarctica/Troll": ["2026-03-29", "2026-10-25"],
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],
    "Asia/Kathmandu": ["2026-07-01"],
    "Pacific/Chatham": ["2026-04-05", "2026-09-27"],
    "Pacific/Apia": ["2011-12-30"],
}
places = st.sampled_from([(zone, day) for zone, days in DAYS.items() for day in days])


@st.composite
def fields(draw, whole, *, low=0, high=None):
    """A field of a cron line, and which numbers it matches; from low to high if without a star."""
    high = whole[-1] if high is None else high
    kind = draw(st.sampled_from(["star", "step", "list", "range", "stepped range"]))
    step = draw(st.integers(2, 20))
    if kind == "star":
        return "*", set(whole)
    if kind == "step":
        return f"*/{step}", set(whole[::step])
    if kind == "list":
        numbers = draw(st.lists(st.integers(low, high), min_size=1, max_size=3))
        return ",".join(map(str, numbers)), set(numbers)
    first, last = sorted([draw(st.integers(low, high)), draw(st.integers(low, high))])
    if kind == "range":
        return f"{first}-{last}", set(range(first, last + 1))
    # A step over one number alone means something else.
    last = first + 1 if first == last and first < high else last
    first = last - 1 if first == last else first
    return f"{first}-{last}/{step}", set(range(first, last + 1, step))


class Line:
    """A cron line that can be told, minute by minute, whether a time matches it."""

    def __init__(self, minute, hour, weekday):
        self.text = f"{minute[0]} {hour[0]} * * {weekday[0]}"
        self.minutes, self.hours, self.weekdays = minute[1], hour[1], weekday[1]
        self.runs_through = "*" in (minute[0][0], hour[0][0])

    def __repr__(self):
        return self.text

    def matches(self, wall):
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and bool({wall.isoweekday(), wall.isoweekday() % 7} & self.weekdays)
        )

    def ticks(self, zone, begin, end):
        """By looking at every minute in (begin, end]."""
        found = set()
        previous = None
        minute = begin - 2 * timedelta(days=1)
        while minute <= end:
            wall = minute.astimezone(zone).replace(tzinfo=None)
            second_time = bool(minute.astimezone(zone).fold)
            skipped = []
            if previous is not None and wall - previous > MINUTE:
                skipped = [previous + MINUTE * n for n in range(1, (wall - previous) // MINUTE)]
            previous = wall
            if self.runs_through:
                due = self.matches(wall)
            else:
                due = (self.matches(wall) and not second_time) or any(map(self.matches, skipped))
            if due and minute > begin:
                found.add(minute)
            minute += MINUTE
        return sorted(found)


lines = st.builds(
    Line,
    fields(range(60)),
    # Around the hours at which clocks are changed, most of the time.
    st.one_of(fields(range(24), high=3), fields(range(24), high=3), fields(range(24))),
    st.one_of(st.just(("*", set(range(7)))), fields(range(8), high=6)),
)


@st.composite
def moments(draw, day, zone):
    """A UTC instant around the day's change of the clock."""
    noon = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) + 2 * HOUR
    microseconds = draw(st.integers(-30 * 3600 * 10**6, 30 * 3600 * 10**6))
    moment = noon.astimezone(UTC) + timedelta(microseconds=microseconds)
    return draw(st.sampled_from([moment, moment.replace(second=0, microsecond=0)]))


@st.composite
def asked(draw):
    """A line, its zone, and two moments in order."""
    zone, day = draw(places)
    begin, end = sorted([draw(moments(day, zone)), draw(moments(day, zone))])
    return draw(lines), zone, begin, end


intervals = st.timedeltas(min_value=SECOND, max_value=timedelta(days=400))
triggers = st.one_of(
    st.builds(every, intervals),
    st.builds(lambda line, place: crontab(line.text, timezone=place[0]), lines, places),
)
instants = st.datetimes(datetime(2005, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))


def between(trigger, begin, end):
    """All ticks in (begin, end], asked for one by one."""
    found = []
    tick = next_after(trigger, begin)
    while tick <= end:
        found.append(tick)
        tick = next_after(trigger, tick)
    return found


# -- next_after ----------------------------------------------------------------------------------


@given(asked())
def test_ticks_of_a_line_are_those_that_a_look_at_every_minute_finds(case):
    line, zone, begin, end = case

    found = between(crontab(line.text, timezone=zone), begin, end)

    start = begin.replace(second=0, microsecond=0)
    assert found == [tick for tick in line.ticks(ZoneInfo(zone), start, end) if tick > begin]


@given(triggers, instants)
def test_ticks_are_strictly_later_and_in_utc(trigger, moment):
    ticks = [moment]
    for _ in range(5):
        ticks.append(next_after(trigger, ticks[-1]))

    assert all(earlier < later for earlier, later in pairwise(ticks))
    assert all(tick.tzinfo is UTC for tick in ticks[1:])


@given(triggers, instants, st.floats(0, 1))
def test_whoever_asks_later_but_before_the_tick_gets_the_same_tick(trigger, moment, part):
    tick = next_after(trigger, moment)
    later = moment + (tick - moment) * part

    assert later == tick or next_after(trigger, later) == tick


@given(intervals, instants)
def test_an_interval_is_due_at_its_multiples(interval, moment):
    tick = next_after(every(interval), moment)

    assert (tick - datetime(1970, 1, 1, tzinfo=UTC)) % interval == timedelta()
    assert tick - interval <= moment < tick


@given(lines, st.sampled_from(["Europe/Zurich", "America/New_York", "Asia/Kathmandu"]), instants)
def test_where_clocks_change_by_whole_hours_after_midnight_cronsim_itself_agrees(
    line, zone, moment
):
    tick = next_after(crontab(line.text, timezone=zone), moment)

    walked = CronSim(line.text, moment.astimezone(ZoneInfo(zone)))
    theirs = next(walked).astimezone(UTC)
    while theirs <= moment:  # It may name the first of two times when the second is to come.
        theirs = next(walked).astimezone(UTC)
    assert tick == theirs


@given(st.text("0123456789*/-,LW#@ SUNDAYJFEBMR²", max_size=30))
def test_any_text_is_a_cron_line_or_a_schedule_error(text):
    try:
        trigger = crontab(text, timezone="UTC")
    except ScheduleError as error:
        assert repr(text) in str(error)
    else:
        assert next_after(trigger, datetime(2026, 1, 1, tzinfo=UTC))
        assert described(trigger)


@given(asked())
def test_the_newest_tick_is_the_last_of_all(case):
    line, zone, begin, end = case
    trigger = crontab(line.text, timezone=zone)

    assert newest_tick(trigger, begin, end) == max(between(trigger, begin, end), default=None)


# -- due_ticks -----------------------------------------------------------------------------------


@st.composite
def outages(draw, catch_up=None):
    """A schedule, when its last tick was, and later times at which workers ask, in any order."""
    policy = draw(st.sampled_from(CatchUp)) if catch_up is None else catch_up
    zone, day = draw(places)
    begin = draw(moments(day, zone))
    trigger = draw(
        st.one_of(
            st.builds(every, st.timedeltas(5 * MINUTE, 50 * HOUR), catch_up=st.just(policy)),
            st.builds(
                lambda line: crontab(line.text, timezone=zone, catch_up=policy),
                lines,
            ),
        )
    )
    asks = draw(st.lists(st.timedeltas(-HOUR, 30 * HOUR), min_size=1, max_size=6))
    schedule = Schedule(name="s", task_path="shop.tasks.report", trigger=trigger)
    return schedule, begin, [begin + ask for ask in asks]


def ask(schedule, last_tick, now):
    """As a worker does: until there is nothing left to do at once."""
    done = []
    while ticks := due_ticks(schedule, last_tick, now):
        done += ticks
        last_tick = ticks[-1]
    assert next_due(schedule, last_tick, now) > max(now, last_tick)
    return done, last_tick


@given(outages(CatchUp.ALL))
def test_however_an_interval_is_split_no_tick_is_lost_and_none_comes_twice(outage):
    schedule, begin, asks = outage
    asks.sort()

    done, last_tick = [], begin
    for now in asks:
        ticks, last_tick = ask(schedule, last_tick, now)
        done += ticks

    assert done == between(schedule.trigger, begin, asks[-1])


@given(outages())
def test_workers_whose_clocks_differ_agree_on_the_ticks(outage):
    # Any order of asking: a worker whose clock is behind asks after one whose clock is ahead.
    schedule, begin, asks = outage

    done, last_tick = [], begin
    for now in asks:
        ticks, last_tick = ask(schedule, last_tick, now)
        done += ticks

    possible = between(schedule.trigger, begin, max(*asks, begin))
    assert done == sorted(set(done))
    assert set(done) <= set(possible)
    if schedule.trigger.catch_up is CatchUp.ALL:
        assert done == possible
    if schedule.trigger.catch_up is CatchUp.LATEST:
        assert done[-1:] == possible[-1:]


@given(outages())
def test_a_worker_that_asks_when_it_is_due_misses_nothing_whatever_the_policy(outage):
    schedule, begin, asks = outage
    end = max(*asks, begin)

    done = []
    due = next_due(schedule, begin, begin)
    last_tick = begin
    while due <= end:
        ticks, last_tick = ask(schedule, last_tick, due)
        done += ticks
        due = next_due(schedule, last_tick, due)

    assert done == between(schedule.trigger, begin, end)


@given(outages(CatchUp.LATEST))
def test_latest_is_the_last_one_of_all(outage):
    schedule, begin, asks = outage

    for now in asks:
        every_tick = between(schedule.trigger, begin, now)
        assert due_ticks(schedule, begin, now) == tuple(every_tick[-1:])


@pytest.mark.parametrize("zone", ["Europe/Zurich", "America/New_York", "Australia/Lord_Howe"])
@settings(max_examples=25)
@given(hour=st.integers(0, 23), minute=st.integers(0, 59), year=st.integers(2005, 2037))
def test_a_set_time_is_due_exactly_once_on_every_day_of_every_year(zone, hour, minute, year):
    begin = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)

    due = between(crontab(f"{minute} {hour} * * *", timezone=zone), begin - SECOND, end - SECOND)

    days = [tick.astimezone(ZoneInfo(zone)).date() for tick in due]
    first = days[0]
    assert days == [first + timedelta(days=number) for number in range(len(days))]
    assert len(days) in (365, 366)
