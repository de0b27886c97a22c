"""Suspects, threads that take their next job by themselves, and deliveries that were lost."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks_database.engine import JobStatus, Policy, Worker, lifecycle, task_error
from tasks_database.engine.worker import (
    LOST_BACKOFF,
    Acknowledge,
    Claim,
    ClaimSuspect,
    Lost,
    Promote,
    Raised,
    Release,
    Returned,
    Run,
    Wait,
    settle,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)


def claimed(number, **options):
    job = lifecycle.enqueue(
        id=f"job-{number}", task_path="shop.send", payload="[]", now=NOON, **options
    )
    return lifecycle.claim(job, worker_id="w1")


def suspect(number, **options):
    return lifecycle.evolve(claimed(number, **options), suspect=True)


def worker_with(*jobs, **options):
    """A worker that has claimed these jobs, and polled: those that may have started."""
    worker = Worker("w1", **{"lease": None, **options})
    worker.poll(NOON)
    worker.promoted(next_due=None)
    worker.claimed(jobs)
    runs = [command.job for command in worker.poll(NOON) if isinstance(command, Run)]
    worker.promoted(next_due=None)
    worker.claimed([])
    return worker, runs


def end(worker, job, *, outcome=None, now=NOON, policy=None):
    return worker.finished(
        job.id, outcome or Returned("null"), policy=policy or Policy(), now=now
    ).job


def kinds(commands):
    return [type(command) for command in commands]


# -- suspects --------------------------------------------------------------------------------------


def test_when_suspects_wait_what_is_prefetched_goes_back_and_one_is_claimed():
    worker, [running] = worker_with(claimed(1), claimed(2), concurrency=1, prefetch=1)
    end(worker, running)
    worker.suspects_wait()

    assert [type(command) for command in worker.poll(NOON)] == [Acknowledge, Release, ClaimSuspect]
    assert kinds(worker.poll(NOON)) == [Wait]


def test_a_suspect_runs_and_nothing_new_runs_beside_it():
    worker, _ = worker_with(concurrency=4, prefetch=4)
    worker.suspects_wait()
    worker.poll(NOON)
    worker.suspect_claimed(suspect(1))

    [run] = worker.poll(NOON)
    assert (run.job.id, run.job.status) == ("job-1", JobStatus.RUNNING)

    worker.work_arrived()
    assert kinds(worker.poll(NOON)) == [Wait]
    assert worker.take(NOON) is None


def test_the_next_suspect_is_claimed_when_the_first_has_ended():
    worker, _ = worker_with(concurrency=4)
    worker.suspects_wait()
    worker.poll(NOON)
    worker.suspect_claimed(suspect(1))
    [run] = worker.poll(NOON)

    end(worker, run.job)

    assert kinds(worker.poll(NOON)) == [Acknowledge, ClaimSuspect]


def test_when_there_is_none_left_work_goes_on_as_usual():
    worker, _ = worker_with()
    worker.suspects_wait()
    worker.poll(NOON)

    worker.suspect_claimed(None)

    assert worker.poll(NOON) == [Promote(), Claim(1)]


def test_it_is_told_again_while_they_run_and_nothing_changes():
    worker, _ = worker_with()
    worker.suspects_wait()
    worker.poll(NOON)
    worker.suspects_wait()

    assert kinds(worker.poll(NOON)) == [Wait]


def test_bodies_that_run_already_are_not_waited_for_where_there_is_room():
    worker, runs = worker_with(claimed(1), concurrency=2)
    assert len(runs) == 1
    worker.suspects_wait()

    assert worker.poll(NOON) == [ClaimSuspect()]


def test_without_room_a_suspect_is_left_to_others():
    worker, [running] = worker_with(claimed(1), concurrency=1)
    worker.suspects_wait()

    assert kinds(worker.poll(NOON)) == [Wait]

    end(worker, running)
    assert kinds(worker.poll(NOON)) == [Acknowledge, ClaimSuspect]


def test_what_a_claim_under_way_brings_goes_back_before_a_suspect_is_claimed():
    worker = Worker("w1", lease=None, concurrency=2)
    worker.poll(NOON)
    worker.suspects_wait()
    assert kinds(worker.poll(NOON)) == [Wait], "the claim is under way"

    late = claimed(1)
    worker.claimed([late])

    assert worker.poll(NOON) == [Release((late,)), ClaimSuspect()]


def test_a_suspect_that_still_runs_here_waits_for_its_old_body():
    """Rescued from this very worker while it was paused."""
    worker, [old] = worker_with(claimed(1), concurrency=2)
    worker.suspects_wait()
    worker.poll(NOON)
    suspended = lifecycle.suspend(old, now=NOON)
    worker.suspect_claimed(lifecycle.claim(suspended, worker_id="w1"))

    assert kinds(worker.poll(NOON)) == [Wait]

    assert end(worker, old).claim_number == 1
    [_, run] = worker.poll(NOON)
    assert (run.job.id, run.job.claim_number) == ("job-1", 2)


def test_a_stop_gives_an_unstarted_suspect_back():
    worker, _ = worker_with()
    worker.suspects_wait()
    worker.poll(NOON)
    worker.stop()
    assert not worker.is_done, "the claim of a suspect is under way"
    job = suspect(1)
    worker.suspect_claimed(job)

    assert worker.poll(NOON) == [Release((job,))]
    assert worker.is_done


def test_a_start_of_a_suspect_that_the_store_refused_is_over():
    worker, _ = worker_with()
    worker.suspects_wait()
    worker.poll(NOON)
    worker.suspect_claimed(suspect(1))
    [run] = worker.poll(NOON)

    worker.fenced(run.job.id)

    assert worker.poll(NOON) == [ClaimSuspect()]


def test_while_suspects_run_no_due_time_makes_a_driver_spin():
    worker = Worker("w1", lease=None)
    worker.poll(NOON)
    worker.promoted(next_due=NOON + SECOND)
    worker.claimed([])
    worker.suspects_wait()
    worker.poll(NOON)

    assert list(worker.poll(NOON + 2 * SECOND)) == [Wait(None)]


# -- taking ----------------------------------------------------------------------------------------


def test_a_free_thread_takes_the_next_in_order():
    worker, [first] = worker_with(claimed(1), claimed(2), claimed(3), concurrency=1, prefetch=2)
    end(worker, first)

    job = worker.take(NOON + SECOND)

    assert (job.id, job.status) == ("job-2", JobStatus.RUNNING)
    assert job.last_attempted_at == NOON + SECOND
    assert worker.take(NOON + SECOND) is None, "no more run than may"
    assert Run not in kinds(worker.poll(NOON + SECOND))


def test_nothing_is_taken_where_nothing_waits():
    worker, [job] = worker_with(claimed(1))
    end(worker, job)

    assert worker.take(NOON) is None


def test_nothing_is_taken_after_a_stop():
    worker, [job] = worker_with(claimed(1), claimed(2), prefetch=1)
    end(worker, job)
    worker.stop()

    assert worker.take(NOON) is None
    assert Release in kinds(worker.poll(NOON))


def test_nothing_is_taken_while_suspects_wait():
    worker, [job] = worker_with(claimed(1), claimed(2), prefetch=1)
    end(worker, job)
    worker.suspects_wait()

    assert worker.take(NOON) is None


def test_nothing_is_taken_when_the_last_heartbeat_is_too_old():
    worker = Worker("w1", lease=LEASE, prefetch=1)
    worker.poll(NOON)
    worker.heartbeat_acknowledged(sent_at=NOON)
    worker.poll(NOON)
    worker.promoted(next_due=None)
    worker.claimed([claimed(1), claimed(2)])
    [run, *_] = worker.poll(NOON)
    end(worker, run.job)

    assert worker.take(NOON + LEASE / 2) is None
    assert worker.take(NOON + LEASE / 2 - timedelta.resolution).id == "job-2"


def test_results_show_the_name_of_the_worker_not_of_its_claim():
    worker, [job] = worker_with(claimed(1), claimed(2), prefetch=1, name="worker one")
    end(worker, job)

    assert job.worker_ids == ("worker one",)
    assert worker.take(NOON).worker_ids == ("worker one",)


# -- lost deliveries -------------------------------------------------------------------------------

GONE = OSError("the server closed the connection")


def lost(job, *, now=NOON, **options):
    outcome = Lost(GONE, task_error(GONE))
    return settle(lifecycle.start(job, now=NOON), outcome, policy=Policy(**options), now=now).job


def test_a_lost_delivery_is_counted_as_a_rescue_not_as_an_attempt():
    job = lost(claimed(1))

    assert (job.status, job.rescues, job.failures) == (JobStatus.DEFERRED, 1, 0)
    assert job.errors == ()
    assert job.due == NOON + SECOND


def test_each_waits_longer_than_the_one_before_up_to_a_minute():
    delays = [LOST_BACKOFF(GONE, number) for number in range(1, 12)]

    assert delays[:4] == [SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]
    assert max(delays) == delays[-1] == 60 * SECOND


def test_the_backoff_of_the_task_is_not_asked():
    job = lost(claimed(1), max_attempts=3, backoff=lambda exception, attempt: 1 / 0)

    assert job.status is JobStatus.DEFERRED


def test_after_too_many_it_fails_with_what_happened_last():
    job = lost(claimed(1, max_rescues=0))

    assert (job.status, job.finished_at) == (JobStatus.FAILED, NOON)
    [error] = job.errors
    assert error.exception_class is OSError


def test_a_lost_delivery_of_a_suspect_frees_it_of_suspicion():
    """Its worker lives."""
    assert lost(suspect(1)).suspect is False


def test_a_timeout_is_no_reason_to_lose_a_delivery():
    job = claimed(1, timeout=SECOND)

    assert lost(job, now=NOON + 9 * SECOND).rescues == 1
    returned = settle(
        lifecycle.start(job, now=NOON), Returned("1"), policy=Policy(), now=NOON + 9 * SECOND
    )
    assert isinstance(returned.outcome, Raised)


# -- max_tasks and gathering -----------------------------------------------------------------------


def test_after_max_tasks_it_stops_by_itself_and_gives_the_rest_back():
    worker, runs = worker_with(
        *(claimed(number) for number in range(4)), concurrency=3, prefetch=1, max_tasks=2
    )

    assert [job.id for job in runs] == ["job-0", "job-1"]
    assert worker.is_stopping
    for job in runs:
        end(worker, job)
    worker.poll(NOON)
    worker.acknowledged()
    assert worker.is_done


@pytest.mark.parametrize("start", ["poll", "take"])
def test_those_that_threads_take_count_as_well(start):
    worker, [job] = worker_with(claimed(1), claimed(2), claimed(3), prefetch=2, max_tasks=2)
    end(worker, job)

    if start == "take":
        assert worker.take(NOON).id == "job-2"
    else:
        assert Run in kinds(worker.poll(NOON))

    assert worker.is_stopping
    assert worker.take(NOON) is None


def test_outcomes_wait_for_others_while_there_is_more_to_start():
    worker, [first] = worker_with(claimed(1), claimed(2), claimed(3), prefetch=2, gather=SECOND)
    one = end(worker, first)
    second = worker.take(NOON)

    assert kinds(worker.poll(NOON)) == [Wait]
    assert worker.poll(NOON)[0].until == NOON + SECOND
    two = end(worker, second)
    worker.take(NOON)
    assert Acknowledge((one, two)) in worker.poll(NOON), "nothing more is to start"


def test_outcomes_wait_no_longer_than_that():
    worker, [first] = worker_with(claimed(1), claimed(2), claimed(3), prefetch=2, gather=SECOND)
    one = end(worker, first)
    worker.take(NOON)

    assert Acknowledge((one,)) in worker.poll(NOON + SECOND)
