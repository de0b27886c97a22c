"""How many may run at once, and how often one may start: over all workers, by key.

A key names what is limited: a queue or a task of one backend alias. The store keeps a row for each
slot that is taken and one with the next free instant of each rate.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from .framework import InvalidTask
from .policies import check_count

MAX_KEY = 255
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A worker is this punctual: of a high rate, so much may start together.
_PUNCTUAL = timedelta(milliseconds=100)
_MOST = 10_000  # A second.
_RATE = re.compile(r"([1-9][0-9]*)/([smhd])")


def parse_rate(rate: object) -> timedelta:
    """The time between two starts that "10/s", "100/m", "1000/h" or "5000/d" asks for.

    Evenly spaced: never 10 at the end of a second and 10 at the beginning of the next.
    Raises InvalidTask for anything else, and for more than 10,000 a second.
    """
    match = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if match is None:
        raise InvalidTask(
            f'rate must be a number a second, minute, hour or day, such as "10/s", "100/m", '
            f'"1000/h" or "5000/d", not {rate!r}.'
        )
    count, seconds = int(match[1]), _UNITS[match[2]]
    if count > _MOST * seconds:
        raise InvalidTask(f"rate {rate!r} is more than 10,000 a second: leave it out.")
    return timedelta(seconds=seconds) / count


def limit_key(kind: Literal["queue", "task"], backend: str, name: str) -> str:
    """The key of a queue's or a task's limit, of at most MAX_KEY characters."""
    key = f"{kind}:{backend}:{name}"
    if len(key) <= MAX_KEY:
        return key
    return f"{kind}:{backend}:{hashlib.sha256(name.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Limit:
    """What one key allows.

    max_concurrency: how many may run at once; None is no limit.
    interval: the time between two starts; None is no limit.
    """

    key: str
    max_concurrency: int | None = None
    interval: timedelta | None = None


def parse_limit(key: str, options: object) -> Limit:
    """The Limit of a settings entry: {"max_concurrency": 5, "rate": "10/s"}, one of them or both.

    Raises InvalidTask, saying what is wrong.
    """
    if not isinstance(options, Mapping) or not options:
        raise InvalidTask(
            'a limit must be a dict such as {"max_concurrency": 5, "rate": "10/s"}, '
            f"not {options!r}."
        )
    unknown = sorted(str(name) for name in set(options) - {"max_concurrency", "rate"})
    if unknown:
        raise InvalidTask(f"a limit has max_concurrency and rate, not {', '.join(unknown)}.")
    return limit_of(key, options.get("max_concurrency"), options.get("rate"))


def limit_of(key: str, max_concurrency: Any, rate: Any) -> Limit:
    """The Limit with these values, checked; None is no limit."""
    if max_concurrency is not None:
        check_count("max_concurrency", max_concurrency, minimum=1)
    return Limit(
        key=key,
        max_concurrency=max_concurrency,
        interval=None if rate is None else parse_rate(rate),
    )


def may_start(next_free: datetime | None, *, now: datetime) -> bool:
    """Whether a rate lets one start now; ``next_free`` is when it lets the next one."""
    return next_free is None or next_free <= now


def after_start(
    next_free: datetime | None, *, interval: timedelta, now: datetime, waited: bool
) -> datetime:
    """When the next one may start, where one starts now.

    waited: it was to start at ``next_free``. That it is late by up to 100 ms, as workers are, does
    not make those after it late too; what nobody waited for is not made up for.
    """
    earliest = now - _PUNCTUAL if waited else now
    if next_free is None or next_free < earliest:
        next_free = earliest
    return next_free + interval


def may_start_of_waiting(next_free: datetime | None, *, interval: timedelta, now: datetime) -> int:
    """How many of those that wait for a rate it lets start now."""
    if not may_start(next_free, now=now):
        return 0
    since = now if next_free is None else max(next_free, now - _PUNCTUAL)
    return (now - since) // interval + 1
