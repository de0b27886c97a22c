"""The laws of tasks_testing.transactions, on random programs of blocks, writes and failures."""

from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tasks_testing.transactions import TransactionState, body_layers, mark_enqueue, task_layers
from tests.app.models import Account, Invoice, Note

pytestmark = pytest.mark.django_db(transaction=True)
many_examples = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@dataclass(frozen=True)
class Write:
    """A row, and a mark beside it."""


@dataclass(frozen=True)
class Duplicate:
    """A statement that the database refuses."""

    catch: bool


@dataclass(frozen=True)
class Dangling:
    """A row with a broken reference, seen at commit."""

    catch: bool


@dataclass(frozen=True)
class Lock:
    """select_for_update(), which PostgreSQL's features refuse outside of a block."""

    catch: bool


@dataclass(frozen=True)
class OnCommit:
    robust: bool
    raises: bool
    writes: bool
    nested: bool


@dataclass(frozen=True)
class SetRollback:
    catch: bool


@dataclass(frozen=True)
class Fail:
    pass


@dataclass(frozen=True)
class Manual:
    """A savepoint made and rolled back by hand."""

    steps: tuple


@dataclass(frozen=True)
class Block:
    savepoint: bool
    durable: bool
    catch: bool
    steps: tuple


class Boom(Exception):
    pass


class Run:
    """Runs a program and keeps what can be seen of it."""

    def __init__(self):
        self.log = []
        self.marks = {}
        self.number = 0

    def steps(self, steps):
        for step in steps:
            self.step(step)

    def step(self, step):
        try:
            getattr(self, type(step).__name__.lower())(step)
        except Exception as error:
            self.log.append(f"{type(step).__name__} raised {type(error).__name__}")
            if not getattr(step, "catch", False):
                raise

    def write(self, _step):
        self.number += 1
        text = f"note {self.number}"
        mark = mark_enqueue()
        Note.objects.create(text=text)
        self.marks[text] = mark

    def duplicate(self, _step):
        Account.objects.create(email="taken@example.org")

    def dangling(self, _step):
        Invoice.objects.create(account_id=0)

    def lock(self, _step):
        Note.objects.select_for_update().first()

    def oncommit(self, step):
        self.number += 1
        number = self.number

        def callback():
            self.log.append(f"callback {number}, in a block: {connection.in_atomic_block}")
            if step.writes:
                self.write(step)
            if step.nested:
                transaction.on_commit(lambda: self.log.append(f"nested callback {number}"))
            if step.raises:
                raise Boom

        transaction.on_commit(callback, robust=step.robust)

    def setrollback(self, _step):
        transaction.set_rollback(True)

    def fail(self, _step):
        raise Boom

    def manual(self, step):
        sid = connection.savepoint()
        self.steps(step.steps)
        if sid is not None:
            transaction.savepoint_rollback(sid)

    def block(self, step):
        with transaction.atomic(savepoint=step.savepoint, durable=step.durable):
            self.steps(step.steps)

    def seen(self):
        return self.log, sorted(Note.objects.values_list("text", flat=True))


catch = st.sampled_from([True, True, True, False])
write = st.builds(Write)
oncommit = st.builds(
    OnCommit,
    robust=st.booleans(),
    raises=st.sampled_from([False, False, False, True]),
    writes=st.booleans(),
    nested=st.booleans(),
)
dangling = st.builds(Dangling, catch=catch)
failures = st.one_of(
    st.builds(Duplicate, catch=catch),
    st.builds(Lock, catch=catch),
    st.builds(SetRollback, catch=catch),
    st.builds(Fail),
)


def steps(*more, max_size):
    # Writes are named twice: a program without rows shows little.
    return st.lists(st.one_of(write, *more, write), min_size=1, max_size=max_size).map(tuple)


def blocks(inner, savepoint=st.booleans(), catch=catch):
    # Durable ones are refused inside of others, so most are not.
    durable = st.sampled_from([False] * 7 + [True])
    return st.builds(Block, savepoint=savepoint, durable=durable, catch=catch, steps=inner)


def inner_steps(depth):
    if depth == 0:
        return steps(oncommit, failures, dangling, max_size=3)
    inner = st.deferred(lambda: inner_steps(depth - 1))
    manual = st.builds(Manual, steps=inner)
    return steps(blocks(inner), blocks(inner), oncommit, manual, failures, dangling, max_size=5)


in_blocks = inner_steps(3)
# A body is spared the check of each single write, so references dangle in its blocks only.
body_programs = steps(blocks(in_blocks), blocks(in_blocks), oncommit, failures, max_size=5)
task_programs = steps(blocks(in_blocks), oncommit, failures, dangling, max_size=5)
block_programs = st.lists(
    blocks(in_blocks, savepoint=st.just(True), catch=st.just(True)), min_size=1, max_size=3
).map(tuple)


@contextmanager
def tables():
    """Empty tables but for the account whose e-mail is taken."""
    Account.objects.create(email="taken@example.org")
    try:
        yield
    finally:
        for model in (Invoice, Account, Note):
            model.objects.all().delete()


@contextmanager
def wrapping_transaction():
    """What a TestCase opens round each test."""
    block = transaction.atomic()
    block._from_testcase = True
    with block:
        Account.objects.create(email="taken@example.org")
        yield
        transaction.set_rollback(True)


def run(program):
    run = Run()
    try:
        run.steps(program)
    except Exception as error:
        run.log.append(f"ended with {type(error).__name__}")
    return run


def check_marks(run):
    rows = set(Note.objects.values_list("text", flat=True))
    for text, mark in run.marks.items():
        event(f"mark: {mark.state}")
        assert mark.state is not TransactionState.OPEN
        assert (mark.state is TransactionState.ROLLED_BACK) == (text not in rows), text


def run_really(program):
    with tables():
        done = run(program)
        check_marks(done)
        return done.seen()


@given(program=body_programs)
@many_examples
def test_a_body_behaves_as_under_autocommit(program):
    expected = run_really(program)
    with wrapping_transaction(), body_layers():
        done = run(program)
        assert done.seen() == expected
        check_marks(done)


@given(program=task_programs, in_body=st.booleans(), in_block=st.booleans())
@many_examples
def test_a_task_behaves_as_under_autocommit_wherever_it_runs(program, in_body, in_block):
    expected = run_really(program)
    outer = body_layers() if in_body else transaction.atomic()
    caller = transaction.atomic() if in_block else task_layers()
    with wrapping_transaction(), outer, caller:
        Note.objects.create(text="the caller's")
        with task_layers():
            done = run(program)
        log, rows = done.seen()
        assert (log, [row for row in rows if row != "the caller's"]) == expected
        assert "the caller's" in rows
        check_marks(done)


@given(program=task_programs)
@many_examples
def test_a_task_in_a_callers_real_transaction_behaves_as_under_autocommit(program):
    expected = run_really(program)
    with tables(), transaction.atomic():
        with task_layers():
            done = run(program)
        assert done.seen() == expected
        check_marks(done)
        transaction.set_rollback(True)


@given(program=block_programs)
@many_examples
def test_a_mark_is_rolled_back_exactly_if_the_row_beside_it_is_gone(program):
    """In a plain TestCase; the other properties look at it in the other settings."""
    with wrapping_transaction():
        check_marks(run(program))
