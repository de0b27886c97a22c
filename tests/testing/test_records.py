"""The records of tasks: every field, where an enqueue came from, parents, and the timeline."""

import asyncio
import inspect
import threading
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import AsyncClient, Client

from tasks_testing import NotATask, TaskQueue, TaskRecord
from tasks_testing.record import FrozenList, TransactionInfo
from tests.app import tasks, urls

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = str(Path(__file__).relative_to(Path.cwd()))

pytestmark = pytest.mark.tasks(now=START)
# Threads have connections of their own, which see nothing of a TestCase's transaction.
only_in_memory = pytest.mark.usefixtures("only_in_memory")


# The fields


def test_a_record_of_a_task_that_has_not_run(task_queue):
    task = tasks.add.using(
        priority=5, queue_name="newsletters", backend="mail", run_after=START + HOUR
    )
    result = task.enqueue(1, b=2)
    (record,) = task_queue.records
    assert {name: getattr(record, name) for name in TaskRecord.__slots__} == {
        "id": result.id,
        "task": task,
        "args": [1],
        "kwargs": {"b": 2},
        "arguments": {"a": 1, "b": 2},
        "backend": "mail",
        "queue_name": "newsletters",
        "priority": 5,
        "run_after": START + HOUR,
        "status": "DEFERRED",
        "attempts": 0,
        "errors": [],
        "return_value": None,
        "enqueued_at": START,
        "started_at": None,
        "last_attempted_at": None,
        "finished_at": None,
        "due": START + HOUR,
        "enqueued_from": record.enqueued_from,
        "parent": None,
        "transaction": TransactionInfo(),
    }
    assert record.is_pending
    assert not record.is_finished


def test_a_record_of_a_task_that_succeeded(task_queue):
    tasks.add.using(run_after=START + HOUR).enqueue(1, 2)
    task_queue.advance(hours=2)
    (record,) = task_queue.records
    assert record.status == "SUCCESSFUL"
    assert (record.return_value, record.attempts, record.errors) == (3, 1, [])
    assert record.enqueued_at == START
    assert record.started_at == record.last_attempted_at == record.finished_at == START + HOUR
    assert record.run_after == START + HOUR
    assert record.due is None
    assert record.is_finished
    assert not record.is_pending


def test_a_record_of_a_task_that_is_retried_and_fails(task_queue):
    def body(context):
        raise ValueError(f"attempt {context.attempt}")

    task = tasks.perform_patiently.using(max_attempts=2)
    task.enqueue(tasks.body(body))
    task_queue.run_due()
    (record,) = task_queue.records
    assert (record.status, record.attempts) == ("DEFERRED", 1)
    assert record.due == START + timedelta(seconds=60)
    assert record.run_after is None
    assert [error.exception_class for error in record.errors] == [ValueError]
    with pytest.raises(ValueError):
        task_queue.advance(minutes=1)
    (record,) = task_queue.records
    assert (record.status, record.attempts) == ("FAILED", 2)
    assert [error.traceback.splitlines()[-1] for error in record.errors] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert record.started_at == START
    assert record.last_attempted_at == record.finished_at == START + timedelta(seconds=60)


def test_a_record_stays_as_it_was_read(task_queue):
    tasks.add.enqueue(1, 2)
    (before,) = task_queue.records
    task_queue.run_due()
    assert before.status == "READY"
    assert task_queue.records[0].status == "SUCCESSFUL"


def test_a_record_is_frozen(task_queue):
    tasks.add.enqueue(1, 2)
    (record,) = task_queue.records
    with pytest.raises(FrozenInstanceError):
        record.priority = 1
    with pytest.raises(FrozenInstanceError):
        record.transaction.state = "open"
    with pytest.raises(AttributeError):
        record.args.append(3)


def test_what_is_done_to_a_record_changes_no_other(task_queue):
    tasks.mail.enqueue("a@example.com", tags=["x"])
    task_queue.records[0].kwargs["tags"].append("y")
    task_queue.records[0].arguments.clear()
    (record,) = task_queue.records
    assert record.kwargs == {"tags": ["x"]}
    assert record.arguments == {"to": "a@example.com", "tags": ["x"]}


