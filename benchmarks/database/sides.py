"""Who takes part: our backend and its rivals, each with what it needs to run the same tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

type Connections = Literal["defaults", "persistent"]
"""Django's defaults, which close a connection after each task; or connections that stay open."""

MANAGE = ("manage.py",)
DJANGO = "Django==6.1.3"
PSYCOPG = "psycopg[binary]==3.3.9"


@dataclass(frozen=True, slots=True)
class Sql:
    """How a queue's tables are asked about its tasks, each a query of one value."""

    is_unfinished: str
    failed: str
    succeeded: str | None
    """None where what succeeded is deleted."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One of those that are measured.

    requirements: what its environment has; empty for the environment that runs the benchmarks.
    kind: which of the classes in ``project/queues.py`` it is used by.
    worker: the command of its worker, after the interpreter.
    settings: Django settings besides those that all sides share.
    needs_pool: it closes connections whatever Django's settings say, and keeps them in a pool.
    """

    name: str
    title: str
    requirements: Sequence[str]
    kind: Literal["django", "procrastinate", "dramatiq"]
    worker: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    sql: Sql | None = None
    needs_pool: bool = False


def _any_of(table: str, *conditions: str) -> str:
    exist = (f"EXISTS (SELECT 1 FROM {table} WHERE {condition})" for condition in conditions)
    return f"SELECT CASE WHEN {' OR '.join(exist)} THEN 1 ELSE 0 END"


def _by_status(table: str, *, unfinished: Sequence[str], failed: str, succeeded: str | None) -> Sql:
    counting = f"SELECT count(*) FROM {table} WHERE status ="
    return Sql(
        is_unfinished=_any_of(table, *(f"status = '{status}'" for status in unfinished)),
        failed=f"{counting} '{failed}'",
        succeeded=f"{counting} '{succeeded}'" if succeeded else None,
    )


def _by_time(jobs: str, failures: str) -> Sql:
    """Ports of Solid Queue note on a job when it finished, and keep failures in another table."""
    return Sql(
        is_unfinished=_any_of(jobs, "finished_at IS NULL"),
        failed=f"SELECT count(*) FROM {failures}",
        succeeded=f"SELECT count(*) FROM {jobs} WHERE finished_at IS NOT NULL",
    )


def _backend(path: str, *, apps: Sequence[str], **more: Any) -> dict[str, Any]:
    return {
        "INSTALLED_APPS": [*apps, "with_django"],
        "TASKS": {"default": {"BACKEND": path, **more}},
    }


def _ours(title: str, *, queues: Sequence[str] = (), **options: Any) -> Side:
    return Side(
        name="ours",
        title=title,
        requirements=(),
        kind="django",
        worker=(*MANAGE, "tasks_worker"),
        settings=_backend(
            "tasks_database.DatabaseBackend",
            apps=["tasks_database"],
            QUEUES=list(queues),
            OPTIONS=options,
        ),
        # Each condition is one of an index, as there may be a million rows.
        sql=Sql(
            is_unfinished=_any_of(
                "tasks_database_jobrow",
                "status = 'READY'",
                "status = 'SUSPECT'",
                "owner IS NOT NULL",
            ),
            failed="SELECT count(*) FROM tasks_database_jobrow"
            " WHERE status = 'FAILED' AND finished_at IS NOT NULL",
            succeeded="SELECT count(*) FROM tasks_database_jobrow"
            " WHERE status = 'SUCCESSFUL' AND finished_at IS NOT NULL",
        ),
    )


TWENTY_QUEUES = ("default", *(f"queue{number:02}" for number in range(1, 20)))

OURS = _ours("ours")
OURS_EACH = _ours('ours with acknowledge="each"', acknowledge="each")
OURS_TWENTY_QUEUES = _ours("ours with 20 queues", queues=TWENTY_QUEUES)

