"""manage.py tasks_schedules: which tasks recur, when they last did, and when they will next."""

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from tasks_database.backend import DatabaseBackend
from tasks_database.engine.schedules import Crontab, Schedule, ScheduleError, described
from tasks_database.framework import DEFAULT_TASK_BACKEND_ALIAS, task_backends
from tasks_database.schedule_states import Standing, State, states
from tasks_database.schedules import defined_schedules


class Command(BaseCommand):
    help = (
        "List recurring tasks: when they are due, when each was due last, and whether the workers "
        "run what this code defines."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--backend",
            default=DEFAULT_TASK_BACKEND_ALIAS,
            help="The alias of TASKS whose schedules are listed (default: %(default)s).",
        )
        parser.add_argument(
            "--next",
            type=_count,
            default=1,
            metavar="N",
            help="How many of the next times to show (default: %(default)s).",
        )
        parser.add_argument(
            "--format",
            choices=["text", "json"],
            default="text",
            help="Text for reading (the default), or JSON, with times in UTC.",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        backend = _backend(options["backend"])
        try:
            definitions = defined_schedules(backend)
        except ScheduleError as error:
            raise CommandError(str(error)) from error
        found = states(definitions, backend.store, now=datetime.now(UTC), count=options["next"])
        if options["format"] == "json":
            self.stdout.write(json.dumps([_as_json(state) for state in found], indent=2))
        elif found:
            self.stdout.write("\n\n".join("\n".join(_lines(state)) for state in found))
        else:
            self.stdout.write(
                f'There are no schedules for TASKS["{backend.alias}"]. Write some into its '
                'OPTIONS["schedules"], or give a task one: @task(schedule="0 3 * * *").'
            )


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 1_000:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1000.")
    return int(text)


def _backend(alias: str) -> DatabaseBackend:
    if alias not in task_backends.settings:
        raise CommandError(
            f"There is no backend {alias!r} in TASKS; there are "
            f"{', '.join(sorted(task_backends.settings))}."
        )
    backend = task_backends[alias]
    if not isinstance(backend, DatabaseBackend):
        raise CommandError(
            f'TASKS["{alias}"] is a {type(backend).__module__}.{type(backend).__qualname__}, '
            "which has no schedules. Choose a tasks_database.DatabaseBackend with --backend."
        )
    return backend


def _lines(state: State) -> Iterator[str]:
    """A schedule to read, its times as its own clock shows them."""
    zone = _zone(state.schedule)
    yield state.name
    yield f"  task    {state.task_path}"
    if state.schedule is not None:
        trigger = state.schedule.trigger
        line = f"{trigger.line}: " if isinstance(trigger, Crontab) else ""
        yield f"  when    {line}{described(trigger)}; missed times: {trigger.catch_up}"
    if state.last_tick is not None:
        yield f"  done    up to {_shown(state.last_tick, zone)}"
    for place, tick in enumerate(state.next_ticks):
        yield f"  {'' if place else 'next':<6}  {_shown(tick, zone)}"
    if state.standing is not Standing.IN_STEP:
        yield f"  status  {state.standing}"


def _zone(schedule: Schedule | None) -> ZoneInfo | None:
    if schedule is None or not isinstance(schedule.trigger, Crontab):
        return None
    return ZoneInfo(schedule.trigger.timezone or "UTC")


def _shown(moment: datetime, zone: ZoneInfo | None) -> str:
    local = timezone.localtime(moment, zone)
    return f"{local:%a %Y-%m-%d %H:%M:%S %Z}"


def _as_json(state: State) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": state.name,
        "task": state.task_path,
        "status": state.standing.name.lower(),
        "cron": None,
        "timezone": None,
        "every_seconds": None,
        "catch_up": None,
        "last_tick": None if state.last_tick is None else state.last_tick.isoformat(),
        "next_ticks": [tick.isoformat() for tick in state.next_ticks],
    }
    if state.schedule is not None:
        trigger = state.schedule.trigger
        shown["catch_up"] = trigger.catch_up.value
        if isinstance(trigger, Crontab):
            shown.update(cron=trigger.line, timezone=trigger.timezone)
        else:
            shown["every_seconds"] = trigger.interval.total_seconds()
    return shown
