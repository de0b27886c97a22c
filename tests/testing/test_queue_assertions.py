"""What the assertions take for a match, and what they return."""

import re
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from dirty_equals import IsPartialDict, IsPositiveInt, IsStr
from django.utils import timezone

from tasks_database.engine import SignatureError
from tasks_testing import TaskQueue
from tasks_testing.clock import clock
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.tasks(now=START)


def found(queue, task, **filters):
    """Whether the assertion holds; its two opposites must agree."""
    try:
        queue.assert_enqueued(task, **filters)
    except AssertionError:
        queue.assert_not_enqueued(task, **filters)
        return False
    with pytest.raises(AssertionError):
        queue.assert_not_enqueued(task, **filters)
    return True


# Arguments


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"args": [1]}, True),
        ({"args": (1,)}, True),
        ({"args": [1], "kwargs": {"b": 2}}, True),
        ({"kwargs": {"b": 2}}, True),
        ({"args": []}, False),
        ({"kwargs": {}}, False),
        ({"kwargs": {"b": 3}}, False),
        ({"args": [1, 2]}, False),
        ({"arguments": {"a": 1, "b": 2}}, True),
        ({"arguments": {"b": 2}}, True),
        ({"arguments": {}}, True),
        ({"arguments": {"a": 2}}, False),
        ({"args": [1], "arguments": {"b": 3}}, False),
        ({"args": mock.ANY}, True),
        ({"args": [mock.ANY]}, True),
        ({"args": [IsPositiveInt]}, True),
        ({"kwargs": {"b": IsPositiveInt & mock.ANY}}, True),
        ({"kwargs": mock.ANY}, True),
        ({"arguments": IsPartialDict(b=2)}, True),
        ({"arguments": IsPartialDict(b=3)}, False),
        ({"arguments": {"a": IsStr}}, False),
    ],
)
def test_arguments_as_they_were_passed(task_queue, filters, expected):
    tasks.add.enqueue(1, b=2)
    assert found(task_queue, tasks.add, **filters) == expected


def test_values_compare_after_json(task_queue):
    tasks.mail.enqueue("a@example.com", pairs=((1, 2), {"three": (3,)}))
    assert found(task_queue, tasks.mail, kwargs={"pairs": ((1, 2), {"three": (3,)})})
    assert found(task_queue, tasks.mail, kwargs={"pairs": [[1, 2], {"three": [3]}]})
    assert found(task_queue, tasks.mail, arguments={"pairs": [(1, 2), mock.ANY]})


def test_a_default_counts_as_passed(task_queue):
    tasks.fail.enqueue()
    assert found(task_queue, tasks.fail, arguments={"message": "boom"})
    assert not found(task_queue, tasks.fail, args=["boom"])
    assert not found(task_queue, tasks.fail, arguments={"message": "other"})


def test_collected_arguments_go_by_the_names_they_have(task_queue):
    tasks.mail.enqueue("a@example.com", "one", "two", urgent=True, reply_to="b@example.com")
    assert found(task_queue, tasks.mail, arguments={"subjects": ["one", "two"]})
    assert found(task_queue, tasks.mail, arguments={"subjects": ("one", "two"), "urgent": True})
    assert found(task_queue, tasks.mail, arguments={"reply_to": "b@example.com"})
    assert not found(task_queue, tasks.mail, arguments={"subjects": ["one"]})


def test_the_context_is_no_argument(task_queue):
    tasks.attempt.enqueue(note="x")
    assert found(task_queue, tasks.attempt, args=[], kwargs={"note": "x"})
    assert found(task_queue, tasks.attempt, arguments={"note": "x"})


def test_true_is_one_for_python_and_so_here(task_queue):
    tasks.add.enqueue(1, True)
    assert found(task_queue, tasks.add, args=[1, 1])


# Options


def test_a_task_is_found_whatever_its_options(task_queue):
    tasks.add.using(priority=5).enqueue(1, 2)
    assert found(task_queue, tasks.add)
    assert found(task_queue, tasks.add.using(priority=7))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"priority": 5}, True),
        ({"priority": 0}, False),
        ({"queue_name": "newsletters"}, True),
        ({"queue_name": "default"}, False),
        ({"backend": "mail"}, True),
        ({"backend": "default"}, False),
        ({"run_after": START + HOUR}, True),
        ({"run_after": START + HOUR + timedelta(seconds=1)}, True),
        ({"run_after": START + HOUR - timedelta(seconds=1)}, True),
        ({"run_after": START + HOUR + timedelta(seconds=1.1)}, False),
        ({"run_after": HOUR}, True),
        ({"run_after": HOUR + timedelta(seconds=1.1)}, False),
        ({"run_after": None}, False),
        ({"run_after": mock.ANY}, True),
    ],
)
def test_options_as_they_were_given(task_queue, filters, expected):
    task = tasks.add.using(
        priority=5, queue_name="newsletters", backend="mail", run_after=START + HOUR
    )
    task.enqueue(1, 2)
    assert found(task_queue, tasks.add, **filters) == expected


@pytest.mark.parametrize("driver", ["freezegun", "time-machine"])
def test_a_time_is_near_enough_under_either_frozen_clock(driver, monkeypatch):
    # freezegun replaces the class datetime, in the modules of the library too.
    monkeypatch.setattr(clock, "driver_choice", driver)
    clock.stop()
    with TaskQueue(now=START) as queue:
        tasks.add.using(run_after=START + HOUR).enqueue(1, 2)
        assert found(queue, tasks.add, run_after=START + HOUR + timedelta(seconds=0.5))
        tasks.when.using(run_after=timezone.now() + HOUR).enqueue()
        assert found(queue, tasks.when, run_after=timezone.now() + timedelta(seconds=3600.5))


