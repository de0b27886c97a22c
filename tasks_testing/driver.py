"""Carries out what the engine's Worker decides, in memory, one task at a time."""

from collections.abc import Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from tasks_database.engine import Job, Policy, Worker
from tasks_database.engine.lifecycle import start
from tasks_database.engine.worker import (
    Acknowledge,
    Claim,
    Outcome,
    Promote,
    Raised,
    Run,
    Settled,
    Wait,
    settle,
)
from tasks_database.results import update_result

from .clock import clock
from .entry import Attempt, Entry, next_event
from .exceptions import LimitReached
from .execution import describe_run, run_body
from .framework import TaskResult, task_backends, task_finished
from .journal import journal
from .results import result_of
from .stored_tasks import callee_of

# Worker ids are opaque strings to Django; a readable one helps in reports.
WORKER_ID = "test-worker"

type OnError = Literal["raise", "record"]

# Runs that lead to one another at one instant, by enqueueing or by a retry: longer chains are taken
# for a loop, unless the verb's own limit allows as many runs.
INSTANT_CHAIN_LIMIT = 1_000
# The same with time passing in between (a task that reschedules itself every minute of a month).
CHAIN_LIMIT = 100_000

_unraised: ContextVar[list[BaseException] | None] = ContextVar(
    "django_tasks_unraised_errors", default=None
)


class Finish(Protocol):
    """How an attempt is settled: by a Worker, which keeps count, or by `settle` alone."""

    def __call__(
        self, job: Job, outcome: Outcome, /, *, policy: Policy, now: datetime
    ) -> Settled: ...


class _Run(NamedTuple):
    """One attempt that was made, before it is acknowledged."""

    entry: Entry
    settled: Settled
    result: TaskResult
    sender: type
    finished_at: datetime


