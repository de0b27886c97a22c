"""The clock beside a freeze of the test's own, which it drives and never fights."""

import asyncio
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import freezegun
import freezegun.api
import pytest
import time_machine
from django.utils import timezone as django_timezone

from tasks_testing.clock import clock
from tasks_testing.exceptions import ClockError
from tests.testing.clock import HOUR, NEW_YEAR, REAL

SPRING = datetime(2041, 4, 1, tzinfo=UTC)


def _with_freezegun(at):
    return freezegun.freeze_time(at)


def _with_time_machine(at):
    return time_machine.travel(at, tick=False)


@pytest.fixture(params=[_with_freezegun, _with_time_machine])
def own_freeze(request):
    """What the test freezes with: a function of the instant that gives a context manager."""
    return request.param


@contextmanager
def _no_freeze_started_by_the_clock():
    started = len(freezegun.api.freeze_factories) + len(time_machine.traveller_stack)
    yield
    assert len(freezegun.api.freeze_factories) + len(time_machine.traveller_stack) == started


# A freeze begun before the clock's


def test_the_tests_own_freeze_is_driven(driver, own_freeze):
    with own_freeze(NEW_YEAR), _no_freeze_started_by_the_clock():
        assert clock.is_frozen
        assert clock.freeze() == NEW_YEAR
        assert clock.shift(HOUR) == NEW_YEAR + HOUR == django_timezone.now()
        assert clock.move_to(SPRING) == SPRING == datetime.now(UTC)
        assert clock.freeze(SPRING + HOUR) == SPRING + HOUR == clock.now()


def test_freezing_it_at_an_earlier_instant_is_refused(driver, own_freeze):
    with own_freeze(NEW_YEAR), pytest.raises(ClockError, match=r"^freeze\(\) .* would move back"):
        clock.freeze(NEW_YEAR - HOUR)


def test_stop_leaves_it_alone(driver, own_freeze):
    with own_freeze(NEW_YEAR):
        clock.shift(HOUR)
        clock.stop()
        assert clock.is_frozen
        assert clock.now() == NEW_YEAR + HOUR == django_timezone.now()


def test_when_it_ends_the_clock_is_real_and_may_freeze_itself(driver, own_freeze):
    with own_freeze(NEW_YEAR):
        clock.shift(HOUR)
    assert not clock.is_frozen
    assert clock.now() < NEW_YEAR
    assert clock.shift(HOUR) < NEW_YEAR
    assert clock.is_frozen


def test_what_the_test_does_to_it_is_followed_even_back(driver):
    with freezegun.freeze_time(NEW_YEAR) as frozen:
        clock.shift(HOUR)
        frozen.move_to(NEW_YEAR - HOUR)
        assert clock.now() == NEW_YEAR - HOUR
        frozen.tick(HOUR)
        assert clock.shift(HOUR) == NEW_YEAR + HOUR


def test_the_fixture_of_time_machine(driver, request):
    travels = request.getfixturevalue("time_machine")
    travels.move_to(NEW_YEAR, tick=False)
    assert clock.shift(HOUR) == NEW_YEAR + HOUR == django_timezone.now()


def test_the_innermost_of_several_is_driven(driver):
    with time_machine.travel(SPRING, tick=False), freezegun.freeze_time(NEW_YEAR):
        assert clock.shift(HOUR) == NEW_YEAR + HOUR == django_timezone.now()
        with freezegun.freeze_time(SPRING + HOUR):
            assert clock.shift(HOUR) == SPRING + 2 * HOUR
        assert clock.now() == NEW_YEAR + HOUR


def test_an_offset_of_freezegun_is_read_as_django_reads_it(driver):
    with freezegun.freeze_time(NEW_YEAR, tz_offset=2):
        assert clock.now() == django_timezone.now()
        assert clock.move_to(SPRING) == SPRING == django_timezone.now()


def test_without_use_tz_it_is_driven_in_local_time(driver, own_freeze, settings):
    settings.USE_TZ = False
    with own_freeze(NEW_YEAR):
        moment = datetime(2031, 8, 1, 12, 0, 0, 7)
        assert clock.move_to(moment) == moment == django_timezone.now() == datetime.now()


# A freeze begun upon the clock's


