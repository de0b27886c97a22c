"""The verbs that run tasks where time stands: what runs, in which order, and what they tell."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.tasks import default_task_backend, task_backends
from django.utils import timezone

from tasks_database.engine import TaskTimeout
from tasks_testing import EventLoopRunning, LimitReached, TaskQueue
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

frozen = pytest.mark.tasks(now=START)
recording_errors = pytest.mark.tasks(now=START, on_error="record")
# Threads have connections of their own, which see nothing of a TestCase's transaction.
only_in_memory = pytest.mark.usefixtures("only_in_memory")


def labels(records):
    return [record.arguments["label"] for record in records]


def when(label, **options):
    return tasks.when.using(**options).enqueue(label)


def failing(times, then=None):
    """A body that raises in its first attempts."""

    def body(context):
        if context.attempt <= times:
            raise ValueError(f"attempt {context.attempt}")
        return then() if then else context.attempt

    return tasks.body(body)


def plain(body, **options):
    return tasks.perform.using(**options).enqueue(tasks.body(body))


# What runs, in which order


def test_nothing_runs_before_a_verb(task_queue):
    when("a")
    assert labels(task_queue.pending) == ["a"]
    assert task_queue.finished == []


def test_run_next_runs_one_task(task_queue):
    when("a")
    when("b")
    assert labels(task_queue.run_next().succeeded) == ["a"]
    assert labels(task_queue.pending) == ["b"]


def test_run_next_runs_one_attempt(task_queue):
    tasks.perform_with_context.using(max_attempts=3).enqueue(failing(1))
    assert task_queue.run_next().counts["retried"] == 1
    assert task_queue.run_next().counts["succeeded"] == 1


def test_run_next_with_nothing_due_is_an_empty_tally(task_queue):
    when("later", run_after=timezone.now() + MINUTE)
    tally = task_queue.run_next()
    assert tally.counts == {"succeeded": 0, "failed": 0, "retried": 0, "deferred": 1}
    assert len(tally) == 0


def test_run_due_runs_until_nothing_is_due(task_queue):
    for label in "abc":
        when(label)
    assert labels(task_queue.run_due().succeeded) == ["a", "b", "c"]
    assert task_queue.pending == []


def test_run_due_leaves_what_is_not_due(task_queue):
    when("later", run_after=timezone.now() + MINUTE)
    when("now")
    tally = task_queue.run_due()
    assert labels(tally.succeeded) == ["now"]
    assert labels(tally.deferred) == labels(task_queue.deferred) == ["later"]


def test_run_due_runs_children_and_grandchildren(task_queue):
    def parent():
        plain(child)
        when("sibling")

    def child():
        when("grandchild")

    plain(parent)
    tally = task_queue.run_due()
    assert [record.parent is None for record in tally.succeeded] == [True, False, False, False]
    assert labels(tally.succeeded[2:]) == ["sibling", "grandchild"]


def test_run_due_runs_retries_without_delay(task_queue):
    tasks.perform_with_context.using(max_attempts=3).enqueue(failing(2))
    tally = task_queue.run_due()
    assert tally.counts == {"succeeded": 1, "failed": 0, "retried": 2, "deferred": 0}


@frozen
def test_the_order_is_by_priority_then_by_time_ready_then_by_enqueue(task_queue):
    when("low", priority=-1)
    when("second", priority=5)
    when("ready for a minute", priority=5, run_after=START - MINUTE)  # Counts from its enqueue.
    when("high", priority=10)
    when("last of five", priority=5)
    assert labels(task_queue.run_due().ran) == [
        "high",
        "second",
        "ready for a minute",
        "last of five",
        "low",
    ]


@frozen
def test_who_was_ready_first_goes_first(task_queue):
    when("deferred", run_after=START + MINUTE)
    task_queue.freeze(START + MINUTE / 2)
    when("enqueued before it was due")
    task_queue.freeze(START + 2 * MINUTE)
    when("enqueued after it was due")
    assert labels(task_queue.run_due().ran) == [
        "enqueued before it was due",
        "deferred",
        "enqueued after it was due",
    ]


def test_a_child_of_high_priority_overtakes_what_was_waiting(task_queue):
    plain(lambda: when("child", priority=1) and None)
    when("waiting")
    assert labels(task_queue.run_due().ran[1:]) == ["child", "waiting"]


# What a drain tells


@recording_errors
def test_a_tally_has_counts_and_records(task_queue):
    when("fine")
    tasks.fail.enqueue("broken")
    tasks.perform_patiently.using(max_attempts=2).enqueue(failing(1))
    when("later", run_after=START + MINUTE / 2)
    tally = task_queue.run_due()
    assert tally.counts == {"succeeded": 1, "failed": 1, "retried": 1, "deferred": 2}
    assert labels(tally.succeeded) == ["fine"]
    assert [record.arguments for record in tally.failed] == [{"message": "broken"}]
    assert [record.status for record in tally.retried] == ["DEFERRED"]
    assert [record.due for record in tally.deferred] == [START + MINUTE / 2, START + MINUTE]
    assert len(tally) == 3
    assert [record.status for record in tally] == ["SUCCESSFUL", "FAILED", "DEFERRED"]
    assert all(
        isinstance(part, tuple)
        for part in (tally.succeeded, tally.failed, tally.retried, tally.deferred, tally.ran)
    )
    assert repr(tally) == "<Tally: 1 succeeded, 1 failed, 1 retried, 2 deferred>"


def test_an_empty_tally_is_true(task_queue):
    assert task_queue.run_due()


@frozen
def test_a_tally_shows_the_tasks_as_they_were(task_queue):
    task = tasks.perform_patiently.using(max_attempts=3)
    task.enqueue(failing(2))
    first = task_queue.run_due()
    task_queue.advance(hours=1)
    (retried,) = first.retried
    assert (retried.status, retried.attempts, len(retried.errors)) == ("DEFERRED", 1, 1)
    assert [record.attempts for record in first.deferred] == [1]
    assert [record.status for record in task_queue.records] == ["SUCCESSFUL"]


@frozen
def test_a_tally_has_one_record_for_each_failed_attempt(task_queue):
    tasks.perform_with_context.using(max_attempts=3).enqueue(failing(2))
    assert [record.attempts for record in task_queue.run_due().retried] == [1, 2]


def test_a_tally_survives_the_clearing_of_the_record(task_queue):
    when("a")
    tally = task_queue.run_due()
    default_task_backend.clear()
    assert labels(tally.succeeded) == ["a"]
    assert task_queue.records == []


# Failures


def test_the_original_exception_is_raised_with_notes(task_queue):
    error = ValueError("boom")

    def body():
        raise error

    plain(body)
    (record,) = task_queue.records
    with pytest.raises(ValueError, match="boom") as raised:
        task_queue.run_due()
    assert raised.value is error
    assert error.__notes__ == [
        f"Task tests.app.tasks.perform, enqueued at {record.enqueued_from}, attempt 1."
    ]
    names = [entry.name for entry in raised.traceback]
    assert names[-2:] == ["perform", "body"]


def test_the_note_says_which_attempt_of_how_many(task_queue):
    tasks.perform_with_context.using(max_attempts=2).enqueue(failing(2))
    with pytest.raises(ValueError, match="attempt 2") as raised:
        task_queue.run_due()
    assert raised.value.__notes__[0].endswith(", attempt 2 of 2.")


def test_a_failure_that_will_be_retried_is_not_raised(task_queue):
    tasks.perform_patiently.using(max_attempts=2).enqueue(failing(1))
    assert task_queue.run_due().counts["retried"] == 1


def test_a_raise_leaves_the_rest_pending_and_the_next_drain_goes_on(task_queue):
    when("before", priority=1)
    tasks.fail.enqueue()
    when("after")
    with pytest.raises(ValueError, match="boom"):
        task_queue.run_due()
    assert [record.status for record in task_queue.records] == ["SUCCESSFUL", "FAILED", "READY"]
    assert labels(task_queue.run_due().succeeded) == ["after"]


@pytest.mark.parametrize(("on_error", "problems"), [("raise", 0), ("record", 1)])
def test_a_failure_that_was_raised_counts_as_looked_at(on_error, problems):
    with TaskQueue(on_error=on_error) as queue:
        tasks.fail.enqueue()
        try:
            queue.run_due()
        except ValueError:
            assert on_error == "raise"
        strict = TaskQueue(strict="failed", own_block=False)
        assert (strict.strictness_problem() is not None) == bool(problems)


@pytest.mark.tasks(on_error="record")
def test_recorded_failures_do_not_stop_a_drain(task_queue):
    tasks.fail.enqueue()
    when("after")
    tally = task_queue.run_due()
    assert tally.counts == {"succeeded": 1, "failed": 1, "retried": 0, "deferred": 0}


def test_a_keyboard_interrupt_ends_the_drain(task_queue):
    def body():
        raise KeyboardInterrupt

    plain(body)
    when("after")
    with pytest.raises(KeyboardInterrupt):
        task_queue.run_due()
    assert [record.status for record in task_queue.records] == ["RUNNING", "READY"]


@pytest.mark.tasks(on_error="record")
def test_pytest_fail_in_a_task_is_the_tests_failure(task_queue):
    plain(lambda: pytest.fail("from inside"), max_attempts=2)
    with pytest.raises(pytest.fail.Exception, match="from inside"):
        task_queue.run_due()


def test_a_broken_str_of_an_exception_hides_nothing(task_queue):
    class BrokenError(Exception):
        def __str__(self):
            raise ZeroDivisionError

    def body():
        raise BrokenError

    plain(body)
    with pytest.raises(BrokenError):
        task_queue.run_due()
    task_queue.assert_failed(tasks.perform, BrokenError)


# run_task


def test_run_task_runs_one_call_and_returns_its_record(task_queue):
    record = task_queue.run_task(tasks.add, 1, b=2)
    assert (record.status, record.return_value, record.attempts) == ("SUCCESSFUL", 3, 1)
    assert task_queue.records == [record]


def test_run_task_enqueues_nothing(task_queue):
    task_queue.run_task(tasks.add, 1, 2)
    task_queue.assert_nothing_enqueued()
    task_queue.assert_ran(tasks.add)
    assert default_task_backend.results == []


def test_run_task_leaves_the_others_alone(task_queue):
    when("waiting", priority=100)
    task_queue.run_task(tasks.add, 1, 2)
    assert labels(task_queue.pending) == ["waiting"]


def test_run_task_takes_json_as_a_worker_does(task_queue):
    assert task_queue.run_task(tasks.perform, tasks.body(lambda v: v), (1, 2)).return_value == [
        1,
        2,
    ]


def test_run_task_does_not_wait_for_run_after(task_queue):
    task = tasks.add.using(run_after=timezone.now() + MINUTE)
    assert task_queue.run_task(task, 1, 2).return_value == 3


def test_run_task_raises_the_failure(task_queue):
    with pytest.raises(ValueError, match="boom") as raised:
        task_queue.run_task(tasks.fail)
    assert "tests.app.tasks.fail, run by run_task() at " in raised.value.__notes__[0]


@pytest.mark.tasks(on_error="record")
def test_run_task_records_the_failure_on_request(task_queue):
    assert task_queue.run_task(tasks.fail).status == "FAILED"


def test_run_task_runs_one_attempt(task_queue):
    record = task_queue.run_task(tasks.perform_with_context.using(max_attempts=3), failing(2))
    assert (record.status, record.attempts) == ("READY", 1)
    assert task_queue.run_due().counts["succeeded"] == 1


def test_run_task_runs_coroutines(task_queue):
    assert task_queue.run_task(tasks.multiply, 2, 3).return_value == 6


def test_as_attempt_runs_that_attempt(task_queue):
    record = task_queue.as_attempt(3).run_task(tasks.attempt)
    assert (record.return_value, record.attempts) == (3, 3)


def test_as_attempt_is_the_last_one_where_the_task_has_no_more(task_queue):
    task = tasks.perform_with_context.using(max_attempts=3)
    assert task_queue.as_attempt(2).run_task(task, failing(9)).status == "READY"
    with pytest.raises(ValueError, match="attempt 3"):
        task_queue.as_attempt(3).run_task(task, failing(9))


@frozen
def test_as_attempt_asks_for_the_backoff_of_that_attempt(task_queue):
    task = tasks.perform_patiently.using(max_attempts=9)
    record = task_queue.as_attempt(3).run_task(task, failing(9))
    assert record.due - record.started_at == 4 * MINUTE


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None])
def test_as_attempt_takes_a_number(task_queue, number):
    with pytest.raises(ValueError, match="takes the number of an attempt") as raised:
        task_queue.as_attempt(number)
    assert str(raised.value) == (
        f"as_attempt() takes the number of an attempt, 1 or more, not {number!r}."
    )


# Limits and loops


def endless(task=tasks.perform, **options):
    """Enqueue a task that enqueues itself."""

    def body():
        task.using(**options).enqueue(name)

    name = tasks.body(body)
    task.enqueue(name)


def test_a_limit_is_the_number_of_attempts(task_queue):
    for label in "abc":
        when(label)
    with pytest.raises(LimitReached):
        task_queue.run_due(limit=2)
    assert labels(task_queue.pending) == ["c"]
    assert labels(task_queue.run_due(limit=1).succeeded) == ["c"]


def test_a_limit_of_nothing(task_queue):
    assert len(task_queue.run_due(limit=0)) == 0
    when("a")
    with pytest.raises(LimitReached, match=r"tests\.app\.tasks\.when has not run; it was enqueued"):
        task_queue.run_due(limit=0)
    assert labels(task_queue.pending) == ["a"]


def test_a_chain_of_a_thousand_tasks_runs(task_queue, many_tasks):
    def body(left):
        if left > 1:
            tasks.perform.enqueue(name, left - 1)

    name = tasks.body(body)
    tasks.perform.enqueue(name, 1000)
    assert len(task_queue.run_due().succeeded) == 1000


def test_a_thousand_children_of_one_task_are_no_chain(task_queue, many_tasks):
    plain(lambda: [when("child") for _ in range(1500)] and None)
    assert len(task_queue.run_due().succeeded) == 1501


def test_an_endless_chain_is_stopped(task_queue, many_tasks):
    endless()
    with pytest.raises(LimitReached):
        task_queue.run_due()
    assert len(task_queue.finished) == 1000
    assert len(task_queue.pending) == 1


def test_a_larger_limit_allows_a_longer_chain(task_queue, many_tasks):
    endless()
    with pytest.raises(LimitReached):
        task_queue.run_due(limit=1200)
    assert len(task_queue.finished) == 1200


def test_endless_retries_are_stopped(task_queue, many_tasks):
    task = tasks.perform_with_context.using(max_attempts=10**9)
    task.enqueue(failing(10**9))
    with pytest.raises(
        LimitReached, match=r"1000 runs led to one another.* ran 1000 times; it is "
    ):
        task_queue.run_due()
    assert [record.attempts for record in task_queue.pending] == [1000]


@pytest.mark.parametrize("limit", [-1, 1.5, "10", True])
def test_a_limit_that_is_no_number(task_queue, limit):
    with pytest.raises(ValueError, match="takes limit") as raised:
        task_queue.run_due(limit=limit)
    assert str(raised.value) == (
        f"run_due() takes limit as a whole number of 0 or more, not {limit!r}."
    )


# Timeouts


@frozen
def test_a_function_that_took_longer_than_its_timeout_has_failed(task_queue):
    def body():
        task_queue.freeze(task_queue.now + 2 * MINUTE)

    plain(body, timeout=MINUTE)
    with pytest.raises(TaskTimeout) as raised:
        task_queue.run_due()
    assert str(raised.value) == (
        "tests.app.tasks.perform ran 0:02:00, longer than its timeout of 0:01:00."
    )
    assert raised.value.__notes__[0].startswith("Task tests.app.tasks.perform, enqueued at ")
    task_queue.assert_failed(tasks.perform, TaskTimeout)


@frozen
def test_a_timeout_to_the_instant_is_kept(task_queue):
    plain(lambda: task_queue.freeze(task_queue.now + MINUTE) and None, timeout=MINUTE)
    assert task_queue.run_due().counts["succeeded"] == 1


def test_a_timeout_is_of_real_time_where_time_is_real(task_queue):
    def body():
        end = time.monotonic() + 0.005
        while time.monotonic() < end:
            pass

    plain(body, timeout=timedelta(milliseconds=1))
    with pytest.raises(TaskTimeout):
        task_queue.run_due()


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_coroutine_is_cancelled_at_its_timeout(task_queue, is_frozen):
    if is_frozen:
        task_queue.freeze()
    ended = []

    async def body():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = tasks.perform_async.using(timeout=timedelta(milliseconds=10))
    task.enqueue(tasks.body(body))
    with pytest.raises(TaskTimeout) as raised:
        task_queue.run_due()
    assert str(raised.value) == (
        "tests.app.tasks.perform_async ran longer than its timeout of 0:00:00.010000: cancelled."
    )
    assert ended == [True]


def test_a_coroutine_within_its_timeout_succeeds(task_queue):
    async def body():
        await asyncio.sleep(0)
        return "done"

    tasks.perform_async.using(timeout=MINUTE).enqueue(tasks.body(body))
    assert task_queue.run_due().succeeded[0].return_value == "done"


def test_a_coroutine_that_cancels_itself_met_no_timeout(task_queue):
    async def body():
        raise asyncio.CancelledError

    tasks.perform_async.using(timeout=MINUTE).enqueue(tasks.body(body))
    with pytest.raises(asyncio.CancelledError):
        task_queue.run_due()


@frozen
def test_a_timeout_is_retried_like_any_failure(task_queue):
    def body(context):
        if context.attempt == 1:
            task_queue.freeze(task_queue.now + 2 * MINUTE)

    task = tasks.perform_with_context.using(timeout=MINUTE, max_attempts=2)
    task.enqueue(tasks.body(body))
    assert task_queue.run_due().counts["succeeded"] == 1
    task_queue.assert_retried(tasks.perform_with_context, TaskTimeout)


# One alias


def test_a_backends_verbs_run_its_own_alias_only(task_queue):
    when("default")
    when("mail", backend="mail")
    assert labels(task_backends["mail"].run_due().succeeded) == ["mail"]
    assert labels(default_task_backend.pending) == ["default"]
    assert task_backends["mail"].pending == []


def test_a_queue_runs_all_aliases_in_one_order(task_queue):
    when("first")
    when("second", backend="mail")
    when("third")
    when("urgent", backend="mail", priority=1)
    assert labels(task_queue.run_due().ran) == ["urgent", "first", "second", "third"]


def test_a_backends_assertions_see_its_own_alias_only(task_queue):
    when("default")
    when("mail", backend="mail")
    default_task_backend.assert_enqueued(tasks.when, times=1)
    task_backends["mail"].assert_enqueued(tasks.when, arguments={"label": "mail"}, times=1)
    task_backends["mail"].assert_not_enqueued(tasks.when, arguments={"label": "default"})
    task_queue.assert_enqueued(tasks.when, times=2)
    assert labels(task_backends["mail"].records) == ["mail"]


@frozen
def test_a_backend_that_moves_time_leaves_the_others_tasks(task_queue):
    when("default", run_after=START + MINUTE)
    when("mail", run_after=START + MINUTE, backend="mail")
    assert labels(task_backends["mail"].advance(hours=1).succeeded) == ["mail"]
    assert labels(task_queue.pending) == ["default"]
    assert labels(task_queue.run_due().succeeded) == ["default"]


def test_a_nested_queue_runs_its_own_tasks_only(task_queue):
    when("outer")
    with TaskQueue() as inner:
        when("inner")
        assert labels(inner.run_due().succeeded) == ["inner"]
    assert labels(task_queue.pending) == ["outer"]
    assert labels(task_queue.records) == ["outer", "inner"]


def test_what_a_nested_queue_left_is_run_by_the_one_around(task_queue):
    with TaskQueue():
        when("left")
    assert labels(task_queue.run_due().succeeded) == ["left"]


def test_without_a_queue_a_backend_freezes_the_clock_until_it_is_cleared():
    before = timezone.now()
    assert timezone.now() != before
    default_task_backend.advance(hours=1)
    assert timezone.now() == timezone.now() > before
    default_task_backend.clear()
    assert timezone.now() < before + timedelta(hours=1)


@only_in_memory
# Threads
def test_threads_enqueue_while_a_verb_runs_tasks(task_queue):
    threads = 4
    each = 150
    barrier = threading.Barrier(threads + 1)

    def enqueue(thread):
        barrier.wait()
        for number in range(each):
            tasks.when.using(priority=number % 3).enqueue(f"{thread}-{number}")

    workers = [threading.Thread(target=enqueue, args=[number]) for number in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    ran = []
    while any(worker.is_alive() for worker in workers):
        ran += labels(task_queue.run_due().succeeded)
    ran += labels(task_queue.run_due().succeeded)
    assert len(ran) == len(set(ran)) == threads * each
    assert len(task_queue.finished) == threads * each


# Async twins


@frozen
async def test_the_async_twins_run_tasks(task_queue):
    await tasks.when.aenqueue("first")
    await tasks.when.aenqueue("second")
    await tasks.when.using(run_after=START + MINUTE).aenqueue("later")
    assert labels((await task_queue.arun_next()).succeeded) == ["first"]
    assert labels((await task_queue.arun_due()).succeeded) == ["second"]
    assert labels((await task_queue.aadvance(minutes=1)).succeeded) == ["later"]


@frozen
async def test_the_async_twins_of_the_clock(task_queue):
    for minutes in (1, 2, 3, 4):
        await tasks.when.using(run_after=START + minutes * MINUTE).aenqueue(str(minutes))
    assert labels((await task_queue.aadvance(MINUTE)).ran) == ["1"]
    assert labels((await task_queue.aadvance_to(START + 2 * MINUTE)).ran) == ["2"]
    assert labels((await task_queue.ajump(minutes=1)).ran) == ["3"]
    assert labels((await task_queue.aadvance_until_idle(limit=5)).ran) == ["4"]
    assert task_queue.now == START + 4 * MINUTE


async def test_arun_task_and_its_attempts(task_queue):
    assert (await task_queue.arun_task(tasks.multiply, 2, b=3)).return_value == 6
    record = await task_queue.as_attempt(2).arun_task(tasks.attempt)
    assert record.return_value == 2


async def test_the_async_twins_take_the_same_arguments(task_queue):
    await tasks.when.aenqueue("a")
    for twin, args in [
        (task_queue.arun_due, ()),
        (task_queue.aadvance, (MINUTE,)),
        (task_queue.aadvance_to, (timezone.now() + MINUTE,)),
        (task_queue.aadvance_until_idle, ()),
        (task_queue.ajump, (MINUTE,)),
    ]:
        with pytest.raises(LimitReached):
            await twin(*args, limit=0)


async def test_the_async_twins_raise_what_the_task_raised(task_queue):
    await tasks.fail.aenqueue()
    with pytest.raises(ValueError, match="boom"):
        await task_queue.arun_due()


async def test_an_async_task_enqueues_from_inside(task_queue):
    async def body():
        await tasks.when.aenqueue("child")

    await tasks.perform_async.aenqueue(tasks.body(body))
    tally = await task_queue.arun_due()
    assert tally.succeeded[1].parent.task == tasks.perform_async


async def test_a_coroutine_in_an_async_test_does_not_hang_under_the_frozen_clock(task_queue):
    async def body():
        await asyncio.sleep(0.001)
        return "awake"

    task_queue.freeze()
    await tasks.perform_async.aenqueue(tasks.body(body))
    assert (await task_queue.arun_due()).succeeded[0].return_value == "awake"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("run_next", ()),
        ("run_due", ()),
        ("run_task", (tasks.add, 1, 2)),
        ("advance", (MINUTE,)),
        ("advance_to", (START,)),
        ("advance_until_idle", ()),
        ("jump", (MINUTE,)),
    ],
)
async def test_a_verb_in_a_coroutine_names_its_twin(task_queue, verb, args):
    await tasks.when.aenqueue("a")
    before = task_queue.records
    with pytest.raises(EventLoopRunning) as raised:
        getattr(task_queue, verb)(*args)
    assert str(raised.value) == (
        f"{verb}() was called in a coroutine, where tasks cannot be run: they would block the "
        f"event loop. Use its async twin: await task_queue.a{verb}(...)."
    )
    assert task_queue.records == before
