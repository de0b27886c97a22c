"""The threads of a worker, and its clock, without a process around them."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from tasks_database.backend import DatabaseBackend
from tasks_database.engine import Worker, lifecycle
from tasks_database.engine.worker import Raised, Returned
from tasks_database.ids import new_id
from tasks_database.worker.bodies import body_of
from tasks_database.worker.clock import WorkerClock
from tasks_database.worker.core import Core
from tasks_database.worker.executor import Executor

from . import tasks

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("backend_in_force")


@pytest.fixture
def backend_in_force(settings):
    settings.TASKS = {"default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}}


def running_job(name):
    job = lifecycle.enqueue(
        id=new_id(), task_path=f"tests.faults.tasks.{name}", payload="[[],{}]", now=NOW
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


def test_two_tasks_handed_out_at_once_never_wait_for_one_thread(monkeypatch):
    """Each waits for the other: in one thread, one after the other, both would fail.

    It happened when a thread had taken the first one and did not say so yet: so many times.
    """
    for _ in range(300):
        monkeypatch.setattr(tasks, "meeting", threading.Barrier(2, timeout=10))
        ends = Ends()
        executor = Executor(
            ends, threads=2, sender=DatabaseBackend, timeout_grace=timedelta(seconds=5)
        )
        for _ in range(2):
            executor.run(running_job("meet"))
        for _ in range(2):
            assert ends.both.acquire(timeout=20)
        executor.close(5.0)
        assert [type(outcome) for outcome in ends.outcomes] == [Returned, Returned]


def test_a_connection_that_fails_in_tidying_up_ends_no_thread(monkeypatch, caplog):
    """It would not be there for the next task, which would wait for ever."""

    def connect(self):
        self.connection, self.autocommit = object(), True

    def fail(self):
        raise RuntimeError("no way")

    other = type(connections["other"])
    monkeypatch.setattr(other, "close_if_unusable_or_obsolete", fail)
    monkeypatch.setattr(other, "ensure_connection", connect)
    ends = Ends()
    executor = Executor(ends, threads=1, sender=DatabaseBackend, timeout_grace=timedelta(seconds=5))
    for _ in range(2):
        executor.run(running_job("fail_with_a_connection"))
        assert ends.both.acquire(timeout=20)
    executor.close(5.0)

    assert [type(outcome) for outcome in ends.outcomes] == [Raised, Raised]
    assert "The connection to the database 'other' is given up." in caplog.text


class SteppedClock(WorkerClock):
    """One whose database's clock is put forward by an hour."""

    def step(self):
        self._offset += 3600


def test_a_step_of_the_database_s_clock_is_no_time_that_a_task_took():
    worker = Worker("w", concurrency=1, lease=None)
    clock = SteppedClock()
    core = Core(worker, clock, waits_for_acknowledgement=False)
    now = clock.now()
    job = lifecycle.enqueue(
        id=new_id(),
        task_path="tests.faults.tasks.work",
        payload="[[],{}]",
        now=now,
        timeout=timedelta(seconds=60),
    )
    core.tell(lambda worker: worker.claimed([lifecycle.claim(job, worker_id="w")]))
    started = core.take()

    clock.step()
    core.finished(body_of(started), Returned("1"))
    (acknowledge, *_) = core.poll()

    (ended,) = acknowledge.outcomes
    assert ended.status == "SUCCESSFUL"
    assert ended.finished_at - started.last_attempted_at < timedelta(seconds=60)
