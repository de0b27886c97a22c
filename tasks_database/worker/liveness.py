"""On SQLite a worker is alive as long as it holds the lock on a file beside the database.

All workers are on one machine there, and the system frees the lock of a process that has ended,
however it ended: no lease has to run out. And a worker that cannot write for minutes, as another
program has the database locked, is not taken for dead.
"""

import os
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: leases have to do
    fcntl = None  # type: ignore[assignment]

from tasks_database.store import ORMStore

from .logs import logger


class LifeLock:
    """The lock of one worker; without a database file, or on Windows, there is none."""

    def __init__(self, store: ORMStore, worker_id: str) -> None:
        self._path = lock_path(store, worker_id)
        self._file: IO[Any] | None = None
        _locks.add(self)

    def take(self) -> None:
        if self._path is None or fcntl is None:
            return
        try:
            self._file = self._path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            logger.warning("No lock file beside the database (%s): leases have to do.", error)
            self._file = None

    def give_up(self) -> None:
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self.drop()

    def drop(self) -> None:
        """Close the file and no more: whoever else has it open keeps the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None


_locks: WeakSet[LifeLock] = WeakSet()


def _drop_all() -> None:
    for lock in list(_locks):
        lock.drop()


if hasattr(os, "register_at_fork"):
    # A copy of this process, as multiprocessing makes by fork, may outlive it: with the lock, too.
    os.register_at_fork(after_in_child=_drop_all)


def lock_path(store: ORMStore, worker_id: str) -> Path | None:
    """The lock file of a worker, or None where there cannot be one."""
    connection = store.connection
    name = os.fspath(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or ":memory:" in name or name.startswith("file:"):
        return None
    if not worker_id.replace("-", "").replace("_", "").isalnum():
        return None  # An id from outside, in a row, is no path.
    return Path(f"{name}.worker-{worker_id}.lock")


def has_ended(store: ORMStore, worker_id: str) -> bool | None:
    """True when the worker's process has ended, False when it lives, None when it is not known."""
    path = lock_path(store, worker_id)
    if path is None or fcntl is None:
        return None
    try:
        file = path.open("r+")
    except OSError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        path.unlink(missing_ok=True)
        return True
