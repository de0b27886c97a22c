"""Enqueues inside of transactions, and tasks that use the database, as production has them."""

import threading
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.tasks import default_task_backend
from django.tasks.backends.dummy import DummyBackend
from django.tasks.exceptions import TaskResultDoesNotExist
from django.test import TestCase, TransactionTestCase, override_settings

from tasks_testing import TaskQueue
from tasks_testing.unittest import TaskTestMixin
from tests.app import tasks
from tests.app.models import Account, Invoice, Note

MINUTE = timedelta(minutes=1)

in_testcase = pytest.mark.django_db


@pytest.fixture(params=["in a TestCase's transaction", "in real transactions"])
def database(request):
    real = request.param == "in real transactions"
    request.applymarker(pytest.mark.django_db(transaction=real))
    request.getfixturevalue("transactional_db" if real else "db")


@pytest.fixture
def queue(database):
    with TaskQueue() as queue:
        yield queue


@contextmanager
def backend(*, transactional):
    options = {} if transactional is None else {"transactional": transactional}
    entry = {"BACKEND": "tasks_testing.backends.DummyBackend", "OPTIONS": options}
    with override_settings(TASKS={"default": entry}):
        yield


taking_part = pytest.mark.parametrize("transactional", [True])
standing_aside = pytest.mark.parametrize("transactional", [False, None])
# A row cannot stand aside.
only_in_memory = pytest.mark.usefixtures("only_in_memory")
any_backend = pytest.mark.parametrize("transactional", [True, False, None])


def plain(body, **options):
    return tasks.perform.using(**options).enqueue(tasks.body(body))


# Committed


@any_backend
def test_without_a_block_the_transaction_is_that_of_the_statement(queue, transactional):
    with backend(transactional=transactional):
        tasks.add.enqueue(1, 2)
        record = queue.assert_enqueued(tasks.add)
        assert record.transaction.state == "autocommit"
        assert record.transaction.committed
        assert not record.transaction.open_at_enqueue
        assert len(queue.run_due().succeeded) == 1


@any_backend
def test_a_committed_enqueue_counts_and_runs(queue, transactional):
    with backend(transactional=transactional):
        with transaction.atomic():
            tasks.add.enqueue(1, 2)
        record = queue.assert_enqueued(tasks.add)
        assert record.transaction.state == "committed"
        assert record.transaction.committed
        assert record.transaction.open_at_enqueue
        assert len(queue.run_due().succeeded) == 1


@any_backend
def test_the_inner_block_is_not_the_commit(queue, transactional):
    with backend(transactional=transactional), transaction.atomic():
        with transaction.atomic():
            tasks.add.enqueue(1, 2)
        assert queue.records[0].transaction.is_open


# Open


@taking_part
def test_no_worker_sees_a_job_in_an_open_block(queue, transactional):
    with backend(transactional=transactional):
        with transaction.atomic():
            tasks.add.enqueue(1, 2)
            assert queue.records[0].transaction.is_open
            assert queue.pending == []
            assert len(queue.run_due()) == len(queue.run_next()) == 0
        assert len(queue.pending) == 1
        assert len(queue.run_due().succeeded) == 1


@only_in_memory
@standing_aside
def test_elsewhere_a_worker_may_be_too_early(queue, transactional):
    with backend(transactional=transactional), transaction.atomic():
        tasks.add.enqueue(1, 2)
        assert len(queue.pending) == 1
        assert len(queue.run_due().succeeded) == 1


@pytest.mark.parametrize("transactional", [True, None])
def test_an_enqueue_in_an_open_block_does_not_count_yet(queue, transactional):
    with backend(transactional=transactional), transaction.atomic():
        tasks.add.enqueue(1, 2)
        with pytest.raises(AssertionError, match="has not committed yet: no worker sees it"):
            queue.assert_enqueued(tasks.add)


