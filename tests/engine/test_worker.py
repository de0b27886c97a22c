"""The worker's rules by example; what holds of all of them together is in test_worker_laws.py."""

from datetime import UTC, datetime, timedelta

from tasks_database.engine import (
    JobStatus,
    Policy,
    Prefetch,
    TaskTimeout,
    Worker,
    lifecycle,
    task_error,
)
from tasks_database.engine.worker import (
    Acknowledge,
    Claim,
    Heartbeat,
    Promote,
    Raised,
    Release,
    Rescue,
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


def idle_worker(**options):
    """One that has looked for work and found none."""
    worker = Worker("w1", **{"lease": None, **options})
    worker.poll(NOON)
    worker.promoted(next_due=None)
    if options.get("lease"):
        worker.heartbeat_acknowledged(sent_at=NOON)
        worker.poll(NOON)
        worker.promoted(next_due=None)
    worker.claimed([])
    return worker


def busy_worker(*jobs, **options):
    """One that these jobs were claimed for; those that it may start have started."""
    worker = idle_worker(**{"concurrency": len(jobs), **options})
    worker.work_arrived()
    worker.poll(NOON)
    worker.promoted(next_due=None)
    worker.claimed(jobs)
    commands = worker.poll(NOON)
    worker.claimed([])
    return worker, [command.job for command in commands if isinstance(command, Run)]


def end(worker, job, *, now=NOON, outcome=None, policy=None):
    return worker.finished(
        job.id, outcome or Returned("null"), policy=policy or Policy(), now=now
    ).job


def raised(exception):
    return Raised(exception, task_error(exception))


# -- looking for work ----------------------------------------------------------------------------


def test_a_new_worker_makes_due_jobs_ready_then_claims():
    worker = Worker("w1", concurrency=2, prefetch=3, lease=None)

    assert worker.poll(NOON) == [Promote(), Claim(5)]


def test_it_waits_while_its_questions_are_under_way():
    worker = Worker("w1", lease=None)
    worker.poll(NOON)

    assert list(worker.poll(NOON)) == [Wait(None)]


def test_an_idle_worker_waits_until_the_next_job_is_due():
    worker = Worker("w1", lease=None)
    worker.poll(NOON)
    worker.promoted(next_due=NOON + SECOND)
    worker.claimed([])

    assert list(worker.poll(NOON)) == [Wait(NOON + SECOND)]
    assert list(worker.poll(NOON)) == [Wait(NOON + SECOND)]
    assert worker.poll(NOON + SECOND) == [Promote(), Claim(1)]


def test_news_makes_it_look_again():
    worker = idle_worker()
    worker.work_arrived()

    assert worker.poll(NOON) == [Promote(), Claim(1)]


def test_news_during_a_claim_that_finds_nothing_is_not_lost():
    worker = Worker("w1", lease=None)
    worker.poll(NOON)
    worker.work_arrived()
    worker.promoted(next_due=None)
    assert worker.poll(NOON) == [Promote()]
    worker.claimed([])

    assert worker.poll(NOON) == [Claim(1)]


def test_after_a_claim_that_brought_something_it_claims_more():
    worker, [job] = busy_worker(claimed(1), claimed(2), concurrency=1, prefetch=2)
    end(worker, job)

    commands = worker.poll(NOON)

    assert [type(command) for command in commands] == [Acknowledge, Run, Promote, Claim]
    assert commands[-1] == Claim(2)


# -- running -------------------------------------------------------------------------------------


def test_no_more_bodies_run_than_it_may():
    worker, started = busy_worker(claimed(1), claimed(2), claimed(3), concurrency=2, prefetch=1)

    assert [job.id for job in started] == ["job-1", "job-2"]
    assert {job.status for job in started} == {JobStatus.RUNNING}
    assert list(worker.poll(NOON)) == [Wait(None)]

    end(worker, started[0])
    assert "job-3" in [command.job.id for command in worker.poll(NOON) if type(command) is Run]


def test_a_start_that_the_store_refused_frees_its_place():
    worker, [refused] = busy_worker(claimed(1), claimed(2), concurrency=1, prefetch=1)

    worker.fenced(refused.id)

    [run, *_] = worker.poll(NOON)
    assert run.job.id == "job-2"


def test_a_job_claimed_again_waits_for_the_body_that_it_still_runs():
    """Rescued from this worker while it was paused: two bodies would share one id."""
    worker, [first] = busy_worker(claimed(1), concurrency=2, prefetch=2)
    rescued = lifecycle.rescue(first, error=task_error(OSError()), now=NOON)
    again = lifecycle.claim(rescued, worker_id="w1")
    worker.work_arrived()
    worker.poll(NOON)
    worker.claimed([again, claimed(2), claimed(3)])

    assert [command.job.id for command in worker.poll(NOON) if type(command) is Run] == ["job-2"]

    assert end(worker, first).claim_number == 1, "the old body must meet its own, old claim"
    [_, run, *_] = worker.poll(NOON)
    assert (run.job.id, run.job.claim_number) == ("job-1", 2)


def test_outcomes_gather_while_a_flush_is_under_way():
    worker, [one, two, three] = busy_worker(claimed(1), claimed(2), claimed(3))
    ended = [end(worker, one)]
    assert worker.poll(NOON)[0] == Acknowledge(tuple(ended))

    ended = [end(worker, two), end(worker, three)]
    assert Acknowledge not in [type(command) for command in worker.poll(NOON)]

    worker.acknowledged()
    assert worker.poll(NOON)[0] == Acknowledge(tuple(ended))


def test_it_looks_again_after_each_flush_for_a_retry_may_be_ready_at_once():
    worker, [one, two] = busy_worker(claimed(1), claimed(2, max_attempts=2))
    end(worker, one)
    worker.poll(NOON)
    worker.promoted(next_due=None)
    assert end(worker, two, outcome=raised(ValueError("no"))).status is JobStatus.READY
    worker.claimed([])  # The store has not heard of the retry yet.
    worker.poll(NOON)
    worker.acknowledged()
    worker.claimed([])

    assert [type(command) for command in worker.poll(NOON)] == [Acknowledge, Promote, Claim]


# -- timeouts ------------------------------------------------------------------------------------


def test_a_body_may_take_exactly_its_timeout():
    worker, [job] = busy_worker(claimed(1, timeout=5 * SECOND))

    assert end(worker, job, now=NOON + 5 * SECOND).status is JobStatus.SUCCESSFUL


def test_a_body_that_took_longer_failed_though_it_returned():
    worker, [job] = busy_worker(claimed(1, timeout=5 * SECOND, max_attempts=2))
    told = []
    policy = Policy(backoff=lambda exception, attempt: told.append(exception))

    ended = end(worker, job, now=NOON + 6 * SECOND, policy=policy)

    assert ended.status is JobStatus.FAILED
    assert ended.return_payload is None
    [error] = ended.errors
    assert error.exception_class is TaskTimeout
    assert "shop.send ran 0:00:06, longer than its timeout of 0:00:05." in error.traceback
    assert [type(exception) for exception in told] == [TaskTimeout], "a timeout may be retried"


def test_what_a_late_body_raised_is_not_replaced_by_its_timeout():
    job = lifecycle.start(claimed(1, timeout=SECOND), now=NOON)
    outcome = raised(ValueError("no"))

    settled = settle(job, outcome, policy=Policy(), now=NOON + 9 * SECOND)

    assert settled.outcome is outcome
    assert settled.job.errors == (outcome.error,)


# -- stopping ------------------------------------------------------------------------------------


def test_stop_gives_back_what_waits_and_finishes_what_runs():
    waiting = claimed(2)
    worker, [job] = busy_worker(claimed(1), waiting, concurrency=1, prefetch=1)

    worker.stop()

    assert worker.poll(NOON) == [Release((waiting,))]
    assert list(worker.poll(NOON)) == [Wait(None)]
    assert not worker.is_done
    ended = end(worker, job)
    assert worker.poll(NOON) == [Acknowledge((ended,))]
    assert not worker.is_done
    worker.acknowledged()
    assert worker.is_done


def test_stop_gives_back_what_a_claim_under_way_still_brings():
    worker = Worker("w1", lease=None)
    worker.poll(NOON)
    worker.stop()
    assert not worker.is_done

    late = claimed(1)
    worker.claimed([late])

    assert worker.poll(NOON) == [Release((late,))]
    assert worker.is_done


# -- the lease -----------------------------------------------------------------------------------


def test_nothing_is_claimed_before_the_first_heartbeat_is_acknowledged():
    worker = Worker("w1", lease=LEASE)
    assert worker.poll(NOON) == [Heartbeat(), Rescue()]
    assert list(worker.poll(NOON)) == [Wait(NOON + LEASE / 2)]

    worker.heartbeat_acknowledged(sent_at=NOON)

    assert worker.poll(NOON) == [Promote(), Claim(1)]


def test_it_beats_six_times_a_lease_and_rescues_twice():
    worker = idle_worker(lease=LEASE)
    beats, rescues, now = [], [], NOON
    while now <= NOON + LEASE:
        for command in worker.poll(now):
            match command:
                case Heartbeat():
                    beats.append(now - NOON)
                    worker.heartbeat_acknowledged(sent_at=now)
                case Rescue():
                    rescues.append(now - NOON)
                case Wait(until):
                    now = until

    assert beats == [number * LEASE / 6 for number in range(1, 7)]
    assert rescues == [LEASE / 2, LEASE]


def test_after_half_a_lease_without_a_beat_nothing_starts_and_the_prefetch_goes_back():
    """Another may have rescued it; if nobody has, this worker alone knows of it."""
    waiting = claimed(2)
    worker, [job] = busy_worker(claimed(1), waiting, concurrency=1, prefetch=1, lease=LEASE)
    ended = end(worker, job)

    assert worker.poll(NOON + LEASE / 2) == [
        Acknowledge((ended,)),
        Heartbeat(),
        Rescue(),
        Release((waiting,)),
    ]


def test_just_before_half_a_lease_it_still_starts():
    worker, [job] = busy_worker(claimed(1), claimed(2), concurrency=1, prefetch=1, lease=LEASE)
    end(worker, job)

    kinds = [type(command) for command in worker.poll(NOON + LEASE / 2 - timedelta.resolution)]

    assert Run in kinds
    assert Release not in kinds


def test_a_heartbeat_that_is_not_answered_makes_no_driver_spin():
    worker = idle_worker(lease=LEASE)
    worker.poll(NOON + LEASE / 6)

    [wait] = worker.poll(NOON + LEASE / 3)

    assert wait == Wait(NOON + LEASE / 2), "the next rescue, not the beat that is under way"


# -- what waits behind long bodies ---------------------------------------------------------------


def waiting_behind_a_long_body(prefetch):
    worker = idle_worker(concurrency=1, prefetch=prefetch)
    worker.work_arrived()
    worker.poll(NOON)
    worker.promoted(next_due=None)
    worker.claimed([claimed(1), claimed(2)])
    worker.poll(NOON)
    worker.promoted(next_due=None)
    worker.claimed([])
    return worker


def test_what_waits_behind_a_long_body_goes_back_to_be_run_by_others():
    worker = waiting_behind_a_long_body(Prefetch.adaptive(start=1))

    assert list(worker.poll(NOON)) == [Wait(NOON + SECOND)]
    assert worker.poll(NOON + SECOND) == [Release((claimed(2),))]
    worker.work_arrived()
    assert worker.poll(NOON + SECOND) == [Promote()], "nothing is claimed ahead of a long body"


def test_it_claims_ahead_again_after_a_short_body():
    worker = waiting_behind_a_long_body(Prefetch.adaptive(start=1))
    [long] = worker.running
    worker.poll(NOON + SECOND)
    end(worker, long, now=NOON + SECOND)
    worker.poll(NOON + SECOND)
    worker.promoted(next_due=None)
    worker.claimed([claimed(3)])
    worker.poll(NOON + SECOND)
    [short] = worker.running
    end(worker, short, now=NOON + SECOND)

    worker.acknowledged()
    worker.promoted(next_due=None)
    worker.claimed([])

    assert worker.poll(NOON + SECOND)[-1] == Claim(2)


def test_a_fixed_prefetch_keeps_what_it_holds():
    worker = waiting_behind_a_long_body(1)

    assert list(worker.poll(NOON + SECOND)) == [Wait(None)]
