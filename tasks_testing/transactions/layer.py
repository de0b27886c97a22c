"""One connection's virtual autocommit: Django's own transaction code over savepoints.

A layer puts fresh transaction state on a connection that is inside somebody's transaction, so that
Django takes it for a connection in autocommit. What begins, commits and rolls back a transaction
is replaced on the connection by a savepoint's beginning, release and rollback. ``atomic()``,
``on_commit()``, durable blocks and the rest are Django's own and unpatched.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from tasks_testing.transactions import statements
from tasks_testing.transactions.messages import Kind, left_aborted, left_open, refused

_ABSENT: Final = object()
_LAYER: Final = "_tasks_layer"
_numbers: Final = count(1)


def top_layer(connection: BaseDatabaseWrapper) -> "Layer | None":
    """The layer that a connection is under now, if any."""
    layer: Layer | None = vars(connection).get(_LAYER)
    return layer


class Layer:
    """Virtual autocommit on one connection, from its creation to ``remove()``. Layers nest.

    The layer of a task differs from that of a test's body. Where a failed statement aborts the
    whole transaction it has a savepoint of its own, made at the first statement, that protects the
    caller. And outside of blocks it checks deferred constraints at each write, where autocommit
    does; a body is spared the cost of that.
    """

    def __init__(self, connection: BaseDatabaseWrapper, kind: Kind) -> None:
        self.connection = connection
        self.kind = kind
        self.removed = False
        self.aside = True
        # Savepoints: of the virtual transaction that is open, of the task, of the last statement.
        self._transaction: str | None = None
        self._logged = True
        self._guard: str | None = None
        self._statement: str | None = None
        # No deferred constraint was broken when last looked, and nothing was written since.
        self._constraints_hold = False
        self._wrote = False
        self._defers: bool = connection.features.can_defer_constraint_checks
        self._check = statements.ConstraintCheck(connection)
        self._aborts = statements.aborts_on_error(connection)
        # What belongs to the other side: the layer's state while it stands aside, else the outer.
        self._other: dict[str, Any] = {
            "in_atomic_block": False,
            "autocommit": True,
            "savepoint_ids": [],
            "atomic_blocks": [],
            "commit_on_exit": True,
            "needs_rollback": False,
            "rollback_exc": None,
            "run_on_commit": [],
            "run_commit_hooks_on_set_autocommit_on": False,
            "set_autocommit": self.set_autocommit,
            "commit": self.commit,
            "rollback": self.rollback,
            "close": _stay_open,
            # What tracking puts there is for the savepoints of one side only.
            "savepoint_commit": _ABSENT,
            "savepoint_rollback": _ABSENT,
            _LAYER: self,
        }
        self.swap()
        # First is outermost, and the place that no `with connection.execute_wrapper()` pops.
        connection.execute_wrappers.insert(0, self._around_statement)

    def swap(self) -> None:
        """Exchange the state on the connection with the one put away: stand aside, or come back."""
        namespace = vars(self.connection)
        outer = {name: namespace.get(name, _ABSENT) for name in self._other}
        for name, value in self._other.items():
            if value is _ABSENT:
                namespace.pop(name, None)
            else:
                namespace[name] = value
        self._other = outer
        self.aside = not self.aside
        self._constraints_hold = False  # the other side writes too

    def remove(self) -> list[str]:
        """Give the connection back as it was found, with sentences on what was left behind.

        Layers above this one go first. Does nothing the second time.
        """
        problems: list[str] = []
        while not self.removed and not self.aside and (layer := top_layer(self.connection)):
            problems += layer._take_off()  # noqa: SLF001 of the same class
        self._forget()
        return problems

    def _forget(self) -> None:
        if not self.removed:
            self.removed = True
            self.connection.execute_wrappers.remove(self._around_statement)

    def _take_off(self) -> list[str]:
        connection = self.connection
        connection.needs_rollback = False  # or the statements of the cleaning would be refused
        problems = []
        if self._transaction is not None:
            problems.append(left_open(self.kind, connection.alias, len(connection.atomic_blocks)))
            connection.in_atomic_block = self._logged = False
            with suppress(Error):
                connection.rollback()  # the connection's, for whoever tracks it
        if self._guard is not None:
            try:
                statements.release(connection, self._guard)
            except Error as error:
                problems.append(left_aborted(self.kind, connection.alias, error))
                with suppress(Error):
                    statements.roll_back_to(connection, self._guard)
                    statements.release(connection, self._guard)
        self.swap()
        self._forget()
        return problems

    # What Atomic calls on a connection in autocommit. The same calls from elsewhere are refused.

    def set_autocommit(
        self,
        autocommit: bool,
        force_begin_transaction_with_broken_autocommit: bool = False,
    ) -> None:
        """Begin the virtual transaction, or end it and run its callbacks, as Django's does."""
        connection = self.connection
        connection.validate_no_atomic_block()
        if force_begin_transaction_with_broken_autocommit and self._transaction is None:
            # Of Django only Atomic.__enter__ passes this. In a plain TestCase the block would log
            # a savepoint, unless savepoint=False; the log must not differ.
            block = sys._getframe(1).f_locals.get("self")  # noqa: SLF001
            self._begin(logged=getattr(block, "savepoint", True))
        elif autocommit and self._transaction is not None:
            self._transaction = None
            connection.autocommit = True
            if connection.run_commit_hooks_on_set_autocommit_on:
                connection.run_and_clear_commit_hooks()
                connection.run_commit_hooks_on_set_autocommit_on = False
        else:
            raise self._refusal(f"set_autocommit({autocommit})")

    def commit(self) -> None:
        """Check what a commit would check, and release the savepoint."""
        connection = self.connection
        connection.validate_no_atomic_block()
        if self._transaction is None:
            raise self._refusal("commit()")
        if self._wrote and self._constraints_hold:
            self._check()
        statements.release(connection, self._transaction, logged=self._logged)
        connection.errors_occurred = False
        connection.run_commit_hooks_on_set_autocommit_on = True

    def rollback(self) -> None:
        """Undo the virtual transaction and drop its callbacks."""
        connection = self.connection
        connection.validate_no_atomic_block()
        if self._transaction is None:
            raise self._refusal("rollback()")
        statements.roll_back_to(connection, self._transaction, logged=self._logged)
        statements.release(connection, self._transaction, logged=self._logged)
        connection.errors_occurred = False
        connection.needs_rollback = False
        connection.run_on_commit = []

    def _begin(self, *, logged: bool) -> None:
        connection = self.connection
        self._protect_caller()
        name = f"tasks_{next(_numbers)}"
        # Set before the statement is sent: the statement's wrapper knows it by that.
        self._transaction = name
        self._logged = logged
        self._wrote = False
        try:
            statements.savepoint(connection, name, logged=logged)
            self._look_at_constraints(name)
        except BaseException:
            self._transaction = None
            raise
        connection.autocommit = False

    def _protect_caller(self) -> None:
        """Where a failed statement would take the caller's transaction with it, have a way back."""
        if self.kind is Kind.TASK and self._aborts and self._guard is None:
            guard = f"tasks_{next(_numbers)}"
            statements.savepoint(self.connection, guard)
            self._guard = guard

    def _look_at_constraints(self, name: str) -> None:
        """A constraint that others broke before is not this transaction's to report."""
        if self._defers and not self._constraints_hold:
            self._constraints_hold = self._check.holds(name)

    # Statements outside of blocks

    def _around_statement(
        self,
        execute: Callable[[Any, Any, bool, Any], Any],
        sql: Any,
        params: Any,
        many: bool,
        context: Any,
    ) -> Any:
        """An execute wrapper: outside of blocks each statement is a transaction of its own."""
        connection = self.connection
        if top_layer(connection) is not self:
            return execute(sql, params, many, context)
        writes = statements.is_write(sql)
        if connection.in_atomic_block or self._transaction is not None:
            self._wrote |= writes
            return execute(sql, params, many, context)
        checks = writes and self._defers and self.kind is Kind.TASK
        if checks or self._aborts:
            return self._execute_alone(execute, sql, params, many, context, checks=checks)
        self._constraints_hold &= not writes
        return execute(sql, params, many, context)

    def _execute_alone(
        self,
        execute: Callable[[Any, Any, bool, Any], Any],
        *args: Any,
        checks: bool,
    ) -> Any:
        self._protect_caller()
        name = self._renew_statement_savepoint()
        if checks:
            self._look_at_constraints(name)
        else:
            self._constraints_hold &= not statements.is_write(args[0])
        try:
            result = execute(*args)
            if checks and self._constraints_hold:
                self._check()
        except Error:
            with suppress(Error):  # a connection that was lost must not hide how
                statements.roll_back_to(self.connection, name)
            raise
        return result

    def _renew_statement_savepoint(self) -> str:
        """A fresh savepoint for a statement.

        The last one is released only here, because SQLite refuses to release one while the rows
        of an INSERT ... RETURNING have not been fetched. If they never were, it stays till the end.
        """
        if self._statement is None:
            self._statement = f"tasks_{next(_numbers)}"
        else:
            with suppress(Error):
                statements.release(self.connection, self._statement)
        statements.savepoint(self.connection, self._statement)
        return self._statement

    def _refusal(self, call: str) -> TransactionManagementError:
        return TransactionManagementError(refused(self.kind, self.connection.alias, call))


def _stay_open() -> None:
    """A connection is not closed inside of a transaction that others will go on with."""
