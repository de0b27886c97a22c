"""Statements that lose against others: said again, and nobody hears of it."""

import subprocess
import sys
import time

import pytest
from django.db import connections, transaction

from .processes import ROOT, in_another_thread
from .site import ALIAS
from .tasks import hold, work

TABLE = "tasks_database_jobrow"


def two_held_tasks(site, **options):
    """Both run in one worker, whose next acknowledgement is of both."""
    results = [hold.enqueue(name) for name in "ab"]
    worker = site.ready_worker("--threads", "2", **options)
    for name, result in zip("ab", results, strict=True):
        site.wait_until_held(name)
        site.wait_for_status(result, "RUNNING")
    return worker, sorted(results, key=lambda result: result.id)


def wait_in_another_thread(site, condition, what):
    """With a connection of its own, as this thread's is in a transaction."""

    def look():
        # MariaDB does not look at its transactions anew for who asks more often than that.
        time.sleep(0.15)
        return condition()

    in_another_thread(lambda: site.wait_until(look, what))


def lock_row(result, cursor):
    cursor.execute(f"SELECT id FROM {TABLE} WHERE id = %s FOR UPDATE", [result.id])


def assert_undisturbed(site, worker, results):
    for result in results:
        job = site.wait_for_status(result, "SUCCESSFUL")
        assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)
    assert not worker.said("WARNING|ERROR|Traceback")


def test_a_deadlock_that_the_worker_loses_is_retried(site, on):
    """Somebody else holds the row of one task, and wants that of the other."""
    on("postgresql", "mariadb")
    worker, (first, second) = two_held_tasks(site)
    weight = work.enqueue_many([(number,) for number in range(50)])
    waits = {
        "postgresql": "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
        "datname = current_database()",
        "mysql": "SELECT 1 FROM information_schema.innodb_trx t JOIN "
        "information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
        "WHERE t.trx_state = 'LOCK WAIT' AND p.db = database()",
    }[site.vendor]
    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        # MariaDB lets go who has changed less; PostgreSQL, who notices it first.
        cursor.execute(f"UPDATE {TABLE} SET queue_name = 'other' WHERE status = 'READY'")
        if site.vendor == "postgresql":
            cursor.execute("SET LOCAL deadlock_timeout = '60s'")
        lock_row(second, cursor)
        for name in "ab":
            site.let_go(name)
        wait_in_another_thread(site, lambda: site.on_the_server(waits), "the worker to wait")
        # This would hang, or raise a deadlock of its own, did the worker not give way.
        lock_row(first, cursor)

    assert_undisturbed(site, worker, [first, second, *weight])


def test_a_lock_wait_timeout_is_retried(site, on):
    on("mariadb")
    entry = {
        **site.entry,
        "OPTIONS": {
            **site.entry["OPTIONS"],
            "init_command": "SET SESSION innodb_lock_wait_timeout = 1",
        },
    }
    worker, results = two_held_tasks(site, entry=entry)
    began = (
        "SELECT t.trx_started, t.trx_id FROM information_schema.innodb_trx t JOIN "
        "information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
        "WHERE t.trx_state = 'LOCK WAIT' AND p.db = database()"
    )
    seen = set()

    def has_waited_thrice():
        seen.update(site.on_the_server(began))
        return len(seen) >= 3

    with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
        lock_row(results[0], cursor)
        for name in "ab":
            site.let_go(name)
        wait_in_another_thread(site, has_waited_thrice, "three transactions")
    assert len(seen) >= 3  # Each timed out but the last.

    assert_undisturbed(site, worker, results)


ENQUEUE = """
import sys
import django
django.setup()
from datetime import timedelta
from django.db import OperationalError, transaction
from django.utils import timezone
from tasks_database.store.retries import is_contention
from tests.faults.tasks import work
first, repeats = int(sys.argv[1]), sys.argv[2] == "True"
for number in range(first, first + 100):
    match number % 4:
        case 0:
            work.enqueue(number)
        case 1:
            while True:
                try:
                    with transaction.atomic():
                        work.enqueue(number)
                    break
                except OperationalError as error:
                    if not (repeats and is_contention(error)):
                        raise
        case 2:
            work.using(run_after=timezone.now() + timedelta(seconds=0.2)).enqueue(number)
        case 3:
            work.using(unique_key=str(number)).enqueue(number)
            work.using(unique_key=str(number % 8)).enqueue(-number)
"""


def start_enqueuing(site, first, entry, repeats):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ENQUEUE, str(first), str(repeats)],
        cwd=ROOT,
        env=site.environment(entry=entry),
        stderr=subprocess.PIPE,
        text=True,
    )


def isolated(site):
    """The entry under an isolation that makes it hardest: not Django's default anywhere."""
    if site.vendor == "sqlite":
        return site.entry
    if site.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import IsolationLevel

        level = int(IsolationLevel.SERIALIZABLE)
    else:
        level = "repeatable read"
    return {**site.entry, "OPTIONS": {**site.entry["OPTIONS"], "isolation_level": level}}


@pytest.mark.parametrize("is_hardest", [False, True], ids=["as configured", "isolated"])
def test_four_processes_that_enqueue_claim_promote_and_acknowledge_never_meet_a_lock(
    site, is_hardest
):
    """Two of users, two of a worker: no lock of another reaches the library's callers.

    In a transaction of a user's own, isolated so, it may: only its owner can repeat it.
    """
    if is_hardest and site.vendor == "sqlite":
        pytest.skip("SQLite has one isolation")
    entry = isolated(site) if is_hardest else site.entry
    worker = site.ready_worker("--processes", "2", entry=entry)
    users = [start_enqueuing(site, first, entry, is_hardest) for first in (1_000, 2_000)]
    said = [user.communicate(timeout=60)[1] for user in users]
    assert [user.returncode for user in users] == [0, 0], "\n".join(said)
    assert said == ["", ""]
    site.wait_until(lambda: set(site.counts()) == {"SUCCESSFUL"}, "all tasks to be done")
    assert worker.stop() == 0
    assert not worker.said("WARNING|ERROR|Traceback|locked"), worker.text

    ran = site.starts()
    assert all(ran[first + number] == 1 for first in (1_000, 2_000) for number in range(100))
    assert site.rows().count() == ran.total()
