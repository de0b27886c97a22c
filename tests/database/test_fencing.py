"""What a superseded worker writes changes nothing; what one writes that holds its claim does."""

import pytest

from tasks_database.engine import JobStatus
from tasks_database.models import JobRow
from tests.database.jobs import NOON, after, fail, new_job, retry, run, succeed


@pytest.fixture
def claimed(store):
    store.add([new_job(max_attempts=5)])
    [job] = store.claim(worker_id="w1", limit=1, now=NOON)
    return job


@pytest.fixture
def superseded(store, claimed):
    """The claim of a worker that was taken for dead; another has the job now."""
    store.release([claimed])
    [again] = store.claim(worker_id="w2", limit=1, now=after(1))
    assert again.claim_number == claimed.claim_number + 1
    return claimed


def row(job):
    return JobRow.objects.values().get(pk=job.id)


def test_a_claim_is_stored(store, claimed):
    assert claimed.status is JobStatus.CLAIMED
    assert (claimed.owner, claimed.claim_number, claimed.attempts) == ("w1", 1, 0)
    assert store.get(claimed.id) == claimed


def test_a_start_is_stored(store, claimed):
    started = run(claimed, now=after(1), name="worker-1")

    assert store.start(started) is True
    assert store.get(claimed.id) == started
    assert started.worker_ids == ("worker-1",)
    assert started.started_at == started.last_attempted_at == after(1)


def test_a_success_is_stored_with_its_value_and_its_start(store, claimed):
    done = succeed(claimed, value='{"a":[1,"é"]}', now=after(2))

    assert store.acknowledge([done]) == ([claimed.id], ())
    assert store.get(claimed.id) == done
    assert done.owner is None


def test_a_failure_is_stored_with_its_error(store, claimed):
    failed = fail(claimed, now=after(2))

    assert store.acknowledge([failed]).accepted == [claimed.id]
    stored = store.get(claimed.id)
    assert stored == failed
    [error] = stored.errors
    assert error.exception_class is ValueError


def test_a_retry_is_stored_with_its_due_time(store, claimed):
    waiting = retry(claimed, delay=after(60) - NOON, now=after(2))

    store.acknowledge([waiting])

    assert store.get(claimed.id) == waiting
    assert waiting.due == after(62)


def test_a_release_costs_nothing(store, claimed):
    store.release([claimed])

    stored = store.get(claimed.id)
    assert (stored.status, stored.owner, stored.attempts) == (JobStatus.READY, None, 0)
    assert stored.ready_since == NOON


@pytest.mark.parametrize("late", [run, succeed, fail, retry, lambda job: job])
def test_a_late_write_changes_nothing(store, superseded, late):
    before = row(superseded)
    job = late(superseded)

    if job.status is JobStatus.RUNNING:
        assert store.start(job) is False
    elif job.status is JobStatus.CLAIMED:
        store.release([job])
    else:
        assert store.acknowledge([job]) == ([], ())

    assert row(superseded) == before


def test_an_outcome_is_stored_once(store, claimed):
    done = succeed(claimed)
    store.acknowledge([done])
    before = row(claimed)

    assert store.acknowledge([done]).accepted == []
    assert store.acknowledge([fail(claimed, now=after(9))]).accepted == []
    assert row(claimed) == before


def test_a_deleted_row_is_nobodys(store, claimed):
    JobRow.objects.all().delete()

    assert store.start(run(claimed)) is False
    assert store.acknowledge([succeed(claimed)]).accepted == []
    store.release([claimed])


@pytest.mark.parametrize("end", [succeed, fail, retry, run])
def test_of_a_group_only_the_superseded_are_refused(store, end):
    store.add([new_job(max_attempts=5) for _ in range(20)])
    jobs = store.claim(worker_id="w1", limit=20, now=NOON)
    lost, kept = jobs[::3], [job for job in jobs if job not in jobs[::3]]
    store.release(lost)
    store.claim(worker_id="w2", limit=20, now=NOON)
    before = {job.id: row(job) for job in lost}

    ended = [end(job, now=after(1)) for job in jobs]
    stored = store.start_many(ended) if end is run else store.acknowledge(ended).accepted

    assert sorted(stored) == sorted(job.id for job in kept)
    assert {job.id: row(job) for job in lost} == before
    for job in ended:
        if job.id not in before:
            assert store.get(job.id) == job


