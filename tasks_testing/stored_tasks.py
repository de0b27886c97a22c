"""The Task of a job that no enqueue has brought along: a follow-up, or a row of the database."""

from typing import Any

from tasks_database.engine import Job, Policy, policy_of

from .framework import Task

# What cannot even be called is not tried again, as in a worker.
_NEVER_AGAIN = Policy(backoff=lambda _exception, _attempt: None)


def stored_task(job: Job) -> tuple[Task, Policy]:
    """What `callee_of` gives for the job's path, with the options that it was enqueued with."""
    from tasks_database.backend import as_enqueued

    task, policy = callee_of(job.task_path)
    return as_enqueued(task, job), policy


def callee_of(path: str) -> tuple[Task, Policy]:
    """The task that a worker finds at this path, and its policy.

    For a path that names none it is a Task that fails with the UnknownTask which says so.
    """
    from tasks_database.resolve import UnknownTask, resolve

    try:
        task = resolve(path)
    except UnknownTask as problem:
        return _unknown_task(path, problem), _NEVER_AGAIN
    return task, policy_of(task)


def _unknown_task(path: str, problem: Exception) -> Task:
    def unknown(*_args: Any, **_kwargs: Any) -> None:
        __tracebackhide__ = True
        raise problem

    unknown.__module__, _, unknown.__name__ = path.rpartition(".")
    unknown.__qualname__ = unknown.__name__
    task: Task = object.__new__(Task)
    # Past __post_init__, which would validate it.
    for name, value in (
        ("func", unknown),
        ("takes_context", False),
        ("priority", 0),
        ("queue_name", ""),
        ("backend", ""),
        ("run_after", None),
    ):
        object.__setattr__(task, name, value)
    return task
