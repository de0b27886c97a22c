"""A task that takes its worker down: again and again, but not for ever, and nobody else pays."""

import re

from .site import ALIAS
from .tasks import die, work

NEIGHBOURS = 20


def assert_ended_for_killing_its_workers(job, *, name):
    assert (job.status, job.failures, job.rescues) == ("FAILED", 0, job.max_rescues + 1)
    (error,) = job.errors
    assert error.exception_class_path == "tasks_database.engine.errors.WorkerDied"
    assert re.search(
        rf"Worker {name} \(process \d+ on \S+\), last heard at \d+-\d+-\d+ \d+:\d+:\d+ UTC, "
        r"was killed by SIGKILL while it ran this task, and not for the first time\.",
        error.traceback,
    )


def test_alone_it_fails_after_max_rescues_with_an_error_that_names_the_worker(site):
    result = die.using(max_rescues=1).enqueue()
    worker = site.ready_worker("--worker-id", "w")

    job = site.wait_for_status(result, "FAILED")

    assert_ended_for_killing_its_workers(job, name="w")
    worker.wait_for("tests.faults.tasks.die failed for good: w took it along")
    # Started late, as all are, the first time may not be known to have been a start.
    assert 2 <= site.starts()[0] <= 3
    after = work.enqueue(1)
    site.wait_for_status(after, "SUCCESSFUL")


def test_amid_innocent_neighbours_it_alone_pays(site):
    before = [work.enqueue(1 + number, 0.02) for number in range(NEIGHBOURS // 2)]
    result = die.using(max_rescues=1).enqueue()
    after = [work.enqueue(100 + number, 0.02) for number in range(NEIGHBOURS // 2)]
    site.ready_worker("--worker-id", "w", "--processes", "2")

    site.wait_for_counts(SUCCESSFUL=NEIGHBOURS, FAILED=1)

    assert_ended_for_killing_its_workers(site.job(result), name="w-[12]")
    for neighbour in map(site.job, [*before, *after]):
        assert (neighbour.rescues, neighbour.failures, neighbour.errors) == (0, 0, ())
        assert not neighbour.suspect


def test_what_no_hook_could_follow_is_told_in_the_transaction_that_gives_it_up(site):
    """The hook of a task that killed its workers is enqueued by who buries the last of them."""
    result = die.using(max_rescues=0, on_failure=work).enqueue()
    site.ready_worker()

    site.wait_for_status(result, "FAILED")
    site.wait_for_counts(FAILED=1, SUCCESSFUL=1)

    assert site.starts()[result.id] == 1
    assert site.rows().using(ALIAS).get(status="SUCCESSFUL").task_path == work.module_path