@only_in_memory
@pytest.mark.parametrize("transactional", [False])
def test_an_enqueue_in_an_open_block_counts_for_a_backend_outside_of_it(queue, transactional):
    with backend(transactional=transactional), transaction.atomic():
        tasks.add.enqueue(1, 2)
        assert queue.assert_enqueued(tasks.add).transaction.is_open


@taking_part
def test_a_deferred_job_in_an_open_block_is_no_reason_to_stop_the_clock(queue, transactional):
    with backend(transactional=transactional):
        start = queue.now
        with transaction.atomic():
            tasks.when.using(run_after=start + MINUTE).enqueue()
            assert len(queue.advance(minutes=2).ran) == 0
        (record,) = queue.run_due().ran
        assert record.return_value == (start + 2 * MINUTE).isoformat()


# Rolled back


def roll_back(enqueue):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue()
        raise ZeroDivisionError


@taking_part
def test_a_rolled_back_job_is_gone(queue, transactional):
    with backend(transactional=transactional):
        results = []
        roll_back(lambda: results.append(tasks.add.enqueue(1, 2)))
        assert queue.records == queue.pending == []
        assert default_task_backend.results == []
        with pytest.raises(TaskResultDoesNotExist):
            results[0].refresh()
        assert len(queue.run_due()) == 0
        queue.assert_nothing_enqueued()
        queue.assert_not_enqueued(tasks.add)
        with pytest.raises(AssertionError, match="inside a transaction that was rolled back"):
            queue.assert_enqueued(tasks.add)


@only_in_memory
@standing_aside
def test_elsewhere_a_rolled_back_enqueue_stays_and_is_flagged(queue, transactional):
    with backend(transactional=transactional):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        (record,) = queue.records
        assert record.transaction.rolled_back
        assert not record.transaction.committed
        assert len(queue.run_due().succeeded) == 1


@only_in_memory
def test_a_rolled_back_enqueue_counts_for_a_backend_outside_of_the_transaction(queue):
    with backend(transactional=False):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        queue.assert_enqueued(tasks.add)


def test_a_rolled_back_enqueue_does_not_count_where_nobody_said(queue):
    with backend(transactional=None):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        with pytest.raises(AssertionError, match="rolled back, so it does not count"):
            queue.assert_enqueued(tasks.add)


@taking_part
def test_a_rolled_back_savepoint_takes_its_jobs_only(queue, transactional):
    with backend(transactional=transactional):
        with transaction.atomic():
            tasks.add.enqueue(1, 1)
            roll_back(lambda: tasks.add.enqueue(2, 2))
            tasks.add.enqueue(3, 3)
        assert [record.args for record in queue.run_due().succeeded] == [[1, 1], [3, 3]]


@taking_part
def test_expect_looks_when_its_block_has_ended(queue, transactional):
    with backend(transactional=transactional):
        with queue.expect(tasks.add) as expected, transaction.atomic():
            tasks.add.enqueue(1, 2)
        assert expected.record.transaction.committed


class Outside(DummyBackend):
    transactional = False


class Inside(DummyBackend):
    transactional = True


@only_in_memory
@pytest.mark.parametrize(
    ("production", "options", "expected"),
    [
        ("Inside", {}, True),
        ("Outside", {}, False),
        ("Outside", {"transactional": True}, True),
        ("Inside", {"transactional": False}, False),
    ],
)
def test_the_mirrored_backend_says_whether_it_takes_part(queue, production, options, expected):
    mirrored = {"BACKEND": f"{__name__}.{production}", "OPTIONS": options}
    entry = {"BACKEND": "tasks_testing.backends.DummyBackend", "OPTIONS": {"mirror": mirrored}}
    with override_settings(TASKS={"default": entry}):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        assert (queue.records == []) == expected


def test_the_test_settings_may_know_better_than_the_mirrored_backend(queue):
    options = {"mirror": {"BACKEND": f"{__name__}.Outside"}, "transactional": True}
    entry = {"BACKEND": "tasks_testing.backends.DummyBackend", "OPTIONS": options}
    with override_settings(TASKS={"default": entry}):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        assert queue.records == []


