"""A store's hold on its database: connections, statements, and values as the drivers have them.

One object serves any thread: it asks for the thread's own connection at each call. Nothing here
reads a clock; every time is an argument.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from tasks_database.engine import Job
from tasks_database.rows import COLUMNS, DATETIMES, job_of

from .serves import Serves

_DATETIME_PLACES = tuple(place for place, name in enumerate(COLUMNS) if name in DATETIMES)
_RANK = COLUMNS.index("rank")


class Connected:
    """See the module's docstring.

    using: the alias of the database.
    serves: whose jobs are handed out.
    """

    # SQL of one placeholder for an id, and of the id column where it is read.
    id_placeholder: ClassVar[str] = "%s"
    id_column: ClassVar[str] = "id"
    # What a SELECT ends with that locks its rows: for changing them, all or those that nobody else
    # has locked; and for reading what they are now, without keeping other readers out.
    for_update: ClassVar[str] = ""
    skip_locked: ClassVar[str] = ""
    for_share: ClassVar[str] = ""

    def __init__(self, using: str, serves: Serves | None = None) -> None:
        self.using = using
        self.serves = serves or Serves()
        self.columns = ", ".join([self.id_column, *map(self.quote, COLUMNS[1:])])

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self.using]

    def quote(self, name: str) -> str:
        """A column's name: rank is a reserved word of MySQL, as is key."""
        return self.connection.ops.quote_name(name)

    def atomic(self) -> AbstractContextManager[Any]:
        """A transaction, or a savepoint in one that is open."""
        return transaction.atomic(using=self.using)

    def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def change(self, sql: str, params: Sequence[Any] = ()) -> int:
        """How many rows were changed."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    # -- values ----------------------------------------------------------------------------

    def adapt(self, moment: datetime) -> Any:
        """A datetime as the driver takes it."""
        return self.connection.ops.adapt_datetimefield_value(moment)

    def adapter(self) -> Callable[[datetime], Any]:
        """`adapt` for many values."""
        return self.adapt

    def restore(self, value: Any) -> datetime | None:
        """A datetime as Django shows it, from what the driver gave."""
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        moment: datetime = value
        if settings.USE_TZ and moment.tzinfo is None:
            return moment.replace(tzinfo=self.connection.timezone or UTC)
        return moment

    def id_in(self, job_id: str) -> str:
        return job_id

    def id_out(self, stored: Any) -> str:
        return str(stored)

    def ids(self, count: int) -> str:
        """SQL of a list of so many ids."""
        return f"({', '.join([self.id_placeholder] * count)})"

    def jobs_of(self, rows: Sequence[Sequence[Any]]) -> list[Job]:
        """The jobs of rows with `columns`, as they came from the driver."""
        jobs = []
        zone = (self.connection.timezone or UTC) if settings.USE_TZ else None
        for row in rows:
            values = list(row)
            values[0] = self.id_out(values[0])
            for place in _DATETIME_PLACES:
                value = values[place]
                if value is not None:
                    if isinstance(value, str):
                        value = datetime.fromisoformat(value)
                    values[place] = value if zone is None else value.replace(tzinfo=zone)
            jobs.append(job_of(values))
        return jobs

    def in_order(self, rows: list[tuple[Any, ...]]) -> list[Job]:
        """The claimed rows as jobs, in the order of claims."""
        rows.sort(key=lambda row: (row[_RANK], str(row[0])))
        return self.jobs_of(rows)


def text_of_hex(stored: Any) -> str:
    """The id of a job, where the database keeps it as 32 digits."""
    text = str(stored)
    if len(text) != 32:
        return text
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
