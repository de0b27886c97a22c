"""Entry: one enqueued task with what only this process knows of it."""

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from tasks_database.engine import Job, Policy, decode
from tasks_database.engine.calls import NO_ARGUMENTS

from .block_store import BlockStore
from .framework import Task
from .origin import Origin
from .transactions import TransactionMark, TransactionState

next_event = count(1).__next__
"""Numbers what happens, in order: frozen clocks cannot tell what came first."""


class Attempt(NamedTuple):
    """One run of a body, for timelines and for matching exceptions."""

    event: int  # When it began; see next_event.
    number: int
    started_at: datetime
    finished_at: datetime
    exception_class: type[BaseException] | None = None
    message: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """One enqueued task with what only this process knows of it. The Job itself is in the store."""

    job_id: str
    task: Task
    policy: Policy
    origin: Origin | None
    parent: "Entry | None"
    mark: TransactionMark
    transactional: bool | None  # None: nobody said.
    store: BlockStore
    enqueued: bool = True  # False for run_task(): ran, but nothing enqueued it.
    follows: bool = False  # A hook or a link of a chain: enqueued because the parent has ended.
    looked_at: bool = False  # Its failure reached the test.
    is_gone: bool = False  # Its row is not in the table any more.
    attempts: list[Attempt] = field(default_factory=list)
    event: int = field(default_factory=next_event)
    forgotten: Job | None = None  # As it was when the store dropped it: clear(), or the history.

    def __repr__(self) -> str:
        # Never the dataclass's own: a chain of parents would be repeated to the last one.
        return f"<Entry of {self.task.module_path} {self.job_id}>"

    @property
    def job(self) -> Job:
        job = self.store.jobs.get(self.job_id) or self.forgotten
        assert job is not None  # noqa: S101 - `Block.drop` alone takes jobs out of the store
        return job

    @property
    def call(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as a worker gets them, decoded anew each time."""
        return call_of(self.job)

    @property
    def is_rolled_back(self) -> bool:
        return self.mark.state is TransactionState.ROLLED_BACK

    @property
    def is_in_doubt(self) -> bool:
        """True while a transaction is open that decides whether there is a job at all."""
        return bool(self.transactional) and self.mark.state is TransactionState.OPEN

    @property
    def is_visible(self) -> bool:
        """False when a rolled-back transaction took the job with it, or its row is gone."""
        return not (self.is_gone or (self.transactional and self.is_rolled_back))


def call_of(job: Job) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as a worker gets them."""
    payload = job.payload
    if payload == NO_ARGUMENTS:
        return [], {}
    args, kwargs = decode(payload)
    return args, kwargs


current_entry: ContextVar[Entry | None] = ContextVar("django_tasks_current_entry", default=None)
