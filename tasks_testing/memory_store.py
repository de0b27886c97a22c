"""The engine's Store in memory: per backend alias, a heap of ready and a heap of deferred jobs."""

import heapq
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from tasks_database.engine import Job, JobStatus, follow_ups
from tasks_database.engine.lifecycle import claim, promote, release
from tasks_database.engine.store import Acknowledged
from tasks_database.follow_up_keys import unique_key_of_call


@dataclass(slots=True)
class _Lane:
    """The waiting jobs of one alias. Heap entries are never removed early, only outdated."""

    ready: list[tuple[int, datetime, int, str]] = field(default_factory=list)
    deferred: list[tuple[datetime, int, int, str]] = field(default_factory=list)


class MemoryStore:
    """See BlockStore; every method may be called from any thread.

    is_committed: asked, before work is looked for, about the jobs that were added with
    ``committed=False``. True: workers see it from now on; False: it was rolled back, nobody ever
    will; None: not decided yet. So would a row in a database behave.
    follows: told, before anybody can see it, of a job that is enqueued because another one has
    ended, and of that one.
    """

    takes_part = False  # It emulates it, for jobs that are added with ``committed=False``.
    new_id = staticmethod(partial(secrets.token_hex, 16))  # Like those of Django's own backends.

    def __init__(
        self,
        *,
        is_committed: Callable[[str], bool | None],
        follows: Callable[[Job, Job], object] = lambda _parent, _job: None,
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._unique: dict[tuple[str, str, str], str] = {}  # The ids of jobs that wait with a key.
        self._is_committed = is_committed
        self._follows = follows
        self.undecided: dict[str, None] = {}  # In enqueue order.
        self.last_sequence = 0

    def add(self, jobs: Sequence[Job], *, committed: bool = True) -> Sequence[Job]:
        return [self.add_one(job, committed=committed) for job in jobs]

    def add_one(self, job: Job, *, committed: bool) -> Job:
        with self._lock:
            if job.unique_key is not None:
                holder = self._holder(job)
                if holder is not None:
                    return holder
                self._unique[_key(job)] = job.id
            self.last_sequence += 1
            # In place, for speed: the job is new, nobody has seen it yet.
            object.__setattr__(job, "sequence", self.last_sequence)
            if committed:
                self._put(job)
            else:
                self.jobs[job.id] = job
                self.undecided[job.id] = None
        return job

    def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def refresh(self) -> None:
        """Nobody else changes what is here."""

    def replace(self, job: Job) -> None:
        with self._lock:
            self.jobs[job.id] = job
            if not job.status.is_pending:
                self._free_key(job)

    def close(self) -> None:
        """Nobody else sees what is here."""

    def absorb(
        self, jobs: Iterable[Job], *, undecided: Collection[str], void: Collection[str]
    ) -> None:
        """Take over jobs that were enqueued after those of this store.

        void: those that a rolled-back transaction took away; they are kept to be looked at.
        """
        with self._lock:
            for job in sorted(jobs, key=lambda job: job.sequence):
                self.last_sequence += 1
                object.__setattr__(job, "sequence", self.last_sequence)
                self.jobs[job.id] = job
                if job.id in void:
                    continue
                if job.unique_key is not None and job.status.is_pending and not job.claim_number:
                    self._unique.setdefault(_key(job), job.id)
                if job.id in undecided:
                    self.undecided[job.id] = None
                else:
                    self._put(job)

    def discard(self, job_id: str) -> None:
        with self._lock:
            job = self.jobs.pop(job_id, None)
            self.undecided.pop(job_id, None)
            if job is not None:
                self._free_key(job)

    def next_due(self, *, backends: Collection[str] | None = None) -> datetime | None:
        with self._lock:
            dues = [self._first_due(lane) for lane in self._visible_lanes(backends)]
        return min((due for due in dues if due is not None), default=None)

    def deferred(self, *, backends: Collection[str] | None = None) -> list[Job]:
        with self._lock:
            waiting = [item for lane in self._visible_lanes(backends) for item in lane.deferred]
            jobs = [(item, self.jobs.get(item[-1])) for item in sorted(waiting)]
        return [
            job
            for (due, *_), job in jobs
            if job is not None and job.status is JobStatus.DEFERRED and job.due == due
        ]

    def promote(self, *, now: datetime, backends: Collection[str] | None = None) -> int:
        promoted = 0
        with self._lock:
            for lane in self._visible_lanes(backends):
                while (due := self._first_due(lane)) is not None and due <= now:
                    job_id = heapq.heappop(lane.deferred)[-1]
                    self._put(promote(self.jobs[job_id], now=now))
                    promoted += 1
        return promoted

    def claim(
        self,
        *,
        worker_id: str,
        limit: int,
        now: datetime,  # noqa: ARG002 - a database needs it
        backends: Collection[str] | None = None,
    ) -> Sequence[Job]:
        with self._lock:
            claimed: list[Job] = []
            lanes = self._visible_lanes(backends)
            while len(claimed) < limit and (job := self._next_ready(lanes)) is not None:
                claimed.append(self._claim(job, worker_id))
            return claimed

    def claim_job(self, job_id: str, *, worker_id: str) -> Sequence[Job]:
        with self._lock:
            job = self.jobs.get(job_id)
            if job is None or job.status is not JobStatus.READY:
                return ()
            claimed = self._claim(job, worker_id)
            # Where nobody ever claims in turn, its place in the heap would stay for good.
            self._clear_outdated(self._lanes[job.backend])
            return (claimed,)

    def start(self, started: Job) -> bool:
        with self._lock:
            if not self._is_current(started):
                return False
            self.jobs[started.id] = started
            return True

    def acknowledge(self, outcomes: Sequence[Job]) -> Acknowledged:
        with self._lock:
            accepted: list[str] = []
            enqueued: list[Job] = []
            for job in outcomes:
                if not self._is_current(job):
                    continue
                self._put(job)
                accepted.append(job.id)
                if job.follow_ups is not None and job.finished_at is not None:
                    enqueued += self._follow(job, now=job.finished_at)
            return Acknowledged(accepted, enqueued)

    def release(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            for job in jobs:
                if self._is_current(job):
                    self._put(release(job))

    # -- inside the lock -------------------------------------------------------------------

    def _holder(self, job: Job) -> Job | None:
        """The job that waits with the unique key of this one."""
        job_id = self._unique.get(_key(job))
        if job_id is None:
            return None
        if job_id in self.undecided and self._is_committed(job_id) is False:
            return None  # Its key went with it.
        return self.jobs[job_id]

    def _free_key(self, job: Job) -> None:
        if self._unique.get(_key(job)) == job.id:
            del self._unique[_key(job)]

    def _claim(self, job: Job, worker_id: str) -> Job:
        if job.unique_key is not None:
            self._free_key(job)
        claimed = self.jobs[job.id] = claim(job, worker_id=worker_id)
        return claimed

    def _follow(self, parent: Job, *, now: datetime) -> list[Job]:
        """Keep what is to be enqueued because this job has ended."""
        added = []
        for job in follow_ups(
            parent, now=now, new_id=lambda _: self.new_id(), unique_key=unique_key_of_call
        ):
            if job.unique_key is not None and self._holder(job) is not None:
                continue
            self._follows(parent, job)
            # With the transaction that decides on the job that it follows, if one does.
            added.append(self.add_one(job, committed=parent.id not in self.undecided))
        return added

    def _is_current(self, job: Job) -> bool:
        """Whether nobody claimed the job anew since the claim that ``job`` comes from."""
        stored = self.jobs.get(job.id)
        return stored is not None and stored.claim_number == job.claim_number and bool(stored.owner)

    def _put(self, job: Job) -> None:
        """Keep the job, and queue it if it waits."""
        self.jobs[job.id] = job
        if job.status is JobStatus.READY:
            since = job.ready_since or job.enqueued_at
            heapq.heappush(
                self._lanes[job.backend].ready, (-job.priority, since, job.sequence, job.id)
            )
        elif job.status is JobStatus.DEFERRED and job.due is not None:
            heapq.heappush(
                self._lanes[job.backend].deferred,
                (job.due, -job.priority, job.sequence, job.id),
            )

    def _visible_lanes(self, backends: Collection[str] | None) -> list[_Lane]:
        if self.undecided:
            self._admit_committed()
        if backends is None:
            return list(self._lanes.values())
        return [lane for alias, lane in self._lanes.items() if alias in backends]

    def _admit_committed(self) -> None:
        for job_id in list(self.undecided):
            committed = self._is_committed(job_id)
            if committed is not None:
                del self.undecided[job_id]
            if committed:
                self._put(self.jobs[job_id])
            elif committed is False:
                self._free_key(self.jobs[job_id])

    def _first_due(self, lane: _Lane) -> datetime | None:
        while lane.deferred:
            due, _, _, job_id = lane.deferred[0]
            job = self.jobs.get(job_id)
            if job is not None and job.status is JobStatus.DEFERRED and job.due == due:
                return due
            heapq.heappop(lane.deferred)
        return None

    def _next_ready(self, lanes: Iterable[_Lane]) -> Job | None:
        """Take the first ready job off its heap."""
        best: _Lane | None = None
        for lane in lanes:
            self._clear_outdated(lane)
            if lane.ready and (best is None or lane.ready[0] < best.ready[0]):
                best = lane
        return None if best is None else self.jobs[heapq.heappop(best.ready)[-1]]

    def _clear_outdated(self, lane: _Lane) -> None:
        while lane.ready:
            _, since, _, job_id = lane.ready[0]
            job = self.jobs.get(job_id)
            if job is not None and job.status is JobStatus.READY and job.ready_since == since:
                return
            heapq.heappop(lane.ready)


def _key(job: Job) -> tuple[str, str, str]:
    return job.backend, job.task_path, job.unique_key or ""
