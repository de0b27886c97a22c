"""The Database backend in force, its stores, and databases that several connections share."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connections
from django.tasks import task_backends

from tasks_database.models import PausedQueue
from tasks_database.store import Serves, store_for
from tests.database.jobs import NOON


@pytest.fixture
def in_force(settings):
    """Put a DatabaseBackend in force for "default", and more aliases; returns how."""

    def put(options=None, **others):
        settings.TASKS = {
            "default": _entry(options or {}),
            **{alias: _entry(more) for alias, more in others.items()},
        }
        return task_backends["default"]

    return put


def _entry(options):
    queues = options.pop("QUEUES", [])
    return {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": queues, "OPTIONS": options}


@pytest.fixture
def backend(in_force):
    """The DatabaseBackend of the alias "default", with any queue and no options."""
    return in_force()


@pytest.fixture
def store(db):
    """What the workers of the alias "default" have, on the test's own connection."""
    return store_for("default")


@pytest.fixture
def store_of(db):
    """Stores that serve some queues only, or have limits."""

    def make(using="default", **serves):
        return store_for(using, Serves(**serves))

    return make


@pytest.fixture
async def sync_connections():
    """Close what the thread opens in which async tests run their sync code."""
    yield
    await sync_to_async(connections.close_all)()


@pytest.fixture
def pause(db):
    """Pause a queue, as its row in the database does; returns what resumes it."""

    def pause(queue_name, *, backend="default"):
        row = PausedQueue.objects.create(backend=backend, queue_name=queue_name, paused_at=NOON)
        return row.delete

    return pause


if django_settings.TESTS_DATABASE == "sqlite":

    @pytest.fixture
    def shared(django_db_blocker, tmp_path):
        """The alias of a database that several threads use, each with a connection of its own.

        The tests' own is in memory, which behaves differently; this one is a file in WAL.
        """
        entry = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / "shared.sqlite3"),
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        }
        # Without the mark django_db: Django refuses connections that it does not name.
        with django_db_blocker.unblock(), added_database("shared", entry):
            call_command("migrate", database="shared", verbosity=0)
            yield "shared"

else:

    @pytest.fixture
    def shared(transactional_db):
        """The alias of a database that several threads use, each with a connection of its own."""
        return "default"


@contextmanager
def added_database(alias, entry):
    """One more entry of DATABASES, which Django's own override refuses to add quietly."""
    connections.settings[alias] = connections.configure_settings(
        {"default": {}, alias: entry},
    )[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@pytest.fixture
def at_once():
    """Call a function for each of some values, in threads that all begin together."""

    def call(function, values):
        values = list(values)
        begin = threading.Barrier(len(values))

        def one(value):
            try:
                begin.wait(timeout=30)
                return function(value)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(values)) as pool:
            return list(pool.map(one, values))

    return call
