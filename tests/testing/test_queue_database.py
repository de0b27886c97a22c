"""The mode "database": the verbs of the test queue over the tables and the store of production."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.tasks import TaskResultStatus, default_task_backend, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.test import TestCase, TransactionTestCase, modify_settings, override_settings
from django.test.utils import CaptureQueriesContext

from tasks_database import operations
from tasks_database.engine import exponential, lifecycle, task
from tasks_database.ids import new_id
from tasks_database.models import JobRow, PausedQueue, SlotRow
from tasks_database.operations import Cancellation
from tasks_database.resolve import UnknownTask
from tasks_database.store import store_for
from tasks_testing import ConfigurationError, TaskQueue
from tasks_testing.unittest import TaskTestMixin
from tests.app import tasks
from tests.app.models import Note

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = [pytest.mark.django_db, pytest.mark.tasks(mode="database", now=START)]
recording_errors = pytest.mark.tasks(mode="database", now=START, on_error="record")


@task(rate="1/m")
def slowly(number):
    return number


@task(max_concurrency=1)
def alone(number):
    return number


def _moved():
    raise AssertionError("never called")


# A worker finds the function at this path, and not the Task.
moved = task(_moved)


@contextmanager
def production(**options):
    """Production has our Database backend; its tasks are in the tables of the test."""
    entry = {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": [], "OPTIONS": options}
    with (
        override_settings(TASKS={"default": entry, "mail": entry}),
        TaskQueue(mode="database", now=START) as queue,
    ):
        yield queue


@pytest.fixture
def queue():
    with production() as queue:
        yield queue


def roll_back(enqueue):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue()
        raise ZeroDivisionError


def returned(records):
    return [record.return_value for record in records]


# Rows


def test_an_enqueue_is_a_row(task_queue):
    with CaptureQueriesContext(connection) as queries:
        result = tasks.add.using(priority=3, queue_name="slow").enqueue(1, 2)
    row = JobRow.objects.get()

    assert [query["sql"].split()[0] for query in queries if "jobrow" in query["sql"]] == ["INSERT"]
    assert str(row.pk) == result.id
    assert (row.task_path, row.payload) == ("tests.app.tasks.add", "[[1,2],{}]")
    assert (row.status, row.priority, row.queue_name) == ("READY", 3, "slow")
    assert row.enqueued_at == START


def test_many_are_one_statement(queue):
    with CaptureQueriesContext(connection) as queries:
        results = tasks.perform.enqueue_many([("body",)] * 5)

    statements = [query["sql"].split()[0] for query in queries if "jobrow" in query["sql"]]
    assert len(statements) <= 1  # PostgreSQL's COPY is not logged.
    assert [str(row.pk) for row in JobRow.objects.order_by("pk")] == [one.id for one in results]


def test_the_row_tells_how_it_ran_at_the_virtual_time(task_queue):
    tasks.add.using(run_after=START + MINUTE).enqueue(1, 2)
    assert JobRow.objects.get().status == "DEFERRED"
    task_queue.advance(hours=1)
    row = JobRow.objects.get()

    assert (row.status, row.return_payload) == ("SUCCESSFUL", "3")
    assert row.started_at == row.finished_at == START + MINUTE
    assert row.owner is None


def test_a_failure_is_in_the_row(task_queue):
    tasks.fail.enqueue("no")
    with pytest.raises(ValueError, match="no"):
        task_queue.run_due()

    assert "ValueError: no" in JobRow.objects.get(status="FAILED").errors


def test_records_are_read_from_the_rows(task_queue):
    tasks.add.enqueue(1, 2)
    JobRow.objects.update(priority=7)

    assert task_queue.records[0].priority == 7


def test_results_are_read_from_the_rows(task_queue):
    result = tasks.add.enqueue(1, 2)
    task_queue.run_due()
    assert default_task_backend.get_result(result.id.upper()).status is TaskResultStatus.SUCCESSFUL
    JobRow.objects.all().delete()

    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()


def test_what_was_deleted_is_in_no_record(task_queue):
    tasks.add.enqueue(1, 2)
    JobRow.objects.all().delete()

    assert task_queue.records == []
    with pytest.raises(AssertionError, match=r"its row is gone"):
        task_queue.assert_enqueued(tasks.add)


def test_clear_deletes_rows(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.add.using(backend="mail").enqueue(1, 2)
    default_task_backend.clear()

    assert [row.backend for row in JobRow.objects.all()] == ["mail"]


def test_what_something_else_has_put_there_runs_too(task_queue):
    job = lifecycle.enqueue(
        id=new_id(), task_path="tests.app.tasks.add", payload="[[1,2],{}]", now=START
    )
    store_for("default").add((job,))

    assert task_queue.records[0].enqueued_from is None
    assert returned(task_queue.run_due().succeeded) == [3]
    assert default_task_backend.get_result(job.id).return_value == 3


def test_what_was_there_before_is_left_alone():
    job = lifecycle.enqueue(
        id=new_id(), task_path="tests.app.tasks.add", payload="[[1,2],{}]", now=START
    )
    store_for("default").add((job,))
    with TaskQueue(mode="database") as queue:
        tasks.add.enqueue(3, 4)
        assert returned(queue.advance_until_idle().succeeded) == [7]
        assert len(queue.records) == 1
    assert JobRow.objects.get(pk=job.id).status == "READY"


def test_a_fixture_of_a_wider_scope_leaves_no_row(task_queue):
    from tasks_testing.journal import journal

    with journal.disowned():
        tasks.add.enqueue(1, 2)

    assert not JobRow.objects.exists()


# Transactions


def test_a_rollback_takes_the_row_away(task_queue):
    roll_back(lambda: tasks.add.enqueue(1, 2))

    assert not JobRow.objects.exists()
    assert task_queue.records == []
    with pytest.raises(AssertionError, match="inside a transaction that was rolled back"):
        task_queue.assert_enqueued(tasks.add)


def test_a_rolled_back_run_may_be_repeated(task_queue):
    tasks.add.enqueue(1, 2)
    roll_back(task_queue.run_due)
    assert task_queue.records[0].status == "READY"

    assert returned(task_queue.run_due().succeeded) == [3]


def test_what_a_rolled_back_run_has_enqueued_is_gone(task_queue):
    tasks.perform.enqueue(tasks.body(lambda: tasks.add.enqueue(1, 2) and None))
    roll_back(task_queue.run_next)

    assert [record.task.name for record in task_queue.records] == ["perform"]


def test_a_hook_goes_with_the_task_that_it_follows(task_queue):
    hooked = tasks.perform.using(on_success=tasks.when)
    hooked.enqueue(tasks.body(lambda: None))
    roll_back(task_queue.run_next)
    assert JobRow.objects.get().task_path == "tests.app.tasks.perform"
    task_queue.assert_not_enqueued(tasks.when)

    assert len(task_queue.run_due().succeeded) == 2


def test_an_open_block_hides_its_tasks_from_the_verbs(task_queue):
    with transaction.atomic():
        tasks.add.enqueue(1, 1)
        tasks.when.using(run_after=START + MINUTE).enqueue()
        assert len(task_queue.advance(hours=1).ran) == 0
        assert task_queue.pending == []
        assert {row.status for row in JobRow.objects.all()} == {"READY", "DEFERRED"}
    assert len(task_queue.run_due().succeeded) == 2


def test_what_follows_a_task_of_an_open_block_waits_with_it(task_queue):
    with transaction.atomic():
        task_queue.run_task(tasks.perform.using(on_success=tasks.when), tasks.body(lambda: None))
        assert len(task_queue.run_due()) == 0
    assert len(task_queue.run_due().succeeded) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.tasks(mode="record")
def test_nothing_is_left_behind_outside_of_a_testcase():
    with TaskQueue(mode="database") as queue:
        tasks.add.enqueue(1, 2)
        queue.run_due()
        assert JobRow.objects.count() == 1
    assert not JobRow.objects.exists()
    assert returned(queue.finished) == [3]


@pytest.mark.django_db(transaction=True)
async def test_in_a_coroutine(task_queue):
    await tasks.add.aenqueue(1, 2)
    assert returned((await task_queue.arun_due()).succeeded) == [3]
    task_queue.assert_succeeded(tasks.add)


# As a worker knows tasks


@recording_errors
def test_a_task_at_no_path_fails(task_queue):
    moved.using(max_attempts=3).enqueue()
    tally = task_queue.run_due()

    assert tally.counts == {"succeeded": 0, "failed": 1, "retried": 0, "deferred": 0}
    task_queue.assert_failed(moved, UnknownTask, match="is a function, not a Task")


def test_the_backoff_is_the_one_that_the_task_was_declared_with(task_queue):
    changed = tasks.perform_patiently.using(max_attempts=2, backoff=exponential(base=1))
    changed.enqueue(tasks.body(lambda context: 1 / 0))
    task_queue.run_due()

    assert task_queue.deferred[0].due == START + MINUTE


def test_a_row_whose_arguments_do_not_fit_fails_alone(task_queue):
    tasks.add.enqueue(1, 2)
    tasks.when.enqueue()
    JobRow.objects.filter(task_path="tests.app.tasks.add").update(payload="[[1],{}]")
    with pytest.raises(TypeError):
        task_queue.run_due()

    assert len(task_queue.run_due().succeeded) == 1


# Limits, pauses, and what an operator does


def test_a_rate_spaces_starts(task_queue):
    for number in range(3):
        slowly.enqueue(number)
    started = []
    for _ in range(3):
        started.append(returned(task_queue.run_due().succeeded))
        task_queue.advance(seconds=59)
        task_queue.jump(seconds=1)

    assert started == [[0], [], []]
    assert [record.started_at for record in task_queue.finished] == [
        START,
        START + MINUTE,
        START + 2 * MINUTE,
    ]


def test_advance_until_idle_goes_through_what_a_rate_puts_off(task_queue):
    for number in range(4):
        slowly.enqueue(number)
    tally = task_queue.advance_until_idle()

    assert returned(tally.succeeded) == [0, 1, 2, 3]
    assert task_queue.now == START + 3 * MINUTE


def test_a_slot_that_is_taken_makes_others_wait(task_queue):
    alone.enqueue(1)
    limit = SlotRow.objects.create(key="task:default:" + alone.module_path, job_id=new_id())
    assert task_queue.run_due().counts["deferred"] == 1
    assert task_queue.advance_until_idle().ran == ()
    limit.delete()

    assert returned(task_queue.advance(minutes=15).succeeded) == [1]


def test_a_limit_of_the_settings_holds():
    with production(limits={"queues": {"mail": {"rate": "1/h"}}}) as queue:
        tasks.add.using(queue_name="mail").enqueue(1, 1)
        tasks.add.using(queue_name="mail").enqueue(2, 2)
        tasks.add.enqueue(3, 3)

        assert returned(queue.run_due().succeeded) == [2, 6]
        assert returned(queue.advance(hours=1).succeeded) == [4]


def test_a_paused_queue_waits(queue):
    tasks.add.using(queue_name="mail").enqueue(1, 2)
    tasks.when.enqueue()
    assert default_task_backend.pause("mail")
    assert PausedQueue.objects.get().queue_name == "mail"
    assert len(queue.advance_until_idle().succeeded) == 1
    assert default_task_backend.paused() == ["mail"]
    operations.resume_queue("mail")

    assert returned(queue.run_due().succeeded) == [3]


def test_a_cancelled_task_never_runs(queue):
    result = tasks.add.enqueue(1, 2)
    assert operations.cancel(result)

    assert len(queue.run_due()) == 0
    assert queue.finished[0].status == "CANCELLED"


async def test_a_task_is_cancelled_in_a_coroutine(transactional_db):
    from asgiref.sync import sync_to_async

    def begin():
        with production():
            return default_task_backend.cancel(tasks.add.enqueue(1, 2))

    assert await sync_to_async(begin)() is Cancellation.CANCELLED


def test_failed_tasks_are_tried_again_and_discarded(queue):
    tasks.fail.enqueue()
    with pytest.raises(ValueError):
        queue.run_due()
    assert default_task_backend.retry_failed(everything=True) == 1
    assert len(queue.pending) == 1
    with pytest.raises(ValueError):
        queue.run_due()
    assert operations.discard_failed(task=tasks.fail) == 1

    assert queue.records == []


def test_in_memory_a_task_can_be_cancelled_and_no_more():
    with production(), TaskQueue(mode="record") as queue:
        unique = tasks.perform.using(unique_key="key")
        result = unique.enqueue("body")
        assert default_task_backend.cancel(result.id)
        assert not default_task_backend.cancel(result.id)
        assert len(queue.run_due()) == 0
        assert queue.finished[0].status == "CANCELLED"
        assert unique.enqueue("body").id != result.id

        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.cancel("none")
        for operate in (
            lambda: default_task_backend.pause("mail"),
            lambda: operations.retry_failed(everything=True),
        ):
            with pytest.raises(ConfigurationError, match=r'in memory .* use mode="database"'):
                operate()


def test_what_production_does_not_have_tests_do_not_have(task_queue):
    with pytest.raises(AttributeError, match="'DummyBackend' object has no attribute 'cancel'"):
        default_task_backend.cancel("id")
    with pytest.raises(ImproperlyConfigured, match="not a tasks_database"):
        operations.pause_queue("mail")


# Where


@pytest.mark.django_db(databases=["default", "other"])
def test_another_database():
    with production(database="other") as queue:
        tasks.add.enqueue(1, 2)
        assert not JobRow.objects.exists()
        assert JobRow.objects.using("other").count() == 1
        roll_back(lambda: tasks.add.enqueue(3, 4))
        with pytest.raises(ZeroDivisionError), transaction.atomic(using="other"):
            tasks.add.enqueue(5, 6)
            raise ZeroDivisionError

        assert returned(queue.run_due().succeeded) == [3, 7]


def test_aliases_run_in_one_order(task_queue):
    for number, alias in enumerate(["default", "mail", "mail", "default"]):
        tasks.add.using(backend=alias, priority=number % 2).enqueue(number, 0)

    assert returned(task_queue.run_due().succeeded) == [1, 3, 0, 2]


def test_a_verb_of_one_alias_leaves_the_others_alone(task_queue):
    tasks.add.using(backend="mail").enqueue(1, 2)
    tasks.when.using(run_after=START + MINUTE).enqueue()

    assert len(task_backends["mail"].advance_until_idle().succeeded) == 1
    assert task_queue.now == START


def test_a_queue_inside_sees_its_own_and_hands_it_over(task_queue):
    tasks.add.enqueue(1, 1)
    with TaskQueue() as inside:
        tasks.add.enqueue(2, 2)
        tasks.when.using(run_after=START + MINUTE).enqueue()
        assert returned(inside.run_due().succeeded) == [4]
        assert len(inside.records) == 2
    assert returned(task_queue.run_due().succeeded) == [2]
    assert len(task_queue.advance(minutes=1).succeeded) == 1


def test_what_a_queue_of_memory_leaves_inside_is_seen(task_queue):
    with TaskQueue(mode="record"):
        tasks.add.enqueue(1, 1)

    assert [record.status for record in task_queue.records] == ["READY"]
    assert not JobRow.objects.exists()


@pytest.mark.tasks(mode="record", now=START)
def test_what_a_queue_of_the_database_leaves_goes_on_in_memory(task_queue):
    tasks.when.enqueue("before")
    with TaskQueue(mode="database"):
        tasks.when.enqueue("inside")
        roll_back(lambda: tasks.when.enqueue("rolled back"))
    tasks.when.enqueue("after")

    assert [record.args for record in task_queue.run_due().succeeded] == [
        ["before"],
        ["inside"],
        ["after"],
    ]


@pytest.mark.tasks(mode="record")
def test_a_rolled_back_task_of_a_queue_inside_does_not_come_back(task_queue):
    entry = {"BACKEND": "tasks_testing.backends.DummyBackend", "OPTIONS": {"transactional": True}}
    with override_settings(TASKS={"default": entry}):
        with TaskQueue() as inside:
            roll_back(lambda: tasks.add.enqueue(1, 2))
            assert len(inside.run_due()) == 0
        assert len(task_queue.run_due()) == 0


class InATestCase(TaskTestMixin, TestCase):
    tasks_mode = "database"
    tasks_now = START

    @classmethod
    def setUpTestData(cls):
        tasks.add.enqueue(1, 2)

    def test_a_task_runs(self):
        result = tasks.when.enqueue()
        self.task_queue.run_due()
        result.refresh()
        assert result.return_value == START.isoformat()
        assert JobRow.objects.count() == 1

    def test_it_begins_empty(self):
        assert self.task_queue.records == []
        assert not JobRow.objects.exists()


@override_settings(TASKS={"default": {"BACKEND": "tasks_testing.backends.DummyBackend"}})
class WithASettingOfItsOwn(TaskTestMixin, TestCase):
    tasks_mode = "database"

    def test_its_tasks_are_rows_too(self):
        assert list(task_backends.settings) == ["default"]
        tasks.add.enqueue(1, 2)
        assert JobRow.objects.count() == 1


class InATransactionTestCase(TaskTestMixin, TransactionTestCase):
    tasks_mode = "database"

    def test_a_task_runs(self):
        tasks.add.enqueue(1, 2)
        self.task_queue.run_due()
        self.task_queue.assert_succeeded(tasks.add)


# What cannot be


@modify_settings(INSTALLED_APPS={"remove": "tasks_database"})
def test_without_the_tables_it_says_so():
    with pytest.raises(ConfigurationError, match='add "tasks_database" to INSTALLED_APPS'):
        TaskQueue(mode="database")


def test_a_broken_transaction_shows_what_was_last_seen(task_queue):
    tasks.add.enqueue(1, 2)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Note.objects.create(text="x")
        connection.needs_rollback = True
        assert len(task_queue.records) == 1
        raise ZeroDivisionError


@pytest.mark.tasks(mode="database", strict="never_run")
def test_strictness_reads_the_rows(task_queue):
    tasks.add.enqueue(1, 2)
    problem = task_queue.strictness_problem()

    assert problem.startswith("Tasks that never ran (strict: never_run):")
