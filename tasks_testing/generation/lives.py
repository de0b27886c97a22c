"""One task's life, replayed by the engine: what factories and strategies make values from.

Neither of them invents a field. Times, errors and counts go through the transitions of a real job,
and the record or result is then read off that job as everywhere else: what comes out is something
that could have happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from django.conf import settings
from django.utils import timezone

from tasks_database.engine import IllegalTransition, Job, JobStatus, bind, encode, policy_of
from tasks_database.engine.lifecycle import (
    cancel,
    claim,
    enqueue,
    fail,
    promote,
    retry,
    start,
    succeed,
)
from tasks_testing.entry import Entry
from tasks_testing.exceptions import TasksTestingError
from tasks_testing.framework import Task, TaskError, require_task
from tasks_testing.memory_store import MemoryStore
from tasks_testing.transactions import TransactionMark, TransactionState


class ImpossibleLife(TasksTestingError, ValueError):  # noqa: N818 - the name says what was asked
    """The fields asked for contradict one another: no task can have had them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is to have happened to one task; the fields of TaskRecord and TaskResult.

    run_after is the task's own: ``altered(task, run_after=...)`` gives it another.
    """

    id: str
    task: Task
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    status: JobStatus
    enqueued_at: datetime
    attempts: int
    worker_ids: Sequence[str]
    errors: Sequence[TaskError]
    started_at: datetime | None
    last_attempted_at: datetime | None
    finished_at: datetime | None
    due: datetime | None
    return_value: Any


LIFE_FIELDS: Final = tuple(field.name for field in fields(Life))
_NEVER_FAILED: Final = (JobStatus.RUNNING, JobStatus.SUCCESSFUL)


def ended_without_error(status: str) -> int:
    """How many attempts of a task in this state have left no error: the current or last one."""
    return int(status in _NEVER_FAILED)


def moment(naive: datetime) -> datetime:
    """A UTC time as the settings want it: aware when USE_TZ."""
    return naive.replace(tzinfo=UTC) if settings.USE_TZ else naive


# -- replaying ---------------------------------------------------------------------------------


def live(life: Life, *, what: str) -> Entry:
    """A journal's entry of a task that had this life, in a store of its own.

    ``what`` asked for it, for messages. Raises ImpossibleLife for fields that contradict one
    another; NotATask, SignatureError and PayloadError as an enqueue would.
    """
    task = require_task(what, life.task)
    values = {name: getattr(life, name) for name in LIFE_FIELDS}
    check_values(what, {**values, "run_after": task.run_after})
    payload = payload_of(task, life.args, life.kwargs)
    _check_counts(life, what)
    _check_order(life, what)
    limit: int | None = getattr(task, "max_attempts", None)
    job = enqueue(
        id=life.id,
        task_path=task.module_path,
        payload=payload,
        now=life.enqueued_at,
        run_after=task.run_after,
        backend=task.backend,
        queue_name=task.queue_name,
        priority=task.priority,
        # Who retries a plain Task of Django's, and how often, only its backend knows.
        max_attempts=len(life.errors) + 1 if limit is None else limit,
    )
    try:
        job = _finish(_attempt(job, life), life)
    except IllegalTransition as error:
        raise ImpossibleLife(f"{what} was asked for what cannot have happened. {error}") from None
    _check_outcome(life, job, what)
    store = MemoryStore(is_committed=lambda _job_id: True)
    store.jobs[job.id] = job
    return Entry(
        job_id=job.id,
        task=task,
        policy=policy_of(task),
        origin=None,
        parent=None,
        mark=TransactionMark(TransactionState.AUTOCOMMIT),
        transactional=None,
        store=store,
    )


def payload_of(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The call as JSON text. Raises SignatureError and PayloadError, naming the argument."""
    path = task.module_path
    bound = bind(task.func, args, kwargs, takes_context=task.takes_context, path=path)
    for name, value in bound.items():
        encode(value, what=f"argument {name!r} of {path}")
    return encode([list(args), dict(kwargs)], what="the arguments")


def _attempt(job: Job, life: Life) -> Job:
    """The job after its last attempt began, and after it failed if it was to fail and go on.

    A failed attempt takes no time here: nobody sees when it ended, but for the last one.
    """
    failures = len(life.errors) - (life.status is JobStatus.FAILED)
    for index, worker_id in enumerate(life.worker_ids):
        now = life.last_attempted_at if index else life.started_at
        assert now is not None  # noqa: S101 - _check_counts() saw to it
        if job.status is JobStatus.DEFERRED:
            job = promote(job, now=now)
        job = start(claim(job, worker_id=worker_id), now=now)
        if index >= failures:
            continue
        waits = life.status is JobStatus.DEFERRED and index + 1 == len(life.worker_ids)
        due = life.due if waits and life.due is not None else now
        job = retry(job, error=life.errors[index], delay=due - now, now=now)
    return job


def _finish(job: Job, life: Life) -> Job:
    """The job in the state it is to be found in."""
    path = life.task.module_path
    match life.status:
        case JobStatus.SUCCESSFUL | JobStatus.FAILED | JobStatus.CANCELLED as final:
            now = life.finished_at
            assert now is not None  # noqa: S101 - _check_counts() saw to it
            if final is JobStatus.SUCCESSFUL:
                text = encode(life.return_value, what=f"the return value of {path}")
                return succeed(job, return_payload=text, now=now)
            if final is JobStatus.FAILED:
                return fail(job, error=life.errors[-1], now=now)
            return cancel(job, now=now)
        case JobStatus.READY | JobStatus.CLAIMED as waiting:
            if job.due is not None:
                job = promote(job, now=job.due)
            return claim(job, worker_id="worker-1") if waiting is JobStatus.CLAIMED else job
        case _:
            return job


