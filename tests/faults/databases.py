"""The database of the faults' tests: made once for all tests of a process, emptied for each."""

import os
import shutil
import sqlite3
from contextlib import contextmanager, suppress

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connections

from tests.database.conftest import added_database

from .site import ALIAS

SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}


class Database:
    """One of the three, as an entry of DATABASES.

    folder: for what is to be kept during the run.
    """

    def __init__(self, folder):
        self.vendor = settings.TESTS_DATABASE
        base = settings.DATABASES["default"]
        if self.vendor == "sqlite":
            name = str(folder / "db.sqlite3")
            self.entry = {"ENGINE": base["ENGINE"], "NAME": name, "OPTIONS": SQLITE_OPTIONS}
        else:
            keys = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD")
            self.entry = {key: base[key] for key in keys}
            self.entry |= {"NAME": f"faults_{os.getpid()}", "OPTIONS": base.get("OPTIONS", {})}
            self._server = {**self.entry, "NAME": base["NAME"]}
        self.template = folder / "template.sqlite3"

    def create(self):
        if self.vendor != "sqlite":
            self._on_server(f"DROP DATABASE IF EXISTS {self.entry['NAME']}")
            self._on_server(f"CREATE DATABASE {self.entry['NAME']}")
        with added_database(ALIAS, self.entry):
            call_command("migrate", "tasks_database", database=ALIAS, verbosity=0)
        if self.vendor == "sqlite":
            with sqlite3.connect(self.entry["NAME"]) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            shutil.move(self.entry["NAME"], self.template)

    def drop(self):
        if self.vendor != "sqlite":
            force = " WITH (FORCE)" if self.vendor == "postgresql" else ""
            self._on_server(f"DROP DATABASE {self.entry['NAME']}{force}")

    @contextmanager
    def for_a_test(self, folder):
        """The entry, the alias in force; nothing is in the tables but what migrations put there."""
        entry = self.entry
        if self.vendor == "sqlite":
            name = str(folder / "db.sqlite3")
            shutil.copy(self.template, name)
            entry = {**entry, "NAME": name}
        with added_database(ALIAS, entry):
            yield entry
            if self.vendor != "sqlite":
                # Of what was killed, the server may still carry out the last statement.
                self.disconnect_all()
                self._empty()

    def _empty(self):
        with connections[ALIAS].cursor() as cursor:
            for model in apps.get_app_config("tasks_database").get_models():
                cursor.execute(f"DELETE FROM {model._meta.db_table}")

    def disconnect_all(self):
        """Of all but the connection of this thread."""
        with connections[ALIAS].cursor() as cursor:
            if self.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                return
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = database() AND id <> connection_id()"
            )
            for (number,) in cursor.fetchall():
                with suppress(OperationalError):  # It has gone meanwhile.
                    cursor.execute(f"KILL {number}")

    def _on_server(self, sql):
        with (
            added_database("faults_server", self._server),
            connections["faults_server"].cursor() as cursor,
        ):
            cursor.execute(sql)
