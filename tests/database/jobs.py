"""Jobs for the tests of the store: made, and taken through their lives, by the engine alone."""

from datetime import UTC, datetime, timedelta

from tasks_database.engine import lifecycle, task_error
from tasks_database.ids import new_id
from tasks_database.store import WorkerInfo

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PLAIN = "tests.database.tasks.plain"


def after(seconds):
    return NOON + seconds * SECOND


def new_job(*, now=NOON, **options):
    """A new job of no particular task."""
    call = {"id": new_id(), "task_path": PLAIN, "payload": "[[],{}]", **options}
    return lifecycle.enqueue(now=now, **call)


def error(words="no"):
    return task_error(ValueError(words))


def run(job, *, now=NOON, name="w"):
    """The claimed job, RUNNING."""
    return lifecycle.start(job, now=now, worker_name=name)


def succeed(job, *, value="null", now=NOON):
    """The claimed job, run to success."""
    return lifecycle.succeed(run(job, now=now), return_payload=value, now=now)


def fail(job, *, now=NOON):
    """The claimed job, failed for good."""
    return lifecycle.fail(run(job, now=now), error=error(), now=now)


def retry(job, *, delay=timedelta(), now=NOON):
    """The claimed job, failed and waiting for its next attempt."""
    return lifecycle.retry(run(job, now=now), error=error(), delay=delay, now=now)


def worker(worker_id, *, name=None):
    return WorkerInfo(id=worker_id, name=name or worker_id, hostname="here", pid=7, threads=1)


def died(who):
    """What a rescue makes the error of; see ORMStore.rescue."""
    return task_error(RuntimeError(f"{who} died"))
