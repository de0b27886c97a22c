"""A job's life as pure functions: each takes a Job and a time, and returns the next Job.

    enqueue --> DEFERRED --promote--> READY --claim--> CLAIMED --start--> RUNNING --> SUCCESSFUL
           `--------------------------^  ^               |  |               |  `--> FAILED
                                         |---release-----'  |               |
                                         |---rescue---------'---------------| (or to FAILED)
                                         `---retry--------------------------' (or to DEFERRED)
    CLAIMED --fail--> FAILED (it could not be started)
    RUNNING --interrupt--> READY: its worker has to end before it
    RUNNING --lose--> READY or DEFERRED (or to FAILED): the delivery was lost, not the task's fault
    DEFERRED, READY --cancel--> CANCELLED
    FAILED, CANCELLED --revive--> READY: an operator asks for it
    CLAIMED --postpone--> DEFERRED: it has to wait for a slot, or for a rate

A transition that is not in the picture raises IllegalTransition. Nothing here reads a clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from .framework import (
    DEFAULT_TASK_BACKEND_ALIAS,
    DEFAULT_TASK_PRIORITY,
    DEFAULT_TASK_QUEUE_NAME,
    TaskError,
    TaskResultStatus,
)
from .policies import DEFAULT_MAX_ATTEMPTS, DEFAULT_MAX_RESCUES


class JobStatus(StrEnum):
    """Where a job is in its life."""

    DEFERRED = "DEFERRED"  # Waits for its due time: run_after, or the backoff of a retry.
    READY = "READY"  # Waits for a worker.
    CLAIMED = "CLAIMED"  # A worker has it and has not started it.
    RUNNING = "RUNNING"
    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def is_pending(self) -> bool:
        """No worker has it, and it is to run: now or later."""
        return self is JobStatus.READY or self is JobStatus.DEFERRED

    @property
    def as_result_status(self) -> TaskResultStatus:
        """What Django's TaskResult shows. Django has no status for a cancelled task: FAILED."""
        return _RESULT_STATUS[self]


_FINAL = frozenset({JobStatus.SUCCESSFUL, JobStatus.FAILED, JobStatus.CANCELLED})
_RESULT_STATUS = {
    JobStatus.DEFERRED: TaskResultStatus.READY,
    JobStatus.READY: TaskResultStatus.READY,
    JobStatus.CLAIMED: TaskResultStatus.READY,
    JobStatus.RUNNING: TaskResultStatus.RUNNING,
    JobStatus.SUCCESSFUL: TaskResultStatus.SUCCESSFUL,
    JobStatus.FAILED: TaskResultStatus.FAILED,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
}


class IllegalTransition(Exception):  # noqa: N818 - the name says what happened
    """A job was asked for a step that its state does not allow."""


# Without slots: `evolve` copies one dict in a third of the time that it takes to copy slots.
@dataclass(frozen=True, kw_only=True)
class Job:
    """The engine's record of one enqueued task. Times are as Django's timezone.now() gives them."""

    id: str
    task_path: str
    payload: str  # JSON text of [args, kwargs].
    enqueued_at: datetime
    backend: str = DEFAULT_TASK_BACKEND_ALIAS
    queue_name: str = DEFAULT_TASK_QUEUE_NAME
    priority: int = DEFAULT_TASK_PRIORITY
    run_after: datetime | None = None  # As asked for at enqueue; never changes.

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    max_rescues: int = DEFAULT_MAX_RESCUES
    timeout: timedelta | None = None

    status: JobStatus = JobStatus.READY
    due: datetime | None = None  # When a deferred job becomes ready.
    ready_since: datetime | None = None
    sequence: int = 0  # The store's enqueue order; breaks ties.
    owner: str | None = None  # The worker that holds the claim.
    claim_number: int = 0  # Grows with each claim: fences writes of a superseded worker.

    worker_ids: tuple[str, ...] = ()  # One for each start.
    failures: int = 0  # Exceptions of the body, held against max_attempts.
    rescues: int = 0  # Deliveries lost with their worker, held against max_rescues.
    errors: tuple[TaskError, ...] = ()
    started_at: datetime | None = None
    last_attempted_at: datetime | None = None
    finished_at: datetime | None = None
    return_payload: str | None = None  # JSON text.

    unique_key: str | None = None  # One pending job of its task and backend has this key.
    follow_ups: str | None = None  # JSON text: what to enqueue when it has ended; see follow_ups.
    suspect: bool = False  # Its worker died with several jobs: it is claimed alone next.
    slots: tuple[str, ...] = ()  # The concurrency limits it holds a slot of; see limits.
    reserved_at: datetime | None = None  # When a rate limit put it off; None: it did not.

    @property
    def attempts(self) -> int:
        """How many times a worker started it."""
        return len(self.worker_ids)

    @property
    def order(self) -> tuple[int, datetime | None, int]:
        """Ready jobs are claimed in this order: high priority, then long ready, then first in."""
        return (-self.priority, self.ready_since, self.sequence)


