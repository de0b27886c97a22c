"""Statements that lose against others: said again, and nobody hears of it."""

import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from tests.database.conftest import added_database

from .processes import ROOT, in_another_thread
from .site import ALIAS
from .tasks import hold, work

TABLE = "tasks_database_jobrow"


def held_tasks(site, names, **options):
    """They all run in one worker, in the order of their ids."""
    results = [hold.enqueue(name) for name in names]
    worker = site.ready_worker("--threads", str(len(names)), **options)
    for name, result in zip(names, results, strict=True):
        site.wait_until_held(name)
        site.wait_for_status(result, "RUNNING")
    return worker, results


def let_end(site, name):
    site.let_go(name)
    site.wait_until((site.folder / f"{name}.over").exists, f"{name} to end")


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


WAITING = {
    "postgresql": "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
    "datname = current_database()",
    "mysql": "SELECT t.trx_started, t.trx_id FROM information_schema.innodb_trx t JOIN "
    "information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
    "WHERE t.trx_state = 'LOCK WAIT' AND p.db = database()",
}
DEADLOCKS = {
    "postgresql": "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    "mysql": "SELECT variable_value + 0 FROM information_schema.global_status "
    "WHERE variable_name = 'innodb_deadlocks'",
}


def test_a_deadlock_that_the_worker_loses_is_retried(site, on):
    """Somebody else holds the row of one task, and wants that of another in the same group."""
    on("postgresql", "mariadb")
    worker, (before, first, second) = held_tasks(site, "abc")
    later = work.using(run_after=timezone.now() + timedelta(days=1))
    later.enqueue_many([(number,) for number in range(50)])
    ((deadlocks,),) = site.on_the_server(DEADLOCKS[site.vendor])

    def wait_for_the_worker_to_wait():
        waiting = WAITING[site.vendor]
        wait_in_another_thread(site, lambda: site.on_the_server(waiting), "the worker to wait")

    with added_database("rival", site.entry), transaction.atomic(using=ALIAS):
        cursor = connections[ALIAS].cursor()
        # MariaDB lets go who has changed less; PostgreSQL, who notices it first.
        cursor.execute(f"UPDATE {TABLE} SET queue_name = 'other' WHERE status = 'DEFERRED'")
        if site.vendor == "postgresql":
            cursor.execute("SET LOCAL deadlock_timeout = '60s'")
        lock_row(second, cursor)
        with transaction.atomic(using="rival"):
            lock_row(before, connections["rival"].cursor())
            let_end(site, "a")
            wait_for_the_worker_to_wait()
            # While that one cannot be stored, these gather: they are stored in one go.
            let_end(site, "b")
            let_end(site, "c")
        site.wait_until(
            lambda: in_another_thread(lambda: site.row(before).status) == "SUCCESSFUL", "the first"
        )
        wait_for_the_worker_to_wait()
        # This would hang, or raise a deadlock of its own, did the worker not give way.
        lock_row(first, cursor)

    site.wait_until(
        lambda: site.on_the_server(DEADLOCKS[site.vendor])[0][0] > deadlocks, "a deadlock"
    )
    assert_undisturbed(site, worker, [before, first, second])


def test_a_lock_wait_timeout_is_retried(site, on):
    on("mariadb")
    entry = {
        **site.entry,
        "OPTIONS": {
            **site.entry["OPTIONS"],
            "init_command": "SET SESSION innodb_lock_wait_timeout = 1",
        },
    }
    worker, results = held_tasks(site, "ab", entry=entry)
    seen = set()

    def has_waited_thrice():
        seen.update(site.on_the_server(WAITING[site.vendor]))
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
