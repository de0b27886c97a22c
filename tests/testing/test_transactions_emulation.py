"""Autocommit as code under test sees it inside of a test's transaction."""

import logging
import threading
from contextlib import nullcontext, suppress
from functools import partial

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import (
    IntegrityError,
    close_old_connections,
    connection,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from tasks_testing.transactions import body_layers, pending_callbacks, task_layers
from tests.app.models import Account, Invoice, Note
from tests.app.tasks import add

in_testcase = pytest.mark.django_db(databases=["default", "other"])
in_real_transactions = pytest.mark.django_db(transaction=True, databases=["default", "other"])
both_layers = pytest.mark.parametrize("layers", [body_layers, task_layers])


def state(alias="default"):
    """All that is on a connection, but for the count of its savepoints."""
    values = dict(vars(connections[alias]), savepoint_state=None)
    return {name: [*it] if isinstance(it, list) else it for name, it in values.items()}


def notes(using="default"):
    return sorted(Note.objects.using(using).values_list("text", flat=True))


def only_postgresql():
    if connection.vendor != "postgresql":
        pytest.skip("a rule of PostgreSQL")


# Callbacks


@in_testcase
@both_layers
def test_callbacks_fire_when_the_outermost_block_ends(layers):
    fired = []
    with layers():
        with transaction.atomic():
            transaction.on_commit(lambda: fired.append("first"))
            with transaction.atomic():
                transaction.on_commit(lambda: fired.append("second"))
            assert fired == []
        assert fired == ["first", "second"]
        transaction.on_commit(lambda: fired.append("outside of a block"))
        assert fired[2:] == ["outside of a block"]


@in_testcase
@both_layers
def test_callbacks_of_a_rolled_back_block_never_fire(layers):
    fired = []
    with layers():
        with transaction.atomic(), pytest.raises(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(lambda: fired.append("inner"))
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(lambda: fired.append("outer"))
            raise ZeroDivisionError
        assert fire_in_a_block()
    assert fired == []


@in_testcase
def test_a_robust_callback_fails_into_the_log(caplog):
    def broken():
        raise ZeroDivisionError

    caplog.set_level(logging.ERROR, logger="django.db.backends.base")
    with body_layers(), transaction.atomic():
        transaction.on_commit(broken, robust=True)
    assert "broken" in caplog.text


@in_testcase
def test_callbacks_from_before_belong_to_the_test():
    fired = []
    transaction.on_commit(lambda: fired.append("the test's"))
    with transaction.atomic():
        transaction.on_commit(lambda: fired.append("the block's"))
        with body_layers():
            with transaction.atomic():
                transaction.on_commit(lambda: fired.append("the code's"))
            assert fired == ["the code's"]
            assert connection.run_on_commit == []
        assert len(connection.run_on_commit) == 2
    assert fired == ["the code's"]


@in_testcase
def test_pending_callbacks_are_named():
    def send_receipt():
        pass

    with body_layers(), transaction.atomic():
        transaction.on_commit(send_receipt)
        transaction.on_commit(partial(int, "1", base=10))
        transaction.on_commit(partial(add.enqueue, 1, 2))
        first, second, third = pending_callbacks(connection)
        assert first == "test_pending_callbacks_are_named.<locals>.send_receipt"
        assert second == "int('1', base=10)"
        assert third == "tests.app.tasks.add.enqueue(1, 2)"
        connection.run_on_commit = []


# Blocks and statements


@in_real_transactions
def test_a_task_enters_a_durable_block_inside_of_its_callers_block():
    with transaction.atomic():
        with task_layers(), transaction.atomic(durable=True):
            Note.objects.create(text="durable")
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(durable=True):
            pass


@in_testcase
@both_layers
def test_select_for_update_outside_of_a_block_is_refused(layers):
    only_postgresql()
    with layers():
        with pytest.raises(TransactionManagementError, match="select_for_update cannot be used"):
            Note.objects.select_for_update().first()
        with transaction.atomic():
            assert Note.objects.select_for_update().first() is None


@in_testcase
@both_layers
def test_a_failed_statement_undoes_itself_alone(layers):
    with layers():
        Account.objects.create(email="taken@example.org")
        with pytest.raises(IntegrityError):
            Account.objects.create(email="taken@example.org")
        Note.objects.create(text="after")
        with pytest.raises(IntegrityError), transaction.atomic():
            Note.objects.create(text="undone")
            Account.objects.create(email="taken@example.org")
        Note.objects.create(text="at the end")
    assert notes() == ["after", "at the end"]


@in_real_transactions
def test_what_a_task_wrote_before_it_failed_stays_and_its_caller_goes_on():
    with transaction.atomic():
        Note.objects.create(text="before")
        with pytest.raises(IntegrityError), task_layers():
            Note.objects.create(text="written by the task")
            Account.objects.create(email="taken@example.org")
            Account.objects.create(email="taken@example.org")
        assert not connection.needs_rollback
        Note.objects.create(text="after")
    assert notes() == ["after", "before", "written by the task"]


@in_real_transactions
def test_what_a_task_wrote_falls_with_its_callers_block():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with task_layers():
            Note.objects.create(text="written by the task")
        raise ZeroDivisionError
    assert notes() == []


@in_real_transactions
def test_a_task_in_a_broken_transaction_gets_djangos_own_error():
    with transaction.atomic():
        transaction.set_rollback(True)
        refused = pytest.raises(TransactionManagementError, match="An error occurred in the curr")
        with refused, task_layers():
            Note.objects.create(text="refused")


@in_testcase
@both_layers
def test_connections_are_not_closed(layers):
    with layers():
        Note.objects.create(text="kept")
        connection.close()
        connection.close_at = 0  # too old
        connection.errors_occurred = True
        close_old_connections()
        connections.close_all()
        assert notes() == ["kept"]
    assert notes() == ["kept"]


@in_testcase
def test_databases_are_emulated_apart():
    fired = []
    with body_layers(), transaction.atomic(using="other"):
        transaction.on_commit(lambda: fired.append("other"), using="other")
        transaction.on_commit(lambda: fired.append("default"))
        assert fired == ["default"]
        Note.objects.using("other").create(text="on the other one")
    assert fired == ["default", "other"]
    assert notes("other") == ["on the other one"]
    assert notes() == []


@in_testcase
@pytest.mark.parametrize("savepoint", [True, False])
def test_the_query_log_is_that_of_a_plain_testcase(savepoint):
    def kinds():
        with CaptureQueriesContext(connection) as queries:
            for fails in (False, True):
                outer, inner = transaction.atomic(), transaction.atomic(savepoint=False)
                with suppress(ZeroDivisionError), outer, transaction.atomic(), inner:
                    Account.objects.create(email=f"{fails}@example.org").delete()
                    if fails:
                        raise ZeroDivisionError
            with transaction.atomic(savepoint=savepoint):
                Note.objects.create(text="one")
            with transaction.atomic(savepoint=savepoint):
                assert Note.objects.count()
        return [query["sql"].split()[0] for query in queries]

    with transaction.atomic():
        plain = kinds()
        transaction.set_rollback(True)
    with body_layers():
        assert kinds() == plain


@in_testcase
def test_execute_wrappers_of_the_user_see_what_they_see_in_a_plain_testcase():
    seen = []

    def wrapper(execute, sql, params, many, context):
        seen.append(sql.split()[0])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper), body_layers():
        Note.objects.create(text="seen")
        with transaction.atomic():
            Note.objects.create(text="seen")
    assert seen == ["INSERT", "SAVEPOINT", "INSERT", "RELEASE"]


# Constraints


@in_testcase
@both_layers
def test_a_dangling_reference_is_refused_where_a_commit_would_refuse_it(layers):
    with layers():
        with pytest.raises(IntegrityError), transaction.atomic():
            Note.objects.create(text="undone")
            Invoice.objects.create(account_id=0)
            Note.objects.create(text="undone too")
        with transaction.atomic():
            invoice = Invoice.objects.create(account_id=0)
            invoice.account = Account.objects.create(email="late@example.org")
            invoice.save()
    assert notes() == []
    assert Invoice.objects.count() == 1


@in_testcase
def test_outside_of_blocks_a_task_is_refused_a_dangling_reference_at_the_statement():
    with task_layers():
        with pytest.raises(IntegrityError):
            Invoice.objects.create(account_id=0)
        Note.objects.create(text="after")
        assert Invoice.objects.count() == 0
    assert notes() == ["after"]


@in_real_transactions
def test_a_task_is_not_blamed_for_a_reference_that_its_caller_left_dangling():
    with transaction.atomic():
        invoice = Invoice.objects.create(account_id=0)
        with task_layers():
            Note.objects.create(text="alone")
            with transaction.atomic():
                Note.objects.create(text="in a block")
        invoice.account = Account.objects.create(email="late@example.org")
        invoice.save()
    assert notes() == ["alone", "in a block"]


@in_testcase
@pytest.mark.parametrize("captured", [False, True])
def test_a_block_is_not_blamed_for_a_reference_that_dangled_before_it(captured):
    capture = TestCase.captureOnCommitCallbacks if captured else nullcontext
    with body_layers():
        with transaction.atomic():
            Note.objects.create(text="checked")
        with capture():
            invoice = Invoice.objects.create(account_id=0)
        with transaction.atomic():
            Note.objects.create(text="after")
        invoice.account = Account.objects.create(email="late@example.org")
        invoice.save()
        with pytest.raises(IntegrityError), transaction.atomic():
            Invoice.objects.create(account_id=0)
    assert notes() == ["after", "checked"]


@in_testcase
def test_constraints_that_are_deferrable_but_immediate_stay_so():
    only_postgresql()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE seats (number int UNIQUE DEFERRABLE INITIALLY IMMEDIATE)")
        with task_layers(), transaction.atomic():
            cursor.execute("INSERT INTO seats VALUES (1)")
        with body_layers(), pytest.raises(IntegrityError):
            cursor.execute("INSERT INTO seats VALUES (1)")


# Transactions by hand


@in_testcase
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (transaction.commit, "commit()"),
        (transaction.rollback, "rollback()"),
        (lambda: transaction.set_autocommit(False), "set_autocommit(False)"),
        (lambda: transaction.set_autocommit(True), "set_autocommit(True)"),
    ],
)
@pytest.mark.parametrize(
    ("layers", "who", "remedy"),
    [
        (body_layers, "the test", "give the test real transactions: {real}"),
        (
            task_layers,
            "the task",
            (
                "run the task outside of its caller's transaction: enqueue it after the block, in "
                "a test with real transactions ({real})"
            ),
        ),
    ],
)
def test_transactions_by_hand_are_refused(call, name, layers, who, remedy):
    real = "TransactionTestCase, or @pytest.mark.django_db(transaction=True)"
    with layers(), pytest.raises(TransactionManagementError) as raised:
        call()
    assert str(raised.value) == (
        f"transaction.{name} was called in {who}, on the database 'default', where autocommit is "
        "only emulated inside a larger transaction: nothing can really be committed or rolled "
        f"back there. Use transaction.atomic() instead, or {remedy.format(real=real)}."
    )


