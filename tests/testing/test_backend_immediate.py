"""The Immediate backend: alone in a settings file, under the test queue, inside transactions."""

import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.tasks import TaskResultStatus, default_task_backend
from django.test import override_settings
from django.utils import timezone

from tasks_testing import ConfigurationError, TaskQueue
from tasks_testing.backends import ImmediateBackend
from tests.app import tasks
from tests.app.models import Account, Note

START = datetime(2026, 1, 1, tzinfo=UTC)

immediate_mode = pytest.mark.tasks(mode="immediate", now=START)


def immediate_settings(**options):
    entry = {"BACKEND": "tasks_testing.backends.ImmediateBackend", "OPTIONS": options}
    return override_settings(TASKS={"default": entry})


# Alone in a settings file, in a process without pytest and what else tests bring

PREAMBLE = """
import sys
for name in ("pytest", "_pytest", "freezegun", "time_machine", "hypothesis", "factory"):
    sys.modules[name] = None  # Importing it would fail.

from django.conf import settings
settings.configure(
    USE_TZ=True,
    TASKS={
        "default": {
            "BACKEND": "tasks_testing.backends.ImmediateBackend",
            "OPTIONS": OPTIONS,
        },
    },
)
import django
django.setup()
from django.tasks import default_task_backend, task

@task
def double(number):
    return 2 * number

@task
def fail():
    raise ValueError("boom")
"""


def alone(script, **options):
    """What the script prints, in a process where only Django and the package are installed."""
    code = f"OPTIONS = {options!r}\n{PREAMBLE}\n{textwrap.dedent(script)}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_alone_it_runs_tasks_and_raises_nothing():
    script = """
    print(double.enqueue(21).return_value)
    result = fail.enqueue()
    print(result.status, result.errors[0].exception_class.__name__)
    print(fail.get_result(result.id).status)
    """
    assert alone(script) == ["42", "FAILED ValueError", "FAILED"]


def test_alone_it_raises_when_its_options_say_so():
    script = """
    try:
        fail.enqueue()
    except ValueError as error:
        print(error, error.__notes__)
    """
    assert alone(script, on_error="raise") == [
        "boom ['Task __main__.fail, enqueued at <string>:31, attempt 1.']"
    ]


def test_alone_its_history_is_bounded():
    script = """
    for number in range(25):
        double.enqueue(number)
    print([result.return_value for result in default_task_backend.results])
    """
    assert alone(script, history=3) == ["[44, 46, 48]"]


def test_alone_it_can_keep_no_history_at_all():
    script = """
    print(double.enqueue(21).return_value, default_task_backend.results)
    """
    assert alone(script, history=0) == ["42 []"]


def test_alone_it_does_not_grow():
    script = """
    import tracemalloc

    def enqueue_many():
        for number in range(1000):
            double.using(priority=number % 7).enqueue(number)

    enqueue_many()
    tracemalloc.start()
    enqueue_many()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(4):
        enqueue_many()
    grown = tracemalloc.get_traced_memory()[0] - before
    print(grown < 100_000 or grown)
    """
    assert alone(script, history=10) == ["True"]


def test_alone_a_task_with_run_after_waits():
    script = """
    from datetime import timedelta
    from django.utils import timezone
    result = double.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
    result.refresh()
    print(result.status)
    """
    assert alone(script) == ["READY"]


def test_alone_it_works_from_many_threads():
    script = """
    import threading
    results = []
    def work(start):
        for number in range(start, start + 100):
            results.append((number, double.enqueue(number).return_value))
    threads = [threading.Thread(target=work, args=[1000 * index]) for index in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(len(results), all(doubled == 2 * number for number, doubled in results))
    print(len(default_task_backend.results))
    """
    assert alone(script, history=50) == ["800 True", "50"]


def test_alone_the_queue_may_be_used_where_a_clock_is_installed():
    script = """
    from tasks_testing import TaskQueue
    with TaskQueue() as queue:
        double.enqueue(21)
        print(queue.assert_succeeded(double).return_value)
    """
    assert alone(script) == ["42"]


@pytest.mark.parametrize("history", [-1, 1.5, "10", True, None])
def test_a_history_that_is_no_number(history):
    with pytest.raises(ConfigurationError) as raised:
        ImmediateBackend("default", {"OPTIONS": {"history": history}})
    assert str(raised.value) == (
        f'TASKS["default"]["OPTIONS"]["history"] is {history!r}; '
        "it must be a whole number of finished tasks to remember."
    )


def test_within_a_test_everything_is_kept():
    with immediate_settings(history=3):
        for number in range(10):
            tasks.add.enqueue(number, 1)
        assert len(default_task_backend.results) == 10


