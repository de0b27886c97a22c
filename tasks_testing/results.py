"""Django's TaskResult, made from what the journal knows."""

from tasks_database.engine import decode

from .framework import TaskResult
from .journal import Entry


def result_of(entry: Entry) -> TaskResult:
    """A new TaskResult of the entry as it is now."""
    job = entry.job
    args, kwargs = entry.call
    result = TaskResult(
        task=entry.task,
        id=job.id,
        status=job.status.as_result_status,
        enqueued_at=job.enqueued_at,
        started_at=job.started_at,
        last_attempted_at=job.last_attempted_at,
        finished_at=job.finished_at,
        args=args,
        kwargs=kwargs,
        backend=job.backend,
        errors=list(job.errors),
        worker_ids=list(job.worker_ids),
    )
    if job.return_payload is not None:
        object.__setattr__(result, "_return_value", decode(job.return_payload))
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