def test_records_of_one_state_are_equal(task_queue):
    tasks.add.enqueue(1, 2)
    assert task_queue.records == task_queue.records
    before = task_queue.records
    task_queue.run_due()
    assert task_queue.records != before


def test_records_read_well(task_queue):
    tasks.add.enqueue(1, b=2)
    (record,) = task_queue.records
    assert str(record) == "tests.app.tasks.add(1, b=2)"
    assert repr(record) == (
        f"<TaskRecord tests.app.tasks.add(1, b=2) READY enqueued from {record.enqueued_from}>"
    )


# Arguments


@pytest.mark.parametrize(
    ("args", "kwargs", "arguments"),
    [
        (["a"], {}, {"to": "a"}),
        ([], {"to": "a"}, {"to": "a"}),
        (["a", "b", "c"], {}, {"to": "a", "subjects": ["b", "c"]}),
        (["a"], {"urgent": True}, {"to": "a", "urgent": True}),
        (["a"], {"cc": "b", "bcc": "c"}, {"to": "a", "cc": "b", "bcc": "c"}),
        ([{"name": "a"}], {"cc": {"x": 1}}, {"to": {"name": "a"}, "cc": {"x": 1}}),
        (["a"], {"headers": {"cc": "b"}}, {"to": "a", "headers": {"cc": "b"}}),
        (["a", "b"], {"cc": "c"}, {"to": "a", "subjects": ["b"], "cc": "c"}),
    ],
)
def test_arguments_go_by_the_names_they_have(task_queue, args, kwargs, arguments):
    tasks.mail.enqueue(*args, **kwargs)
    (record,) = task_queue.records
    assert (record.args, record.kwargs, record.arguments) == (args, kwargs, arguments)


def test_defaults_are_not_filled_in(task_queue):
    tasks.fail.enqueue()
    assert task_queue.records[0].arguments == {}


def test_positional_arguments_equal_lists_and_tuples():
    args = FrozenList([1, [2]])
    assert args == [1, [2]] == args
    assert args == (1, [2])
    assert args != [1, 2]
    assert args != (1,)
    assert args != "x"
    assert args != [1, 2]
    assert args == (1, [2])
    assert hash(FrozenList([1, 2])) == hash((1, 2))


# Where it was enqueued


def line_after(offset=0):
    """``file:line`` of the caller, ``offset`` lines further down."""
    return f"{HERE}:{inspect.currentframe().f_back.f_lineno + offset}"


def origins(queue):
    return [record.enqueued_from for record in queue.records]


def test_the_line_of_the_call(task_queue):
    expected = line_after(1)
    tasks.add.enqueue(1, 2)
    assert origins(task_queue) == [expected]


def test_the_first_line_of_a_call_that_has_many(task_queue):
    expected = line_after(1)
    tasks.add.enqueue(
        1,
        2,
    )
    assert origins(task_queue) == [expected]


def helper():
    tasks.add.enqueue(1, 2)


def test_the_line_in_the_helper_that_enqueues(task_queue):
    helper()
    line = inspect.getsourcelines(helper)[1] + 1
    assert origins(task_queue) == [f"{HERE}:{line}"]


def test_partials_and_maps_are_no_place(task_queue):
    expected = line_after(1)
    list(map(partial(tasks.add.enqueue, 1), [2, 3]))
    assert origins(task_queue) == [expected] * 2


async def test_the_line_that_awaits(task_queue):
    expected = line_after(1)
    await tasks.add.aenqueue(1, 2)
    assert origins(task_queue) == [expected]


async def test_a_coroutine_that_nobody_awaits_itself_has_no_place(task_queue):
    await asyncio.gather(tasks.add.aenqueue(1, 2), tasks.add.aenqueue(3, 4))
    assert origins(task_queue) == [None, None]


async def test_the_line_in_an_asyncio_task(task_queue):
    async def enqueue():
        await tasks.add.aenqueue(1, 2)

    await asyncio.create_task(enqueue())
    line = inspect.getsourcelines(enqueue)[1] + 1
    assert origins(task_queue) == [f"{HERE}:{line}"]


def test_the_line_in_a_coroutine_that_sync_code_runs(task_queue):
    async def enqueue():
        await tasks.add.aenqueue(1, 2)

    async_to_sync(enqueue)()
    line = inspect.getsourcelines(enqueue)[1] + 1
    assert origins(task_queue) == [f"{HERE}:{line}"]