DJANGO_TASKS_DB = Side(
    name="django-tasks-db",
    title="django-tasks-db 0.13.0",
    requirements=("django-tasks-db==0.13.0", DJANGO, PSYCOPG, "mysqlclient==2.3.2"),
    kind="django",
    worker=(*MANAGE, "db_worker"),
    settings=_backend("django_tasks_db.DatabaseBackend", apps=["django_tasks_db"]),
    sql=_by_status(
        "django_tasks_database_dbtaskresult",
        unfinished=("READY", "RUNNING"),
        failed="FAILED",
        succeeded="SUCCESSFUL",
    ),
)
DJANGO_VTASKS = Side(
    name="django-vtasks",
    title="django-vtasks 3.2.0",
    # Before Python 3.14 it imports pyzstd, which it asks for only with Valkey.
    requirements=("django-vtasks==3.2.0", DJANGO, PSYCOPG, "pyzstd==0.20.0"),
    kind="django",
    worker=(*MANAGE, "runworker"),
    settings=_backend(
        "django_vtasks.backends.db.DatabaseTaskBackend",
        apps=["django_vtasks", "django_vtasks.db"],
    ),
    sql=_by_status(
        "db_queuedtask", unfinished=("QUEUED", "PROCESSING"), failed="FAILED", succeeded=None
    ),
)
DJANGO_OX = Side(
    name="django-ox",
    title="django-ox 1.9.1",
    requirements=("django-ox==1.9.1", DJANGO, PSYCOPG),
    kind="django",
    worker=(*MANAGE, "ox_worker"),
    settings=_backend("django_ox.backend.OxBackend", apps=["django_ox"]),
    sql=_by_status(
        "django_ox_oxtask",
        unfinished=("READY", "RUNNING"),
        failed="FAILED",
        succeeded="SUCCESSFUL",
    ),
)
DJ_QUEUE = Side(
    name="dj-queue",
    title="dj-queue 0.14.2",
    requirements=("dj-queue==0.14.2", DJANGO, PSYCOPG),
    kind="django",
    worker=(*MANAGE, "dj_queue"),
    settings={
        **_backend("dj_queue.backend.DjQueueBackend", apps=["dj_queue"], QUEUES=[]),
        "DATABASE_ROUTERS": ["dj_queue.routers.DjQueueRouter"],
    },
    sql=_by_time("dj_queue_jobs", "dj_queue_failed_executions"),
)
STEADY_QUEUE = Side(
    name="steady-queue",
    title="steady-queue 0.3.0",
    requirements=("steady-queue==0.3.0", DJANGO, PSYCOPG, "psycopg-pool==3.3.3"),
    kind="django",
    worker=(*MANAGE, "steady_queue"),
    settings=_backend("steady_queue.backend.SteadyQueueBackend", apps=["steady_queue"]),
    sql=_by_time("steady_queue_job", "steady_queue_failedexecution"),
    needs_pool=True,
)
PROCRASTINATE = Side(
    name="procrastinate",
    title="procrastinate 3.10.0",
    requirements=("procrastinate[django]==3.10.0", DJANGO, PSYCOPG),
    kind="procrastinate",
    worker=(*MANAGE, "procrastinate", "worker"),
    settings={"INSTALLED_APPS": ["procrastinate.contrib.django", "with_procrastinate"]},
    sql=_by_status(
        "procrastinate_jobs",
        unfinished=("todo", "doing"),
        failed="failed",
        succeeded="succeeded",
    ),
)
DRAMATIQ = Side(
    name="dramatiq",
    title="dramatiq 2.2.1 on Redis",
    requirements=("dramatiq[redis]==2.2.1",),
    kind="dramatiq",
    worker=("-m", "dramatiq", "with_dramatiq.tasks", "--processes", "1"),
)

BACKENDS = (DJANGO_TASKS_DB, DJANGO_VTASKS, DJANGO_OX, DJ_QUEUE, STEADY_QUEUE)
"""The rivals that are backends of django.tasks, as ours is: the fastest of them is to be beaten."""

RIVALS = (*BACKENDS, PROCRASTINATE, DRAMATIQ)