@only_in_memory
def test_another_database_does_not_count(queue):
    entry = {
        "BACKEND": "tasks_testing.backends.DummyBackend",
        "OPTIONS": {"transactional": True, "database": "other"},
    }
    with override_settings(TASKS={"default": entry}):
        roll_back(lambda: tasks.add.enqueue(1, 2))
        assert queue.assert_enqueued(tasks.add).transaction.state == "autocommit"


@only_in_memory
def test_a_thread_has_transactions_of_its_own(queue):
    with backend(transactional=True), transaction.atomic():
        thread = threading.Thread(target=lambda: tasks.add.enqueue(1, 2))
        thread.start()
        thread.join()
        assert queue.assert_enqueued(tasks.add).transaction.state == "autocommit"


# on_commit


def test_on_commit_enqueues_when_the_block_ends(queue):
    with transaction.atomic():
        transaction.on_commit(partial(tasks.add.enqueue, 1, b=2))
        queue.assert_nothing_enqueued()
    record = queue.assert_enqueued(tasks.add)
    assert record.transaction.state == "autocommit"
    assert record.kwargs == {"b": 2}


def test_on_commit_of_a_rolled_back_block_enqueues_nothing(queue):
    roll_back(lambda: transaction.on_commit(lambda: tasks.add.enqueue(1, 2)))
    queue.assert_nothing_enqueued()


def test_on_commit_in_a_task_fires_when_its_block_ends(queue):
    log = []

    def body():
        with transaction.atomic():
            transaction.on_commit(lambda: log.append("committed"))
            log.append("in the block")
        log.append("after the block")
        transaction.on_commit(lambda: log.append("outside of a block, at once"))
        log.append("end")

    plain(body)
    queue.run_due()
    assert log == [
        "in the block",
        "committed",
        "after the block",
        "outside of a block, at once",
        "end",
    ]


def test_on_commit_in_a_task_enqueues_its_children(queue):
    def body():
        with transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))

    plain(body)
    tally = queue.run_due()
    assert tally.succeeded[1].parent.task.func == tasks.perform.func


@in_testcase
def test_without_emulation_a_testcase_never_commits():
    with TaskQueue(on_commit=False) as queue:
        with transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
        with pytest.raises(AssertionError, match=r"1 transaction\.on_commit callback has not run"):
            queue.assert_enqueued(tasks.add)


@in_testcase
def test_djangos_own_capture_stands_beside_the_queue(django_capture_on_commit_callbacks):
    with TaskQueue() as queue:
        with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
        assert len(callbacks) == 1
        queue.assert_nothing_enqueued()
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(3, 4))
        queue.assert_enqueued(tasks.add, args=[3, 4], times=1)


# What a task does to the database


def test_what_a_task_wrote_before_it_failed_stays(queue):
    def body():
        Note.objects.create(text="written")
        raise ZeroDivisionError

    plain(body)
    with pytest.raises(ZeroDivisionError):
        queue.run_due()
    assert Note.objects.count() == 1


def test_a_block_in_a_task_that_failed_is_rolled_back(queue):
    def body():
        Note.objects.create(text="outside")
        with transaction.atomic():
            Note.objects.create(text="inside")
            raise ZeroDivisionError

    plain(body)
    with pytest.raises(ZeroDivisionError):
        queue.run_due()
    assert [note.text for note in Note.objects.all()] == ["outside"]


def test_a_failed_statement_undoes_itself_alone(queue):
    def body():
        Account.objects.create(email="a@example.com")
        with pytest.raises(IntegrityError):
            Account.objects.create(email="a@example.com")
        Note.objects.create(text="later")

    plain(body)
    assert len(queue.run_due().succeeded) == 1
    assert (Account.objects.count(), Note.objects.count()) == (1, 1)


