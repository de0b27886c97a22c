"""A Job as a row of the table, and back."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from .engine import Job, JobStatus
from .engine.framework import TaskError

TABLE = "tasks_database_jobrow"

# What a claim reads, and what `job_of` takes, in this order.
COLUMNS = (
    "id",
    "backend",
    "queue_name",
    "task_path",
    "payload",
    "status",
    "priority",
    "rank",
    "enqueued_at",
    "run_after",
    "due",
    "max_attempts",
    "max_rescues",
    "timeout_us",
    "owner",
    "claim_number",
    "worker_ids",
    "failures",
    "rescues",
    "errors",
    "started_at",
    "last_attempted_at",
    "finished_at",
    "return_payload",
    "unique_key",
    "follow_ups",
    "suspect",
    "slots",
    "reserved_at",
)
# What a new job's row has beside the defaults of the table.
NEW_COLUMNS = (
    "id",
    "backend",
    "queue_name",
    "task_path",
    "payload",
    "status",
    "priority",
    "rank",
    "enqueued_at",
    "run_after",
    "due",
    "max_attempts",
    "max_rescues",
    "timeout_us",
    "unique_key",
    "unique_lock",
    "follow_ups",
)
# What changes when a job succeeded; the rest of its row stays, or is the same for all.
SUCCESS_COLUMNS = (
    "worker_ids",
    "started_at",
    "last_attempted_at",
    "finished_at",
    "return_payload",
)
# What changes between a claim and the end of an attempt, however it ends.
STATE_COLUMNS = (
    "status",
    "rank",
    "due",
    "owner",
    "worker_ids",
    "failures",
    "rescues",
    "errors",
    "started_at",
    "last_attempted_at",
    "finished_at",
    "return_payload",
    "suspect",
    "slots",
    "reserved_at",
)
DATETIMES = frozenset(
    {
        "enqueued_at",
        "run_after",
        "due",
        "started_at",
        "last_attempted_at",
        "finished_at",
        "reserved_at",
    }
)

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_loads = json.JSONDecoder().decode

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A priority is at most 100; 2**52 microseconds reach to the year 2112.
_HIGHEST = 100
_RANK_BITS = 52

SUSPECT = "SUSPECT"
_STATUSES = {**{status.value: status for status in JobStatus}, SUSPECT: JobStatus.READY}

type Adapt = Callable[[datetime], Any]
"""A datetime as the database driver takes it."""


def rank_of(priority: int, ready_since: datetime) -> int:
    """The place in the order of claims: smaller is earlier."""
    if ready_since.tzinfo is None:
        # Not by the zone that timezone.activate() may have set in this thread.
        ready_since = timezone.make_aware(ready_since, timezone.get_default_timezone())
    return (_HIGHEST - priority << _RANK_BITS) + (ready_since - _EPOCH) // _MICROSECOND


def rank_sql(ready_since: datetime) -> tuple[str, int]:
    """SQL of `rank_of` for the priority of each row, and its parameter."""
    return f"({_HIGHEST} - priority) * {1 << _RANK_BITS} + %s", rank_of(_HIGHEST, ready_since)


def ready_since_of(rank: int, *, aware: bool) -> datetime:
    """The time that `rank_of` was given."""
    moment = _EPOCH + timedelta(microseconds=rank & (1 << _RANK_BITS) - 1)
    return moment if aware else timezone.make_naive(moment, timezone.get_default_timezone())


def job_of(row: Sequence[Any]) -> Job:
    """The Job of a row with COLUMNS, its id, datetimes and booleans converted already."""
    (
        job_id,
        backend,
        queue_name,
        task_path,
        payload,
        status,
        priority,
        rank,
        enqueued_at,
        run_after,
        due,
        max_attempts,
        max_rescues,
        timeout_us,
        owner,
        claim_number,
        worker_ids,
        failures,
        rescues,
        errors,
        started_at,
        last_attempted_at,
        finished_at,
        return_payload,
        unique_key,
        follow_ups,
        suspect,
        slots,
        reserved_at,
    ) = row
    job: Job = object.__new__(Job)
    # As in `lifecycle.evolve`: the constructor of a frozen dataclass takes ten times as long.
    vars(job).update(
        id=job_id,
        backend=backend,
        queue_name=queue_name,
        task_path=task_path,
        payload=payload,
        status=_STATUSES.get(status) or _unknown_status(finished_at),
        priority=priority,
        enqueued_at=enqueued_at,
        run_after=run_after,
        due=due,
        ready_since=None
        if due is not None
        else ready_since_of(rank, aware=enqueued_at.tzinfo is not None),
        # Ids are made in the order of enqueueing.
        sequence=int(job_id.replace("-", ""), 16),
        max_attempts=max_attempts,
        max_rescues=max_rescues,
        timeout=None if timeout_us is None else timedelta(microseconds=timeout_us),
        owner=owner,
        claim_number=claim_number,
        worker_ids=strings_of(worker_ids) if worker_ids else (),
        failures=failures,
        rescues=rescues,
        errors=errors_of(errors) if errors else (),
        started_at=started_at,
        last_attempted_at=last_attempted_at,
        finished_at=finished_at,
        return_payload=return_payload,
        unique_key=unique_key,
        follow_ups=follow_ups,
        suspect=bool(suspect),
        slots=strings_of(slots) if slots else (),
        reserved_at=reserved_at,
    )
    return job


def _unknown_status(finished_at: datetime | None) -> JobStatus:
    """For a status that a newer version of this library has written, during a deployment."""
    return JobStatus.READY if finished_at is None else JobStatus.FAILED


# These two never raise: one row that was changed by hand must not stop a claim of many, nor the
# rescue of what a dead worker held.
def strings_of(text: str) -> tuple[str, ...]:
    """The strings of a stored JSON list; none when it is no such list."""
    try:
        values = _loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(values, list):
        return ()
    return tuple(value for value in values if isinstance(value, str))


def errors_of(text: str) -> tuple[TaskError, ...]:
    """The errors of a stored JSON text; one that says so when it cannot be read."""
    try:
        return tuple(
            TaskError(exception_class_path=str(path), traceback=str(traceback))
            for path, traceback in _loads(text)
        )
    except (ValueError, TypeError, RecursionError) as error:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        return (
            TaskError(
                exception_class_path=kind,
                traceback=f"The stored errors cannot be read ({error}): {text[:1000]}",
            ),
        )


def errors_text(errors: Sequence[TaskError]) -> str | None:
    """The JSON text that is stored; None for no errors."""
    if not errors:
        return None
    return _dumps([[error.exception_class_path, error.traceback] for error in errors])


def list_text(values: Sequence[str]) -> str | None:
    """The JSON text of a list of strings; None for an empty one."""
    return _dumps(list(values)) if values else None


def new_row(job: Job, adapt: Adapt, *, unique_lock: str | None) -> tuple[Any, ...]:
    """The values of NEW_COLUMNS, but for the id, which comes first and is not converted."""
    deferred = job.status is JobStatus.DEFERRED
    since = job.due if deferred else job.ready_since
    return (
        job.id,
        job.backend,
        job.queue_name,
        job.task_path,
        job.payload,
        "DEFERRED" if deferred else "READY",
        job.priority,
        rank_of(job.priority, since or job.enqueued_at),
        adapt(job.enqueued_at),
        None if job.run_after is None else adapt(job.run_after),
        None if job.due is None else adapt(job.due),
        job.max_attempts,
        job.max_rescues,
        None if job.timeout is None else job.timeout // _MICROSECOND,
        job.unique_key,
        unique_lock,
        job.follow_ups,
    )


def success_row(job: Job, adapt: Adapt) -> tuple[Any, ...]:
    """The values of SUCCESS_COLUMNS."""
    assert job.started_at is not None  # noqa: S101 - start() set them
    assert job.last_attempted_at is not None  # noqa: S101
    assert job.finished_at is not None  # noqa: S101
    return (
        list_text(job.worker_ids),
        adapt(job.started_at),
        adapt(job.last_attempted_at),
        adapt(job.finished_at),
        job.return_payload,
    )


def state_row(job: Job, adapt: Adapt) -> tuple[Any, ...]:
    """The values of STATE_COLUMNS."""

    def moment(value: datetime | None) -> Any:
        return None if value is None else adapt(value)

    status: str = job.status.value
    if job.suspect and job.status is JobStatus.READY:
        status = SUSPECT
    return (
        status,
        rank_of(job.priority, job.due or job.ready_since or job.enqueued_at),
        moment(job.due),
        job.owner,
        list_text(job.worker_ids),
        job.failures,
        job.rescues,
        errors_text(job.errors),
        moment(job.started_at),
        moment(job.last_attempted_at),
        moment(job.finished_at),
        job.return_payload,
        job.suspect,
        list_text(job.slots),
        moment(job.reserved_at),
    )
