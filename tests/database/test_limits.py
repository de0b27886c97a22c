"""Concurrency and rate limits in the store: who starts, who waits, and who is woken."""

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tasks_database.engine import JobStatus
from tasks_database.engine.limits import Limit, parse_limit
from tasks_database.models import JobRow, LimitRow, SlotRow
from tasks_database.store import Serves, store_for
from tests.database.jobs import (
    NOON,
    PLAIN,
    SECOND,
    after,
    died,
    fail,
    new_job,
    retry,
    run,
    succeed,
    worker,
)

MAIL = "queue:default:mail"


def limited(store_of, **options):
    """A store whose queue "mail" has this limit, registered as a worker's at noon."""
    store = store_of(queue_limits={"mail": parse_limit(MAIL, options)})
    store.register(worker("w1"), now=NOON)
    return store


def add(store, count=1, **options):
    jobs = [new_job(**{"queue_name": "mail", **options}) for _ in range(count)]
    store.add(jobs)
    return jobs


def claim(store, now=NOON, limit=500):
    """As a worker does: what is due first."""
    store.promote(now=now)
    return list(store.claim(worker_id="w1", limit=limit, now=now))


def ids(jobs):
    return [job.id for job in jobs]


# -- concurrency -----------------------------------------------------------------------------------


def test_no_more_run_than_may(store_of):
    store = limited(store_of, max_concurrency=2)
    jobs = add(store, 5)

    claimed = claim(store)

    assert ids(claimed) == ids(jobs[:2])
    assert claim(store) == []
    assert SlotRow.objects.count() == 2
    assert [store.get(job.id) for job in claimed] == claimed
    assert {store.get(job.id).status for job in jobs[2:]} == {JobStatus.DEFERRED}


@pytest.mark.parametrize(
    "end",
    [succeed, fail, lambda job: retry(job, delay=60 * SECOND)],
    ids=["succeeds", "fails", "is retried"],
)
def test_when_one_ends_the_next_in_order_is_woken(store_of, end):
    store = limited(store_of, max_concurrency=1)
    first, _low, high, second = (
        *add(store, max_attempts=2),
        *add(store, priority=-5),
        *add(store, priority=1, max_attempts=2, now=after(1)),
        *add(store, now=after(1)),
    )
    [running] = claim(store)
    assert running.id == high.id

    store.acknowledge([end(running)])

    assert store.peek().ready
    [running] = claim(store)
    assert running.id == first.id
    store.acknowledge([end(running)])
    assert ids(claim(store)) == [second.id]


def test_a_job_that_is_given_back_frees_its_slot(store_of):
    store = limited(store_of, max_concurrency=1)
    first, _ = add(store, 2)

    store.release(claim(store))

    assert SlotRow.objects.count() == 0
    assert ids(claim(store)) == [first.id]


def test_a_dead_worker_frees_its_slots(store_of):
    store = limited(store_of, max_concurrency=2)
    add(store, 3)
    jobs = claim(store)
    store.start_many([run(job) for job in jobs])

    store.rescue("w1", beats=0, error=died, now=after(90))

    assert SlotRow.objects.count() == 0
    assert store.peek().ready, "the one that waited"
    assert len(claim(store, after(90))) == 1


def test_a_suspect_takes_a_slot_like_any_other(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store, 1)
    claim(store)
    store.rescue("w1", beats=0, error=died, now=after(90))
    add(store, 1, priority=9)
    [running] = claim(store, after(90))

    assert store.claim_suspect(worker_id="w2", now=after(90)) is None
    assert store.peek() == (False, False, store.next_due()), "no worker is to wait for it"

    store.acknowledge([succeed(running, now=after(91))])
    assert store.peek().suspects
    suspect = store.claim_suspect(worker_id="w2", now=after(91))
    assert suspect.slots == (MAIL,)


def test_what_has_no_limit_is_not_kept_by_what_has(store_of):
    """Those in front of it wait, out of the way, however many they are."""
    store = limited(store_of, max_concurrency=1)
    add(store, 40)
    others = add(store, 2, queue_name="b", priority=-9)

    claimed = claim(store, limit=5)
    while len(claimed) < 3:
        batch = claim(store, limit=5)
        assert batch
        claimed += batch

    assert ids(claimed)[1:] == ids(others)


def test_a_slot_whose_holder_was_deleted_is_free_when_a_worker_starts(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store, 2)
    claim(store)
    JobRow.objects.filter(owner="w1").delete()

    store.register(worker("w2"), now=after(1))

    assert len(claim(store, after(1))) == 1


def test_a_slot_whose_holder_runs_is_kept_when_a_worker_starts(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store, 2)
    claim(store)

    store.register(worker("w2"), now=after(1))

    assert claim(store, after(1)) == []