@in_testcase
@both_layers
def test_inside_of_a_block_django_refuses_transactions_by_hand(layers):
    with layers(), transaction.atomic():
        for call in (transaction.commit, transaction.rollback):
            with pytest.raises(TransactionManagementError, match="'atomic' block is active"):
                call()


# The end of a layer


@in_testcase
@both_layers
@pytest.mark.parametrize("fails", [False, True])
def test_the_connection_is_given_back_as_it_was(layers, fails):
    before = {alias: state(alias) for alias in connections}
    with suppress(ZeroDivisionError), layers():
        assert state() != before["default"]
        Note.objects.create(text="written")
        with transaction.atomic():
            Note.objects.create(text="in a block")
            if fails:
                raise ZeroDivisionError
    assert {alias: state(alias) for alias in connections} == before


@in_testcase
@both_layers
def test_a_block_left_open_is_rolled_back_and_named(layers):
    before = state()
    with pytest.raises(TransactionManagementError) as raised, layers():
        Note.objects.create(text="kept")
        transaction.atomic().__enter__()
        Note.objects.create(text="undone")
        transaction.on_commit(lambda: pytest.fail("must not fire"))
        transaction.set_rollback(True)
    who = "the test" if layers is body_layers else "the task"
    assert str(raised.value) == (
        f"An atomic() block was entered in {who}, on the database 'default', and still open when "
        f"{who} ended. What was written since has been rolled back. Leave each block in the code "
        "that entered it; a generator that yields inside of one must be exhausted or closed."
    )
    assert state() == before
    assert notes() == ["kept"]


