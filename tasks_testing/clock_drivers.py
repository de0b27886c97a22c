"""The libraries that freeze time, freezegun and time-machine: find, start and end a freeze.

Neither is imported before a freeze is started. Where neither is in `sys.modules`, no test can have
frozen time.
"""

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from tasks_testing.exceptions import ClockError

if TYPE_CHECKING:
    from types import ModuleType

DRIVER_CHOICES = ("auto", "freezegun", "time-machine")

# These measure real durations with time.monotonic() and time.perf_counter(), which they look up by
# the name `time` in their globals. With frozen ones asyncio.sleep() never wakes up, and Hypothesis,
# which saw real time before the freeze, counts decades against its deadline. freezegun's `ignore`
# would not do: it looks five frames up, and finds asyncio or Hypothesis beneath most of a test.
_MODULES_THAT_MEASURE = (
    "asyncio.base_events",
    "hypothesis.core",
    "hypothesis.internal.conjecture.data",
    "hypothesis.internal.conjecture.engine",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFreeze:
    """The innermost freeze in force, whoever started it: how to move it, and whether it ticks."""

    driver: str
    shift: Callable[[timedelta], object]
    ticks: bool


class OwnFreeze(Protocol):
    """A freeze that the clock started itself."""

    def stop(self) -> bool:
        """Ends it. False: a later freeze lies on top of it, call again when that one has ended."""
        ...


def active_freeze() -> ActiveFreeze | None:
    """What holds time still at this moment, or None. freezegun hides a time-machine beneath it."""
    freezegun: Any = sys.modules.get("freezegun.api")
    if freezegun is not None and freezegun.freeze_factories:
        factory = freezegun.freeze_factories[-1]
        return ActiveFreeze(
            driver="freezegun",
            shift=factory.tick,
            ticks=not isinstance(factory, freezegun.FrozenDateTimeFactory),
        )
    time_machine: Any = sys.modules.get("time_machine")
    if time_machine is not None and (travellers := getattr(time_machine, "traveller_stack", None)):
        return ActiveFreeze(
            driver="time-machine",
            shift=travellers[-1].shift,
            ticks=travellers[-1]._tick,  # noqa: SLF001 - it has no public name
        )
    return None


def start_freeze(choice: str, at: datetime) -> OwnFreeze:
    """Freezes time at `at` (aware, or naive in local time) with the library of `choice`.

    Raises ClockError when no library, or not the chosen one, is installed, or one too old.
    """
    if choice == "auto":
        if _is_installed("time_machine"):
            return _TimeMachineFreeze(at)
        if _is_installed("freezegun"):
            return _FreezegunFreeze(at)
        raise ClockError(
            "The test's clock cannot be frozen: neither freezegun nor time-machine is installed."
            ' Install the `testing` extra: pip install "django-tasks-testing[testing]".'
        )
    if not _is_installed(choice.replace("-", "_")):
        raise ClockError(
            f"The test's clock cannot be frozen: tasks_clock is {choice!r}, and {choice} is not"
            f" installed. Install it (pip install {choice}), or set tasks_clock to auto."
        )
    return _TimeMachineFreeze(at) if choice == "time-machine" else _FreezegunFreeze(at)


def _is_installed(module_name: str) -> bool:
    return importlib.util.find_spec(module_name) is not None


class _FreezegunFreeze:
    def __init__(self, at: datetime) -> None:
        import freezegun

        in_utc = at.astimezone(UTC).replace(tzinfo=None)
        # Keeps naive local time where it was. With USE_TZ it must stay zero: freezegun adds it to
        # aware times too, which moves them to another instant.
        local_offset = timedelta() if at.tzinfo is not None else at - in_utc
        self._starter = freezegun.freeze_time(
            in_utc,
            tz_offset=local_offset,
            ignore=["_pytest.timing"],  # the durations that pytest reports stay real
        )
        self._factory: object = self._starter.start()

    def stop(self) -> bool:
        from freezegun import api

        # freezegun's stop() ends the innermost freeze, whosever it is. Beneath one of the test's
        # own, ours turns into real time that ticks: nothing is frozen when the test's own ends.
        if api.freeze_factories[-1] is self._factory:
            self._starter.stop()
            return True
        real_now = api.real_datetime.now(UTC).replace(tzinfo=None)
        ticking = api.TickingDateTimeFactory(real_now, api.real_datetime.now())
        factories: list[Any] = api.freeze_factories
        factories[factories.index(self._factory)] = ticking
        self._factory = ticking
        return False


class _TimeMachineFreeze:
    # time-machine sets the process's TZ for a UTC or ZoneInfo destination, and only for these.
    _ZONE_THAT_LEAVES_TZ_ALONE = timezone(timedelta(hours=1))

    def __init__(self, at: datetime) -> None:
        import time_machine

        if not hasattr(time_machine, "traveller_stack"):  # 2.x, under which asyncio would hang
            raise ClockError(
                "The test's clock cannot be frozen: the time-machine installed is older than 3.0."
                " Upgrade it (pip install -U time-machine), or set tasks_clock to freezegun."
            )
        self._travel = time_machine.travel(
            at.astimezone(self._ZONE_THAT_LEAVES_TZ_ALONE), tick=False
        )
        self._traveller = self._travel.start()

    def stop(self) -> bool:
        import time_machine

        # time-machine's stop(), too, ends the innermost travel, whosever it is.
        if time_machine.traveller_stack[-1] is self._traveller:
            self._travel.stop()
        else:
            time_machine.traveller_stack.remove(self._traveller)
        return True


class _TimeWithRealTimers:
    """Python's `time` module, but for the two clocks that measure durations."""

    def __init__(self, freezegun: Any) -> None:
        self.monotonic = freezegun.real_monotonic
        self.perf_counter = freezegun.real_perf_counter

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class RealTimers:
    """Keeps durations real for asyncio and Hypothesis under freezegun; time-machine does anyway."""

    def __init__(self) -> None:
        self._kept: list[ModuleType] = []

    def keep(self) -> None:
        """Gives the modules that measure a `time` with real timers; idempotent."""
        with_real_timers = _TimeWithRealTimers(sys.modules["freezegun.api"])
        for name in _MODULES_THAT_MEASURE:
            module = sys.modules.get(name)
            if module is not None and vars(module).get("time") is time:
                vars(module)["time"] = with_real_timers
                self._kept.append(module)

    def restore(self) -> None:
        """Undoes keep()."""
        while self._kept:
            vars(self._kept.pop())["time"] = time
