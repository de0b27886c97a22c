"""Jobs in the database: the engine's Store over Django's connections.

The ORM where it can, one file of SQL per database where it must. No SQL here contains now().
"""

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .base import ORMStore, Peek, WorkerInfo
from .serves import Serves


def store_for(using: str, serves: Serves | None = None) -> ORMStore:
    """The store over the database with this alias.

    Raises ImproperlyConfigured for a database that is not supported.
    """
    vendor = connections[using].vendor
    if vendor == "postgresql":
        from .postgresql import PostgreSQLStore

        return PostgreSQLStore(using, serves)
    if vendor == "sqlite":
        from .sqlite import SQLiteStore

        return SQLiteStore(using, serves)
    if vendor == "mysql":
        from .mysql import MySQLStore

        return MySQLStore(using, serves)
    raise ImproperlyConfigured(
        f'The Database backend works on PostgreSQL, MariaDB, MySQL and SQLite; DATABASES["{using}"]'
        f" is {vendor}."
    )


__all__ = ["ORMStore", "Peek", "Serves", "WorkerInfo", "store_for"]