@in_testcase
def test_what_was_left_open_becomes_a_note_on_an_exception():
    with pytest.raises(ZeroDivisionError) as raised, task_layers():
        transaction.atomic().__enter__()
        transaction.atomic().__enter__()
        raise ZeroDivisionError
    (note,) = raised.value.__notes__
    assert note.startswith("2 atomic() blocks were entered in the task")


@in_testcase
@pytest.mark.parametrize("outside", [True, False])
def test_a_task_that_aborts_the_transaction_behind_djangos_back_is_undone_and_named(outside):
    only_postgresql()
    with pytest.raises(TransactionManagementError) as raised, task_layers():
        with nullcontext() if outside else transaction.atomic():
            Note.objects.create(text="undone")
        with pytest.raises(Exception, match="no_such_table"):
            connection.connection.execute("SELECT * FROM no_such_table")
    assert str(raised.value) == (
        "When the task ended, its transaction on the database 'default' was aborted: current "
        "transaction is aborted, commands ignored until end of transaction block. All that it "
        "wrote has been rolled back, so that the code around it can go on. A statement failed "
        "that was not sent through a cursor of Django's connection: send it through one, inside "
        "transaction.atomic()."
    )
    Note.objects.create(text="after")
    assert notes() == ["after"]


# Any order with the test's own transaction