def test_when_a_limit_is_lifted_all_that_waited_go_on(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store, 700)
    claim(store)
    claim(store)
    assert JobRow.objects.filter(status="DEFERRED").count() == 699

    free = store_of()
    free.register(worker("w2"), now=after(1))

    assert JobRow.objects.filter(status="READY").count() == 699


def test_when_a_limit_is_raised_more_are_woken(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store, 5)
    claim(store)
    raised = store_of(queue_limits={"mail": Limit(MAIL, max_concurrency=3)})
    raised.register(worker("w2"), now=after(1))

    assert len(claim(raised, after(1))) == 2


def test_one_that_was_woken_in_a_paused_queue_does_not_keep_the_others_waiting(store_of, pause):
    limit = Limit(f"task:default:{PLAIN}", max_concurrency=1)
    store = store_of(task_limits={PLAIN: limit})
    store.register(worker("w1"), now=NOON)
    add(store, 2)
    [other] = add(store, queue_name="b", now=after(1))
    [running] = claim(store, after(2))
    assert claim(store, after(2)) == []
    pause("mail")
    store.acknowledge([succeed(running)])
    assert JobRow.objects.filter(status="READY", queue_name="mail").count() == 1
    assert store.next_due() == after(3), "a second after it last woke somebody"

    assert ids(claim(store, after(3))) == [other.id]


def test_queue_and_task_limits_are_kept_together(store_of):
    store = store_of(
        queue_limits={"mail": Limit(MAIL, max_concurrency=3)},
        task_limits={PLAIN: Limit(f"task:default:{PLAIN}", max_concurrency=2)},
    )
    add(store, 3)
    others = add(store, 3, task_path="tests.database.tasks.single")

    claimed = claim(store)

    assert [job.task_path for job in claimed] == [PLAIN, PLAIN, others[0].task_path]
    assert claimed[0].slots == (MAIL, f"task:default:{PLAIN}")
    store.acknowledge([succeed(job) for job in claimed])
    assert SlotRow.objects.count() == 0


# -- rates -----------------------------------------------------------------------------------------


def test_a_rate_starts_them_evenly_spaced(store_of):
    store = limited(store_of, rate="10/s")
    jobs = add(store, 4)

    assert ids(claim(store)) == [jobs[0].id]
    assert store.next_due() == after(0.1)
    assert claim(store, after(0.09)) == []
    assert ids(claim(store, after(0.1))) == [jobs[1].id]
    assert ids(claim(store, after(0.2))) == [jobs[2].id]
    assert ids(claim(store, after(0.3))) == [jobs[3].id]
    assert store.next_due() is None


def test_a_late_worker_does_not_slow_the_rate_down(store_of):
    store = limited(store_of, rate="10/s")
    add(store, 40)

    starts = 0
    for step in range(31):  # Every 33 ms, so each start is late.
        starts += len(claim(store, after(step * 0.033)))

    assert starts == 10


def test_an_outage_is_not_made_up_for(store_of):
    store = limited(store_of, rate="10/s")
    jobs = add(store, 100)
    claim(store)

    late = claim(store, after(3600))

    assert ids(late) == ids(jobs[1:3]), "100 ms are, as any worker may be so late"
    assert claim(store, after(3600)) == []


def test_after_a_rest_there_is_no_burst(store_of):
    store = limited(store_of, rate="10/s")
    add(store)
    claim(store)

    add(store, 5, now=after(60))

    assert len(claim(store, after(60))) == 1
    assert claim(store, after(60)) == []


def test_a_high_rate_starts_several_together(store_of):
    store = limited(store_of, rate="1000/s")
    add(store, 300)
    claim(store)

    assert len(claim(store, after(0.05))) == 50
    assert claim(store, after(0.05)) == []


def test_those_that_are_cancelled_take_nothing_from_those_behind_them(store_of):
    store = limited(store_of, rate="1/m")
    jobs = add(store, 50)
    claim(store)
    JobRow.objects.filter(pk__in=ids(jobs[1:])).delete()
    [job] = add(store, now=after(60))

    assert ids(claim(store, after(60))) == [job.id]


def test_who_waited_goes_before_who_has_just_come(store_of):
    store = limited(store_of, rate="1/s")
    _, second = add(store, 2)
    claim(store)
    claim(store)
    newcomer, urgent = add(store, now=after(1)) + add(store, now=after(1), priority=1)

    order = [ids(claim(store, after(number))) for number in (1, 2, 3)]

    assert order == [[urgent.id], [second.id], [newcomer.id]]


