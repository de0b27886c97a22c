"""What happens after a task raised: how often it is tried, how long it waits, how long it may run.

Two budgets, never mixed: ``max_attempts`` counts exceptions of the task itself, ``max_rescues``
counts deliveries that were lost with their worker. A deployment that kills a worker never uses up
an attempt of a task that did nothing wrong.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from .framework import InvalidTask

DEFAULT_MAX_ATTEMPTS = 1
DEFAULT_MAX_RESCUES = 5

type Backoff = Callable[[BaseException, int], timedelta | None]
"""``(exception, attempt) -> delay``: how long after the failed ``attempt`` (1 for the first) the
next one is due. None: do not retry, whatever attempts are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of one task.

    max_attempts: how many times the body may raise before the task is failed (1: no retry).
    max_rescues: how many deliveries may be lost with their worker before the task is failed.
    backoff: the delay before the next attempt; None retries at once.
    timeout: how long one attempt may run; None is no limit.
    """

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_rescues: int = DEFAULT_MAX_RESCUES
    backoff: Backoff | None = None
    timeout: timedelta | None = None

    def validate(self) -> None:
        """Raise InvalidTask with the field, the value and what it may be."""
        check_count("max_attempts", self.max_attempts, minimum=1)
        check_count("max_rescues", self.max_rescues, minimum=0)
        if self.backoff is not None and not callable(self.backoff):
            raise InvalidTask(
                f"backoff must be a callable (exception, attempt) -> timedelta | None, "
                f"such as exponential(base=timedelta(seconds=10)), not {self.backoff!r}."
            )
        if self.timeout is not None and (
            not isinstance(self.timeout, timedelta) or self.timeout <= timedelta()
        ):
            raise InvalidTask(
                f"timeout must be a positive timedelta or None, not {self.timeout!r}."
            )

    def delay_after(self, exception: BaseException, attempt: int) -> timedelta | None:
        """How long to wait after the failed ``attempt``; None when the task shall not be retried.

        Raises TypeError or ValueError, naming the callable, when ``backoff`` answers anything but
        a timedelta of zero or more, or None.
        """
        if attempt >= self.max_attempts:
            return None
        if self.backoff is None:
            return timedelta()
        delay = self.backoff(exception, attempt)
        if delay is None:
            return None
        name = getattr(self.backoff, "__qualname__", repr(self.backoff))
        if not isinstance(delay, timedelta):
            raise TypeError(
                f"backoff {name} returned {delay!r} for attempt {attempt}; "
                "it must return a timedelta, or None to stop retrying."
            )
        if delay < timedelta():
            raise ValueError(
                f"backoff {name} returned {delay!r} for attempt {attempt}; "
                "a delay cannot be negative."
            )
        return delay


def check_count(name: str, value: object, *, minimum: int) -> None:
    """Raise InvalidTask unless ``value`` is a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InvalidTask(f"{name} must be a whole number of at least {minimum}, not {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Delays of base, 2 base, 4 base, ... up to cap; see `exponential`."""

    base: timedelta
    cap: timedelta
    jitter: float

    def __call__(self, exception: BaseException, attempt: int) -> timedelta:  # noqa: ARG002
        # Whole microseconds: seconds as floats would round a large cap up, beyond the largest
        # timedelta. 67 doublings exceed that, whatever the base; more only cost time.
        factor = 1 << min(attempt - 1, 67)
        delay = timedelta.resolution * min(
            self.base // timedelta.resolution * factor, self.cap // timedelta.resolution
        )
        if self.jitter:
            # Full determinism under a seeded `random` (pytest-randomly, a simulation).
            delay *= 1 - self.jitter * random.random()  # noqa: S311
        return delay


def _as_timedelta(name: str, value: timedelta | float) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"exponential() needs a timedelta or a number of seconds as {name}, "
            f"not {value!r}: {error}."
        ) from None


def exponential(
    *,
    base: timedelta | float = 1,
    cap: timedelta | float = 3600,
    jitter: float = 0.0,
) -> Exponential:
    """A backoff that doubles: ``base`` after the first failure, up to ``cap``.

    base, cap: timedeltas, or numbers of seconds; 0 < base <= cap.
    jitter: 0 to 1; the part of each delay that is random (0.25: between 75 % and 100 % of it), so
    that tasks which failed together do not come back together.

    Raises ValueError for anything else.
    """
    base_delay = _as_timedelta("base", base)
    cap_delay = _as_timedelta("cap", cap)
    if not timedelta() < base_delay <= cap_delay:
        raise ValueError(
            f"exponential() needs 0 < base <= cap, not base={base_delay!r} and cap={cap_delay!r}."
        )
    if not isinstance(jitter, int | float) or not 0 <= jitter <= 1:
        raise ValueError(f"exponential() needs a jitter between 0 and 1, not {jitter!r}.")
    return Exponential(base=base_delay, cap=cap_delay, jitter=jitter)
