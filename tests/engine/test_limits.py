"""Rates as intervals, and when they let the next one start."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_database.engine.framework import InvalidTask
from tasks_database.engine.limits import (
    Limit,
    after_start,
    limit_of,
    may_start,
    may_start_of_waiting,
    parse_limit,
    parse_rate,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LATE = timedelta(milliseconds=100)


@pytest.mark.parametrize(
    ("rate", "interval"),
    [
        ("10/s", SECOND / 10),
        ("1/m", 60 * SECOND),
        ("1000/h", 3.6 * SECOND),
        ("5000/d", 17.28 * SECOND),
        ("10000/s", SECOND / 10_000),
    ],
)
def test_a_rate_is_an_interval(rate, interval):
    assert parse_rate(rate) == interval


@pytest.mark.parametrize(
    "rate", ["", "10", "/s", "0/s", "-1/s", "1.5/s", "10/sec", "10 / s", "10/w", 10, None, "१/s"]
)
def test_what_is_no_rate(rate):
    with pytest.raises(InvalidTask) as caught:
        parse_rate(rate)

    assert str(caught.value) == (
        'rate must be a number a second, minute, hour or day, such as "10/s", "100/m", "1000/h" or '
        f'"5000/d", not {rate!r}.'
    )


@pytest.mark.parametrize("rate", ["10001/s", "9999999999/m"])
def test_a_rate_that_nothing_could_keep(rate):
    with pytest.raises(InvalidTask) as caught:
        parse_rate(rate)

    assert str(caught.value) == f"rate {rate!r} is more than 10,000 a second: leave it out."


def test_a_limit_has_one_of_the_two_or_both():
    assert parse_limit("k", {"max_concurrency": 5}) == Limit("k", max_concurrency=5)
    assert parse_limit("k", {"rate": "1/s"}) == Limit("k", interval=SECOND)
    assert limit_of("k", 5, "1/s") == Limit("k", max_concurrency=5, interval=SECOND)


# -- who may start ---------------------------------------------------------------------------------


def test_the_first_may_start_and_the_next_an_interval_later():
    assert may_start(None, now=NOON)
    next_free = after_start(None, interval=SECOND, now=NOON, waited=False)

    assert next_free == NOON + SECOND
    assert not may_start(next_free, now=NOON + SECOND - timedelta.resolution)
    assert may_start(next_free, now=NOON + SECOND)


def test_one_that_waited_and_is_late_does_not_make_the_next_one_late():
    late = NOON + SECOND + LATE / 2

    assert after_start(NOON + SECOND, interval=SECOND, now=late, waited=True) == NOON + 2 * SECOND


def test_what_is_later_than_workers_are_is_not_made_up_for():
    hours_later = NOON + 3600 * SECOND

    next_free = after_start(NOON, interval=SECOND, now=hours_later, waited=True)

    assert next_free == hours_later - LATE + SECOND


def test_after_a_rest_the_next_one_is_an_interval_away():
    hours_later = NOON + 3600 * SECOND

    assert after_start(NOON, interval=SECOND, now=hours_later, waited=False) == (
        hours_later + SECOND
    )


def test_of_those_that_wait_as_many_may_start_as_instants_have_come():
    interval = SECOND / 100

    def count(after):
        return may_start_of_waiting(NOON, interval=interval, now=NOON + after)

    assert count(-timedelta.resolution) == 0
    assert count(timedelta()) == 1
    assert count(interval * 3) == 4
    assert count(timedelta(hours=1)) == 11, "those of the last 100 ms"
    assert may_start_of_waiting(None, interval=interval, now=NOON) == 1


@given(
    interval=st.integers(1_000, 10_000_000).map(lambda us: us * timedelta.resolution),
    pauses=st.lists(st.integers(0, 20_000_000), max_size=60),
    waited=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_in_any_time_no_more_start_than_the_rate_allows(interval, pauses, waited):
    """But for those that a late worker starts together: as many as fit into 100 ms, and one."""
    now, next_free, starts = NOON, None, []
    for pause, has_waited in zip(pauses, waited, strict=False):
        now += pause * timedelta.resolution
        while may_start(next_free, now=now) and len(starts) < 500:
            starts.append(now)
            next_free = after_start(next_free, interval=interval, now=now, waited=has_waited)
    for first, begin in enumerate(starts):
        for last, end in enumerate(starts[first:], start=first):
            assert last - first <= (end - begin + LATE) // interval + 1
