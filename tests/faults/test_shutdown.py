"""Told to end, a worker gives back what it cannot finish, and nothing is the worse for it."""

import signal
import time

from .tasks import hold, work


def assert_untouched(job):
    """As if no worker had ever had it."""
    assert (job.status, job.owner, job.attempts) == ("READY", None, 0)
    assert (job.rescues, job.failures, job.errors, job.suspect) == (0, 0, (), False)


def with_a_full_buffer(site):
    """A worker that was fast, has prefetched accordingly, and is held up now; what waits there."""
    fast = work.enqueue_many([(number,) for number in range(600)])
    held = hold.enqueue("x")
    rest = work.enqueue_many([(1000 + number,) for number in range(300)])
    worker = site.ready_worker("--threads", "1")
    site.wait_until_held("x")
    # The last claim may come while the task is held already.
    prefetched = site.wait_until(
        lambda: site.rows().filter(status="CLAIMED", task_path=work.module_path).count() >= 8,
        "prefetched tasks",
    )
    assert prefetched
    return worker, fast, held, rest


def test_sigterm_gives_back_a_full_prefetch_buffer_at_no_cost_and_exits_0(site):
    worker, fast, _held, rest = with_a_full_buffer(site)

    worker.signal(signal.SIGTERM)
    site.wait_for_counts(SUCCESSFUL=len(fast), RUNNING=1, READY=len(rest))
    site.let_go("x")

    assert worker.wait() == 0
    assert site.counts() == {"SUCCESSFUL": len(fast) + 1, "READY": len(rest)}
    given_back = [site.job(result) for result in rest]
    assert any(job.claim_number for job in given_back)
    for job in given_back:
        assert_untouched(job)
    assert site.registered() == {}
    # In the old order.
    site.worker("--batch", "--threads", "1").wait()
    ran = [what for what, _ in site.notes() if what != "x"]
    assert ran == [*range(600), *range(1000, 1300)]


def test_a_second_signal_ends_at_once_and_loses_nothing(site):
    worker, fast, held, rest = with_a_full_buffer(site)

    worker.signal(signal.SIGTERM)
    worker.wait_for("once more to end at once")
    time.sleep(0.6)  # What comes at once counts as the same request.
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 128 + signal.SIGTERM
    assert site.counts() == {"SUCCESSFUL": len(fast), "READY": 1 + len(rest)}
    site.let_go("x")
    assert site.worker("--batch").wait() == 0
    assert site.counts() == {"SUCCESSFUL": len(fast) + 1 + len(rest)}
    assert site.starts().total() == len(fast) + 2 + len(rest)
    assert site.job(held).rescues <= 1
    assert all(site.job(result).rescues == 0 for result in rest)


def test_a_second_signal_to_a_batch_has_no_other_process_that_could_give_back(site):
    result = hold.enqueue("x")
    worker = site.worker("--batch", "--threads", "1")
    site.wait_until_held("x")
    site.wait_for_status(result, "RUNNING")

    worker.signal(signal.SIGTERM)
    time.sleep(0.6)  # As above.
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 128 + signal.SIGTERM
    job = site.job(result)
    assert (job.status, job.attempts, job.rescues, job.failures) == ("READY", 1, 0, 0)
    assert site.registered() == {}


def test_past_the_shutdown_timeout_running_tasks_are_given_back_at_no_cost(site):
    results = [hold.enqueue(name) for name in "ab"]
    worker = site.ready_worker("--shutdown-timeout", "0.5")
    for name in "ab":
        site.wait_until_held(name)

    assert worker.stop() == 0
    for job in map(site.job, results):
        assert (job.status, job.owner, job.attempts) == ("READY", None, 1)
        assert (job.rescues, job.failures, job.errors, job.suspect) == (0, 0, (), False)
    worker.wait_for("2 tasks still ran after 0.5 seconds: given back")

    for name in "ab":
        site.let_go(name)
    assert site.worker("--batch").wait() == 0
    assert site.counts() == {"SUCCESSFUL": 2}
    assert [site.job(result).attempts for result in results] == [2, 2]
