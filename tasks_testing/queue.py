"""TaskQueue: the one object of a test that uses tasks. The same in pytest, unittest, plain code."""

from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from . import state
from .clock import clock
from .driver import OnError
from .exceptions import ConfigurationError
from .journal import journal
from .recording import (
    Mode,
    all_record,
    check_mode,
    recording_setting,
    require_recording,
    tasks_setting,
    test_has_own_setting,
)
from .strictness import parse_flags, strictness_message
from .transactions import body_layers
from .verbs import Verbs


class TaskQueue(Verbs):
    """Records every task enqueued in the block, and offers assertions and verbs over all backends.

        with TaskQueue() as task_queue:
            checkout(order)
            task_queue.assert_enqueued(send_receipt, args=[order.pk])
            task_queue.advance(hours=24)

    mode: "record" or "immediate"; without it, backends that record already stay as they are, and
    others are replaced by recording ones that mirror them. TASKS overridden by the test wins.
    now: freeze the clock at this time from the start.
    strict: flags of `tasks_testing.strictness`, checked at the end: True, "failed never_run", ...
    on_commit: emulate commits inside a TestCase's transaction (True), or leave Django as it is.
    on_error: "raise" a task's final failure to the test, or "record" it only.
    own_block: see only what the block enqueues; False sees the whole test.

    Raises ConfigurationError for a mode, flag or on_error that does not exist.
    """

    def __init__(
        self,
        *,
        mode: Mode | None = None,
        now: datetime | None = None,
        strict: object = (),
        on_commit: bool = True,
        on_error: OnError = "raise",
        own_block: bool = True,
    ) -> None:
        if mode is not None and check_mode(mode, "TaskQueue(mode=...)") == "off":
            raise ConfigurationError(
                "The test queue has nothing to offer in the mode off, which leaves the project's "
                'own backends in place. Use mode="record" or mode="immediate" for this test.'
            )
        if on_error not in {"raise", "record"}:
            raise ConfigurationError(f'on_error must be "raise" or "record", not {on_error!r}.')
        self.on_error: OnError = on_error
        self._mode = mode
        self._start = now
        self._strict = parse_flags(strict, "strict")
        self._on_commit = on_commit
        self._own_block = own_block
        self._stack = ExitStack()

    # -- the block -------------------------------------------------------------------------

    def __enter__(self) -> Self:
        outermost = state.no_queue_is_active()
        with ExitStack() as stack:
            setting = self._setting()
            if setting is not None:
                stack.enter_context(tasks_setting(setting))
            if self._own_block:
                stack.enter_context(journal.block())
            if not journal.keeps_everything:
                journal.keeps_everything = True
                stack.callback(setattr, journal, "keeps_everything", False)
            if outermost:
                stack.callback(clock.stop)
            if self._start is not None:
                clock.freeze(self._start)
            if self._on_commit:
                stack.enter_context(body_layers())
            state.activate(self)
            stack.callback(state.deactivate, self)
            self._stack = stack.pop_all()
        return self

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

    def strictness_problem(self) -> str | None:
        """What the strictness flags forbid and the block has left behind; told once."""
        flags, self._strict = self._strict, frozenset()
        return strictness_message(journal.entries(), flags)

    def _setting(self) -> dict[str, Any] | None:
        """The TASKS to put in force, or None to leave it."""
        if self._mode is not None:
            return recording_setting(self._mode)
        if test_has_own_setting() or all_record():
            return None
        return recording_setting("record")

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