# Under the test queue


def test_without_a_queue_nothing_is_raised():
    with immediate_settings():
        assert tasks.fail.enqueue().status == TaskResultStatus.FAILED


def test_under_the_queue_the_exception_reaches_the_test(task_queue):
    with immediate_settings(), pytest.raises(ValueError, match="boom"):
        tasks.fail.enqueue()
    task_queue.assert_failed(tasks.fail, ValueError)


@pytest.mark.parametrize(
    ("queue_says", "options"),
    [("record", {}), ("raise", {"on_error": "record"})],
)
def test_recording_is_a_choice_of_the_queue_or_of_the_options(queue_says, options):
    with immediate_settings(**options), TaskQueue(on_error=queue_says) as queue:
        assert tasks.fail.enqueue().status == TaskResultStatus.FAILED
        queue.assert_failed(tasks.fail)


@immediate_mode
def test_run_after_waits_for_the_clock(task_queue):
    ran = tasks.when.using(run_after=START + timedelta(hours=1)).enqueue()
    assert ran.status == TaskResultStatus.READY
    assert task_queue.advance(minutes=59).succeeded == ()
    assert [record.id for record in task_queue.advance(minutes=1).succeeded] == [ran.id]
    ran.refresh()
    assert datetime.fromisoformat(ran.return_value) == START + timedelta(hours=1)


@immediate_mode
def test_a_run_after_that_has_passed_is_no_reason_to_wait(task_queue):
    task = tasks.when.using(run_after=START - timedelta(hours=1))
    assert task.enqueue().status == TaskResultStatus.SUCCESSFUL


@immediate_mode
def test_retries_without_a_delay_run_at_once(task_queue):
    def body(context):
        if context.attempt < 3:
            raise ValueError
        return context.attempt

    task = tasks.perform_with_context.using(max_attempts=3)
    result = task.enqueue(tasks.body(body))
    assert result.return_value == 3
    assert len(result.errors) == 2


@immediate_mode
def test_retries_with_a_delay_wait_for_the_clock(task_queue):
    def body(context):
        if context.attempt < 3:
            raise ValueError
        return timezone.now().isoformat()

    task = tasks.perform_patiently.using(max_attempts=3)
    result = task.enqueue(tasks.body(body))
    assert (result.status, result.attempts) == (TaskResultStatus.READY, 1)
    tally = task_queue.advance(seconds=180)
    assert tally.counts == {"succeeded": 1, "failed": 0, "retried": 1, "deferred": 0}
    assert tally.succeeded[0].return_value == (START + timedelta(seconds=180)).isoformat()


@immediate_mode
def test_the_failure_of_the_last_attempt_reaches_the_test(task_queue):
    def body(context):
        raise ValueError(f"attempt {context.attempt}")

    with pytest.raises(ValueError, match="attempt 2"):
        tasks.perform_with_context.using(max_attempts=2).enqueue(tasks.body(body))


@immediate_mode
def test_each_attempt_gets_its_arguments_afresh(task_queue):
    seen = []

    def body(context, items):
        seen.append(list(items))
        items.append("changed by the task")
        if context.attempt == 1:
            raise ValueError

    task = tasks.perform_with_context.using(max_attempts=2)
    result = task.enqueue(tasks.body(body), ["first"])
    assert seen == [["first"], ["first"]]
    assert result.args[1] == ["first"]


# Tasks that enqueue tasks


@immediate_mode
def test_a_childs_failure_reaches_the_test_and_not_its_parent(task_queue):
    def parent():
        return tasks.fail.enqueue("child").status

    with pytest.raises(ValueError, match="child"):
        tasks.perform.enqueue(tasks.body(parent))
    assert task_queue.assert_succeeded(tasks.perform).return_value == "FAILED"
    assert task_queue.assert_failed(tasks.fail).parent.task == tasks.perform


@immediate_mode
def test_the_failures_of_parent_and_child_both_reach_the_test(task_queue):
    def parent():
        tasks.fail.enqueue("child")
        raise KeyError("parent")

    with pytest.raises(KeyError, match="parent") as raised:
        tasks.perform.enqueue(tasks.body(parent))
    assert raised.value.__notes__[-1] == "Another task failed too: ValueError('child')"


@immediate_mode
def test_a_grandchilds_failure_reaches_the_test(task_queue):
    def parent():
        return tasks.perform.enqueue(tasks.body(child)).status

    def child():
        return tasks.fail.enqueue("grandchild").status

    with pytest.raises(ValueError, match="grandchild"):
        tasks.perform.enqueue(tasks.body(parent))
    assert [record.return_value for record in task_queue.records] == ["SUCCESSFUL", "FAILED", None]


