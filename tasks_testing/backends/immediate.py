"""Runs tasks at once, in the enqueueing thread, as a worker would run them."""

from collections.abc import Mapping
from typing import Any

from tasks_testing.driver import Drain, OnError
from tasks_testing.entry import Entry
from tasks_testing.exceptions import ConfigurationError
from tasks_testing.framework import TaskResult
from tasks_testing.journal import journal
from tasks_testing.state import active_on_error

from .base import RecordingBackend

DEFAULT_HISTORY = 1_000


class ImmediateBackend(RecordingBackend):
    """Django's ImmediateBackend, extended; see RecordingBackend for what is stricter.

    A task with run_after, or whose retry must wait, stays deferred until a verb moves the clock
    there. Inside the caller's atomic() block a task has a savepoint of its own, so a failed
    statement never breaks the caller's transaction and its on_commit callbacks fire when it ends;
    what it wrote still falls with the caller's block.

    OPTIONS beside those of RecordingBackend:
    on_error: without it, failures are raised while a TaskQueue is active, and recorded in the
    result (FAILED, as Django documents) everywhere else.
    history: how many finished tasks to remember outside of tests; 1000.
    """

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._history: int = self.options.get("history", DEFAULT_HISTORY)
        if (
            isinstance(self._history, bool)
            or not isinstance(self._history, int)
            or self._history < 0
        ):
            raise ConfigurationError(
                f'TASKS["{alias}"]["OPTIONS"]["history"] is {self._history!r}; '
                "it must be a whole number of finished tasks to remember."
            )

    def _after_enqueue(self, entry: Entry, result: TaskResult) -> None:
        __tracebackhide__ = True
        on_error: OnError = self.options.get("on_error") or active_on_error() or "record"
        drain = Drain("enqueue", self._backends, on_error=on_error, sender=type(self))
        try:
            drain.run_job(entry.job_id, result=result)
        finally:
            if entry.job.status.is_final:
                journal.trim(entry, keep=self._history)
