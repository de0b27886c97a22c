"""Workers that beat, end or die, and what becomes of the jobs of the dead."""

import pytest

from tasks_database.engine import JobStatus, lifecycle
from tasks_database.models import JobRow, WorkerRow
from tests.database.jobs import NOON, after, died, new_job, run, succeed, worker


@pytest.fixture
def held(store):
    """Gives a registered worker so many jobs, started or not."""

    def hold(count, *, worker_id="w1", started=False, **options):
        store.register(worker(worker_id, name="worker one"), now=NOON)
        store.add([new_job(**options) for _ in range(count)])
        jobs = store.claim(worker_id=worker_id, limit=count, now=NOON)
        if started:
            jobs = [run(job, name="worker one") for job in jobs]
            store.start_many(jobs)
        return jobs

    return hold


def rescue(store, worker_id="w1", *, beats=0, now=after(90)):
    return store.rescue(worker_id, beats=beats, error=died, now=now)


# -- the row of a worker ---------------------------------------------------------------------------


def test_a_worker_registers_beats_and_ends(store):
    store.register(worker("w1", name="worker one"), now=NOON)
    assert store.beats() == {"w1": 0}

    assert store.heartbeat("w1", now=after(10)) is True
    assert store.heartbeat("w1", now=after(20)) is True
    assert store.beats() == {"w1": 2}
    row = WorkerRow.objects.get()
    assert (row.name, row.hostname, row.pid, row.threads) == ("worker one", "here", 7, 1)
    assert (row.started_at, row.last_beat_at) == (NOON, after(20))

    store.deregister("w1")
    assert store.beats() == {}


def test_a_worker_that_was_declared_dead_hears_of_it_at_its_next_beat(store, held):
    held(1)
    rescue(store)

    assert store.heartbeat("w1", now=after(91)) is False


def test_a_worker_that_has_beaten_since_is_left_alone(store, held):
    [job] = held(1)
    store.heartbeat("w1", now=after(1))

    assert rescue(store, beats=0) == []

    assert store.get(job.id) == job
    assert store.beats() == {"w1": 1}


# -- what it held ----------------------------------------------------------------------------------


def test_a_task_that_ran_alone_is_lost_with_its_worker_and_pays(store, held):
    [job] = held(1, started=True)

    [rescued] = rescue(store)

    assert rescued == store.get(job.id)
    assert (rescued.status, rescued.rescues, rescued.failures) == (JobStatus.READY, 1, 0)
    assert rescued.worker_ids == ("worker one",)
    assert rescued.ready_since == after(90)
    assert rescued.errors == ()
    assert store.beats() == {}


def test_after_too_many_rescues_it_fails_and_the_error_says_which_worker_died(store, held):
    [job] = held(1, started=True, max_rescues=0)

    rescue(store)

    stored = store.get(job.id)
    assert stored.status is JobStatus.FAILED
    assert stored.finished_at == after(90)
    [error] = stored.errors
    assert (
        "Worker worker one (process 7 on here), last heard at 2026-03-01 12:00:00 UTC, died"
        in error.traceback
    )


def test_of_several_none_pays_and_all_are_suspects(store, held):
    jobs = held(3, started=True, max_rescues=0)

    rescued = rescue(store)

    assert {job.status for job in rescued} == {JobStatus.READY}
    assert {(job.suspect, job.rescues) for job in rescued} == {(True, 0)}
    assert [store.get(job.id) for job in rescued] == rescued
    assert len(rescued) == len(jobs)


def test_one_that_was_not_started_as_far_as_is_known_is_a_suspect_too(store, held):
    """Starts are stored late: it may have been running."""
    [job] = held(1)

    rescue(store)

    assert store.get(job.id).suspect
    assert store.get(job.id).rescues == 0


def test_an_owner_without_a_worker_is_an_orphan(store, held):
    """A claim that was committed after its worker had been given up."""
    jobs = held(2)
    WorkerRow.objects.all().delete()

    assert store.orphans() == ["w1"]
    assert len(rescue(store, beats=None)) == 2

    assert store.orphans() == []
    assert {store.get(job.id).status for job in jobs} == {JobStatus.READY}


def test_the_error_of_an_orphan_names_its_owner(store, held):
    [job] = held(1, started=True, max_rescues=0)
    WorkerRow.objects.all().delete()

    rescue(store, beats=None)

    [error] = store.get(job.id).errors
    assert "Worker w1, which is not registered, died" in error.traceback


def test_a_worker_without_jobs_is_no_orphan_and_is_buried_quietly(store):
    store.register(worker("w1"), now=NOON)

    assert store.orphans() == []
    assert rescue(store) == []
    assert store.beats() == {}


def test_who_is_known_to_be_dead_is_rescued_whatever_its_counter(store, held):
    held(1)
    store.heartbeat("w1", now=after(5))

    assert len(rescue(store, beats=None)) == 1


def test_the_late_outcomes_of_a_rescued_worker_change_nothing(store, held):
    jobs = held(2, started=True)
    rescue(store)

    late = [lifecycle.succeed(job, return_payload="1", now=after(91)) for job in jobs]
    assert store.acknowledge(late).accepted == []

    assert JobRow.objects.filter(status="SUSPECT").count() == 2


def test_more_than_one_statement_can_carry_is_rescued_at_once(store, held):
    held(500)
    store.add([new_job() for _ in range(600)])
    store.claim(worker_id="w1", limit=500, now=NOON)
    store.claim(worker_id="w1", limit=500, now=NOON)

    assert len(rescue(store)) == 1100
    assert JobRow.objects.filter(owner__isnull=False).count() == 0


# -- suspects --------------------------------------------------------------------------------------


def test_a_suspect_is_claimed_alone_and_by_nothing_else(store, held):
    held(2)
    rescue(store)

    assert store.peek() == (False, True, None)
    assert store.claim(worker_id="w2", limit=9, now=after(91)) == []
    job = store.claim_suspect(worker_id="w2", now=after(91))
    assert (job.status, job.owner, job.suspect) == (JobStatus.CLAIMED, "w2", True)
    assert store.get(job.id) == job


def test_a_suspect_that_succeeds_is_none_any_more(store, held):
    held(1)
    rescue(store)
    job = store.claim_suspect(worker_id="w2", now=after(91))

    store.acknowledge([succeed(job, now=after(92))])

    assert store.get(job.id).suspect is False
    assert store.claim_suspect(worker_id="w2", now=after(93)) is None
    assert store.peek().suspects is False


def test_a_suspect_that_is_given_back_stays_one(store, held):
    held(1)
    rescue(store)
    job = store.claim_suspect(worker_id="w2", now=after(91))

    store.release([job])

    assert store.claim(worker_id="w2", limit=9, now=after(91)) == []
    assert store.claim_suspect(worker_id="w2", now=after(91)).id == job.id


def test_suspects_of_queues_that_are_left_alone_are_nobodys_business(store, store_of, held):
    """Else a worker would stop all other work for one that it may not have."""
    held(1, queue_name="mail")
    rescue(store)
    for others in (
        store_of(queues=("reports",)),
        store_of(exclude=("mail",)),
        store_of(backend="other"),
    ):
        assert others.peek().suspects is False
        assert others.claim_suspect(worker_id="w2", now=after(91)) is None
    assert store_of(queues=("mail", "reports")).peek().suspects is True


def test_suspects_of_a_paused_queue_wait(store, held, pause):
    held(1, queue_name="mail")
    rescue(store)
    resume = pause("mail")

    assert store.peek().suspects is False
    assert store.claim_suspect(worker_id="w2", now=after(91)) is None

    resume()
    assert store.peek().suspects is True
