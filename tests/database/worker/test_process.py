"""What a worker process does with tasks, in a thread of this process, on each database."""

import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connections
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone

from tasks_database.engine import WorkerDied, lifecycle
from tasks_database.models import JobRow, PausedQueue, WorkerRow
from tasks_database.store import WorkerInfo, store_for
from tasks_database.worker.config import WorkerConfig
from tasks_database.worker.exit_codes import DONE, REPLACE
from tasks_database.worker.process import WorkerProcess

from . import tasks

# Longer than anything here takes: who waits so long has failed.
PATIENCE = 60


@pytest.fixture(autouse=True)
def clean():
    tasks.SEEN.clear()
    tasks.GATE.clear()
    yield
    tasks.GATE.set()


@pytest.fixture
def options(shared, in_force):
    """Put a backend on the shared database in force, with these OPTIONS; it is there without."""

    def put(**more):
        return in_force({"database": shared, **more})

    put()
    return put


def worker(**config):
    return WorkerProcess(
        WorkerConfig(**{"worker_id": "w1", **config}), boot_id="0f" * 16, name="w1"
    )


def run_batch(**config):
    """Run a worker until nothing is left to do, in a thread as always in tests."""
    codes = []
    thread = threading.Thread(
        target=lambda: codes.append(worker(batch=True, **config).run()), daemon=True
    )
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the worker did not end"
    return codes[0]


@contextmanager
def running(*, opens_gate=True, **config):
    """A worker that goes on until the end of the block; its exit code is in the list."""
    process, codes = worker(**config), []
    thread = threading.Thread(target=lambda: codes.append(process.run()), daemon=True)
    thread.start()
    try:
        yield codes
    finally:
        if opens_gate:
            tasks.GATE.set()
        process.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the worker did not stop"


def until(condition, what):
    """Wait for something that another thread does."""
    waiting = threading.Event()
    ends = timezone.now() + timedelta(seconds=PATIENCE)
    while not condition():
        assert timezone.now() < ends, f"{what} did not happen"
        waiting.wait(0.005)


def refreshed(result):
    result.refresh()
    return result


# -- what a body is given, and what it gives ------------------------------------------------------


def test_tasks_run_and_their_results_are_stored(options):
    results = [tasks.note.enqueue(number) for number in range(20)]

    assert run_batch() == DONE

    assert [refreshed(result).return_value for result in results] == list(range(20))
    first = results[0]
    assert first.status == "SUCCESSFUL"
    assert first.worker_ids == ["w1"]
    assert first.enqueued_at <= first.started_at <= first.finished_at
    assert first.last_attempted_at == first.started_at


def test_a_body_sees_itself_running(options):
    result = tasks.look_at_itself.enqueue()

    run_batch()

    assert refreshed(result).return_value == [1, "RUNNING", "RUNNING", 1, ["w1"]]


def test_sync_bodies_run_in_threads_of_the_worker(options):
    for _ in range(8):
        tasks.thread_of_body.enqueue()

    run_batch(threads=3)

    names = {thread.name for thread in tasks.SEEN}
    assert names <= {"tasks-1", "tasks-2", "tasks-3"}


def test_async_bodies_share_one_loop(options):
    for _ in range(8):
        tasks.loop_of_body.enqueue()

    run_batch()

    assert len(set(tasks.SEEN)) == 1


def test_async_bodies_run_at_the_same_time(options):
    results = [tasks.meet.enqueue(number, expected=4) for number in range(4)]

    run_batch(threads=4)

    assert {refreshed(result).status for result in results} == {"SUCCESSFUL"}


def test_what_a_body_activates_ends_with_it(options, settings):
    settings.LANGUAGE_CODE = "de"
    tasks.activate.enqueue()
    result = tasks.what_is_active.enqueue()

    run_batch(threads=1)

    assert refreshed(result).return_value == ["de", "Europe/Zurich"]


def test_a_transaction_that_a_body_leaves_open_is_not_the_next_one_s(options, caplog):
    tasks.leave_transaction_open.enqueue()
    result = tasks.is_in_a_transaction.enqueue()

    run_batch(threads=1)

    assert refreshed(result).return_value is False
    assert "A task left a transaction open" in caplog.text


