import os
import re

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tasks_database.engine import tasks

# How long an example takes says more of the machine than of the code.
hypothesis_settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("tests")

pytest_plugins = ["pytester"]


def _unreachable() -> str | None:
    """Why the database server of the settings cannot be used, or None."""
    ask = {"postgresql": _ask_postgresql, "mariadb": _ask_mariadb}.get(settings.TESTS_DATABASE)
    return None if ask is None else ask(settings.DATABASES["default"])


def _ask_postgresql(database) -> str | None:
    import psycopg

    try:
        psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            user=database["USER"],
            password=database["PASSWORD"],
            dbname="postgres",
            connect_timeout=5,
        ).close()
    except psycopg.OperationalError as error:
        return f"PostgreSQL does not answer: {error}"
    return None


def _ask_mariadb(database) -> str | None:
    try:
        import MySQLdb
    except ImportError as error:
        return f"mysqlclient cannot be imported ({error}): pip install --group mysql"
    try:
        MySQLdb.connect(
            host=database["HOST"],
            port=int(database["PORT"]),
            user=database["USER"],
            password=database["PASSWORD"],
            connect_timeout=5,
        ).close()
    except MySQLdb.OperationalError as error:
        return f"MariaDB does not answer: {error}"
    return None


def pytest_collection_modifyitems(config, items):
    reason = _unreachable()
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        raise pytest.UsageError(f"CI=true and {reason}")
    for item in items:
        item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    """Print what tests have measured, as kills and repeats; see the fixture `figures`."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call"
    ]
    told = [
        text for report in reports for name, text in report.user_properties if name == "figures"
    ]
    if told:
        terminalreporter.section("figures")
        for text in told:
            terminalreporter.write_line(text)


@pytest.fixture(autouse=True)
def declared_tasks():
    """Forget the tasks that a test has declared: a worker of another test would look at them."""
    registries = (tasks.scheduled_tasks, tasks.limited_tasks, tasks.hooked_tasks)
    before = [dict(registry) for registry in registries]
    yield
    for registry, declared in zip(registries, before, strict=True):
        registry.clear()
        registry.update(declared)


@pytest.fixture
def without_this_run(monkeypatch):
    """For runs of generated projects: none of what is meant for this run of pytest.

    pytest-django and xdist tell their own process things, and CI changes how pytest prints.
    """
    for name in list(os.environ):
        if re.match("DJANGO_SETTINGS_MODULE|PYTEST_(XDIST|ADDOPTS)|CI$|BUILD_NUMBER$", name):
            monkeypatch.delenv(name)