def evolve(job: Job, **changes: Any) -> Job:
    """``dataclasses.replace`` for Job, only faster: every task that runs makes four of these.

    ``changes`` must be fields of Job; nothing checks that.
    """
    new: Job = object.__new__(Job)
    values = vars(new)
    values.update(vars(job))
    values.update(changes)
    return new


_BLANK = Job(id="", task_path="", payload="", enqueued_at=datetime.min)  # noqa: DTZ901 - never seen


def _require(job: Job, step: str, allowed: Iterable[JobStatus]) -> None:
    if job.status not in allowed:
        expected = " or ".join(allowed)
        raise IllegalTransition(
            f"Cannot {step} job {job.id} ({job.task_path}): it is {job.status}, not {expected}."
        )


_DEFERRED = (JobStatus.DEFERRED,)
_READY = (JobStatus.READY,)
_CLAIMED = (JobStatus.CLAIMED,)
_RUNNING = (JobStatus.RUNNING,)
_HELD = (JobStatus.CLAIMED, JobStatus.RUNNING)
_WAITING = (JobStatus.DEFERRED, JobStatus.READY)


def enqueue(
    *,
    id: str,  # noqa: A002 - the field's name
    task_path: str,
    payload: str,
    now: datetime,
    run_after: datetime | None = None,
    **options: Any,
) -> Job:
    """A new job: DEFERRED when ``run_after`` is later than ``now``, else READY.

    ``options`` are further fields of Job: backend, queue_name, priority, max_attempts,
    max_rescues, timeout, sequence.
    """
    waits = run_after is not None and run_after > now
    return evolve(
        _BLANK,
        id=id,
        task_path=task_path,
        payload=payload,
        enqueued_at=now,
        run_after=run_after,
        status=JobStatus.DEFERRED if waits else JobStatus.READY,
        due=run_after if waits else None,
        ready_since=None if waits else now,
        **options,
    )


def promote(job: Job, *, now: datetime) -> Job:
    """DEFERRED to READY, at or after the due time. It counts as ready since it was due."""
    _require(job, "promote", _DEFERRED)
    if job.due is None or job.due > now:
        raise IllegalTransition(
            f"Cannot promote job {job.id} ({job.task_path}) at {now}: it is due at {job.due}."
        )
    return evolve(job, status=JobStatus.READY, ready_since=job.due, due=None)


def claim(job: Job, *, worker_id: str) -> Job:
    """READY to CLAIMED: the worker owns it, under a new claim number."""
    _require(job, "claim", _READY)
    return evolve(job, status=JobStatus.CLAIMED, owner=worker_id, claim_number=job.claim_number + 1)


def release(job: Job) -> Job:
    """CLAIMED back to READY, at its old place in the order, at no cost."""
    _require(job, "release", _CLAIMED)
    return evolve(job, status=JobStatus.READY, owner=None)


def start(job: Job, *, now: datetime, worker_name: str | None = None) -> Job:
    """CLAIMED to RUNNING: the attempt is counted here, not at the claim.

    worker_name: what the result shows of the worker; without it, the owner's id.
    """
    _require(job, "start", _CLAIMED)
    assert job.owner is not None  # noqa: S101 - claim() set it
    return evolve(
        job,
        status=JobStatus.RUNNING,
        worker_ids=(*job.worker_ids, worker_name or job.owner),
        started_at=job.started_at or now,
        last_attempted_at=now,
    )


def succeed(job: Job, *, return_payload: str, now: datetime) -> Job:
    """RUNNING to SUCCESSFUL."""
    _require(job, "succeed", _RUNNING)
    return evolve(
        job,
        status=JobStatus.SUCCESSFUL,
        return_payload=return_payload,
        finished_at=now,
        owner=None,
        suspect=False,
    )


def fail(job: Job, *, error: TaskError, now: datetime) -> Job:
    """RUNNING to FAILED for good; CLAIMED too, for a task that could not be started."""
    _require(job, "fail", _HELD)
    return evolve(
        job,
        status=JobStatus.FAILED,
        failures=job.failures + 1,
        errors=(*job.errors, error),
        finished_at=now,
        owner=None,
        suspect=False,
    )


