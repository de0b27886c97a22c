"""Several connections at once: no job is claimed twice, no key is taken twice, nothing is lost.

Real threads and real commits, on a database that they share; on SQLite that is a file.
"""

import threading
from collections import Counter

import pytest
from django.db import OperationalError, connections, transaction

from tasks_database.engine import JobStatus
from tasks_database.engine.limits import Limit
from tasks_database.models import JobRow, PausedQueue, SlotRow
from tasks_database.store import Serves, store_for
from tests.database.jobs import NOON, after, died, new_job, run, succeed, worker

WORKERS = 4


def drain(store, worker_id, limit, *, taken, acknowledge=True):
    """Claim until nothing is left; how many jobs each claim brought."""
    sizes = []
    while jobs := store.claim(worker_id=worker_id, limit=limit, now=after(9)):
        sizes.append(len(jobs))
        taken += [job.id for job in jobs]
        if acknowledge:
            store.acknowledge([succeed(job) for job in jobs])
    return sizes


def test_no_job_is_claimed_twice_and_no_claim_exceeds_its_limit(shared, at_once):
    store = store_for(shared)
    store.add([new_job(priority=number % 3) for number in range(600)])
    taken = []

    sizes = at_once(lambda number: drain(store, f"w{number}", 7, taken=taken), range(WORKERS))

    assert max(size for worker_sizes in sizes for size in worker_sizes) <= 7
    assert Counter(Counter(taken).values()) == {1: 600}
    assert JobRow.objects.using(shared).filter(status="SUCCESSFUL").count() == 600


