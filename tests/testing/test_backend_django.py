"""What Django's documentation (topics/tasks, ref/tasks) says of its two backends holds for ours.

Where the behaviour is shared, each test runs against Django's own backend too: a check of the test.
"""

import asyncio
import logging
import sys
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import pytest
from django.tasks import TaskContext, TaskResultStatus, default_task_backend, task_backends
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.test import override_settings
from django.utils import timezone

from tasks_testing.backends import DummyBackend, ImmediateBackend
from tests.app import tasks

SIGNALS = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}


@contextmanager
def backends(path):
    entry = {"BACKEND": path, "QUEUES": []}
    with override_settings(TASKS={"default": entry, "other": dict(entry)}):
        yield task_backends["default"]


@pytest.fixture(params=["tasks_testing.backends", "django.tasks.backends.dummy"])
def dummy(request):
    with backends(f"{request.param}.DummyBackend") as backend:
        yield backend


@pytest.fixture(params=["tasks_testing.backends", "django.tasks.backends.immediate"])
def immediate(request):
    with backends(f"{request.param}.ImmediateBackend") as backend:
        yield backend


@pytest.fixture
def our_dummy():
    with backends("tasks_testing.backends.DummyBackend") as backend:
        yield backend


@pytest.fixture
def our_immediate():
    with backends("tasks_testing.backends.ImmediateBackend") as backend:
        yield backend


@pytest.fixture
def sent():
    """Each signal that is sent: its name, sender, and the state of its result just then."""
    heard = []

    def listen(name, sender, task_result, **kwargs):
        heard.append((name, sender, task_result.status, sys.exc_info()[1]))

    listeners = {name: partial(listen, name) for name in SIGNALS}
    for name, signal in SIGNALS.items():
        signal.connect(listeners[name])
    yield heard
    for name, signal in SIGNALS.items():
        signal.disconnect(listeners[name])


# Dummy: stores, and does not run


def test_dummy_leaves_a_task_ready(dummy):
    result = tasks.add.enqueue(1, 2)
    assert result.status == TaskResultStatus.READY
    assert not result.is_finished
    assert result.attempts == 0
    assert (result.args, result.kwargs) == ([1, 2], {})
    assert (result.errors, result.worker_ids) == ([], [])


def test_dummy_lists_results_in_the_order_of_enqueueing(dummy):
    ids = [tasks.add.enqueue(1, b).id for b in range(3)]
    assert [result.id for result in default_task_backend.results] == ids


def test_dummy_clear_empties_the_results_of_its_own_alias_only(dummy):
    tasks.add.enqueue(1, 2)
    kept = tasks.add.using(backend="other").enqueue(1, 2)
    default_task_backend.clear()
    assert default_task_backend.results == []
    assert [result.id for result in task_backends["other"].results] == [kept.id]


def test_a_result_says_when_and_where_it_was_enqueued(dummy):
    before = timezone.now()
    result = tasks.add.using(backend="other").enqueue(1, 2)
    assert before <= result.enqueued_at <= timezone.now()
    assert result.started_at is result.last_attempted_at is result.finished_at is None
    assert result.backend == "other"
    assert len(result.id) < 64


def test_ids_are_all_different(dummy):
    assert len({tasks.add.enqueue(1, 2).id for _ in range(100)}) == 100


def test_a_result_is_no_part_of_the_record(dummy):
    result = tasks.mail.enqueue("a@example.com", tags=["x"])
    result.kwargs["tags"].append("changed by the caller")
    assert default_task_backend.get_result(result.id).kwargs == {"tags": ["x"]}


def test_the_callers_own_list_may_change_after_the_enqueue(dummy):
    tags = ["x"]
    result = tasks.mail.enqueue("a@example.com", tags=tags)
    tags.append("later")
    assert default_task_backend.get_result(result.id).kwargs == {"tags": ["x"]}


def test_a_return_value_is_refused_before_the_end(dummy):
    with pytest.raises(ValueError, match="Task has not finished yet"):
        tasks.add.enqueue(1, 2).return_value


async def test_aenqueue_records_the_same(dummy):
    result = await tasks.multiply.aenqueue(2, b=3)
    assert (result.args, result.kwargs) == ([2], {"b": 3})
    assert [result.id for result in default_task_backend.results] == [result.id]


# Results


def test_get_result_finds_it_through_the_task_and_through_the_backend(dummy):
    enqueued = tasks.add.enqueue(1, 2)
    assert tasks.add.get_result(enqueued.id).id == enqueued.id
    assert default_task_backend.get_result(enqueued.id).task == tasks.add