# -- failures -------------------------------------------------------------------------------------


def test_an_attempt_that_failed_leaves_one_error_each(options):
    result = tasks.fail.enqueue()

    run_batch()

    assert refreshed(result).status == "FAILED"
    assert result.attempts == 3
    assert [error.exception_class for error in result.errors] == [ValueError] * 3
    assert "tasks.py" in result.errors[0].traceback
    assert "worker/bodies.py" not in result.errors[0].traceback


def test_a_retry_that_succeeds_keeps_the_errors_before_it(options):
    result = tasks.fail_twice.enqueue()

    run_batch()

    assert refreshed(result).return_value == 3
    assert [
        error.traceback.splitlines()[-1].removeprefix("ValueError: ") for error in result.errors
    ] == ["attempt 1", "attempt 2"]


def test_a_retry_with_backoff_waits_ready_as_django_documents(options):
    result = tasks.fail_and_wait.enqueue()

    run_batch()

    assert refreshed(result).status == "READY"
    row = JobRow.objects.using(tasks.fail_and_wait.get_backend().database).get()
    assert row.status == "DEFERRED"
    assert row.due - result.last_attempted_at > timedelta(minutes=59)


@pytest.mark.parametrize(
    ("task", "exception"),
    [
        (tasks.fail_async, "builtins.LookupError"),
        (tasks.leave, "builtins.SystemExit"),
        (tasks.return_a_set, "tasks_database.engine.payload.PayloadError"),
    ],
)
def test_whatever_a_body_raises_fails_it_alone(options, task, exception):
    result, other = task.enqueue(), tasks.note.enqueue(1)

    assert run_batch() == DONE

    assert refreshed(result).status == "FAILED"
    assert result.errors[0].exception_class_path == exception
    assert refreshed(other).status == "SUCCESSFUL"


def test_an_unserialisable_result_is_named(options):
    result = tasks.return_a_set.enqueue()

    run_batch()

    assert "the return value of tests.database.worker.tasks.return_a_set is {1} of type set" in (
        refreshed(result).errors[0].traceback
    )


# -- timeouts -------------------------------------------------------------------------------------


def test_a_body_past_its_timeout_is_interrupted(options):
    result, other = tasks.spin.enqueue(), tasks.note.enqueue(1)

    assert run_batch(threads=1) == DONE

    assert refreshed(result).status == "FAILED"
    assert result.errors[0].traceback.endswith(
        "TaskTimeout: tests.database.worker.tasks.spin ran longer than its timeout of "
        "0:00:00.100000.\n"
    )
    assert refreshed(other).status == "SUCCESSFUL"


def test_a_body_that_swallows_its_timeout_has_failed_all_the_same(options):
    result = tasks.spin_deaf.enqueue()

    run_batch()

    assert refreshed(result).status == "FAILED"
    assert "longer than its timeout" in result.errors[0].traceback


def test_an_async_body_past_its_timeout_is_cancelled(options):
    result = tasks.sleep_async.enqueue()

    run_batch()

    assert refreshed(result).errors[0].traceback.rstrip().endswith("0:00:00.100000: cancelled.")


def test_a_timeout_is_over_when_its_body_has_ended(options):
    results = [tasks.quick.enqueue() for _ in range(50)]

    run_batch(threads=1)

    assert {refreshed(result).return_value for result in results} == {"in time"}


# -- hooks and chains -----------------------------------------------------------------------------


def test_hooks_and_chains_run_after_what_they_follow(options):
    chain = tasks.note.then(tasks.add, 2).then(tasks.note)
    chain.enqueue(1)
    tasks.note.using(on_success=tasks.heard_of).enqueue("with a hook")
    tasks.fail.using(on_failure=tasks.heard_of).enqueue()

    run_batch()

    assert sorted(map(str, tasks.SEEN)) == ["1", "3", "FAILED", "SUCCESSFUL", "with a hook"]


# -- signals --------------------------------------------------------------------------------------


