"""The clock alone: reading, freezing, moving, and what stays real."""

import asyncio
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import _pytest.timing
import freezegun
import freezegun.api
import pytest
import time_machine
from django.utils import timezone as django_timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tasks_testing.clock import clock
from tests.testing.clock import NEW_YEAR, REAL, SECOND

# Reading


def test_reading_never_freezes(driver):
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert not clock.is_frozen


def test_a_frozen_clock_agrees_with_django_and_python(driver):
    frozen = clock.freeze()
    assert clock.is_frozen
    assert clock.now() == frozen == django_timezone.now() == datetime.now(UTC)
    assert time.time() == frozen.timestamp()


def test_instants_are_plain_datetimes_in_utc(driver):
    for instant in (clock.now(), clock.freeze(), clock.shift(SECOND), clock.now()):
        assert type(instant) is REAL["datetime"]
        assert instant.tzinfo is UTC


def test_importing_the_clock_imports_no_driver():
    program = (
        "import sys, tasks_testing.clock as c;"
        "from django.conf import settings; settings.configure(USE_TZ=True);"
        "c.clock.now(), c.clock.is_frozen, c.clock.stop();"
        "print([name for name in ('freezegun', 'time_machine', 'pytest') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# Freezing


def test_freezing_keeps_the_present_instant(driver):
    before = datetime.now(UTC)
    frozen = clock.freeze()
    assert frozen - before < 5 * SECOND


@pytest.mark.parametrize("at", [datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), NEW_YEAR])
def test_freezing_at_an_instant_past_or_future(driver, at):
    assert clock.freeze(at) == at == clock.now()


def test_freezing_twice_changes_nothing(driver):
    assert clock.freeze(NEW_YEAR) == clock.freeze() == clock.freeze(NEW_YEAR)


def test_freezing_a_frozen_clock_at_a_later_instant_moves_it(driver):
    clock.freeze(NEW_YEAR)
    assert clock.freeze(NEW_YEAR + SECOND) == NEW_YEAR + SECOND == django_timezone.now()


def test_stop_gives_real_time_back_and_may_be_called_always(driver):
    clock.stop()
    clock.freeze(NEW_YEAR)
    clock.stop()
    clock.stop()
    assert not clock.is_frozen
    assert clock.now() < NEW_YEAR


def test_freezing_leaves_the_machines_time_zone_alone(driver):
    before = os.environ.get("TZ"), time.tzname
    clock.freeze(NEW_YEAR)
    clock.move_to(NEW_YEAR.replace(year=2032))
    during = os.environ.get("TZ"), time.tzname
    clock.stop()
    assert before == during == (os.environ.get("TZ"), time.tzname)


# Moving


def test_shift_and_move_to_freeze_a_real_clock(driver):
    before = datetime.now(UTC)
    assert timedelta(hours=1) <= clock.shift(timedelta(hours=1)) - before < timedelta(hours=1.1)
    clock.stop()
    assert clock.move_to(NEW_YEAR) == NEW_YEAR
    assert clock.is_frozen


def test_shifting_by_nothing_freezes(driver):
    assert clock.shift(timedelta()) == clock.now()
    assert clock.is_frozen


def test_move_to_takes_any_time_zone(driver):
    clock.freeze(NEW_YEAR)
    moment = datetime(2031, 7, 1, 12, tzinfo=ZoneInfo("America/New_York"))
    assert clock.move_to(moment) == moment == datetime(2031, 7, 1, 16, tzinfo=UTC)


def test_any_sequence_of_shifts_sums_exactly(driver):
    @given(st.lists(st.timedeltas(timedelta(), timedelta(days=4000)), max_size=8))
    def law(deltas):
        try:
            start = clock.freeze(NEW_YEAR)
            for delta in deltas:
                clock.shift(delta)
            assert clock.now() == django_timezone.now() == start + sum(deltas, timedelta())
        finally:
            clock.stop()

    law()


def test_move_to_is_exact_to_the_microsecond(driver):
    instants = st.datetimes(datetime(1980, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))

    @given(instants, instants)
    def law(one, another):
        try:
            assert clock.freeze(min(one, another)) == django_timezone.now() == min(one, another)
            assert clock.move_to(max(one, another)) == django_timezone.now() == max(one, another)
        finally:
            clock.stop()

    law()


