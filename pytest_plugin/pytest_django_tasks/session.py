"""What the plugin does once Django is configured: one object for the test run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
from django.conf import settings

from tasks_testing import ConfigurationError, TaskQueue
from tasks_testing.clock import clock
from tasks_testing.exceptions import TasksTestingError
from tasks_testing.framework import SETTING
from tasks_testing.journal import journal
from tasks_testing.recording import (
    check_mode,
    recording_setting,
    tasks_setting,
    test_has_own_setting,
)
from tasks_testing.report import explain_comparison, report_text
from tasks_testing.strictness import parse_flags
from tasks_testing.transactions import reset as reset_transactions

_OPTIONS = ("mode", "now", "strict", "on_commit", "on_error")


class TasksSession:
    """Replaces the backends for the run, and keeps the journal of each test apart."""

    def __init__(self, config: pytest.Config) -> None:
        try:
            self.mode = check_mode(config.getini("tasks_mode"), "The ini option tasks_mode")
            self.strict = parse_flags(config.getini("tasks_strict"), "The ini option tasks_strict")
            clock.configure(config.getini("tasks_clock"))
        except TasksTestingError as error:
            raise pytest.UsageError(str(error)) from None
        self._stack = ExitStack()
        self._original: Any = None
        # A project without TASKS is left alone.
        if self.mode != "off" and settings.is_overridden(SETTING):
            self._original = settings.TASKS
            self._stack.enter_context(tasks_setting(recording_setting(self.mode)))
        journal.keeps_everything = True

    def end(self) -> None:
        """Give the project its own backends back."""
        clock.stop()
        journal.keeps_everything = False
        self._stack.close()

    # -- one test --------------------------------------------------------------------------

    def prepare(self, item: pytest.Item) -> None:
        """Give the test a queue, unasked, when its marker or the strictness needs one."""
        names: list[str] | None = getattr(item, "fixturenames", None)
        if names is None or "task_queue" in names:
            return
        options = marker_options(item)
        mode = options.get("mode") or self.mode
        if mode == "off" or not (options or self.strict):
            return
        scopes = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        # Before the test's other fixtures, so that now= holds for them, after wider-scoped ones.
        place = next(
            (
                place
                for place, name in enumerate(names)
                if name in scopes and scopes[name][-1].scope == "function"
            ),
            len(names),
        )
        names.insert(place, "task_queue")

    @contextmanager
    def around(self, item: pytest.Item) -> Iterator[None]:
        """The whole test, with the project's own backends where its marker says off."""
        with self._project_backends(item):
            yield
        journal.reset()

    def _project_backends(self, item: pytest.Item) -> AbstractContextManager[None]:
        if self._original is not None and marker_options(item).get("mode") == "off":
            return tasks_setting(self._original)
        return nullcontext()

    def begin_test(self) -> None:
        if not journal.is_empty:
            journal.reset()

    def end_test(self) -> None:
        clock.stop()
        reset_transactions()

    def disowned(self) -> AbstractContextManager[None]:
        return journal.disowned()

    def queue(self, request: pytest.FixtureRequest) -> TaskQueue:
        """The queue of the fixture, by the ini options and the test's markers."""
        options = marker_options(request.node)
        mode = options.get("mode")
        if mode is None and self._original is None:
            mode = self.mode  # Nothing was replaced for the run: the mode is off, or no TASKS.
        if mode is not None and mode != "off" and test_has_own_setting():
            mode = None  # The test's own TASKS wins.
        try:
            return TaskQueue(
                mode=mode,
                now=options.get("now"),
                strict=options.get("strict", self.strict),
                on_commit=options.get("on_commit", True),
                on_error=options.get("on_error", "raise"),
                own_block=False,
            )
        except ConfigurationError as error:
            message = str(error)
        pytest.fail(message, pytrace=False)

    # -- reports ---------------------------------------------------------------------------

    def report_text(self) -> str:
        return report_text(journal.everything())

    def explain_comparison(self, op: str, left: object, right: object) -> list[str] | None:
        return explain_comparison(op, left, right)


def marker_options(item: pytest.Item) -> dict[str, Any]:
    """The arguments of all ``tasks`` markers of the test, the closest winning for each."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("tasks"):
        if marker.args:
            raise pytest.UsageError(
                f"@pytest.mark.tasks takes keyword arguments only, not {marker.args!r}: "
                f"{', '.join(_OPTIONS)}."
            )
        unknown = [name for name in marker.kwargs if name not in _OPTIONS]
        if unknown:
            raise pytest.UsageError(
                f"@pytest.mark.tasks has no option {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(_OPTIONS)}."
            )
        options = {**marker.kwargs, **options}
    return options
