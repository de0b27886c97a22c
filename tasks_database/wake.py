"""Telling idle workers that there is work, where the database can: PostgreSQL's NOTIFY.

Only ever a hint: workers poll anyway, often for a while after each hint. So most enqueues need not
notify, and none does inside a transaction of the caller's: one with a pending NOTIFY takes a lock
over the whole server when it commits.
"""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from .engine import Job, JobStatus

if TYPE_CHECKING:
    from .store import ORMStore

CHANNEL = "tasks_database"
# One hint in this time is enough: the woken worker polls often for longer than that.
_DEBOUNCE = 0.02  # seconds

_lock = threading.Lock()
_last: dict[tuple[str, str], float] = {}


def announce(store: "ORMStore", jobs: Sequence[Job]) -> None:
    """Wake a worker for these new jobs, once the caller's transaction has committed."""
    # Workers look for the next due time by themselves.
    if any(job.status is JobStatus.READY for job in jobs):
        hint(store)


def hint(store: "ORMStore") -> None:
    """Wake a worker of the store's backend alias, once the caller's transaction has committed."""
    if store.connection.vendor != "postgresql":
        return
    transaction.on_commit(partial(_notify, store), using=store.using, robust=True)


def _notify(store: "ORMStore") -> None:
    now, key = time.monotonic(), (store.using, store.serves.backend)
    with _lock:
        if now - _last.get(key, -1.0) < _DEBOUNCE:
            return
        _last[key] = now
    store.fetch("SELECT pg_notify(%s, %s)", [CHANNEL, store.serves.backend])
