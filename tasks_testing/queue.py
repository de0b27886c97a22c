"""TaskQueue: the one object of a test that uses tasks. The same in pytest, unittest, plain code."""

from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Self

from . import state
from .clock import clock
from .driver import OnError
from .exceptions import ConfigurationError
from .journal import journal
from .recording import Mode, check_mode, recording, require_recording, test_has_own_setting
from .strictness import parse_flags, strictness_message
from .transactions import body_layers
from .verbs import Verbs


class TaskQueue(Verbs):
    """Records every task enqueued in the block, and offers assertions and verbs over all backends.

        with TaskQueue() as task_queue:
            checkout(order)
            task_queue.assert_enqueued(send_receipt, args=[order.pk])
            task_queue.advance(hours=24)

    mode: "record", "immediate" or "database" (as "record", with the tasks in the tables and in the
    store of production); without it, backends that record already stay as they are, and others
    are replaced by recording ones that mirror them.
    now: freeze the clock at this time from the start.
    strict: flags of `tasks_testing.strictness`, checked at the end: True, "failed never_run", ...
    on_commit: emulate commits inside a TestCase's transaction (True), or leave Django as it is
    (False); without it, as the queue around, and True in the outermost.
    on_error: "raise" a task's final failure to the test, or "record" it only; without it, as the
    queue around, and "raise" in the outermost.
    own_block: see only what the block enqueues; False sees the whole test.
    keeps_setting: leave the backends of a TASKS that is overridden as they are, whatever the mode.

    Raises ConfigurationError for a mode, flag or on_error that does not exist, and when it is
    entered while it is active; ClockError for a ``now`` that the clock cannot be set to.
    """

    def __init__(
        self,
        *,
        mode: Mode | None = None,
        now: datetime | None = None,
        strict: object = (),
        on_commit: bool | None = None,
        on_error: OnError | None = None,
        own_block: bool = True,
        keeps_setting: bool = False,
    ) -> None:
        if mode is not None and check_mode(mode, "TaskQueue(mode=...)") == "off":
            raise ConfigurationError(
                "The test queue has nothing to offer in the mode off, which leaves the project's "
                'own backends in place. Use mode="record" or mode="immediate" for this test.'
            )
        if on_error not in {None, "raise", "record"}:
            raise ConfigurationError(f'on_error must be "raise" or "record", not {on_error!r}.')
        self.on_error: OnError = on_error or "raise"
        self.on_commit = on_commit is not False
        self._inherits_on_error = on_error is None
        self._inherits_on_commit = on_commit is None
        self._mode = mode
        self._start = now
        self._strict = parse_flags(strict, "TaskQueue(strict=...)")
        self._unchecked = self._strict
        self._own_block = own_block
        self._keeps_setting = keeps_setting
        self._stack = ExitStack()

    # -- the block -------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if state.is_active(self):
            raise ConfigurationError(
                "This TaskQueue is active already. Make another TaskQueue() for the block inside: "
                "it sees what that block enqueues, and this one sees it when the block has ended."
            )
        outermost = state.no_queue_is_active()
        if self._inherits_on_error:
            self.on_error = state.active_on_error() or "raise"
        if self._inherits_on_commit:
            self.on_commit = state.active_on_commit() is not False
        self._unchecked = self._strict
        with ExitStack() as stack:
            is_kept = self._keeps_setting and test_has_own_setting()
            stack.enter_context(recording(None if is_kept else self._mode))
            in_database = self._in_database()
            if self._own_block or in_database is not journal.is_in_database:
                stack.enter_context(journal.block(in_database=in_database))
            if not journal.keeps_everything:
                journal.keeps_everything = True
                stack.callback(setattr, journal, "keeps_everything", False)
            if outermost:
                stack.callback(clock.stop)
            if self._start is not None:
                clock.freeze(self._start)
            if self.on_commit:
                stack.enter_context(body_layers())
            state.activate(self)
            stack.callback(state.deactivate, self)
            self._stack = stack.pop_all()
        return self

    def _in_database(self) -> bool:
        """Where the tasks of the block are kept: as the mode says, else as around it."""
        return journal.is_in_database if self._mode is None else self._mode == "database"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        problem = self.strictness_problem() if error is None else None
        self._stack.__exit__(kind, error, traceback)
        if problem is not None:
            raise AssertionError(problem)

    def strictness_problem(self, *, allow: str = 'TaskQueue(strict="{flags}")') -> str | None:
        """What the strictness flags forbid and the block has left behind; told once.

        allow: see strictness_message.
        """
        flags, self._unchecked = self._unchecked, frozenset()
        return strictness_message(journal.entries(), flags, allow=allow) if flags else None

    # -- what the verbs ask ----------------------------------------------------------------

    @property
    def _on_error(self) -> OnError:
        return self.on_error

    def _require_recording(self, verb: str) -> None:
        __tracebackhide__ = True
        require_recording(verb)

    def __repr__(self) -> str:
        entries = journal.entries()
        return f"<TaskQueue: {len(entries)} task{'' if len(entries) == 1 else 's'}>"
