"""Triggers and schedules: when they are due, across changes of the clock and outages."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest

from tasks_database.engine import encode
from tasks_database.engine.schedules import (
    GRACE,
    MAX_TICKS,
    CatchUp,
    Crontab,
    Every,
    Schedule,
    ScheduleError,
    as_trigger,
    crontab,
    described,
    due_ticks,
    every,
    in_timezone,
    next_after,
    next_due,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ticks(trigger, after):
    while True:
        after = next_after(trigger, after)
        yield after


def local_ticks(line, zone, day, *, days=1):
    """What clocks in the zone show, and their offset, at the ticks of some days of this year."""
    tz = ZoneInfo(zone)
    begin = datetime.fromisoformat(f"2026-{day}").replace(tzinfo=tz)
    end = (begin + timedelta(days=days)).astimezone(UTC)
    due = ticks(crontab(line, timezone=zone), begin.astimezone(UTC) - SECOND)
    return [
        tick.astimezone(tz).strftime("%d %H:%M %z")
        for tick in takewhile(lambda tick: tick < end, due)
    ]


def schedule(trigger, **fields):
    return Schedule(name="report", task_path="shop.tasks.report", trigger=trigger, **fields)


def problem(call, *args, **kwargs):
    with pytest.raises(ScheduleError) as caught:
        call(*args, **kwargs)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


# -- every ---------------------------------------------------------------------------------------


def test_an_interval_counts_from_the_beginning_of_1970_whenever_it_is_asked_for():
    assert next_after(every(minutes=5), NOON + SECOND) == NOON + 5 * MINUTE
    assert next_after(every(minutes=5), NOON + 4 * MINUTE) == NOON + 5 * MINUTE
    assert next_after(every(minutes=7), NOON).timestamp() % (7 * 60) == 0
    assert next_after(every(weeks=1), NOON).strftime("%A %H:%M") == "Thursday 00:00"


def test_a_tick_is_strictly_after_the_moment():
    assert next_after(every(minutes=5), NOON) == NOON + 5 * MINUTE
    assert next_after(crontab("0 12 * * *", timezone="UTC"), NOON) == NOON + 24 * HOUR
    before = NOON - timedelta.resolution
    assert next_after(every(minutes=5), before) == NOON
    assert next_after(crontab("0 12 * * *", timezone="UTC"), before) == NOON
    assert next_after(crontab("* * * * *", timezone="UTC"), before) == NOON


def test_intervals_are_written_as_a_timedelta_as_seconds_or_in_units():
    assert every(timedelta(minutes=5)) == every(300) == every(minutes=5) == Every(5 * MINUTE)
    assert every(hours=1, minutes=30).interval == 90 * MINUTE
    assert every(1.5).interval == 1.5 * SECOND


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        (0, "The interval is 0, less than a second. Write a timedelta or a number of seconds, "),
        (-5, "The interval is -5, less than a second."),
        (timedelta(seconds=-1), "is datetime.timedelta(days=-1, seconds=86399), less than a "),
        (0.5, "The interval is 0.5, less than a second."),
        ("5m", "The interval is '5m': unsupported type for timedelta seconds component: str."),
        (True, "The interval is True: that is no length of time."),
        (float("nan"), "The interval is nan: cannot convert float NaN to integer."),
        (float("inf"), "The interval is inf: cannot convert float infinity to integer."),
        (1e30, "The interval is 1e+30: "),
    ],
)
def test_what_is_no_interval(interval, sentence):
    assert sentence in problem(every, interval)


def test_an_interval_in_units_that_is_too_short_is_shown_in_units():
    assert "The interval is {'minutes': 0}, less than a second." in problem(every, minutes=0)


def test_every_takes_one_way_of_writing_an_interval():
    with pytest.raises(TypeError, match=r"^every\(\) takes an interval or units: every\(timed"):
        every()
    with pytest.raises(TypeError, match=r"^every\(\) takes an interval or units: every\(timed"):
        every(HOUR, minutes=5)
    with pytest.raises(TypeError, match=r"no unit 'months'; it takes weeks, days, hours, minut"):
        every(months=1)


# -- crontab -------------------------------------------------------------------------------------


def test_a_cron_line_is_read_in_its_time_zone():
    tick = next_after(crontab("0 3 * * *", timezone="Europe/Zurich"), NOON)

    assert tick == datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert tick.tzinfo is UTC


def test_spelling_does_not_matter():
    assert crontab(" 0  3 * jan\tmon ") == crontab("0 3 * JAN MON")
    assert crontab("@daily") == crontab("@midnight") == crontab("0 0 * * *")


@pytest.mark.parametrize(
    ("nickname", "then"),
    [
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
        ("@monthly", "2026-04-01 00:00"),
        ("@weekly", "2026-03-08 00:00"),
        ("@hourly", "2026-03-01 13:00"),
    ],
)
def test_nicknames(nickname, then):
    tick = next_after(crontab(nickname, timezone="UTC"), NOON)

    assert f"{tick:%Y-%m-%d %H:%M}" == then


@pytest.mark.parametrize(
    ("line", "then"),
    [
        ("0 0 L * *", "2026-03-31"),
        ("0 0 LW 5 *", "2026-05-29"),
        ("0 0 * * MON#2", "2026-03-09"),
        ("0 0 * * 5L", "2026-03-27"),
        ("0 0 13 * FRI", "2026-03-06"),  # either of them
        ("0 0 29 2 *", "2028-02-29"),
        ("0 0 * * 7", "2026-03-08"),
    ],
)
def test_days(line, then):
    assert f"{next_after(crontab(line, timezone='UTC'), NOON):%Y-%m-%d}" == then


KINDS = "*, a range 1-5 (from low to high), a step */2, or several of these with commas and no "


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "61 3 * * *",
            "The cron line '61 3 * * *' has '61' as its minute, which cron does not know. "
            f"Write 0-59; or {KINDS}spaces between.",
        ),
        ("0 24 * * *", "has '24' as its hour, which cron does not know. Write 0-23; or "),
        ("0 0 0 * *", "has '0' as its day of the month, which cron does not know. Write 1-31, L"),
        ("0 0 * 13 *", "has '13' as its month, which cron does not know. Write 1-12 or JAN-DEC"),
        ("0 0 * * fry", "has 'FRY' as its day of the week, which cron does not know. Write 0-7 or"),
        ("0 0 * * FRI-MON", "has 'FRI-MON' as its day of the week"),
        ("0,15,99 * * * *", "has '99' as its minute"),
        ("1,,2 * * * *", "has '' as its minute"),
        ("*/0 * * * *", "has '*/0' as its minute"),
        ("9" * 5000 + " * * * *", "as its minute"),
        ("0 3 * *", "The cron line '0 3 * *' has 4 fields, not 5. Write minute, hour, day of"),
        ("", "The cron line '' has 0 fields, not 5."),
        ("*/5 * * * * *", "has 6 fields, not 5. Write minute, hour, day of the month, month and"),
        ("*/5 * * * * *", "as in '30 3 * * MON'. For seconds, use every."),
        ("@reboot", "The cron line '@reboot' is no nickname of cron's. There are @yearly, @annu"),
        ("0 0 31 2 *", "The cron line '0 0 31 2 *' is due on no day of the next fifty years."),
        ("* * */20 * 1L", "is due on no day of the next fifty years. Choose a day of the month"),
        (5, "The cron line is 5, not text. Write it as in '30 3 * * MON'."),
    ],
)
def test_what_is_no_cron_line(line, sentence):
    assert sentence in problem(crontab, line)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "Europe", "../etc", "x" * 5000, 5, ["UTC"]])
def test_a_time_zone_that_is_not_known(zone):
    assert problem(crontab, "0 3 * * *", timezone=zone) == (
        f"The time zone {zone!r} is not known here. "
        "Write a name of the IANA time zone database, such as 'Europe/Zurich'."
    )


def test_what_to_catch_up_is_one_of_three():
    assert crontab("0 3 * * *", catch_up="all").catch_up is CatchUp.ALL
    assert every(5, catch_up="none").catch_up is CatchUp.NONE
    sentence = "catch_up is 'some', which is unknown. Write one of 'latest', 'all', 'none'."
    assert problem(crontab, "0 3 * * *", catch_up="some") == sentence
    assert problem(every, 5, catch_up="some") == sentence


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(ScheduleError) as caught:
        crontab("61 3 * * *", timezone="Mars", catch_up="some")

    assert [each.message.split(" is ")[0][:14] for each in caught.value.problems] == [
        "The cron line ",
        "The time zone ",
        "catch_up",
    ]
    assert str(caught.value).startswith("3 things are wrong with the schedules:\n- The cron line ")


# -- changes of the clock ------------------------------------------------------------------------

# In 2026 clocks go forward in Zurich on 29 March (02:00 to 03:00), in New York on 8 March (02:00
# to 03:00), on Lord Howe on 4 October (02:00 to 02:30), in Cairo on 24 April (00:00 to 01:00); they
# go back on 25 October (03:00 to 02:00), 1 November (02:00 to 01:00), 5 April (02:00 to 01:30).


@pytest.mark.parametrize(
    ("zone", "line", "day", "shown"),
    [
        ("Europe/Zurich", "30 2 * * *", "03-29", ["29 03:00 +0200"]),
        ("America/New_York", "30 2 * * *", "03-08", ["08 03:00 -0400"]),
        ("Australia/Lord_Howe", "15 2 * * *", "10-04", ["04 02:30 +1100"]),
        ("Africa/Cairo", "0 0 * * *", "04-24", ["24 01:00 +0300"]),
        ("Africa/Cairo", "0 0 * * FRI", "04-24", ["24 01:00 +0300"]),
    ],
)
def test_a_set_time_that_does_not_exist_is_due_once_when_the_change_is_over(zone, line, day, shown):
    assert local_ticks(line, zone, day) == shown


@pytest.mark.parametrize(
    ("zone", "line", "day", "shown"),
    [
        ("Europe/Zurich", "30 2 * * *", "10-25", ["25 02:30 +0200"]),
        ("America/New_York", "30 1 * * *", "11-01", ["01 01:30 -0400"]),
        ("Australia/Lord_Howe", "45 1 * * *", "04-05", ["05 01:45 +1100"]),
    ],
)
def test_a_set_time_that_comes_twice_is_due_the_first_time(zone, line, day, shown):
    assert local_ticks(line, zone, day) == shown


def test_a_set_time_is_not_due_again_for_a_worker_that_asks_between_the_two():
    zurich = crontab("30 2 * * *", timezone="Europe/Zurich")
    between = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=ZoneInfo("Europe/Zurich"))

    assert next_after(zurich, between) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_skipped_times_that_meet_are_due_once_together():
    shown = local_ticks("0,30 2-3 * * *", "Europe/Zurich", "03-29")

    assert shown == ["29 03:00 +0200", "29 03:30 +0200"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Zurich", "03-28", 71),
        ("Europe/Zurich", "10-24", 73),
        ("America/New_York", "03-07", 71),
        ("America/New_York", "10-31", 73),
        ("Australia/Lord_Howe", "10-03", 71.5),
        ("Australia/Lord_Howe", "04-04", 72.5),
        ("Africa/Cairo", "04-23", 71),
    ],
)
def test_a_line_that_begins_with_a_star_runs_through(zone, day, hours):
    shown = local_ticks("*/15 * * * *", zone, day, days=3)

    assert len(shown) == hours * 4
    begin = datetime.fromisoformat(f"2026-{day}").replace(tzinfo=ZoneInfo(zone))
    due = islice(ticks(crontab("*/15 * * * *", timezone=zone), begin), len(shown))
    assert list(due) == [
        begin.astimezone(UTC) + 15 * MINUTE * number for number in range(1, len(shown) + 1)
    ]


def test_a_starred_line_is_due_twice_at_a_time_that_comes_twice_and_not_at_one_that_never_does():
    assert local_ticks("*/30 2 * * *", "Europe/Zurich", "10-25") == [
        "25 02:00 +0200",
        "25 02:30 +0200",
        "25 02:00 +0100",
        "25 02:30 +0100",
    ]
    assert local_ticks("*/30 2 * * *", "Europe/Zurich", "03-29") == []


def test_no_tick_is_lost_where_clocks_change_by_half_an_hour():
    # cronsim's own walk through this zone goes on at 04:00, and at 03:30.
    assert local_ticks("0 */2 * * *", "Australia/Lord_Howe", "04-05")[:3] == [
        "05 00:00 +1100",
        "05 02:00 +1030",
        "05 04:00 +1030",
    ]
    assert local_ticks("*/10 3 * * *", "Australia/Lord_Howe", "10-04")[0] == "04 03:00 +1100"


def test_no_tick_is_invented_where_clocks_change_at_midnight():
    # cronsim's own walk comes by 01:00, when it starts on the evening before.
    assert local_ticks("0 */2 * * FRI", "Africa/Cairo", "04-23", days=2)[:2] == [
        "24 02:00 +0300",
        "24 04:00 +0300",
    ]


def test_a_rare_day_is_found_across_many_changes_of_the_clock():
    rare = crontab("*/20 12 29 2 *", timezone="Europe/Zurich")

    due = list(islice(ticks(rare, datetime(2026, 6, 1, tzinfo=UTC)), 4))

    assert due[:3] == [datetime(2028, 2, 29, 11, minute, tzinfo=UTC) for minute in (0, 20, 40)]
    assert due[3] == datetime(2032, 2, 29, 11, tzinfo=UTC)


# -- triggers in general -------------------------------------------------------------------------


def test_a_moment_may_be_given_in_any_zone_but_not_in_none():
    moment = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))

    assert next_after(every(hours=1), moment) == NOON + HOUR
    with pytest.raises(
        ValueError, match=r"has no time zone, so it is no instant. Pass one in UTC\."
    ):
        next_after(every(hours=1), datetime(2026, 3, 1))


def test_a_cron_line_without_a_zone_waits_for_the_default_one():
    waits = crontab("0 3 * * *", catch_up="all")

    assert in_timezone(waits, "Asia/Tokyo") == Crontab("0 3 * * *", "Asia/Tokyo", CatchUp.ALL)
    assert in_timezone(crontab("0 3 * * *", timezone="UTC"), "Asia/Tokyo").timezone == "UTC"
    assert in_timezone(every(5), "Asia/Tokyo") == every(5)
    assert "The time zone 'Mars' is not known here." in problem(in_timezone, waits, "Mars")
    with pytest.raises(ValueError, match=r"has no time zone. Give it one with in_timezone\(\)."):
        next_after(waits, NOON)


def test_ways_to_write_a_trigger():
    assert as_trigger("@daily") == crontab("0 0 * * *")
    assert as_trigger(5 * MINUTE) == every(minutes=5)
    assert as_trigger(every(5, catch_up="all")) == every(5, catch_up="all")
    assert "A schedule cannot be 300. Write a cron line such as" in problem(as_trigger, 300)
    assert "has '61' as its minute" in problem(as_trigger, "61 * * * *")


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (crontab("0 3 * * *"), "At 03:00 every day"),
        (crontab("0 3 * * *", timezone="Europe/Zurich"), "At 03:00 every day (Europe/Zurich)"),
        (every(1), "Every second"),
        (every(1.5), "Every 1.5 seconds"),
        (every(60), "Every 1 minute"),
        (every(weeks=1, minutes=90), "Every 7 days 1 hour 30 minutes"),
    ],
)
def test_a_trigger_in_words(trigger, words):
    assert described(trigger) == words


# -- schedules -----------------------------------------------------------------------------------


def test_the_hash_is_the_same_in_every_process_and_release():
    # Rows in databases hold these: another hash would restart every schedule there is.
    assert schedule(every(minutes=5)).definition_hash == "5fb543db05996ca897f8c65bebb5b683"
    nightly = schedule(
        crontab("0 3 * * MON", timezone="Europe/Zurich", catch_up="all"),
        payload=encode([[1], {"a": "é", "b": None}], what="arguments"),
        queue_name="reports",
        priority=5,
    )
    assert nightly.definition_hash == "38df027e99aee4b38389ae148f4dbac7"


@pytest.mark.parametrize(
    "other",
    [
        schedule(every(minutes=6)),
        schedule(every(minutes=5, catch_up="all")),
        schedule(crontab("*/5 * * * *", timezone="UTC")),
        schedule(crontab("*/5 * * * *", timezone="Europe/Zurich")),
        schedule(every(minutes=5), payload="[[1],{}]"),
        schedule(every(minutes=5), queue_name="reports"),
        schedule(every(minutes=5), priority=0),
        Schedule(name="report", task_path="shop.tasks.other", trigger=every(minutes=5)),
    ],
)
def test_whatever_changes_a_schedule_changes_its_hash(other):
    assert other.definition_hash != schedule(every(minutes=5)).definition_hash


def test_its_name_its_backend_and_the_order_of_its_kwargs_do_not():
    one = schedule(every(minutes=5), payload='[[],{"a":1,"b":2}]')
    two = Schedule(
        name="other",
        backend="other",
        task_path="shop.tasks.report",
        trigger=every(seconds=300),
        payload='[[],{"b":2,"a":1}]',
    )

    assert one.definition_hash == two.definition_hash


# -- due_ticks and next_due ----------------------------------------------------------------------


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_new_schedule_starts_from_now(catch_up):
    hourly = schedule(every(hours=1, catch_up=catch_up))

    assert due_ticks(hourly, None, NOON) == ()
    assert due_ticks(hourly, NOON, NOON) == ()
    assert next_due(hourly, None, NOON) == next_due(hourly, NOON, NOON) == NOON + HOUR
    assert due_ticks(hourly, NOON, NOON + HOUR) == (NOON + HOUR,)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_clock_that_went_backwards_gives_nothing(catch_up):
    hourly = schedule(every(hours=1, catch_up=catch_up))

    assert due_ticks(hourly, NOON, NOON - 3 * HOUR) == ()
    assert next_due(hourly, NOON, NOON - 3 * HOUR) == NOON + HOUR


def test_after_an_outage_the_latest_tick_only_by_default():
    hourly = schedule(every(hours=1))
    later = NOON + 5.5 * HOUR

    assert due_ticks(hourly, NOON, later) == (NOON + 5 * HOUR,)
    assert next_due(hourly, NOON + 5 * HOUR, later) == NOON + 6 * HOUR


def test_after_an_outage_all_ticks_oldest_first():
    hourly = schedule(every(hours=1, catch_up="all"))

    assert due_ticks(hourly, NOON, NOON + 3.5 * HOUR) == tuple(
        NOON + hours * HOUR for hours in (1, 2, 3)
    )


def test_all_ticks_of_a_long_outage_come_in_parts():
    secondly = schedule(every(1, catch_up="all"))
    now = NOON + (MAX_TICKS + 5) * SECOND

    first = due_ticks(secondly, NOON, now)
    assert len(first) == MAX_TICKS
    assert next_due(secondly, first[-1], now) == NOON + (MAX_TICKS + 1) * SECOND  # at once
    rest = due_ticks(secondly, first[-1], now)
    assert len(rest) == 5
    assert next_due(secondly, rest[-1], now) == now + SECOND


def test_without_catching_up_a_tick_may_be_late_by_less_than_the_grace():
    hourly = schedule(every(hours=1, catch_up="none"))

    assert due_ticks(hourly, NOON, NOON + HOUR + GRACE - SECOND) == (NOON + HOUR,)
    assert due_ticks(hourly, NOON, NOON + HOUR + GRACE) == ()
    assert next_due(hourly, NOON, NOON + HOUR + GRACE) == NOON + 2 * HOUR


def test_without_catching_up_a_short_interval_is_due_once_not_for_each_tick_in_the_grace():
    assert len(due_ticks(schedule(every(1, catch_up="none")), NOON, NOON + 30 * SECOND)) == 1


def test_no_tick_twice_within_the_grace():
    hourly = schedule(every(hours=1, catch_up="none"))

    assert due_ticks(hourly, NOON + HOUR, NOON + HOUR + SECOND) == ()


@pytest.mark.parametrize("catch_up", ["latest", "none"])
def test_years_of_missed_minutes_are_passed_over_without_looking_at_each(catch_up, monkeypatch):
    from tasks_database.engine import triggers

    minutely = schedule(crontab("* * * * *", timezone="Europe/Zurich", catch_up=catch_up))
    asked = []

    def counting(trigger, moment):
        asked.append(moment)
        return next_after(trigger, moment)

    monkeypatch.setattr(triggers, "next_after", counting)
    now = datetime(2036, 3, 1, 12, 0, 30, tzinfo=UTC)

    assert due_ticks(minutely, NOON, now) == (now - 30 * SECOND,)
    assert len(asked) < 100
