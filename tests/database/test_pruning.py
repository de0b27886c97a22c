"""Retention: what ended long ago is deleted, a few rows at a time, and nothing else."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tasks_database.models import JobRow
from tasks_database.operations import Pruned, cancel, prune
from tasks_database.options import Retention
from tasks_database.pruning import BATCH, Pruner
from tests.app.tasks import add
from tests.database.jobs import NOON, fail, new_job, succeed

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
WEEK = Retention(successful=7 * DAY, failed=7 * DAY, cancelled=7 * DAY)


def end(store, count, *, ago, how=succeed, **options):
    """Jobs that ended so long before noon."""
    store.add([new_job(now=NOON - ago, **options) for _ in range(count)])
    for _ in range(-(-count // BATCH)):
        jobs = store.claim(worker_id="w1", limit=BATCH, now=NOON)
        store.acknowledge([how(job, now=NOON - ago) for job in jobs])


def drain(pruner, now=NOON):
    return [pruned.total for pruned in pruner.batches(now=now)]


def test_what_is_older_is_deleted(store):
    end(store, 3, ago=8 * DAY)
    end(store, 2, ago=6 * DAY)

    assert drain(Pruner(store, WEEK)) == [3]

    assert JobRow.objects.count() == 2


def test_each_end_has_its_own_age(store):
    for how in (succeed, fail):
        end(store, 1, ago=8 * DAY, how=how)
    pruner = Pruner(store, Retention(successful=DAY))

    assert drain(pruner) == [1]
    assert [row.status for row in JobRow.objects.all()] == ["FAILED"]


def test_what_has_not_ended_is_never_old(store):
    store.add([new_job(now=NOON - 365 * DAY), new_job(now=NOON - 365 * DAY, run_after=NOON)])
    store.claim(worker_id="w1", limit=1, now=NOON)

    assert drain(Pruner(store, WEEK)) == []
    assert JobRow.objects.count() == 2


def test_in_small_batches_between_which_the_caller_may_stop(store):
    end(store, 2 * BATCH + 3, ago=8 * DAY)
    batches = Pruner(store, WEEK).batches(now=NOON)

    assert next(batches) == Pruned(successful=BATCH)
    batches.close()
    assert JobRow.objects.count() == BATCH + 3

    assert drain(Pruner(store, WEEK)) == [BATCH, 3]


def test_other_aliases_keep_theirs(store, store_of):
    end(store, 3, ago=8 * DAY)
    other = store_of(backend="mail")
    end(other, 2, ago=9 * DAY, backend="mail")

    assert sum(drain(Pruner(store, WEEK))) == 3

    assert {row.backend for row in JobRow.objects.all()} == {"mail"}


def test_what_another_alias_keeps_is_not_looked_through_each_time(store, store_of):
    other = store_of(backend="mail")
    end(other, 2 * BATCH, ago=9 * DAY, backend="mail")
    pruner = Pruner(store, Retention(successful=7 * DAY))
    assert sum(drain(pruner)) == 0

    with CaptureQueriesContext(connection) as queries:
        assert drain(pruner, NOON + timedelta(minutes=1)) == []
    assert len(queries) == 1

    end(store, 1, ago=8 * DAY)
    assert sum(drain(pruner, NOON + timedelta(minutes=2))) == 1


def test_an_end_that_was_stored_late_is_found_within_the_hour(store):
    pruner = Pruner(store, WEEK)
    end(store, 1, ago=8 * DAY)
    drain(pruner)
    end(store, 1, ago=20 * DAY)

    assert drain(pruner, NOON + timedelta(minutes=1)) == []
    assert drain(pruner, NOON + timedelta(hours=1)) == [1]


def test_many_that_ended_at_the_same_instant(store, store_of):
    other = store_of(backend="mail")
    end(other, BATCH + 10, ago=8 * DAY, backend="mail")
    end(store, BATCH + 10, ago=8 * DAY)

    assert sum(drain(Pruner(store, WEEK))) == BATCH + 10


def test_a_worker_comes_again_soon_while_there_is_more(store):
    end(store, BATCH + 1, ago=8 * DAY)
    pruner = Pruner(store, WEEK)

    assert [pruner.chore(NOON), pruner.chore(NOON), pruner.chore(NOON)] == [0.1, 0.1, 60.0]
    assert JobRow.objects.count() == 0
    assert Pruner(store, Retention()).chore(NOON) == 3600.0


def test_one_that_runs_again_meanwhile_is_not_deleted(store, monkeypatch):
    """An operator retries it between the look and the deletion."""
    end(store, 2, ago=8 * DAY, how=fail)
    delete = store.delete_ended

    def meanwhile(job_ids):
        JobRow.objects.filter(pk=job_ids[0]).update(status="READY", finished_at=None)
        return delete(job_ids)

    monkeypatch.setattr(store, "delete_ended", meanwhile)

    assert drain(Pruner(store, WEEK)) == [1]
    assert [row.status for row in JobRow.objects.all()] == ["READY"]


# -- the function ----------------------------------------------------------------------------------


def make_old(result, days, **values):
    at = timezone.now() - days * DAY
    JobRow.objects.filter(pk=result.id).update(finished_at=at, **values)


def test_prune_goes_by_the_settings(in_force):
    in_force({"retention": {"successful": DAY, "cancelled": 2 * DAY}})
    kept, old, failed, cancelled = (add.enqueue(1, 2) for _ in range(4))
    make_old(kept, 0, status="SUCCESSFUL")
    make_old(old, 3, status="SUCCESSFUL")
    make_old(failed, 3, status="FAILED")
    cancel(cancelled)
    make_old(cancelled, 3)

    assert prune(dry_run=True) == Pruned(successful=1, cancelled=1)
    assert JobRow.objects.count() == 4
    assert prune() == Pruned(successful=1, cancelled=1)
    assert {str(pk) for pk in JobRow.objects.values_list("pk", flat=True)} == {kept.id, failed.id}


def test_prune_by_one_age(backend):
    old, young = add.enqueue(1, 2), add.enqueue(1, 2)
    make_old(old, 3, status="FAILED")
    make_old(young, 1, status="FAILED")

    assert prune(older_than=2 * DAY) == Pruned(failed=1)
    assert prune(retention=Retention(failed=DAY / 2)) == Pruned(failed=1)


def test_without_retention_everything_is_kept(backend):
    make_old(add.enqueue(1, 2), 1000, status="SUCCESSFUL")

    assert prune() == Pruned()
