"""What was enqueued and run, process-wide: one Journal, one Entry per enqueued task.

Django makes a backend object per thread, so none of this lives in one. The plugin and TaskQueue
reset the journal between tests; alone in a settings file, the Immediate backend bounds it.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from tasks_database.engine import Job, Policy, decode
from tasks_database.engine.calls import NO_ARGUMENTS

from .framework import Task
from .memory_store import MemoryStore
from .origin import Origin
from .stored_tasks import stored_task
from .transactions import AUTOCOMMIT, TransactionMark, TransactionState

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
    store: MemoryStore
    enqueued: bool = True  # False for run_task(): ran, but nothing enqueued it.
    follows: bool = False  # A hook or a link of a chain: enqueued because the parent has ended.
    looked_at: bool = False  # Its failure reached the test.
    attempts: list[Attempt] = field(default_factory=list)
    event: int = field(default_factory=next_event)
    forgotten: Job | None = None  # As it was when the store dropped it: clear(), or the history.

    def __repr__(self) -> str:
        # Never the dataclass's own: a chain of parents would be repeated to the last one.
        return f"<Entry of {self.task.module_path} {self.job_id}>"

    @property
    def job(self) -> Job:
        job = self.store.jobs.get(self.job_id) or self.forgotten
        assert job is not None  # noqa: S101 - `_Block.drop` alone takes jobs out of the store
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
        """False when a rolled-back transaction took the job with it."""
        return not (self.transactional and self.is_rolled_back)


def call_of(job: Job) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as a worker gets them."""
    payload = job.payload
    if payload == NO_ARGUMENTS:
        return [], {}
    args, kwargs = decode(payload)
    return args, kwargs


current_entry: ContextVar[Entry | None] = ContextVar("django_tasks_current_entry", default=None)


class Journal:
    """The entries of a test, in enqueue order, in blocks: a nested TaskQueue sees its own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.keeps_everything = False  # Within a test nothing is dropped.
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new test begins."""
        with self.lock:
            self._blocks = [_Block()]
            self._finished: deque[str] = deque()

    @contextmanager
    def block(self) -> Iterator[None]:
        """Begin a block of its own; at its end, the entries join those of the block around."""
        with self.lock:
            inner = _Block(first_sequence=self.store.last_sequence)
            self._blocks.append(inner)
        try:
            yield
        finally:
            with self.lock:
                if inner in self._blocks:  # A reset may have ended it.
                    self._blocks.remove(inner)
                    self._blocks[-1].absorb(inner)

    @contextmanager
    def disowned(self) -> Iterator[None]:
        """Forget what the block enqueues: it belongs to no test (a wider-scoped fixture)."""
        before = self.store.last_sequence
        try:
            yield
        finally:
            if self.store.last_sequence != before:
                self.forget(lambda entry: entry.job.sequence > before)

    @property
    def is_empty(self) -> bool:
        return not any(block.entries for block in self._blocks)

    @property
    def store(self) -> MemoryStore:
        """The jobs of the innermost block."""
        return self._blocks[-1].store

    def add(self, job: Job, entry: Entry) -> Entry:
        """Keep a new job with its entry, whose ``store`` is this journal's.

        Returns the entry that stands for it: another one where its unique key is taken.
        """
        with self.lock:
            block = self._blocks[-1]
            entry.store = block.store
            # Before the job, for which another thread may look at once.
            block.entries[job.id] = entry
            in_doubt = entry.transactional and entry.mark.open_at_enqueue
            standing = block.store.add_one(job, committed=not in_doubt)
            return entry if standing is job else block.instead(entry, standing)

    def add_many(self, pairs: Sequence[tuple[Job, Entry]]) -> list[Entry]:
        """The same for many."""
        with self.lock:
            return [self.add(job, entry) for job, entry in pairs]

    def get(self, job_id: str) -> Entry | None:
        """The entry of any block."""
        for block in reversed(self._blocks):
            if job_id in block.entries:
                return block.entries[job_id]
        return None

    def entries(self, *, aliases: Collection[str] | None = None) -> list[Entry]:
        """Entries of the innermost block, of these backends, but for those rolled back."""
        return [entry for entry in self.everything(aliases=aliases) if entry.is_visible]

    def everything(self, *, aliases: Collection[str] | None = None) -> list[Entry]:
        """The same with the jobs that a rolled-back transaction took away: for messages."""
        with self.lock:
            return [
                entry
                for entry in self._blocks[-1].entries.values()
                if aliases is None or entry.task.backend in aliases
            ]

    def forget(self, doomed: Callable[[Entry], bool]) -> None:
        """Drop the entries for which ``doomed`` holds, in every block."""
        with self.lock:
            for block in self._blocks:
                for entry in [entry for entry in block.entries.values() if doomed(entry)]:
                    block.drop(entry)

    def trim(self, finished: Entry, *, keep: int) -> None:
        """Keep the last ``keep`` finished entries only, unless a test wants them all.

        For the Immediate backend alone in a settings file, where nothing else ever resets.
        """
        if self.keeps_everything:
            return
        with self.lock:
            self._finished.append(finished.job_id)
            while len(self._finished) > keep:
                job_id = self._finished.popleft()
                for block in self._blocks:
                    if job_id in block.entries:
                        block.drop(block.entries[job_id])


class _Block:
    def __init__(self, *, first_sequence: int = 0) -> None:
        self.entries: dict[str, Entry] = {}
        self.store = MemoryStore(
            is_committed=self._is_committed, follows=self._follow, first_sequence=first_sequence
        )

    def instead(self, entry: Entry, standing: Job) -> Entry:
        """The entry of the job that stands for this one's, which is not kept."""
        del self.entries[entry.job_id]
        return self.entries[standing.id]

    def _follow(self, parent_job: Job, job: Job) -> None:
        """Enter a job that is enqueued because another one has ended."""
        parent = self.entries[parent_job.id]
        task, policy = stored_task(job)
        self.entries[job.id] = Entry(
            job_id=job.id,
            task=task,
            policy=policy,
            origin=parent.origin,
            parent=parent,
            # The worker's own transaction; but it falls with the one that the parent is part of.
            mark=parent.mark if parent.is_in_doubt else AUTOCOMMIT,
            transactional=parent.transactional,
            store=self.store,
            follows=True,
        )

    def _is_committed(self, job_id: str) -> bool | None:
        match self.entries[job_id].mark.state:
            case TransactionState.OPEN:
                return None
            case TransactionState.ROLLED_BACK:
                return False
            case _:
                return True

    def drop(self, entry: Entry) -> None:
        # A tally, or a child of the task, may hold the entry still.
        entry.forgotten = entry.job
        # First out of the store, which asks for the entry of each job that it has.
        self.store.discard(entry.job_id)
        del self.entries[entry.job_id]

    def absorb(self, inner: "_Block") -> None:
        for entry in inner.entries.values():
            entry.store = self.store
        self.entries.update(inner.entries)
        self.store.absorb(inner.store)


journal = Journal()