def test_enqueueing_promoting_and_claiming_get_along(shared, at_once):
    """What deadlocked elsewhere: inserts, promotions, claims and outcomes at the same time."""
    store = store_for(shared)
    taken = []
    left = threading.Semaphore(0)
    total = 300

    def enqueue():
        for number in range(total // 10):
            store.add([new_job(run_after=after(1 + number % 3)) for _ in range(5)])
            store.add([new_job(queue_name="b") for _ in range(5)])
            left.release(10)

    def work(name):
        while len(taken) < total:
            store.promote(now=after(9))
            drain(store, name, 9, taken=taken)

    at_once(
        lambda number: enqueue() if number == 0 else work(f"w{number}"),
        range(WORKERS),
    )

    assert Counter(Counter(taken).values()) == {1: total}
    assert JobRow.objects.using(shared).filter(status="SUCCESSFUL").count() == total


def test_due_jobs_are_promoted_once_by_several(shared, at_once):
    store = store_for(shared)
    store.add([new_job(run_after=after(1)) for _ in range(1000)])

    counts = at_once(lambda _: store.promote(now=after(2)), range(WORKERS))

    assert sum(counts) == 1000
    assert JobRow.objects.using(shared).filter(status="READY").count() == 1000


def test_what_another_transaction_has_locked_is_skipped(shared, at_once):
    """A claim does not wait for one that is under way."""
    if connections[shared].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    store = store_for(shared)
    first, second = new_job(), new_job(now=after(1))
    store.add([first, second])

    with transaction.atomic(using=shared):
        JobRow.objects.using(shared).select_for_update().get(pk=first.id)
        [jobs] = at_once(lambda _: store.claim(worker_id="w2", limit=1, now=after(2)), range(1))

    assert [job.id for job in jobs] == [second.id]


def test_what_a_claim_has_brought_is_not_lost_when_the_next_queue_fails(shared, monkeypatch):
    """It is committed, and nobody else would ever give it back."""
    store = store_for(shared, Serves(queues=("a", "b")))
    store.add([new_job(queue_name="a"), new_job(queue_name="b")])
    claim_from = type(store)._claim_from
    asked = []

    def fails_at_second(store, name, *args):
        asked.append(name)
        if len(asked) == 2:
            raise OperationalError("server has gone away")
        return claim_from(store, name, *args)

    monkeypatch.setattr(type(store), "_claim_from", fails_at_second)

    [job] = store.claim(worker_id="w1", limit=9, now=NOON)

    assert job.queue_name == asked[0]
    assert len(asked) == 2


# -- unique keys -----------------------------------------------------------------------------------


def test_two_connections_race_for_a_key(shared, at_once):
    store = store_for(shared)

    for number in range(20):
        key = f"key {number}"
        added = at_once(
            lambda _, key=key: store.add([new_job(unique_key=key)])[0].id, range(WORKERS)
        )
        assert len(set(added)) == 1, "all have the same job"
    assert JobRow.objects.using(shared).count() == 20


def test_a_key_that_is_claimed_meanwhile_is_free_again(shared, at_once):
    """Each enqueue has a job that no worker had when it was called, whatever the workers do."""
    store = store_for(shared)
    claimed, enqueued = [], []
    done = threading.Event()

    def enqueue(number):
        try:
            for _ in range(100):
                enqueued.append(store.add([new_job(unique_key="k")])[0].id)
        finally:
            if number == 0:
                done.set()

    def work(name):
        while not done.is_set():
            drain(store, name, 3, taken=claimed)

    at_once(
        lambda number: enqueue(number) if number < 2 else work(f"w{number}"),
        range(WORKERS),
    )
    drain(store, "w9", 9, taken=claimed)

    assert set(claimed) == set(enqueued)
    assert Counter(Counter(claimed).values()) == {1: len(set(enqueued))}


def test_the_job_that_stands_for_another_is_not_claimed_before_the_commit(shared, at_once):
    """It will see what the transaction has written that enqueued the other."""
    store = store_for(shared)
    [waiting] = store.add([new_job(unique_key="k")])

    def claim(_):
        return store.claim(worker_id="w1", limit=1, now=NOON)

    with transaction.atomic(using=shared):
        assert store.add([new_job(unique_key="k")])[0].id == waiting.id
        if connections[shared].vendor != "sqlite":  # There a claim waits for the transaction.
            assert at_once(claim, range(1)) == [[]]

    assert [job.id for job in claim(None)] == [waiting.id]


def test_a_rolled_back_enqueue_leaves_its_key_free(shared):
    store = store_for(shared)
    with transaction.atomic(using=shared):
        [rolled_back] = store.add([new_job(unique_key="k")])
        transaction.set_rollback(True, using=shared)

    [job] = store.add([new_job(unique_key="k")])

    assert job.id != rolled_back.id
    assert store.get(rolled_back.id) is None


# -- rescues ---------------------------------------------------------------------------------------


def test_several_rescue_one_worker_and_one_of_them_does(shared, at_once):
    store = store_for(shared)
    store.register(worker("w1"), now=NOON)
    store.add([new_job() for _ in range(50)])
    jobs = store.claim(worker_id="w1", limit=50, now=NOON)

    rescued = at_once(
        lambda _: len(store.rescue("w1", beats=0, error=died, now=after(90))), range(WORKERS)
    )

    assert sorted(rescued) == [0, 0, 0, 50]
    assert store.acknowledge([succeed(job) for job in jobs]).accepted == []
    assert JobRow.objects.using(shared).filter(status="SUSPECT", owner=None).count() == 50


def test_a_rescue_races_with_the_outcomes_of_the_one_that_is_not_dead(shared, at_once):
    """Each job is either acknowledged or rescued, never both."""
    store = store_for(shared)
    store.register(worker("w1"), now=NOON)
    store.add([new_job() for _ in range(200)])
    jobs = store.claim(worker_id="w1", limit=200, now=NOON)
    store.start_many([run(job) for job in jobs])

    def act(number):
        if number == 0:
            return {job.id for job in store.rescue("w1", beats=0, error=died, now=after(90))}
        accepted = set()
        for start in range(0, 200, 20):
            outcomes = [succeed(job) for job in jobs[start : start + 20]]
            accepted.update(store.acknowledge(outcomes).accepted)
        return accepted

    rescued, accepted = at_once(act, range(2))

    assert not rescued & accepted
    assert len(rescued) + len(accepted) == 200
    assert JobRow.objects.using(shared).filter(status="SUCCESSFUL").count() == len(accepted)


# -- limits and pauses -----------------------------------------------------------------------------


def test_workers_together_keep_a_limit(shared, at_once):
    limit = Limit("queue:default:mail", max_concurrency=3)
    store = store_for(shared, Serves(queue_limits={"mail": limit}))
    store.add([new_job(queue_name="mail") for _ in range(120)])
    most, running, lock = [0], [0], threading.Lock()
    done = []

    def work(number):
        while len(done) < 120:
            jobs = store.claim(worker_id=f"w{number}", limit=5, now=NOON)
            with lock:
                running[0] += len(jobs)
                most[0] = max(most[0], running[0])
            # Less before the slots are free than after: never counted too few.
            with lock:
                running[0] -= len(jobs)
            done.extend(store.acknowledge([succeed(job) for job in jobs]).accepted)
            assert SlotRow.objects.using(shared).count() <= 3

    at_once(work, range(WORKERS))

    assert most[0] <= 3
    assert sorted(Counter(done).values()) == [1] * 120
    assert SlotRow.objects.using(shared).count() == 0


def test_a_pause_holds_from_its_commit_on(shared, at_once):
    """Also for a worker that has not heard of it."""
    store = store_for(shared)
    store.learn_paused()
    store.add([new_job(queue_name="mail"), new_job(queue_name="b")])
    PausedQueue.objects.using(shared).create(backend="default", queue_name="mail", paused_at=NOON)

    [jobs] = at_once(lambda _: store.claim(worker_id="w1", limit=9, now=NOON), range(1))

    assert [job.queue_name for job in jobs] == ["b"]
    assert [store.get(job.id).status for job in jobs] == [JobStatus.CLAIMED]
