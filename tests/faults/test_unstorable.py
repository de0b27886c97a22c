"""Outcomes that the database refuses: each fails alone, whatever it was to be stored with."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from tasks_database.store import WorkerInfo, store_for

from .site import ALIAS
from .tasks import fails_with_characters, returns, returns_characters, work

TABLE = "tasks_database_jobrow"


@contextmanager
def refusing(site, condition, *, event="UPDATE"):
    """The database refuses any change of a job after which this holds, in SQL with NEW.

    event: or INSERT, or DELETE, with OLD then.
    """
    connection = connections[ALIAS]
    raised = {
        "postgresql": f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF {condition} THEN RAISE EXCEPTION 'not that' USING ERRCODE = '22000'; END IF;
            RETURN coalesce(NEW, OLD); END $$;
            CREATE TRIGGER refused BEFORE {event} ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse();
        """,
        "mysql": f"""
            CREATE TRIGGER refused BEFORE {event} ON {TABLE} FOR EACH ROW
            BEGIN IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not that';
            END IF; END
        """,
        "sqlite": f"""
            CREATE TRIGGER refused BEFORE {event} ON {TABLE} WHEN {condition}
            BEGIN SELECT RAISE(ABORT, 'not that'); END
        """,
    }[site.vendor]
    with connection.cursor() as cursor:
        cursor.execute(raised)
    try:
        yield
    finally:
        for command in site.commands:
            command.kill()
        with connection.cursor() as cursor:
            if site.vendor == "postgresql":
                cursor.execute("DROP FUNCTION refuse CASCADE")
            else:
                cursor.execute("DROP TRIGGER refused")


def test_one_unstorable_result_in_a_group_of_200_fails_alone(site):
    with refusing(site, "NEW.return_payload LIKE '%unstorable%'"):
        good = returns.enqueue_many([(number,) for number in range(150)])
        bad = returns.enqueue("unstorable")
        good += returns.enqueue_many([(number,) for number in range(50)])
        worker = site.ready_worker()

        site.wait_for_counts(SUCCESSFUL=200, FAILED=1)

        job = site.job(bad)
        assert (job.attempts, job.failures, job.return_payload) == (1, 1, None)
        (error,) = job.errors
        assert error.exception_class_path.endswith("flush.UnstorableOutcome")
        assert "The outcome of tests.faults.tasks.returns (SUCCESSFUL) could not be stored" in (
            error.traceback
        )
        assert "not that" in error.traceback
        assert all(site.job(result).attempts == 1 for result in good)
        site.wait_until(lambda: site.signals()["finished returns SUCCESSFUL"] == 200, "signals")
        assert site.signals(bad)["finished returns FAILED"] == 1
        assert worker.stop() == 0


def test_one_outcome_that_cannot_even_be_recorded_as_failed_holds_up_nobody(site):
    with refusing(
        site,
        f"NEW.task_path = '{returns.module_path}' AND NEW.status NOT IN ('CLAIMED', 'RUNNING')",
    ):
        good = work.enqueue_many([(number,) for number in range(50)])
        returns.enqueue(1)
        good += work.enqueue_many([(50 + number,) for number in range(50)])
        worker = site.ready_worker()

        # Whether its start was stored before its end came is a matter of milliseconds.
        site.wait_until(lambda: site.counts().get("SUCCESSFUL") == 100, "the others to be done")
        after = work.enqueue(1)
        site.wait_for_status(after, "SUCCESSFUL")
        worker.wait_for("nor could that it failed. It stays as it is")


def test_a_dead_worker_whose_task_cannot_be_taken_over_is_not_in_the_way_of_others(site):
    """river#1318: a rescuer kept looking at the same rows that it could not rescue."""
    store = store_for(ALIAS)
    now = timezone.now()
    for name in ("dead1", "dead2"):
        store.register(WorkerInfo(id=name, name=name, hostname="h", pid=1, threads=1), now=now)
    stuck = returns.enqueue(1)
    store.claim(worker_id="dead1", limit=1, now=now)
    rescued = [work.enqueue(number) for number in range(3)]
    store.claim(worker_id="dead2", limit=3, now=now)

    with refusing(site, f"NEW.task_path = '{returns.module_path}'"):
        worker = site.ready_worker(lease=1)
        for result in rescued:
            site.wait_for_status(result, "SUCCESSFUL")
        after = work.enqueue(7)
        site.wait_for_status(after, "SUCCESSFUL")
        worker.wait_for("The tasks of the dead worker dead1 could not be taken over")
        assert site.row(stuck).owner == "dead1"


def test_starts_that_cannot_be_recorded_hold_up_nobody(site):
    with refusing(site, "NEW.status = 'RUNNING'"):
        results = [work.enqueue(number, 0.2) for number in range(8)]
        worker = site.ready_worker()
        site.wait_for_counts(SUCCESSFUL=len(results))
        worker.wait_for("The worker could not store what has started: it goes on without")
        assert all(site.job(result).attempts == 1 for result in results)


def test_a_deferred_task_that_cannot_be_made_ready_holds_up_nobody(site):
    condition = f"OLD.status = 'DEFERRED' AND NEW.task_path = '{returns.module_path}'"
    with refusing(site, condition):
        returns.using(run_after=timezone.now() + timedelta(seconds=0.1)).enqueue(1)
        worker = site.ready_worker()
        worker.wait_for(r"The database refuses what was asked \(promote\): tried again in")
        for number in range(3):
            site.wait_for_status(work.enqueue(number), "SUCCESSFUL")


def test_old_rows_that_cannot_be_deleted_hold_up_nobody(site):
    old = work.enqueue(1)
    long_ago = timezone.now() - timedelta(days=9)
    site.rows().filter(id=old.id).update(status="SUCCESSFUL", finished_at=long_ago)
    with refusing(site, "OLD.finished_at IS NOT NULL", event="DELETE"):
        worker = site.ready_worker(retention=3600)
        worker.wait_for("The worker could not delete what is old: it goes on without")
        result = work.enqueue(2)
        site.wait_for_status(result, "SUCCESSFUL")


def test_a_schedule_that_cannot_be_enqueued_holds_up_nobody(site):
    with refusing(site, f"NEW.task_path = '{returns.module_path}'", event="INSERT"):
        worker = site.ready_worker(
            schedules={"often": {"task": returns.module_path, "every": 1, "args": [1]}}
        )
        worker.wait_for("could not enqueue (tests.faults.tasks.returns|what schedules say)")
        result = work.enqueue(2)
        site.wait_for_status(result, "SUCCESSFUL")


@pytest.mark.parametrize(
    ("task", "characters"), [(returns_characters, 40_000_000), (fails_with_characters, 17_000_000)]
)
def test_what_exceeds_the_largest_packet_of_mariadb_fails_alone(site, on, task, characters):
    """To such a statement the server may say why, or close the connection without a word."""
    on("mariadb")
    good = returns.enqueue_many([(number,) for number in range(20)])
    bad = task.enqueue(characters)
    good += returns.enqueue_many([(number,) for number in range(20)])
    site.ready_worker()

    site.wait_for_counts(SUCCESSFUL=40, FAILED=1)

    job = site.job(bad)
    assert (job.attempts, job.rescues) == (1, 0)
    assert "could not be stored" in job.errors[0].traceback
    assert all(site.job(result).attempts == 1 for result in good)
