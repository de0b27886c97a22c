"""Operations of the agent that only our backend has."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from queues import Queue

TABLE = "tasks_database_jobrow"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What databases write differently; a percent sign is doubled, as in any SQL with parameters.

    uuid: an id of the version 7 from ``{first}``, milliseconds, plus the number of the row.
    shifted: the time in ``{column}`` of the pattern, ``{step}`` milliseconds later each row.
    """

    uuid: str
    shifted: str


DIALECTS = {
    "postgresql": Dialect(
        uuid="(lpad(to_hex({first} + number), 12, '0') || '7{nibble}008000'"
        " || lpad(to_hex(number), 12, '0'))::uuid",
        shifted="pattern.{column} + number * interval '{step} milliseconds'",
    ),
    "mysql": Dialect(
        uuid="lower(concat(lpad(hex({first} + number), 12, '0'), '7{nibble}008000',"
        " lpad(hex(number), 12, '0')))",
        shifted="pattern.{column} + interval (number * {step} * 1000) microsecond",
    ),
    "sqlite": Dialect(
        uuid="printf('%%012x7{nibble}008000%%012x', {first} + number, number)",
        shifted="strftime('%%Y-%%m-%%d %%H:%%M:%%f', pattern.{column},"
        " (number * {step} / 1000.0) || ' seconds')",
    ),
}


def bulk(queue: Queue, *, count: int, django_first: bool) -> dict[str, float]:  # noqa: ARG001
    """Seconds for ``enqueue_many()``, and for ``bulk_create()`` of the very rows that it makes.

    The instances of the model are there already when ``bulk_create()`` is timed, while all that
    ``enqueue_many()`` does is: the checks, the JSON, and the results that it returns.
    """
    from with_django.tasks import no_op

    from tasks_database.models import JobRow

    def ours() -> None:
        no_op.enqueue_many([()] * count)

    def django() -> None:
        JobRow.objects.bulk_create(rows)

    def seconds(work: Callable[[], None]) -> float:
        _empty()
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    # Not measured: it connects and imports.
    ours()
    rows = list(JobRow.objects.all())
    for row in rows:
        row._state.adding = True
    order = [("ours", ours), ("django", django)]
    if django_first:
        order.reverse()
    return {name: seconds(work) for name, work in order}


def _empty() -> None:
    """Leave no row in the table, and no trace of one."""
    from django.db import connection

    with connection.cursor() as cursor:
        # SQLite has no TRUNCATE, and does without it where there is no condition.
        cursor.execute(f"{'DELETE FROM' if connection.vendor == 'sqlite' else 'TRUNCATE'} {TABLE}")


def fill(queue: Queue, *, finished: int, deferred: int) -> None:  # noqa: ARG001
    """Copy the row of a task that succeeded, and of one that is deferred, this many times.

    The rows of the past ended one after the other in the last hours, those to come are due in a
    month and later.
    """
    from django.db import connection
    from django.utils import timezone
    from with_django.tasks import no_op

    from tasks_database.models import JobRow

    past = JobRow.objects.filter(status="SUCCESSFUL").latest("finished_at")
    _copy(past, finished, {"finished_at": -10}, nibble=1)
    later = no_op.using(run_after=timezone.now() + timedelta(days=30)).enqueue()
    _copy(JobRow.objects.get(pk=later.id), deferred, {"due": 10, "run_after": 10}, nibble=2)
    with connection.cursor() as cursor:
        # What autovacuum and its like have long done in a table that grew in time.
        if connection.vendor == "postgresql":
            cursor.execute(f"VACUUM ANALYZE {TABLE}")
        elif connection.vendor == "mysql":
            cursor.execute(f"ANALYZE TABLE {TABLE}")
        else:
            cursor.execute("ANALYZE")


def _copy(row: Any, count: int, shifts: dict[str, int], *, nibble: int) -> None:
    """Insert copies of a row, by the database itself.

    shifts: milliseconds from one copy to the next, by column of a time.
    nibble: a digit in the ids of these copies that those of others do not have.
    """
    from django.db import connection

    from tasks_database.models import JobRow

    dialect = DIALECTS[connection.vendor]
    # In order, as ids that have the time in them are.
    first = int(time.time() * 1_000) - 2 * count
    columns, values = [], []
    for field in JobRow._meta.concrete_fields:
        columns.append(connection.ops.quote_name(field.column))
        if field.primary_key:
            values.append(dialect.uuid.format(first=first, nibble=nibble))
        elif field.column in shifts:
            values.append(dialect.shifted.format(column=field.column, step=shifts[field.column]))
        else:
            values.append(f"pattern.{columns[-1]}")
    digits = " UNION ALL ".join(f"SELECT {digit} AS digit" for digit in range(10))
    places = range(len(str(count)))
    number = " + ".join(f"d{place}.digit * {10**place}" for place in places)
    tables = " CROSS JOIN ".join(f"({digits}) AS d{place}" for place in places)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} ({', '.join(columns)}) SELECT {', '.join(values)}"
            f" FROM {TABLE} AS pattern"
            f" CROSS JOIN (SELECT {number} AS number FROM {tables}) AS series"
            f" WHERE pattern.id = %s AND series.number < %s",
            [JobRow._meta.pk.get_db_prep_value(row.pk, connection), count],
        )


def limit(queue: Queue, *, batch: int, count: int) -> float:  # noqa: ARG001
    """Tasks a second that plain SQL claims and acknowledges, ``batch`` rows by a statement.

    On PostgreSQL, in our own table with its indexes: what no worker of this design can exceed.
    """
    from django.db import connection
    from with_django.tasks import no_op

    from tasks_database.models import JobRow

    _empty()
    no_op.enqueue_many([()] * count)
    claim = f"""
        WITH picked AS MATERIALIZED (
            SELECT id FROM {TABLE}
            WHERE status = 'READY' AND backend = 'default' AND queue_name = 'default'
            ORDER BY rank, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE {TABLE} AS job
        SET status = 'CLAIMED', owner = 'limit', claim_number = claim_number + 1
        WHERE job.id = ANY(ARRAY(SELECT id FROM picked)) RETURNING job.id
    """
    acknowledge = f"""
        UPDATE {TABLE}
        SET status = 'SUCCESSFUL', owner = NULL, finished_at = now(), return_payload = 'null'
        WHERE id = ANY(%s) AND owner = 'limit' AND claim_number = 1
    """
    connection.ensure_connection()
    cursor = connection.connection.cursor()
    begin = time.perf_counter()
    while claimed := cursor.execute(claim, [batch]).fetchall():
        cursor.execute(acknowledge, [[row[0] for row in claimed]])
    seconds = time.perf_counter() - begin
    if (succeeded := JobRow.objects.filter(status="SUCCESSFUL").count()) != count:
        raise RuntimeError(f"Of {count} rows {succeeded} were acknowledged.")
    return count / seconds


OPERATIONS: dict[str, Callable[..., Any]] = {"bulk": bulk, "fill": fill, "limit": limit}
