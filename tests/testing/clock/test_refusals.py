"""What the clock refuses, in sentences, and stays as it was."""

import sys
from datetime import UTC, date, datetime, timedelta, timezone
from unittest import mock

import pytest
import time_machine

from tasks_testing.clock import clock
from tasks_testing.exceptions import ClockError, TasksTestingError
from tests.testing.clock import NEW_YEAR, SECOND


def test_without_any_driver_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "time_machine", None)
    monkeypatch.setitem(sys.modules, "freezegun", None)
    with pytest.raises(ClockError) as caught:
        clock.freeze()
    assert str(caught.value) == (
        "The test's clock cannot be frozen: neither freezegun nor time-machine is installed."
        ' Install the `testing` extra: pip install "django-tasks-testing[testing]".'
    )


def test_a_chosen_driver_that_is_not_installed(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, driver.replace("-", "_"), None)
    with pytest.raises(ClockError) as caught:
        clock.shift(SECOND)
    assert str(caught.value) == (
        f"The test's clock cannot be frozen: tasks_clock is '{driver}', and {driver} is not"
        f" installed. Install it (pip install {driver}), or set tasks_clock to auto."
    )


def test_a_time_machine_that_is_too_old(monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(time_machine, "traveller_stack")
        with pytest.raises(ClockError) as caught:
            clock.freeze()
    assert str(caught.value) == (
        "The test's clock cannot be frozen: the time-machine installed is older than 3.0."
        " Upgrade it (pip install -U time-machine), or set tasks_clock to freezegun."
    )


def test_an_unknown_driver_is_refused():
    with pytest.raises(ClockError) as caught:
        clock.configure("sundial")
    assert str(caught.value) == (
        "tasks_clock is 'sundial', which is no choice of a clock:"
        " set it to auto, freezegun or time-machine."
    )
    assert clock.driver_choice == "auto"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: clock.shift(timedelta(minutes=-5), verb="jump"),
            (
                "jump() was given -0:05:00 (hours:minutes:seconds): time moves forward only."
                " Pass a duration of zero or more."
            ),
        ),
        (
            lambda: clock.shift(5),
            "advance() was given 5 of type int, which is no duration: pass a datetime.timedelta.",
        ),
        (
            lambda: clock.move_to(date(2031, 1, 1)),
            (
                "advance_to() was given datetime.date(2031, 1, 1) of type date, which is no"
                " instant: pass a datetime.datetime."
            ),
        ),
        (
            lambda: clock.freeze("2031-01-01"),
            (
                "freeze() was given '2031-01-01' of type str, which is no instant:"
                " pass a datetime.datetime."
            ),
        ),
        (
            lambda: clock.move_to(datetime(2031, 1, 1)),
            (
                "advance_to() was given 2031-01-01 00:00:00, which has no time zone, while USE_TZ"
                " is True: pass an aware datetime, for example datetime(2026, 1, 1, tzinfo=UTC)."
            ),
        ),
        (
            lambda: clock.freeze(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))),
            (
                "freeze() was given 9999-12-31 23:00:00-02:00, which some time zones cannot"
                " express: pass an instant between the years 2 and 9998."
            ),
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence_and_freezes_nothing(driver, call, message):
    with pytest.raises(ClockError) as caught:
        call()
    assert str(caught.value) == message
    assert not clock.is_frozen


def test_an_aware_instant_without_use_tz_is_refused(driver, settings):
    settings.USE_TZ = False
    with pytest.raises(ClockError) as caught:
        clock.move_to(NEW_YEAR)
    assert str(caught.value) == (
        "advance_to() was given 2031-01-01 00:00:00+00:00, which has a time zone, while USE_TZ is"
        " False: pass a naive datetime in local time."
    )


@pytest.mark.parametrize("verb", ["freeze", "advance_to"])
def test_moving_back_says_now_and_what_was_asked(driver, verb):
    clock.freeze(NEW_YEAR)
    with pytest.raises(ClockError) as caught:
        {"freeze": clock.freeze, "advance_to": clock.move_to}[verb](NEW_YEAR - SECOND)
    assert str(caught.value) == (
        f"{verb}() was asked for 2030-12-31 23:59:59+00:00, but the test's clock is already at"
        " 2031-01-01 00:00:00+00:00, and would move back. Time moves forward only: pass a later"
        " instant."
    )
    assert clock.now() == NEW_YEAR


def test_moving_a_real_clock_back_is_refused_and_freezes_nothing(driver):
    with pytest.raises(ClockError, match=r"would move back"):
        clock.move_to(datetime(2001, 1, 1, tzinfo=UTC))
    assert not clock.is_frozen


def test_a_duration_beyond_the_calendar_is_refused(driver):
    clock.freeze(NEW_YEAR)
    with pytest.raises(ClockError) as caught:
        clock.shift(timedelta(days=4_000_000))
    assert str(caught.value) == (
        "advance() was given 4000000 days, 0:00:00, which leads from 2031-01-01 00:00:00+00:00"
        " beyond the year 9999, the last that datetime knows. Pass a shorter duration."
    )
    assert clock.now() == NEW_YEAR


def test_clock_errors_are_value_errors_of_this_library():
    assert issubclass(ClockError, ValueError)
    assert issubclass(ClockError, TasksTestingError)


def test_a_patched_timezone_now_is_told_and_not_waited_for(driver):
    patched = datetime(2030, 1, 1, tzinfo=UTC)
    with (
        mock.patch("django.utils.timezone.now", return_value=patched),
        pytest.raises(ClockError) as raised,
    ):
        clock.move_to(datetime(2030, 1, 2, tzinfo=UTC))
    assert str(raised.value) == (
        "advance_to() moved the clock to 2030-01-02 00:00:00+00:00, but timezone.now() says "
        "2030-01-01 00:00:00+00:00: something has replaced it, perhaps mock.patch(). Drop that, "
        "and set the time with freeze() or @pytest.mark.tasks(now=...)."
    )