def test_none_is_the_run_after_of_a_task_that_need_not_wait(task_queue):
    tasks.add.enqueue(1, 2)
    assert found(task_queue, tasks.add, run_after=None)
    assert not found(task_queue, tasks.add, run_after=timedelta(0))


# Numbers and what is returned


def test_without_times_one_is_enough_and_the_first_match_is_returned(task_queue):
    for b in (1, 2, 2):
        tasks.add.enqueue(0, b)
    assert task_queue.assert_enqueued(tasks.add).args == [0, 1]
    record = task_queue.assert_enqueued(tasks.add, arguments={"b": 2})
    assert record == task_queue.records[1]


def test_times_is_exact(task_queue):
    for _ in range(2):
        tasks.add.enqueue(1, 2)
    assert found(task_queue, tasks.add)
    task_queue.assert_enqueued(tasks.add, times=2)
    for times in (0, 1, 3):
        with pytest.raises(AssertionError):
            task_queue.assert_enqueued(tasks.add, times=times)


def test_none_at_all(task_queue):
    task_queue.assert_nothing_enqueued()
    assert task_queue.assert_enqueued(tasks.add, times=0) is None
    tasks.add.enqueue(1, 2)
    with pytest.raises(AssertionError):
        task_queue.assert_nothing_enqueued()


def test_what_has_run_was_enqueued_too(task_queue):
    tasks.add.enqueue(1, 2)
    task_queue.run_due()
    assert task_queue.assert_enqueued(tasks.add).status == "SUCCESSFUL"


def test_expect_finds_what_its_block_enqueues(task_queue):
    tasks.add.enqueue(0, 0)
    with task_queue.expect(tasks.add, times=2) as expected:
        tasks.add.enqueue(1, 1)
        tasks.when.enqueue()
        tasks.add.enqueue(2, 2)
    assert [record.args for record in expected.records] == [[1, 1], [2, 2]]
    assert expected.record.args == [1, 1]


def test_expect_nothing(task_queue):
    tasks.add.enqueue(0, 0)
    with task_queue.expect(tasks.add, times=0) as expected:
        tasks.when.enqueue()
    assert expected.records == ()


def test_expect_blocks_nest(task_queue):
    with task_queue.expect(tasks.add, times=2), task_queue.expect(tasks.add, args=[1, 2], times=1):
        tasks.add.enqueue(1, 2)
        tasks.add.enqueue(3, 4)


# What ran


@pytest.fixture
def ran():
    with TaskQueue(on_error="record") as queue:
        tasks.add.enqueue(1, 2)
        tasks.fail.enqueue("boom at 7")
        tasks.perform_patiently.using(max_attempts=2).enqueue(tasks.body(failing_at_first))
        tasks.when.using(run_after=START + HOUR).enqueue()
        queue.run_due()
        yield queue


def failing_at_first(context):
    if context.attempt == 1:
        raise KeyError("first")


def test_assert_ran_is_about_being_started(ran):
    assert ran.assert_ran(tasks.add).return_value == 3
    assert ran.assert_ran(tasks.fail).status == "FAILED"
    assert ran.assert_ran(tasks.perform_patiently).status == "DEFERRED"
    with pytest.raises(AssertionError):
        ran.assert_ran(tasks.when)


def test_assert_succeeded_is_about_the_end(ran):
    assert ran.assert_succeeded(tasks.add, args=[1, 2], times=1).return_value == 3
    for task in (tasks.fail, tasks.perform_patiently, tasks.when):
        with pytest.raises(AssertionError):
            ran.assert_succeeded(task)


@pytest.mark.parametrize(
    ("exception", "match", "expected"),
    [
        (None, None, True),
        (ValueError, None, True),
        (Exception, None, True),
        ((KeyError, ValueError), None, True),
        (KeyError, None, False),
        ((KeyError, OSError), None, False),
        (ValueError, r"at \d", True),
        (ValueError, re.compile("BOOM", re.IGNORECASE), True),
        (None, "at 8", False),
    ],
)
def test_assert_failed_is_about_the_last_exception(ran, exception, match, expected):
    try:
        ran.assert_failed(tasks.fail, exception, match)
    except AssertionError:
        assert not expected
    else:
        assert expected


def test_assert_failed_is_about_failing_for_good(ran):
    with pytest.raises(AssertionError):
        ran.assert_failed(tasks.perform_patiently)


def test_assert_failed_sees_the_last_attempt_only(task_queue):
    def body(context):
        raise (KeyError if context.attempt == 1 else ValueError)

    task = tasks.perform_with_context.using(max_attempts=2)
    task.enqueue(tasks.body(body))
    with pytest.raises(ValueError):
        task_queue.run_due()
    task_queue.assert_failed(task, ValueError)
    task_queue.assert_retried(task, KeyError)
    with pytest.raises(AssertionError):
        task_queue.assert_failed(task, KeyError)
    with pytest.raises(AssertionError):
        task_queue.assert_retried(task, ValueError)


def test_assert_retried_is_about_attempts_that_were_not_the_last(ran):
    assert ran.assert_retried(tasks.perform_patiently, KeyError, "first").attempts == 1
    with pytest.raises(AssertionError):
        ran.assert_retried(tasks.fail)
    ran.advance(minutes=1)
    assert ran.assert_retried(tasks.perform_patiently).status == "SUCCESSFUL"


def test_a_call_that_can_never_match_is_refused_for_what_ran_too(ran):
    with pytest.raises(SignatureError):
        ran.assert_ran(tasks.add, args=[1, 2, 3])
