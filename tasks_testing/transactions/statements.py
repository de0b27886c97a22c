"""Statements that the emulation sends itself, and what it must know about those of others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

# One failed statement leaves the transaction usable there. Every other database gets a savepoint
# round each statement, which is never wrong, only slower.
_UNDO_FAILED_STATEMENTS_ALONE: Final = frozenset({"sqlite", "mysql", "oracle", "microsoft"})

_HARMLESS: Final = frozenset(
    {"SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA", "EXPLAIN", "SHOW"}
)


def aborts_on_error(connection: BaseDatabaseWrapper) -> bool:
    """Whether a failed statement makes the database refuse all others until a rollback."""
    return connection.vendor not in _UNDO_FAILED_STATEMENTS_ALONE


def is_write(sql: Any) -> bool:
    """Whether a statement may write: all may but those that are known by their first word.

    Composed statements of psycopg are no strings, and count as writes.
    """
    if not isinstance(sql, str):
        return True
    words = sql[:40].lstrip(" (\n\t").split(None, 1)
    return not words or words[0].upper() not in _HARMLESS


@contextmanager
def hidden(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Keep the statements sent inside out of the query log and of the user's execute wrappers.

    The numbers that users give to ``assertNumQueries`` stay true so.
    """
    wrappers, connection.execute_wrappers = connection.execute_wrappers, []
    namespace = vars(connection)
    outer = namespace.get("make_debug_cursor")
    namespace["make_debug_cursor"] = connection.make_cursor
    try:
        yield
    finally:
        connection.execute_wrappers = wrappers
        if outer is None:
            del namespace["make_debug_cursor"]
        else:
            namespace["make_debug_cursor"] = outer


def savepoint(connection: BaseDatabaseWrapper, name: str, *, logged: bool = False) -> None:
    _send(connection, connection.ops.savepoint_create_sql(name), logged=logged)


def release(connection: BaseDatabaseWrapper, name: str, *, logged: bool = False) -> None:
    _send(connection, connection.ops.savepoint_commit_sql(name), logged=logged)


def roll_back_to(connection: BaseDatabaseWrapper, name: str, *, logged: bool = False) -> None:
    """Undo what was written since the savepoint, which stays."""
    _send(connection, connection.ops.savepoint_rollback_sql(name), logged=logged)


def _send(connection: BaseDatabaseWrapper, sql: str, *, logged: bool) -> None:
    if logged:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    else:
        with hidden(connection), connection.cursor() as cursor:
            cursor.execute(sql)


class ConstraintCheck:
    """Checks deferred constraints as a commit would, unseen."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._after: str | None = None

    def __call__(self) -> None:
        """Raise django.db.IntegrityError for a broken one.

        The transaction is then aborted where ``aborts_on_error``.
        """
        connection = self.connection
        with hidden(connection):
            connection.check_constraints()
            if connection.vendor == "postgresql":
                if self._after is None:
                    self._after = _immediate_again(connection)
                if self._after:
                    with connection.cursor() as cursor:
                        cursor.execute(self._after)

    def holds(self, name: str) -> bool:
        """Whether none is broken now.

        Savepoint ``name`` must have been made just before, so that going back to it, which a
        database that ``aborts_on_error`` needs, undoes nothing.
        """
        try:
            self()
        except IntegrityError:
            if aborts_on_error(self.connection):
                roll_back_to(self.connection, name)
            return False
        return True


def _immediate_again(connection: BaseDatabaseWrapper) -> str:
    """What undoes a side effect of Django's check, which leaves all constraints deferred.

    Those declared Deferrable.IMMEDIATE would be checked late by all that follows in the test.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT connamespace::regnamespace::text, conname FROM pg_constraint"
            " WHERE condeferrable AND NOT condeferred"
        )
        names = [f"{schema}.{connection.ops.quote_name(name)}" for schema, name in cursor]
    return f"SET CONSTRAINTS {', '.join(names)} IMMEDIATE" if names else ""
