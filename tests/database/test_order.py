"""In which order jobs are handed out: (-priority, ready since, id), queues by turns."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_database.engine import JobStatus
from tasks_database.models import JobRow
from tasks_database.store import Serves, store_for
from tests.database.jobs import NOON, SECOND, after, new_job, retry


def claim_ids(store, limit=500, now=NOON):
    return [job.id for job in store.claim(worker_id="w1", limit=limit, now=now)]


def test_high_priority_first_then_who_has_been_ready_for_long_then_first_in(store):
    low = new_job(priority=-100)
    second = new_job()
    third = new_job()
    late = new_job(now=after(1))
    high = new_job(now=after(2), priority=100)
    store.add([low, late, third, high, second])

    assert claim_ids(store) == [high.id, second.id, third.id, late.id, low.id]


def test_a_low_priority_waits_as_long_as_there_is_a_higher_one(store):
    """Strict: a low priority may starve. That is documented, not an accident."""
    low = new_job(priority=-1)
    store.add([low, *(new_job(now=after(number)) for number in range(5))])

    for _ in range(5):
        assert claim_ids(store, limit=1) != [low.id]
    assert claim_ids(store, limit=1) == [low.id]


def test_a_deferred_job_is_ready_since_it_was_due(store):
    deferred = new_job(run_after=after(10))
    earlier, later = new_job(now=after(5)), new_job(now=after(15))
    store.add([deferred, earlier, later])

    assert claim_ids(store, limit=1, now=after(20)) == [earlier.id], "not before it is promoted"
    assert store.promote(now=after(20)) == 1
    assert claim_ids(store, now=after(20)) == [deferred.id, later.id]


def test_a_retry_goes_behind_those_that_were_ready_before_it(store):
    first, second = new_job(max_attempts=3), new_job(now=after(1))
    store.add([first, second])
    [claimed] = store.claim(worker_id="w1", limit=1, now=after(2))
    store.acknowledge([retry(claimed, now=after(3))])

    assert claim_ids(store, now=after(3)) == [second.id, first.id]


def test_a_job_that_is_given_back_has_its_old_place(store):
    first, second = new_job(), new_job(now=after(1))
    store.add([first, second])
    store.release(store.claim(worker_id="w1", limit=1, now=after(2)))

    assert claim_ids(store, now=after(2)) == [first.id, second.id]


def test_not_more_than_the_limit(store):
    store.add([new_job() for _ in range(10)])

    assert [len(claim_ids(store, limit=4)) for _ in range(4)] == [4, 4, 2, 0]


def test_a_claim_of_one_queue_takes_nothing_of_another(store, store_of):
    mine, others = new_job(queue_name="mail"), new_job(queue_name="reports")
    store.add([others, mine])

    assert claim_ids(store_of(queues=("mail",))) == [mine.id]


def test_queues_take_turns(store, store_of):
    """One that never ends does not keep the others from being served."""
    for name in ("a", "b", "c"):
        store.add([new_job(queue_name=name) for _ in range(10)])
    workers = store_of(queues=("a", "b", "c"))

    claimed = [workers.claim(worker_id="w1", limit=2, now=NOON) for _ in range(3)]

    assert sorted({job.queue_name for job in jobs}.pop() for jobs in claimed) == ["a", "b", "c"]


def test_an_empty_queue_takes_no_turn(store, store_of):
    store.add([new_job(queue_name="c") for _ in range(4)])
    workers = store_of(queues=("a", "b", "c", "d"))

    assert [len(workers.claim(worker_id="w1", limit=1, now=NOON)) for _ in range(4)] == [1] * 4


def test_the_rest_of_a_claim_is_filled_from_the_next_queues(store, store_of):
    store.add([new_job(queue_name=name) for name in ("a", "b", "c")])

    assert len(store_of(queues=("a", "b", "c")).claim(worker_id="w1", limit=3, now=NOON)) == 3


def test_excluded_queues_are_left_alone(store, store_of):
    for name in ("a", "b", "c"):
        store.add([new_job(queue_name=name)])
    workers = store_of(exclude=("b",))

    claimed = workers.claim(worker_id="w1", limit=9, now=NOON)

    assert sorted(job.queue_name for job in claimed) == ["a", "c"]
    assert workers.peek().ready is False


def test_aliases_share_a_table_and_nothing_else(store, store_of):
    mine, others = new_job(), new_job(backend="mail")
    store.add([others, mine])

    assert claim_ids(store) == [mine.id]
    assert claim_ids(store_of(backend="mail")) == [others.id]


# -- due times -----------------------------------------------------------------------------------


def test_a_deferred_job_is_promoted_at_its_very_instant(store):
    store.add([new_job(run_after=after(10))])

    assert store.next_due() == after(10)
    assert store.promote(now=after(10) - timedelta.resolution) == 0
    assert store.promote(now=after(10)) == 1
    assert store.next_due() is None


def test_more_than_one_statement_can_carry_is_promoted_at_once(store):
    store.add([new_job(run_after=after(number % 7 + 1)) for number in range(1203)])

    assert store.promote(now=after(7)) == 1203
    assert store.promote(now=after(7)) == 0


def test_the_next_due_time_is_the_earliest(store):
    store.add([new_job(run_after=after(seconds)) for seconds in (30, 10, 20)])

    assert store.next_due() == after(10)


# -- what one look tells ---------------------------------------------------------------------------


def test_a_look_at_nothing(store):
    assert store.peek() == (False, False, None)


def test_a_look_at_what_is_ready_and_what_will_be(store, store_of):
    store.add([new_job(queue_name="mail"), new_job(run_after=after(10))])

    assert store.peek() == (True, False, after(10))
    assert store_of(queues=("mail", "more")).peek() == (True, False, after(10))
    assert store_of(queues=("reports",)).peek() == (False, False, after(10))
    assert store_of(backend="other").peek().ready is False


# -- against a model -----------------------------------------------------------------------------

jobs = st.lists(
    st.tuples(
        st.integers(-100, 100),
        st.integers(0, 3),
        st.sampled_from([None, 1, 2, 50]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=30,
)


@pytest.mark.django_db
@settings(max_examples=60)
@given(jobs, st.integers(1, 12), st.sampled_from([None, ("a",), ("b",)]))
def test_any_jobs_come_in_the_order_of_the_engine(described, limit, queues):
    """As Job.order has it, which MemoryStore goes by too."""
    now = after(3)
    with transaction.atomic():
        store = store_for("default", Serves(queues=queues))
        made = [
            new_job(
                priority=priority,
                now=NOON + seconds * SECOND,
                run_after=None if wait is None else NOON + wait * SECOND,
                queue_name=queue,
            )
            for priority, seconds, wait, queue in described
        ]
        store.add(made)
        store.promote(now=now)
        stored = [store.get(job.id) for job in made]
        ready = [
            job
            for job in stored
            if job.status is JobStatus.READY and (queues is None or job.queue_name in queues)
        ]
        expected = [job.id for job in sorted(ready, key=lambda job: job.order)]

        claimed = []
        while batch := claim_ids(store, limit=limit, now=now):
            assert len(batch) <= limit
            claimed += batch

        assert claimed == expected
        assert JobRow.objects.filter(status="DEFERRED").count() == sum(
            wait == 50 for _, _, wait, _ in described
        )
        transaction.set_rollback(True)
