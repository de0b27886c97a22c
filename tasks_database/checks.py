"""System checks: what is wrong with a DatabaseBackend's settings, its schedules and its database.

Django asks each backend with every ``manage.py check``; what needs a connection is asked where
databases are named: ``manage.py check --database default``, and ``migrate``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import DatabaseError, connections
from django.utils.module_loading import autodiscover_modules

from .engine import SignatureError, bind, decode
from .engine.framework import InvalidTask
from .engine.schedule_errors import ScheduleError
from .engine.schedule_options import declared_schedules, parse_schedules
from .engine.schedules import Schedule
from .engine.tasks import hooked_tasks, scheduled_tasks
from .framework import task_backends
from .options import parse_options
from .resolve import UnknownTask, resolve

if TYPE_CHECKING:
    from .backend import DatabaseBackend

TAG = "tasks_database"
MAX_ALIAS = 64
RECOMMENDED_LEASE = timedelta(seconds=60)
RECOMMENDED_TIMEOUT = 20  # seconds

_SQLITE_OPTIONS = (
    '"OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", '
    '"transaction_mode": "IMMEDIATE", "timeout": 20}'
)


def check_backend(backend: "DatabaseBackend", **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001
    """All that can be told without a connection."""
    if not apps.is_installed("tasks_database"):
        return [
            checks.Error(
                "Its app is not installed, so there are no tables.",
                hint='Add "tasks_database" to INSTALLED_APPS, and run manage.py migrate.',
                obj=_place(backend),
                id="tasks_database.E002",
            )
        ]
    return [
        *_options(backend),
        *_schedules(backend),
        *_hooks(backend),
        *_database_settings(backend),
    ]


def check_databases(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001
    """What has to be asked of the databases themselves; registered by the app."""
    from .backend import DatabaseBackend

    return [
        message
        for backend in task_backends.all()
        if isinstance(backend, DatabaseBackend) and backend.database in (databases or ())
        for message in _version(backend)
    ]


def _place(backend: "DatabaseBackend") -> str:
    return f'TASKS["{backend.alias}"]'


# -- the settings entry ----------------------------------------------------------------------------


def _options(backend: "DatabaseBackend") -> Iterator[CheckMessage]:
    options = {name: value for name, value in backend.options.items() if name != "schedules"}
    parsed, problems = parse_options(backend.alias, options)
    for problem in problems:
        yield checks.Error(
            f"OPTIONS: {problem.message}",
            hint=problem.hint,
            obj=_place(backend),
            id="tasks_database.E001",
        )
    if len(backend.alias) > MAX_ALIAS:
        yield checks.Error(
            f"Its alias has {len(backend.alias)} characters; {MAX_ALIAS} can be stored.",
            hint="Give it a shorter name in TASKS.",
            obj=_place(backend),
            id="tasks_database.E005",
        )
    if parsed.lease < RECOMMENDED_LEASE:
        yield checks.Warning(
            f"OPTIONS: lease is {parsed.lease.total_seconds():g} seconds: a worker that is busy or "
            "cannot reach the database for so long is taken for dead, and its tasks run again.",
            hint="Use 60 seconds or more.",
            obj=_place(backend),
            id="tasks_database.W005",
        )


def _schedules(backend: "DatabaseBackend") -> Iterator[CheckMessage]:
    autodiscover_modules("tasks")
    found: dict[str, Schedule] = {}
    sources: tuple[Callable[[], dict[str, Schedule]], ...] = (
        lambda: declared_schedules(
            scheduled_tasks.values(), default_timezone=settings.TIME_ZONE, backend=backend.alias
        ),
        lambda: parse_schedules(
            backend.options.get("schedules") or {},
            default_timezone=settings.TIME_ZONE,
            backend=backend.alias,
        ),
    )
    for source in sources:
        try:
            found |= source()
        except ScheduleError as error:
            for problem in error.problems:
                yield checks.Error(
                    problem.message,
                    hint=problem.hint,
                    obj=_place(backend),
                    id="tasks_database.E003",
                )
    for schedule in found.values():
        problem_with = _problem_with(schedule)
        if problem_with is not None:
            message, hint = problem_with
            yield checks.Error(
                f"Schedule {schedule.name!r}: {message}",
                hint=hint,
                obj=_place(backend),
                id="tasks_database.E004",
            )


def _problem_with(schedule: Schedule) -> tuple[str, str] | None:
    """What keeps it from being enqueued, and what to do."""
    try:
        task = resolve(schedule.task_path)
    except UnknownTask as error:
        return str(error), "Write the path to a task, and let an app's tasks.py import it."
    args, kwargs = decode(schedule.payload)
    try:
        bind(task.func, args, kwargs, takes_context=task.takes_context, path=schedule.task_path)
    except SignatureError as error:
        return str(error), 'Correct its "args" and "kwargs".'
    try:
        task.using(
            backend=schedule.backend,
            queue_name=schedule.queue_name,
            priority=schedule.priority,
        )
    except InvalidTask as error:
        return str(error), 'Correct its "queue_name" and "priority", or the task.'
    return None


def _hooks(backend: "DatabaseBackend") -> Iterator[CheckMessage]:
    """A task that was declared while apps were loaded could not be looked at then."""
    for task in hooked_tasks.values():
        if task.backend != backend.alias:
            continue
        try:
            backend.validate_task(task)
        except InvalidTask as error:
            yield checks.Error(
                f"{task.module_path}: {error}",
                hint="What follows a task is stored in the transaction that stores its end.",
                obj=_place(backend),
                id="tasks_database.E008",
            )


# -- the settings of its database ------------------------------------------------------------------


def _database_settings(backend: "DatabaseBackend") -> Iterator[CheckMessage]:
    connection: Any = connections[backend.database]
    entry = f'DATABASES["{backend.database}"]'
    vendor, options = connection.vendor, connection.settings_dict.get("OPTIONS", {})
    if vendor == "sqlite":
        if not connection.is_in_memory_db():
            yield from _sqlite_settings(entry, options)
    elif vendor == "mysql":
        yield from _mysql_settings(entry, options)
    elif vendor != "postgresql":
        yield checks.Error(
            f"Its database, {entry}, is {vendor}, which is not supported.",
            hint='Use PostgreSQL, MariaDB, MySQL or SQLite, by OPTIONS["database"] or a router.',
            obj=_place(backend),
            id="tasks_database.E006",
        )


def _sqlite_settings(entry: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    hint = f"Write {_SQLITE_OPTIONS} into {entry}."
    init_command = str(options.get("init_command", "")).lower().replace(" ", "")
    if "journal_mode=wal" not in init_command:
        yield checks.Warning(
            "It is not set to write-ahead logging (WAL): each task that is enqueued or ends waits "
            "for all that read.",
            hint=hint,
            obj=entry,
            id="tasks_database.W001",
        )
    if str(options.get("transaction_mode")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield checks.Warning(
            "Its transaction_mode is not IMMEDIATE: a transaction that has read fails with "
            '"database is locked" when it enqueues, if a worker has written meanwhile.',
            hint=hint,
            obj=entry,
            id="tasks_database.W002",
        )
    timeout = options.get("timeout", 5)
    if not isinstance(timeout, int | float) or timeout < RECOMMENDED_TIMEOUT:
        yield checks.Warning(
            f"Its timeout is {timeout} seconds: who waits longer for others to have written fails "
            'with "database is locked".',
            hint=hint,
            obj=entry,
            id="tasks_database.W003",
        )


def _mysql_settings(entry: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    level = options.get("isolation_level", "read committed")
    if str(level).lower() != "read committed":
        yield checks.Warning(
            f"Its isolation_level is {level!r}: under anything but read committed, workers lock "
            "more than they change, and wait for each other.",
            hint=f'Leave isolation_level out of {entry}["OPTIONS"], or write "read committed".',
            obj=entry,
            id="tasks_database.W004",
        )
    charset = options.get("charset", "utf8mb4")
    if charset != "utf8mb4":
        yield checks.Warning(
            f"Its charset is {charset!r}, which cannot store all text: a task whose arguments or "
            "value have such characters fails.",
            hint=f'Leave charset out of {entry}["OPTIONS"], or write "utf8mb4".',
            obj=entry,
            id="tasks_database.W006",
        )


# -- the database itself ---------------------------------------------------------------------------

# For SKIP LOCKED, RETURNING and JSON_TABLE, and what Django 6 supports.
_NEEDED = {
    "PostgreSQL": (15,),
    "MariaDB": (10, 11),
    "MySQL": (8, 4),
    "SQLite": (3, 37),
}


def _version(backend: "DatabaseBackend") -> Iterator[CheckMessage]:
    connection: Any = connections[backend.database]
    entry = f'DATABASES["{backend.database}"]'
    product = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mysql": "MySQL"}.get(
        connection.vendor
    )
    if product is None:
        return  # E006 says so.
    try:
        if connection.vendor == "mysql" and connection.mysql_is_mariadb:
            product = "MariaDB"
        version = connection.get_database_version()
    except DatabaseError:
        return  # Whoever has named it will hear of that.
    needed = _NEEDED[product]
    if tuple(version[: len(needed)]) < needed:
        yield checks.Error(
            f"It is {product} {_dotted(version)}; {product} {_dotted(needed)} is the oldest that "
            "works.",
            hint=f"Upgrade it, or give {_place(backend)} another database.",
            obj=entry,
            id="tasks_database.E007",
        )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
