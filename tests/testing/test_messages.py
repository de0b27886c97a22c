"""What a failing assertion and a misused verb say, word for word.

HERE stands for the file and line of an enqueue; test_records.py sees to it that they are right.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest import mock

import pytest
from django.db import transaction
from django.tasks import default_task_backend, task_backends
from django.test import override_settings

from tasks_database.engine import SignatureError
from tasks_testing import (
    ConfigurationError,
    LimitReached,
    NotATask,
    NotRecording,
    TaskQueue,
    TasksTestingError,
)
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.tasks(now=START)


def message(call, error=AssertionError):
    with pytest.raises(error) as raised:
        call()
    return re.sub(r"\S*test_messages\.py:\d+", "HERE", str(raised.value)).splitlines()


def rolled_back(enqueue):
    with suppress(ZeroDivisionError), transaction.atomic():
        enqueue()
        raise ZeroDivisionError


# assert_enqueued: nothing at all, none of this task, near misses


def test_nothing_at_all(task_queue):
    assert message(lambda: task_queue.assert_enqueued(tasks.add)) == [
        "Expected tests.app.tasks.add to be enqueued, but it was not.",
        "",
        "No task was enqueued at all.",
    ]


def test_nothing_at_all_in_a_number(task_queue):
    assert message(lambda: task_queue.assert_enqueued(tasks.add, times=2)) == [
        "Expected tests.app.tasks.add to be enqueued twice, but it was not.",
        "",
        "No task was enqueued at all.",
    ]


def test_none_of_this_task(task_queue):
    tasks.fail.enqueue("x")
    tasks.when.using(
        priority=5, queue_name="newsletters", backend="mail", run_after=START + 26 * HOUR
    ).enqueue("later")
    assert message(lambda: task_queue.assert_enqueued(tasks.add, args=[1, 2], priority=3)) == [
        "Expected tests.app.tasks.add with args=[1, 2], priority=3 to be enqueued, but it was not.",
        "",
        "No tests.app.tasks.add was enqueued; these were:",
        "  - tests.app.tasks.fail('x')  [READY] from HERE",
        "  - tests.app.tasks.when('later')  [DEFERRED until 2026-01-02 02:00:00+00:00, in 1 day "
        "2:00:00, priority 5, queue newsletters, backend mail] from HERE",
    ]


def test_a_long_list_is_cut(task_queue):
    for number in range(7):
        tasks.when.enqueue(f"{number}")
    assert message(lambda: task_queue.assert_enqueued(tasks.add)) == [
        "Expected tests.app.tasks.add to be enqueued, but it was not.",
        "",
        "No tests.app.tasks.add was enqueued; these were:",
        "  - tests.app.tasks.when('0')  [READY] from HERE",
        "  - tests.app.tasks.when('1')  [READY] from HERE",
        "  - tests.app.tasks.when('2')  [READY] from HERE",
        "  - tests.app.tasks.when('3')  [READY] from HERE",
        "  - tests.app.tasks.when('4')  [READY] from HERE",
        "  ... and 2 more",
    ]


def test_one_near_miss(task_queue):
    tasks.add.enqueue(1, b=2)
    expected = {"arguments": {"a": 2, "b": 2}, "priority": 3}
    assert message(lambda: task_queue.assert_enqueued(tasks.add, **expected)) == [
        "Expected tests.app.tasks.add with arguments={'a': 2, 'b': 2}, priority=3 to be enqueued, "
        "but it was not.",
        "",
        "tests.app.tasks.add was enqueued once, but the call differs:",
        "  tests.app.tasks.add(1, b=2)",
        "    enqueued from HERE",
        "    arguments['a']: expected 2, was 1",
        "    priority: expected 3, was 0",
    ]


def test_several_near_misses_the_closest_first(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.add.using(priority=3).enqueue(1, 4)
    expected = {"args": [1, 3], "kwargs": {}, "priority": 3, "queue_name": "default"}
    assert message(lambda: task_queue.assert_enqueued(tasks.add, **expected))[2:] == [
        "tests.app.tasks.add was enqueued twice, but each call differs:",
        "  tests.app.tasks.add(1, 4)",
        "    enqueued from HERE",
        "    args: expected [1, 3], was [1, 4]",
        "  tests.app.tasks.add(1, 2)",
        "    enqueued from HERE",
        "    args: expected [1, 3], was [1, 2]",
        "    priority: expected 3, was 0",
    ]


def test_many_near_misses_are_cut(task_queue):
    for number in range(7):
        tasks.when.enqueue(f"{number}")
    lines = message(lambda: task_queue.assert_enqueued(tasks.when, arguments={"label": "x"}))
    assert lines[2] == "tests.app.tasks.when was enqueued 7 times, but each call differs:"
    assert lines[-4:] == [
        "  tests.app.tasks.when('4')",
        "    enqueued from HERE",
        "    arguments['label']: expected 'x', was '4'",
        "  ... and 2 more",
    ]


def test_each_option_that_differs_is_named(task_queue):
    tasks.when.enqueue()
    expected = {
        "kwargs": {"label": "x"},
        "queue_name": "newsletters",
        "backend": "mail",
        "run_after": HOUR,
    }
    assert message(lambda: task_queue.assert_enqueued(tasks.when, **expected))[5:] == [
        "    kwargs: expected {'label': 'x'}, was {}",
        "    queue_name: expected 'newsletters', was 'default'",
        "    run_after: expected 1:00:00 after the enqueue, was None",
        "    backend: expected 'mail', was 'default'",
    ]


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        (HOUR, "run_after: expected 1:00:00 after the enqueue, was 2:00:00 after it"),
        (
            START + HOUR,
            "run_after: expected 2026-01-01 01:00:00+00:00, was 2026-01-01 02:00:00+00:00",
        ),
        (None, "run_after: expected None, was 2026-01-01 02:00:00+00:00"),
    ],
)
def test_another_time(task_queue, expected, line):
    tasks.when.using(run_after=START + 2 * HOUR).enqueue()
    lines = message(lambda: task_queue.assert_enqueued(tasks.when, run_after=expected))
    assert lines[-1] == f"    {line}"


def test_long_values_stand_beneath_each_other(task_queue):
    tasks.when.enqueue("x" * 60)
    expected = {"label": "y" * 60}
    assert message(lambda: task_queue.assert_enqueued(tasks.when, arguments=expected))[5:] == [
        "    arguments['label']:",
        f"      expected '{'y' * 60}'",
        f"      was      '{'x' * 60}'",
    ]


def test_an_argument_that_was_not_passed(task_queue):
    tasks.mail.enqueue("a@example.com")
    expected = {"reply_to": "b@example.com"}
    assert message(lambda: task_queue.assert_enqueued(tasks.mail, arguments=expected))[-1] == (
        "    arguments['reply_to']: expected 'b@example.com', was not passed"
    )


def test_matchers_are_shown_as_they_show_themselves(task_queue):
    tasks.add.enqueue(1, 2)
    lines = message(lambda: task_queue.assert_enqueued(tasks.add, args=[mock.ANY, 3]))
    assert lines[-1] == "    args: expected [<ANY>, 3], was [1, 2]"


# assert_enqueued: numbers


def test_too_many(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.add.enqueue(1, b=2)
    assert message(lambda: task_queue.assert_enqueued(tasks.add, times=1)) == [
        "Expected tests.app.tasks.add to be enqueued once, but it was twice:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
        "  - tests.app.tasks.add(1, b=2)  [READY] from HERE",
    ]


def test_too_few(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.add.enqueue(1, 3)
    assert message(lambda: task_queue.assert_enqueued(tasks.add, args=[1, 2], times=3)) == [
        "Expected tests.app.tasks.add with args=[1, 2] to be enqueued 3 times, but it was once:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
        "",
        "tests.app.tasks.add was also enqueued once, but the call differs:",
        "  tests.app.tasks.add(1, 3)",
        "    enqueued from HERE",
        "    args: expected [1, 2], was [1, 3]",
    ]


def test_none_was_asked_for(task_queue):
    tasks.add.enqueue(1, 2)
    expected = [
        "Expected no tests.app.tasks.add to be enqueued, but this one was:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
    ]
    assert message(lambda: task_queue.assert_enqueued(tasks.add, times=0)) == expected
    assert message(lambda: task_queue.assert_not_enqueued(tasks.add)) == expected


def test_several_that_were_not_to_be(task_queue):
    for _ in range(2):
        tasks.add.enqueue(1, 2)
    assert message(lambda: task_queue.assert_not_enqueued(tasks.add, args=[1, 2])) == [
        "Expected no tests.app.tasks.add with args=[1, 2] to be enqueued, but 2 were:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
    ]


def test_something_where_nothing_was_to_be(task_queue):
    tasks.add.enqueue(1, 2)
    assert message(task_queue.assert_nothing_enqueued) == [
        "Expected no task to be enqueued, but this one was:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
    ]


# assert_enqueued: transactions


def test_the_right_call_in_an_open_block(task_queue, db):
    with transaction.atomic():
        tasks.add.enqueue(1, 2)
        lines = message(lambda: task_queue.assert_enqueued(tasks.add))
    assert lines == [
        "Expected tests.app.tasks.add to be enqueued, but it was not.",
        "",
        "tests.app.tasks.add(1, 2) was enqueued from HERE, but inside a transaction that has not "
        "committed yet: no worker sees it. Assert after the atomic() block has ended.",
    ]


def test_the_right_call_in_a_block_that_was_rolled_back(task_queue, db):
    rolled_back(lambda: tasks.add.enqueue(1, 2))
    assert message(lambda: task_queue.assert_enqueued(tasks.add, times=1)) == [
        "Expected tests.app.tasks.add to be enqueued once, but it was not.",
        "",
        "tests.app.tasks.add(1, 2) was enqueued from HERE, but inside a transaction that was "
        "rolled back, so it does not count. Look for what raised in that atomic() block.",
    ]


def test_the_right_call_that_was_rolled_back_beside_other_tasks(task_queue, db):
    tasks.when.enqueue()
    rolled_back(lambda: tasks.add.enqueue(1, 2))
    assert len(message(lambda: task_queue.assert_enqueued(tasks.add))) == 3


def test_many_calls_that_were_rolled_back_are_cut(task_queue, db):
    for _ in range(7):
        rolled_back(lambda: tasks.add.enqueue(1, 2))
    lines = message(lambda: task_queue.assert_enqueued(tasks.add))
    assert len(lines) == 2 + 5 + 1
    assert lines[-1] == "... and 2 more"


def test_a_rolled_back_call_beside_one_that_differs(task_queue, db):
    rolled_back(lambda: tasks.add.enqueue(1, 2))
    tasks.add.enqueue(1, 3)
    assert message(lambda: task_queue.assert_enqueued(tasks.add, args=[1, 2]))[2:] == [
        "tests.app.tasks.add(1, 2) was enqueued from HERE, but inside a transaction that was "
        "rolled back, so it does not count. Look for what raised in that atomic() block.",
        "",
        "tests.app.tasks.add was enqueued once, but the call differs:",
        "  tests.app.tasks.add(1, 3)",
        "    enqueued from HERE",
        "    args: expected [1, 2], was [1, 3]",
    ]


def test_a_near_miss_that_was_rolled_back(task_queue, db):
    rolled_back(lambda: tasks.add.enqueue(1, 3))
    assert message(lambda: task_queue.assert_enqueued(tasks.add, args=[1, 2]))[2:] == [
        "tests.app.tasks.add was enqueued once, but the call differs:",
        "  tests.app.tasks.add(1, 3)",
        "    enqueued from HERE, transaction rolled back",
        "    args: expected [1, 2], was [1, 3]",
    ]


def test_another_task_in_an_open_block(task_queue, db):
    with transaction.atomic():
        tasks.when.enqueue()
        lines = message(lambda: task_queue.assert_enqueued(tasks.add))
    assert lines[2:] == [
        "No tests.app.tasks.add was enqueued; these were:",
        "  - tests.app.tasks.when()  [READY, transaction open] from HERE",
    ]


def test_too_few_with_one_rolled_back(task_queue, db):
    tasks.add.enqueue(1, 2)
    rolled_back(lambda: tasks.add.enqueue(1, 2))
    assert message(lambda: task_queue.assert_enqueued(tasks.add, times=2)) == [
        "Expected tests.app.tasks.add to be enqueued twice, but it was once:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
        "",
        "tests.app.tasks.add(1, 2) was enqueued from HERE, but inside a transaction that was "
        "rolled back, so it does not count. Look for what raised in that atomic() block.",
    ]


def test_callbacks_that_wait_for_the_commit(task_queue, db):
    with transaction.atomic():
        transaction.on_commit(partial(tasks.add.enqueue, 1, b=2))
        lines = message(lambda: task_queue.assert_enqueued(tasks.add))
    assert lines == [
        "Expected tests.app.tasks.add to be enqueued, but it was not.",
        "",
        "No task was enqueued at all.",
        "",
        "1 transaction.on_commit callback has not run: tests.app.tasks.add.enqueue(1, b=2).",
        "They run when the outermost atomic() block of the code under test ends. Without the "
        "task_queue fixture (or with on_commit=False) a TestCase never commits: use "
        "captureOnCommitCallbacks(execute=True).",
    ]


def test_many_callbacks_that_wait_for_the_commit(task_queue, db):
    with transaction.atomic():
        for _ in range(7):
            transaction.on_commit(list)
        lines = message(lambda: task_queue.assert_ran(tasks.add))
    assert lines[4] == (
        "7 transaction.on_commit callbacks have not run: list, list, list, list, list and 2 more."
    )


# expect


def expecting(queue, *, enqueue, **filters):
    with queue.expect(tasks.add, **filters):
        enqueue()


def test_expect_sees_its_own_block_only(task_queue):
    tasks.add.enqueue(1, 2)
    call = partial(expecting, task_queue, times=1, enqueue=tasks.when.enqueue)
    assert message(call) == [
        "Expected tests.app.tasks.add to be enqueued once, but it was not.",
        "",
        "No tests.app.tasks.add was enqueued; these were:",
        "  - tests.app.tasks.when()  [READY] from HERE",
    ]


def test_expect_none(task_queue):
    call = partial(expecting, task_queue, times=0, enqueue=lambda: tasks.add.enqueue(1, 2))
    assert message(call)[0] == "Expected no tests.app.tasks.add to be enqueued, but this one was:"


def test_what_expect_found_is_known_at_its_end(task_queue):
    with task_queue.expect(tasks.add) as expected:
        tasks.add.enqueue(1, 2)
        assert message(lambda: expected.record, TasksTestingError) == [
            "expect() knows what was enqueued only when its block has ended: read .record after "
            "the with statement."
        ]
    assert expected.record.args == [1, 2]
    assert expected.records == (expected.record,)


def test_an_exception_in_its_block_goes_before_what_expect_has_to_say(task_queue):
    with pytest.raises(ZeroDivisionError), task_queue.expect(tasks.add):
        raise ZeroDivisionError


# assert_ran, assert_succeeded, assert_failed, assert_retried


def test_what_has_not_run_yet(task_queue):
    tasks.add.enqueue(1, 2)
    assert message(lambda: task_queue.assert_ran(tasks.add)) == [
        "Expected tests.app.tasks.add to have run, but it has not.",
        "",
        "It was enqueued:",
        "  - tests.app.tasks.add(1, 2)  [READY] from HERE",
        "Nothing has run it yet: call task_queue.run_due() first.",
    ]


def test_what_waits_for_its_time(task_queue):
    tasks.when.using(run_after=START + HOUR).enqueue()
    assert message(lambda: task_queue.assert_ran(tasks.when))[-2:] == [
        "  - tests.app.tasks.when()  [DEFERRED until 2026-01-01 01:00:00+00:00, in 1:00:00] "
        "from HERE",
        "Nothing has run it yet: call task_queue.advance() to its due time first.",
    ]


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (timedelta(days=2, seconds=0.6), "2 days 0:00:01"),
        (timedelta(milliseconds=5), "0:00:00.005000"),
    ],
)
def test_how_long_something_waits(task_queue, wait, text):
    tasks.when.using(run_after=START + wait).enqueue()
    assert f", in {text}]" in message(lambda: task_queue.assert_ran(tasks.when))[-2]


def test_what_ran_in_another_way(task_queue):
    with suppress(ValueError):
        task_queue.run_task(tasks.fail, "x")
    assert message(lambda: task_queue.assert_succeeded(tasks.fail))[-1] == (
        "  - tests.app.tasks.fail('x')  [FAILED, ValueError: x] from HERE"
    )


def test_what_was_never_enqueued(task_queue):
    assert message(lambda: task_queue.assert_ran(tasks.add)) == [
        "Expected tests.app.tasks.add to have run, but it has not.",
        "",
        "No task was enqueued at all.",
    ]
    tasks.when.enqueue()
    assert message(lambda: task_queue.assert_ran(tasks.add))[2:] == [
        "No tests.app.tasks.add was enqueued; these were:",
        "  - tests.app.tasks.when()  [READY] from HERE",
    ]


def test_a_run_with_other_arguments(task_queue):
    task_queue.run_task(tasks.add, 1, 2)
    assert message(lambda: task_queue.assert_ran(tasks.add, args=[1, 3]))[2:] == [
        "tests.app.tasks.add was enqueued once, but the call differs:",
        "  tests.app.tasks.add(1, 2)",
        "    enqueued from HERE",
        "    args: expected [1, 3], was [1, 2]",
    ]


@pytest.mark.parametrize(
    ("args", "match", "text"),
    [
        ((), None, ""),
        ((KeyError,), None, " with KeyError"),
        (((KeyError, OSError),), "y", " with KeyError or OSError matching 'y'"),
        ((), re.compile("y"), " matching 'y'"),
    ],
)
def test_another_failure(task_queue, args, match, text):
    task_queue.run_task(tasks.add, 1, 2)
    assert message(lambda: task_queue.assert_failed(tasks.add, *args, match=match)) == [
        f"Expected tests.app.tasks.add to have failed{text}, but it has not.",
        "",
        "It was enqueued:",
        "  - tests.app.tasks.add(1, 2)  [SUCCESSFUL] from HERE",
    ]


def test_a_failure_that_will_be_retried(task_queue):
    task = tasks.perform_patiently.using(max_attempts=3)
    task.enqueue(tasks.body(lambda context: 1 / 0))
    task_queue.run_due()
    lines = message(lambda: task_queue.assert_failed(task))
    assert re.sub(r"body-\d+", "BODY", lines[-1]) == (
        "  - tests.app.tasks.perform_patiently('BODY')  [DEFERRED until 2026-01-01 "
        "00:01:00+00:00, in 0:01:00, ZeroDivisionError: division by zero, attempt 1] from HERE"
    )


def test_a_retry_that_there_was_not(task_queue):
    task_queue.run_task(tasks.add, 1, 2)
    assert message(lambda: task_queue.assert_retried(tasks.add, KeyError))[0] == (
        "Expected tests.app.tasks.add to have been retried with KeyError, but it has not."
    )


def test_an_error_of_several_lines_is_shown_by_its_first(task_queue):
    with suppress(ValueError):
        task_queue.run_task(tasks.fail, "first line\nsecond line")
    assert message(lambda: task_queue.assert_succeeded(tasks.fail))[-1].endswith(
        "[FAILED, ValueError: first line] from HERE"
    )


def test_another_number_of_runs(task_queue):
    task_queue.run_task(tasks.add, 1, 2)
    assert message(lambda: task_queue.assert_succeeded(tasks.add, times=2)) == [
        "Expected tests.app.tasks.add to have succeeded twice, but 1 has.",
        "Of tests.app.tasks.add there is:",
        "  - tests.app.tasks.add(1, 2)  [SUCCESSFUL] from HERE",
    ]
    assert message(lambda: task_queue.assert_succeeded(tasks.fail, times=1)) == [
        "Expected tests.app.tasks.fail to have succeeded once, but none has."
    ]


def test_times_zero_of_what_ran(task_queue):
    assert task_queue.assert_ran(tasks.add, times=0) is None
    task_queue.run_task(tasks.add, 1, 2)
    assert message(lambda: task_queue.assert_ran(tasks.add, times=0))[0] == (
        "Expected no tests.app.tasks.add to have run, but 1 has."
    )


# Limits


def test_a_limit_names_the_task_that_enqueues_itself(task_queue):
    def body():
        tasks.perform.enqueue(name)

    name = tasks.body(body)
    tasks.perform.enqueue(name)
    assert message(task_queue.run_due, LimitReached) == [
        "run_due() stopped at 2026-01-01 00:00:00+00:00: 1000 runs led to one another without time "
        "passing. tests.app.tasks.perform ran 1000 times; it enqueues itself at HERE. What has not "
        "run is still pending. If this many runs are meant, pass a larger limit= or advance() by a "
        "shorter time; if not, the task needs a condition that ends it."
    ]


def test_a_limit_names_the_task_that_enqueues_another(task_queue):
    async def pong():
        await tasks.perform.aenqueue(ping_name)

    ping_name = tasks.body(lambda: tasks.perform_async.enqueue(pong_name) and None)
    pong_name = tasks.body(pong)
    tasks.perform.enqueue(ping_name)
    (line,) = message(lambda: task_queue.advance_until_idle(limit=11), LimitReached)
    assert line.startswith(
        "advance_until_idle() stopped at 2026-01-01 00:00:00+00:00: its limit of 11 runs was "
        "reached. tests.app.tasks.perform ran 6 times; tests.app.tasks.perform_async enqueues it "
        "at HERE. What has not run"
    )


def test_a_limit_names_the_task_that_is_retried(task_queue):
    tasks.perform_with_context.using(max_attempts=10).enqueue(tasks.body(lambda context: 1 / 0))
    (line,) = message(lambda: task_queue.jump(hours=1, limit=4), LimitReached)
    assert line.startswith(
        "jump() stopped at 2026-01-01 01:00:00+00:00: its limit of 4 runs was reached. "
        "tests.app.tasks.perform_with_context ran 4 times; it is retried (attempt 4). What"
    )


def test_a_limit_names_the_task_that_was_enqueued_often(task_queue):
    for _ in range(3):
        tasks.when.enqueue()
    (line,) = message(lambda: task_queue.run_due(limit=1), LimitReached)
    assert "tests.app.tasks.when ran once; it was enqueued from HERE. What" in line


# What an assertion does not take


def asked(queue, /, **filters):
    return lambda: queue.assert_enqueued(tasks.add, **filters)


@pytest.mark.parametrize(
    "verb", ["assert_enqueued", "assert_not_enqueued", "assert_ran", "assert_failed", "run_task"]
)
def test_a_function_or_a_name_in_the_place_of_a_task(task_queue, verb):
    assert message(lambda: getattr(task_queue, verb)(tasks.add.func), NotATask) == [
        f"{verb}() was given the function tests.app.tasks.add, which is no Task. Decorate it with "
        "@task, and pass the decorated object."
    ]
    assert message(lambda: getattr(task_queue, verb)("tests.app.tasks.add"), NotATask) == [
        f"{verb}() was given 'tests.app.tasks.add', which is no Task. Pass the object that @task "
        "made, not its name."
    ]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"arguments": {"c": 1}}, "it has no parameter 'c'"),
        ({"args": [1, 2, 3]}, "too many positional arguments"),
        ({"args": [1], "kwargs": {}}, "missing a required argument: 'b'"),
        ({"args": [1], "kwargs": {"a": 1, "b": 2}}, "multiple values for argument 'a'"),
        ({"kwargs": {"c": 1}}, "got an unexpected keyword argument 'c'"),
    ],
)
def test_a_call_that_can_never_be_found(task_queue, filters, problem):
    assert message(asked(task_queue, **filters), SignatureError) == [
        "assert_enqueued() looks for a call of tests.app.tasks.add that its signature does not "
        f"allow, so no enqueue can ever match: {problem}. The signature is "
        "add(a: int, b: int) -> int."
    ]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"args": "x"}, "takes args as a list or tuple, not 'x'."),
        ({"args": {"a": 1}}, "takes args as a list or tuple, not {'a': 1}."),
        ({"kwargs": [1]}, "takes kwargs as a dict, not [1]."),
        ({"arguments": "x"}, "takes arguments as a dict, not 'x'."),
        ({"times": -1}, "takes times as a whole number of 0 or more, not -1."),
        ({"times": True}, "takes times as a whole number of 0 or more, not True."),
        (
            {"queue": "mail"},
            "has no filter 'queue'; it takes args, kwargs, arguments, queue_name, priority, "
            "run_after, backend and times. Did you mean queue_name?",
        ),
        (
            {"a": 1},
            "has no filter 'a'; it takes args, kwargs, arguments, queue_name, priority, "
            'run_after, backend and times. For the argument of the task: arguments={"a": ...}.',
        ),
        ({"args": 1}, "takes args as a list or tuple, not 1."),
        ({"priority": "5"}, "takes priority as a whole number, not '5'."),
        ({"queue_name": 5}, "takes queue_name as a string, not 5."),
        ({"run_after": 60}, "takes run_after as a datetime, a timedelta or None, not 60."),
        (
            {"run_after": datetime(2026, 1, 1)},
            "takes run_after as an aware datetime, as USE_TZ is True, not 2026-01-01 00:00:00.",
        ),
    ],
)
def test_a_filter_that_there_is_not(task_queue, filters, problem):
    assert message(asked(task_queue, **filters), TypeError) == [f"assert_enqueued() {problem}"]


def test_an_alias_that_there_is_not(task_queue):
    assert message(asked(task_queue, backend="post"), ConfigurationError) == [
        "assert_enqueued(): there is no backend 'post' in TASKS; there is 'default', 'mail'."
    ]


@pytest.mark.parametrize("exception", ["boom", ValueError("boom"), (ValueError, "boom"), int])
@pytest.mark.parametrize("verb", ["assert_failed", "assert_retried"])
def test_an_exception_that_is_no_class(task_queue, verb, exception):
    assert message(lambda: getattr(task_queue, verb)(tasks.fail, exception), TypeError) == [
        f"{verb}() takes the class of an exception, or a tuple of them, not {exception!r}. "
        "To look at its message, pass match=."
    ]


# Backends in the way, and queues that cannot be


DJANGOS = "django.tasks.backends.dummy.DummyBackend"
does_not_record = override_settings(
    TASKS={"default": {"BACKEND": DJANGOS}, "mail": {"BACKEND": DJANGOS}}
)


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("assert_enqueued", lambda queue: queue.assert_enqueued(tasks.add)),
        ("assert_not_enqueued", lambda queue: queue.assert_not_enqueued(tasks.add)),
        ("assert_nothing_enqueued", lambda queue: queue.assert_nothing_enqueued()),
        ("assert_ran", lambda queue: queue.assert_ran(tasks.add)),
        ("expect", lambda queue: queue.expect(tasks.add).__enter__()),
        ("records", lambda queue: queue.records),
        ("pending", lambda queue: queue.pending),
        ("deferred", lambda queue: queue.deferred),
        ("finished", lambda queue: queue.finished),
        ("timeline", lambda queue: queue.timeline()),
        ("run_due", lambda queue: queue.run_due()),
        ("run_task", lambda queue: queue.run_task(tasks.add, 1, 2)),
        ("advance", lambda queue: queue.advance(hours=1)),
    ],
)
def test_a_backend_in_the_way_that_does_not_record(task_queue, verb, call):
    with does_not_record:
        assert message(lambda: call(task_queue), NotRecording) == [
            f'{verb}(): the backend of TASKS["default"], {DJANGOS}, does not record, so there is '
            "nothing to look at and nothing to run. The test overrides TASKS itself, and its "
            "choice wins: use tasks_testing.backends.DummyBackend there, or drop the override."
        ]


def test_run_task_on_the_one_alias_that_does_not_record(task_queue):
    entries = {
        "default": {"BACKEND": "tasks_testing.backends.DummyBackend"},
        "mail": {"BACKEND": DJANGOS},
    }
    with override_settings(TASKS=entries):
        task = tasks.add.using(backend="mail")
        lines = message(lambda: task_queue.run_task(task, 1, 2), NotRecording)
        assert lines[0].startswith(f'run_task(): the backend of TASKS["mail"], {DJANGOS}, does not')
        task_queue.run_task(tasks.add, 1, 2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "fast"}, "asks for the mode 'fast'; there are record, immediate, database, off."),
        ({"on_error": "ignore"}, 'on_error must be "raise" or "record", not \'ignore\'.'),
        (
            {"strict": "failed slow"},
            "asks to be strict about 'slow'; there are failed, never_run, before_commit, and all.",
        ),
        (
            {"mode": "off"},
            "The test queue has nothing to offer in the mode off, which leaves the project's own "
            'backends in place. Use mode="record" or mode="immediate" for this test.',
        ),
    ],
)
def test_a_queue_that_cannot_be(options, text):
    (line,) = message(lambda: TaskQueue(**options), ConfigurationError)
    assert line.endswith(text)


def test_a_message_about_one_alias(task_queue):
    default_task_backend.enqueue(tasks.add, (1, 2), {})
    assert message(lambda: task_backends["mail"].assert_enqueued(tasks.add)) == [
        "Expected tests.app.tasks.add to be enqueued, but it was not.",
        "",
        "No task was enqueued at all.",
    ]


def test_arguments_of_the_call_given_by_position(task_queue):
    assert message(lambda: task_queue.assert_enqueued(tasks.add, 1, 2), TypeError) == [
        "assert_enqueued() takes the task alone by position; for its arguments write args=[1, 2]."
    ]


def test_an_expected_record_where_none_was_expected(task_queue):
    with task_queue.expect(tasks.add, times=0) as expected:
        pass
    assert message(lambda: expected.record, TasksTestingError) == [
        "expect(times=0) found no task, so there is no .record."
    ]
