"""The pytest plugin: every TASKS backend records during the test run, and ``task_queue`` reads it.

This module imports neither Django nor tasks_testing: it is loaded in every pytest run of every
project that has it installed. What needs them is in `session`, imported once Django's settings are
configured.
"""

import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasks_testing import TaskQueue
    from tasks_testing.real_worker import TaskWorker

    from .session import TasksSession

_session_key = pytest.StashKey["TasksSession | None"]()
_passed_key = pytest.StashKey[bool]()
_INI_DEFAULTS = {"tasks_mode": "record", "tasks_clock": "auto", "tasks_strict": ""}

MARKER = """\
tasks(mode=None, now=None, strict=None, on_commit=True, on_error="raise", worker="thread"): how \
Django tasks behave in this test, class or module; the closest marker wins for each option. mode: \
"record", "immediate", "database" or "off"; now: a datetime to freeze the clock at; strict: True, \
or some of "failed never_run before_commit", or ""; on_commit: emulate commits inside a TestCase; \
on_error: "raise" or "record" what a task raises; worker: "thread" or "process", for the fixture \
task_worker."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "tasks_mode",
        "What Django tasks do in tests: record (keep them until the test runs them; default), "
        "immediate (run at once), database (as record, in the tables of tasks_database), or off "
        "(leave the project's own backends).",
        default=_INI_DEFAULTS["tasks_mode"],
    )
    parser.addini(
        "tasks_clock",
        "What freezes time when the test queue moves it: auto (time-machine where installed, "
        "else freezegun; default), freezegun or time-machine.",
        default=_INI_DEFAULTS["tasks_clock"],
    )
    parser.addini(
        "tasks_strict",
        "What fails a test at its end: any of failed (a task failed and the test did not look), "
        "never_run (a task was enqueued and never ran), before_commit (a task was enqueued in an "
        "open transaction that its backend takes no part in), or all. Default: none.",
        default=_INI_DEFAULTS["tasks_strict"],
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[_session_key] = None


def _session(config: pytest.Config) -> "TasksSession | None":
    """The session, begun as soon as Django's settings are configured; None before that."""
    session = config.stash[_session_key]
    if session is None and "django.conf" in sys.modules:
        from django.conf import settings

        if settings.configured:
            from .session import TasksSession

            session = config.stash[_session_key] = TasksSession(config)
    return session


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    # What the ini file asks for is checked here, where an error ends the run under xdist too.
    if any(session.config.getini(name) != default for name, default in _INI_DEFAULTS.items()):
        _session(session.config)


def pytest_collectstart(collector: pytest.Collector) -> None:
    # Before the first test module is imported, after conftest.py and pytest-django configured
    # Django. A run without tests needs no session, and does not wait for its imports.
    if isinstance(collector, pytest.File):
        _session(collector.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(_session_key, None)
    if session is not None:
        session.end()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, object, object]:
    result = yield
    # Now, as a conftest.py may add markers in this hook.
    session = _session(config) if items else None
    if session is not None:
        for item in items:
            session.prepare(item)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    session = _session(item.config)
    if session is not None:
        session.begin_test(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    __tracebackhide__ = True
    try:
        return (yield)
    finally:
        session = item.config.stash[_session_key]
        if session is not None:
            session.end_test()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: "pytest.FixtureDef[Any]", request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    __tracebackhide__ = True
    session = request.config.stash[_session_key]
    if session is None or fixturedef.scope == "function":
        return (yield)
    # What a wider-scoped fixture enqueues belongs to no test: only the first one would see it.
    with session.disowned():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_passed_key] = report.passed
    session = item.config.stash[_session_key]
    if report.when == "call" and session is not None:
        session.end_call()
    if report.failed and session is not None:
        text = session.report_text()
        if text:
            report.sections.append(("Django tasks", text))
    return report


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    session = config.stash[_session_key]
    return None if session is None else session.explain_comparison(op, left, right)


@pytest.fixture
def task_queue(request: pytest.FixtureRequest) -> "Iterator[TaskQueue]":
    """Django tasks of this test: assert on what was enqueued, run it, move time.

    See tasks_testing.TaskQueue; the marker ``tasks`` sets its options.
    """
    session = _session(request.config)
    if session is None:
        pytest.fail(
            "The fixture task_queue needs Django's settings, and they are not configured: set "
            "DJANGO_SETTINGS_MODULE for pytest-django, or configure them in conftest.py.",
            pytrace=False,
        )
    with session.queue(request) as queue:
        yield queue
        problem = queue.strictness_problem(allow='@pytest.mark.tasks(strict="{flags}")')
    # A test that failed, or was skipped on its way, has not come to where it would have looked.
    if problem is not None and request.node.stash.get(_passed_key, False):
        pytest.fail(problem, pytrace=False)


@pytest.fixture
def task_worker(
    request: pytest.FixtureRequest,
    transactional_db: None,  # noqa: ARG001 - a worker sees only what was committed
) -> "Iterator[TaskWorker]":
    """A real worker of the project's Database backend, beside the test, as in production.

    See tasks_testing.real_worker. The test is a transactional one, its tasks go to the project's
    own backends, and no clock is frozen. ``@pytest.mark.tasks(worker="process")`` gives the worker
    a process of its own.
    """
    session = _session(request.config)
    if session is None:
        pytest.fail(
            "The fixture task_worker needs Django's settings, and they are not configured: set "
            "DJANGO_SETTINGS_MODULE for pytest-django, or configure them in conftest.py.",
            pytrace=False,
        )
    with session.worker(request) as worker:
        yield worker
