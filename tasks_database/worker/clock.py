"""The time of a worker: the database's, carried on by the monotonic clock of the machine.

Workers on several machines agree, whatever their clocks show, and no step of a machine's clock
makes a lease or a deadline end early.
"""

import time
from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone

from tasks_database.store import ORMStore

_QUERIES = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
    "mysql": "SELECT UNIX_TIMESTAMP(SYSDATE(6))",
}


class WorkerClock:
    """Until `sample` has been called, the time of this machine."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def sample(self, store: ORMStore) -> None:
        """Ask the database for its time; half of the way there and back is taken off."""
        query = _QUERIES.get(store.connection.vendor)
        before = time.monotonic()
        if query is None:  # SQLite is this machine.
            self._offset = time.time() - before
            return
        there = float(store.fetch(query)[0][0])
        after = time.monotonic()
        self._offset = there - (before + after) / 2

    @property
    def offset(self) -> float:
        """What is added to the monotonic clock, in seconds: it changes when the other one steps."""
        return self._offset

    def now(self) -> datetime:
        """As Django's timezone.now() would give it."""
        moment = datetime.fromtimestamp(time.monotonic() + self._offset, UTC)
        return moment if settings.USE_TZ else timezone.make_naive(moment)