# Without USE_TZ


def test_without_use_tz_local_time_goes_on_where_it_was(driver, settings):
    settings.USE_TZ = False
    before = datetime.now()
    frozen = clock.freeze()
    assert timedelta() <= frozen - before < 5 * SECOND
    assert frozen == django_timezone.now() == datetime.now()
    assert frozen.tzinfo is None
    assert type(frozen) is REAL["datetime"]
    assert clock.shift(SECOND) == frozen + SECOND


def test_without_use_tz_naive_instants_are_local(driver, settings):
    settings.USE_TZ = False
    summer = datetime(2031, 7, 1, 12, 0, 0, 5)  # UTC+2 in the tests' Europe/Zurich
    assert clock.freeze(summer) == summer == datetime.now()
    assert time.time() == datetime(2031, 7, 1, 10, 0, 0, 5, tzinfo=UTC).timestamp()


def test_without_use_tz_move_to_is_exact_across_the_change_of_local_time(driver, settings):
    settings.USE_TZ = False
    clock.freeze(datetime(2031, 3, 29, 12))
    moment = datetime(2031, 3, 30, 12)  # 23 hours later in Zurich
    assert clock.move_to(moment) == moment == django_timezone.now()


@pytest.mark.parametrize("month", [1, 7])  # on either side of the change, whatever today is
def test_without_use_tz_move_to_is_exact_from_real_time(driver, settings, month):
    settings.USE_TZ = False
    moment = datetime(2061, month, 1, 12)
    assert clock.move_to(moment) == moment == django_timezone.now()


def test_without_use_tz_shift_follows_summer_time_under_time_machine_only(driver, settings):
    settings.USE_TZ = False
    clock.freeze(datetime(2031, 3, 29, 12))
    hour = {"freezegun": 12, "time-machine": 13}[driver]
    assert clock.shift(timedelta(hours=24)) == datetime(2031, 3, 30, hour)


# Drivers


def test_the_configured_driver_is_the_one_that_freezes(driver):
    clock.freeze()
    assert bool(freezegun.api.freeze_factories) == (driver == "freezegun")
    assert bool(time_machine.traveller_stack) == (driver == "time-machine")


def test_auto_prefers_time_machine():
    clock.freeze()
    assert time_machine.traveller_stack


def test_auto_takes_freezegun_without_time_machine(monkeypatch):
    monkeypatch.setitem(sys.modules, "time_machine", None)
    clock.freeze()
    assert freezegun.api.freeze_factories


# What must stay real


async def test_asyncio_sleeps_really_under_the_frozen_clock(driver):
    clock.freeze(NEW_YEAR)
    loop_time = asyncio.get_running_loop().time()
    assert abs(loop_time - REAL["monotonic"]()) < 5  # else the next line would never end
    await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - loop_time >= 0.01
    assert clock.now() == NEW_YEAR


def test_hypothesis_measures_its_deadline_in_real_time(driver):
    @given(st.integers())
    def law(number):
        clock.freeze(NEW_YEAR)

    law()


def test_hypothesis_measures_what_a_strategy_takes_in_real_time(driver):
    @given(st.integers().map(lambda number: (clock.freeze(NEW_YEAR), number)))
    def law(drawn):
        clock.stop()

    law()


def test_hypothesis_shrinks_though_the_clock_freezes_meanwhile(driver):
    seen = []

    # With report_multiple_bugs=False it shrinks from the first failure on.
    @hypothesis_settings(database=None, derandomize=True, report_multiple_bugs=False)
    @given(st.lists(st.integers(0, 10**6)))
    def law(numbers):
        if sum(numbers) >= 1_234_567:
            if len(seen) > 2:
                clock.freeze(NEW_YEAR)
            seen.append(numbers)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        law()
    assert seen[-1] == [234_567, 1_000_000]


def test_pytest_measures_durations_in_real_time(driver):
    started = _pytest.timing.Instant()
    clock.freeze(NEW_YEAR)
    assert 0 <= started.elapsed().seconds < 60


def test_stop_gives_the_measuring_modules_their_time_module_back(driver):
    clock.freeze()
    clock.stop()
    assert vars(asyncio.base_events)["time"] is time
    assert vars(sys.modules["hypothesis.core"])["time"] is time
