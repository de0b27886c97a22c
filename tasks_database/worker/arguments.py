"""From the options of `tasks_worker` to a WorkerConfig, or a CommandError that says what is wrong.

They may come from a command line, as text, or from call_command(), as whatever was passed: the
types of an argument parser would check the first only.
"""

import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from tasks_database.backend import DatabaseBackend
from tasks_database.framework import task_backends
from tasks_database.store import store_for

from .config import WorkerConfig

# What names the process is added to it, and the column holds 255.
_MAX_WORKER_ID = 200


def config_of(options: Mapping[str, Any]) -> WorkerConfig:
    """The options, checked against one another and against TASKS.

    Raises CommandError.
    """
    backend = backend_of(options["backend"])
    queues = _queues("--queues", options["queues"], backend)
    exclude = _queues("--exclude-queues", options["exclude_queues"], backend)
    if queues and exclude:
        raise CommandError(
            "--queues and --exclude-queues cannot be given together: --queues says all that is "
            "worked for."
        )
    if exclude and backend.queues and not set(backend.queues) - set(exclude):
        raise CommandError(
            f"--exclude-queues names every queue of {_entry(backend)}: nothing is left to work for."
        )
    config = WorkerConfig(
        backend=backend.alias,
        queues=queues,
        exclude=exclude or (),
        processes=_whole("--processes", options["processes"]),
        threads=_whole("--threads", options["threads"]),
        batch=bool(options["batch"]),
        max_tasks=_optional(_whole, "--max-tasks", options["max_tasks"]),
        interval=_optional(_seconds, "--interval", options["interval"]),
        reload=bool(options["reload"]),
        worker_id=_worker_id(options["worker_id"]),
        shutdown_timeout=_seconds("--shutdown-timeout", options["shutdown_timeout"]),
        verbosity=int(options["verbosity"]),
    )
    if config.batch and config.reload:
        raise CommandError(
            "--batch and --reload cannot be given together: a batch ends when nothing is ready."
        )
    _check_place(config)
    _check_visible(backend)
    return config


def backend_of(alias: object) -> DatabaseBackend:
    """The backend with this alias.

    Raises CommandError when there is none, and when it is not a DatabaseBackend.
    """
    if not isinstance(alias, str) or alias not in task_backends.settings:
        raise CommandError(
            f"--backend is {alias!r}, which is no alias of TASKS. "
            f"There are {', '.join(sorted(task_backends.settings))}."
        )
    backend = task_backends[alias]
    if not isinstance(backend, DatabaseBackend):
        kind = type(backend)
        raise CommandError(
            f'TASKS["{alias}"] is a {kind.__module__}.{kind.__qualname__}, whose tasks are not in '
            "a database. Give --backend the alias of a tasks_database.DatabaseBackend."
        )
    try:
        store_for(backend.database)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from error
    return backend


def _check_visible(backend: DatabaseBackend) -> None:
    """Whether the tables can be seen over other connections, as threads and processes have them."""
    connection = connections[backend.database]
    in_tests = (
        'In a test, run tasks with the verbs of TaskQueue(mode="database"), or use transactional '
        "tests on a database that is a file or a server."
    )
    if connection.in_atomic_block:
        raise CommandError(
            f'tasks_worker was called inside a transaction on the database "{backend.database}": '
            f"its threads would not see what is in there. {in_tests}"
        )
    if connection.vendor == "sqlite" and connection.is_in_memory_db():  # type: ignore[attr-defined]
        raise CommandError(
            f'The database "{backend.database}" of {_entry(backend)} is an SQLite database in '
            "memory: the threads and processes of tasks_worker would each see one of their own. "
            f"Give it a file. {in_tests}"
        )


def _check_place(config: WorkerConfig) -> None:
    """Processes of their own need a settings module to load, and signals need the main thread."""
    if os.name != "posix":
        raise CommandError(
            f"tasks_worker works on POSIX systems (Linux, macOS, BSD), not on {sys.platform}. "
            "On Windows, run it in WSL."
        )
    if supervisable():
        return
    option = "--reload" if config.reload else "--processes" if config.processes > 1 else None
    if option is None:
        return
    reason = (
        "the settings come from settings.configure(), or are overridden here: another process "
        "could not load them"
        if settings_module() is None
        else "it was not called in the main thread, which alone is told of signals"
    )
    raise CommandError(f"{option} needs processes of their own, and {reason}.")


def settings_module() -> str | None:
    """The module that the settings were loaded from.

    None after settings.configure(), and where a test overrides some of them.
    """
    return getattr(settings, "SETTINGS_MODULE", None)


def supervisable() -> bool:
    """Whether processes of their own can be started from here."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and settings_module() is not None


# -- values --------------------------------------------------------------------------------


def _queues(option: str, value: object, backend: DatabaseBackend) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Sequence | set | frozenset) or not all(
        isinstance(name, str) for name in names
    ):
        raise CommandError(f"{option} is {value!r}. Write names with commas: {option} default,mail")
    stripped = tuple(dict.fromkeys(name.strip() for name in names))
    if not stripped or not all(stripped):
        raise CommandError(
            f"{option} is {value!r}, with a name that is empty. "
            f"Write names with commas: {option} default,mail"
        )
    unknown = [name for name in stripped if backend.queues and name not in backend.queues]
    if unknown:
        raise CommandError(
            f"{option} names {', '.join(map(repr, unknown))}, which QUEUES of {_entry(backend)} "
            f"does not have. It has {', '.join(sorted(backend.queues))}."
        )
    return stripped


def _worker_id(value: object) -> str | None:
    if value is None:
        return None
    if (
        isinstance(value, str)
        and value.isprintable()
        and value == value.strip()
        and 0 < len(value) <= _MAX_WORKER_ID
    ):
        return value
    raise CommandError(
        f"--worker-id is {value!r}. Write a name of 1 to {_MAX_WORKER_ID} printable characters, "
        "such as web1."
    )


def _whole(option: str, value: object) -> int:
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, int) and not isinstance(number, bool) and number >= 1:
        return number
    raise CommandError(f"{option} is {value!r}. Write a whole number of 1 or more.")


def _seconds(option: str, value: object) -> float:
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError):
            number = float(value)
    if math.isfinite(number) and number > 0:
        return number
    raise CommandError(f"{option} is {value!r}. Write a number of seconds above 0, such as 0.5.")


def _optional[T](parse: Any, option: str, value: T | None) -> Any:
    return None if value is None else parse(option, value)


def _entry(backend: DatabaseBackend) -> str:
    return f'TASKS["{backend.alias}"]'
