"""What a mark says of the transaction that it was made in, one situation each."""

import threading
from contextlib import suppress

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from tasks_testing.transactions import (
    TransactionState,
    body_layers,
    mark_enqueue,
    reset,
    task_layers,
)
from tests.app.models import Invoice, Note

in_testcase = pytest.mark.django_db(databases=["default", "other"])
in_real_transactions = pytest.mark.django_db(transaction=True)
HOOKED = ("commit", "rollback", "close", "savepoint_commit", "savepoint_rollback")


def hooks():
    return [name for name in HOOKED if name in vars(connections["default"])]


def test_without_a_connection_in_this_thread_there_is_no_transaction():
    marks = []

    def enqueue():
        marks.append(mark_enqueue())
        marks.append(mark_enqueue("no such database"))

    thread = threading.Thread(target=enqueue)
    thread.start()
    thread.join()
    assert [mark.state for mark in marks] == [TransactionState.AUTOCOMMIT] * 2
    assert not marks[0].open_at_enqueue


@in_testcase
def test_a_tests_own_transaction_does_not_count():
    assert connection.in_atomic_block
    mark = mark_enqueue()
    assert mark.state is TransactionState.AUTOCOMMIT
    assert not mark.open_at_enqueue
    assert mark is mark_enqueue()
    assert hooks() == []


@in_testcase
@pytest.mark.parametrize("emulated", [False, True])
def test_a_block_is_open_then_committed(emulated):
    with body_layers() if emulated else transaction.atomic(savepoint=False):
        pass
    with transaction.atomic():
        mark = mark_enqueue()
        assert mark.open_at_enqueue
        assert mark.state is TransactionState.OPEN
        assert repr(mark) == "<TransactionMark 'open'>"
    assert mark.state is TransactionState.COMMITTED
    assert mark.open_at_enqueue


@in_testcase
def test_a_block_that_raised_is_rolled_back():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        mark = mark_enqueue()
        raise ZeroDivisionError
    assert mark.state is TransactionState.ROLLED_BACK


@in_testcase
def test_only_what_was_in_the_inner_block_falls_with_it():
    with transaction.atomic():
        before = mark_enqueue()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            inside = mark_enqueue()
            raise ZeroDivisionError
        assert inside.state is TransactionState.ROLLED_BACK
        after = mark_enqueue()
        assert [before.state, after.state] == [TransactionState.OPEN] * 2
    assert [before.state, after.state] == [TransactionState.COMMITTED] * 2


@in_testcase
def test_an_inner_block_without_a_savepoint_takes_the_outer_one_with_it():
    with transaction.atomic():
        outer = mark_enqueue()
        with pytest.raises(ZeroDivisionError), transaction.atomic(savepoint=False):
            inner = mark_enqueue()
            raise ZeroDivisionError
        assert inner.state is TransactionState.OPEN
    assert [outer.state, inner.state] == [TransactionState.ROLLED_BACK] * 2


@in_testcase
def test_set_rollback_rolls_back():
    with transaction.atomic():
        mark = mark_enqueue()
        transaction.set_rollback(True)
    assert mark.state is TransactionState.ROLLED_BACK


@in_testcase
@pytest.mark.parametrize("fails", [False, True])
def test_an_outermost_block_without_a_savepoint_is_followed_in_a_testcase_too(fails):
    block = transaction.atomic(savepoint=False)
    with block:
        committed = mark_enqueue()
    assert committed.state is TransactionState.COMMITTED
    block.__enter__()
    mark = mark_enqueue()
    if fails:
        block.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        assert mark.state is TransactionState.ROLLED_BACK
        transaction.set_rollback(False)
    else:
        block.__exit__(None, None, None)
        assert mark.state is TransactionState.COMMITTED
    assert committed.state is TransactionState.COMMITTED


@in_testcase
def test_an_outermost_block_without_a_savepoint_stays_open_until_it_ends_itself():
    with transaction.atomic(savepoint=False):
        with transaction.atomic():
            mark = mark_enqueue()
        assert mark.state is TransactionState.OPEN
        transaction.set_rollback(True)
    assert mark.state is TransactionState.ROLLED_BACK
    transaction.set_rollback(False)


@in_real_transactions
def test_a_real_transaction_is_committed_when_callbacks_fire():
    seen = []
    with transaction.atomic():
        mark = mark_enqueue()
        transaction.on_commit(lambda: seen.append(mark.state))
    assert seen == [TransactionState.COMMITTED]


@in_real_transactions
def test_a_commit_that_the_database_refused_is_rolled_back():
    with pytest.raises(IntegrityError), transaction.atomic():
        mark = mark_enqueue()
        Invoice.objects.create(account_id=0)
    assert mark.state is TransactionState.ROLLED_BACK