# -- laws --------------------------------------------------------------------------------------

_PASSED: Final = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")
_TIMES: Final = (*_PASSED, "due", "run_after")


def check_values(what: str, values: Mapping[str, Any]) -> None:
    """Each of these fields, of any of those of Life and run_after, is of the right kind."""
    for name, value in values.items():
        expected = _expected(name, value)
        if expected:
            raise ImpossibleLife(f"{what} takes {name} as {expected}, not {value!r}.")


def _expected(name: str, value: object) -> str:
    """What the field must be, or nothing when it is that."""
    match name:
        case "id" if not isinstance(value, str) or not value:
            return "text that is not empty"
        case "args" if not isinstance(value, list | tuple):
            return "a list or tuple"
        case "kwargs" if not isinstance(value, Mapping):
            return "a dict"
        case "status" if str(value) not in set(JobStatus):
            return f"one of {', '.join(JobStatus)}"
        case "attempts" if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return "a whole number of 0 or more"
        case "errors" if not _is_list_of(TaskError, value):
            return "a list of TaskError, which TaskErrorFactory(exception=...) makes"
        case "worker_ids" if not _is_list_of(str, value):
            return "a list of texts"
        case "enqueued_at" if value is None:
            return "a datetime"
        case _ if name in _TIMES and value is not None:
            return expected_time(value)
    return ""


def expected_time(value: object) -> str:
    """What a time must be under these settings, or nothing when it is that."""
    if isinstance(value, datetime) and timezone.is_aware(value) == settings.USE_TZ:
        return ""
    kind = "an aware" if settings.USE_TZ else "a naive"
    return f"{kind} datetime, because USE_TZ is {settings.USE_TZ}"


def _is_list_of(kind: type, values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _check_counts(life: Life, what: str) -> None:
    status, errors = life.status, len(life.errors)
    attempts = errors + ended_without_error(status)
    if status is JobStatus.FAILED and not errors:
        raise ImpossibleLife(f"{what} needs errors for a FAILED task: one for each attempt.")
    if life.attempts != attempts or len(life.worker_ids) != attempts:
        raise ImpossibleLife(
            f"{what} was asked for attempts={life.attempts!r}, {_count(errors, 'error')} and "
            f"{_count(len(life.worker_ids), 'worker id')}, but a {status} task with "
            f"{_count(errors, 'error')} was attempted {_count(attempts, 'time')}: each attempt "
            "leaves an error, unless it runs or succeeded. "
            "Give one of attempts, errors and worker_ids; the others follow."
        )
    needed = [("started_at", attempts), ("last_attempted_at", attempts)]
    needed.append(("finished_at", status.is_final))
    for name, is_needed in needed:
        if is_needed and getattr(life, name) is None:
            raise ImpossibleLife(
                f"{what} was given {name}=None for a {status} task, which has one. Leave it out."
            )
    limit: int | None = getattr(life.task, "max_attempts", None)
    failures = errors + (status is not JobStatus.FAILED)
    if limit is not None and failures > limit:
        raise ImpossibleLife(
            f"{what} was asked for a {status} task after {_count(errors, 'error')}, but "
            f"{life.task.module_path} is attempted {_count(limit, 'time')} at most. Pass "
            f"task={life.task.name}.using(max_attempts={failures}), or fewer errors."
        )
    if life.return_value is not None and status is not JobStatus.SUCCESSFUL:
        raise ImpossibleLife(
            f"{what} was given return_value={life.return_value!r} for a {status} task; "
            "only a SUCCESSFUL one has returned. Pass successful=True or status='SUCCESSFUL' too."
        )


def _check_order(life: Life, what: str) -> None:
    known = [(name, getattr(life, name)) for name in _PASSED]
    passed = [(name, value) for name, value in known if value is not None]
    run_after = life.task.run_after
    if run_after is not None and life.started_at is not None and run_after > life.enqueued_at:
        passed.insert(1, ("run_after", run_after))
    for (earlier, before), (later, after) in pairwise(passed):
        if after < before:
            raise ImpossibleLife(
                f"{what} was given {later}={after.isoformat()}, which is before "
                f"{earlier}={before.isoformat()}."
            )


def _check_outcome(life: Life, job: Job, what: str) -> None:
    """What was asked for is what the replay led to."""
    if job.status is not life.status:
        raise ImpossibleLife(
            f"{what} cannot make a {life.status} task of these fields: it would be {job.status}. "
            "A DEFERRED one has a run_after later than enqueued_at, or, after an attempt that "
            "failed, a due later than last_attempted_at."
        )
    for name in ("started_at", "last_attempted_at", "finished_at", "due"):
        asked, lived = getattr(life, name), getattr(job, name)
        if asked != lived:
            raise ImpossibleLife(
                f"{what} was given {name}={asked!r}, but a {job.status} task with its other "
                f"fields has {name}={lived!r}. Leave it out, or choose another state."
            )
