"""Giving back what a dead process held, also when the database is away at that moment."""

import logging
import threading

from django.db import OperationalError, connections

from tasks_database.store import WorkerInfo
from tasks_database.worker import burial
from tasks_database.worker.backoff import Backoff
from tasks_database.worker.burial import Burials, Dead, bury
from tests.database.jobs import NOON, new_job, run

from .conftest import PATIENCE

DEAD = Dead("boot1", "web1", "was killed by SIGKILL")


def worker(boot_id="boot1"):
    return WorkerInfo(boot_id, "web1", "here", 42, 1)


def held(store, **options):
    """A job that the dead worker holds, RUNNING."""
    store.add([new_job(**options)])
    (job,) = store.claim(worker_id="boot1", limit=1, now=NOON)
    started = run(job)
    assert store.start(started)
    return started


def test_its_tasks_are_ready_again_and_its_row_is_gone(backend, store):
    store.register(worker(), now=NOON)
    job = held(store)

    bury("default", DEAD)

    assert store.beats() == {}
    assert store.get(job.id).rescues == 1
    assert store.get(job.id).owner is None


def test_a_task_that_took_too_many_along_fails_and_says_which_died_of_what(backend, store):
    store.register(worker(), now=NOON)
    job = held(store, max_rescues=0)

    bury("default", DEAD)

    error = store.get(job.id).errors[-1]
    assert error.exception_class_path == "tasks_database.engine.errors.WorkerDied"
    assert "Worker web1 (process 42 on here), last heard at 2026-03-01 12:00:00 UTC, " in (
        error.traceback
    )
    assert "was killed by SIGKILL while it ran this task, and not for the first time" in (
        error.traceback
    )


def test_who_signed_off_has_nothing_to_give_back(backend, store):
    assert bury("default", DEAD) == []


def test_what_others_hold_stays_theirs(backend, store):
    store.register(worker(), now=NOON)
    store.register(worker("boot2"), now=NOON)
    job = held(store)

    bury("default", Dead("boot2", "web2", "was killed by SIGKILL"))

    assert store.get(job.id).owner == "boot1"
    assert store.beats().keys() == {"boot1"}


class Database:
    """Stands for the one that is asked to bury: away for some calls."""

    def __init__(self, away_for):
        self.calls = 0
        self.away_for = away_for
        self.threads = set()

    def bury(self, _dead):
        self.calls += 1
        self.threads.add(threading.current_thread())
        if self.calls <= self.away_for:
            raise OperationalError("connection refused")
        return []


def test_while_the_database_is_away_it_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(burial, "_FIRST_PAUSE", 0.01)
    database, done = Database(away_for=3), threading.Event()
    burials = Burials(database.bury, done.set)

    burials.add(DEAD)

    assert done.wait(PATIENCE)
    assert database.calls == 4
    assert not burials.is_pending("boot1")
    assert "What web1 held cannot be given back yet (connection refused): trying again." in (
        caplog.messages
    )
    burials.close(PATIENCE)


def test_no_connection_of_it_lingers(backend, shared, settings, monkeypatch):
    """One is opened for each burial, in its thread, and closed."""
    closed = threading.Event()
    seen = []

    def bury_on_a_connection(_dead):
        connection = connections[shared]
        connection.ensure_connection()
        seen.append(connection)
        return []

    burials = Burials(bury_on_a_connection, closed.set)
    burials.add(DEAD)

    assert closed.wait(PATIENCE)
    assert [connection.connection for connection in seen] == [None]
    burials.close(PATIENCE)


def test_the_end_waits_for_burials_no_longer_than_it_is_told(caplog):
    database = Database(away_for=1_000_000)
    burials = Burials(database.bury, lambda: None)
    burials.add(DEAD)

    burials.close(0.01)

    assert caplog.messages[-1] == (
        "What 1 dead process held could not be given back: it is when the lease has run out."
    )
    for thread in database.threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_burial_that_fails_for_another_reason_does_not_hold_up_the_next(caplog):
    buried = []
    done = threading.Semaphore(0)

    def bury_all_but_the_first(dead):
        if dead.boot_id == "boot1":
            raise ValueError("no paper")
        buried.append(dead.boot_id)
        return []

    burials = Burials(bury_all_but_the_first, done.release)
    burials.add(DEAD)
    burials.add(DEAD._replace(boot_id="boot2"))
    burials.close(PATIENCE)

    assert buried == ["boot2"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_quick_deaths_are_followed_by_longer_and_longer_pauses():
    backoff = Backoff()

    assert [backoff.after(0.1) for _ in range(8)] == [
        0,
        1,
        2,
        4,
        8,
        16,
        30,
        30,
    ]


def test_a_process_that_lived_for_a_minute_is_replaced_at_once_again():
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.1)

    assert backoff.after(60) == 0
    assert backoff.after(0.1) == 1
