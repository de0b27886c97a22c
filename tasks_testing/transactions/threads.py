"""The database connections that this thread has already initialised, found without making one."""

import threading
from collections.abc import Iterator
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def _storage() -> Any:
    """Where Django keeps this thread's connections: an object with one attribute an alias.

    The lookup through ``connections`` asks asyncio for a running loop each time, which costs more
    than all the rest of an enqueue. Under a running loop it would also look at other objects than
    the ones that the thread's synchronous code, and so every transaction, uses.
    """
    local: Any = getattr(connections, "_connections", connections)
    storage = getattr(local, "_storage", None)
    return storage if isinstance(storage, threading.local) else local


STORAGE: Final = _storage()
"""``getattr(STORAGE, alias, None)`` is this thread's connection, or None before its first use."""


def thread_connections() -> Iterator[BaseDatabaseWrapper]:
    """The initialised connections of this thread, in the order of their first use."""
    for value in tuple(vars(STORAGE).values()):
        if isinstance(value, BaseDatabaseWrapper):
            yield value