@only_in_memory
def test_the_line_in_a_thread(task_queue):
    thread = threading.Thread(target=helper)
    thread.start()
    thread.join()
    line = inspect.getsourcelines(helper)[1] + 1
    assert origins(task_queue) == [f"{HERE}:{line}"]


@only_in_memory
def test_a_bare_thread_has_no_place(task_queue):
    thread = threading.Thread(target=tasks.add.enqueue, args=(1, 2))
    thread.start()
    thread.join()
    (record,) = task_queue.records
    assert record.enqueued_from is None
    assert repr(record).endswith("enqueued from an unknown place>")
    assert task_queue.timeline() == (
        "+00:00:00  #1 enqueued tests.app.tasks.add(1, 2), from an unknown place"
    )
    with pytest.raises(AssertionError, match=r"\[READY\] from an unknown place"):
        task_queue.assert_nothing_enqueued()


def test_the_line_in_a_callback(task_queue, db):
    with transaction.atomic():
        expected = line_after(1)
        transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
    assert origins(task_queue) == [expected]


def test_a_callback_without_a_line_of_its_own_is_the_end_of_the_block(task_queue, db):
    expected = line_after(1)
    with transaction.atomic():
        transaction.on_commit(partial(tasks.add.enqueue, 1, 2))
    assert origins(task_queue) == [expected]


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_line_in_a_view(task_queue, client):
    if client is Client:
        client().get("/enqueue/")
    else:
        async_to_sync(client().get)("/enqueue/")
    line = inspect.getsourcelines(urls.enqueue)[1] + 1
    assert origins(task_queue) == [f"tests/app/urls.py:{line}"]


def test_run_task_has_a_place_too(task_queue):
    expected = line_after(1)
    task_queue.run_task(tasks.add, 1, 2)
    assert origins(task_queue) == [expected]


async def test_arun_task_knows_no_place_beyond_the_event_loop(task_queue):
    await task_queue.arun_task(tasks.add, 1, 2)
    assert origins(task_queue) in ([None], [line_after(-1)])


# Parents


def test_a_parent_is_the_task_that_enqueued(task_queue):
    tasks.perform.enqueue(tasks.body(lambda: tasks.when.enqueue() and None))
    tasks.add.enqueue(1, 2)
    task_queue.run_due()
    parent, other, child = task_queue.records
    assert child.parent == parent
    assert parent.parent is other.parent is None
    assert child.enqueued_from.startswith(HERE)


def test_a_parent_shows_its_own_state(task_queue):
    def body():
        tasks.when.using(run_after=START + HOUR).enqueue()

    tasks.perform.enqueue(tasks.body(body))
    task_queue.run_due()
    assert task_queue.deferred[0].parent.status == "SUCCESSFUL"


def test_a_child_of_an_async_task_has_a_parent(task_queue):
    async def body():
        await tasks.when.aenqueue()

    tasks.perform_async.enqueue(tasks.body(body))
    task_queue.run_due()
    assert task_queue.records[1].parent.task == tasks.perform_async


def test_a_child_that_a_callback_enqueued_has_a_parent(task_queue, db):
    def body():
        with transaction.atomic():
            transaction.on_commit(tasks.when.enqueue)

    tasks.perform.enqueue(tasks.body(body))
    task_queue.run_due()
    assert task_queue.records[1].parent.task == tasks.perform


def test_a_chain_of_parents_may_be_long(task_queue, many_tasks):
    def body(left):
        if left > 1:
            tasks.perform.enqueue(name, left - 1)

    name = tasks.body(body)
    tasks.perform.enqueue(name, 1000)
    task_queue.run_due()
    last = record = task_queue.records[-1]
    depth = 1
    while (record := record.parent) is not None:
        depth += 1
    assert depth == 1000
    assert repr(last).count("TaskRecord") == 1
    assert last == task_queue.records[-1]
    assert len(task_queue.timeline().splitlines()) == 2000


def test_a_parent_that_was_cleared_away_is_remembered_by_its_child(task_queue):
    from django.tasks import default_task_backend

    def body():
        tasks.when.using(backend="mail").enqueue()

    tasks.perform.enqueue(tasks.body(body))
    task_queue.run_next()
    default_task_backend.clear()
    (child,) = task_queue.records
    assert child.parent.status == "SUCCESSFUL"


