"""Django's TaskResult, made from a Job."""

from dataclasses import MISSING, fields
from typing import Any

from .engine import Job, decode
from .framework import FrameworkTask, TaskResult

# What a TaskResult has beside the fields that are filled in below.
_DEFAULTS = tuple(
    (field.name, field.default) for field in fields(TaskResult) if field.default is not MISSING
)


def result_of(job: Job, task: FrameworkTask, call: tuple[list[Any], dict[str, Any]]) -> TaskResult:
    """A new TaskResult of the job as it is.

    call: the arguments, decoded. The result's constructor would go through them once more, which
    come from JSON already; half of the time of a result.
    """
    result: TaskResult = object.__new__(TaskResult)
    put = object.__setattr__
    for name, default in _DEFAULTS:
        put(result, name, default)
    args, kwargs = call
    put(result, "task", task)
    put(result, "id", job.id)
    put(result, "enqueued_at", job.enqueued_at)
    put(result, "args", args)
    put(result, "kwargs", kwargs)
    put(result, "backend", job.backend)
    update_result(result, job)
    return result


def update_result(result: TaskResult, job: Job) -> None:
    """What ``result.refresh()`` does, for a result that is already in somebody's hands."""
    put = object.__setattr__
    put(result, "status", job.status.as_result_status)
    put(result, "started_at", job.started_at)
    put(result, "last_attempted_at", job.last_attempted_at)
    put(result, "finished_at", job.finished_at)
    put(result, "errors", list(job.errors))
    put(result, "worker_ids", list(job.worker_ids))
    if job.return_payload is not None:
        put(result, "_return_value", decode(job.return_payload))
