"""The blocks of a journal: entries together with the store of their jobs."""

from collections.abc import Sequence

from tasks_database.engine import Job

from .block_store import BlockStore
from .entry import Entry
from .memory_store import MemoryStore
from .stored_tasks import stored_task
from .transactions import AUTOCOMMIT, TransactionState


class Block:
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

    def settle(self) -> None:
        """Refresh for the last time."""

    def drop(self, entry: Entry) -> None:
        # A tally, or a child of the task, may hold the entry still.
        entry.forgotten = entry.job
        # First out of the store, which asks for the entry of each job that it has.
        entry.store.discard(entry.job_id)
        del self.entries[entry.job_id]

    def absorb(self, inner: "Block") -> None:
        """Take over the entries of a block that has ended, and go on with its jobs."""
        own = [entry for entry in inner.entries.values() if entry.store is inner.store]
        self.entries.update(inner.entries)
        self._take_jobs(inner, own)

    def _take_jobs(self, inner: "Block", own: Sequence[Entry]) -> None:
        assert isinstance(self.store, MemoryStore)  # noqa: S101 - the other class has its own
        self.store.absorb(
            [entry.job for entry in own],
            undecided=[entry.job_id for entry in own if entry.is_in_doubt],
            void={entry.job_id for entry in own if not entry.is_visible},
        )
        for entry in own:
            entry.store = self.store
        inner.store.close()


class DatabaseBlock(Block):
    """The same with the jobs in the database."""

    def __init__(self) -> None:
        # Imported here: the recording backends alone have no use for it.
        from .database_store import DatabaseStore

        self.entries = {}
        self._is_settled = False
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

    def settle(self) -> None:
        if self.entries:  # An empty one may serve the next test.
            self.refresh()
            self._is_settled = True

    def refresh(self) -> None:
        if self._is_settled:
            return
        gone = self._rows.refresh()
        for entry in self.entries.values():
            entry.is_gone = entry.job_id in gone

    def _take_jobs(self, inner: Block, own: Sequence[Entry]) -> None:
        """Those in memory stay there, to be looked at: no rows are made of them."""
        if not isinstance(inner, DatabaseBlock):
            return
        self._rows.absorb(inner._rows)  # noqa: SLF001 - another object of this class
        for entry in own:
            entry.store = self.store
