"""Limits under a real worker: kept by what runs at once, and by when bodies start."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tasks_database.models import JobRow, SlotRow
from tasks_database.worker import wakeup
from tasks_database.worker.config import WorkerConfig
from tasks_database.worker.process import WorkerProcess
from tests.app.tasks import body, perform

PATIENCE = 60  # seconds: who waits so long has failed.
LATE = timedelta(milliseconds=100)


@contextmanager
def running(threads=4):
    process = WorkerProcess(WorkerConfig(threads=threads), boot_id="0f" * 16, name="w1")
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        process.stop()
        thread.join(PATIENCE)


@pytest.fixture
def run(shared, in_force):
    """Run so many tasks under a limit; their rows when all have succeeded."""

    def run(limit, function, *, count):
        backend = in_force({"database": shared, "limits": {"queues": {"default": limit}}})
        backend.enqueue_many(perform, [(body(function),)] * count)
        rows = JobRow.objects.using(shared)
        with running():
            ends = time.monotonic() + PATIENCE
            while rows.exclude(status="SUCCESSFUL").exists():
                assert time.monotonic() < ends, list(rows.values_list("status", "due"))
                time.sleep(0.02)
        assert SlotRow.objects.using(shared).count() == 0
        return list(rows.order_by("started_at"))

    return run


def test_no_more_run_at_once_than_may(run):
    gauge, lock = {"now": 0, "most": 0}, threading.Lock()

    def work():
        with lock:
            gauge["now"] += 1
            gauge["most"] = max(gauge["most"], gauge["now"])
        time.sleep(0.005)
        with lock:
            gauge["now"] -= 1

    run({"max_concurrency": 2}, work, count=20)

    assert 1 <= gauge["most"] <= 2


def test_no_more_start_in_any_time_than_the_rate_allows(run):
    rows = run({"rate": "50/s"}, lambda: None, count=20)

    starts = [row.started_at for row in rows]
    for first, begin in enumerate(starts):
        for last, end in enumerate(starts[first:], start=first):
            # A body begins a little after its claim: a little later, or less late, than the next.
            assert last - first <= (end - begin + 2 * LATE) / timedelta(seconds=0.02) + 1


@pytest.mark.parametrize("limit", [{"rate": "50/s"}, {"rate": "50/s", "max_concurrency": 1}])
def test_a_worker_knows_by_itself_when_those_that_it_put_off_may_start(run, limit, monkeypatch):
    """It need not look: on SQLite a look tells only of what others have written."""
    monkeypatch.setattr(wakeup.Wakeup, "may_have_changed", lambda wakeup: False)
    for kind in wakeup.Wakeup.__subclasses__():
        monkeypatch.setattr(kind, "may_have_changed", lambda wakeup: False)

    assert len(run(limit, lambda: None, count=8)) == 8
