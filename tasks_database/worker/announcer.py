"""Sends Django's signals for what was stored, in a thread: receivers may be slow.

``task_finished`` goes out after the acknowledgement has committed, and only for what it accepted.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple

from django.db import connections

from tasks_database.engine import Job, JobStatus, WorkerDied
from tasks_database.engine.worker import Outcome, Raised
from tasks_database.framework import TaskResult, is_heard, task_enqueued, task_finished
from tasks_database.results import update_result

from .bodies import body_of
from .connections import after_task, before_task
from .logs import logger


class Ended(NamedTuple):
    """An attempt that was acknowledged."""

    job: Job
    outcome: Outcome
    result: TaskResult | None


class Announcer:
    """One thread, started at once; `close` waits until everything was sent."""

    def __init__(self, sender: type) -> None:
        self._sender = sender
        self._news: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tasks-announcer", daemon=True)
        self._thread.start()

    def ended(self, attempts: Sequence[Ended]) -> None:
        """These attempts are stored. Those that are final are announced."""
        all_heard = is_heard(task_finished)
        final = [
            ended
            for ended in attempts
            if ended.job.status.is_final
            and (all_heard or ended.job.status is not JobStatus.SUCCESSFUL)
        ]
        if final:
            self._news.put(lambda: self._each(self._send_finished, final))

    def enqueued(self, jobs: Sequence[Job]) -> None:
        """The worker itself enqueued these jobs."""
        if jobs:
            self._news.put(lambda: self._each(self._send_enqueued, jobs))

    def died(self, jobs: Sequence[Job]) -> None:
        """These jobs were taken from workers that died; some have failed for good by that."""
        failed = [job for job in jobs if job.status is JobStatus.FAILED]
        if failed:
            self._news.put(lambda: self._each(partial(send_died, self._sender), failed))

    def close(self, timeout: float) -> None:
        """Send what there is, for at most ``timeout`` seconds."""
        self._news.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (send := self._news.get()) is not None:
            before_task()
            send()
            after_task(failed=False)
        connections.close_all()

    @staticmethod
    def _each[T](send: Callable[[T], None], values: Sequence[T]) -> None:
        for value in values:
            try:
                send(value)
            except Exception:  # noqa: BLE001 - a receiver's failure is not the task's
                logger.exception("A receiver of a task signal failed; the task itself is stored.")

    def _send_finished(self, ended: Ended) -> None:
        outcome = ended.outcome
        exception = outcome.exception if isinstance(outcome, Raised) else None
        send_finished(self._sender, ended.job, ended.result, exception)

    def _send_enqueued(self, job: Job) -> None:
        result = body_of(job).result
        if result is not None:
            task_enqueued.send(sender=self._sender, task_result=result)


def send_finished(
    sender: type, job: Job, result: TaskResult | None, exception: BaseException | None
) -> None:
    """Send task_finished; nothing where there is no result, as its task could not be found."""
    if result is None:
        return
    update_result(result, job)
    if exception is None:
        task_finished.send(sender=sender, task_result=result)
        return
    traceback = exception.__traceback__
    try:
        # Inside a handler: listeners, Django's own log among them, use sys.exc_info().
        raise exception
    except BaseException:  # noqa: BLE001 - any exception of a body, raised two lines above
        exception.__traceback__ = traceback
        task_finished.send(sender=sender, task_result=result)


def send_died(sender: type, job: Job) -> None:
    """Send task_finished for a job that failed because its workers died once too often."""
    why = job.errors[-1].traceback.rstrip().partition(": ")[2]
    send_finished(sender, job, body_of(job).result, WorkerDied(why))
