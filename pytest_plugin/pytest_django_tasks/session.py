"""What the plugin does once Django is configured: one object for the test run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from typing import Any

import pytest
from django.conf import settings

from tasks_testing import TaskQueue
from tasks_testing.clock import clock
from tasks_testing.comparison import explain_comparison
from tasks_testing.exceptions import ClockError, ConfigurationError, TasksTestingError
from tasks_testing.framework import SETTING
from tasks_testing.journal import journal
from tasks_testing.real_worker import TaskWorker, running_worker
from tasks_testing.recording import (
    check_mode,
    recording_setting,
    tasks_setting,
)
from tasks_testing.report import report_text
from tasks_testing.strictness import parse_flags
from tasks_testing.transactions import reset as reset_transactions

_MARKER = "@pytest.mark.tasks"
_OPTIONS = ("mode", "now", "strict", "on_commit", "on_error", "worker")
_WORKER = "task_worker"
_EITHER = (
    "The fixtures task_queue and task_worker exclude one another: the one records tasks in the "
    "place of the project's backends, the other lets a real worker run them."
)
_options_key = pytest.StashKey[dict[str, Any]]()
_problem_key = pytest.StashKey[str]()
# Those whose values nobody else checks while tests are collected.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "now": (lambda value: isinstance(value, datetime), "a datetime"),
    "on_commit": (lambda value: isinstance(value, bool), "True or False"),
    "on_error": (lambda value: value in {"raise", "record"}, '"raise" or "record"'),
    "worker": (lambda value: value in {"thread", "process"}, '"thread" or "process"'),
}


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
        self._one_test = ExitStack()
        self._original: Any = None
        # A project without TASKS is left alone.
        if self.mode != "off" and settings.is_overridden(SETTING):  # type: ignore[misc]
            self._original = settings.TASKS
            self._stack.enter_context(tasks_setting(recording_setting(self.mode)))
            self._stack.callback(setattr, journal, "in_database", journal.in_database)
            journal.in_database = self.mode == "database"
            journal.reset()
        self._stack.callback(setattr, journal, "keeps_everything", journal.keeps_everything)
        journal.keeps_everything = True

    def end(self) -> None:
        """Give the project its own backends back."""
        clock.stop()
        self._stack.close()
        journal.reset()

    # -- one test --------------------------------------------------------------------------

    def prepare(self, item: pytest.Item) -> None:
        """Read the test's markers, and give it a queue, unasked, when it needs one for them."""
        try:
            options = item.stash[_options_key] = marker_options(item)
        except ConfigurationError as error:
            # The test fails with it. A usage error would end the run, and under xdist a worker's
            # would be lost.
            item.stash[_problem_key] = str(error)
            return
        names: list[str] | None = getattr(item, "fixturenames", None)
        mode = options.get("mode") or self.mode
        asked = self.strict or item.get_closest_marker("tasks") is not None
        if names is None or mode == "off" or not asked or _WORKER in names:
            return
        if "task_queue" in names:
            names.remove("task_queue")
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

    def begin_test(self, item: pytest.Item) -> None:
        """A journal of its own, and the project's own backends where the marker says off."""
        if not journal.is_empty:
            journal.reset()
        is_off = _options(item).get("mode") == "off" or _has_worker(item)
        if self._original is not None and is_off:
            self._one_test.enter_context(tasks_setting(self._original))
        if _problem_key in item.stash:
            pytest.fail(item.stash[_problem_key], pytrace=False)

    def end_call(self) -> None:
        """The test's own function has ended; the fixtures, and their rollback, come next."""
        journal.last_look()

    def end_test(self) -> None:
        clock.stop()
        reset_transactions()
        self._one_test.close()

    def disowned(self) -> AbstractContextManager[None]:
        return journal.disowned()

    @contextmanager
    def queue(self, request: pytest.FixtureRequest) -> Iterator[TaskQueue]:
        """The queue of the fixture, by the ini options and the test's markers."""
        if _has_worker(request.node):
            pytest.fail(_EITHER, pytrace=False)
        options = _options(request.node)
        mode = options.get("mode")
        if mode is None and self._original is None:
            mode = self.mode  # Nothing was replaced for the run: the mode is off, or no TASKS.
        if mode == "off":
            pytest.fail(
                f"The fixture task_queue has nothing to offer here: {self._who_says_off(options)} "
                "leaves the project's own backends in place. Drop the fixture, or mark this test "
                'with @pytest.mark.tasks(mode="record") or @pytest.mark.tasks(mode="immediate").',
                pytrace=False,
            )
        queue = TaskQueue(
            mode=mode,
            now=options.get("now"),
            strict=options.get("strict", self.strict),
            on_commit=options.get("on_commit"),
            on_error=options.get("on_error"),
            own_block=False,
            keeps_setting=True,  # The test's own TASKS wins.
        )
        with ExitStack() as stack:
            problem = None
            try:
                stack.enter_context(queue)
            except ClockError as error:
                problem = f"@pytest.mark.tasks(now=...): {error}"
            if problem is not None:  # Not in the handler, for a report without its traceback.
                pytest.fail(problem, pytrace=False)
            yield queue

    @contextmanager
    def worker(self, request: pytest.FixtureRequest) -> Iterator[TaskWorker]:
        """The worker of the fixture, of the kind that the test's markers say."""
        problem = None
        with ExitStack() as stack:
            try:
                worker = stack.enter_context(
                    running_worker(kind=_options(request.node).get("worker", "thread"))
                )
            except ConfigurationError as error:
                problem = f"The fixture task_worker: {error}"
            if problem is not None:  # Not in the handler, for a report without its traceback.
                pytest.fail(problem, pytrace=False)
            yield worker

    @staticmethod
    def _who_says_off(options: dict[str, Any]) -> str:
        by_marker = options.get("mode") == "off"
        return '@pytest.mark.tasks(mode="off")' if by_marker else "the ini option tasks_mode = off"

    # -- reports ---------------------------------------------------------------------------

    def report_text(self) -> str:
        try:
            return report_text(journal.everything())
        except Exception as error:  # noqa: BLE001 - the test's own failure matters more
            return f"The tasks of this test could not be listed: {type(error).__name__}."

    def explain_comparison(self, op: str, left: object, right: object) -> list[str] | None:
        return explain_comparison(op, left, right)


