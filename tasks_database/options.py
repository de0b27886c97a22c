"""The settings entry of a DatabaseBackend as one frozen value, or all that is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from django.conf import settings
from django.db import connections

from .engine.framework import InvalidTask
from .engine.limits import Limit, limit_key, parse_limit
from .engine.schedule_errors import ScheduleError
from .engine.schedule_options import parse_schedules
from .engine.schedules import Schedule
from .engine.worker import DEFAULT_LEASE

DEFAULT_TIMEOUT_GRACE = timedelta(seconds=5)

type Acknowledge = Literal["group", "each"]

NAMES = (
    "acknowledge",
    "database",
    "lease",
    "limits",
    "mask",
    "retention",
    "schedules",
    "timeout_grace",
    "transactional",
)
_LIMIT_HINT = 'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.'
RETENTION_NAMES = ("cancelled", "failed", "successful")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and what to write instead."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished tasks are kept; None is for ever."""

    successful: timedelta | None = None
    failed: timedelta | None = None
    cancelled: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """OPTIONS of a DatabaseBackend.

    database: the alias of the database; None asks the routers.
    acknowledge: "group" stores outcomes together, while the next bodies run; "each" stores each one
    before its thread takes another, so that a crash repeats no more than one task a thread.
    lease: how long a worker that was not heard of keeps its tasks; at least 10 seconds.
    retention: how long finished tasks are kept.
    timeout_grace: how long a task may take to end that ran into its timeout; then it is given up,
    and its worker process is replaced.
    schedules: the recurring tasks, by name.
    queue_limits: the limits of queues, by queue name.
    """

    database: str | None = None
    acknowledge: Acknowledge = "group"
    lease: timedelta = DEFAULT_LEASE
    retention: Retention = field(default_factory=Retention)
    timeout_grace: timedelta = DEFAULT_TIMEOUT_GRACE
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    queue_limits: Mapping[str, Limit] = field(default_factory=dict)


def parse_options(alias: str, options: Mapping[str, Any]) -> tuple[Options, list[Problem]]:
    """The options, with the defaults for those that are wrong, and what is wrong with them."""
    problems: list[Problem] = []
    parsed: dict[str, Any] = {}
    problems += [
        Problem(f"there is no option {name!r}.", f"There are {', '.join(NAMES)}.")
        for name in options
        if name not in NAMES
    ]
    parsers = {
        "acknowledge": _acknowledge,
        "lease": _lease,
        "retention": _retention,
        "timeout_grace": lambda value: _duration("timeout_grace", value),
        "database": _database,
    }
    for name, parse in parsers.items():
        if options.get(name) is None:
            continue
        try:
            parsed[name] = parse(options[name])
        except _Wrong as wrong:
            problems.append(wrong.problem)
    if options.get("schedules") is not None:
        try:
            parsed["schedules"] = parse_schedules(
                options["schedules"], default_timezone=settings.TIME_ZONE, backend=alias
            )
        except ScheduleError as error:
            problems += [Problem(one.message, one.hint) for one in error.problems]
    if options.get("limits") is not None:
        limits, wrong_limits = _limits(alias, options["limits"])
        parsed["queue_limits"] = limits
        problems += wrong_limits
    return Options(**parsed), problems


class _Wrong(Exception):  # noqa: N818 - inside this file only
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(message, hint)


def _acknowledge(value: object) -> str:
    if value not in ("group", "each"):
        raise _Wrong(
            f"acknowledge is {value!r}.",
            'Write "group" (the default), or "each": every outcome stored before the next task.',
        )
    return str(value)


def _database(value: Any) -> str:
    if value not in connections:
        raise _Wrong(
            f"database is {value!r}, which is no alias of DATABASES.",
            f"There are {', '.join(connections)}.",
        )
    return str(value)


def _lease(value: object) -> timedelta:
    lease = _duration("lease", value)
    if lease < timedelta(seconds=1):
        raise _Wrong(
            f"lease is {value!r}.",
            "A worker is declared dead after a lease without a heartbeat: 60 seconds or more, so "
            "that a busy interpreter or a slow database is not taken for a death.",
        )
    return lease


def _duration(name: str, value: object) -> timedelta:
    if isinstance(value, timedelta) and value > timedelta():
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        try:
            return timedelta(seconds=value)
        except (OverflowError, ValueError):
            pass
    raise _Wrong(f"{name} is {value!r}.", "Write a timedelta, or a number of seconds, above 0.")


def _retention(value: object) -> Retention:
    if not isinstance(value, Mapping):
        kept = _duration("retention", value)
        return Retention(successful=kept, failed=kept, cancelled=kept)
    for name in value:
        if name not in RETENTION_NAMES:
            raise _Wrong(f"retention has no {name!r}.", f"It has {', '.join(RETENTION_NAMES)}.")
    return Retention(
        **{
            name: None if kept is None else _duration(f"retention[{name!r}]", kept)
            for name, kept in value.items()
        }
    )


def _limits(alias: str, value: object) -> tuple[dict[str, Limit], list[Problem]]:
    queues = value.get("queues", {}) if isinstance(value, Mapping) else None
    if not (
        isinstance(value, Mapping) and set(value) <= {"queues"} and isinstance(queues, Mapping)
    ):
        problem = Problem(
            f"limits is {value!r}.",
            'Write {"queues": {"mail": {"max_concurrency": 5, "rate": "10/s"}}}. '
            "The limits of a task stand at its decorator.",
        )
        return {}, [problem]
    found = dict(_queue_limits(alias, queues))
    return (
        {name: limit for name, limit in found.items() if isinstance(limit, Limit)},
        [limit for limit in found.values() if isinstance(limit, Problem)],
    )


def _queue_limits(alias: str, queues: Mapping[str, Any]) -> Iterator[tuple[str, Limit | Problem]]:
    for name, entry in queues.items():
        try:
            yield name, parse_limit(limit_key("queue", alias, name), entry)
        except InvalidTask as error:
            yield name, Problem(f"limits of the queue {name!r}: {error}", _LIMIT_HINT)
