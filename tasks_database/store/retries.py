"""Statements that lost against another transaction, and are simply to be said again."""

import functools
import random
import time
from collections.abc import Callable
from typing import Any, Concatenate

from django.db import OperationalError

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


def contended[**P, T](
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], T]:
    """Repeat a method of a store that lost against another transaction.

    Not in a transaction of somebody else's: that is broken then, and only its owner can repeat it.
    """

    @functools.wraps(method)
    def repeated(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        connection = self.connection
        for attempt in range(ATTEMPTS - 1):
            try:
                return method(self, *args, **kwargs)
            except OperationalError as error:
                if connection.in_atomic_block or not is_contention(error):
                    raise
            longest = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
            time.sleep(longest * (0.5 + random.random() / 2))  # noqa: S311 - to part rivals
        return method(self, *args, **kwargs)

    return repeated
