"""These tests also run with their tasks in the database: pytest -o tasks_mode=database.

On one database after the other (TESTS_DATABASE), the modules test_queue_*.py, test_records.py and
test_messages.py.
"""

from inspect import iscoroutinefunction

import pytest
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connections
from hypothesis import settings as hypothesis_settings

hypothesis_settings.register_profile(
    "tasks in the database", parent=hypothesis_settings.get_profile("tests"), max_examples=20
)


def pytest_configure(config):
    if _in_database(config):
        hypothesis_settings.load_profile("tasks in the database")


def _in_database(config):
    return config.getini("tasks_mode") == "database"


def pytest_collection_modifyitems(config, items):
    if not _in_database(config):
        return
    for item in items:
        asks_itself = {"db", "transactional_db", "database"} & set(item.fixturenames)
        if item.get_closest_marker("django_db") is None and not asks_itself:
            # A coroutine has its connection in another thread.
            elsewhere = iscoroutinefunction(item.function) or "threads" in item.name
            item.add_marker(pytest.mark.django_db(transaction=elsewhere))


@pytest.fixture
def only_in_memory(request):
    """For what holds of tasks in memory alone: a row takes part in the transaction, for one."""
    if _in_database(request.config):
        pytest.skip("of tasks in memory")


@pytest.fixture
def many_tasks(request):
    """For a thousand and more: in one transaction, a server looks past all that ran before."""
    if _in_database(request.config) and settings.TESTS_DATABASE != "sqlite":
        pytest.skip("thousands of rows in one transaction")


@pytest.fixture(autouse=True)
def connection_of_coroutines(request):
    """Close what a coroutine has opened in its thread, or the database cannot be dropped."""
    yield
    if iscoroutinefunction(request.function):
        SyncToAsync.single_thread_executor.submit(connections.close_all).result()
