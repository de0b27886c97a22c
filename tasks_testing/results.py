"""Django's TaskResult, made from what the journal knows."""

from dataclasses import MISSING, fields

from tasks_database.engine import decode

from .framework import TaskResult
from .journal import Entry

# What a TaskResult has beside the fields that are filled in below.
_DEFAULTS = tuple(
    (field.name, field.default) for field in fields(TaskResult) if field.default is not MISSING
)


def result_of(entry: Entry) -> TaskResult:
    """A new TaskResult of the entry as it is now.

    Its constructor would go through the arguments once more, which come from JSON already; half of
    the time of a result.
    """
    job = entry.job
    result: TaskResult = object.__new__(TaskResult)
    put = object.__setattr__
    for name, default in _DEFAULTS:
        put(result, name, default)
    args, kwargs = entry.call
    put(result, "task", entry.task)
    put(result, "id", job.id)
    put(result, "enqueued_at", job.enqueued_at)
    put(result, "args", args)
    put(result, "kwargs", kwargs)
    put(result, "backend", job.backend)
    update_result(result, entry)
    return result


def update_result(result: TaskResult, entry: Entry) -> None:
    """What ``result.refresh()`` does, for a result that is already in somebody's hands."""
    job = entry.job
    put = object.__setattr__
    put(result, "status", job.status.as_result_status)
    put(result, "started_at", job.started_at)
    put(result, "last_attempted_at", job.last_attempted_at)
    put(result, "finished_at", job.finished_at)
    put(result, "errors", list(job.errors))
    put(result, "worker_ids", list(job.worker_ids))
    if job.return_payload is not None:
        put(result, "_return_value", decode(job.return_payload))
