"""TaskRecord: one enqueued task as a frozen value to read, compare and print."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from tasks_database.engine import Job, JobStatus, decode
from tasks_database.engine.calls import bound_arguments

from .entry import Entry
from .framework import Task, TaskError, require_task
from .origin import UNKNOWN_PLACE, origin_text
from .transactions import TransactionState


class FrozenList[T](tuple[T, ...]):
    """A tuple that equals a list of the same values too.

    Django's TaskResult has lists in these places, so tests are written with either.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, list):
            return list(self) == other
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """The database transaction around an enqueue, as far as it is known now.

    open_at_enqueue: an ``atomic()`` block of the code under test was open.
    state: "autocommit", "open", "committed" or "rolled back".
    """

    open_at_enqueue: bool = False
    state: TransactionState = TransactionState.AUTOCOMMIT

    @property
    def committed(self) -> bool:
        """The work of the block is kept: committed, or never in a block."""
        return self.state in {TransactionState.COMMITTED, TransactionState.AUTOCOMMIT}

    @property
    def rolled_back(self) -> bool:
        return self.state is TransactionState.ROLLED_BACK

    @property
    def is_open(self) -> bool:
        return self.state is TransactionState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One enqueued task at the moment it was read; read again for a later state.

    task: the Task, with the options of `using()`.
    args, kwargs: as the worker gets them, after JSON.
    arguments: the same by parameter name, defaults not filled in.
    run_after: the earliest time it may run, or None.
    status: a JobStatus, compares equal to its name ("READY", "DEFERRED", "FAILED", ...).
    attempts: how many times a worker started it.
    errors: one TaskError for each attempt that failed.
    return_value: what the body returned, None before that.
    enqueued_from: "file:line" of the call, relative to the working directory.
    parent: the record of the task whose body enqueued it, or None.
    transaction: the database transaction around the enqueue.
    due: when a deferred task will run: run_after, or the end of a retry's backoff.
    """

    id: str
    task: Task
    args: FrozenList[Any]
    kwargs: dict[str, Any]
    arguments: dict[str, Any]
    backend: str
    queue_name: str
    priority: int
    run_after: datetime | None
    status: JobStatus
    attempts: int
    errors: FrozenList[TaskError]
    return_value: Any
    enqueued_at: datetime
    started_at: datetime | None
    last_attempted_at: datetime | None
    finished_at: datetime | None
    due: datetime | None
    enqueued_from: str | None
    # A parent may be large, and repeats in each child: named in the repr by path only.
    parent: "TaskRecord | None" = field(repr=False, compare=False)
    transaction: TransactionInfo

    @property
    def is_finished(self) -> bool:
        return self.status.is_final

    @property
    def is_pending(self) -> bool:
        """Ready or deferred: it will run unless something happens."""
        return self.status.is_pending

    @property
    def place(self) -> str:
        """``enqueued_from`` for messages: words where there is none, as in a bare thread."""
        return self.enqueued_from or UNKNOWN_PLACE

    def __str__(self) -> str:
        return call_text(self.task, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<TaskRecord {self} {self.status} enqueued from {self.place}>"


RECORD_FIELDS = tuple(field.name for field in fields(TaskRecord))


class Records(list[TaskRecord]):
    """A list of records that can be narrowed to one task's."""

    def of(self, task: Task) -> "Records":
        """Those of ``task``, whatever options it was enqueued with."""
        wanted = require_task("of", task)
        return Records(record for record in self if is_same_task(record.task, wanted))


def is_same_task(one: Task, other: Task) -> bool:
    """Whether both are the same task, whatever their options: to a worker it is its path."""
    return bool(one.func == other.func) or one.module_path == other.module_path


def call_text(task: Task, args: Iterable[Any], kwargs: dict[str, Any]) -> str:
    """``shop.tasks.send_receipt(7, resend=True)``."""
    shown = [repr(value) for value in args]
    shown += [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"{task.module_path}({', '.join(shown)})"


def task_path(task: object) -> str:
    """The dotted path of a Task, or the repr of what is none."""
    return getattr(task, "module_path", None) or repr(task)


def record_of(entry: Entry, job: Job | None = None) -> TaskRecord:
    """The entry as a value: as it is now, or as it was when its job was ``job``."""
    return _recorded(entry, job or entry.job, {})


def records_of(entries: Iterable[Entry], jobs: Iterable[Job] | None = None) -> Records:
    """The records of these entries, in order; ``jobs`` gives an earlier state for each."""
    made: dict[str, TaskRecord] = {}
    if jobs is None:
        return Records(_recorded(entry, entry.job, made) for entry in entries)
    return Records(_recorded(entry, job, made) for entry, job in zip(entries, jobs, strict=True))


def _recorded(entry: Entry, job: Job, made: dict[str, TaskRecord]) -> TaskRecord:
    """``made`` remembers records, so that n of them are made in n steps along chains of parents."""
    # A chain of a thousand self-enqueueing tasks must not meet Python's recursion limit.
    missing = []
    ancestor = entry.parent
    while ancestor is not None and ancestor.job_id not in made:
        missing.append(ancestor)
        ancestor = ancestor.parent
    for ancestor in reversed(missing):
        made[ancestor.job_id] = _snapshot(ancestor, ancestor.job, _parent(ancestor, made))
    known = made.get(entry.job_id)
    if known is not None and job is entry.job:
        return known
    record = _snapshot(entry, job, _parent(entry, made))
    if job is entry.job:
        made[entry.job_id] = record
    return record


def _parent(entry: Entry, made: dict[str, TaskRecord]) -> TaskRecord | None:
    return None if entry.parent is None else made[entry.parent.job_id]


def _snapshot(entry: Entry, job: Job, parent: TaskRecord | None) -> TaskRecord:
    task = entry.task
    args, kwargs = decode(job.payload)  # Not the entry's: a record shares nothing with the run.
    return TaskRecord(
        id=job.id,
        task=task,
        args=FrozenList(args),
        kwargs=kwargs,
        arguments=bound_arguments(task, args, kwargs),
        backend=job.backend,
        queue_name=job.queue_name,
        priority=job.priority,
        run_after=job.run_after,
        status=job.status,
        attempts=job.attempts,
        errors=FrozenList(job.errors),
        return_value=None if job.return_payload is None else decode(job.return_payload),
        enqueued_at=job.enqueued_at,
        started_at=job.started_at,
        last_attempted_at=job.last_attempted_at,
        finished_at=job.finished_at,
        due=job.due,
        enqueued_from=origin_text(entry.origin),
        parent=parent,
        transaction=TransactionInfo(entry.mark.open_at_enqueue, entry.mark.state),
    )
