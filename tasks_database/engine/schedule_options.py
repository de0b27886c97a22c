"""Schedules from OPTIONS and from decorators, or every single thing that is wrong with them.

    "schedules": {
        "nightly report": {
            "task": "shop.tasks.report",
            "cron": "0 3 * * *",  # or "every": timedelta(minutes=5), or a number of seconds
            "timezone": "Europe/Zurich",
            "args": [], "kwargs": {"year": 2026},
            "queue_name": "reports", "priority": 10, "catch_up": "latest",
        },
    }

The task is named there, not imported: settings are read before tasks can be.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .binding import SignatureError, bind
from .framework import FrameworkTask
from .payload import PayloadError, encode
from .schedule_errors import Problem, ScheduleError, collecting
from .schedules import CatchUp, Schedule, Trigger, as_trigger, crontab, every, in_timezone

KEYS = (
    "task",
    "cron",
    "every",
    "timezone",
    "args",
    "kwargs",
    "queue_name",
    "priority",
    "catch_up",
)
MAX_NAME_LENGTH = 255
_EXAMPLE = '{"task": "shop.tasks.report", "cron": "0 3 * * *"}'


def parse_schedules(mapping: object, *, default_timezone: str, backend: str) -> dict[str, Schedule]:
    """The schedules by name.

    default_timezone: the zone of cron lines that name none: settings.TIME_ZONE.
    backend: the alias whose OPTIONS these are.

    Raises ScheduleError, whose ``problems`` are all that is wrong, each with its schedule's name.
    """
    if not isinstance(mapping, Mapping):
        raise ScheduleError(
            Problem(
                f"The schedules are {mapping!r}, not a dictionary of names.",
                f'Write {{"nightly report": {_EXAMPLE}}}.',
            )
        )
    schedules = {}
    problems: list[Problem] = []
    for name, entry in mapping.items():
        try:
            schedules[name] = _schedule(name, entry, default_timezone, backend)
        except ScheduleError as error:
            problems.extend(
                Problem(f"Schedule {name!r}: {problem.message}", problem.hint, str(name))
                for problem in error.problems
            )
    if problems:
        raise ScheduleError(*problems)
    return schedules


def declared_schedules(
    tasks: Iterable[FrameworkTask], *, default_timezone: str, backend: str
) -> dict[str, Schedule]:
    """The schedules of those tasks that have one (``@task(schedule=...)``) and this backend.

    Each is named after the path to its task, so an entry of OPTIONS may take its place:
    ``declared_schedules(...) | parse_schedules(...)``.

    Raises ScheduleError, whose ``problems`` are all that is wrong, each with its schedule's name.
    """
    schedules = {}
    problems: list[Problem] = []
    for task in tasks:
        if getattr(task, "schedule", None) is None or task.backend != backend:
            continue
        name = task.module_path
        try:
            schedules[name] = _declared(task, default_timezone)
        except ScheduleError as error:
            problems.extend(
                Problem(f"The schedule of {name}: {problem.message}", problem.hint, name)
                for problem in error.problems
            )
    if problems:
        raise ScheduleError(*problems)
    return schedules


def _declared(task: Any, default_timezone: str) -> Schedule:
    trigger = in_timezone(as_trigger(task.schedule), default_timezone)
    try:
        bind(task.func, (), {}, takes_context=task.takes_context, path=task.module_path)
    except SignatureError as error:
        raise ScheduleError(
            Problem(
                str(error),
                'Give its parameters defaults, or use OPTIONS["schedules"], which takes args.',
            )
        ) from None
    return Schedule(
        name=task.module_path,
        task_path=task.module_path,
        trigger=trigger,
        backend=task.backend,
    )


def _schedule(name: object, entry: object, default_timezone: str, backend: str) -> Schedule:
    problems: list[Problem] = []
    with collecting(problems):
        _check_name(name)
    if not isinstance(entry, Mapping):
        raise ScheduleError(
            *problems, Problem(f"It is {entry!r}, not a dictionary.", f"Write {_EXAMPLE}.")
        )
    if unknown := [key for key in entry if key not in KEYS]:
        problems.append(
            Problem(
                f"It has the unknown {'keys' if unknown[1:] else 'key'} "
                f"{', '.join(map(repr, unknown))}.",
                f"A schedule takes {', '.join(KEYS)}.",
            )
        )
    fields: dict[str, Any] = {}
    for field, read in _READERS.items():
        with collecting(problems):
            fields[field] = read(entry)
    with collecting(problems):
        fields["trigger"] = in_timezone(_trigger(entry), default_timezone)
    if problems:
        raise ScheduleError(*problems)
    return Schedule(name=str(name), backend=backend, **fields)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
        raise ScheduleError(
            Problem(
                f"Its name is {name!r}.",
                f"Write a text of 1 to {MAX_NAME_LENGTH} characters as the key of a schedule.",
            )
        )
    _json(name, what="Its name")


def _trigger(entry: Mapping[Any, Any]) -> Trigger:
    given = {key for key in ("cron", "every") if entry.get(key) is not None}
    problems: list[Problem] = []
    if not given:
        problems.append(
            Problem(
                "It has neither cron nor every, so it is never due.",
                'Write "cron": "0 3 * * *", or "every": timedelta(minutes=5).',
            )
        )
    if len(given) == 2:
        problems.append(
            Problem("It has both cron and every.", "Leave one, or make two schedules of it.")
        )
    if given == {"every"} and entry.get("timezone") is not None:
        problems.append(
            Problem(
                "It has every and a timezone, but intervals are the same in all time zones.",
                "Leave the timezone out, or write a cron line.",
            )
        )
    # What was given is looked at as well, whatever else is wrong.
    catch_up = entry.get("catch_up", CatchUp.LATEST)
    triggers: list[Trigger] = []
    with collecting(problems):
        if "cron" in given:
            zone = entry.get("timezone")
            triggers.append(crontab(entry["cron"], timezone=zone, catch_up=catch_up))
    with collecting(problems):
        if "every" in given:
            triggers.append(every(entry["every"], catch_up=catch_up))
    if problems:
        raise ScheduleError(*dict.fromkeys(problems))  # catch_up may have been wrong twice
    return triggers[0]


def _task_path(entry: Mapping[Any, Any]) -> str:
    path = entry.get("task")
    if isinstance(path, str):
        parts = path.split(".")
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            return path
    message = "It names no task." if path is None else f"Its task is {path!r}."
    raise ScheduleError(
        Problem(message, 'Write the path to a task, as in "task": "shop.tasks.report".')
    )


def _payload(entry: Mapping[Any, Any]) -> str:
    problems: list[Problem] = []
    args = entry.get("args", [])
    if not isinstance(args, list | tuple):
        problems.append(
            Problem(f"Its args are {args!r}, not a list.", f'Write "args": [{args!r}].')
        )
    kwargs = entry.get("kwargs", {})
    if not isinstance(kwargs, dict):
        problems.append(
            Problem(
                f"Its kwargs are {kwargs!r}, not a dictionary.",
                'Write "kwargs": {"year": 2026}.',
            )
        )
    if problems:
        raise ScheduleError(*problems)
    for what, value in [("args", args), ("kwargs", kwargs)]:
        with collecting(problems):
            _json(value, what=what)
    if problems:
        raise ScheduleError(*problems)
    return encode([args, kwargs], what="its arguments")


def _json(value: object, *, what: str) -> None:
    try:
        encode(value, what=what)
    except PayloadError as error:
        # Its sentences: what is wrong, and what to pass instead.
        message, _, hint = str(error).rpartition(". ")
        if not message:
            message, hint = str(error).rstrip("."), "Pass something simpler."
        raise ScheduleError(Problem(f"{message}.", hint)) from None


def _queue_name(entry: Mapping[Any, Any]) -> str | None:
    queue_name = entry.get("queue_name")
    if queue_name is None or (isinstance(queue_name, str) and queue_name):
        return queue_name
    raise ScheduleError(
        Problem(
            f"Its queue_name is {queue_name!r}.",
            "Write the name of a queue, or leave it out for the task's own.",
        )
    )


def _priority(entry: Mapping[Any, Any]) -> int | None:
    priority = entry.get("priority")
    if priority is None or (isinstance(priority, int) and not isinstance(priority, bool)):
        return priority
    raise ScheduleError(
        Problem(
            f"Its priority is {priority!r}.",
            "Write a whole number, or leave it out for the task's own.",
        )
    )


_READERS: Mapping[str, Callable[[Mapping[Any, Any]], Any]] = {
    "task_path": _task_path,
    "payload": _payload,
    "queue_name": _queue_name,
    "priority": _priority,
}
