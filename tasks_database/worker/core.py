"""The engine's Worker as the threads of one process share it."""

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from tasks_database.engine import Job, Worker
from tasks_database.engine.worker import Command, Outcome, Run

from .announcer import Ended
from .bodies import Body
from .clock import WorkerClock


class Core:
    """One lock around the Worker. Bodies' threads report here and take the next job at once.

    waits_for_acknowledgement: a thread goes on only when its outcome is stored.
    """

    def __init__(
        self,
        worker: Worker,
        clock: WorkerClock,
        *,
        waits_for_acknowledgement: bool,
    ) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self._worker = worker
        self.wake: Callable[[], None] = lambda: None
        """Tells the pump that there is something for it to do; the pump puts it here."""
        self._waits = waits_for_acknowledgement
        self._ended: dict[str, Ended] = {}
        # The clock's offset when a body with a timeout began.
        self._offsets: dict[str, float] = {}
        self._waiting_threads: dict[str, threading.Event] = {}

    def tell(self, report: Callable[[Worker], None]) -> None:
        """Report something to the Worker."""
        with self.lock:
            report(self._worker)

    def poll(self) -> Sequence[Command]:
        with self.lock:
            commands = self._worker.poll(self.clock.now())
            for command in commands:
                if isinstance(command, Run):
                    self._begins(command.job)
            return commands

    def ask[T](self, question: Callable[[Worker], T]) -> T:
        with self.lock:
            return question(self._worker)

    def finished(self, body: Body, outcome: Outcome) -> Job | None:
        """A body has ended; the next job for this thread, or None."""
        acknowledged, following = self._settle(body, outcome)
        if acknowledged is None:
            return following
        acknowledged.wait()
        return self.take()

    def finished_on_loop(self, body: Body, outcome: Outcome) -> Job | None:
        """The same for the event loop, which must not wait: the pump hands the next job out."""
        return self._settle(body, outcome)[1]

    def _settle(self, body: Body, outcome: Outcome) -> tuple[threading.Event | None, Job | None]:
        job_id = body.job.id
        acknowledged = following = None
        with self.lock:
            now = ended_at = self.clock.now()
            if job_id in self._offsets:
                # What a body took is what it took, should the clock have stepped meanwhile.
                step = self.clock.offset - self._offsets.pop(job_id)
                ended_at = now - timedelta(seconds=step)
            settled = self._worker.finished(job_id, outcome, policy=body.policy, now=ended_at)
            self._ended[job_id] = Ended(settled.job, settled.outcome, body.result)
            if self._waits:
                acknowledged = self._waiting_threads[job_id] = threading.Event()
            else:
                following = self._take(now)
        self.wake()
        return acknowledged, following

    def take(self) -> Job | None:
        """A job for a thread that is free, or None."""
        with self.lock:
            return self._take(self.clock.now())

    def _take(self, now: datetime) -> Job | None:
        job = self._worker.take(now)
        if job is not None:
            self._begins(job)
        return job

    def _begins(self, job: Job) -> None:
        if job.timeout is not None:
            self._offsets[job.id] = self.clock.offset

    def stored(self, outcomes: Sequence[Job], accepted: Collection[str]) -> list[Ended]:
        """These outcomes are stored or refused for good; the accepted ones, as they are now."""
        kept = frozenset(accepted)
        ended = []
        for job in outcomes:
            attempt = self._ended.pop(job.id)
            if job.id in kept:
                # What is stored may be a refusal of what the body returned.
                ended.append(attempt._replace(job=job) if attempt.job is not job else attempt)
            thread = self._waiting_threads.pop(job.id, None)
            if thread is not None:
                thread.set()
        return ended

    def known(self) -> set[str]:
        """The ids of the jobs that are in hand: claimed, running, or ended and not stored yet."""
        with self.lock:
            return {*self._worker.held, *self._ended}

    def now(self) -> datetime:
        return self.clock.now()
