"""The test's clock: real until a test freezes or moves it, then still until a verb moves it again.

`clock` is the one clock of the process. It drives whatever freeze is in force at the moment of use:
the test's own (freezegun's freeze_time and `freezer`, time-machine's travel), else one that it
starts. That freeze is looked up at each use and never kept, so when the test's own ends, time is
real again, or back in the clock's own freeze if that had begun before.

What stays real under a freezegun freeze: functions and classes of time that were bound before it
began anywhere but in a module's globals (in a running function by a local import, as a default
argument), and bound methods (`now = datetime.now`). `from django.utils.timezone import now` is
safe: it looks `datetime` up in its module, where freezegun replaces it. `time.time()` also stays
real within five frames of a module that freezegun ignores, such as `threading`; `datetime.now()`
does not. time-machine has none of these exceptions, and never freezes time.monotonic().

With USE_TZ = False, freezegun keeps the machine's UTC offset of the instant at which the freeze
began, across changes to and from summer time; time-machine follows them.
"""

from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from typing import cast

from django.conf import settings
from django.utils import timezone

from tasks_testing.clock_drivers import (
    DRIVER_CHOICES,
    ActiveFreeze,
    OwnFreeze,
    RealTimers,
    active_freeze,
    start_freeze,
)
from tasks_testing.exceptions import ClockError

# Older releases of time-machine compute in floats.
_ROUNDING = timedelta(milliseconds=1)


class Clock:
    """Reads, freezes and moves the process's time. Instants are as `django.utils.timezone.now()`
    gives them: aware in UTC with USE_TZ, else naive in local time.

    Each method that freezes raises ClockError, with the clock left as it was, when a clock of the
    test's own is ticking, when the library to freeze with is not installed, and when the time asked
    for is no such instant, or would move the clock back. `verb` is the caller's own verb, for these
    messages.
    """

    def __init__(self) -> None:
        self.driver_choice = "auto"
        self._own: OwnFreeze | None = None
        self._is_stopping = False
        self._real_timers = RealTimers()

    def configure(self, choice: str) -> None:
        """Chooses what to freeze with: `auto` (time-machine where installed, else freezegun),
        `freezegun` or `time-machine`. Holds from the next freeze on. Raises ClockError for others.
        """
        if choice not in DRIVER_CHOICES:
            raise ClockError(
                f"tasks_clock is {choice!r}, which is no choice of a clock:"
                " set it to auto, freezegun or time-machine."
            )
        self.driver_choice = choice

    def now(self) -> datetime:
        """The current instant, real or frozen, as a plain datetime. Never freezes."""
        if self._is_stopping:
            self._finish_stopping()
        return _plain(timezone.now())

    @property
    def is_frozen(self) -> bool:
        """True when time stands still, by this clock or by the test's own."""
        self._finish_stopping()
        active = active_freeze()
        return active is not None and not active.ticks

    def freeze(self, at: datetime | None = None, *, verb: str = "freeze") -> datetime:
        """Freezes time here, or at any instant `at`; returns the instant. A clock that is frozen
        already stays where it is, or moves forward to `at`.
        """
        if at is not None:
            at = _instant(at, verb)
            if self.is_frozen:
                return self.move_to(at, verb=verb)
        self._frozen(at or self.now())
        return self.now()

    def instant_after(self, delta: timedelta, *, verb: str = "advance") -> datetime:
        """The instant `delta` later. Freezes the clock if need be, and does not move it."""
        if not isinstance(delta, timedelta):
            raise ClockError(
                f"{verb}() was given {delta!r} of type {type(delta).__name__}, which is no"
                " duration: pass a datetime.timedelta."
            )
        if delta < timedelta():
            raise ClockError(
                f"{verb}() was given -{-delta} (hours:minutes:seconds): time moves forward only."
                " Pass a duration of zero or more."
            )
        start = self.now()
        try:
            start + delta
        except OverflowError:
            raise ClockError(
                f"{verb}() was given {delta}, which leads from {start} beyond the year {MAXYEAR},"
                " the last that datetime knows. Pass a shorter duration."
            ) from None
        self._frozen(start)
        return self.now() + delta

    def shift(self, delta: timedelta, *, verb: str = "advance") -> datetime:
        """Moves the clock forward by `delta`, freezing it first if need be; returns the instant."""
        self.instant_after(delta, verb=verb)
        target = self.now() + delta
        self._frozen(self.now()).shift(delta)
        return self._arrived(target, verb)

    def instant_at(self, moment: datetime, *, verb: str = "advance_to") -> datetime:
        """`moment`, if the clock can move there. Freezes it if need be, and does not move it."""
        moment = _instant(moment, verb)
        start = self.now()
        _forward(start, moment, verb)  # Refuses the past before anything is frozen.
        self._frozen(start)
        return moment

    def move_to(self, moment: datetime, *, verb: str = "advance_to") -> datetime:
        """Moves the clock forward to `moment`, freezing it first if need be; returns `moment`."""
        moment = self.instant_at(moment, verb=verb)
        start = self.now()  # Anew: a freeze may change the local offset.
        self._frozen(start).shift(_forward(start, moment, verb))
        return self._arrived(moment, verb)

    def _arrived(self, target: datetime, verb: str) -> datetime:
        """The current instant; ClockError if it did not follow, as tasks would never become due."""
        now = self.now()
        if now < target - _ROUNDING:
            raise ClockError(
                f"{verb}() moved the clock to {target}, but timezone.now() says {now}: something "
                "has replaced it, perhaps mock.patch(). Drop that, and set the time with freeze() "
                "or @pytest.mark.tasks(now=...)."
            )
        return now

    def stop(self) -> None:
        """Ends the freeze that this clock started, if any; the test's own go on. Always safe."""
        self._real_timers.restore()
        self._is_stopping = self._own is not None
        self._finish_stopping()

    def _finish_stopping(self) -> None:
        if self._is_stopping and self._own is not None and self._own.stop():
            self._own = None
            self._is_stopping = False

    def _frozen(self, start: datetime) -> ActiveFreeze:
        """The freeze to drive: the one in force, else one of our own that begins at `start`."""
        active = active_freeze()
        if active is None:
            self._own = start_freeze(self.driver_choice, start)
            active = cast(ActiveFreeze, active_freeze())
        if active.ticks:
            raise ClockError(_TICKING[active.driver])
        if active.driver == "freezegun":
            self._real_timers.keep()
        return active


