"""The databases: their settings for Django, a fresh one for each measurement, their processes."""

import os
import socket
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from . import processes
from .sides import Connections, Side

# Two runs at once would be slower, but not drop each other's databases.
PREFIX = f"tasks_benchmarks_{os.getpid()}"


class Server(Protocol):
    """Somewhere databases are. A name of a database is a suffix of ours, such as "ours"."""

    name: str
    title: str

    def version(self) -> str:
        """Its title and what version it is."""

    def create(self, name: str) -> None:
        """An empty database, in place of one that there may be."""

    def copy(self, source: str, name: str) -> None:
        """A database that is like another, in place of one that there may be."""

    def drop(self, name: str) -> None: ...

    def settings(self, name: str, side: Side, connections: Connections) -> dict[str, Any]:
        """What Django's DATABASES has for a database."""

    def process_ids(self) -> set[int]:
        """The server's processes; none where the database is a file."""


def _lasting(connections: Connections) -> dict[str, Any]:
    if connections == "defaults":
        return {}
    return {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}


class PostgreSQL:
    """The server that the usual variables of PostgreSQL's clients name."""

    name = "postgresql"
    title = "PostgreSQL"

    def __init__(self) -> None:
        self._parameters: dict[str, Any] = {
            "host": os.environ.get("PGHOST", "127.0.0.1"),
            "port": os.environ.get("PGPORT", "5432"),
            "user": os.environ.get("PGUSER", "postgres"),
            "password": os.environ.get("PGPASSWORD", ""),
        }

    def version(self) -> str:
        (version,) = self._execute("SHOW server_version")
        return f"{self.title} {version.split()[0]}"

    def create(self, name: str) -> None:
        self.drop(name)
        self._execute(f"CREATE DATABASE {PREFIX}_{name}")

    def copy(self, source: str, name: str) -> None:
        self.drop(name)
        self._execute(f"CREATE DATABASE {PREFIX}_{name} TEMPLATE {PREFIX}_{source}")

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {PREFIX}_{name} WITH (FORCE)")

    def settings(self, name: str, side: Side, connections: Connections) -> dict[str, Any]:
        lasting = _lasting(connections)
        if lasting and side.needs_pool:
            # Django refuses a pool together with a maximum age.
            lasting = {"OPTIONS": {"pool": True}}
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": f"{PREFIX}_{name}",
            **{parameter.upper(): value for parameter, value in self._parameters.items()},
            **lasting,
        }

    def process_ids(self) -> set[int]:
        (backend,) = self._execute("SELECT pg_backend_pid()")
        # The parent of every process of the server, which also counts what its dead ones used.
        server = processes.parent(backend)
        return {server, *processes.children(server)}

    @contextmanager
    def with_autovacuum(self) -> Iterator[None]:
        """Autovacuum is on in this block, as it is by default, whatever the server is set to."""
        (before,) = self._execute("SHOW autovacuum")
        if before == "on":
            yield
            return
        self._execute("ALTER SYSTEM SET autovacuum = on")
        self._execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            self._execute("ALTER SYSTEM RESET autovacuum")
            self._execute("SELECT pg_reload_conf()")

    def _execute(self, sql: str) -> tuple[Any, ...]:
        import psycopg

        with psycopg.connect(dbname="postgres", autocommit=True, **self._parameters) as connection:
            cursor = connection.execute(sql.encode())
            return (cursor.fetchone() or ()) if cursor.description else ()