@dataclass(slots=True, repr=False)
class Drain:
    """One verb's run of tasks: whose tasks, how many at most, and what came of them.

    verb: for messages.
    backends: the aliases to work for; None is all.
    limit: how many attempts may be made in all; None is no limit.
    sender: who sends the signals, where that is known: the class of the backend, as in Django.
    """

    verb: str
    backends: Collection[str] | None = None
    limit: int | None = None
    on_error: OnError = "raise"
    sender: type | None = None
    entries: list[Entry] = field(default_factory=list)  # One for each attempt that was made.
    settled: list[Job] = field(default_factory=list)  # The job after that attempt.
    errors: list[BaseException] = field(default_factory=list)  # Final failures, not yet raised.
    chains: dict[str, tuple[int, int]] = field(default_factory=dict)
    senders: dict[str, type] | None = None  # By backend alias.

    def run_one(self) -> None:
        """Run one attempt of the next due task, if there is any."""
        __tracebackhide__ = True
        now = clock.now()
        journal.store.promote(now=now, backends=self.backends)
        for job in journal.store.claim(
            worker_id=WORKER_ID, limit=1, now=now, backends=self.backends
        ):
            self._run_claimed(job, now)

    def run_job(self, job_id: str, *, result: TaskResult | None = None, once: bool = False) -> None:
        """Run this job now, out of turn, until it is final or must wait; ``once``: one attempt.

        No worker decides here: there is nothing to choose from.
        """
        __tracebackhide__ = True
        while jobs := journal.store.claim_job(job_id, worker_id=WORKER_ID):
            job = self._run_claimed(jobs[0], clock.now(), result)
            if once or job.status.is_final:
                return

    def _run_claimed(self, claimed: Job, now: datetime, result: TaskResult | None = None) -> Job:
        __tracebackhide__ = True
        run = self._run(start(claimed, now=now), settle, result)
        accepted, enqueued = journal.store.acknowledge((run.settled.job,))
        if accepted:
            self._acknowledged(run, enqueued)
        return run.settled.job

    def run_ready(self) -> None:
        """Run what is due now, and what that enqueues or retries without delay, to the end."""
        __tracebackhide__ = True
        store = journal.store
        worker = Worker(WORKER_ID, lease=None)
        now = clock.now()  # Time passes in the bodies alone.

        def finish(job: Job, outcome: Outcome, *, policy: Policy, now: datetime) -> Settled:
            return worker.finished(job.id, outcome, policy=policy, now=now)

        while True:
            for command in worker.poll(now):
                match command:
                    case Promote():
                        store.promote(now=now, backends=self.backends)
                        # Time moves by verbs only: whoever moves it looks for what is due.
                        worker.promoted(next_due=None)
                    case Claim(limit):
                        worker.claimed(
                            store.claim(
                                worker_id=WORKER_ID, limit=limit, now=now, backends=self.backends
                            )
                        )
                    case Run(job):
                        attempt = self._run(job, finish)
                        now = attempt.finished_at
                    case Acknowledge(outcomes):
                        accepted, enqueued = store.acknowledge(outcomes)
                        worker.acknowledged()
                        if accepted:
                            self._acknowledged(attempt, enqueued)
                    case Wait():
                        return
                    case _:  # pragma: no cover - a worker without a lease asks for nothing else
                        raise AssertionError(command)

    def _run(self, job: Job, finish: Finish, result: TaskResult | None = None) -> _Run:
        __tracebackhide__ = True
        entry = journal.get(job.id)
        assert entry is not None  # noqa: S101 - the journal keeps an entry for each stored job
        self._check_limits(entry, job)
        store, task, policy = journal.store, entry.task, entry.policy
        store.start(job)
        if store.takes_part:  # What is in a table, a worker knows by its path alone.
            task, policy = callee_of(job.task_path)
        if result is None:
            result = result_of(entry)
        else:
            update_result(result, job)
        sender = self.sender or self._sender_of(job.backend)
        event = next_event()
        outer = _unraised.set([])
        try:
            outcome = run_body(entry, job, task, sender=sender, result=result)
            self.errors += _unraised.get() or ()
        finally:
            _unraised.reset(outer)
        now = clock.now()
        settled = finish(job, outcome, policy=policy, now=now)
        raised = settled.outcome if isinstance(settled.outcome, Raised) else None
        entry.attempts.append(
            Attempt(
                event=event,
                number=job.attempts,
                started_at=job.last_attempted_at or job.enqueued_at,
                finished_at=now,
                exception_class=type(raised.exception) if raised else None,
                message=_message(raised.exception) if raised else "",
            )
        )
        return _Run(entry, settled, result, sender, now)

    def _sender_of(self, alias: str) -> type:
        # Once a verb: the lookup asks asyncio for a running loop each time.
        if self.senders is None:
            self.senders = {}
        if alias not in self.senders:
            self.senders[alias] = type(task_backends[alias])
        return self.senders[alias]

    def _acknowledged(self, run: _Run, enqueued: Sequence[Job]) -> None:
        """The attempt is stored: tell Django's listeners, and keep or raise the failure.

        enqueued: the hooks and the link of a chain that were stored with it.
        """
        __tracebackhide__ = True
        self.entries.append(run.entry)
        self.settled.append(run.settled.job)
        update_result(run.result, run.settled.job)
        if run.settled.job.status.is_final:
            self._announce(*run)
        if enqueued:
            self._follow(enqueued)
        self._raise_errors()

    def _announce(
        self, entry: Entry, settled: Settled, result: TaskResult, sender: type, _: datetime
    ) -> None:
        if not isinstance(settled.outcome, Raised):
            task_finished.send(sender=sender, task_result=result)
            return
        exception = settled.outcome.exception
        traceback = exception.__traceback__
        try:
            # Inside a handler: listeners, Django's own log among them, use sys.exc_info().
            raise exception
        except BaseException:  # noqa: BLE001 - any exception of a body, raised two lines above
            exception.__traceback__ = traceback
            task_finished.send(sender=sender, task_result=result)
        if not getattr(exception, "__notes__", None):
            exception.add_note(describe_run(entry, entry.job))  # A timeout judged by the engine.
        if self.on_error == "raise":
            self.errors.insert(0, exception)
            entry.looked_at = True

    def _follow(self, enqueued: Sequence[Job]) -> None:
        """What each backend does after an enqueue: Immediate runs it, and a failure is kept."""
        from .backends.base import RecordingBackend

        outer = _unraised.set([])
        try:
            for job in enqueued:
                entry, backend = journal.get(job.id), task_backends[job.backend]
                if entry is not None and isinstance(backend, RecordingBackend):
                    backend.announce(entry, job)
        finally:
            self.errors += _unraised.get() or ()
            _unraised.reset(outer)

    def _raise_errors(self) -> None:
        """Raise the final failure at once, or hand it to the task around this drain.

        A task that enqueues on an Immediate backend must not see its child's failure, which no
        worker would show it: the failure is raised where the outermost task was run.
        """
        __tracebackhide__ = True
        if not self.errors:
            return
        errors, self.errors = self.errors, []
        around = _unraised.get()
        if around is not None:
            around += errors
            return
        for other in errors[1:]:
            errors[0].add_note(f"Another task failed too: {_safe_repr(other)}")
        raise errors[0]

    def _check_limits(self, entry: Entry, job: Job) -> None:
        __tracebackhide__ = True
        if self.limit is not None and len(self.entries) >= self.limit:
            self._stop(entry, job, f"its limit of {self.limit} runs was reached")
        before, at_once = self.chains.get(job.id), _at_once(entry, job)
        if before is None and entry.parent is not None:
            before = self.chains.get(entry.parent.job_id)
        if before is None:
            self.chains[job.id] = (1, 1)
            return
        in_all, in_a_row = before
        chain = (in_all + 1, in_a_row + 1 if at_once else 1)
        self.chains[job.id] = chain
        allowed = max(INSTANT_CHAIN_LIMIT, self.limit or 0)
        if chain[1] > allowed:
            self._stop(entry, job, f"{allowed} runs led to one another without time passing")
        allowed = max(CHAIN_LIMIT, self.limit or 0)
        if chain[0] > allowed:
            self._stop(entry, job, f"{allowed} runs led to one another")

    def _stop(self, entry: Entry, job: Job, why: str) -> None:
        __tracebackhide__ = True
        from .diagnosis import limit_message

        claimed = journal.store.get(job.id)
        if claimed is not None:
            journal.store.release((claimed,))
        raise LimitReached(limit_message(self, entry, why))


def _at_once(entry: Entry, job: Job) -> bool:
    """Whether this run did not have to wait: for run_after, or for the backoff of a retry."""
    if entry.attempts and job.ready_since is not None:
        return job.ready_since <= entry.attempts[-1].finished_at
    return job.run_after is None or job.run_after <= job.enqueued_at


def _message(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the failure itself
        return "<its __str__ raised>"


def _safe_repr(exception: BaseException) -> str:
    try:
        return repr(exception)
    except Exception:  # noqa: BLE001 - as below
        return f"{type(exception).__name__}, whose __repr__ raised"