def test_a_retry_sees_what_the_attempt_before_it_wrote(queue):
    def body(context):
        Note.objects.create(text=f"attempt {context.attempt}")
        if context.attempt == 1:
            raise ValueError
        return Note.objects.count()

    tasks.perform_with_context.using(max_attempts=2).enqueue(tasks.body(body))
    assert queue.run_due().succeeded[0].return_value == 2


def test_a_durable_block_works_in_a_task(queue):
    def body():
        with transaction.atomic(durable=True):
            Note.objects.create(text="durable")

    plain(body)
    assert len(queue.run_due().succeeded) == 1


def test_select_for_update_outside_of_a_block_is_refused(queue):
    if not connection.features.has_select_for_update:
        pytest.skip("this database has no SELECT FOR UPDATE")

    plain(lambda: list(Note.objects.select_for_update()))
    with pytest.raises(TransactionManagementError):
        queue.run_due()


def test_select_for_update_inside_of_a_block_works(queue):
    def body():
        with transaction.atomic():
            return len(Note.objects.select_for_update())

    plain(body)
    assert queue.run_due().succeeded[0].return_value == 0


def test_a_constraint_is_checked_where_the_commit_is(queue):
    if not connection.features.can_defer_constraint_checks:
        pytest.skip("this database checks constraints at each statement")
    log = []

    def body():
        with transaction.atomic():
            Invoice.objects.create(account_id=404)
            log.append("not checked before the end of the block")

    plain(body)
    with pytest.raises(IntegrityError):
        queue.run_due()
    assert log == ["not checked before the end of the block"]
    assert Invoice.objects.count() == 0


def test_a_constraint_is_checked_at_the_statement_outside_of_a_block(queue):
    log = []

    def body():
        Invoice.objects.create(account_id=404)
        log.append("never reached")

    plain(body)
    with pytest.raises(IntegrityError):
        queue.run_due()
    assert log == []


@in_testcase
@pytest.mark.parametrize("call", [transaction.commit, transaction.rollback])
def test_a_commit_by_hand_cannot_be_had_in_a_testcase(call):
    with TaskQueue() as queue:
        plain(call)
        with pytest.raises(TransactionManagementError, match="was called in the task"):
            queue.run_due()


def test_a_tasks_connection_stays_open(queue):
    def body():
        connection.close()

    Note.objects.create(text="before")
    plain(body)
    queue.run_due()
    assert Note.objects.count() == 1


@only_in_memory
@in_testcase
def test_a_verb_inside_of_the_tests_own_block_runs_tasks_like_a_worker():
    with TaskQueue() as queue, transaction.atomic():
        Note.objects.create(text="the test's")
        with backend(transactional=False):
            plain(lambda: Account.objects.create(email="a") and Account.objects.create(email="a"))
            with pytest.raises(IntegrityError):
                queue.run_due()
        assert Note.objects.count() == 1


# unittest


class InATestCase(TaskTestMixin, TestCase):
    def test_blocks_commit(self):
        with transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
        self.task_queue.assert_enqueued(tasks.add)

    def test_capture_stands_beside_the_queue(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            with transaction.atomic():
                transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
            self.task_queue.assert_nothing_enqueued()
        assert len(callbacks) == 1
        self.task_queue.assert_enqueued(tasks.add)


class InATransactionTestCase(TaskTestMixin, TransactionTestCase):
    def test_blocks_commit(self):
        with transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
            self.task_queue.assert_nothing_enqueued()
        self.task_queue.assert_enqueued(tasks.add)

    def test_tasks_write_for_good(self):
        plain(lambda: Note.objects.create(text="written") and None)
        self.task_queue.run_due()
        assert Note.objects.count() == 1


class WithoutEmulation(TaskTestMixin, TestCase):
    tasks_on_commit = False

    def test_a_testcase_never_commits(self):
        with transaction.atomic():
            transaction.on_commit(lambda: tasks.add.enqueue(1, 2))
        self.task_queue.assert_nothing_enqueued()