def _has_worker(item: pytest.Item) -> bool:
    return _WORKER in getattr(item, "fixturenames", ())


def _options(item: pytest.Item) -> dict[str, Any]:
    return item.stash.get(_options_key, {})


def marker_options(item: pytest.Item) -> dict[str, Any]:
    """The arguments of all ``tasks`` markers of the test, the closest winning for each.

    Raises ConfigurationError for what no marker can ask for.
    """
    options: dict[str, Any] = {}
    for marker in item.iter_markers("tasks"):
        if marker.args:
            raise ConfigurationError(
                f"{_MARKER} takes keyword arguments only, not "
                f"{', '.join(map(repr, marker.args))}: {', '.join(_OPTIONS)}."
            )
        unknown = [name for name in marker.kwargs if name not in _OPTIONS]
        if unknown:
            raise ConfigurationError(
                f"{_MARKER} has no option {', '.join(map(repr, unknown))}; "
                f"it has {', '.join(_OPTIONS)}."
            )
        options = {**marker.kwargs, **options}
    # None is as good as not said: the ini option's value, or the default.
    options = {name: value for name, value in options.items() if value is not None}
    if "mode" in options:
        check_mode(options["mode"], _MARKER)
    parse_flags(options.get("strict"), _MARKER)
    for name, (is_allowed, meaning) in _VALUES.items():
        if name in options and not is_allowed(options[name]):
            raise ConfigurationError(f"{_MARKER} has {name}={options[name]!r}; it takes {meaning}.")
    return options