def test_a_group_of_all_kinds_of_outcomes(store):
    store.add([new_job(max_attempts=5) for _ in range(30)])
    jobs = store.claim(worker_id="w1", limit=30, now=NOON)
    ends = [succeed, fail, retry]
    outcomes = [ends[place % 3](job, now=after(1)) for place, job in enumerate(jobs)]

    accepted = store.acknowledge(outcomes).accepted

    assert sorted(accepted) == sorted(job.id for job in jobs)
    assert [store.get(job.id) for job in outcomes] == outcomes


def test_more_outcomes_than_one_statement_carries(store):
    store.add([new_job() for _ in range(1100)])
    jobs = [job for _ in range(3) for job in store.claim(worker_id="w1", limit=500, now=NOON)]
    outcomes = [succeed(job, value=f'"{job.id}"') for job in jobs]

    assert len(store.acknowledge(outcomes).accepted) == 1100
    assert JobRow.objects.filter(status="SUCCESSFUL", owner=None).count() == 1100
    assert store.get(outcomes[-1].id) == outcomes[-1]


HARD_TEXT = "quote \" apostrophe ' backslash \\ percent %s %% newline \n tab \t é 漢 🎉 \x7f </x>"


@pytest.mark.parametrize(
    "value",
    ['"' + "x" * 1_000_000 + '"', '"' + "é漢🎉" * 100_000 + '"', '"' + '\\"\\\\' * 100_000 + '"'],
    ids=["long", "multi-byte", "escaped"],
)
def test_a_large_value_is_kept_whole(store, claimed, value):
    done = succeed(claimed, value=value)

    assert store.acknowledge([done]).accepted == [claimed.id]
    assert store.get(claimed.id).return_payload == value


def test_several_large_values_are_stored_together(store):
    """Together more than max_allowed_packet of MariaDB: in groups, and one transaction."""
    store.add([new_job() for _ in range(12)])
    jobs = store.claim(worker_id="w1", limit=12, now=NOON)
    value = '"' + "🎉\\\\" * 300_000 + '"'

    accepted = store.acknowledge([succeed(job, value=value) for job in jobs]).accepted

    assert len(accepted) == 12
    assert store.get(jobs[-1].id).return_payload == value


def test_text_comes_back_as_it_was(store):
    import json

    payload = json.dumps([[HARD_TEXT], {HARD_TEXT: HARD_TEXT}], ensure_ascii=False)
    store.add([new_job(payload=payload), new_job(payload=payload)])
    jobs = store.claim(worker_id="w1", limit=2, now=NOON)
    assert [job.payload for job in jobs] == [payload] * 2
    value = json.dumps(HARD_TEXT, ensure_ascii=False)

    store.acknowledge([succeed(jobs[0], value=value), fail(jobs[1])])

    assert store.get(jobs[0].id).return_payload == value


# -- claims that the worker does not know of -------------------------------------------------------


def test_what_was_claimed_without_an_answer_is_given_back(store):
    """The connection was lost between the commit and its answer."""
    store.add([new_job() for _ in range(4)])
    known, lost = (store.claim(worker_id="w1", limit=2, now=NOON) for _ in range(2))
    store.start(run(known[0]))

    assert store.release_strays("w1", known={job.id for job in known}) == 2

    assert {store.get(job.id).status for job in lost} == {JobStatus.READY}
    assert store.get(known[0].id).status is JobStatus.RUNNING
    assert store.get(known[1].id).status is JobStatus.CLAIMED
    assert store.release_strays("w1", known={job.id for job in known}) == 0