async def test_aget_result_finds_it_too(dummy):
    enqueued = await tasks.add.aenqueue(1, 2)
    assert (await tasks.add.aget_result(enqueued.id)).id == enqueued.id
    assert (await default_task_backend.aget_result(enqueued.id)).id == enqueued.id


def test_an_unknown_id_has_no_result(dummy):
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("unknown")


async def test_an_unknown_id_has_no_result_for_aget_result(dummy):
    with pytest.raises(TaskResultDoesNotExist):
        await tasks.add.aget_result("unknown")


def test_another_alias_has_no_such_result(dummy):
    enqueued = tasks.add.enqueue(1, 2)
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["other"].get_result(enqueued.id)


def test_the_result_of_another_task_is_a_mismatch(dummy):
    enqueued = tasks.add.enqueue(1, 2)
    with pytest.raises(TaskResultMismatch, match=r"tests\.app\.tasks\.add"):
        tasks.when.get_result(enqueued.id)


async def test_the_result_of_another_task_is_a_mismatch_for_aget_result(dummy):
    enqueued = await tasks.add.aenqueue(1, 2)
    with pytest.raises(TaskResultMismatch, match=r"tests\.app\.tasks\.add"):
        await tasks.when.aget_result(enqueued.id)


def test_cleared_results_no_longer_exist(dummy):
    enqueued = tasks.add.enqueue(1, 2)
    dummy.clear()
    with pytest.raises(TaskResultDoesNotExist):
        enqueued.refresh()


@pytest.mark.usefixtures("only_in_memory")  # A TestCase's rows are no other thread's to see.
def test_get_result_works_from_any_thread(our_dummy):
    enqueued = tasks.add.enqueue(1, 2)
    found = []
    thread = threading.Thread(target=lambda: found.append(tasks.add.get_result(enqueued.id)))
    thread.start()
    thread.join()
    assert found[0].id == enqueued.id
    assert default_task_backend.supports_get_result


def test_a_result_handed_out_earlier_shows_the_run_after_refresh(our_dummy):
    result = tasks.add.enqueue(1, 2)
    our_dummy.run_due()
    assert result.status == TaskResultStatus.READY
    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == 3
    assert result.attempts == 1
    assert result.enqueued_at <= result.started_at == result.last_attempted_at
    assert result.started_at <= result.finished_at


async def test_arefresh_does_the_same(our_dummy):
    result = await tasks.add.aenqueue(1, 2)
    await our_dummy.arun_due()
    await result.arefresh()
    assert result.return_value == 3


def test_a_result_tells_of_the_failed_attempts(our_dummy):
    def body(context):
        if context.attempt == 1:
            raise ValueError("the first time")

    task = tasks.perform_with_context.using(max_attempts=2)
    result = task.enqueue(tasks.body(body))
    our_dummy.run_next()
    result.refresh()
    assert result.status == TaskResultStatus.READY  # "or is ready to be executed again"
    assert [error.exception_class for error in result.errors] == [ValueError]
    our_dummy.run_next()
    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert (result.attempts, len(result.errors)) == (2, 1)
    assert result.started_at < result.last_attempted_at


# Immediate: runs at once


def test_immediate_runs_at_once_and_returns_the_finished_result(immediate):
    before = timezone.now()
    result = tasks.add.enqueue(1, b=2)
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert result.return_value == 3
    assert result.attempts == len(result.worker_ids) == 1
    assert result.errors == []
    assert before <= result.enqueued_at <= result.started_at == result.last_attempted_at
    assert result.started_at <= result.finished_at <= timezone.now()


def test_immediate_runs_coroutines(immediate):
    assert tasks.multiply.enqueue(2, 3).return_value == 6


async def test_immediate_runs_coroutines_from_aenqueue(immediate):
    assert (await tasks.multiply.aenqueue(2, 3)).return_value == 6


async def test_immediate_runs_functions_from_aenqueue(immediate):
    assert (await tasks.add.aenqueue(2, 3)).return_value == 5


def test_immediate_keeps_the_exception_in_the_result(immediate):
    result = tasks.fail.enqueue("no such order")
    assert result.status == TaskResultStatus.FAILED
    assert result.is_finished
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert error.exception_class_path == "builtins.ValueError"
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert error.traceback.endswith("ValueError: no such order\n")
    assert "in fail" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value


@pytest.mark.parametrize("kind", [SystemExit, BaseException, GeneratorExit])
def test_what_is_no_exception_fails_the_task_as_well(immediate, kind):
    def body():
        raise kind("stop")

    result = tasks.perform.enqueue(tasks.body(body))
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is kind