class Case(TestCase):
    databases = frozenset({"default", "other"})


def fire_in_a_block():
    fired = []
    with transaction.atomic():
        transaction.on_commit(lambda: fired.append(None))
    return bool(fired)


@in_real_transactions
def test_the_emulation_may_begin_before_the_tests_transaction():
    with body_layers():
        assert fire_in_a_block()  # really
        atomics = Case._enter_atomics()
        assert fire_in_a_block()
        Note.objects.create(text="undone")
        Note.objects.using("other").create(text="undone")
        Case._rollback_atomics(atomics)
        assert notes() == notes("other") == []
        assert not connection.in_atomic_block
        Note.objects.create(text="committed")
    assert notes() == ["committed"]


@in_real_transactions
def test_the_emulation_may_end_before_the_tests_transaction():
    emulation = body_layers()
    emulation.__enter__()
    with body_layers():
        pass
    atomics = Case._enter_atomics()
    emulation.__exit__(None, None, None)
    assert not fire_in_a_block()
    Note.objects.create(text="undone")
    Case._rollback_atomics(atomics)
    assert notes() == []


@in_real_transactions
def test_the_emulation_may_end_after_the_tests_transaction():
    atomics = Case._enter_atomics()
    with body_layers():
        assert fire_in_a_block()
        Note.objects.create(text="undone")
        Case._rollback_atomics(atomics)
        assert notes() == []
        assert connection.get_autocommit()
    assert not connection.in_atomic_block


@in_real_transactions
def test_the_transactions_of_class_and_test_nest():
    with body_layers():
        of_class = Case._enter_atomics()
        Note.objects.create(text="for all tests of the class")
        for _ in range(2):
            of_test = Case._enter_atomics()
            assert fire_in_a_block()
            Note.objects.create(text="for one")
            assert notes() == ["for all tests of the class", "for one"]
            Case._rollback_atomics(of_test)
            assert notes() == ["for all tests of the class"]
        Case._rollback_atomics(of_class)
    assert notes() == []


@in_real_transactions
def test_a_block_left_open_at_the_end_of_the_tests_transaction_is_named():
    with body_layers():
        atomics = Case._enter_atomics()
        transaction.atomic().__enter__()
        with pytest.raises(TransactionManagementError, match="was entered in the test"):
            Case._rollback_atomics(atomics)
        assert not connection.in_atomic_block


@in_testcase
def test_bodies_nest():
    with body_layers():
        with transaction.atomic():
            assert not fire_in_a_block()
            with body_layers():
                assert fire_in_a_block()
            assert not fire_in_a_block()
            connection.run_on_commit = []
        assert fire_in_a_block()


def test_the_patches_live_only_as_long_as_the_emulation():
    def patched():
        helper = vars(TestCase)["captureOnCommitCallbacks"].__func__
        return [
            vars(TestCase)["_enter_atomics"],
            vars(TestCase)["_rollback_atomics"],
            [cell.cell_contents for cell in helper.__closure__],
        ]

    before = patched()
    with body_layers():
        with body_layers():
            pass
        assert all(now != then for now, then in zip(patched(), before, strict=True))
    assert patched() == before


# Captured callbacks


def record(fired, name):
    def callback():
        fired.append(name)
        if name == "outside":
            transaction.on_commit(record(fired, "by a callback"))

    callback.__qualname__ = name
    return callback