@pytest.fixture
def heard():
    """What Django's task signals said, in order."""
    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    news, receivers = [], []
    for name, signal in signals.items():

        def receive(sender, task_result, name=name, **kwargs):
            news.append((name, sender.__name__, task_result.status, sys.exc_info()[0]))

        signal.connect(receive)
        receivers.append((signal, receive))
    yield news
    for signal, receive in receivers:
        signal.disconnect(receive)


@pytest.mark.parametrize("task", [tasks.note, tasks.loop_of_body])
def test_signals_tell_a_task_s_life_once(options, heard, task):
    task.enqueue()

    run_batch()

    assert heard == [
        ("enqueued", "DatabaseBackend", "READY", None),
        ("started", "DatabaseBackend", "RUNNING", None),
        ("finished", "DatabaseBackend", "SUCCESSFUL", None),
    ]


def test_listeners_of_a_failure_see_the_exception(options, heard):
    tasks.fail.enqueue()

    run_batch()

    # Retries are no end.
    assert [name for name, *_ in heard] == ["enqueued", "started", "started", "started", "finished"]
    assert heard[-1] == ("finished", "DatabaseBackend", "FAILED", ValueError)


def test_task_finished_comes_after_the_commit(options):
    seen = []

    def receive(sender, task_result, **kwargs):
        database = tasks.note.get_backend().database
        seen.append(JobRow.objects.using(database).get(pk=task_result.id).status)
        connections[database].close()

    task_finished.connect(receive)
    try:
        tasks.note.enqueue()
        run_batch()
    finally:
        task_finished.disconnect(receive)

    assert seen == ["SUCCESSFUL"]


def test_a_listener_that_fails_harms_nobody(options, caplog):
    def receive(sender, task_result, **kwargs):
        raise RuntimeError("a listener")

    task_finished.connect(receive)
    try:
        results = [tasks.note.enqueue(), tasks.note.enqueue()]
        assert run_batch() == DONE
    finally:
        task_finished.disconnect(receive)

    assert {refreshed(result).status for result in results} == {"SUCCESSFUL"}
    assert "A receiver of a task signal failed" in caplog.text


# -- what is taken, and when ----------------------------------------------------------------------


def test_one_thread_takes_tasks_in_order(options):
    for number, priority in enumerate([0, 10, -10, 10]):
        tasks.note.using(priority=priority).enqueue(number)

    run_batch(threads=1)

    assert tasks.SEEN == [1, 3, 0, 2]


def test_a_worker_takes_from_its_queues_only(options):
    for name in ("mail", "reports", "default"):
        tasks.note.using(queue_name=name).enqueue(name)

    run_batch(queues=("mail", "reports"))
    assert sorted(tasks.SEEN) == ["mail", "reports"]

    run_batch(exclude=("default",))
    assert len(tasks.SEEN) == 2


def test_a_paused_queue_is_left_alone(options, shared):
    PausedQueue.objects.using(shared).create(
        backend="default", queue_name="mail", paused_at=timezone.now()
    )
    tasks.note.using(queue_name="mail").enqueue("mail")
    tasks.note.enqueue("other")

    run_batch()

    assert tasks.SEEN == ["other"]


def test_a_batch_ends_though_tasks_are_deferred(options):
    tasks.note.using(run_after=timezone.now() + timedelta(hours=1)).enqueue("later")
    tasks.note.using(run_after=timezone.now() - timedelta(hours=1)).enqueue("due")

    assert run_batch() == DONE

    assert tasks.SEEN == ["due"]


def test_a_worker_ends_after_max_tasks_and_gives_the_rest_back(options, shared):
    for number in range(10):
        tasks.note.enqueue(number)

    with running(max_tasks=3, threads=2) as codes:
        until(lambda: codes, "the end of the worker")

    assert codes == [REPLACE]
    assert sorted(tasks.SEEN) == [0, 1, 2]
    statuses = JobRow.objects.using(shared).values_list("status", flat=True)
    assert sorted(statuses) == ["READY"] * 7 + ["SUCCESSFUL"] * 3


def test_a_running_worker_takes_what_is_enqueued(options):
    with running() as codes:
        until(lambda: WorkerRow.objects.using(_database()).exists(), "the start of the worker")
        result = tasks.note.enqueue("now")
        until(lambda: refreshed(result).is_finished, "the task")
        soon = timezone.now() + timedelta(milliseconds=300)
        deferred = tasks.note.using(run_after=soon).enqueue("deferred")
        until(lambda: refreshed(deferred).is_finished, "the deferred task")

    assert codes == [DONE]
    assert deferred.started_at >= soon