def test_a_keyboard_interrupt_passes(immediate, sent):
    def body():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tasks.perform.enqueue(tasks.body(body))
    assert [name for name, *_ in sent] == ["enqueued", "started"]


@pytest.mark.parametrize("value", [{1, 2}, object(), datetime(2026, 1, 1)])
def test_a_return_value_that_json_cannot_carry_fails_the_task(immediate, value):
    result = tasks.perform.enqueue(tasks.body(lambda: value))
    assert result.status == TaskResultStatus.FAILED
    assert issubclass(result.errors[0].exception_class, TypeError)


def test_a_tuple_comes_back_as_a_list(immediate):
    result = tasks.perform.enqueue(tasks.body(lambda: ((1, 2), {"pair": (3,)})))
    assert result.return_value == [[1, 2], {"pair": [3]}]


def test_a_task_gets_its_tuples_as_lists(immediate):
    kinds = tasks.perform.enqueue(tasks.body(lambda value: type(value).__name__), (1, 2))
    assert kinds.return_value == "list"


def test_none_is_a_return_value(immediate):
    assert tasks.perform.enqueue(tasks.body(lambda: None)).return_value is None


def test_immediate_enqueues_more_from_inside_a_task(immediate):
    def body():
        return tasks.add.enqueue(1, 2).return_value

    assert tasks.perform.enqueue(tasks.body(body)).return_value == 3


def test_immediate_remembers_its_results(our_immediate):
    # Django's own raises NotImplementedError; ours does where it mirrors Django's.
    enqueued = tasks.add.enqueue(1, 2)
    assert tasks.add.get_result(enqueued.id).return_value == 3


# The context


def test_a_context_knows_the_attempt_and_the_running_result(immediate):
    seen = []

    def body(context):
        seen.append((type(context), context.attempt, context.task_result.status))
        return context.task_result.id

    result = tasks.perform_with_context.enqueue(tasks.body(body))
    assert seen == [(TaskContext, 1, TaskResultStatus.RUNNING)]
    assert result.return_value == result.id


def test_a_context_counts_further_attempts(our_immediate):
    seen = []

    def body(context):
        seen.append((context.attempt, len(context.task_result.errors)))
        if context.attempt < 3:
            raise ValueError

    tasks.perform_with_context.using(max_attempts=3).enqueue(tasks.body(body))
    assert seen == [(1, 0), (2, 1), (3, 2)]


def test_a_context_passes_keyword_arguments_on(immediate):
    assert tasks.attempt.enqueue(note="x").return_value == 1


def test_call_runs_the_function_itself(dummy):
    assert tasks.add.call(1, 2) == 3
    assert tasks.multiply.call(2, 3) == 6
    assert default_task_backend.results == []


async def test_acall_runs_the_function_itself(dummy):
    assert await tasks.add.acall(1, 2) == 3
    assert await tasks.multiply.acall(2, 3) == 6


# Signals and the log


def test_dummy_sends_task_enqueued_once(dummy, sent):
    tasks.add.enqueue(1, 2)
    assert sent == [("enqueued", type(dummy), TaskResultStatus.READY, None)]


def test_immediate_sends_three_signals_in_order(immediate, sent):
    tasks.add.enqueue(1, 2)
    sender = type(immediate)
    assert sent == [
        ("enqueued", sender, TaskResultStatus.READY, None),
        ("started", sender, TaskResultStatus.RUNNING, None),
        ("finished", sender, TaskResultStatus.SUCCESSFUL, None),
    ]


def test_task_finished_is_sent_where_the_exception_is_at_hand(immediate, sent):
    tasks.fail.enqueue("boom")
    name, sender, status, exception = sent[-1]
    assert (name, sender, status) == ("finished", type(immediate), TaskResultStatus.FAILED)
    assert repr(exception) == "ValueError('boom')"


def test_the_senders_are_our_classes(our_dummy, sent):
    tasks.add.enqueue(1, 2)
    with override_settings(
        TASKS={"default": {"BACKEND": "tasks_testing.backends.ImmediateBackend"}}
    ):
        tasks.add.enqueue(1, 2)
    assert [sender for _, sender, *_ in sent] == [DummyBackend, *[ImmediateBackend] * 3]


def test_a_drain_sends_started_and_finished(our_dummy, sent):
    tasks.add.enqueue(1, 2)
    our_dummy.run_due()
    assert [(name, status) for name, _, status, _ in sent] == [
        ("enqueued", "READY"),
        ("started", "RUNNING"),
        ("finished", "SUCCESSFUL"),
    ]