def retry(job: Job, *, error: TaskError, delay: timedelta, now: datetime) -> Job:
    """RUNNING back to READY, or to DEFERRED until ``delay`` has passed; uses up one attempt."""
    _require(job, "retry", _RUNNING)
    failures = job.failures + 1
    if failures >= job.max_attempts:
        raise IllegalTransition(
            f"Cannot retry job {job.id} ({job.task_path}): "
            f"all of its {job.max_attempts} attempts have failed."
        )
    waits = delay > timedelta()
    return evolve(
        job,
        status=JobStatus.DEFERRED if waits else JobStatus.READY,
        due=now + delay if waits else None,
        ready_since=None if waits else now,
        failures=failures,
        errors=(*job.errors, error),
        owner=None,
        suspect=False,
    )


def rescue(job: Job, *, error: TaskError, now: datetime) -> Job:
    """Take a job from a worker that is gone.

    Not started: back to READY at no cost. Running: one delivery was lost; READY again while
    ``max_rescues`` allows, else FAILED with ``error``.
    """
    _require(job, "rescue", _HELD)
    if job.status is JobStatus.CLAIMED:
        return release(job)
    return _delivery_lost(job, error=error, delay=timedelta(), now=now, suspect=job.suspect)


def suspend(job: Job, *, now: datetime) -> Job:
    """CLAIMED or RUNNING back to READY as a suspect: it may have taken its worker down."""
    _require(job, "suspend", _HELD)
    return evolve(job, status=JobStatus.READY, ready_since=now, owner=None, suspect=True)


def interrupt(job: Job) -> Job:
    """RUNNING back to READY, at its old place and at no cost: its worker has to end before it."""
    _require(job, "interrupt", _RUNNING)
    return evolve(job, status=JobStatus.READY, owner=None)


def refuse(ended: Job, *, error: TaskError) -> Job:
    """An outcome that the store cannot keep, as a failure that says why. Not stored yet."""
    return evolve(
        ended,
        status=JobStatus.FAILED,
        return_payload=None,
        due=None,
        failures=ended.failures + 1,
        errors=(error,),
        finished_at=ended.finished_at or ended.last_attempted_at,
        owner=None,
    )


def lose(job: Job, *, error: TaskError, delay: timedelta, now: datetime) -> Job:
    """RUNNING, and the database or another part of the worker failed, not the task.

    Counted like a death of the worker: READY again after ``delay`` while ``max_rescues`` allows,
    else FAILED with ``error``.
    """
    _require(job, "lose", _RUNNING)
    return _delivery_lost(job, error=error, delay=delay, now=now, suspect=False)


def _delivery_lost(
    job: Job, *, error: TaskError, delay: timedelta, now: datetime, suspect: bool
) -> Job:
    rescues = job.rescues + 1
    if rescues > job.max_rescues:
        return evolve(
            job,
            status=JobStatus.FAILED,
            rescues=rescues,
            errors=(*job.errors, error),
            finished_at=now,
            owner=None,
            suspect=False,
        )
    waits = delay > timedelta()
    return evolve(
        job,
        status=JobStatus.DEFERRED if waits else JobStatus.READY,
        due=now + delay if waits else None,
        ready_since=None if waits else now,
        rescues=rescues,
        owner=None,
        suspect=suspect,
    )


def cancel(job: Job, *, now: datetime) -> Job:
    """DEFERRED or READY to CANCELLED. What a worker already has cannot be cancelled."""
    _require(job, "cancel", _WAITING)
    return evolve(job, status=JobStatus.CANCELLED, due=None, finished_at=now)


_ENDED_BADLY = (JobStatus.FAILED, JobStatus.CANCELLED)


def revive(job: Job, *, now: datetime) -> Job:
    """FAILED or CANCELLED to READY, with all of its attempts and rescues before it again."""
    _require(job, "retry", _ENDED_BADLY)
    return evolve(
        job,
        status=JobStatus.READY,
        ready_since=now,
        due=None,
        finished_at=None,
        failures=0,
        rescues=0,
        suspect=False,
        reserved_at=None,
    )


def postpone(job: Job, *, until: datetime) -> Job:
    """CLAIMED to DEFERRED, at no cost and keeping its place in the order once it is due."""
    _require(job, "postpone", _CLAIMED)
    return evolve(job, status=JobStatus.DEFERRED, due=until, owner=None)
