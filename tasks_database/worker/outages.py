"""Telling an error of the database server from an error of who asked it.

A task that meets the first has done nothing wrong: its delivery counts as lost, not as failed.
"""

from collections.abc import Iterator

from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks_database.store.retries import is_contention

# PostgreSQL: connection exceptions; too many connections, or no memory or disk; the server shuts
# down, starts, or was told to end the session; it takes no writes, as after a failover.
_SQLSTATE_CLASSES = ("08", "53")
_SQLSTATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25006"})
# MySQL and MariaDB: it cannot be reached (2002 to 2005), went away (2006, 2013, 2055), shuts down,
# has too many connections, lost packets, killed the connection, or an idle one; takes no writes.
_MYSQL = frozenset(
    {2002, 2003, 2004, 2005, 2006, 2013, 2055, 1040, 1053, 1077, 1079, 1080}
    | {1152, 1158, 1159, 1160, 1161, 1290, 1836, 1927, 3169, 4031}
)
# SQLite: READONLY, IOERR, FULL, CANTOPEN.
_SQLITE = frozenset({8, 10, 13, 14})


def is_outage(error: DatabaseError | InterfaceError) -> bool:
    """Whether the server, or the way to it, has failed: any other statement would have, too."""
    cause = error.__cause__ or error
    sqlstate = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if sqlstate is not None:
        return sqlstate in _SQLSTATES or sqlstate.startswith(_SQLSTATE_CLASSES)
    sqlite_code = getattr(cause, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return sqlite_code & 0xFF in _SQLITE
    if cause.args and isinstance(cause.args[0], int):
        return cause.args[0] in _MYSQL
    # What psycopg itself says of a connection that is lost, cannot be had, or is not free in time.
    return type(cause).__module__.startswith("psycopg") and isinstance(error, OperationalError)


def is_passing(error: DatabaseError | InterfaceError) -> bool:
    """Whether the same statement, said again, may well succeed: it is not to blame."""
    return isinstance(error, InterfaceError) or is_outage(error) or is_contention(error)


def is_infrastructure_failure(exception: BaseException) -> bool:
    """Whether the database went away under a task, rather than that the task did wrong.

    To be asked in the thread that has the task's connections.
    """
    errors = [
        cause for cause in causes(exception) if isinstance(cause, DatabaseError | InterfaceError)
    ]
    if any(map(is_outage, errors)):
        return True
    # "The connection is closed", whatever closed it: if it cannot be used now either.
    return any(isinstance(error, InterfaceError | OperationalError) for error in errors) and any(
        map(_is_broken, connections.all(initialized_only=True))
    )


def causes(exception: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, what that was raised from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = exception
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _is_broken(connection: BaseDatabaseWrapper) -> bool:
    try:
        if connection.connection is None:
            connection.ensure_connection()
            return False
        return not connection.is_usable()
    except (DatabaseError, InterfaceError):
        return True