@pytest.fixture(
    params=[  # time-machine refuses to start under freezegun
        ("freezegun", _with_freezegun),
        ("time-machine", _with_freezegun),
        ("time-machine", _with_time_machine),
    ],
)
def own_freeze_upon(request):
    driver, own_freeze = request.param
    clock.configure(driver)
    return own_freeze


def test_a_later_freeze_is_driven_and_then_the_clocks_own_again(own_freeze_upon):
    clock.freeze(NEW_YEAR)
    with own_freeze_upon(SPRING):
        assert clock.now() == SPRING
        assert clock.shift(HOUR) == SPRING + HOUR == django_timezone.now()
    assert clock.is_frozen
    assert clock.now() == NEW_YEAR == django_timezone.now()
    assert clock.shift(HOUR) == NEW_YEAR + HOUR


def test_stop_beneath_a_later_freeze_ends_only_the_clocks_own(own_freeze_upon):
    clock.freeze(NEW_YEAR)
    with own_freeze_upon(SPRING):
        clock.stop()
        assert clock.is_frozen
        assert clock.shift(HOUR) == SPRING + HOUR == django_timezone.now()
        clock.stop()
    assert datetime.now(UTC) < NEW_YEAR  # before the clock is used again
    assert not clock.is_frozen
    assert datetime is REAL["datetime"]
    assert clock.freeze() < NEW_YEAR


def test_a_frozen_clock_stopped_beneath_a_later_freeze_can_freeze_anew(own_freeze_upon):
    clock.freeze(NEW_YEAR)
    with own_freeze_upon(SPRING):
        clock.stop()
    assert clock.freeze(SPRING) == SPRING == django_timezone.now()


# A ticking clock


TICKING_FREEZEGUN = (
    "The test's own freezegun clock is ticking, so the task queue cannot stop at exact"
    " instants. Use freeze_time() without tick=True and without auto_tick_seconds."
)
TICKING_TIME_MACHINE = (
    "The test's own time-machine clock is ticking, so the task queue cannot stop at exact"
    " instants. Pass tick=False to travel() or move_to(): they tick by default."
)


@pytest.mark.parametrize("verb", ["freeze", "freeze at", "shift", "move_to"])
@pytest.mark.parametrize(
    ("ticking", "message"),
    [
        (lambda: freezegun.freeze_time(NEW_YEAR, tick=True), TICKING_FREEZEGUN),
        (lambda: freezegun.freeze_time(NEW_YEAR, auto_tick_seconds=1), TICKING_FREEZEGUN),
        (lambda: time_machine.travel(NEW_YEAR), TICKING_TIME_MACHINE),
    ],
    ids=["tick", "auto_tick_seconds", "travel"],
)
def test_a_ticking_clock_is_read_but_not_driven(driver, verb, ticking, message):
    with ticking(), _no_freeze_started_by_the_clock():
        assert not clock.is_frozen
        assert NEW_YEAR <= clock.now() < NEW_YEAR + HOUR
        with pytest.raises(ClockError) as caught:
            {
                "freeze": clock.freeze,
                "freeze at": lambda: clock.freeze(SPRING),
                "shift": lambda: clock.shift(HOUR),
                "move_to": lambda: clock.move_to(SPRING),
            }[verb]()
        assert str(caught.value) == message


# asyncio


async def _assert_asyncio_sleeps_really():
    loop_time = asyncio.get_running_loop().time()
    assert abs(loop_time - REAL["monotonic"]()) < 5  # else the next line would never end
    await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - loop_time >= 0.01


async def test_asyncio_sleeps_really_while_the_tests_own_freeze_is_driven(driver, own_freeze):
    with own_freeze(NEW_YEAR):
        clock.shift(HOUR)
        await _assert_asyncio_sleeps_really()
        assert clock.now() == NEW_YEAR + HOUR


async def test_asyncio_sleeps_really_after_a_freeze_with_real_asyncio(own_freeze):
    """Its end leaves a `time` on the event loop's class, which hides the one of BaseEventLoop."""
    with freezegun.freeze_time(NEW_YEAR, real_asyncio=True):
        pass
    with own_freeze(NEW_YEAR):
        clock.freeze()
        await _assert_asyncio_sleeps_really()


def test_stop_takes_its_hands_off_asyncio_under_the_tests_own_freeze():
    with freezegun.freeze_time(NEW_YEAR):
        clock.freeze()
        clock.stop()
        assert vars(asyncio.base_events)["time"] is time