_TICKING = {
    "freezegun": (
        "The test's own freezegun clock is ticking, so the task queue cannot stop at exact"
        " instants. Use freeze_time() without tick=True and without auto_tick_seconds."
    ),
    "time-machine": (
        "The test's own time-machine clock is ticking, so the task queue cannot stop at exact"
        " instants. Pass tick=False to travel() or move_to(): they tick by default."
    ),
}


def _instant(moment: object, verb: str) -> datetime:
    """`moment` as a plain datetime; ClockError if it is none, or its awareness is not USE_TZ's."""
    if not isinstance(moment, datetime):
        raise ClockError(
            f"{verb}() was given {moment!r} of type {type(moment).__name__}, which is no instant:"
            " pass a datetime.datetime."
        )
    if timezone.is_naive(moment) and settings.USE_TZ:
        raise ClockError(
            f"{verb}() was given {moment}, which has no time zone, while USE_TZ is True:"
            " pass an aware datetime, for example datetime(2026, 1, 1, tzinfo=UTC)."
        )
    if timezone.is_aware(moment) and not settings.USE_TZ:
        raise ClockError(
            f"{verb}() was given {moment}, which has a time zone, while USE_TZ is False:"
            " pass a naive datetime in local time."
        )
    if not MINYEAR < moment.year < MAXYEAR:
        raise ClockError(
            f"{verb}() was given {moment}, which some time zones cannot express:"
            f" pass an instant between the years {MINYEAR + 1} and {MAXYEAR - 1}."
        )
    return _plain(moment)


def _plain(moment: datetime) -> datetime:
    """The same value as a datetime.datetime, not a subclass such as freezegun's FakeDatetime.

    The class is taken from the value's own bases: freezegun replaces this module's `datetime`.
    """
    if type(moment).__module__ == "datetime":
        return moment
    plain_class = next(base for base in type(moment).__mro__ if base.__module__ == "datetime")
    return cast(
        datetime,
        plain_class(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            moment.tzinfo,
            fold=moment.fold,
        ),
    )


def _forward(start: datetime, moment: datetime, verb: str) -> timedelta:
    """The time that passes from `start` to `moment`; ClockError if that is back in time."""
    elapsed = _in_utc(moment) - _in_utc(start)
    if elapsed < timedelta():
        raise ClockError(
            f"{verb}() was asked for {moment}, but the test's clock is already at {start}, and"
            " would move back. Time moves forward only: pass a later instant."
        )
    return elapsed


def _in_utc(moment: datetime) -> datetime:
    active = active_freeze()
    if moment.tzinfo is None and active is not None and active.driver == "freezegun":
        # freezegun's local time has one offset throughout, so differences need none.
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


clock = Clock()
