"""Statements that lost against another transaction, and are simply to be said again."""

import functools
import random
import time
from collections.abc import Callable
from typing import Any, Concatenate

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

# SQLite waits for its busy timeout itself, before each of these.
ATTEMPTS = 10
_FIRST_PAUSE = 0.005  # seconds
_LONGEST_PAUSE = 0.5

# MySQL and MariaDB: deadlock, lock wait timeout; a row has changed since the snapshot.
_MYSQL = {1213, 1205, 1020}
# PostgreSQL: serialization failure, deadlock, lock not available.
_POSTGRESQL = {"40001", "40P01", "55P03"}


def is_contention(error: BaseException) -> bool:
    """Whether the same statement, said again, may well succeed."""
    cause = error.__cause__ or error
    if getattr(cause, "sqlstate", None) in _POSTGRESQL:
        return True
    if cause.args and cause.args[0] in _MYSQL:
        return True
    return "database is locked" in str(cause) or "database table is locked" in str(cause)


def repeat[T](connection: BaseDatabaseWrapper, attempt: Callable[[], T]) -> T:
    """What ``attempt`` returns, which is called again when it lost against another transaction.

    Not in a transaction of somebody else's: that is broken then, and only its owner can repeat it.
    """
    for number in range(ATTEMPTS - 1):
        try:
            return attempt()
        except OperationalError as error:
            if connection.in_atomic_block or not is_contention(error):
                raise
        longest = min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE)
        time.sleep(longest * (0.5 + random.random() / 2))  # noqa: S311 - to part rivals
    return attempt()


def contended[**P, T](
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], T]:
    """`repeat` for a method of an object with a connection."""

    @functools.wraps(method)
    def repeated(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return repeat(self.connection, functools.partial(method, self, *args, **kwargs))

    return repeated
