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
from tasks_database.ids import parse_id

from .block_store import BlockStore
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


class Journal:
    """The entries of a test, in enqueue order, in blocks: a nested TaskQueue sees its own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.keeps_everything = False  # Within a test nothing is dropped.
        self.in_database = False  # Whether the outermost block keeps its jobs there.
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new test begins."""
        with self.lock:
            self._blocks: list[_Block] = []
            self._blocks = [self._new_block(in_database=self.in_database)]
            self._finished: deque[str] = deque()

    def _new_block(self, *, in_database: bool) -> "_Block":
        return _DatabaseBlock() if in_database else _Block()

    @contextmanager
    def block(self, *, in_database: bool | None = None) -> Iterator[None]:
        """Begin a block of its own; at its end, the entries join those of the block around.

        in_database: where its jobs are kept; None is where those of the block around are.
        """
        with self.lock:
            if in_database is None:
                in_database = self.is_in_database
            inner = self._new_block(in_database=in_database)
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
        before = next_event()
        try:
            yield
        finally:
            if any(block.last_event > before for block in self._blocks):
                self.forget(lambda entry: entry.event > before)

    @property
    def is_empty(self) -> bool:
        return not any(block.entries for block in self._blocks)

    @property
    def is_in_database(self) -> bool:
        """Whether the innermost block keeps its jobs in the database."""
        return isinstance(self._blocks[-1], _DatabaseBlock)

    @property
    def store(self) -> BlockStore:
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
            try:
                standing = block.store.add_one(job, committed=not in_doubt)
            except BaseException:
                del block.entries[job.id]
                raise
            return entry if standing is job else self._instead(block, entry, standing)

    def add_many(self, pairs: Sequence[tuple[Job, Entry]]) -> list[Entry]:
        """The same for many, of one task: all of them, or none."""
        with self.lock:
            block = self._blocks[-1]
            for job, entry in pairs:
                entry.store = block.store
                block.entries[job.id] = entry
            in_doubt = any(entry.transactional and entry.mark.open_at_enqueue for _, entry in pairs)
            jobs = [job for job, _ in pairs]
            try:
                standing = block.store.add(jobs, committed=not in_doubt)
            except BaseException:
                for job in jobs:
                    del block.entries[job.id]
                raise
            return [
                entry if kept is job else self._instead(block, entry, kept)
                for (job, entry), kept in zip(pairs, standing, strict=True)
            ]

    def _instead(self, block: "_Block", entry: Entry, standing: Job) -> Entry:
        """The entry of the job that stands for this one's, which is not kept."""
        del block.entries[entry.job_id]
        found = self.get(standing.id)
        assert found is not None  # noqa: S101 - a store's jobs have entries
        return found

    def get(self, job_id: str) -> Entry | None:
        """The entry of any block."""
        for block in reversed(self._blocks):
            if job_id in block.entries:
                return block.entries[job_id]
        return None

    def look_up(self, job_id: str) -> Entry | None:
        """The same with its job as it is now; None where that is not there any more."""
        entry = self.get(job_id)
        if entry is None and self.is_in_database:
            # In any spelling, as in production; and of whoever put it there.
            job_id = parse_id(job_id) or job_id
            entry = self.get(job_id)
            if entry is None:
                self.everything()
                entry = self.get(job_id)
        if entry is None or entry.store.get(entry.job_id) is None:
            return None
        return entry

    def entries(self, *, aliases: Collection[str] | None = None) -> list[Entry]:
        """Entries of the innermost block, of these backends, but for those rolled back."""
        return [entry for entry in self.everything(aliases=aliases) if entry.is_visible]

    def everything(self, *, aliases: Collection[str] | None = None) -> list[Entry]:
        """The same with the jobs that a rolled-back transaction took away: for messages."""
        with self.lock:
            block = self._blocks[-1]
            block.refresh()
            return [
                entry
                for entry in block.entries.values()
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
    """Some entries and the store of their jobs, which is in memory."""

    store: BlockStore

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.store = MemoryStore(is_committed=self._is_committed, follows=self._follow)

    @property
    def last_event(self) -> int:
        """When the last entry was made; see next_event."""
        return next(reversed(self.entries.values())).event if self.entries else 0

    def _is_committed(self, job_id: str) -> bool | None:
        match self.entries[job_id].mark.state:
            case TransactionState.OPEN:
                return None
            case TransactionState.ROLLED_BACK:
                return False
            case _:
                return True

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

    def refresh(self) -> None:
        """Learn what became of the jobs, where others can change them."""

    def drop(self, entry: Entry) -> None:
        # A tally, or a child of the task, may hold the entry still.
        entry.forgotten = entry.job
        # First out of the store, which asks for the entry of each job that it has.
        entry.store.discard(entry.job_id)
        del self.entries[entry.job_id]

    def absorb(self, inner: "_Block") -> None:
        """Take over the entries of a block that has ended, and go on with its jobs."""
        own = [entry for entry in inner.entries.values() if entry.store is inner.store]
        self.entries.update(inner.entries)
        self._take_jobs(inner, own)

    def _take_jobs(self, inner: "_Block", own: Sequence[Entry]) -> None:
        assert isinstance(self.store, MemoryStore)  # noqa: S101 - the other class has its own
        self.store.absorb(
            [entry.job for entry in own],
            undecided=[entry.job_id for entry in own if entry.is_in_doubt],
            void={entry.job_id for entry in own if not entry.is_visible},
        )
        for entry in own:
            entry.store = self.store
        inner.store.close()


class _DatabaseBlock(_Block):
    """The same with the jobs in the database."""

    def __init__(self) -> None:
        # Imported here: the recording backends alone have no use for it.
        from .database_store import DatabaseStore

        self.entries = {}
        self._rows = self.store = DatabaseStore(
            is_committed=self._is_committed,
            follows=self._follow,
            adopts=self._adopt,
        )

    def _adopt(self, job: Job) -> None:
        """Enter a job that something else has put into the table."""
        task, policy = stored_task(job)
        self.entries[job.id] = Entry(
            job_id=job.id,
            task=task,
            policy=policy,
            origin=None,
            parent=None,
            mark=AUTOCOMMIT,
            transactional=True,
            store=self.store,
        )

    def refresh(self) -> None:
        gone = self._rows.refresh()
        for entry in self.entries.values():
            entry.is_gone = entry.job_id in gone

    def _take_jobs(self, inner: _Block, own: Sequence[Entry]) -> None:
        """Those in memory stay there, to be looked at: no rows are made of them."""
        if not isinstance(inner, _DatabaseBlock):
            return
        self._rows.absorb(inner._rows)  # noqa: SLF001 - another object of this class
        for entry in own:
            entry.store = self.store


journal = Journal()
