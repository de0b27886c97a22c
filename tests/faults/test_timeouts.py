"""Tasks that run too long, in all the ways in which they may be deaf to being told."""

import pytest
from django.conf import settings

from . import tasks
from .tasks import hold, leave_a_transaction_open, query, work

GRACE = 0.5

ON_A_SERVER = pytest.mark.skipif(
    settings.TESTS_DATABASE == "sqlite", reason="SQLite has no server to wait for"
)
DEAF = [
    pytest.param(tasks.sleep_in_c, id="asleep in C"),
    pytest.param(tasks.sleep_in_the_database, id="in the driver", marks=ON_A_SERVER),
    pytest.param(tasks.sleep_in_a_subprocess, id="in a subprocess"),
    pytest.param(tasks.async_deaf, id="holding up the event loop"),
]


def assert_timed_out(job, *, at_most):
    """at_most: seconds; all these tasks would run for a minute or longer."""
    assert (job.status, job.failures, job.attempts) == ("FAILED", 1, 1)
    (error,) = job.errors
    assert error.exception_class_path == "tasks_database.engine.worker.TaskTimeout"
    assert f"{job.task_path} ran longer than its timeout of 0:00:00.500000" in error.traceback
    assert (job.finished_at - job.last_attempted_at).total_seconds() < at_most


@pytest.mark.parametrize("task", [tasks.loop_for_ever, tasks.async_sleep])
def test_a_task_that_can_be_told_ends_at_its_timeout_and_its_process_goes_on(site, task):
    late = task.enqueue()
    site.ready_worker("--threads", "1", timeout_grace=30)

    assert_timed_out(site.wait_for_status(late, "FAILED"), at_most=20)
    after = query.enqueue(1)
    site.wait_for_status(after, "SUCCESSFUL")

    assert len({pid for _, pid in site.notes()}) == 1
    assert site.signals(late)[f"finished {late.task.name} FAILED"] == 1


@pytest.mark.parametrize("task", DEAF)
def test_a_deaf_task_is_recorded_soon_and_its_process_replaced_when_its_siblings_are_done(
    site, task
):
    sibling = hold.enqueue("sibling")
    late = task.enqueue()
    worker = site.ready_worker("--threads", "2", timeout_grace=GRACE)
    first = site.wait_until_held("sibling")

    job = site.wait_for_status(late, "FAILED")
    waits = work.enqueue(1)  # For the next process: this one takes nothing more.
    site.let_go("sibling")
    site.wait_for_status(waits, "SUCCESSFUL")

    assert_timed_out(job, at_most=40)
    assert (
        "It did not stop when told to: the worker process is replaced." in job.errors[0].traceback
    )
    worker.wait_for("did not stop when told to: this process is replaced")
    done = site.job(sibling)
    assert (done.status, done.return_payload) == ("SUCCESSFUL", str(first))
    assert (done.attempts, done.rescues, done.failures) == (1, 0, 0)
    ((_what, second),) = [note for note in site.notes() if note[0] == 1]
    assert second != first
    site.wait_until_registered(lambda pids: list(pids.values()) == [second], "the new process")


def test_siblings_of_a_deaf_task_that_run_on_are_given_back_at_no_cost(site):
    sibling = hold.enqueue("sibling")
    tasks.sleep_in_c.enqueue()
    site.ready_worker("--threads", "2", "--shutdown-timeout", "0.5", timeout_grace=GRACE)
    first = site.wait_until_held("sibling")

    site.wait_until(lambda: site.starts()["sibling"] == 2, "the sibling to run again")
    second = int((site.folder / "sibling.held").read_text())
    site.let_go("sibling", pid=second)
    job = site.wait_for_status(sibling, "SUCCESSFUL")

    assert (job.return_payload, second == first) == (str(second), False)
    assert (job.attempts, job.rescues, job.failures, job.errors) == (2, 0, 0, ())


def test_a_task_that_leaves_a_transaction_open_leaves_it_to_nobody(site):
    """Its connection is closed, and the next task in the thread has a new one."""
    leave_a_transaction_open.enqueue()
    after = [query.enqueue(number) for number in range(3)]
    worker = site.ready_worker("--threads", "1")
    site.wait_for_counts(SUCCESSFUL=1 + len(after))

    assert [site.job(result).attempts for result in after] == [1, 1, 1]
    worker.wait_for("A task left a transaction open on the database 'default': .* rolled back")