def test_a_long_body_is_shown_running_to_others(options):
    result = tasks.hold.enqueue()

    with running():
        until(lambda: tasks.SEEN, "the start of the body")
        row = JobRow.objects.using(_database())
        until(lambda: row.get(pk=result.id).status == "RUNNING", "the start in the database")
        tasks.GATE.set()
        until(lambda: refreshed(result).is_finished, "the task")

    assert result.status == "SUCCESSFUL"


def test_stopping_waits_for_what_runs_and_gives_back_the_rest(options, shared):
    held = tasks.hold.enqueue()
    for number in range(5):
        tasks.note.enqueue(number)
    process, codes = worker(threads=1), []
    thread = threading.Thread(target=lambda: codes.append(process.run()), daemon=True)
    thread.start()
    until(lambda: tasks.SEEN, "the start of the body")

    process.stop()
    held_row = JobRow.objects.using(shared).filter(status="READY")
    until(lambda: held_row.count() == 5, "the return of what was prefetched")
    tasks.GATE.set()
    thread.join(PATIENCE)

    assert codes == [DONE]
    assert tasks.SEEN == ["held"]
    assert refreshed(held).status == "SUCCESSFUL"
    assert not WorkerRow.objects.using(shared).exists()


def test_what_outlasts_the_shutdown_timeout_goes_back_at_no_cost(options, shared):
    result = tasks.hold.enqueue()

    with running(opens_gate=False, shutdown_timeout=0.1) as codes:
        until(lambda: tasks.SEEN, "the start of the body")

    row = JobRow.objects.using(shared).get(pk=result.id)
    assert (row.status, row.failures, row.rescues, row.suspect) == ("READY", 0, 0, False)
    assert codes == [DONE]


def test_each_outcome_is_stored_before_its_thread_goes_on(options, shared):
    options(acknowledge="each")
    for number in range(30):
        tasks.note.enqueue(number)
    unstored = []

    def receive(sender, **kwargs):
        done = JobRow.objects.using(shared).filter(status="SUCCESSFUL").count()
        unstored.append(len(tasks.SEEN) - done)
        connections[shared].close()

    task_started.connect(receive)
    try:
        run_batch(threads=1)
    finally:
        task_started.disconnect(receive)

    assert len(tasks.SEEN) == 30
    assert max(unstored) == 0


def test_a_schedule_ticks_in_a_running_worker(options):
    options(
        schedules={"often": {"task": "tests.database.worker.tasks.note", "every": 1, "args": ["t"]}}
    )

    with running():
        until(lambda: tasks.SEEN, "a tick")

    assert set(tasks.SEEN) == {"t"}


def _database():
    return tasks.note.get_backend().database


def test_listeners_hear_of_a_task_whose_workers_died_once_too_often(options, shared, heard):
    result = tasks.note.using(max_rescues=0).enqueue()
    # As a process leaves it that was killed while it ran this task.
    store = store_for(shared)
    store.register(WorkerInfo("dead", "w0", "host", 7, 1), now=timezone.now())
    [job] = store.claim(worker_id="dead", limit=1, now=timezone.now())
    store.start(lifecycle.start(job, now=timezone.now()))
    WorkerRow.objects.using(shared).all().delete()
    heard.clear()

    with running():
        until(lambda: refreshed(result).is_finished, "the rescue")

    assert heard == [("finished", "DatabaseBackend", "FAILED", WorkerDied)]
    assert "died while it ran this task" in result.errors[0].traceback


def test_a_worker_that_waits_for_its_database_can_be_stopped(options, shared, monkeypatch, caplog):
    def unreachable(*args, **kwargs):
        raise OperationalError("nobody answers")

    monkeypatch.setattr("tasks_database.worker.clock.WorkerClock.sample", unreachable)

    with running() as codes:
        until(lambda: "The database is not ready" in caplog.text, "a first try")

    assert codes == [DONE]
