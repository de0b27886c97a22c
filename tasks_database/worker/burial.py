"""Giving back at once what a process held that is known to be dead: no lease has to run out."""

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, connections

from tasks_database.backend import DatabaseBackend
from tasks_database.engine import Job, JobStatus, WorkerDied, task_error
from tasks_database.framework import TaskError, task_backends

from .announcer import send_died
from .clock import WorkerClock
from .liveness import has_ended

logger = logging.getLogger("tasks_database.worker")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds, while the database does not answer


class Dead(NamedTuple):
    """A process that has ended: ``how`` is what ended it, as "was killed by SIGKILL"."""

    boot_id: str
    name: str
    how: str


def bury(backend_alias: str, dead: Dead) -> Sequence[Job]:
    """Give back what the process held, and remove its row; the jobs as they are now.

    Uses the connection of this thread, and leaves it open. The process must have ended: nothing
    here looks whether it has.

    Raises DatabaseError, also when the database cannot be reached.
    """
    backend = task_backends[backend_alias]
    assert isinstance(backend, DatabaseBackend)  # noqa: S101 - checked before the worker started
    store = backend.store
    clock = WorkerClock()
    clock.sample(store)

    def error(who: str) -> TaskError:
        return task_error(
            WorkerDied(f"{who} {dead.how} while it ran this task, and not for the first time.")
        )

    jobs = store.rescue(dead.boot_id, beats=None, error=error, now=clock.now())
    has_ended(store, dead.boot_id)  # Removes its lock file, where it had one.
    for job in jobs:
        if job.status is JobStatus.FAILED:
            try:
                send_died(type(backend), job)
            except Exception:
                logger.exception("A receiver of a task signal failed; the task itself is stored.")
    return jobs


class Burials:
    """Buries in a thread, with a connection that is closed after each burial.

    bury: what is called for each.
    on_done: called after each, from the thread.
    """

    def __init__(self, bury: Callable[[Dead], Sequence[Job]], on_done: Callable[[], None]) -> None:
        self._bury = bury
        self._on_done = on_done
        self._queue: SimpleQueue[Dead | None] = SimpleQueue()
        self._pending: set[str] = set()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, dead: Dead) -> None:
        """Bury this one, as soon as the database answers."""
        self._pending.add(dead.boot_id)
        self._queue.put(dead)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tasks-burials", daemon=True)
            self._thread.start()

    def is_pending(self, boot_id: str) -> bool:
        return boot_id in self._pending

    def close(self, timeout: float) -> None:
        """Bury who waits, for at most ``timeout`` seconds."""
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout)
        self._closed.set()
        if self._pending:
            logger.warning(
                "What %s dead %s held could not be given back: it is when the lease has run out.",
                len(self._pending),
                "process" if len(self._pending) == 1 else "processes",
            )

    def _run(self) -> None:
        while (dead := self._queue.get()) is not None:
            try:
                self._bury_when_possible(dead)
            except Exception:
                logger.exception("What %s held could not be given back.", dead.name)
            self._pending.discard(dead.boot_id)
            self._on_done()

    def _bury_when_possible(self, dead: Dead) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                jobs = self._bury(dead)
            except (DatabaseError, InterfaceError) as error:
                logger.warning(
                    "What %s held cannot be given back yet (%s): trying again.", dead.name, error
                )
            else:
                tell(dead, jobs)
                return
            finally:
                # Those of this thread: none lingers between two deaths.
                connections.close_all()
            if self._closed.wait(pause):
                return
            pause = min(pause * 2, _LONGEST_PAUSE)


def tell(dead: Dead, jobs: Sequence[Job]) -> None:
    """Log what became of the jobs."""
    failed = [job for job in jobs if job.status.is_final]
    for job in failed:
        logger.warning(
            "%s failed for good: %s took it along when it %s, and it was not the first.",
            job.task_path,
            dead.name,
            dead.how,
        )
    given_back = len(jobs) - len(failed)
    if given_back:
        logger.warning(
            "%s of %s given back, to be run again.",
            "1 task" if given_back == 1 else f"{given_back} tasks",
            dead.name,
        )
