"""Database connections of a worker: they outlive tasks, and are tidied as around a request."""

import threading
import time
from contextlib import suppress

from django.conf import settings
from django.db import connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

from .logs import logger

# What CONN_MAX_AGE = 0 means here. It is meant for requests; a connection for each task would cost
# many times what a short task does.
PERSISTENT = 60  # seconds
# How long a connection is trusted without being looked at.
_TRUSTED = 1.0  # seconds

_local = threading.local()


def keep_connections() -> None:
    """For a process of its own: let connections outlive tasks, health-checked."""
    for alias in connections:
        options = connections.settings[alias]
        if is_pooled(options):
            continue  # A pool keeps them itself, and insists on CONN_MAX_AGE = 0.
        if options["CONN_MAX_AGE"] == 0:
            options["CONN_MAX_AGE"] = PERSISTENT
            options["CONN_HEALTH_CHECKS"] = True


def is_pooled(settings_dict: dict[str, object]) -> bool:
    """Whether an entry of DATABASES asks for a pool of connections."""
    options = settings_dict.get("OPTIONS")
    return isinstance(options, dict) and bool(options.get("pool"))


def has_pool() -> bool:
    """Whether any database has one: then a connection goes back to it after each task."""
    return any(is_pooled(connections.settings[alias]) for alias in connections)


def leave_pool(alias: str) -> None:
    """Give this thread a connection of its own, which no task can use up.

    The pump keeps one for good: in a pool it would be one less for tasks, and while tasks have
    all of them it could neither beat nor store what has ended, for which they wait.
    """
    connection = connections[alias]
    if not is_pooled(connection.settings_dict):
        return
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    connection.settings_dict = {
        **connection.settings_dict,
        "OPTIONS": {name: value for name, value in options.items() if name != "pool"},
    }


def before_task() -> None:
    """Close what is too old or broken; a task that follows another at once is spared the look."""
    now = time.monotonic()
    if now - getattr(_local, "looked_at", -_TRUSTED) < _TRUSTED:
        return
    _local.looked_at = now
    if settings.DEBUG:
        reset_queries()
    for connection in connections.all(initialized_only=True):
        try:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
        except Exception:  # noqa: BLE001 - whatever it is: the thread serves tasks
            _give_up(connection)


def _give_up(connection: BaseDatabaseWrapper) -> None:
    logger.exception("The connection to the database %r is given up.", connection.alias)
    with suppress(Exception):
        replace(connection)


def replace(connection: BaseDatabaseWrapper) -> None:
    """Close it, and forget it: one that is closed in a transaction would refuse to open again."""
    try:
        connection.close()
    finally:
        del connections[connection.alias]


def replace_all() -> None:
    """After a body was interrupted anywhere, perhaps while it waited for an answer."""
    for connection in connections.all(initialized_only=True):
        replace(connection)


def after_task(*, failed: bool) -> None:
    """Leave no open transaction to the next task, and look at the connections after a failure."""
    for connection in connections.all(initialized_only=True):
        try:
            _tidy(connection, failed=failed)
        except Exception:  # noqa: BLE001 - as above
            _give_up(connection)


def _tidy(connection: BaseDatabaseWrapper, *, failed: bool) -> None:
    if connection.connection is None and not connection.in_atomic_block:
        return  # It was looked at, and never connected.
    as_configured = connection.settings_dict["AUTOCOMMIT"]
    if connection.in_atomic_block or connection.autocommit != as_configured:
        logger.warning(
            "A task left a transaction open on the database %r: it was rolled back.",
            connection.alias,
        )
        replace(connection)
    elif is_pooled(connection.settings_dict):
        connection.close()  # Back to the pool.
    elif failed:
        connection.close_if_unusable_or_obsolete()