def capture(context_manager, execute):
    """What is captured, and what has fired, at the end of the capture and later."""
    fired = []
    with context_manager(execute=execute) as callbacks:
        transaction.on_commit(record(fired, "outside"))
        with transaction.atomic():
            transaction.on_commit(record(fired, "in a block"))
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(record(fired, "rolled back"))
            raise ZeroDivisionError
        at_end = list(fired)
    return [callback.__qualname__ for callback in callbacks], at_end, fired


@in_testcase
@pytest.mark.parametrize("execute", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_callbacks_are_captured_as_in_a_plain_testcase(
    django_capture_on_commit_callbacks, execute, inside
):
    def run(context_manager):
        if not inside:
            return capture(context_manager, execute)
        with transaction.atomic():
            with context_manager(), pytest.raises(RuntimeError, match="durable"):
                transaction.atomic(durable=True).__enter__()
            return capture(context_manager, execute)

    plain = run(TestCase.captureOnCommitCallbacks)
    expected = ["outside", "in a block"] + ["by a callback"] * execute
    assert plain == (expected, [], expected * execute)
    with body_layers():
        assert run(TestCase.captureOnCommitCallbacks) == plain
        assert run(django_capture_on_commit_callbacks) == plain
        assert fire_in_a_block()


@in_testcase
def test_a_capture_on_one_database_leaves_the_other_emulated():
    fired = []
    with body_layers(), TestCase.captureOnCommitCallbacks(using="other") as callbacks:
        transaction.on_commit(lambda: fired.append("default"))
        transaction.on_commit(lambda: fired.append("other"), using="other")
    assert fired == ["default"]
    assert len(callbacks) == 1


@in_testcase
@pytest.mark.parametrize("nested", [False, True])
def test_the_emulation_may_end_inside_of_a_capture(nested):
    emulation = body_layers()
    with body_layers() if nested else nullcontext(), transaction.atomic():
        before = state()
        emulation.__enter__()
        with TestCase.captureOnCommitCallbacks():
            emulation.__exit__(None, None, None)
        assert state() == before


@in_testcase
def test_a_task_may_run_inside_of_a_capture():
    fired = []
    with body_layers(), TestCase.captureOnCommitCallbacks() as callbacks:
        with task_layers():
            transaction.on_commit(lambda: fired.append("the task's"))
        transaction.on_commit(lambda: fired.append("the body's"))
    assert fired == ["the task's"]
    assert len(callbacks) == 1


@in_testcase
def test_a_task_may_capture():
    with body_layers(), task_layers():
        with TestCase.captureOnCommitCallbacks() as callbacks:
            transaction.on_commit(lambda: pytest.fail("must not fire"))
        assert len(callbacks) == 1
        assert fire_in_a_block()


# Threads and async


@in_testcase
def test_a_connection_shared_with_a_thread_is_emulated_there_too():
    """As a live server shares SQLite in memory."""
    fired = []
    shared = connections["default"]

    def serve():
        own, connections["default"] = connections["default"], shared
        try:
            with transaction.atomic():
                Note.objects.create(text="from the thread")
                transaction.on_commit(lambda: fired.append("from the thread"))
        finally:
            connections["default"] = own

    shared.inc_thread_sharing()
    try:
        with body_layers():
            thread = threading.Thread(target=serve)
            thread.start()
            thread.join()
    finally:
        shared.dec_thread_sharing()
    assert fired == ["from the thread"]
    assert notes() == ["from the thread"]


@in_testcase
def test_async_code_is_emulated():
    fired = []

    async def code():
        await Note.objects.acreate(text="async")
        await sync_to_async(lambda: fired.append(fire_in_a_block()))()

    with body_layers():
        async_to_sync(code)()
    assert fired == [True]
    assert notes() == ["async"]


class InATestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        transaction.on_commit(lambda: pytest.fail("belongs to the test"))

    def setUp(self):
        self.enterContext(body_layers())

    def test_sync_code_is_emulated(self):
        assert fire_in_a_block()

    async def test_async_code_is_emulated(self):
        await Note.objects.acreate(text="async")
        assert await sync_to_async(fire_in_a_block)()


@in_real_transactions
@both_layers
def test_outside_of_any_transaction_nothing_is_emulated(layers):
    Note.objects.create(text="connected")
    before = state()
    with layers():
        assert state() == before
        assert fire_in_a_block()
