"""Bodies that are handed out at the same moment run at the same time."""

import threading
from datetime import UTC, datetime, timedelta

from tasks_database.backend import DatabaseBackend
from tasks_database.engine import lifecycle
from tasks_database.engine.worker import Returned
from tasks_database.ids import new_id
from tasks_database.worker.executor import Executor

from . import tasks

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def running_job():
    job = lifecycle.enqueue(
        id=new_id(), task_path="tests.faults.tasks.meet", payload="[[],{}]", now=NOW
    )
    return lifecycle.start(lifecycle.claim(job, worker_id="w"), now=NOW)


class Ends:
    """What an executor tells of the ends of bodies."""

    def __init__(self):
        self.outcomes = []
        self.both = threading.Semaphore(0)

    def finished(self, body, outcome):
        self.outcomes.append(outcome)
        self.both.release()


def test_two_tasks_handed_out_at_once_never_wait_for_one_thread(settings, monkeypatch):
    """Each waits for the other: in one thread, one after the other, both would fail.

    It happened when a thread had taken the first one and did not say so yet: so many times.
    """
    settings.TASKS = {"default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}}
    for _ in range(300):
        monkeypatch.setattr(tasks, "meeting", threading.Barrier(2, timeout=10))
        ends = Ends()
        executor = Executor(
            ends, threads=2, sender=DatabaseBackend, timeout_grace=timedelta(seconds=5)
        )
        for _ in range(2):
            executor.run(running_job())
        for _ in range(2):
            assert ends.both.acquire(timeout=20)
        executor.close(5.0)
        assert [type(outcome) for outcome in ends.outcomes] == [Returned, Returned]
