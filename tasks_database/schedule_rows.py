"""The rows of schedules: read and changed on condition, with their instants exact."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from .models import ScheduleRow
from .store import ORMStore


class ScheduleRows:
    """The rows of the backend alias that a store serves. Instants in and out are in UTC."""

    def __init__(self, store: ORMStore) -> None:
        self._store = store

    def all(self) -> dict[str, ScheduleRow]:
        """By name."""
        rows = self._objects().filter(backend=self._store.serves.backend)
        return {row.name: row for row in rows}

    def insert(self, name: str, **values: Any) -> None:
        """Insert a row, unless there is one of this name."""
        row = ScheduleRow(backend=self._store.serves.backend, name=name, **self._stored_all(values))
        # Not get_or_create: it reads first, and then SQLite cannot turn to writing; and what it
        # does next breaks an open transaction of PostgreSQL's.
        self._objects().bulk_create([row], ignore_conflicts=True)

    def change(self, row: ScheduleRow, **values: Any) -> bool:
        """Change the row, if its definition and its last tick are still as they were read.

        False when somebody else was faster. The condition is looked at again when the row's lock
        is held, on every database.
        """
        # By its primary key: MySQL locks more by other conditions, and then deadlocks.
        same = self._objects().filter(pk=row.pk, definition_hash=row.definition_hash)
        last_tick = self.last_tick(row)
        if last_tick is None:
            same = same.filter(last_tick__isnull=True)
        else:
            same = same.filter(last_tick=self._stored(last_tick))
        return same.update(**self._stored_all(values)) == 1

    def last_tick(self, row: ScheduleRow) -> datetime | None:
        """The instant of ``row.last_tick``."""
        value = row.last_tick
        if value is None:
            return None
        if value.tzinfo is None:
            connection = self._store.connection
            is_local = connection.features.supports_timezones
            zone = ZoneInfo(connection.timezone_name) if is_local else UTC
            return value.replace(tzinfo=zone).astimezone(UTC)
        # A database whose own TIME_ZONE is not UTC keeps no more than a local time: of an hour that
        # comes twice take the second, so that no tick comes twice.
        return value.replace(fold=1).astimezone(UTC)

    def _objects(self) -> QuerySet[ScheduleRow]:
        return ScheduleRow.objects.using(self._store.using)

    def _stored_all(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self._stored(value) if isinstance(value, datetime) else value
            for name, value in values.items()
        }

    def _stored(self, moment: datetime) -> datetime:
        """An instant as the row has it.

        Without USE_TZ, Django writes local times to SQLite and MySQL, of which one hour a year
        comes twice. A schedule must know which of the two it was, so these columns have UTC there.
        """
        if settings.USE_TZ or self._store.connection.features.supports_timezones:
            return moment
        return moment.replace(tzinfo=None)


def as_utc(now: datetime) -> datetime:
    """What Django's timezone.now() gave, with USE_TZ or without, as an instant in UTC."""
    return (timezone.make_aware(now) if now.tzinfo is None else now).astimezone(UTC)


def as_given(moment: datetime, *, like: datetime) -> datetime:
    """An instant as Django's timezone.now() gives it: naive where ``like`` is."""
    return timezone.make_naive(moment) if like.tzinfo is None else moment
