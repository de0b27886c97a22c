"""What was enqueued and run, process-wide: one Journal, one Entry per enqueued task.

Django makes a backend object per thread, so none of this lives in one. The plugin and TaskQueue
reset the journal between tests; alone in a settings file, the Immediate backend bounds it.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from tasks_database.engine import Job
from tasks_database.ids import parse_id

from .block_store import BlockStore
from .blocks import Block, DatabaseBlock
from .entry import Entry, next_event


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
            self._blocks: list[Block] = []
            self._blocks = [self._new_block(in_database=self.in_database)]
            self._finished: deque[str] = deque()

    def _new_block(self, *, in_database: bool) -> Block:
        return DatabaseBlock() if in_database else Block()

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
        return isinstance(self._blocks[-1], DatabaseBlock)

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

    def _instead(self, block: Block, entry: Entry, standing: Job) -> Entry:
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

    def last_look(self) -> None:
        """The test has ended: what is seen now counts, whatever its fixtures' ends do to rows."""
        with self.lock:
            for block in self._blocks:
                block.settle()

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


journal = Journal()