@immediate_mode
def test_a_verb_raises_the_failure_of_a_child(task_queue):
    def parent():
        return tasks.fail.enqueue("child").status

    task = tasks.perform.using(run_after=START + timedelta(hours=1))
    task.enqueue(tasks.body(parent))
    with pytest.raises(ValueError, match="child"):
        task_queue.advance(hours=2)
    assert task_queue.assert_succeeded(tasks.perform).return_value == "FAILED"
    assert task_queue.now == START + timedelta(hours=1)


async def test_failures_reach_an_async_test(task_queue):
    async def parent():
        return (await tasks.fail.aenqueue("child")).status

    with immediate_settings(), pytest.raises(ValueError, match="child"):
        await tasks.perform_async.aenqueue(tasks.body(parent))
    assert task_queue.assert_succeeded(tasks.perform_async).return_value == "FAILED"


def test_a_task_that_enqueues_itself_for_ever_ends_in_an_error():
    def body():
        return tasks.perform.enqueue(name).status

    name = tasks.body(body)
    with immediate_settings(), TaskQueue() as queue:
        with pytest.raises(RecursionError):
            tasks.perform.enqueue(name)
        assert queue.records[1].parent.id == queue.records[0].id
        assert tasks.add.enqueue(1, 2).return_value == 3


@immediate_mode
def test_clearing_the_record_inside_of_a_task_is_survived(task_queue):
    def body():
        default_task_backend.clear()

    tasks.perform.enqueue(tasks.body(body))
    assert task_queue.records == []


@immediate_mode
def test_threads_of_the_test_see_their_own_failures(task_queue):
    caught = []

    def work(number):
        try:
            tasks.fail.enqueue(f"thread {number}")
        except ValueError as error:
            caught.append(str(error))

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(caught) == [f"thread {number}" for number in range(4)]
    assert len(task_queue.finished) == 4


# Inside the caller's transaction


@pytest.fixture(params=["in a TestCase's transaction", "in real transactions"])
def database(request):
    real = request.param == "in real transactions"
    request.applymarker(pytest.mark.django_db(transaction=real))
    request.getfixturevalue("transactional_db" if real else "db")


@pytest.fixture(params=["alone", "under the queue"])
def immediate(request, database):
    with immediate_settings():
        if request.param == "alone":
            yield
        else:
            with TaskQueue(on_error="record"):
                yield


def duplicate():
    Account.objects.create(email="a@example.com")
    Account.objects.create(email="a@example.com")


def test_a_failed_statement_does_not_break_the_callers_transaction(immediate):
    with transaction.atomic():
        Note.objects.create(text="the caller's")
        result = tasks.perform.enqueue(tasks.body(duplicate))
        Note.objects.create(text="the caller's, later")
    assert result.errors[0].exception_class is IntegrityError
    assert Note.objects.count() == 2


def test_what_a_task_wrote_before_it_failed_stays(immediate):
    with transaction.atomic():
        tasks.perform.enqueue(tasks.body(duplicate))
    assert Account.objects.count() == 1


def test_a_task_sees_what_its_caller_wrote(immediate):
    with transaction.atomic():
        Note.objects.create(text="the caller's")
        assert tasks.perform.enqueue(tasks.body(Note.objects.count)).return_value == 1


def test_what_a_task_wrote_falls_with_its_caller(immediate):
    def body():
        Note.objects.create(text="the task's")

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.perform.enqueue(tasks.body(body))
        assert Note.objects.count() == 1
        raise ZeroDivisionError
    assert Note.objects.count() == 0


def test_a_tasks_callbacks_fire_when_its_own_block_ends(immediate):
    log = []

    def body():
        with transaction.atomic():
            transaction.on_commit(lambda: log.append("the task's"))
            log.append("in the task's block")
        log.append("after the task's block")

    with transaction.atomic():
        transaction.on_commit(lambda: log.append("the caller's"))
        tasks.perform.enqueue(tasks.body(body))
        log.append("in the caller's block")
    assert log[:4] == [
        "in the task's block",
        "the task's",
        "after the task's block",
        "in the caller's block",
    ]


def test_a_durable_block_is_allowed_in_a_task(immediate):
    def body():
        with transaction.atomic(durable=True):
            Note.objects.create(text="durable")

    with transaction.atomic():
        result = tasks.perform.enqueue(tasks.body(body))
    assert result.status == TaskResultStatus.SUCCESSFUL, result.errors