# The timeline


def story(queue):
    """Something of everything."""

    def flaky(context):
        if context.attempt < 3:
            raise ConnectionError(f"attempt {context.attempt}\nand more that a database says")

    tasks.add.using(priority=5, queue_name="newsletters", backend="mail").enqueue(1, b=2)
    tasks.bodies.update(flaky=flaky, parent=lambda: tasks.when.enqueue("child") and None)
    task = tasks.perform_patiently.using(max_attempts=3)
    task.enqueue("flaky")
    tasks.perform.using(run_after=queue.now + 26 * HOUR).enqueue("parent")
    queue.advance(days=2)
    queue.run_task(tasks.when)
    try:
        queue.run_task(tasks.fail)
    except ValueError:
        tasks.when.using(run_after=queue.now + HOUR).enqueue("never runs")


def test_a_timeline_tells_the_story(task_queue):
    story(task_queue)
    first = inspect.getsourcelines(story)[1]
    source = inspect.getsource(story).splitlines()

    def at(text):
        number = next(index for index, line in enumerate(source) if text in line)
        return f"from {HERE}:{first + number}"

    assert task_queue.timeline().splitlines() == [
        f"+00:00:00  #1 enqueued tests.app.tasks.add(1, b=2), {at('tasks.add')}, "
        "queue newsletters, priority 5",
        f"+00:00:00  #2 enqueued tests.app.tasks.perform_patiently('flaky'), {at('task.enqueue')}",
        f"+00:00:00  #3 enqueued tests.app.tasks.perform('parent'), {at('tasks.perform.using')}, "
        "due +1d 02:00:00",
        "+00:00:00  #1 add succeeded",
        "+00:00:00  #2 perform_patiently attempt 1 raised ConnectionError: attempt 1, "
        "will be retried",
        "+00:01:00  #2 perform_patiently attempt 2 raised ConnectionError: attempt 2, "
        "will be retried",
        "+00:03:00  #2 perform_patiently attempt 3 succeeded",
        "+1d 02:00:00  #3 perform succeeded",
        f"+1d 02:00:00  #4 enqueued tests.app.tasks.when('child'), {at('lambda')}, by #3",
        "+1d 02:00:00  #4 when succeeded",
        f"+2d 00:00:00  #5 run_task tests.app.tasks.when(), {at('run_task(tasks.when)')}",
        "+2d 00:00:00  #5 when succeeded",
        f"+2d 00:00:00  #6 run_task tests.app.tasks.fail(), {at('run_task(tasks.fail)')}",
        "+2d 00:00:00  #6 fail raised ValueError: boom, failed for good",
        f"+2d 00:00:00  #7 enqueued tests.app.tasks.when('never runs'), {at('never runs')}, "
        "due +2d 01:00:00",
    ]


def test_two_runs_have_one_timeline_whenever_they_are():
    timelines = []
    for _ in range(2):
        with TaskQueue() as queue:
            story(queue)
            timelines.append(queue.timeline())
    assert timelines[0] == timelines[1]


def test_a_timeline_of_one_alias(task_queue):
    from django.tasks import task_backends

    tasks.add.enqueue(1, 2)
    tasks.when.using(backend="mail").enqueue()
    assert "tasks.add" not in task_backends["mail"].timeline()


@only_in_memory
def test_a_timeline_flags_what_was_rolled_back(task_queue, db):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.add.enqueue(1, 2)
        raise ZeroDivisionError
    assert task_queue.timeline().endswith(", transaction rolled back")


def test_a_timeline_of_nothing(task_queue):
    assert task_queue.timeline() == "(no tasks)"


def test_a_list_of_records_narrows_to_one_task_whatever_its_options(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.perform.enqueue(tasks.body(lambda: None))
    tasks.add.using(priority=5).enqueue(3, 4)

    assert [record.args for record in task_queue.records.of(tasks.add)] == [[1, 2], [3, 4]]
    assert task_queue.pending.of(tasks.perform) == [task_queue.records[1]]
    with pytest.raises(NotATask, match=r"of\(\) was given 'add', which is no Task"):
        task_queue.records.of("add")