@in_real_transactions
def test_closing_a_connection_rolls_back_unless_it_stays_open():
    with transaction.atomic():
        mark = mark_enqueue()
        connection.close()
        closed = connection.closed_in_transaction  # not so with SQLite in memory
        assert mark.state is (TransactionState.ROLLED_BACK if closed else TransactionState.OPEN)
    assert mark.state is (TransactionState.ROLLED_BACK if closed else TransactionState.COMMITTED)


@in_real_transactions
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_transaction_by_hand_ends_by_hand(end):
    transaction.set_autocommit(False)
    try:
        outside = mark_enqueue()
        with transaction.atomic():
            inside = mark_enqueue()
        assert [outside.state, inside.state] == [TransactionState.OPEN] * 2
        getattr(transaction, end)()
    finally:
        transaction.set_autocommit(True)
    expected = {"commit": TransactionState.COMMITTED, "rollback": TransactionState.ROLLED_BACK}
    assert [outside.state, inside.state] == [expected[end]] * 2


@in_testcase
def test_a_savepoint_rolled_back_by_hand_undoes_what_came_after_it():
    with transaction.atomic():
        before = mark_enqueue()
        sid = connection.savepoint()
        after = mark_enqueue()
        transaction.savepoint_rollback(sid)
        assert [before.state, after.state] == [TransactionState.OPEN, TransactionState.ROLLED_BACK]


@in_testcase
def test_a_savepoint_of_a_foreign_name_counts_as_older():
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
        mark = mark_enqueue()
        connection.savepoint_rollback("mine")
        assert mark.state is TransactionState.ROLLED_BACK


@in_testcase
def test_blocks_from_before_the_emulation_belong_to_the_test():
    with transaction.atomic():
        with body_layers():
            assert mark_enqueue().state is TransactionState.AUTOCOMMIT
        assert mark_enqueue().state is TransactionState.OPEN


@in_testcase
def test_a_task_sees_autocommit_inside_of_its_callers_block():
    with transaction.atomic():
        caller = mark_enqueue()
        with task_layers():
            assert mark_enqueue().state is TransactionState.AUTOCOMMIT
            with transaction.atomic():
                mark = mark_enqueue()
            assert mark.state is TransactionState.COMMITTED
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                failed = mark_enqueue()
                raise ZeroDivisionError
            assert failed.state is TransactionState.ROLLED_BACK
        assert caller.state is TransactionState.OPEN
    assert caller.state is TransactionState.COMMITTED


@in_testcase
def test_savepoints_of_a_task_do_not_reach_its_callers_marks():
    with transaction.atomic():
        caller = mark_enqueue()
        with task_layers(), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT mine")
            connection.savepoint_rollback("mine")
        assert caller.state is TransactionState.OPEN


@in_testcase
def test_databases_are_tracked_apart():
    with transaction.atomic(using="other"):
        assert mark_enqueue().state is TransactionState.AUTOCOMMIT
        mark = mark_enqueue("other")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            default = mark_enqueue()
            raise ZeroDivisionError
    assert mark.state is TransactionState.COMMITTED
    assert default.state is TransactionState.ROLLED_BACK


def state():
    values = dict(vars(connections["default"]), savepoint_state=None)
    return {name: [*it] if type(it) is list else it for name, it in values.items()}


@in_testcase
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_on_the_connection(fails):
    before = state()
    with suppress(ZeroDivisionError), transaction.atomic():
        mark_enqueue()
        assert hooks() == list(HOOKED)
        if fails:
            raise ZeroDivisionError
    assert state() == before
    assert type(connections["default"].atomic_blocks) is list


@in_testcase
def test_reset_stops_watching_and_leaves_the_marks():
    with transaction.atomic():
        mark = mark_enqueue()
        reset()
        assert hooks() == []
    assert mark.state is TransactionState.OPEN


class InATestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.mark = mark_enqueue()

    def test_the_atomics_of_class_and_test_do_not_count(self):
        assert self.mark.state is TransactionState.AUTOCOMMIT
        assert mark_enqueue().state is TransactionState.AUTOCOMMIT
        with transaction.atomic():
            mark = mark_enqueue()
        assert mark.state is TransactionState.COMMITTED


class InATransactionTestCase(TransactionTestCase):
    def test_real_blocks_are_tracked(self):
        Note.objects.create(text="connected")
        assert mark_enqueue().state is TransactionState.AUTOCOMMIT
        with transaction.atomic():
            mark = mark_enqueue()
            assert mark.open_at_enqueue
        assert mark.state is TransactionState.COMMITTED