def test_task_finished_is_sent_once_for_a_task_that_is_retried(our_immediate, sent):
    def body(context):
        if context.attempt == 1:
            raise ValueError

    tasks.perform_with_context.using(max_attempts=2).enqueue(tasks.body(body))
    assert [name for name, *_ in sent] == ["enqueued", "started", "started", "finished"]


def test_task_finished_is_sent_after_the_result_is_stored(our_dummy):
    stored = []

    def listen(sender, task_result, **kwargs):
        stored.append(task_result.task.get_result(task_result.id))

    task_finished.connect(listen)
    try:
        tasks.add.enqueue(1, 2)
        our_dummy.run_due()
    finally:
        task_finished.disconnect(listen)
    assert stored[0].return_value == 3
    assert stored[0].finished_at is not None


def test_a_listener_may_enqueue_what_comes_next(our_dummy):
    def listen(sender, task_result, **kwargs):
        if task_result.task == tasks.add:
            tasks.when.enqueue("next")

    task_finished.connect(listen)
    try:
        tasks.add.enqueue(1, 2)
        tally = our_dummy.run_due()
    finally:
        task_finished.disconnect(listen)
    assert [record.task.name for record in tally.succeeded] == ["add", "when"]


def test_django_logs_the_life_of_a_task(immediate, caplog):
    with caplog.at_level(logging.DEBUG, "django.tasks"):
        done = tasks.add.enqueue(1, 2)
        failed = tasks.fail.enqueue()
    assert [(log.levelname, log.getMessage()) for log in caplog.records] == [
        ("DEBUG", f"Task id={done.id} path=tests.app.tasks.add enqueued backend=default"),
        ("INFO", f"Task id={done.id} path=tests.app.tasks.add state=RUNNING"),
        ("INFO", f"Task id={done.id} path=tests.app.tasks.add state=SUCCESSFUL"),
        ("DEBUG", f"Task id={failed.id} path=tests.app.tasks.fail enqueued backend=default"),
        ("INFO", f"Task id={failed.id} path=tests.app.tasks.fail state=RUNNING"),
        ("ERROR", f"Task id={failed.id} path=tests.app.tasks.fail state=FAILED"),
    ]
    assert caplog.records[2].exc_info is None
    assert caplog.records[-1].exc_info[0] is ValueError


# Options of a task


@pytest.mark.parametrize("priority", [-101, 101, 1.5])
def test_priorities_are_whole_numbers_from_minus_100_to_100(dummy, priority):
    with pytest.raises(InvalidTask, match="whole number between -100 and 100"):
        tasks.add.using(priority=priority)
    assert default_task_backend.results == []


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_the_bounds_of_priorities_are_allowed(dummy, priority):
    assert tasks.add.using(priority=priority).enqueue(1, 2).task.priority == priority


def test_higher_priorities_run_first(our_dummy):
    for priority in (0, -100, 100, 5):
        tasks.when.using(priority=priority).enqueue()
    tally = our_dummy.run_due()
    assert [record.priority for record in tally.succeeded] == [100, 5, 0, -100]


def test_dummy_takes_a_date_to_run_after(dummy):
    tomorrow = timezone.now() + timedelta(days=1)
    result = tasks.add.using(run_after=tomorrow).enqueue(1, 2)
    assert result.task.run_after == tomorrow
    assert result.status == TaskResultStatus.READY


def test_using_leaves_the_task_as_it_is(dummy):
    changed = tasks.add.using(priority=7, queue_name="slow")
    assert (changed.priority, changed.queue_name) == (7, "slow")
    assert (tasks.add.priority, tasks.add.queue_name) == (0, "default")


def test_a_function_inside_of_a_function_is_no_task(dummy):
    from django.tasks import task

    with pytest.raises(InvalidTask, match="must be defined at a module level"):
        task(lambda: None)


def test_a_context_must_be_the_first_argument(dummy):
    from django.tasks import task

    with pytest.raises(InvalidTask, match="does not have a first argument of 'context'"):
        task(takes_context=True)(tasks.add.func)


def test_tasks_run_in_the_enqueueing_thread(immediate):
    thread = tasks.perform.enqueue(tasks.body(threading.get_ident)).return_value
    assert thread == threading.get_ident()


async def test_an_async_task_may_await(immediate):
    async def body():
        await asyncio.sleep(0)
        return "awaited"

    assert (await tasks.perform_async.aenqueue(tasks.body(body))).return_value == "awaited"