class MariaDB:
    """MariaDB or MySQL: the server that MYSQL_HOST and its like name."""

    name = "mariadb"
    title = "MariaDB"

    def __init__(self) -> None:
        self._parameters = {
            "host": os.environ.get("MYSQL_HOST", "127.0.0.1"),
            "port": int(os.environ.get("MYSQL_PORT", "3306")),
            "user": os.environ.get("MYSQL_USER", "root"),
            "password": os.environ.get("MYSQL_PASSWORD", ""),
        }

    def version(self) -> str:
        ((version,),) = self._execute(["SELECT version()"])
        title = self.title if "MariaDB" in version else "MySQL"
        return f"{title} {version.split('-')[0]}"

    def create(self, name: str) -> None:
        self.drop(name)
        self._execute([f"CREATE DATABASE {PREFIX}_{name} CHARACTER SET utf8mb4"])

    def copy(self, source: str, name: str) -> None:
        self.create(name)
        before, after = f"{PREFIX}_{source}", f"{PREFIX}_{name}"
        tables = [table for (table,) in self._execute([f"SHOW TABLES IN {before}"])]
        statements = [f"USE {after}", "SET foreign_key_checks = 0"]
        for table in tables:
            # Unlike CREATE TABLE ... LIKE, this keeps the foreign keys.
            ((_, definition),) = self._execute([f"SHOW CREATE TABLE {before}.{table}"])
            rows = f"INSERT INTO {table} SELECT * FROM {before}.{table}"
            statements += [definition, rows]
        self._execute(statements)

    def drop(self, name: str) -> None:
        self._execute([f"DROP DATABASE IF EXISTS {PREFIX}_{name}"])

    def settings(self, name: str, side: Side, connections: Connections) -> dict[str, Any]:  # noqa: ARG002
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": f"{PREFIX}_{name}",
            **{parameter.upper(): value for parameter, value in self._parameters.items()},
            **_lasting(connections),
        }

    def process_ids(self) -> set[int]:
        return processes.named("mariadbd", "mysqld")

    def _execute(self, statements: Iterable[str]) -> tuple[tuple[Any, ...], ...]:
        """Execute these on one connection; the rows of the last one."""
        import MySQLdb  # type: ignore[import-untyped]

        connection = MySQLdb.connect(**self._parameters, autocommit=True)
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())
        finally:
            connection.close()


class SQLite:
    """Files in a folder, set up as Django's documentation advises for more than one writer."""

    name = "sqlite"
    title = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def version(self) -> str:
        return f"{self.title} {sqlite3.sqlite_version}"

    def create(self, name: str) -> None:
        self.drop(name)

    def copy(self, source: str, name: str) -> None:
        self.drop(name)
        # Not a copy of the file: what was committed last may be in the log beside it.
        with (
            closing(sqlite3.connect(self._path(source))) as before,
            closing(sqlite3.connect(self._path(name))) as after,
        ):
            before.backup(after)

    def drop(self, name: str) -> None:
        for file in self._folder.glob(f"{self._path(name).name}*"):
            file.unlink()

    def settings(self, name: str, side: Side, connections: Connections) -> dict[str, Any]:  # noqa: ARG002
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self._path(name)),
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=wal",
            },
            **_lasting(connections),
        }

    def process_ids(self) -> set[int]:
        return set()

    def _path(self, name: str) -> Path:
        return self._folder / f"{PREFIX}_{name}.sqlite3"


class Redis:
    """Where dramatiq's messages are, all with the prefix of ours."""

    name = "redis"
    title = "Redis"
    url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

    def version(self) -> str:
        (version, *_) = self._ask("INFO server").partition("redis_version:")[2].split() or ["?"]
        return f"{self.title} {version}"

    def create(self, name: str) -> None:
        """Nothing: the agent deletes what has the prefix."""

    def copy(self, source: str, name: str) -> None:
        """Nothing: a queue that all of its tasks succeeded in is as good as fresh."""

    def drop(self, name: str) -> None:  # noqa: ARG002
        deleting = "for _, key in ipairs(redis.call('keys', ARGV[1])) do redis.call('del', key) end"
        self._ask(f'EVAL "{deleting}" 0 {PREFIX}[-:]*')

    def settings(self, name: str, side: Side, connections: Connections) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def process_ids(self) -> set[int]:
        return processes.named("redis-server")

    def _ask(self, command: str) -> str:
        """The beginning of the answer. Redis's client is in the environment of dramatiq only."""
        address = urlsplit(self.url)
        where = (address.hostname or "127.0.0.1", address.port or 6379)
        with socket.create_connection(where) as connection:
            connection.sendall(f"SELECT {address.path.strip('/') or 0}\r\n".encode())
            connection.recv(64)
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(4_096).decode()


REDIS = Redis()
