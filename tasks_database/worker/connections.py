"""Database connections of a worker: they outlive tasks, and are tidied as around a request."""

import threading
import time

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connections, reset_queries

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
        if options.get("OPTIONS", {}).get("pool"):
            continue  # A pool keeps them itself, and insists on CONN_MAX_AGE = 0.
        if options["CONN_MAX_AGE"] == 0:
            options["CONN_MAX_AGE"] = PERSISTENT
            options["CONN_HEALTH_CHECKS"] = True


def before_task() -> None:
    """Close what is too old or broken; a task that follows another at once is spared the look."""
    now = time.monotonic()
    if now - getattr(_local, "looked_at", -_TRUSTED) < _TRUSTED:
        return
    _local.looked_at = now
    if settings.DEBUG:
        reset_queries()
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def after_task(*, failed: bool) -> None:
    """Leave no open transaction to the next task, and look at the connections after a failure."""
    for connection in connections.all(initialized_only=True):
        as_configured = connection.settings_dict["AUTOCOMMIT"]
        if connection.in_atomic_block or connection.autocommit != as_configured:
            logger.warning(
                "A task left a transaction open on the database %r: it was rolled back.",
                connection.alias,
            )
            connection.close()
        elif connection.settings_dict.get("OPTIONS", {}).get("pool"):
            connection.close()  # Back to the pool.
        elif failed:
            connection.close_if_unusable_or_obsolete()


def is_infrastructure_failure(exception: BaseException) -> bool:
    """Whether the database went away under the task, rather than that the task did wrong."""
    seen: set[int] = set()
    cause: BaseException | None = exception
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, OperationalError | InterfaceError):
            return any(map(_is_broken, connections.all(initialized_only=True)))
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def _is_broken(connection: object) -> bool:
    from django.db.backends.base.base import BaseDatabaseWrapper

    assert isinstance(connection, BaseDatabaseWrapper)  # noqa: S101 - what Django hands out
    try:
        if connection.connection is None:
            connection.ensure_connection()
            return False
        return not connection.is_usable()
    except DatabaseError:
        return True
