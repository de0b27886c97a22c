"""The options of a production queue in tests: unique tasks, hooks and chains, bulk enqueues."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus, default_task_backend
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued, task_finished
from django.test import override_settings

from tasks_database.engine import PayloadError, SignatureError, exponential, task
from tasks_database.resolve import UnknownTask
from tasks_testing import TaskQueue
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = [pytest.mark.django_db, pytest.mark.tasks(now=START)]
immediate_mode = pytest.mark.tasks(mode="immediate", now=START)
recording_errors = pytest.mark.tasks(now=START, on_error="record")


@task(unique_key=lambda number, **_: f"number {number}")
def once_a_number(number, note=""):
    return number


@task
def log(result_id):
    return result_id


@task
def double(number, times=1):
    return number * 2**times


@task
def describe(value, prefix, *, suffix=""):
    return f"{prefix}{value}{suffix}"


@task
def fail_with(value):
    raise ValueError(value)


def _moved(value):
    raise AssertionError("never called")


# A worker finds the function at this path, and not the Task.
moved = task(_moved)


@pytest.fixture
def heard():
    """What the signals tell, in order."""
    told = []

    def listen(signal, task_result, **kwargs):
        name = "enqueued" if signal is task_enqueued else "finished"
        told.append((name, task_result.task.name, task_result.status.value))

    for signal in (task_enqueued, task_finished):
        signal.connect(listen)
    yield told
    for signal in (task_enqueued, task_finished):
        signal.disconnect(listen)


def names(records):
    return [record.task.name for record in records]


def returned(records):
    return [record.return_value for record in records]


# Unique tasks


def test_a_duplicate_is_the_one_that_waits(task_queue, heard):
    first = once_a_number.enqueue(1, note="first")
    again = once_a_number.enqueue(1, note="again")

    assert again.id == first.id
    assert again.kwargs == {"note": "first"}
    task_queue.assert_enqueued(once_a_number, times=1)
    assert heard == [("enqueued", "once_a_number", "READY")]


def test_another_key_another_task_and_no_key_are_no_duplicates(task_queue):
    once_a_number.enqueue(1)
    once_a_number.enqueue(2)
    log.using(unique_key="number 1").enqueue("a")
    log.enqueue("b")
    log.enqueue("c")

    assert len(task_queue.pending) == 5


def test_another_backend_has_keys_of_its_own(task_queue):
    log.using(unique_key="key").enqueue("a")
    log.using(unique_key="key", backend="mail").enqueue("a")

    assert len(task_queue.pending) == 2


def test_a_deferred_task_keeps_its_key_when_it_is_due(task_queue):
    once_a_number.using(run_after=START + MINUTE).enqueue(1)
    assert once_a_number.enqueue(1).id == task_queue.records[0].id
    task_queue.jump(minutes=2)

    assert once_a_number.enqueue(1).status is TaskResultStatus.READY
    assert len(task_queue.records) == 2


def test_the_key_is_free_from_the_start_on(task_queue):
    @tasks.body
    def enqueue_again():
        tasks.perform.using(unique_key="key").enqueue(plain)

    plain = tasks.body(lambda: None)
    tasks.perform.using(unique_key="key").enqueue(enqueue_again)
    task_queue.run_next()

    assert len(task_queue.pending) == 1


def test_a_retry_does_not_take_the_key_back(task_queue):
    options = {"unique_key": "key", "max_attempts": 2, "backoff": exponential(base=60)}
    fail_with.using(**options).enqueue(1)
    task_queue.run_next()
    fail_with.using(**options).enqueue(2)

    assert len(task_queue.records) == 2


def test_a_key_falls_with_its_transaction(task_queue):
    with transaction.atomic():
        once_a_number.enqueue(1, note="rolled back")
        transaction.set_rollback(True)
    with transactional_settings():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            once_a_number.enqueue(2, note="rolled back")
            assert once_a_number.enqueue(2).kwargs == {"note": "rolled back"}
            raise ZeroDivisionError
        once_a_number.enqueue(2)

        assert task_queue.run_due().succeeded[-1].kwargs == {}


def transactional_settings():
    entry = {
        "BACKEND": "tasks_testing.backends.DummyBackend",
        "OPTIONS": {"mirror": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}},
    }
    return override_settings(TASKS={"default": entry, "mail": entry})


def test_a_rolled_back_key_is_free_when_workers_have_looked(task_queue):
    with transactional_settings():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            once_a_number.enqueue(2)
            raise ZeroDivisionError
        task_queue.run_due()

        once_a_number.enqueue(2)
        assert returned(task_queue.run_due().succeeded) == [2]


def test_clearing_frees_keys(task_queue):
    once_a_number.enqueue(1)
    default_task_backend.clear()
    once_a_number.enqueue(1)

    assert len(task_queue.pending) == 1


def test_run_task_asks_for_no_key(task_queue):
    once_a_number.enqueue(1)
    assert task_queue.run_task(once_a_number, 1).return_value == 1
    once_a_number.enqueue(1)

    assert len(task_queue.pending) == 1


def test_a_nested_queue_hands_its_keys_over(task_queue):
    with TaskQueue():
        once_a_number.enqueue(1)
    once_a_number.enqueue(1)

    assert len(task_queue.pending) == 1


def test_a_key_too_long_to_be_stored_is_refused(task_queue):
    with pytest.raises(ValueError, match="has 300 characters; 255 can be stored"):
        log.using(unique_key="x" * 300).enqueue("a")
    assert task_queue.records == []


@immediate_mode
def test_immediate_runs_a_unique_task_once(task_queue):
    deferred = once_a_number.using(run_after=START + MINUTE).enqueue(1)
    assert once_a_number.enqueue(1).id == deferred.id
    assert task_queue.finished == []

    task_queue.advance(minutes=1)
    assert once_a_number.enqueue(1).status is TaskResultStatus.SUCCESSFUL
    assert len(task_queue.records) == 2


# Hooks

succeeds = tasks.perform.using(on_success=log, on_failure=double)


def enqueue(body, **options):
    """A task with a hook for each ending; returns its result."""
    return succeeds.using(**options).enqueue(tasks.body(body))


def test_the_hook_of_a_success_gets_the_id_of_the_result(task_queue):
    result = enqueue(lambda: None)
    tally = task_queue.run_due()

    assert names(tally.succeeded) == ["perform", "log"]
    record = task_queue.assert_enqueued(log, args=[result.id], times=1)
    assert record.parent.id == result.id
    task_queue.assert_not_enqueued(double)


@recording_errors
def test_the_hook_of_a_failure_follows_the_last_attempt(task_queue):
    hooked = fail_with.using(on_success=double, on_failure=log, max_attempts=2)
    result = hooked.enqueue("no")
    task_queue.run_next()
    task_queue.assert_not_enqueued(log)
    tally = task_queue.run_due()

    assert names(tally.ran) == ["fail_with", "log"]
    assert task_queue.assert_succeeded(log).return_value == result.id
    task_queue.assert_not_enqueued(double)


def test_a_hook_is_enqueued_before_the_failure_is_raised(task_queue):
    fail_with.using(on_failure=log).enqueue("no")

    with pytest.raises(ValueError, match="no"):
        task_queue.run_due()
    task_queue.assert_enqueued(log, times=1)
    assert names(task_queue.run_due().succeeded) == ["log"]


def test_run_next_leaves_the_hook_pending(task_queue):
    enqueue(lambda: None)
    task_queue.run_next()

    assert names(task_queue.pending) == ["log"]


def test_run_task_enqueues_the_hook_as_a_worker_would(task_queue):
    record = task_queue.run_task(succeeds, tasks.body(lambda: None))

    assert task_queue.assert_enqueued(log).args == [record.id]


def test_a_hook_is_announced_after_the_end_of_its_task(task_queue, heard):
    enqueue(lambda: None)
    task_queue.run_due()

    assert heard == [
        ("enqueued", "perform", "READY"),
        ("finished", "perform", "SUCCESSFUL"),
        ("enqueued", "log", "READY"),
        ("finished", "log", "SUCCESSFUL"),
    ]


def test_a_hook_has_the_options_it_was_given(task_queue):
    hook = log.using(queue_name="newsletters", priority=7, backend="mail")
    tasks.perform.using(on_success=hook).enqueue(tasks.body(lambda: None))
    task_queue.run_next()

    task_queue.assert_enqueued(log, queue_name="newsletters", priority=7, backend="mail")


def test_a_hook_may_have_hooks(task_queue):
    inner = double.using(on_failure=log)
    tasks.perform.using(on_success=fail_with.using(on_failure=inner)).enqueue(
        tasks.body(lambda: None)
    )
    with pytest.raises(ValueError):
        task_queue.run_due()

    assert names(task_queue.run_due().succeeded) == ["double"]


def test_the_timeline_tells_what_follows_what(task_queue):
    enqueue(lambda: None)
    task_queue.run_due()

    lines = task_queue.timeline().splitlines()
    assert lines[2].startswith("+00:00:00  #2 enqueued tests.testing.test_queue_options.log(")
    assert lines[2].endswith(", after #1")
    assert "from test_queue_options.py:" in lines[2].replace("tests/testing/", "")
    assert lines[3] == "+00:00:00  #2 log succeeded"


def test_a_hook_is_unique_where_its_task_is(task_queue):
    for number in range(3):
        enqueue(lambda: None, on_success=log.using(unique_key="one is enough"))
    task_queue.run_next()
    task_queue.run_next()

    task_queue.assert_enqueued(log, times=1)


@recording_errors
def test_a_hook_at_no_path_fails_alone(task_queue):
    tasks.perform.using(on_success=moved).enqueue(tasks.body(lambda: "done"))
    task_queue.assert_not_enqueued(moved)
    tally = task_queue.run_due()

    assert tally.counts == {"succeeded": 1, "failed": 1, "retried": 0, "deferred": 0}
    record = task_queue.assert_failed(moved, UnknownTask, match="is a function, not a Task")
    assert str(record).startswith("tests.testing.test_queue_options._moved(")


@recording_errors
def test_what_cannot_be_called_is_not_tried_again(task_queue):
    tasks.perform.using(on_success=moved.using(max_attempts=5)).enqueue(tasks.body(lambda: 1))
    tally = task_queue.advance_until_idle()

    assert tally.counts["retried"] == 0
    assert tally.counts["failed"] == 1


@immediate_mode
def test_immediate_runs_the_hook_after_its_task(task_queue, heard):
    result = enqueue(lambda: None)

    assert task_queue.assert_succeeded(log).args == [result.id]
    assert heard[2:] == [("enqueued", "log", "READY"), ("finished", "log", "SUCCESSFUL")]


@immediate_mode
def test_immediate_raises_the_failure_of_the_task_and_not_that_of_its_hook(task_queue):
    with pytest.raises(ValueError, match="first") as raised:
        fail_with.using(on_failure=fail_with).enqueue("first")

    assert any("Another task failed too: ValueError" in note for note in raised.value.__notes__)
    task_queue.assert_failed(fail_with, times=2)


@immediate_mode
def test_immediate_raises_the_failure_of_a_hook_where_the_task_was_enqueued(task_queue):
    with pytest.raises(ValueError):
        tasks.perform.using(on_success=fail_with).enqueue(tasks.body(lambda: None))

    task_queue.assert_succeeded(tasks.perform)


@immediate_mode
def test_immediate_runs_what_follows_a_deferred_task_when_that_has_run(task_queue):
    enqueue(lambda: None, run_after=START + MINUTE)
    task_queue.assert_not_enqueued(log)
    task_queue.advance(minutes=1)

    task_queue.assert_succeeded(log, times=1)


@pytest.mark.tasks(mode="immediate", now=START)
def test_hooks_of_immediate_fall_with_the_transaction_of_the_caller(task_queue):
    entry = {
        "BACKEND": "tasks_testing.backends.ImmediateBackend",
        "OPTIONS": {"transactional": True},
    }
    with override_settings(TASKS={"default": entry}):
        with transaction.atomic():
            enqueue(lambda: None)
            transaction.set_rollback(True)

        assert task_queue.records == []


def test_a_hook_waits_with_its_task_for_the_commit(task_queue):
    with transactional_settings():
        with transaction.atomic():
            task_queue.run_task(succeeds, tasks.body(lambda: None))
            assert len(task_queue.run_due()) == 0
        assert names(task_queue.run_due().succeeded) == ["log"]


# Chains


def test_a_chain_passes_return_values_on(task_queue):
    chain = tasks.perform.then(double, 3).then(describe, "<", suffix=">")
    chain.enqueue(tasks.body(lambda: 3))
    tally = task_queue.run_due()

    assert returned(tally.succeeded) == [3, 24, "<24>"]
    assert [record.parent and record.parent.task.name for record in tally.succeeded] == [
        None,
        "perform",
        "double",
    ]


def test_a_failure_ends_the_chain(task_queue):
    tasks.perform.then(fail_with).then(double).enqueue(tasks.body(lambda: "no"))
    with pytest.raises(ValueError):
        task_queue.run_due()

    task_queue.run_due()
    task_queue.assert_not_enqueued(double)


def test_a_link_is_retried_by_its_own_policy(task_queue):
    link = fail_with.using(max_attempts=3, backoff=exponential(base=timedelta(seconds=10)))
    tasks.perform.then(link).enqueue(tasks.body(lambda: "no"))
    with pytest.raises(ValueError):
        task_queue.advance(hours=1)

    assert task_queue.assert_failed(fail_with).attempts == 3


@immediate_mode
def test_immediate_runs_a_chain_to_its_end(task_queue):
    tasks.perform.then(double).then(double).then(double).enqueue(tasks.body(lambda: 1))

    assert returned(task_queue.finished) == [1, 2, 4, 8]


# Validation of what follows


def test_a_follow_up_of_another_database_is_refused_as_production_would(task_queue):
    database = {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}
    elsewhere = {"BACKEND": "django.tasks.backends.dummy.DummyBackend", "QUEUES": []}
    with (
        override_settings(TASKS={"default": database, "mail": elsewhere}),
        TaskQueue(mode="record"),
        pytest.raises(InvalidTask, match="which is not a DatabaseBackend on the database"),
    ):
        tasks.perform.using(on_success=log.using(backend="mail"))


def test_a_follow_up_of_another_alias_of_the_same_database_is_allowed():
    database = {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}
    with (
        override_settings(TASKS={"default": database, "mail": database}),
        TaskQueue(mode="record") as task_queue,
    ):
        hook = log.using(backend="mail")
        tasks.perform.using(on_success=hook).enqueue(tasks.body(lambda: None))

        assert names(task_queue.run_due().succeeded) == ["perform", "log"]


def test_a_follow_up_of_a_backend_that_does_not_record_is_refused():
    entries = {
        "default": {"BACKEND": "tasks_testing.backends.DummyBackend"},
        "mail": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    }
    with override_settings(TASKS=entries):
        hooked = log.using(backend="mail")
        with pytest.raises(InvalidTask, match=r'TASKS\["mail"\], which does not record'):
            tasks.perform.using(on_success=hooked)


# Bulk enqueues


@pytest.fixture
def bulk():
    """Production has a bulk enqueue."""
    with transactional_settings():
        yield


def test_many_calls_are_enqueued_in_order(task_queue, bulk, heard):
    results = describe.enqueue_many([("a", "<"), {"value": "b", "prefix": "["}, (["c", "("], {})])

    assert [result.args for result in results] == [["a", "<"], [], ["c", "("]]
    assert [record.id for record in task_queue.records] == [result.id for result in results]
    assert task_queue.records[0].enqueued_from.startswith("tests/testing/test_queue_options.py:")
    assert len(heard) == 3
    assert returned(task_queue.run_due().succeeded) == ["<a", "[b", "(c"]


@pytest.mark.django_db(transaction=True)
async def test_many_calls_are_enqueued_in_a_coroutine(task_queue, bulk):
    results = await log.aenqueue_many([("a",), ("b",)])

    assert [record.id for record in task_queue.records] == [result.id for result in results]
    assert task_queue.records[0].enqueued_from.startswith("tests/testing/test_queue_options.py:")


def test_nothing_is_enqueued_when_one_of_many_is_wrong(task_queue, bulk):
    for calls, kind in (
        ([(1,), (1, 2, 3, 4)], SignatureError),
        ([(1,), (b"no",)], PayloadError),
        ([(1,), 2], TypeError),
    ):
        with pytest.raises(kind) as raised:
            double.enqueue_many(calls)
        told = [str(raised.value), *getattr(raised.value, "__notes__", ())]
        assert any("all 1 of enqueue_many()" in text for text in told)
    assert task_queue.records == []


def test_duplicates_among_many_share_one_result(task_queue, bulk, heard):
    once_a_number.enqueue(2)
    results = once_a_number.enqueue_many([(1,), (2,), (1,), (3,)])

    assert len({result.id for result in results}) == 3
    assert results[0].id == results[2].id
    assert len(task_queue.pending) == len(heard) == 3


def test_no_calls_enqueue_nothing(task_queue, bulk):
    assert log.enqueue_many([]) == []
    assert task_queue.records == []


def test_many_is_refused_where_production_has_no_bulk_enqueue(task_queue):
    entry = {
        "BACKEND": "tasks_testing.backends.DummyBackend",
        "OPTIONS": {"mirror": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}},
    }
    refusal = pytest.raises(NotImplementedError, match=r"DummyBackend, which has no enqueue_many")
    with override_settings(TASKS={"default": entry}), refusal:
        log.enqueue_many([("a",)])


def test_immediate_runs_many_when_all_are_enqueued(task_queue):
    entry = {"BACKEND": "tasks_testing.backends.ImmediateBackend"}
    counts = []
    with override_settings(TASKS={"default": entry}):
        name = tasks.body(lambda: counts.append(len(task_queue.records)))
        results = tasks.perform.enqueue_many([(name,), (name,)])

    assert counts == [2, 2]
    assert {result.status for result in results} == {TaskResultStatus.SUCCESSFUL}