def test_a_rate_and_a_concurrency_limit_together(store_of):
    store = limited(store_of, rate="1/s", max_concurrency=1)
    jobs = add(store, 3)
    [running] = claim(store)

    assert claim(store, after(1)) == [], "its slot is taken"
    store.acknowledge([succeed(running, now=after(1.5))])
    [running] = claim(store, after(1.5))
    assert running.id == jobs[1].id
    store.acknowledge([succeed(running, now=after(1.6))])
    assert claim(store, after(1.6)) == [], "its instant has not come"
    assert len(claim(store, after(2.5))) == 1


# -- unique keys of jobs that wait -----------------------------------------------------------------


def test_a_unique_job_that_waits_for_a_limit_keeps_its_key(store_of):
    store = limited(store_of, max_concurrency=1)
    add(store)
    [waiting] = add(store, unique_key="k")
    claim(store)

    assert store.add([new_job(queue_name="mail", unique_key="k")])[0].id == waiting.id


def test_a_unique_job_that_starts_gives_its_key_away(store_of):
    store = limited(store_of, max_concurrency=1)
    [job] = add(store, unique_key="k")
    claim(store)

    [other] = store.add([new_job(queue_name="mail", unique_key="k")])

    assert other.id != job.id


def test_a_retry_that_waits_does_not_meet_the_key_of_another(store_of):
    """It gave its key away when it was claimed first; another job has it now."""
    store = limited(store_of, max_concurrency=1)
    add(store, unique_key="k", max_attempts=3)
    [job] = claim(store)
    [other] = add(store, unique_key="k")
    store.acknowledge([retry(job)])
    [running] = claim(store)
    assert running.id in {job.id, other.id}

    assert claim(store) == []
    assert JobRow.objects.filter(status="DEFERRED").count() == 1


# -- laws ------------------------------------------------------------------------------------------

SLOTS, INTERVAL = 2, timedelta(seconds=3)


class LimitedQueue(RuleBasedStateMachine):
    """One queue with a limit and one without; workers that claim, end, give back and die."""

    @initialize(
        concurrency=st.sampled_from([None, SLOTS]), interval=st.sampled_from([None, INTERVAL])
    )
    def begin(self, concurrency, interval):
        JobRow.objects.all().delete()
        SlotRow.objects.all().delete()
        LimitRow.objects.all().delete()
        limits = {"mail": Limit(MAIL, max_concurrency=concurrency, interval=interval)}
        self.store = store_for("default", Serves(queue_limits=limits))
        self.concurrency, self.interval = concurrency, interval
        self.now = NOON
        self.held: list = []
        self.starts: list = []

    @rule(count=st.integers(1, 4), queue=st.sampled_from(["mail", "mail", "b"]))
    def enqueue(self, count, queue):
        self.store.add([new_job(queue_name=queue, now=self.now) for _ in range(count)])

    @rule(seconds=st.sampled_from([1, 2, 3, 10]))
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    @rule(limit=st.integers(1, 5))
    def claim(self, limit):
        self.store.promote(now=self.now)
        jobs = self.store.claim(worker_id="w1", limit=limit, now=self.now)
        self.held += jobs
        self.starts += [self.now for job in jobs if job.queue_name == "mail"]

    @rule(data=st.data(), how=st.sampled_from(["end", "give back"]))
    def let_go(self, data, how):
        if not self.held:
            return
        job = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if how == "end":
            assert self.store.acknowledge([succeed(job, now=self.now)]).accepted == [job.id]
        else:
            self.store.release([job])

    @rule()
    def the_worker_dies(self):
        self.store.rescue("w1", beats=None, error=died, now=self.now)
        JobRow.objects.filter(status="SUSPECT").update(status="READY", suspect=False)
        self.held = []

    @invariant()
    def the_limits_are_kept(self):
        if not hasattr(self, "store"):
            return
        mail = [job for job in self.held if job.queue_name == "mail"]
        if self.concurrency is not None:
            assert len(mail) <= self.concurrency
            assert SlotRow.objects.count() == len(mail)
        if self.interval is not None:
            assert all(
                later - earlier >= self.interval - timedelta(milliseconds=100)
                for earlier, later in zip(self.starts, self.starts[1:], strict=False)
            )

    def teardown(self):
        """When everybody lets go, everything is claimed in the end."""
        if not hasattr(self, "store"):
            return
        for _ in range(300):
            self.claim(500)
            while self.held:
                job = self.held.pop()
                self.store.acknowledge([succeed(job, now=self.now)])
            if not JobRow.objects.exclude(status="SUCCESSFUL").exists():
                return
            due = self.store.next_due()
            self.now = max(self.now, due or self.now)
        raise AssertionError("something waits for ever")


class TestLimitedQueue(HypothesisTestCase, LimitedQueue.TestCase):
    settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
